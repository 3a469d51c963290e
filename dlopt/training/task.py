"""What is to be learned: data, loss, weight decay, and what is reported besides the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Data = tuple[Tensor, Tensor]
"""Inputs and targets, one example a row each."""

Loss = Callable[[Any, Tensor], Tensor]
"""Maps what a network returns, and targets, to the mean loss, a 0-d tensor."""

Metric = Callable[[Any, Tensor], Tensor | float]
"""Maps what a network in evaluation mode returns, and targets, to a mean score."""


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the share of examples that are classified correctly.

    Args:
        outputs: Scores, shape (..., m, classes), or log-odds, shape (..., m, 1).
        targets: Class numbers, whole, shape (m,), or 0 and 1 as floats, shape (m, 1).

    Returns:
        Shape (...), float64.

    Raises:
        ValueError: Some targets are floats other than 0 and 1, as a regression has no accuracy,
            or class numbers have another shape.

    Example:
        >>> scores = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
        >>> accuracy(scores, torch.tensor([1, 0, 0, 0]))
        tensor(0.7500, dtype=torch.float64)
    """
    if not targets.is_floating_point():
        if outputs.shape[-2:-1] != targets.shape[-1:]:
            raise ValueError(f"class numbers must be of shape (m,), got {tuple(targets.shape)}")
        right = outputs.argmax(dim=-1) == targets
    elif bool(((targets == 0) | (targets == 1)).all()):
        right = ((outputs > 0) == (targets > 0.5)).all(dim=-1)
    else:
        raise ValueError("targets must be class numbers, or 0 and 1; a regression has metric=None")
    share: Tensor = right.double().mean(dim=-1)
    return share


@dataclass(frozen=True, eq=False)
class Task:
    r"""What a network has to learn, and by what it is judged.

    .. math:: J(\theta) = \frac1m \sum_{i=1}^m L(f(x^{(i)}; \theta), y^{(i)})
              + \frac{\lambda}{2} \lVert\theta\rVert^2

    A network may return more than one tensor, such as those of auxiliary heads; then the loss has
    to be a function that knows what to do with them, in evaluation mode too, where the heads may
    be gone.

    Args:
        data: Training inputs and targets, one example a row each. Targets that are whole numbers
            or truth values become int64, as PyTorch's losses want them.
        loss: Of ``torch.nn.functional`` or a module such as ``nn.CrossEntropyLoss(weight=…)``, or
            any function from what the network returns, and targets, to the mean loss, 0-d.
        weight_decay: The coefficient λ >= 0; leave the optimiser's at 0.
        test: Test inputs and targets, or None.
        metric: What is reported besides the loss, a function from what the network returns in
            evaluation mode, and targets, to a number; None for nothing, as for a regression.

    Raises:
        ValueError: Inputs and targets don't match, ``weight_decay`` is negative, or the loss does
            not average.

    Example:
        >>> task = Task((torch.eye(2), torch.arange(2)), weight_decay=0.5)
        >>> outputs, theta = torch.zeros(2, 2), torch.tensor([2.0, 0.0])
        >>> task.mean_loss(outputs, task.data[1])
        tensor(0.6931)
        >>> task.objective(outputs, task.data[1], theta)
        tensor(1.6931)
    """

    data: Data
    loss: Loss = F.cross_entropy
    weight_decay: float = 0.0
    test: Data | None = None
    metric: Metric | None = accuracy

    def __post_init__(self) -> None:
        """Check the parts, and give whole targets the type that losses want."""
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must be >= 0, got {self.weight_decay}")
        if getattr(self.loss, "reduction", "mean") != "mean":
            raise ValueError(f'loss must have reduction="mean", got {self.loss}')
        settle = object.__setattr__  # the one moment at which a frozen dataclass is not frozen
        settle(self, "data", _checked(self.data))
        settle(self, "test", None if self.test is None else _checked(self.test))

    @property
    def parts(self) -> dict[str, Data]:
        """The data by name: "train", and "test" where there are any."""
        return {"train": self.data} | ({} if self.test is None else {"test": self.test})

    def to(self, device: torch.device | str) -> Task:
        """Return the same task with its data on another device."""
        moved = {k: (x.to(device), y.to(device)) for k, (x, y) in self.parts.items()}
        return replace(self, data=moved["train"], test=moved.get("test"))

    def mean_loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """Return the mean loss of some examples, 0-d.

        Args:
            outputs: What the network made of them.
            targets: What it should have made of them, one a row.

        Raises:
            ValueError: A loss of PyTorch meets float targets of another shape than the outputs,
                which would broadcast; or wants floats; or the loss is not 0-d.
        """
        of_torch = isinstance(outputs, Tensor) and str(self.loss.__module__).startswith("torch.nn")
        if of_torch and targets.is_floating_point() and outputs.shape != targets.shape:
            raise ValueError(
                f"outputs must have the targets' shape {tuple(targets.shape)}, "
                f"got {tuple(outputs.shape)}"
            )
        try:
            value = self.loss(outputs, targets)
        except RuntimeError as error:
            if "can't be cast" not in str(error):
                raise
            raise ValueError(f"the loss wants float targets, got {targets.dtype}") from error
        if value.dim() != 0:
            raise ValueError(
                f"loss must return a 0-d tensor, the mean, got shape {tuple(value.shape)}"
            )
        return value

    def objective(self, outputs: Any, targets: Tensor, theta: Tensor) -> Tensor:
        """Return J on some examples, 0-d: their mean loss, and the weight decay term.

        Args:
            outputs: What the network made of them.
            targets: What it should have made of them, one a row.
            theta: The network's trained parameters, shape (n,).
        """
        value = self.mean_loss(outputs, targets)
        if self.weight_decay:
            value = value + self.weight_decay / 2 * theta.square().sum()
        return value


def _checked(data: Data) -> Data:
    """Return inputs and targets, as many of these as of those."""
    inputs, targets = data
    if len(inputs) != len(targets) or not len(inputs):
        raise ValueError(
            "inputs and targets must hold the same number of examples, at least one, "
            f"got {len(inputs)} and {len(targets)}"
        )
    return inputs, targets if targets.is_floating_point() else targets.long()
