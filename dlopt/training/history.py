"""The record of a training, and the learning rate that did best in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from dlopt.training.replicas import Replicas

SCORES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
"""The entries of a history that have a value for each network."""


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


class Record:
    """Writes a history, one moment at a time.

    Args:
        measure: Returns loss and score of each network on a part of the data, (R,).
        alive: Which networks have not diverged, (R,). Those whose loss is not finite are taken out.
        parts: What they are measured on, "train" first.
    """

    def __init__(
        self,
        measure: Callable[[str], tuple[Tensor, Tensor | None]],
        alive: Tensor,
        parts: Sequence[str],
    ) -> None:
        self._measure, self._alive, self._parts = measure, alive, parts
        self._rows: list[dict[str, Tensor]] = []

    def add(self, **clocks: float) -> None:
        """Measure the networks at this time of the clocks."""
        row = {k: torch.tensor(float(v), dtype=torch.float64) for k, v in clocks.items()}
        for part in self._parts:
            loss, score = self._measure(part)
            if part == "train":
                self._alive &= loss.isfinite()
            for name, value, failed in (("loss", loss, torch.inf), ("accuracy", score, 0.0)):
                if value is not None:
                    fine = self._alive & value.isfinite()
                    row[f"{part}_{name}"] = torch.where(fine, value, failed).double().cpu()
        self._rows.append(row)

    def history(self) -> History:
        """Return what was written."""
        columns = {k: torch.stack([row[k] for row in self._rows]) for k in self._rows[0]}
        missing: dict[str, Any] = dict.fromkeys(SCORES)
        return History(**{**missing, **columns}, diverged=~self._alive.cpu())


@dataclass(frozen=True, eq=False, kw_only=True)
class Grid(History):
    """A history over S seeds (second axis) and L learning rates (third axis).

    Attributes:
        seeds: The seeds.
        learning_rates: The learning rates.
    """

    seeds: tuple[int, ...]
    learning_rates: tuple[float, ...]
    _replicas: Replicas = field(repr=False)

    @classmethod
    def of(
        cls,
        history: History,
        seeds: Sequence[int],
        learning_rates: Sequence[float],
        replicas: Replicas,
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
        return self._replicas.network(seed_index * len(self.learning_rates) + rate_index)


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
        >>> import torch
        >>> from dlopt.lesson.networks import mlp
        >>> from dlopt.training.many import train_many
        >>> from dlopt.training.plan import Plan
        >>> from dlopt.training.rules import SGD
        >>> from dlopt.training.task import Task
        >>> task = Task((torch.eye(3), torch.arange(3)))
        >>> grid = train_many(lambda g: mlp([3, 3], g), SGD(), task, Plan(epochs=20),
        ...     seeds=range(2), learning_rates=[0.01, 0.1, 1.0])
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
