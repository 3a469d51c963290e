"""Newton's method: the literal step, the damped step, and damping chosen by a trust region."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dlopt.curvature import Curvature
from dlopt.objective import Objective
from dlopt.scaling import ScaledState, scaled, units, whole_radius
from dlopt.trust_region import EigenModel, T, check_radius, trust_region_step

_KEPT = 0.9  # of the scale, a step: down from a wall curvature falls by many decades
_ALIKE = 10.0  # times: axes whose curvatures' roots differ by less are in one unit


def quadratic_model(value: Tensor, g: Tensor, H: Tensor, step: Tensor) -> Tensor:
    r"""Return what the second-order model promises after a step, equation :eq:`eq-8-26`.

    .. math:: J(\theta_0 + \Delta\theta) \approx
              J(\theta_0) + \Delta\theta^\top g + \tfrac12 \Delta\theta^\top H \Delta\theta

    Args:
        value: The objective at θ0, 0-d.
        g: The gradient there, shape (n,).
        H: The Hessian there, shape (n, n).
        step: The step Δθ = θ − θ0, shape (n,).

    Returns:
        The model's value at θ0 + Δθ, 0-d.

    Example:
        >>> import torch
        >>> g, H = torch.tensor([2.0]), torch.tensor([[2.0]])
        >>> quadratic_model(torch.tensor(1.0), g, H, torch.tensor([-1.0]))
        tensor(0.)
    """
    return value + step.dot(g) + 0.5 * step.dot(H @ step)


def newton_step(g: Tensor, H: Tensor, damping: float = 0.0) -> Tensor:
    r"""Return the Newton step :math:`\Delta\theta = -(H + \alpha I)^{-1} g`.

    Equation :eq:`eq-8-27` for α = 0, equation :eq:`eq-8-28` otherwise. The inverse is never
    formed: one LU factorisation solves the system, at a third of the cost and with less rounding.

    Args:
        g: The gradient, shape (n,).
        H: The Hessian, shape (n, n); it need not be positive definite.
        damping: The damping α.

    Returns:
        The step Δθ, shape (n,).

    Raises:
        torch.linalg.LinAlgError: H + αI is singular.

    Example:
        >>> import torch
        >>> newton_step(torch.tensor([2.0, 8.0]), torch.diag(torch.tensor([1.0, 2.0]))).tolist()
        [-2.0, -4.0]
    """
    damped = H + damping * torch.eye(len(g), dtype=g.dtype, device=g.device)
    step: Tensor = torch.linalg.solve(damped, -g)
    return step


@dataclass(frozen=True)
class Newton:
    r"""Newton's method, Algorithm 8.8: build g and H, solve, move.

    .. math:: \theta_{t+1} = \theta_t - [H(\theta_t) + \alpha_t I]^{-1} \nabla J(\theta_t)

    Args:
        damping: 0 is the literal method, :eq:`eq-8-27`; a number is the constant α of
            :eq:`eq-8-28`; None, the robust default, chooses α at every step: just large enough
            that the step stays where the quadratic model can be trusted (Moré & Sorensen 1983).
            Then αD² takes the place of αI: the diagonal matrix D holds the roots of the largest
            curvatures of late along the axes, as far as they differ by more than ten times
            (``scaling``): each parameter may have a unit of its own.
        initial_radius: The first trust radius in the units of x, > 0; by default ‖x0‖, and √n from
            the origin. (That of Ds is in proportion, by ‖Dx0‖/‖x0‖.)

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> import torch, dlopt
        >>> bowl = lambda x: x[0] ** 2 + 100 * x[1] ** 2
        >>> path = dlopt.minimize(bowl, torch.ones(2), dlopt.Newton(damping=0.0))
        >>> len(path.states) - 1, path.x.abs().max() < 1e-6
        (1, tensor(True))
    """

    damping: float | None = None
    initial_radius: float | None = None

    def __post_init__(self) -> None:
        check_damping(self.damping)
        check_radius(self.initial_radius)

    def init(self, f: Objective, x: Tensor) -> ScaledState:
        """Return the state at ``x``, shape (n,)."""
        scale = torch.zeros_like(x)
        return ScaledState.begin(f.curvature(x).at, radius=math.inf, scale=scale)

    def step(self, f: Objective, state: ScaledState) -> ScaledState:
        """Return the state after one Newton step."""
        H = f.curvature(state.x).hessian()
        if self.damping is not None:
            return full_step(state, state.grad, H, self.damping, f.curvature)
        if not bool(H.isfinite().all()):
            H = torch.zeros_like(H)  # no model: follow the gradient away from here
        state, D = scaled(state, _roots(H), self.initial_radius, keep=_KEPT, alike=_ALIKE)
        return trust_region_step(state, EigenModel.of(state.grad, H, D), f.curvature, scale=D)

    def expected_decrease(self, f: Objective, state: ScaledState) -> float:
        """Return what the model promises for steps up to θ itself; infinity at a saddle."""
        H = f.curvature(state.x).hessian()
        if not bool(H.isfinite().all()):
            return math.inf
        if self.damping is not None:
            return full_decrease(state.grad, H, self.damping)
        D = units(_roots(H))  # a saddle by a flat axis would drown in what a steep one rounds
        model = EigenModel.of(state.grad, H, D)
        return model(whole_radius(state.x, D)).decrease if model.is_convex else math.inf


def _roots(H: Tensor) -> Tensor:
    """Return the roots of the curvatures along the axes, shape (n,)."""
    return H.diagonal().abs().sqrt()


def full_step(
    state: T,
    g: Tensor,
    H: Tensor,
    damping: float,
    curvature: Callable[[Tensor], Curvature],
) -> T:
    """Take the step of the textbook, wherever it leads."""
    if not bool(H.isfinite().all()):
        return state.ended("non_finite")
    try:
        s = newton_step(g, H, damping)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return state.ended("singular")
    x = state.x + s
    if not bool(x.isfinite().all()):
        return state.ended("singular")
    at = curvature(x).at
    return state.moved(at) if at.finite else state.ended("non_finite")


def full_decrease(g: Tensor, H: Tensor, damping: float) -> float:
    """Return half the first-order change of the textbook's step; a saddle counts as an end."""
    try:
        return 0.5 * abs(float(g.dot(newton_step(g, H, damping))))
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return math.inf


def check_damping(damping: float | None) -> None:
    """Raise ``ValueError`` unless ``damping`` is a finite number >= 0, or None."""
    if damping is not None and not (damping >= 0 and math.isfinite(damping)):
        raise ValueError(f"damping must be >= 0 and finite, or None, got {damping}")
