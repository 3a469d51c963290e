"""What a training is measured by, and the record of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from dlopt.replicas import extract

Data = tuple[Tensor, Tensor]
"""Inputs and targets, one example a row each."""

Loss = Callable[..., Tensor]
"""A loss of ``torch.nn.functional``: called with outputs, targets and ``reduction="none"``."""

Metric = Callable[[Tensor, Tensor], Tensor]
"""Maps outputs (..., m, k) and the targets of m examples to their mean score, shape (...)."""

SCORES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
"""The entries of a history that have a value for each network."""

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


@dataclass(frozen=True, eq=False, kw_only=True)
class History:
    """What was measured at T moments, the first of them before training.

    Losses and accuracies have shape (T,) for one network, (T, R) for R replicas, (T, S, L) for
    S seeds times L learning rates. From a divergence on the loss is inf and the accuracy 0.

    Attributes:
        epochs: Passes over the data, (T,).
        steps: Updates of the parameters, (T,).
        evaluations: Minibatch gradients computed by each network, (T,).
        seconds: Wall time of the training of all replicas together, without measuring, (T,).
        train_loss: The objective: mean loss on the training data, and the weight decay term.
        test_loss: Mean loss on the test data; None without any.
        train_accuracy: The metric on the training data; None without a metric.
        test_accuracy: The metric on the test data; None without metric or data.
        diverged: Whether a loss or gradient was ever not finite; the shape above without T.
    """

    epochs: Tensor
    steps: Tensor
    evaluations: Tensor
    seconds: Tensor
    train_loss: Tensor
    test_loss: Tensor | None
    train_accuracy: Tensor | None
    test_accuracy: Tensor | None
    diverged: Tensor

    def reshaped(self, change: Callable[[Tensor], Tensor]) -> History:
        """Return the history with ``change`` made to all that has a value for each network."""
        values = {name: getattr(self, name) for name in (*SCORES, "diverged")}
        changed = {name: change(v) for name, v in values.items() if v is not None}
        return replace(self, **changed)


@dataclass(frozen=True, eq=False, kw_only=True)
class Grid(History):
    """A history over S seeds (second axis) and L learning rates (third axis).

    Attributes:
        seeds: The seeds.
        learning_rates: The learning rates.
    """

    seeds: tuple[int, ...]
    learning_rates: tuple[float, ...]
    _replicas: nn.Module = field(repr=False)

    @classmethod
    def of(
        cls,
        history: History,
        seeds: Sequence[int],
        learning_rates: Sequence[float],
        replicas: nn.Module,
    ) -> Grid:
        """Give the replicas of a history, the learning rates of each seed in turn, two axes."""
        shape = (len(seeds), len(learning_rates))
        return cls(
            **_shared(history.reshaped(lambda v: v.reshape(*v.shape[:-1], *shape))),
            seeds=tuple(seeds),
            learning_rates=tuple(learning_rates),
            _replicas=replicas,
        )

    def network(self, seed_index: int, rate_index: int) -> nn.Module:
        """Return a trained network, as an ordinary one; a diverged one as it last was finite."""
        return extract(self._replicas, seed_index * len(self.learning_rates) + rate_index)


@dataclass(frozen=True, eq=False, kw_only=True)
class Tuned:
    """The learning rate that did best, and how it did.

    Attributes:
        learning_rate: The rate.
        index: Its position in the grid.
        at_edge: Whether no rate of the grid is smaller, or none larger: a better one may lie
            beyond, so widen the grid.
        scores: The criterion for each rate, shape (L,).
        history: What was measured at this rate, at T moments for S seeds.
    """

    learning_rate: float
    index: int
    at_edge: bool
    scores: Tensor
    history: History


def tuned(grid: Grid, criterion: str = "train_loss") -> Tuned:
    """Choose the learning rate whose last measurement is best in the mean over all seeds.

    A rate at which any seed diverged has an infinite mean loss, and is chosen only where every
    rate has. Of equals the one that comes first in the grid wins.

    Args:
        grid: What ``train_many`` returned.
        criterion: "train_loss" or "test_loss", of which less is better; "train_accuracy" or
            "test_accuracy", of which more is better.

    Returns:
        The rate, whether it lies at the grid's edge, and its history (T moments, S seeds).

    Raises:
        ValueError: There is no such criterion, or it was not measured.

    Example:
        >>> from dlopt.training import SGD, mlp, train_many
        >>> data = torch.eye(3), torch.arange(3)
        >>> grid = train_many(lambda g: mlp([3, 3], g), SGD(), data, seeds=range(2),
        ...     learning_rates=[0.01, 0.1, 1.0], epochs=20)
        >>> best = tuned(grid)
        >>> best.learning_rate, best.at_edge
        (1.0, True)
        >>> best.history.train_accuracy[-1]
        tensor([1., 1.], dtype=torch.float64)
    """
    values = getattr(grid, criterion) if criterion in SCORES else None
    if values is None:
        measured = [name for name in SCORES if getattr(grid, name) is not None]
        raise ValueError(f"criterion must be one of {measured}, got {criterion!r}")
    scores = values[-1].mean(dim=0)
    ranked = (-scores if criterion.endswith("accuracy") else scores).tolist()
    index = ranked.index(min(ranked))
    rate = grid.learning_rates[index]
    return Tuned(
        learning_rate=rate,
        index=index,
        at_edge=rate in (min(grid.learning_rates), max(grid.learning_rates)),
        scores=scores,
        history=History(**_shared(grid.reshaped(lambda v: v[..., index]))),
    )


def _shared(history: History) -> dict[str, Any]:
    """Return the entries that every kind of history has."""
    return {f.name: getattr(history, f.name) for f in fields(History)}


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
        alive: Which replicas have not diverged, (R,) or (1,); the loop clears it, too.
        steps: Updates so far; the loop counts them, as it does all that follows.
        evaluations: Minibatch gradients so far.
        examples: Examples seen so far.
        seconds: Training time so far.
    """

    def __init__(
        self,
        network: nn.Module,
        replicas: int | None,
        data: Data,
        test: Data | None,
        loss: Loss,
        weight_decay: float,
        metric: Metric | None,
    ) -> None:
        """Check what is to be measured."""
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
        self.alive = torch.ones(replicas or 1, dtype=torch.bool, device=data[0].device)
        self.m = len(data[0])
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

    def count(self, examples: int, seconds: float = 0.0) -> None:
        """Count one update after a minibatch of so many examples."""
        self.steps += 1
        self.examples += examples
        self.seconds += seconds

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
        self.alive &= row["train_loss"].isfinite()
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
