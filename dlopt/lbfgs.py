"""L-BFGS: BFGS that remembers a few vectors instead of a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from dlopt.compact_lbfgs import compact_is_faster, compact_two_loop
from dlopt.descent import in_own_units, restarted, search
from dlopt.evaluation import check_whole, inner
from dlopt.line_search import LineSearch, strong_wolfe
from dlopt.method import State
from dlopt.objective import Objective
from dlopt.secant import SecantPair, curvature_scale, secant_pair


def two_loop(
    g: Tensor, pairs: Sequence[SecantPair], scale: float = 1.0, D: Tensor | None = None
) -> Tensor:
    r"""Return :math:`M g` for the M that BFGS makes from ``pairs``, without ever forming it.

    The update of ``bfgs_update`` is applied backwards to a vector, from the newest pair to the
    oldest, then forwards again (Nocedal & Wright, algorithm 7.4): 4mn multiplications for m pairs.

    Args:
        g: The vector to multiply, shape (n,).
        pairs: The pairs (s, y, sᵀy), oldest first, s and y of shape (n,).
        scale: The γ of the matrix γI that the updates start from.
        D: Start from γ times the diagonal matrix of these entries, shape (n,).

    Returns:
        The product, shape (n,).

    Example:
        >>> import torch
        >>> s, y = torch.tensor([1.0, 0.0]), torch.tensor([4.0, 0.0])
        >>> two_loop(torch.tensor([8.0, 8.0]), [(s, y, 4.0)]).tolist()
        [2.0, 8.0]
    """
    q = g.clone()
    alphas = []
    for s, y, sy in reversed(pairs):
        alpha = s.dot(q).item() / sy
        q.add_(y, alpha=-alpha)
        alphas.append(alpha)
    if scale != 1.0:
        q.mul_(scale)
    if D is not None:
        q.mul_(D)
    for (s, y, sy), alpha in zip(pairs, reversed(alphas), strict=True):
        beta = y.dot(q).item() / sy
        q.add_(s, alpha=alpha - beta)
    return q


def inverse_hessian_product(
    g: Tensor, pairs: Sequence[SecantPair], scale: float = 1.0, D: Tensor | None = None
) -> Tensor:
    """Return ``two_loop(g, pairs, scale, D)``, without D in the form that is faster there."""
    if D is None and compact_is_faster(g.device, len(g)):
        return compact_two_loop(g, pairs, scale)
    return two_loop(g, pairs, scale, D)


@dataclass(frozen=True, eq=False, kw_only=True)
class LBFGSState(State):
    """A state with the last pairs (s, y, sᵀy), oldest first, and what M starts from.

    Attributes:
        pairs: The pairs.
        D: M starts from γ times this diagonal, shape (n,); None: from γI.
    """

    pairs: tuple[SecantPair, ...] = ()
    D: Tensor | None = None


_LOOSE = partial(strong_wolfe, c2=0.7)


@dataclass(frozen=True)
class LBFGS:
    r"""L-BFGS: each step starts from :math:`M = \gamma I` and applies the last few updates.

    .. math:: \rho_t = -M_t g_t, \qquad \theta_{t+1} = \theta_t + \varepsilon^* \rho_t

    Only the pairs (s, y) are stored, 2mn numbers for m of them, and the product comes from
    ``two_loop`` (Nocedal & Wright, algorithm 7.5; Liu & Nocedal 1989); on a GPU, up to a million
    parameters, from ``compact_two_loop``: the same product, less bound by launches and waits.

    Args:
        history_size: The most pairs m to keep, >= 1.
        line_search: Chooses ε*, from a first trial of 1 once there is a pair; by default
            ``strong_wolfe`` with c2 = 0.7.
        scale: Start from :math:`\gamma I` with the newest pair's
            :math:`\gamma = s^\top y / y^\top y` instead of from the identity.
        safeguard: Correct y by function values, skip pairs without positive curvature, drop the
            memory where a line search fails; let ``minimize`` go on in the parameters' own units
            where that doesn't help. Without it this is the bare method.

    Raises:
        ValueError: ``history_size`` is out of range.

    Example:
        >>> import torch, dlopt
        >>> x0 = torch.linspace(-1, 1, 1000, dtype=torch.float64)
        >>> path = dlopt.minimize(lambda x: torch.cosh(x).sum(), x0, dlopt.LBFGS())
        >>> path.converged
        True
    """

    history_size: int = 10
    line_search: LineSearch = _LOOSE
    scale: bool = True
    safeguard: bool = True

    def __post_init__(self) -> None:
        check_whole("history_size", self.history_size, 1)

    def init(self, f: Objective, x: Tensor) -> LBFGSState:
        """Return the state at ``x``, shape (n,), with an empty memory."""
        return LBFGSState.begin(f.evaluate(x))

    def step(self, f: Objective, state: LBFGSState) -> LBFGSState:
        """Return the state after one line search, with the newest pair in its memory."""
        pairs, D = state.pairs, state.D
        gamma = curvature_scale(pairs[-1], D) if self.scale and pairs else 1.0
        rho = inverse_hessian_product(state.grad, pairs, gamma, D).neg_()
        found = search(self.line_search, f, state, rho, first=1.0 if pairs else None)
        if found is None and self.safeguard and pairs:
            return restarted(self.step, f, state, pairs=(), D=None)
        if found is None:
            return state.ended("line_search")
        new = secant_pair(state, found.at, safeguard=self.safeguard)
        if new is not None:
            pairs = (*pairs, new)[-self.history_size :]
        return state.moved(found.at, pairs=pairs)

    def rescaled(self, state: LBFGSState) -> LBFGSState:
        """Return the state with nothing in memory, and with each parameter in a unit of its own."""
        if not self.safeguard:
            return state
        return replace(state, reason="", pairs=(), D=in_own_units(state.x))

    def expected_decrease(self, f: Objective, state: LBFGSState) -> float:
        """Return what M promises for the next step, ½gᵀMg; 0 while the memory is empty."""
        if not state.pairs:
            return 0.0
        gamma = curvature_scale(state.pairs[-1], state.D) if self.scale else 1.0
        Mg = inverse_hessian_product(state.grad, state.pairs, gamma, state.D)
        return 0.5 * inner(state.grad, Mg)
