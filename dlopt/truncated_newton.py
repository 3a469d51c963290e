"""Truncated Newton: Newton's method for many parameters, from Hessian products alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dlopt.curvature import Curvature, lanczos
from dlopt.evaluation import check_whole, inner, norm
from dlopt.objective import Objective
from dlopt.trust_region import (
    ModelStep,
    TrustState,
    check_radius,
    first_radius,
    is_semidefinite,
    trust_region_step,
)


@dataclass(frozen=True, eq=False, kw_only=True)
class TruncatedState(TrustState):
    """A trust-region state with the norm of the first gradient, the measure of progress."""

    first_norm: float


@dataclass(frozen=True)
class TruncatedNewton:
    r"""Newton's method without a Hessian: conjugate gradients solve :math:`H s = -g` roughly.

    Each product Hv is one more pass back through the graph of the gradient (Pearlmutter 1994).
    The inner loop stops at the trust radius, at negative curvature, or once the residual is below
    :math:`\eta\|g\|` with :math:`\eta = \min(\tfrac12, \|g\|/\|g_0\|)` (Steihaug 1983;
    Nocedal & Wright, algorithm 7.2), so that steps get exact as the minimum comes near.

    Args:
        max_products: The most Hessian products a step, >= 1.
        initial_radius: The first trust radius in the units of x, > 0; by default max(1, ‖x0‖).

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> import torch, dlopt
        >>> x0 = torch.linspace(-1, 1, 1000, dtype=torch.float64)
        >>> path = dlopt.minimize(lambda x: torch.cosh(x).sum(), x0, TruncatedNewton())
        >>> path.converged
        True
    """

    max_products: int = 1000
    initial_radius: float | None = None

    def __post_init__(self) -> None:
        check_whole("max_products", self.max_products, 1)
        check_radius(self.initial_radius)

    def init(self, f: Objective, x: Tensor) -> TruncatedState:
        """Return the state at ``x``, shape (n,)."""
        at = f.curvature(x).at
        first_norm = norm(at.grad)
        radius = first_radius(x, self.initial_radius)
        return TruncatedState.begin(at, radius=radius, first_norm=first_norm)

    def step(self, f: Objective, state: TruncatedState) -> TruncatedState:
        """Return the state after one truncated Newton step."""
        H = f.curvature(state.x)
        return trust_region_step(state, lambda radius: self._model(H, state, radius), f.curvature)

    def expected_decrease(self, f: Objective, state: TruncatedState) -> float:
        """Return what the model promises; infinity where a short Lanczos run finds a saddle."""
        H = f.curvature(state.x)
        if not is_semidefinite(lanczos(H)[0]):
            return math.inf
        # To the end, not roughly: what a steep direction leaves may be in a flat one.
        products = min(self._most_products(state), 100)
        return steihaug(H, state.grad, first_radius(state.x, None), 0.0, products).decrease

    def _model(self, H: Curvature, state: TruncatedState, radius: float) -> ModelStep:
        steepness = norm(state.grad)
        if steepness <= math.sqrt(torch.finfo(state.x.dtype).eps) * state.first_norm:
            values, vector = lanczos(H)
            if not is_semidefinite(values):  # at a saddle the gradient shows no way out
                s = math.copysign(radius, -inner(state.grad, vector)) * vector
                curved = 0.5 * radius * radius * float(values[0])
                return ModelStep(s, -inner(state.grad, s) - curved)
        forcing = min(0.5, steepness / state.first_norm) if state.first_norm > 0 else 0.5
        return steihaug(H, state.grad, radius, forcing * steepness, self._most_products(state))

    def _most_products(self, state: TruncatedState) -> int:
        """Return how many products an inner solve may take."""
        # In exact arithmetic n products are enough; rounding takes a few times as many.
        return min(self.max_products, 4 * len(state.x) + 10)


def steihaug(
    H: Curvature, grad: Tensor, radius: float, tolerance: float, max_products: int
) -> ModelStep:
    r"""Minimise :math:`g^\top s + \tfrac12 s^\top H s` roughly over :math:`\|s\| \le \Delta`.

    Conjugate gradients from s = 0, whose iterates only ever move away from it: the first one
    outside, or the first direction of negative curvature, is followed to the boundary (Steihaug,
    SIAM J. Numer. Anal. 20, 1983; Nocedal & Wright, algorithm 7.2).

    Args:
        H: Gives products with the Hessian.
        grad: The gradient g, shape (n,).
        radius: The radius Δ, > 0.
        tolerance: The residual norm to stop at.
        max_products: The most products with H, >= 1.

    Returns:
        The step and the decrease that the model promises for it.
    """
    # The model of J over ‖g‖ has the same minimum, and its squares neither overflow nor vanish.
    steepness = norm(grad)
    if steepness == 0:
        return ModelStep(torch.zeros_like(grad), 0.0)
    s, r = torch.zeros_like(grad), grad / steepness
    d = -r
    decrease, rr, smallest = 0.0, float(r.dot(r)), math.sqrt(torch.finfo(r.dtype).tiny)
    for _ in range(max_products):
        Hd = H.product(d) / steepness
        curvature = float(d.dot(Hd))
        if not math.isfinite(curvature):
            curvature = 0.0  # no model along d: go to the boundary
        length = rr / curvature if curvature > 0 else math.inf
        to_boundary = _distance(s, d, radius)
        tau = min(length, to_boundary)
        s = s + tau * d
        decrease += tau * rr - 0.5 * tau * tau * curvature
        if tau == to_boundary:
            break
        r = r + tau * Hd
        rr_new = float(r.dot(r))
        # Below that squares lose their digits, long after the residual has lost its own.
        if math.sqrt(rr_new) * steepness <= tolerance or rr_new <= smallest:
            break
        d = -r + (rr_new / rr) * d
        rr = rr_new
    return ModelStep(s, decrease * steepness)


def _distance(s: Tensor, d: Tensor, radius: float) -> float:
    """Return τ > 0 with ‖s + τ d‖ = radius, for ‖s‖ <= radius."""
    dd, sd, ss = float(d.dot(d)), float(s.dot(d)), float(s.dot(s))
    if dd == 0:
        return 0.0
    room = max(radius * radius - ss, 0.0)
    root = math.sqrt(sd * sd + dd * room)
    return room / (sd + root) if sd > 0 else (root - sd) / dd
