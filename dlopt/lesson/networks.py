"""Small networks for the pages: their start is drawn from a generator, and from nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import nn

from dlopt.activations import Maxout
from dlopt.initialization import initialize_
from dlopt.skips import Skip


def mlp(
    widths: Sequence[int],
    generator: torch.Generator,
    *,
    activation: Callable[[], nn.Module] = nn.Tanh,
    init: str | float = "torch",
    scale: float = 1.0,
    norm: Callable[[int], nn.Module] | None = None,
    skip: float | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """Return a fully connected network whose start is drawn from ``generator`` alone.

    Args:
        widths: Inputs, hidden units of each layer, outputs, such as [64, 16, 10].
        generator: Where the randomness comes from; PyTorch's global one is left alone.
        activation: Makes the nonlinearity between two layers, such as ``nn.ReLU`` or
            ``partial(Maxout, 2)``; the layer before ``Maxout`` has its pieces for each unit.
        init: A rule of ``initialize_``: "torch", PyTorch's default, "variance", "glorot", "he",
            "orthogonal", or the standard deviation of the weights.
        scale: Multiplies the initial weights.
        norm: Makes what stands between a hidden layer and its nonlinearity, from the number of
            features, such as ``BatchNorm``; the layer then has no bias.
        skip: The scale of a ``Skip`` around each hidden layer that has as many inputs as units: a
            number, 1 for the plain one, or "learned"; None for no skips.
        dtype: Of the parameters; that of ``norm`` has to be the same.

    Returns:
        The network, on the CPU.

    Raises:
        ValueError: ``init``, ``scale`` or ``skip`` is none of these, or there are fewer than two
            widths.

    Example:
        >>> mlp([64, 16, 10], torch.Generator().manual_seed(0))
        Sequential(
          (0): Linear(in_features=64, out_features=16, bias=True)
          (1): Tanh()
          (2): Linear(in_features=16, out_features=10, bias=True)
        )
    """
    if len(widths) < 2:
        raise ValueError(f"widths must name inputs and outputs at least, got {list(widths)}")
    if isinstance(skip, bool):
        raise ValueError(f'skip must be None, a number or "learned", got {skip}')
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths[:-1]):
        nonlinearity = activation()
        features = b * nonlinearity.pieces if isinstance(nonlinearity, Maxout) else b
        block = [_linear(a, features, norm is None, dtype)]
        block += [*([] if norm is None else [norm(features)]), nonlinearity]
        layers += block if skip is None or a != b else [Skip(*block, scale=skip)]
    network = nn.Sequential(*layers, _linear(widths[-2], widths[-1], True, dtype))
    initialize_(network, init, generator, scale, activation())
    return network


def _linear(inputs: int, outputs: int, bias: bool, dtype: torch.dtype) -> nn.Module:
    """Return a layer for which nothing was drawn."""
    return nn.Linear(inputs, outputs, bias, device="meta", dtype=dtype).to_empty(device="cpu")


class Reader(nn.Module):
    """A recurrent cell that reads a sequence, and a linear layer that answers at its end.

    The last entry of each input says whether the sequence ends there: 1 once, and 0 elsewhere. So
    sequences of all lengths stand in one tensor, and what follows the end has no effect.

    Args:
        inputs: Numbers in one input, the mark of the end not counted.
        hidden: Units of the cell, an ``nn.GRUCell``.
        outputs: Numbers in the answer.
        generator: Where the start comes from: PyTorch's default, uniform within ±1/√hidden.

    Example:
        >>> reader = Reader(1, 4, 2, torch.Generator().manual_seed(0))
        >>> reader(torch.zeros(3, 7, 2)).shape
        torch.Size([3, 2])
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.cell = nn.GRUCell(inputs, hidden, device="meta").to_empty(device="cpu")
        self.answer = nn.Linear(hidden, outputs, device="meta").to_empty(device="cpu")
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-(hidden**-0.5), hidden**-0.5, generator=generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the answers, shape (batch, outputs), to x, shape (batch, time, inputs + 1)."""
        h = torch.zeros(len(x), self.cell.hidden_size, dtype=x.dtype, device=x.device)
        at_end = torch.zeros_like(h)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t, :-1], h)
            at_end = at_end + x[:, t, -1:] * h
        out: torch.Tensor = self.answer(at_end)
        return out
