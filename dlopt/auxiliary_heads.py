"""Auxiliary heads: the layers below get a loss of their own while the network is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

Outputs = Tensor | tuple[Tensor, ...]


class AuxiliaryHeads(nn.Module):
    r"""A stack of blocks with an output, and further outputs part of the way up.

    In training all outputs are returned, those of the heads first, from the bottom up, the
    network's own last; in evaluation mode that one alone. Lee et al. (2015) and Szegedy et al.
    (2015) train with such heads, and take them away afterwards.

    Args:
        blocks: The stack, from the input up; at least one.
        heads: By number of a block, from 1 up to the last one: what makes an output of what that
            block returns.
        output: Makes the network's own output of what the last block returns.

    Raises:
        ValueError: There is no block, or a head comes after a block that isn't there.

    Example:
        >>> import torch
        >>> blocks = [nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3)]
        >>> network = AuxiliaryHeads(blocks, {1: nn.Linear(4, 2)}, nn.Linear(4, 2))
        >>> x = torch.ones(5, 4)
        >>> len(network(x)), network.eval()(x).shape
        (2, torch.Size([5, 2]))
        >>> torch.equal(network.discarded()(x), network(x))
        True
    """

    def __init__(
        self, blocks: Sequence[nn.Module], heads: Mapping[int, nn.Module], output: nn.Module
    ) -> None:
        super().__init__()
        if not blocks:
            raise ValueError("blocks must be at least one, got none")
        if missing := sorted(set(heads) - set(range(1, len(blocks) + 1))):
            raise ValueError(
                f"heads must come after one of the blocks 1 to {len(blocks)}, got {missing}"
            )
        self.blocks = nn.ModuleList(blocks)
        self.heads = nn.ModuleDict({str(after): heads[after] for after in sorted(heads)})
        self.output = output

    def forward(self, input: Tensor) -> Outputs:
        """Return all outputs in training, from the bottom up; the last one alone in evaluation."""
        outputs: list[Tensor] = []
        for number, block in enumerate(self.blocks, start=1):
            input = block(input)
            if self.training and str(number) in self.heads:
                outputs.append(self.heads[str(number)](input))
        last: Tensor = self.output(input)
        return (*outputs, last) if self.training else last

    def discarded(self) -> nn.Sequential:
        """Return the network without its heads; it has the same layers, not copies of them."""
        return nn.Sequential(*self.blocks, self.output).train(self.training)


def auxiliary_loss(
    weight: float, loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
) -> Callable[[Outputs, Tensor], Tensor]:
    r"""Return the loss of a network that may have auxiliary heads.

    .. math:: L(\hat y) + w \sum_h L(\hat y_h)

    In evaluation mode there are no heads, and it is the loss of the output alone.

    Args:
        weight: w of each head, at least 0; Szegedy et al. (2015) have 0.3.
        loss: L, from outputs and targets to the mean loss, 0-d.

    Returns:
        A loss for ``dlopt.training.task.Task``.

    Raises:
        ValueError: ``weight`` is negative, or not a number.

    Example:
        >>> import torch
        >>> target = torch.zeros(1)
        >>> total = auxiliary_loss(0.5, F.mse_loss)
        >>> total((torch.tensor([2.0]), torch.tensor([1.0])), target)  # 1² + 0.5 · 2²
        tensor(3.)
        >>> total(torch.tensor([1.0]), target)
        tensor(1.)
    """
    if not 0 <= weight < float("inf"):
        raise ValueError(f"weight must be a finite number of at least 0, got {weight}")
    if getattr(loss, "reduction", "mean") != "mean":
        raise ValueError(f'loss must have reduction="mean", got {loss}')

    def total(outputs: Outputs, targets: Tensor) -> Tensor:
        if isinstance(outputs, Tensor):
            return loss(outputs, targets)
        *heads, last = (loss(output, targets) for output in outputs)
        return last + weight * sum(heads) if heads else last

    return total
