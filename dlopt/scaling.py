r"""A unit for each parameter: a diagonal matrix D, and a radius that bounds Ds, not the step s.

Of one parameter in volts and another in nanometres, a radius for s would be right for the one only.
The diagonal grows with the curvature along each axis, so that other units change little
(Nocedal & Wright, section 4.5; for least squares Moré 1978).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

from torch import Tensor

from dlopt.evaluation import largest_entry, norm
from dlopt.trust_region import TrustState

_LEAST = 1e-20  # of the largest scale: less, as of a saturated sigmoid, tells no unit


@dataclass(frozen=True, eq=False, kw_only=True)
class ScaledState(TrustState):
    """A state whose radius bounds Ds: the diagonal of D so far, shape (n,), 0 where unknown."""

    scale: Tensor


S = TypeVar("S", bound=ScaledState)


def scaled(
    state: S, scale: Tensor, given: float | None, *, keep: float = 1.0, alike: float = 1.0
) -> tuple[S, Tensor]:
    """Return the state with the largest scale so far, and a radius if it had none; and D.

    Args:
        state: Where a step begins; a radius of infinity stands for none yet.
        scale: The curvature's root along each axis here, shape (n,).
        given: The first radius in the units of x; times ‖Dx‖/‖x‖, at the origin ‖D‖/√n, it is
            that of Ds. None: ‖Dx‖, at the origin ‖D‖.
        keep: How much of the scale before is kept, <= 1.
        alike: See ``units``.
    """
    state = replace(state, scale=(keep * state.scale).maximum(scale))
    D = units(state.scale, alike)
    if state.radius == math.inf:
        x = norm(state.x) or math.sqrt(len(scale))
        whole = whole_radius(state.x, D)
        state = replace(state, radius=whole if given is None else given * (whole / x))
    return state, D


def units(scale: Tensor, alike: float = 1.0) -> Tensor:
    """Return the diagonal of D, shape (n,), with its largest entry, or 1, where it is unknown.

    Args:
        scale: What is known of it, shape (n,), 0 where nothing is; next to 0 beside the largest
            counts as that.
        alike: Those within so many times their geometric mean become the mean; larger ones are
            divided by ``alike``, smaller ones multiplied by it.
    """
    largest = largest_entry(scale)
    D = scale.where(scale > _LEAST * largest, largest or 1.0)
    mean = D.log().mean().exp()
    return D / (D / mean).clamp(1 / alike, alike) if alike > 1 else D


def whole_radius(x: Tensor, D: Tensor) -> float:
    """Return the radius that changes θ by all of itself, ‖Dθ‖; at the origin ‖D‖."""
    return norm(D * x) or norm(D)
