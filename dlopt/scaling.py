r"""A unit for each parameter: a diagonal matrix D, and a radius that bounds Ds, not the step s.

Of one parameter in volts and another in nanometres, a radius for s would be right for the one only.
The diagonal grows with the curvature along each axis, so that other units change nothing
(Nocedal & Wright, section 4.5; for least squares Moré 1978).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

from torch import Tensor

from dlopt.evaluation import largest_entry, norm
from dlopt.trust_region import TrustState


@dataclass(frozen=True, eq=False, kw_only=True)
class ScaledState(TrustState):
    """A state whose radius bounds Ds: the diagonal of D so far, shape (n,), 0 where unknown."""

    scale: Tensor


S = TypeVar("S", bound=ScaledState)


def scaled(
    state: S, scale: Tensor, given: float | None, *, share: float = 1.0, keep: float = 1.0
) -> S:
    """Return the state with the largest scale so far, and with a radius if it has none yet.

    Args:
        state: Where a step begins.
        scale: The diagonal of D here, shape (n,).
        given: The first radius in the units of x, which D changes in proportion to ‖Dx‖/‖x‖.
        share: Of ‖Dx‖, the first radius where none is given; of ‖D‖ at the origin.
        keep: How much of the scale before is kept, <= 1.
    """
    state = replace(state, scale=(keep * state.scale).maximum(scale))
    if state.radius < math.inf:
        return state
    reach = whole_radius(state)
    x = norm(state.x) or math.sqrt(len(scale))
    return replace(state, radius=share * reach if given is None else given * (reach / x))


def whole_radius(state: ScaledState) -> float:
    """Return the radius that changes θ by all of itself, ‖Dθ‖; at the origin ‖D‖."""
    D = units(state.scale)
    return norm(D * state.x) or norm(D)


def units(scale: Tensor) -> Tensor:
    """Return the diagonal of D, shape (n,), with its largest entry, or 1, where it is unknown."""
    return scale.where(scale > 0, largest_entry(scale) or 1.0)
