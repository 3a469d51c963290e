"""Conjugate gradients with a memory: the robust default of ``ConjugateGradient``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from dlopt.descent import in_own_units, restarted, search
from dlopt.evaluation import check_whole, inner
from dlopt.lbfgs import two_loop
from dlopt.line_search import LineSearch, strong_wolfe
from dlopt.method import State
from dlopt.objective import Objective
from dlopt.secant import SecantPair, curvature_scale, secant_pair


@dataclass(frozen=True, eq=False, kw_only=True)
class ConjugateMemoryState(State):
    """A state with what the next direction is made from.

    Attributes:
        pairs: The first two pairs (s, y, sᵀy) since the last restart, then the latest.
        since_restart: Steps since the last start with nothing in memory.
        D: M starts from γ times this diagonal, shape (n,); None: from γI.
    """

    pairs: tuple[SecantPair, ...] = ()
    since_restart: int = 0
    D: Tensor | None = None


LOOSE = partial(strong_wolfe, c2=0.5)


@dataclass(frozen=True)
class ConjugateMemory:
    r"""Conjugate gradients whose direction comes from at most three pairs.

    .. math:: \rho_t = -M_t g_t, \qquad \theta_{t+1} = \theta_t + \varepsilon^* \rho_t

    Under exact line searches :math:`-g_t + \beta_t \rho_{t-1}` is :math:`-M_t g_t`, where M_t is
    one BFGS update of the identity (Shanno, Math. Oper. Res. 3, 1978). In place of the identity M
    starts from the first two updates after a restart, which costs four vectors more and makes
    loose line searches enough (Buckley & LeNir, Math. Program. 27, 1983).

    Args:
        restart_every: Forget everything after so many steps; None: all but the latest pair, after
            3n steps.
        line_search: Chooses ε*; by default ``strong_wolfe`` with c2 = 0.5.
        safeguard: As for ``ConjugateGradient``.

    Raises:
        ValueError: ``restart_every`` is out of range.
    """

    restart_every: int | None = None
    line_search: LineSearch = LOOSE
    safeguard: bool = True

    def __post_init__(self) -> None:
        check_restart(self.restart_every)

    def init(self, f: Objective, x: Tensor) -> ConjugateMemoryState:
        """Return the state at ``x``, shape (n,), with nothing in memory."""
        return ConjugateMemoryState.begin(f.evaluate(x))

    def step(self, f: Objective, state: ConjugateMemoryState) -> ConjugateMemoryState:
        """Return the state after one line search, with what it taught."""
        pairs, D = state.pairs, state.D
        gamma = curvature_scale(pairs[-1], D) if pairs else 1.0
        rho = two_loop(state.grad, pairs, gamma, D).neg_()
        found = search(self.line_search, f, state, rho, first=1.0 if pairs else None)
        if found is None and self.safeguard and pairs:
            return restarted(self.step, f, state, pairs=(), since_restart=0, D=None)
        if found is None:
            return state.ended("line_search")
        new = secant_pair(state, found.at, safeguard=self.safeguard)
        steps = state.since_restart + 1
        if self.restart_every is not None and steps >= self.restart_every:
            pairs, steps = (), 0
        elif new is not None and self.restart_every is None and steps >= 3 * len(rho):
            pairs, steps = (new,), 0
        elif new is not None:
            pairs = (*pairs[:2], new)
        return state.moved(found.at, pairs=pairs, since_restart=steps)

    def rescaled(self, state: ConjugateMemoryState) -> ConjugateMemoryState:
        """Return the state with nothing in memory, and with each parameter in a unit of its own."""
        if not self.safeguard:
            return state
        return replace(state, reason="", pairs=(), since_restart=0, D=in_own_units(state.x))

    def expected_decrease(self, f: Objective, state: ConjugateMemoryState) -> float:
        """Return what M promises for the next step, ½gᵀMg; 0 while the memory is empty."""
        if not state.pairs:
            return 0.0
        gamma = curvature_scale(state.pairs[-1], state.D)
        return 0.5 * inner(state.grad, two_loop(state.grad, state.pairs, gamma, state.D))


def check_restart(restart_every: int | None) -> None:
    """Raise ``ValueError`` unless ``restart_every`` is >= 1, or None."""
    if restart_every is not None:
        check_whole("restart_every", restart_every, 1)
