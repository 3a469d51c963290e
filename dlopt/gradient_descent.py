"""Gradient descent, with momentum or with a line search: what second-order methods must beat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dlopt.descent import search
from dlopt.evaluation import inner
from dlopt.line_search import LineSearch, strong_wolfe
from dlopt.method import State
from dlopt.objective import Objective


@dataclass(frozen=True, eq=False, kw_only=True)
class MomentumState(State):
    """A state with the velocity v, shape (n,), in the units of a gradient."""

    velocity: Tensor


@dataclass(frozen=True)
class GradientDescent:
    r"""Gradient descent with a fixed learning rate, and momentum if asked for.

    .. math:: v_{t+1} = \mu v_t + \nabla J(\theta_t), \qquad
              \theta_{t+1} = \theta_t - \varepsilon v_{t+1}

    Momentum as in PyTorch's SGD. With one ε for all steps that is *Deep Learning*, equations (8.15)
    and (8.16), whose velocity is −ε v; where a schedule changes ε, a step follows it at once.

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
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise ValueError(f"learning_rate must be > 0 and finite, got {self.learning_rate}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")

    def init(self, f: Objective, x: Tensor) -> MomentumState:
        """Return the state at ``x``, shape (n,), at rest."""
        return MomentumState.begin(f.evaluate(x), velocity=torch.zeros_like(x))

    def step(self, f: Objective, state: MomentumState) -> MomentumState:
        """Return the state after one update; the last one where the next is not finite."""
        velocity = self.momentum * state.velocity + state.grad
        at = f.evaluate(state.x - self.learning_rate * velocity)
        if not (at.finite and bool(at.x.isfinite().all())):
            return state.ended("non_finite")
        return state.moved(at, velocity=velocity)


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
        return DescentState.begin(f.evaluate(x))

    def step(self, f: Objective, state: DescentState) -> DescentState:
        """Return the state after one line search; the last one where the search fails."""
        found = search(self.line_search, f, state, -state.grad, change=state.change)
        if found is not None:
            return state.moved(found.at, change=found.change)
        square = inner(state.grad, state.grad)  # it may under- or overflow
        reasons = {0.0: "no_decrease", math.inf: "non_finite"}
        return state.ended(reasons.get(square, "line_search"))
