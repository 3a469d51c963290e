"""Conjugate gradients: steps that don't undo each other, linear and nonlinear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dlopt.conjugate_memory import LOOSE, ConjugateMemory, ConjugateMemoryState, check_restart
from dlopt.descent import restarted, search
from dlopt.evaluation import inner
from dlopt.line_search import LineSearch, strong_wolfe
from dlopt.method import State
from dlopt.objective import Objective

# β from the new gradient, the one before, and the direction between them.
BetaRule = Callable[[Tensor, Tensor, Tensor], float]


def fletcher_reeves(g: Tensor, g_before: Tensor, rho: Tensor) -> float:
    r"""Return Fletcher and Reeves' coefficient, equation :eq:`eq-8-30`.

    .. math:: \beta_t = \frac{g_t^\top g_t}{g_{t-1}^\top g_{t-1}}

    Args:
        g: The gradient :math:`g_t`, shape (n,).
        g_before: The gradient :math:`g_{t-1}`, shape (n,).
        rho: The direction :math:`\rho_{t-1}`, shape (n,); not used.

    Returns:
        The coefficient β.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([3.0, 0.0]), torch.tensor([1.0, 1.0])
        >>> fletcher_reeves(a, b, -b), polak_ribiere(a, b, -b)
        (4.5, 3.0)
    """
    return _ratio(inner(g, g), inner(g_before, g_before))


def polak_ribiere(g: Tensor, g_before: Tensor, rho: Tensor) -> float:
    r"""Return Polak and Ribière's coefficient, equation :eq:`eq-8-31`.

    .. math:: \beta_t = \frac{(g_t - g_{t-1})^\top g_t}{g_{t-1}^\top g_{t-1}}

    Arguments and result as for ``fletcher_reeves``.
    """
    return _ratio(inner(g - g_before, g), inner(g_before, g_before))


def polak_ribiere_plus(g: Tensor, g_before: Tensor, rho: Tensor) -> float:
    r"""Return :math:`\max(\beta^{PR}_t, 0)`: a restart where Polak and Ribière's is negative.

    Gilbert & Nocedal, SIAM J. Optim. 2 (1992). Arguments and result as for ``fletcher_reeves``.
    """
    return max(polak_ribiere(g, g_before, rho), 0.0)


def hestenes_stiefel(g: Tensor, g_before: Tensor, rho: Tensor) -> float:
    r"""Return Hestenes and Stiefel's coefficient, the conjugacy condition solved for β.

    .. math:: \beta_t = \frac{(g_t - g_{t-1})^\top g_t}{(g_t - g_{t-1})^\top \rho_{t-1}}

    Hestenes & Stiefel, J. Res. Natl. Bur. Stand. 49 (1952). Arguments and result as for
    ``fletcher_reeves``.
    """
    y = g - g_before
    return _ratio(inner(y, g), inner(y, rho))


def _ratio(numerator: float, denominator: float) -> float:
    """Return the quotient, 0 (a restart) where the denominator is 0."""
    return numerator / denominator if denominator else 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class ConjugateState(State):
    """A state with what the next direction is made from.

    Attributes:
        direction: The last direction, shape (n,); zero before the first.
        beta: Its share in the next one; 0 asks for a start along the negative gradient.
        change: The first-order change ε gᵀρ that the last step made, 0 before the first.
        since_restart: Steps since the last start along the negative gradient.
    """

    direction: Tensor
    beta: float = 0.0
    change: float = 0.0
    since_restart: int = 0


@dataclass(frozen=True)
class ConjugateGradient:
    r"""Nonlinear conjugate gradients, Algorithm 8.9.

    .. math:: \rho_t = -g_t + \beta_t \rho_{t-1}, \qquad
              \theta_{t+1} = \theta_t + \varepsilon^* \rho_t

    The algorithm as printed starts from :math:`g_0 = 0`, so that β₁ divides by zero; here β₁ = 0.

    The default, without a rule for β, writes the same direction with a memory of a few steps
    (``ConjugateMemory``): loose line searches are then enough.

    Args:
        beta: The rule for β: ``fletcher_reeves``, ``polak_ribiere``, ``polak_ribiere_plus``,
            ``hestenes_stiefel``, or any function of (g, g_before, rho); None is the robust default.
        restart_every: Start afresh along the negative gradient after so many steps, >= 1. None:
            never; without a rule the memory is renewed after 3n steps.
        line_search: Chooses ε*: ``exact_quadratic`` is the analytic step on a quadratic. By default
            ``strong_wolfe`` with c2 = 0.1, or 0.5 without a rule.
        safeguard: Start afresh where the direction does not lead downhill or the line search
            fails; without a rule, also in the parameters' own units. Without it and with a rule
            given this is Algorithm 8.9 as printed.

    Raises:
        ValueError: ``restart_every`` is out of range.

    Example:
        >>> import torch, dlopt
        >>> bowl = lambda x: x[0] ** 2 + 10 * x[1] ** 2
        >>> exact = dlopt.exact_quadratic
        >>> method = dlopt.ConjugateGradient(dlopt.polak_ribiere, line_search=exact)
        >>> path = dlopt.minimize(bowl, torch.ones(2, dtype=torch.float64), method)
        >>> len(path.states) - 1, path.converged
        (2, True)
    """

    beta: BetaRule | None = None
    restart_every: int | None = None
    line_search: LineSearch | None = None
    safeguard: bool = True

    def __post_init__(self) -> None:
        check_restart(self.restart_every)

    def init(self, f: Objective, x: Tensor) -> ConjugateState | ConjugateMemoryState:
        """Return the state at ``x``, shape (n,), with β = 0."""
        if self.beta is None:
            return self._with_memory.init(f, x)
        return ConjugateState.begin(f.evaluate(x), direction=torch.zeros_like(x))

    def step(self, f: Objective, state: Any) -> Any:
        """Return the state after one line search, with what the next direction needs."""
        if self.beta is None:
            return self._with_memory.step(f, state)
        return self.step_by_beta(f, state, self.beta)

    def step_by_beta(
        self,
        f: Objective,
        state: ConjugateState,
        rule: BetaRule,
    ) -> ConjugateState:
        """Return the state after one turn of Algorithm 8.9."""
        g = state.grad
        rho = -g + state.beta * state.direction
        found = search(self.line_search or _ACCURATE, f, state, rho, change=state.change)
        if found is None and self.safeguard and (state.beta or state.change):
            return restarted(self.step, f, state, beta=0.0, change=0.0, since_restart=0)
        if found is None:
            return state.ended("line_search")
        steps = state.since_restart + 1
        restart = self.restart_every is not None and steps >= self.restart_every
        return state.moved(
            found.at,
            direction=rho,
            beta=0.0 if restart else rule(found.at.grad, g, rho),
            change=found.change,
            since_restart=0 if restart else steps,
        )

    def rescaled(
        self, state: ConjugateState | ConjugateMemoryState
    ) -> ConjugateState | ConjugateMemoryState:
        """Return the state with each parameter in its own unit; with a rule for β the same."""
        return state if isinstance(state, ConjugateState) else self._with_memory.rescaled(state)

    def expected_decrease(
        self, f: Objective, state: ConjugateState | ConjugateMemoryState
    ) -> float:
        """Return what the memory promises for the next step; a rule for β promises nothing."""
        if isinstance(state, ConjugateState):
            return 0.0
        return self._with_memory.expected_decrease(f, state)

    @property
    def _with_memory(self) -> ConjugateMemory:
        """The method that the default stands for."""
        return ConjugateMemory(self.restart_every, self.line_search or LOOSE, self.safeguard)


_ACCURATE = partial(strong_wolfe, c2=0.1)


def linear_cg(A: Any, b: Any, steps: int) -> list[Any]:
    r"""Solve :math:`A\theta = b` by conjugate gradients, in the arithmetic of the input.

    Nocedal & Wright, algorithm 5.2, from :math:`\theta_0 = 0`. NumPy arrays of ``Fraction`` give
    exact rational arithmetic.

    Args:
        A: A symmetric positive definite matrix, shape (n, n).
        b: The right-hand side, shape (n,).
        steps: The most steps, >= 0.

    Returns:
        The iterates, each of shape (n,), the first 0; fewer than ``steps`` + 1 where the residual
        is exactly zero.

    Example:
        >>> from fractions import Fraction
        >>> import numpy as np
        >>> A = np.array([[Fraction(2), Fraction(1)], [Fraction(1), Fraction(3)]])
        >>> b = np.array([Fraction(1), Fraction(0)])
        >>> [str(x) for x in linear_cg(A, b, 5)[-1]]
        ['3/5', '-1/5']
    """
    theta = 0 * b
    g = A @ theta - b
    rho, gg = -g, g @ g
    path = [theta]
    for _ in range(steps):
        if gg == 0:
            break
        H_rho = A @ rho
        epsilon = gg / (rho @ H_rho)
        theta = theta + epsilon * rho
        g = g + epsilon * H_rho
        gg_before, gg = gg, g @ g
        rho = -g + gg / gg_before * rho
        path.append(theta)
    return path
