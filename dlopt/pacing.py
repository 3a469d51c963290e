"""How fast a curriculum goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Pacing = Callable[[float], float]
"""Maps the share of the training that is over, in [0, 1], to a share of the examples."""


@dataclass(frozen=True)
class LinearPacing:
    """A share that grows evenly, and then stays.

    Args:
        first: The share at the start, in (0, 1].
        until: The share of the training at which it has become ``last``, in (0, 1].
        last: Where it stays, in [first, 1]; below 1 the hardest examples never come.

    Raises:
        ValueError: A number is out of its range.

    Example:
        >>> pacing = LinearPacing(0.2, until=0.5)
        >>> [round(pacing(share), 2) for share in (0, 0.25, 0.5, 1)]
        [0.2, 0.6, 1.0, 1.0]
    """

    first: float = 0.2
    until: float = 0.8
    last: float = 1.0

    def __post_init__(self) -> None:
        for name in ("first", "until", "last"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {getattr(self, name)}")
        if self.last < self.first:
            raise ValueError(f"last must be at least first = {self.first}, got {self.last}")

    def __call__(self, share: float) -> float:
        """Return the share of the examples when this share of the training is over."""
        return self.first + (self.last - self.first) * min(share / self.until, 1.0)


def paced(pacing: Pacing, share: float) -> float:
    """Return what a pacing says.

    Args:
        pacing: The pacing.
        share: How much of the training is over, in [0, 1].

    Raises:
        ValueError: That or what it says isn't a share.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], got {share}")
    part = float(pacing(share))
    if not 0 <= part <= 1:
        raise ValueError(f"a pacing must return a share in [0, 1], got {part} at {share}")
    return part
