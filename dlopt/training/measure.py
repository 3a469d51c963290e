"""What a training is measured by, and who writes it down."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlopt.training.history import SCORES, History

Data = tuple[Tensor, Tensor]
"""Inputs and targets, one example a row each."""

Loss = Callable[..., Tensor]
"""A loss of ``torch.nn.functional``: called with outputs, targets and ``reduction="none"``."""

Metric = Callable[[Tensor, Tensor], Tensor]
"""Maps outputs (..., m, k) and the targets of m examples to their mean score, shape (...)."""

_CHUNK = 2048  # examples measured at a time, so that many replicas fit into memory


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the share of examples that are classified correctly.

    Args:
        outputs: Scores, shape (..., m, classes), or log-odds, shape (..., m, 1).
        targets: Class numbers, whole, shape (m,), or 0 and 1 as floats, shape (m, 1).

    Returns:
        Shape (...), float64.

    Raises:
        ValueError: Some targets are floats other than 0 and 1: a regression has no accuracy.

    Example:
        >>> scores = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
        >>> accuracy(scores, torch.tensor([1, 0, 0, 0]))
        tensor(0.7500, dtype=torch.float64)
    """
    if not targets.is_floating_point():
        right = outputs.argmax(dim=-1) == targets
    elif bool(((targets == 0) | (targets == 1)).all()):
        right = ((outputs > 0) == (targets > 0.5)).all(dim=-1)
    else:
        raise ValueError("targets must be class numbers, or 0 and 1; a regression has metric=None")
    share: Tensor = right.double().mean(dim=-1)
    return share


class Log:
    """Measures a network, or R replicas of one, while a loop trains it.

    Args:
        network: Maps (m, ...) to (m, ...), or (R, m, ...) to (R, m, ...) where there are replicas.
        replicas: How many; None for an ordinary network.
        data: Training inputs and targets.
        test: Test inputs and targets, or None.
        loss: The loss.
        weight_decay: The coefficient λ >= 0 of the term λ/2 ‖θ‖² of the objective.
        metric: Reported besides the loss, or None.

    Attributes:
        m: The number of training examples.
        alive: Which replicas have not diverged, (R,) or (1,).
        steps: Updates so far.
        evaluations: Minibatch gradients so far.
        examples: Examples seen so far.
        seconds: Training time so far.

    Raises:
        ValueError: The data do not match, or an argument is out of its range.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        replicas: int | None = None,
        data: Data,
        test: Data | None,
        loss: Loss,
        weight_decay: float,
        metric: Metric | None,
    ) -> None:
        for inputs, targets in (data,) if test is None else (data, test):
            if len(inputs) != len(targets) or not len(inputs):
                raise ValueError(
                    "inputs and targets must hold the same number of examples, at least one, "
                    f"got {len(inputs)} and {len(targets)}"
                )
        if isinstance(loss, nn.Module):
            raise ValueError(f"loss must be a function of torch.nn.functional, got {loss}")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay must be >= 0, got {weight_decay}")
        self._network = network
        self._replicas = replicas
        self._parts = {"train": data} if test is None else {"train": data, "test": test}
        self._loss = loss
        self._weight_decay = weight_decay
        self._metric = metric
        self._rows: list[dict[str, Tensor]] = []
        self.m = len(data[0])
        self.alive = torch.ones(replicas or 1, dtype=torch.bool, device=data[0].device)
        self.steps = self.evaluations = self.examples = 0
        self.seconds = 0.0

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of each replica, (R,), of outputs and targets (R, batch, ...)."""
        if targets.is_floating_point() and targets.shape != outputs.shape:
            raise ValueError(
                f"outputs must have the targets' shape {tuple(targets.shape[1:])}, "
                f"got {tuple(outputs.shape[1:])}"
            )
        each = self._loss(outputs.flatten(0, 1), targets.flatten(0, 1), reduction="none")
        mean: Tensor = each.view(len(outputs), -1).mean(dim=1)
        return mean

    def penalty(self) -> Tensor:
        """Return the weight decay term of each replica, (R,)."""
        total = torch.zeros(len(self.alive), device=self.alive.device)
        if not self._weight_decay:
            return total
        for p in self._network.parameters():
            if p.requires_grad:
                total = total + p.square().reshape(len(self.alive), -1).sum(dim=1)
        return self._weight_decay / 2 * total

    def count_gradient(self) -> None:
        """Count one gradient of a minibatch."""
        self.evaluations += 1

    def count_update(self, examples: int) -> None:
        """Count one update of the parameters after a minibatch of so many examples."""
        self.steps += 1
        self.examples += examples

    def add_seconds(self, seconds: float) -> None:
        """Add to the training time."""
        self.seconds += seconds

    def keep(self, finite: Tensor | bool) -> None:
        """Count replicas as diverged unless they are ``finite``, (R,) or one for all."""
        self.alive &= finite

    @torch.no_grad()
    def measure(self) -> None:
        """Add a row to the record. Replicas with a loss that is not finite count as diverged."""
        modes = [(module, module.training) for module in self._network.modules()]
        self._network.eval()
        row: dict[str, Tensor] = {}
        for part, data in self._parts.items():
            row |= self._scores(part, data)
        for module, mode in modes:
            module.training = mode
        row["train_loss"] += self.penalty()
        self.keep(row["train_loss"].isfinite())
        for name, value in row.items():
            failed = 0.0 if name.endswith("accuracy") else torch.inf
            fine = self.alive & value.isfinite()
            row[name] = torch.where(fine, value, failed).double().cpu()
        numbers = {
            "epochs": self.examples / self.m,
            "steps": self.steps,
            "evaluations": self.evaluations,
            "seconds": self.seconds,
        }
        self._rows.append(row | {k: torch.tensor(float(v)).double() for k, v in numbers.items()})

    def history(self) -> History:
        """Return the record so far."""
        columns = {k: torch.stack([row[k] for row in self._rows]) for k in self._rows[0]}
        missing = dict.fromkeys(SCORES)
        history = History(**{**missing, **columns}, diverged=~self.alive.cpu())  # type: ignore[arg-type]
        return history if self._replicas else history.reshaped(lambda v: v[..., 0])

    def _scores(self, part: str, data: Data) -> dict[str, Tensor]:
        """Return mean loss and metric of each replica on one part of the data."""
        totals: dict[str, Tensor] = {}
        for x, y in zip(*(torch.split(t, _CHUNK) for t in data), strict=True):
            if self._replicas:
                outputs = self._network(x.expand(self._replicas, *x.shape))
            else:
                outputs = self._network(x)[None]
            scores = {"loss": self.losses(outputs, y.expand(len(outputs), *y.shape))}
            if self._metric is not None:
                scores["accuracy"] = self._metric(outputs, y)
            for name, value in scores.items():
                key = f"{part}_{name}"
                totals[key] = totals.get(key, 0.0) + value * (len(y) / len(data[1]))
        return totals
