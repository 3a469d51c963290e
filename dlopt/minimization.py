"""Run a method until a criterion is met, and record its path."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlopt.evaluation import check_whole, rounding
from dlopt.method import Method, State, iterate
from dlopt.noise import VISIBLE
from dlopt.objective import Objective
from dlopt.stopping import StoppingRule

REASONS = (
    "gradient",  # converged: the gradient, or at a kink a mean of those around, is 0 to tolerance,
    # and nothing that matters is left to gain
    "max_steps",  # the budget of iterations is spent
    "line_search",  # no acceptable point along the direction, even from a fresh start
    "no_decrease",  # what is left is below what floating point can represent; converged where that
    # was measured, not where a method merely found no step
    "plateau",  # the gradient is small because J no longer depends on some entry of the point
    "non_finite",  # the next point has no finite value or gradient
    "singular",  # the literal Newton step met a singular system
    "callback",  # the callback asked to stop
    "kink",  # coordinate descent: no block lowers the value, a joint step does
    "cycle",  # coordinate descent: the path is back where an earlier sweep began
)


@dataclass(frozen=True, eq=False)
class Path:
    """What a run of ``minimize`` found, and how.

    Attributes:
        x: The point returned, shape (n,): where the run converged, else the best point visited.
        value: The objective there, 0-d.
        grad: The gradient there, shape (n,).
        states: The states visited, the first at x0 (only first and last with ``record=False``).
        converged: Whether the gradient met its tolerance at ``x`` and nothing that matters was left
            to gain there, or only rounding was.
        reason: Why the run ended, one of ``REASONS``.
        evaluations: Evaluations spent: one is one forward pass with at most one gradient.
        hessian_products: Products with the Hessian spent (n for a whole Hessian).
        counts: Evaluations spent when each state was reached; like what follows, one entry a state
            visited, also where ``record=False`` keeps no states.
        seconds: Wall time when each state was reached.
        values: The objective at each state.
    """

    x: Tensor
    value: Tensor
    grad: Tensor
    states: tuple[State, ...]
    converged: bool
    reason: str
    evaluations: int
    hessian_products: int
    counts: tuple[int, ...]
    seconds: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def points(self) -> Tensor:
        """The trajectory, shape (states, n)."""
        return torch.stack([state.x for state in self.states])


def minimize(
    f: Callable[[Tensor], Tensor],
    x0: Tensor,
    method: Method[Any],
    *,
    max_steps: int = 1000,
    grad_tol: float | None = None,
    callback: Callable[[State], object] | None = None,
    record: bool = True,
) -> Path:
    r"""Minimise ``f`` from ``x0`` by ``method`` until :math:`\|\nabla f(x_t)\|_\infty` is small.

    And until nothing that matters is left to gain: see ``StoppingRule``. A run ends, too, where all
    that is left drowns in the rounding of f.

    Args:
        f: Maps a tensor of shape (n,) to a 0-d tensor (to the residuals, shape (m,), for
            ``LevenbergMarquardt``); autograd differentiates it.
        x0: The start, shape (n,), float32 or float64, on any device; it is never changed.
        method: What to run, for example ``Newton()``.
        max_steps: The most iterations, >= 0.
        grad_tol: Bound on the largest absolute entry of the gradient, > 0, which is enough. By
            default 1e-10 times that of the first gradient (4e-5 times in float32): a share, so that
            minimising c·f instead of f changes nothing. Then it isn't enough: a first gradient may
            be huge.
        callback: Called with every state; its point, value and gradient are copies. The run ends
            where it returns True, a comparison of tensors included, or raises ``StopIteration``,
            as for SciPy; any other result doesn't.
        record: Keep every state; otherwise only the first and the last.

    Returns:
        The path. A run that stops early returns the best point that it visited.

    Raises:
        ValueError: A setting is out of range, ``x0`` is no finite 1-D float tensor, or ``f`` has
            no finite value and gradient there.

    Example:
        >>> import torch, dlopt
        >>> quartic = lambda x: ((x - 3) ** 4).sum()
        >>> path = dlopt.minimize(quartic, torch.zeros(2), dlopt.Newton())
        >>> path.converged, path.reason
        (True, 'gradient')
    """
    check_whole("max_steps", max_steps, 0)
    if grad_tol is not None and not (grad_tol > 0 and math.isfinite(grad_tol)):
        raise ValueError(f"grad_tol must be > 0, got {grad_tol}")
    objective = Objective(f)
    rule = StoppingRule(objective, method, grad_tol)
    rescaled = getattr(method, "rescaled", lambda state: state)
    states: list[State] = []
    counts: list[int] = []
    seconds: list[float] = []
    values: list[float] = []
    least = math.inf
    began = time.perf_counter()
    state = next(iterate(objective, x0, method))
    eps, rescaled_at = torch.finfo(x0.dtype).eps, math.inf
    for step in itertools.count():
        counts.append(objective.evaluations)
        seconds.append(time.perf_counter() - began)
        values.append(float(state.value))
        if values[-1] < least:
            best, least = state.plain, values[-1]
        if not record and step > 1:
            states.pop()
        states.append(state.plain)
        found = rule(state)
        reason = found or state.reason
        # Much is left to gain, and the method finds no way to it: what about other units?
        stuck = reason == "line_search" or (not reason and rule.stalls)
        if stuck and rescaled_at - values[-1] > VISIBLE * rounding(values[-1], eps):
            state, rescaled_at = rescaled(state), values[-1]
            states[-1], reason = state.plain, state.reason
        stop = callback is not None and asks_to_stop(callback, _shown(state))
        if not reason and stop:
            reason = "callback"
        elif not reason and step >= max_steps:
            reason = "max_steps"
        if reason:
            break
        state = method.step(objective, state)
    objective.release()
    converged = found in ("gradient", "no_decrease") or reason == "gradient"
    end = states[-1] if converged else best
    return Path(
        x=end.x,
        value=end.value,
        grad=end.grad,
        states=tuple(states),
        converged=converged,
        reason=reason,
        evaluations=objective.evaluations,
        hessian_products=objective.hessian_products,
        counts=tuple(counts),
        seconds=tuple(seconds),
        values=tuple(values),
    )


def asks_to_stop(callback: Callable[..., object], *arguments: object) -> bool:
    """Call ``callback`` and return whether it returned True or raised ``StopIteration``.

    A number or a text is no wish to stop: a callback may be a call that happens to return one. A
    true comparison of NumPy or PyTorch is.
    """
    try:
        answer = callback(*arguments)
    except StopIteration:
        return True
    if isinstance(answer, Tensor):
        return answer.dtype == torch.bool and bool(answer)
    return isinstance(answer, bool | np.bool_) and bool(answer)


def _shown(state: State) -> State:
    """Return the state as a callback may have it, which may write into what it gets."""
    own = {name: getattr(state, name).clone() for name in ("x", "value", "grad")}
    return replace(state, **own)
