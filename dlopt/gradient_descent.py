"""Gradient descent, with momentum or with a line search: what second-order methods must beat."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dlopt.line_search import LineFunction, LineSearch, strong_wolfe
from dlopt.method import State
from dlopt.objective import Evaluation, Objective


@dataclass(frozen=True, eq=False, kw_only=True)
class MomentumState(State):
    """A state with the velocity v, shape (n,)."""

    velocity: Tensor


@dataclass(frozen=True)
class GradientDescent:
    r"""Gradient descent with a fixed learning rate, and momentum if asked for.

    .. math:: v_{t+1} = \mu v_t - \varepsilon \nabla J(\theta_t), \qquad
              \theta_{t+1} = \theta_t + v_{t+1}

    Momentum as in *Deep Learning*, equations (8.15) and (8.16).

    Args:
        learning_rate: The learning rate ε, > 0.
        momentum: The share μ of the velocity that stays, in [0, 1).

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> import torch, dlopt
        >>> bowl = lambda x: (x * x).sum()
        >>> path = dlopt.minimize(bowl, torch.ones(2), dlopt.GradientDescent(learning_rate=0.5))
        >>> path.x.tolist()
        [0.0, 0.0]
    """

    learning_rate: float = 0.1
    momentum: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise ValueError(f"learning_rate must be > 0 and finite, got {self.learning_rate}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")

    def init(self, f: Objective, x: Tensor) -> MomentumState:
        """Return the state at ``x``, shape (n,), at rest."""
        at = f.evaluate(x)
        return MomentumState(x=x, value=at.value, grad=at.grad, velocity=torch.zeros_like(x))

    def step(self, f: Objective, state: MomentumState) -> MomentumState:
        """Return the state after one update; the last one where the next is not finite."""
        velocity = self.momentum * state.velocity - self.learning_rate * state.grad
        at = f.evaluate(state.x + velocity)
        if not (at.finite and bool(at.x.isfinite().all())):
            return replace(state, reason="non_finite")
        return MomentumState(x=at.x, value=at.value, grad=at.grad, velocity=velocity)


@dataclass(frozen=True, eq=False, kw_only=True)
class DescentState(State):
    """A state with the first-order change ε gᵀρ that the last step made (0 before the first)."""

    change: float = 0.0


@dataclass(frozen=True)
class SteepestDescent:
    r"""Go along the negative gradient as far as a line search says.

    .. math:: \theta_{t+1} = \theta_t - \varepsilon^* \nabla J(\theta_t)

    The first trial step expects the first-order change of the step before (Nocedal & Wright,
    section 3.5).

    Args:
        line_search: Chooses ε*: ``strong_wolfe``, ``backtracking``, ``exact_quadratic``, or any
            function of (φ, first step).

    Example:
        >>> import torch, dlopt
        >>> bowl = lambda x: (x * x).sum()
        >>> search = dlopt.exact_quadratic
        >>> dlopt.minimize(bowl, torch.ones(2), dlopt.SteepestDescent(search)).x.tolist()
        [0.0, 0.0]
    """

    line_search: LineSearch = strong_wolfe

    def init(self, f: Objective, x: Tensor) -> DescentState:
        """Return the state at ``x``, shape (n,)."""
        at = f.evaluate(x)
        return DescentState(x=x, value=at.value, grad=at.grad)

    def step(self, f: Objective, state: DescentState) -> DescentState:
        """Return the state after one line search; the last one where the search fails."""
        g = state.grad
        slope = -float(g.dot(g))
        if slope == 0:
            return replace(state, reason="no_decrease")
        first = state.change / slope if state.change < 0 else first_step(state)
        if not (slope > -math.inf and 0 < first < math.inf):
            return replace(state, reason="non_finite")  # the square of the gradient overflows
        trial = self.line_search(LineFunction(f, state, -g), first)
        if trial is None:
            return replace(state, reason="line_search")
        at = accepted(trial.at)
        return DescentState(x=at.x, value=at.value, grad=at.grad, change=trial.step * slope)


def first_step(state: State) -> float:
    r"""Guess a first step along the negative gradient, free of the scale of the objective.

    :math:`\min(\max(1, \|\theta\|)/\|g\|,\; 2|J|/\|g\|^2)`: no longer than the point itself, and
    no further than to the zero of the objective.
    """
    norm = float(torch.linalg.vector_norm(state.grad))
    reach = max(1.0, float(torch.linalg.vector_norm(state.x))) / norm
    drop = 2 * abs(float(state.value)) / norm / norm
    return min(reach, drop) if drop > 0 else reach


def accepted(at: Evaluation | None) -> Evaluation:
    """Return the evaluation behind a trial of a ``LineFunction``, which always has one."""
    if at is None:
        raise ValueError("the line search must return a trial made by the phi it was given")
    return at
