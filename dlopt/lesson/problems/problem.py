"""A function to minimise, with what is known about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Window = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """A function to minimise, with what is known about it. Calling it calls ``f``.

    Attributes:
        name: What figures and tables call it.
        f: Maps a tensor of shape (n,) to a 0-d tensor.
        x0: The usual start, shape (n,).
        minimum: The lowest value; -inf where there is none.
        minimizers: The points of lowest value, shape (k, n); none where k = 0.
        window: The part of the plane worth drawing, ((x_low, x_high), (y_low, y_high)).
    """

    name: str
    f: Callable[[Tensor], Tensor]
    x0: Tensor
    minimum: float
    minimizers: Tensor
    window: Window = ((-2.0, 2.0), (-2.0, 2.0))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the value at ``x``, shape (n,), as a 0-d tensor."""
        return self.f(x)

    @property
    def n(self) -> int:
        """The number of variables."""
        return self.x0.numel()
