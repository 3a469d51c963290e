"""Levenberg-Marquardt: Newton's method for least squares, from first derivatives alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dlopt.newton import check_damping, full_decrease, full_step
from dlopt.objective import Objective
from dlopt.scaling import ScaledState, scaled
from dlopt.trust_region import EigenModel, check_radius, trust_region_step

_ALIKE = 2.0  # times: columns whose norms differ by less are in one unit


@dataclass(frozen=True)
class LevenbergMarquardt:
    r"""Levenberg–Marquardt for :math:`J = \sum_i r_i^2`: Newton's method with JᵀJ for H.

    .. math:: \theta_{t+1} = \theta_t - [J_r^\top J_r + \alpha_t I]^{-1} J_r^\top r

    Here the function to minimise returns the residual vector r, shape (m,), and :math:`J_r` is its
    Jacobian, shape (m, n). The gradient is 2 Jᵣᵀr and the Gauss–Newton matrix 2 JᵣᵀJᵣ; the factor
    2 cancels in the step. The matrix is never indefinite, so that damping only controls length.
    (Levenberg 1944; Marquardt 1963.)

    By default it controls the length of Ds and takes D² in place of I. The diagonal matrix D holds
    the largest norm that each column of the Jacobian has had, as far as they differ by more than
    twice, so that a parameter may have any unit (Moré, *The Levenberg-Marquardt algorithm*, 1978;
    ``scaling``).

    Args:
        damping: The constant α >= 0; None, the robust default, chooses it at every step as the
            trust region does in ``Newton``.
        initial_radius: The first trust radius in the units of x, > 0; by default ‖x0‖, and √n from
            the origin. (That of Ds is in proportion, by ‖Dx0‖/‖x0‖.)

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> import torch, dlopt
        >>> residuals = lambda x: torch.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])
        >>> x0 = torch.tensor([-1.2, 1.0], dtype=torch.float64)
        >>> path = dlopt.minimize(residuals, x0, LevenbergMarquardt())
        >>> [round(v, 4) for v in path.x.tolist()]
        [1.0, 1.0]
    """

    damping: float | None = None
    initial_radius: float | None = None

    def __post_init__(self) -> None:
        check_damping(self.damping)
        check_radius(self.initial_radius)

    def init(self, f: Objective, x: Tensor) -> ScaledState:
        """Return the state at ``x``, shape (n,)."""
        scale = torch.zeros_like(x)
        return ScaledState.begin(f.residuals(x).at, radius=math.inf, scale=scale)

    def step(self, f: Objective, state: ScaledState) -> ScaledState:
        """Return the state after one step."""
        r, Jr = f.residuals(state.x).jacobian()
        if self.damping is not None:
            return full_step(state, Jr.T @ r, Jr.T @ Jr, self.damping, f.residuals)
        columns = _norms(Jr)
        if not bool(columns.isfinite().all()):
            return state.ended("non_finite")
        state, D = scaled(state, columns, self.initial_radius, alike=_ALIKE)
        return trust_region_step(state, _model(r, Jr, D), f.residuals, scale=D)

    def expected_decrease(self, f: Objective, state: ScaledState) -> float:
        """Return what the Gauss–Newton model promises within the radius that it is trusted."""
        r, Jr = f.residuals(state.x).jacobian()
        columns = _norms(Jr)
        if not bool(columns.isfinite().all()):
            return math.inf
        if self.damping is not None:
            return 2 * full_decrease(Jr.T @ r, Jr.T @ Jr, self.damping)
        state, D = scaled(state, columns, self.initial_radius, alike=_ALIKE)
        return _model(r, Jr, D)(state.radius).decrease


def _norms(Jr: Tensor) -> Tensor:
    """Return the norm of each column, shape (n,); infinity where its square is no number."""
    columns: Tensor = torch.linalg.vector_norm(Jr, dim=0)
    return columns


def _model(r: Tensor, Jr: Tensor, D: Tensor) -> EigenModel:
    """Return the Gauss–Newton model of the sum of squares, its radius in the units of D."""
    # The singular values of JrD⁻¹ keep the digits that forming JᵀJ would square away.
    Jr = Jr / D
    U, sigma, Vh = torch.linalg.svd(Jr, full_matrices=len(r) < Jr.shape[1])
    if not bool(U.isfinite().all()):  # some libraries fail, rarely, at a finite matrix
        values, vectors = torch.linalg.eigh(2 * Jr.T @ Jr)
        slopes = vectors.T @ (2 * Jr.T @ r)
        return EigenModel(values, vectors / D.unsqueeze(1), slopes)
    values = torch.zeros(len(Vh), dtype=r.dtype, device=r.device)
    slopes = torch.zeros_like(values)
    # What rounding makes of 0 is of parameters that nothing depends on: these stay.
    eps = torch.finfo(r.dtype).eps
    sigma = sigma.where(sigma > eps * sigma[0], 0.0)
    values[: len(sigma)] = 2 * sigma.square()
    slopes[: len(sigma)] = 2 * sigma * (U.T @ r)
    return EigenModel(values.flip(0), Vh.T.flip(1) / D.unsqueeze(1), slopes.flip(0), eps * eps)
