"""How long and in what pieces a network is trained."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """How a training proceeds, whatever is learned and whoever learns.

    Args:
        epochs: Passes over the data, >= 1.
        batch_size: Examples a step, >= 1 (the last step of an epoch may have fewer); None for all.
        evaluate_every: Epochs from one measurement to the next, >= 1.
        schedule: Maps the share of training that is over, from 0 to below 1, to a factor for the
            learning rate; None for 1 throughout.
        clip: The norm, > 0, to which a longer gradient of the objective is shortened; None for no
            clipping.
        max_seconds: Stop after so much training time, > 0; None for no limit.

    Raises:
        ValueError: A setting is out of its range.

    Example:
        >>> plan = Plan(epochs=4, schedule=lambda share: 1 - share)
        >>> plan.factor(0.25)
        0.75
    """

    epochs: int
    batch_size: int | None = None
    evaluate_every: int = 1
    schedule: Callable[[float], float] | None = None
    clip: float | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        """Check the settings; whole numbers of NumPy become Python's."""
        for name in ("epochs", "batch_size", "evaluate_every"):
            count = getattr(self, name)
            if name == "batch_size" and count is None:
                continue
            count = whole(name, count)
            if count < 1:
                raise ValueError(f"{name} must be >= 1, got {count}")
            object.__setattr__(self, name, count)
        for name in ("clip", "max_seconds"):
            bound = getattr(self, name)
            if bound is not None and not 0 < bound < math.inf:
                raise ValueError(f"{name} must be > 0 and finite, got {bound}")

    def factor(self, share: float) -> float:
        """Return the factor of the learning rate after this share of the training."""
        return 1.0 if self.schedule is None else float(self.schedule(share))


def whole(name: str, value: Any) -> int:
    """Return a whole number, of Python or NumPy, as Python's.

    Raises:
        ValueError: It is none; truth values aren't.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, got {value!r}") from None
