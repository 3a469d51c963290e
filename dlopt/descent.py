"""One step of a descent method: a line through the point, a search along it, one fresh start."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from dlopt.evaluation import Evaluation, inner, norm, rounding
from dlopt.line_search import LineSearch, Trial
from dlopt.method import State
from dlopt.objective import Objective

S = TypeVar("S", bound=State)


class LineFunction:
    r""":math:`\varphi(\varepsilon) = J(\theta + \varepsilon\rho)` of an objective.

    Args:
        f: The objective J.
        state: Where the line starts; its value and gradient are reused.
        direction: The direction ρ, shape (n,).

    Attributes:
        value: φ(0).
        slope: φ'(0).
        eps: The machine precision.
        tiny: The step that begins to move the point.
        held: Entries that the latest trial should have moved and that stay at ε = 0; None if none.
    """

    def __init__(self, f: Objective, state: State, direction: Tensor) -> None:
        self._f = f
        self._state = state
        self._direction = direction
        self.value = float(state.value)
        self.slope = inner(state.grad, direction)
        self.eps = torch.finfo(state.x.dtype).eps
        self.held: Tensor | None = None

    def __call__(self, step: float) -> Trial:
        """Evaluate the objective at ``step``."""
        x = self._state.x
        # A search without end asks for steps that a float32 can't hold, and PyTorch raises.
        held = step if step <= torch.finfo(x.dtype).max else math.inf
        asked = x.add(self._direction, alpha=held)
        at = self._f.evaluate(asked)
        slope = inner(at.grad, self._followed(asked, at.x)) if at.finite else math.nan
        return Trial(step, at.J, slope, at)

    def _followed(self, asked: Tensor, at: Tensor) -> Tensor:
        """Return the direction of the entries that went where asked; others have no slope."""
        if at is asked:
            return self._direction
        start = self._state.x
        held = (at == start) & (asked != start)
        self.held = held if bool(held.any()) else None
        bound = math.sqrt(self.eps) * (asked - start).abs()
        return self._direction.where((at - asked).abs() <= bound, 0.0)

    @cached_property
    def tiny(self) -> float:
        """The step that moves some entry of the point by a unit in the last place."""
        size = self._state.x.abs()
        size = size.clamp(min=math.sqrt(self.eps) * float(size.max()))
        fastest = float(
            (self._direction.abs() / size.clamp(min=torch.finfo(size.dtype).tiny)).max()
        )
        return self.eps / fastest if fastest > 0 else 0.0

    def curvature(self) -> float:
        """Return ρᵀHρ, from one Hessian product."""
        return inner(self._direction, self._f.curvature(self._state.x).product(self._direction))


class _HeldError(Exception):
    """A trial found entries held where they are: its arguments are which, and the trial."""


class _Line(LineFunction):
    """A line whose search begins anew, without them, where entries turn out to be held."""

    known: Trial | None = None

    def __call__(self, step: float) -> Trial:
        """Evaluate at ``step``, unless that is known already."""
        if self.known is not None and step == self.known.step:
            return self.known
        trial = super().__call__(step)
        if self.held is not None:
            raise _HeldError(self.held, trial)
        return trial


@dataclass(frozen=True, eq=False, slots=True)
class Found:
    """Where a line search ended.

    Attributes:
        at: The evaluation there.
        change: The first-order change ε gᵀρ < 0 on the way.
    """

    at: Evaluation
    change: float


def search(
    line_search: LineSearch,
    f: Objective,
    state: State,
    rho: Tensor,
    *,
    first: float | None = None,
    change: float = 0.0,
) -> Found | None:
    """Search along a direction.

    A closure over parameters may move them, as one that clamps an image or masks pruned weights.
    Entries that a trial finds held where they are leave the direction: it is then one within the
    bounds (compare the projected search of Bertsekas, SIAM J. Control Optim. 20, 1982).

    Args:
        line_search: Chooses the step ε.
        f: The objective.
        state: Where the line starts.
        rho: The direction ρ, shape (n,).
        first: The first trial step. None: one that expects ``change`` again.
        change: The first-order change of the step before, < 0 (Nocedal & Wright, section 3.5); 0
            before the first step, where ``first_guess`` takes its place.

    Returns:
        Where the search ended; None where ρ does not lead downhill or nothing was acceptable.

    Raises:
        ValueError: The line search returned a trial that it did not get from φ.
    """
    known = None
    while True:
        phi = _Line(f, state, rho)
        phi.known = known
        if not -math.inf < phi.slope < 0:
            return None
        if first is None:
            first = change / phi.slope if change < 0 else first_guess(state, rho)
        try:
            trial = line_search(phi, first) if 0 < first < math.inf else None
            break
        except _HeldError as found:  # the line goes on with the other entries, less steep
            held, known = found.args
            rho = rho.masked_fill(held, 0.0)
    if trial is None:
        return None
    if trial.at is None:
        raise ValueError("the line search must return a trial made by the phi it was given")
    return Found(trial.at, trial.step * phi.slope)


def first_guess(state: State, rho: Tensor) -> float:
    r"""Guess a first step along ρ, shape (n,), free of the scale of the objective.

    :math:`\min(\max(1, \|\theta\|)/\|\rho\|,\; 2|J|/\|g\|\|\rho\|)`: no longer than the point
    itself, and along −g no further than to the zero of the objective.
    """
    length = norm(rho) or math.inf  # its square may be too small for a number
    reach = max(1.0, norm(state.x)) / length
    drop = 2 * abs(float(state.value)) / norm(state.grad) / length
    return min(reach, drop) if drop > 0 else reach


def promises(state: State) -> bool:
    """Return whether the gradient, on a way as long as the point, promises more than rounding."""
    reach = norm(state.grad) * max(1.0, norm(state.x))
    return reach > rounding(float(state.value), torch.finfo(state.x.dtype).eps)


def in_own_units(x: Tensor) -> Tensor:
    """Return the squares of the entries of ``x``, shape (n,), relative to the largest one.

    As a diagonal D they make −Dg the steepest descent where each parameter is measured by its own
    size. Zeros, which tell no size, count as the largest; other sizes are at least eps times that.
    """
    size, (eps, tiny) = x.abs(), (getattr(torch.finfo(x.dtype), name) for name in ("eps", "tiny"))
    largest = size.max().clamp(min=tiny)
    return (size.where(size > 0, largest) / largest).clamp(min=eps).square()


def restarted(step: Callable[[Objective, S], S], f: Objective, state: S, **forgotten: Any) -> S:
    """Step once more with the memory as it was at first; if that fails too, end with all of it.

    Where the gradient promises no more than rounding nothing is tried: no memory is to blame.

    Args:
        step: The step that failed.
        f: The objective.
        state: Where it failed.
        **forgotten: The memory's entries as they were at first.

    Returns:
        The state after a step that forgot, or the given one with the reason why there is none.
    """
    if not promises(state):
        return state.ended("line_search")
    afresh = step(f, replace(state, **forgotten))
    return state.ended(afresh.reason) if afresh.reason else afresh
