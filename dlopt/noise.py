"""How much of J is rounding: as much as it ought to be, or as its values show."""

from __future__ import annotations

import torch

from dlopt.evaluation import Evaluation, rounding
from dlopt.method import State
from dlopt.objective import Objective

VISIBLE = 10.0  # times the rounding: what has to be gained to be seen


def noise_of(before: State, state: State) -> float:
    """Return how much of J is rounding: as much as it ought to be, or what the step shows."""
    return max(rounding_of(before, state), disagreement(before, state))


def rounding_of(before: State, state: State) -> float:
    """Return how large the rounding of J ought to be: of its value and of the point."""
    eps = torch.finfo(state.x.dtype).eps
    size = (state.x.abs() + before.x.abs()).double()
    point = eps * float(state.grad.abs().double().dot(size))
    return rounding(float(state.value), eps) + point


def disagreement(before: State, after: State | Evaluation) -> float:
    """Return by how much J changed where slopes say it hardly should: its rounding, in its units.

    Between two points as near as the leading half of all digits, J changes by no more than twice
    what the steeper of the two slopes says.
    """
    step = (after.x - before.x).double()
    size = before.x.abs().double() + after.x.abs().double()
    if not bool((step.abs() <= torch.finfo(before.x.dtype).eps ** 0.45 * size).all()):
        return 0.0
    steepest = max(abs(float(at.grad.double().dot(step))) for at in (before, after))
    change = abs(float(after.value) - float(before.value))
    return change if change > 2 * steepest else 0.0


def seen_around(f: Objective, state: State) -> float:
    r"""Return how much of J is rounding by six values around θ, in its units.

    Two by two on opposite sides: rounding shows on both, a jump of J on one. And ever nearer: what
    changes J there is less and less its slope. In the spirit of ECnoise (Moré & Wild, SIAM J. Sci.
    Comput. 33, 2011).
    """
    noise, eps = 0.0, torch.finfo(state.x.dtype).eps
    for k in (1, 2, 3):
        around = (shaken(f, state, k, side * eps ** (0.5 + k / 8)) for side in (1, -1))
        less, more = sorted(disagreement(state, at) if at.finite else 0.0 for at in around)
        noise = max(noise, min(VISIBLE * less, more))
    return noise


def shaken(f: Objective, state: State, k: int, share: float) -> Evaluation:
    """Evaluate with each entry of θ moved by at most a ``share`` of itself, k times another way."""
    i = torch.arange(1, len(state.x) + 1, dtype=state.x.dtype, device=state.x.device)
    return f.evaluate(state.x + share * state.x.abs() * torch.cos(k * i))
