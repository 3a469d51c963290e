"""BFGS: learn the inverse Hessian from how the gradient changes from step to step."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from dlopt.gradient_descent import accepted, first_step
from dlopt.line_search import LineFunction, LineSearch, Trial, weak_wolfe
from dlopt.method import State
from dlopt.objective import Evaluation, Objective


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
    """A state with the approximation M of the inverse Hessian, shape (n, n), and its updates."""

    M: Tensor
    updates: int = 0


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
            definiteness, start afresh from the identity where a line search fails. Without it
            this is the bare method.

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
        at = f.evaluate(x)
        return BFGSState(x=x, value=at.value, grad=at.grad, M=_identity(x))

    def step(self, f: Objective, state: BFGSState) -> BFGSState:
        """Return the state after one line search and one update of M."""
        rho = -(state.M @ state.grad)
        trial = search(self.line_search, f, state, rho, 1.0 if state.updates else None)
        if trial is None:
            if not (self.safeguard and state.updates):
                return replace(state, reason="line_search")
            afresh = self.step(f, replace(state, M=_identity(state.x), updates=0))
            return replace(state, reason=afresh.reason) if afresh.reason else afresh
        at = accepted(trial.at)
        M, updates = state.M, state.updates
        pair = secant_pair(state, at, safeguard=self.safeguard)
        if pair is not None:
            s, y, _ = pair
            if updates == 0 and self.scale_first:
                M = curvature_scale(pair) * M
            M, updates = bfgs_update(M, s, y), updates + 1
        return BFGSState(x=at.x, value=at.value, grad=at.grad, M=M, updates=updates)


# A step s, the change y of the gradient along it, and sᵀy: what a quasi-Newton method learns from.
# A plain tuple, because that is what a checkpoint can hold.
SecantPair = tuple[Tensor, Tensor, float]


def secant_pair(
    state: State, at: State | Evaluation, *, safeguard: bool = True
) -> SecantPair | None:
    r"""Return s, y and sᵀy of the step from ``state`` to ``at``.

    With the safeguard, y is scaled so that sᵀy also fits the two values of the objective,

    .. math:: y \leftarrow y\,\Bigl(1 + \frac{\vartheta}{s^\top y}\Bigr), \qquad
              \vartheta = 6\,(J_t - J_{t+1}) + 3\,(g_t + g_{t+1})^\top s

    (J. Zhang, Deng & Chen, J. Optim. Theory Appl. 102, 1999): nothing on a quadratic, a third
    derivative's worth elsewhere. Where the difference of the values drowns in rounding, y stays.

    Args:
        state: Where the step began.
        at: The evaluation, or the state, where it ended.
        safeguard: Whether to correct y, and to refuse curvature that is not clearly positive.

    Returns:
        The pair, or None where sᵀy <= 1e-12 ‖s‖‖y‖: a bound relative to the vectors, so that it
        means the same for J and for c·J.
    """
    s, y = at.x - state.x, at.grad - state.grad
    sy = float(s.dot(y))
    if not safeguard:
        return s, y, sy
    norms = float(torch.linalg.vector_norm(s)) * float(torch.linalg.vector_norm(y))
    if not sy > 1e-12 * norms:
        return None
    before, after = float(state.value), float(at.value)
    noise = 1e3 * torch.finfo(s.dtype).eps * (abs(before) + abs(after))
    if abs(before - after) > noise:
        slopes = 2 * float(state.grad.dot(s)) + sy  # (g_t + g_{t+1})ᵀs, as y = g_{t+1} - g_t
        share = (6 * (before - after) + 3 * slopes) / sy
        factor = 1 + min(max(share, -0.5), 10.0)
        y, sy = y.mul_(factor), sy * factor
    return s, y, sy


def curvature_scale(pair: SecantPair) -> float:
    r"""Return :math:`\gamma = s^\top y / y^\top y`, the size of the inverse Hessian along a step.

    Nocedal & Wright, equations 6.20 and 7.20; 1 where :math:`y^\top y` is 0.
    """
    _, y, sy = pair
    yy = float(y.dot(y))
    return sy / yy if yy else 1.0


def search(
    line_search: LineSearch, f: Objective, state: State, rho: Tensor, first: float | None
) -> Trial | None:
    """Search along ``rho``, shape (n,), from a first trial of ``first``, or from a guess.

    Returns None where ``rho`` does not lead downhill or the search fails.
    """
    phi = LineFunction(f, state, rho)
    if not -math.inf < phi.slope < 0:
        return None
    guess = first if first is not None else first_step(state)
    return line_search(phi, guess) if 0 < guess < math.inf else None


def _identity(x: Tensor) -> Tensor:
    return torch.eye(len(x), dtype=x.dtype, device=x.device)
