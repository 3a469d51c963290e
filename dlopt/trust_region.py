r"""Trust regions: how far a quadratic model of the objective is believed.

A model :math:`m(s) = g^\top s + \tfrac12 s^\top B s` is minimised over :math:`\|s\| \le \Delta`.
The radius Δ shrinks where the model promised more than the objective gave, and grows where it was
right (Nocedal & Wright, algorithm 4.1; Conn, Gould & Toint, *Trust-Region Methods*, 2000).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from dlopt.curvature import Curvature
from dlopt.evaluation import Evaluation, inner, norm, rounding
from dlopt.method import State


@dataclass(frozen=True, eq=False, kw_only=True)
class TrustState(State):
    """A state with the trust radius Δ for the next step, in the units of x."""

    radius: float


T = TypeVar("T", bound=TrustState)


@dataclass(frozen=True, eq=False)
class ModelStep:
    """A minimiser of the model within a radius.

    Attributes:
        s: The step, shape (n,).
        decrease: What the model promises, −m(s) >= 0.
    """

    s: Tensor
    decrease: float


class EigenModel:
    """A model whose matrix B is known by its eigenvalues: each radius costs O(n²).

    Args:
        values: The eigenvalues λ of B, ascending, shape (n,).
        vectors: Its eigenvectors, the columns of Q, shape (n, n). D⁻¹Q if B and g are by Dx; then
            the radius bounds Ds.
        slopes: The gradient in their basis, Qᵀg, shape (n,).
        error: Of the values, relative to the largest; by default that of the numbers, eps.
    """

    def __init__(
        self, values: Tensor, vectors: Tensor, slopes: Tensor, error: float | None = None
    ) -> None:
        self._values, self._vectors, self._slopes = values, vectors, slopes
        self._error = torch.finfo(values.dtype).eps if error is None else error

    @classmethod
    def of(cls, grad: Tensor, matrix: Tensor, D: Tensor) -> EigenModel:
        """Decompose D⁻¹BD⁻¹ for a symmetric B, shape (n, n); gradient and D of shape (n,)."""
        values, vectors = torch.linalg.eigh(matrix / D / D.unsqueeze(1))
        return cls(values, vectors / D.unsqueeze(1), vectors.T @ (grad / D))

    @property
    def is_convex(self) -> bool:
        """Whether no direction curves down, up to rounding."""
        return is_semidefinite(self._values)

    def __call__(self, radius: float) -> ModelStep:
        r"""Minimise the model over :math:`\|s\| \le` ``radius``.

        The minimiser solves :math:`(B + \alpha I)s = -g` with the least α >= 0 that leaves
        B + αI positive semidefinite and s within the radius: the damping of (8.28), chosen by
        how far the model is trusted (Moré & Sorensen, SIAM J. Sci. Stat. Comput. 4, 1983).
        """
        values, slopes = self._values, self._slopes
        alpha = self._damping(radius)
        shifted = values + alpha
        # A zero of B + αI meets a zero of the gradient in the "hard case": no step is needed
        # along it for stationarity, and any step along it, up to the boundary, is allowed.
        usable = shifted > 0
        s = torch.where(usable, -slopes / torch.where(usable, shifted, 1.0), 0.0)
        room = radius * radius - float(s.dot(s))
        # A millionth of Δ² is what the search for α may leave, a thousandth of Δ.
        if not self.is_convex and room > 1e-6 * radius * radius:
            to_boundary = -math.copysign(1.0, float(slopes[0])) * math.sqrt(room + float(s[0]) ** 2)
            s = s.clone()
            s[0] = to_boundary
        decrease = -float(slopes.dot(s)) - 0.5 * float((values * s).dot(s))
        return ModelStep(self._vectors @ s, decrease)

    def _damping(self, radius: float) -> float:
        """Solve ‖s(α)‖ = Δ by Newton's method on 1/Δ − 1/‖s(α)‖, safeguarded by a bracket."""
        values, slopes = self._values, self._slopes
        lowest, norm_g = float(values[0]), norm(slopes)
        scale = max(abs(lowest), abs(float(values[-1])))
        low = max(0.0, -lowest)
        tiny = self._error * (scale + norm_g / radius)
        alpha = low if lowest > tiny else low + tiny
        high = max(norm_g / radius - lowest, alpha)
        for _ in range(60):  # a bisection alone would be at rounding by then
            shifted = values + alpha
            if not float(shifted[0]) > 0:
                return alpha
            s = slopes / shifted
            reach = norm(s)
            # A tenth of a percent: Moré & Sorensen find that ten percent would do.
            if reach <= radius * 1.001 and (alpha <= low + tiny or reach >= radius * 0.999):
                return alpha
            low, high = (alpha, high) if reach > radius else (low, alpha)
            bend = float((s * s / shifted).sum())
            newton = alpha + (reach - radius) / radius * reach * reach / bend if bend > 0 else -1.0
            alpha = newton if low < newton < high else 0.5 * (low + high)
        return alpha


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a trial step says about the model.

    Attributes:
        agreement: The decrease of the objective over the one that was promised, ϱ.
        gained: Whether the step may be taken, if the agreement allows it.
        drowned: Whether both decreases are below the rounding of the objective.
    """

    agreement: float
    gained: bool
    drowned: bool


def judge(state: State, proposed: ModelStep, at: Evaluation) -> Judgement:
    """Compare objective and model at the end of a step, by gradients where values are rounding."""
    value = float(state.value)
    noise = rounding(value, torch.finfo(state.x.dtype).eps)
    if max(proposed.decrease, abs(value - at.J)) > noise:
        return Judgement((value - at.J) / proposed.decrease, True, False)
    # Values no longer tell a decrease from rounding; the gradients at both ends do, where they
    # fall by more than their own rounding may make them: by a tenth.
    decrease = -0.5 * inner(state.grad + at.grad, proposed.s)
    gained = norm(at.grad) < 0.9 * norm(state.grad)
    return Judgement(decrease / proposed.decrease, gained, True)


_LONGER = 12  # times a radius grows tenfold because what a step gains drowns in rounding


def trust_region_step(
    state: T,
    model: Callable[[float], ModelStep],
    curvature: Callable[[Tensor], Curvature],
    *,
    scale: Tensor | float = 1.0,
    max_trials: int = 60,
) -> T:
    r"""Try steps of a model, with ever smaller radii, until one lowers the objective.

    The agreement :math:`\varrho = (J(\theta) - J(\theta + s)) / (-m(s))` of objective and model
    decides: a step is taken if ϱ > 1e-4; below ϱ = ¼ the radius becomes a quarter of the step,
    above 0.9 it is tripled if the step nearly reached it. (Nocedal & Wright, algorithm 4.1, has ¾
    and a doubling: on the problems of Moré, Garbow and Hillstrom, also perturbed and rotated, that
    takes 7 % more evaluations.)

    Args:
        state: Where the step starts, with the radius to try first.
        model: Maps a radius to the model's minimiser within it.
        curvature: Evaluates at a point, shape (n,), ready for the next model.
        scale: The units of the radius, shape (n,): it bounds the length of ``scale`` times s.
        max_trials: The most trials, >= 1; 60 quarterings leave nothing of a radius.

    Returns:
        The next state; the same point with ``reason`` "no_decrease" where no step helps, or
        "non_finite" where even the shortest had no finite value.
    """
    radius, reason = state.radius, "no_decrease"
    for trial in range(max_trials):
        if not radius > 0:
            break
        proposed = model(radius)
        length = norm(scale * proposed.s)
        x = state.x + proposed.s
        if not (proposed.decrease > 0 and length < math.inf) or torch.equal(x, state.x):
            break
        at = curvature(x).at
        if not at.finite:
            radius, reason = 0.25 * min(radius, length), "non_finite"
            continue
        reason = "no_decrease"
        judged = judge(state, proposed, at)
        if judged.agreement < 0.25:
            new_radius = 0.25 * length
        elif judged.agreement > 0.9 and length > 0.8 * radius:
            new_radius = 3.0 * radius
        else:
            new_radius = radius
        if judged.agreement > 1e-4 and judged.gained:
            return state.moved(at, radius=new_radius)
        if judged.drowned:
            # On a long slope, as steep at the step's end, a first step may be too short to be seen.
            same = norm(at.grad - state.grad) <= 0.1 * norm(state.grad)
            if not same or radius < state.radius or new_radius <= radius or trial >= _LONGER:
                break
            new_radius = 10.0 * radius
        radius = new_radius
    return state.ended(reason)


def first_radius(x: Tensor, given: float | None) -> float:
    """Return the radius that is given, or one as long as the point, at least 1."""
    return given if given is not None else max(1.0, norm(x))


def is_semidefinite(values: Tensor) -> bool:
    """Return whether ascending eigenvalues are >= 0 up to rounding.

    An eigenvalue solver errs by a modest multiple of n·eps times the largest of them (LAPACK
    Users' Guide, chapter 4).
    """
    scale = float(values.abs().max())
    return float(values[0]) >= -100 * len(values) * torch.finfo(values.dtype).eps * scale


def check_radius(initial_radius: float | None) -> None:
    """Raise ``ValueError`` unless ``initial_radius`` is a finite number > 0, or None."""
    if initial_radius is not None and not (initial_radius > 0 and math.isfinite(initial_radius)):
        raise ValueError(f"initial_radius must be > 0 and finite, or None, got {initial_radius}")
