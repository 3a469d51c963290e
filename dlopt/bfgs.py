"""BFGS: learn the inverse Hessian from how the gradient changes from step to step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from dlopt.descent import in_own_units, restarted, search
from dlopt.evaluation import inner
from dlopt.line_search import LineSearch, weak_wolfe
from dlopt.method import State
from dlopt.objective import Objective
from dlopt.secant import curvature_scale, secant_pair


def bfgs_update(M: Tensor, s: Tensor, y: Tensor) -> Tensor:
    r"""Return the matrix nearest to M that meets the secant equation :math:`M_+ y = s`.

    .. math:: M_+ = (I - \varrho s y^\top) M (I - \varrho y s^\top) + \varrho s s^\top,
              \qquad \varrho = 1 / s^\top y

    Multiplied out, that is a change of rank two, :math:`M + s u^\top + u s^\top` with
    :math:`u = \tfrac12\varrho(1 + \varrho\, y^\top M y)\, s - \varrho M y`: O(n²) work, no product
    of matrices (Nocedal & Wright, equation 6.17; nearest in a weighted Frobenius norm).

    Args:
        M: The approximation of the inverse Hessian, shape (n, n), symmetric.
        s: The step :math:`\theta_{t+1} - \theta_t`, shape (n,).
        y: The change of the gradient along it, shape (n,).

    Returns:
        The new approximation, shape (n, n): symmetric, and positive definite if M is and
        :math:`s^\top y > 0`.

    Example:
        >>> import torch
        >>> s, y = torch.tensor([1.0, 0.0]), torch.tensor([4.0, 0.0])
        >>> bfgs_update(torch.eye(2), s, y).tolist()
        [[0.25, 0.0], [0.0, 1.0]]
    """
    varrho = 1 / s.dot(y)
    My = M @ y
    u = 0.5 * varrho * (1 + varrho * y.dot(My)) * s - varrho * My
    return torch.addmm(M, torch.stack((s, u), dim=1), torch.stack((u, s)))


@dataclass(frozen=True, eq=False, kw_only=True)
class BFGSState(State):
    """A state with the approximation of the inverse Hessian.

    Attributes:
        M: The approximation, shape (n, n); without updates it is made anew, from D.
        updates: Its updates so far.
        D: The diagonal, shape (n,), that M starts from; None: the identity.
    """

    M: Tensor
    updates: int = 0
    D: Tensor | None = None


# Beyond the minimum along a line M learns as much as before it: the weak conditions are enough.
_LOOSE = partial(weak_wolfe, c2=0.7, max_growth=100.0)


@dataclass(frozen=True)
class BFGS:
    r"""BFGS: Newton's method with a learned inverse Hessian, equation :eq:`eq-8-33`.

    .. math:: \rho_t = -M_t g_t, \qquad \theta_{t+1} = \theta_t + \varepsilon^* \rho_t

    M starts as the identity and takes one ``bfgs_update`` a step, with
    :math:`s = \theta_{t+1} - \theta_t` and :math:`y = g_{t+1} - g_t` (Nocedal & Wright,
    algorithm 6.1). O(n²) memory and work.

    Args:
        line_search: Chooses ε*, from a first trial of 1 once M has learned something; by default
            ``weak_wolfe`` with c2 = 0.7.
        scale_first: Multiply the identity by :math:`s^\top y / y^\top y` before the first update
            (Nocedal & Wright, equation 6.20), so that M has the size of the inverse Hessian.
        safeguard: Correct y by function values, skip updates that would cost M its positive
            definiteness, start afresh from the identity where a line search fails; let
            ``minimize`` go on in the parameters' own units where that doesn't help. Without it this
            is the bare method.

    Example:
        >>> import torch, dlopt
        >>> x0 = torch.tensor([-1.2, 1.0], dtype=torch.float64)
        >>> banana = lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
        >>> dlopt.minimize(banana, x0, dlopt.BFGS()).x.round(decimals=6).tolist()
        [1.0, 1.0]
    """

    line_search: LineSearch = _LOOSE
    scale_first: bool = True
    safeguard: bool = True

    def init(self, f: Objective, x: Tensor) -> BFGSState:
        """Return the state at ``x``, shape (n,), with M = I."""
        return BFGSState.begin(f.evaluate(x), M=_diagonal(x))

    def step(self, f: Objective, state: BFGSState) -> BFGSState:
        """Return the state after one line search and one update of M."""
        D, updates = state.D, state.updates
        M = state.M if updates else _diagonal(state.x, D)
        rho = -(M @ state.grad)
        found = search(self.line_search, f, state, rho, first=1.0 if updates else None)
        if found is None and self.safeguard and updates:
            return restarted(self.step, f, state, updates=0, D=None)
        if found is None:
            return state.ended("line_search")
        pair = secant_pair(state, found.at, safeguard=self.safeguard)
        if pair is not None:
            s, y, _ = pair
            if updates == 0 and self.scale_first:
                M = curvature_scale(pair, D) * M
            M, updates = bfgs_update(M, s, y), updates + 1
        return state.moved(found.at, M=M, updates=updates)

    def rescaled(self, state: BFGSState) -> BFGSState:
        """Return the state with nothing in memory, and with each parameter in a unit of its own."""
        if not self.safeguard:
            return state
        return replace(state, reason="", updates=0, D=in_own_units(state.x))

    def expected_decrease(self, f: Objective, state: BFGSState) -> float:
        """Return what M promises for the next step, ½gᵀMg; 0 before M has learned anything."""
        return 0.5 * inner(state.grad, state.M @ state.grad) if state.updates else 0.0


def _diagonal(x: Tensor, D: Tensor | None = None) -> Tensor:
    """Return the matrix with diagonal ``D``, by default the identity."""
    return torch.diag(torch.ones_like(x) if D is None else D)
