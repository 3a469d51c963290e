"""The objective at one point, and what flat vectors need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor


class Evaluation(NamedTuple):
    """The objective at one point: the outcome of one forward pass and at most one gradient.

    Attributes:
        x: The point, shape (n,).
        value: The objective, 0-d, detached.
        grad: Its gradient, shape (n,), detached; NaN where ``finite`` is false.
        J: ``value`` as a Python float, so that nobody waits for the device twice.
        finite: Whether value and gradient hold neither NaN nor infinity.
    """

    x: Tensor
    value: Tensor
    grad: Tensor
    J: float
    finite: bool


def rounding(value: float, eps: float) -> float:
    """Return how much of ``value`` may be rounding: differences below it tell nothing.

    Ten units in the last place: a sum of squares or of losses passes through a few roundings, and
    the difference of two of them through twice as many.

    Args:
        value: The objective.
        eps: The machine precision of the numbers behind it.
    """
    return 10 * eps * abs(value)


def check_whole(name: str, value: object, least: int) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number >= ``least``, NumPy's included."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")


def largest_entry(v: Tensor) -> float:
    r"""Return :math:`\|v\|_\infty`, NaN if ``v``, shape (n,), holds one."""
    low, high = torch.aminmax(v)  # an order of magnitude faster than the norm
    return max(-low.item(), high.item())


def is_finite(v: Tensor) -> bool:
    """Return whether ``v``, shape (n,), holds neither NaN nor infinity."""
    # One wait for the device; only where a sum of finite numbers overflows are there three.
    return math.isfinite(v.sum().item()) or math.isfinite(largest_entry(v))


def inner(a: Tensor, b: Tensor) -> float:
    r"""Return :math:`a^\top b`, also where ``a`` and ``b``, shape (n,), can't hold it themselves.

    In float32 already :math:`g^\top g` leaves the numbers where g is 1e24 or 1e-24.
    """
    return _held(a.dot(b).item(), a, b)


def inners(*pairs: tuple[Tensor, Tensor]) -> list[float]:
    """Return ``inner`` of each pair of vectors, with one wait for the device."""
    dots = [a.dot(b) for a, b in pairs]
    # Stacking them takes longer than to read them, where nobody has to be waited for.
    there = dots[0].is_cpu
    products = [dot.item() for dot in dots] if there else torch.stack(dots).tolist()
    return [_held(product, a, b) for product, (a, b) in zip(products, pairs, strict=True)]


def _held(product: float, a: Tensor, b: Tensor) -> float:
    """Return the product of two vectors, computed anew where their numbers couldn't hold it."""
    if 1e-30 < abs(product) < 1e38:  # within float32 by far, and nearly always
        return product
    info = torch.finfo(a.dtype)
    if info.tiny / info.eps <= abs(product) <= info.max:
        return product
    p, q = largest_entry(a), largest_entry(b)
    if not (0 < p < math.inf and 0 < q < math.inf):
        return product
    return float((a / p).dot(b / q)) * p * q


def norm(v: Tensor) -> float:
    r"""Return :math:`\|v\|_2`, also where the square of it leaves the numbers of ``v``."""
    return math.sqrt(inner(v, v))


def dense(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the same tensors, sparse ones (an embedding's gradient may be one) made dense."""
    return [t.to_dense() if t.is_sparse else t for t in tensors]


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """Join the entries of all tensors in a vector that shares no memory with them."""
    return torch.cat([t.flatten() for t in tensors])


def split(v: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Cut the last axis of ``v`` into the shapes of ``like``; a leading axis stays."""
    parts, lead = v.split_with_sizes([t.numel() for t in like], dim=-1), v.shape[:-1]
    if not lead:
        return [p.reshape_as(t) for p, t in zip(parts, like, strict=True)]
    return [p.reshape(lead + t.shape) for p, t in zip(parts, like, strict=True)]
