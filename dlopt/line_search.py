r"""Line searches: how far to go along a direction, from φ(ε) = J(θ + ε ρ) alone.

A line search takes φ and a first trial step and returns a ``Trial``, or ``None`` where it found no
acceptable one. It knows nothing of vectors, so it can be tested on scalar functions; settings are
bound with ``functools.partial``, as in ``partial(strong_wolfe, c2=0.1)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from dlopt.evaluation import Evaluation, check_whole, rounding
from dlopt.interpolation import cubic_minimum, inside


@dataclass(frozen=True, eq=False)
class Trial:
    """φ at one step.

    Attributes:
        step: The step ε.
        value: φ(ε).
        slope: φ'(ε).
        at: The evaluation behind it, where φ comes from an objective.
    """

    step: float
    value: float
    slope: float
    at: Evaluation | None = None

    @property
    def finite(self) -> bool:
        """Whether value and slope are finite."""
        return math.isfinite(self.value) and math.isfinite(self.slope)


class Phi(Protocol):
    """φ(ε): its value and slope at ε = 0, and trials elsewhere.

    Attributes:
        value: φ(0).
        slope: φ'(0), negative along a descent direction.
        eps: The machine precision of the numbers behind it.
        tiny: The step that moves some number behind φ by about ``eps`` of it.
    """

    value: float
    slope: float
    eps: float

    @property
    def tiny(self) -> float:
        """The shortest step that can tell anything."""
        ...

    def __call__(self, step: float) -> Trial:
        """Return value and slope at ``step``."""
        ...

    def curvature(self) -> float:
        """Return φ''(0)."""
        ...


class LineSearch(Protocol):
    """What a method calls to choose its step."""

    def __call__(self, phi: Phi, first_step: float) -> Trial | None:
        """Return an acceptable trial on ``phi``, or None; ``first_step`` is the first guess."""
        ...


def exact_quadratic(phi: Phi, first_step: float = 1.0) -> Trial | None:
    r"""Go to the minimum of the parabola with the value, slope and curvature of φ at 0.

    :math:`\varepsilon^* = -\varphi'(0)/\varphi''(0) = -g^\top\rho \,/\, \rho^\top H\rho`, which on
    a quadratic is the exact line search of Algorithm 8.9.

    Args:
        phi: The function of the step.
        first_step: Not used: the step follows from the curvature.

    Returns:
        The trial there, or None where φ does not curve upward or is not finite there.

    Example:
        >>> from dlopt.line_search import ScalarPhi
        >>> phi = ScalarPhi(lambda e: (e - 3) ** 2, lambda e: 2 * (e - 3), lambda e: 2.0)
        >>> exact_quadratic(phi).step
        3.0
    """
    curvature = phi.curvature()
    if not (curvature > 0 and math.isfinite(curvature)):
        return None
    trial = phi(-phi.slope / curvature)
    return trial if trial.finite else None


def backtracking(
    phi: Phi, first_step: float = 1.0, *, c1: float = 1e-4, max_evaluations: int = 60
) -> Trial | None:
    r"""Shrink the step until the decrease is a fair share of what the slope promised.

    .. math:: \varphi(\varepsilon) \le \varphi(0) + c_1 \varepsilon \varphi'(0)

    The Armijo rule; each new step minimises the parabola through φ(0), φ'(0) and φ(ε), kept within
    [0.1, 0.5] of the old one (Nocedal & Wright, algorithm 3.1 and section 3.5).

    Args:
        phi: The function of the step, with φ'(0) < 0.
        first_step: The first and longest step, > 0.
        c1: The share of the decrease promised by the slope that is enough, in (0, 1).
        max_evaluations: The most trials, >= 1.

    Returns:
        The first trial that decreases enough, or None.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> from dlopt.line_search import ScalarPhi
        >>> phi = ScalarPhi(lambda e: (e - 1) ** 2, lambda e: 2 * (e - 1))
        >>> backtracking(phi, 8.0).step
        1.0
    """
    _check(first_step, max_evaluations, c1=c1)
    if not phi.slope < 0:
        return None
    step = first_step
    for _ in range(max_evaluations):
        trial = phi(step)
        promised = phi.value + c1 * step * phi.slope
        if trial.finite and trial.value <= promised and trial.value < phi.value:
            return trial
        bend = 2 * (trial.value - phi.value - step * phi.slope)
        shrunk = -phi.slope * step * step / bend if trial.finite and bend > 0 else 0.0
        step = min(max(shrunk, 0.1 * step), 0.5 * step)
    return None


def strong_wolfe(
    phi: Phi,
    first_step: float = 1.0,
    *,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_growth: float = 10.0,
    max_evaluations: int = 40,
) -> Trial | None:
    r"""Find a step that decreases enough and flattens the slope: the strong Wolfe conditions.

    .. math::
        \varphi(\varepsilon) \le \varphi(0) + c_1 \varepsilon \varphi'(0), \qquad
        |\varphi'(\varepsilon)| \le c_2 |\varphi'(0)|

    Nocedal & Wright, algorithms 3.5 (grow until a minimum is bracketed) and 3.6 (zoom into the
    bracket), here as one loop over one bracket. Trial steps minimise the cubic through values and
    slopes at its ends. Where the decrease drowns in rounding, slopes decide in its place (the
    approximate Wolfe conditions of Hager & Zhang, SIAM J. Optim. 16, 2005). How much is rounding
    shows where neighbouring values differ by more than the slopes allow.

    Args:
        phi: The function of the step, with φ'(0) < 0.
        first_step: The first trial, > 0.
        c1: The share of the promised decrease that is enough, 0 < c1 < c2.
        c2: The share of the slope that may remain, c1 < c2 < 1.
        max_growth: The most by which a step grows while nothing is bracketed, > 1.
        max_evaluations: The most trials, >= 1.

    Returns:
        A trial that meets both conditions; failing that the lowest one that decreases enough;
        failing that None.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> from dlopt.line_search import ScalarPhi
        >>> phi = ScalarPhi(lambda e: (e - 3) ** 2, lambda e: 2 * (e - 3))
        >>> round(strong_wolfe(phi, 1.0, c2=0.1).step, 6)
        3.0
    """
    return _wolfe(phi, first_step, c1, c2, max_growth, max_evaluations, strong=True)


def weak_wolfe(
    phi: Phi,
    first_step: float = 1.0,
    *,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_growth: float = 10.0,
    max_evaluations: int = 40,
) -> Trial | None:
    r"""Find a step that decreases enough and is not too short: the weak Wolfe conditions.

    .. math::
        \varphi(\varepsilon) \le \varphi(0) + c_1 \varepsilon \varphi'(0), \qquad
        \varphi'(\varepsilon) \ge c_2 \varphi'(0)

    As ``strong_wolfe``, arguments, result and errors included, but beyond the minimum of φ the
    slope may be as steep as it likes. A quasi-Newton method needs no more: the second condition
    alone makes :math:`s^\top y` positive (Nocedal & Wright, equations 3.6 and 6.8).

    Example:
        >>> from dlopt.line_search import ScalarPhi
        >>> phi = ScalarPhi(lambda e: (e - 3) ** 2, lambda e: 2 * (e - 3))
        >>> weak_wolfe(phi, 5.0).step, round(strong_wolfe(phi, 5.0, c2=0.5).step, 6)
        (5.0, 3.0)
    """
    return _wolfe(phi, first_step, c1, c2, max_growth, max_evaluations, strong=False)


class ScalarPhi:
    """φ from plain functions of one number, to try a line search by itself.

    Args:
        value: φ.
        slope: φ'.
        curvature: φ'', where the search asks for it.
    """

    eps = torch.finfo(torch.float64).eps
    tiny = eps

    def __init__(
        self,
        value: Callable[[float], float],
        slope: Callable[[float], float],
        curvature: Callable[[float], float] = lambda step: math.nan,
    ) -> None:
        self._value, self._slope, self._curvature = value, slope, curvature
        self.value, self.slope = float(value(0.0)), float(slope(0.0))
        self.calls = 0

    def __call__(self, step: float) -> Trial:
        """Return value and slope at ``step``."""
        self.calls += 1
        return Trial(step, float(self._value(step)), float(self._slope(step)))

    def curvature(self) -> float:
        """Return φ''(0)."""
        return float(self._curvature(0.0))


_DROWNED = 5  # trials, below the rounding of the values, until a search gives up


def _wolfe(
    phi: Phi,
    first_step: float,
    c1: float,
    c2: float,
    max_growth: float,
    max_evaluations: int,
    *,
    strong: bool,
) -> Trial | None:
    """Search for the Wolfe conditions, both kinds, by one bracket that grows, then shrinks."""
    _check(first_step, max_evaluations, c1=c1, c2=c2)
    if not phi.slope < 0:
        return None
    noise = rounding(phi.value, phi.eps)
    low = Trial(0.0, phi.value, phi.slope)  # the best end of the bracket so far
    high: Trial | None = None  # the other end, once a minimum is known to lie between
    step, width, older_width = first_step, math.inf, math.inf
    drowned = 0
    for _ in range(max_evaluations):
        trial = phi(step)
        noise = max(noise, _disagreement(phi, trial))
        flat = trial.finite and abs(trial.value - phi.value) <= noise
        if flat:  # slopes alone decide: by values, too, two neighbours could take turns for ever
            enough = trial.slope <= (2 * c1 - 1) * phi.slope
        else:
            enough = trial.finite and trial.value <= phi.value + c1 * step * phi.slope
        steep = abs(trial.slope) if strong else -trial.slope
        if enough and steep <= -c2 * phi.slope:
            return trial
        # Where the slope promises less than rounding makes of the values, more trials are luck.
        drowned += -step * phi.slope <= noise
        if drowned >= _DROWNED:
            break
        if abs(trial.value - low.value) <= noise:  # then slopes tell where the minimum lies
            higher = trial.slope * low.slope < 0
        else:
            higher = not trial.value < low.value
        if not enough or (higher and (low.step > 0 or flat)):
            high = trial
        else:
            toward_low = high.step < low.step if high is not None else False
            if (trial.slope > 0) != toward_low:
                high = low
            low = trial
        if high is None:
            grown = cubic_minimum(Trial(0.0, phi.value, phi.slope), low)
            step = min(max(grown, 2 * low.step), max_growth * low.step)
        else:
            older_width, width = width, abs(high.step - low.step)
            # Two trials have to shrink the bracket to .66 of its width: the safeguard of
            # Moré & Thuente (ACM Trans. Math. Softw. 20, 1994).
            step = inside(low, high, bisect=width > 0.66 * older_width)
            if abs(step - low.step) <= phi.tiny or step in (low.step, high.step):
                break
    return low if low.value < phi.value else None


def _disagreement(phi: Phi, trial: Trial) -> float:
    """Return by how much values differ that hardly should: their rounding, where it shows.

    So near that every number behind φ keeps its leading digits, the values at both ends differ by
    no more than the steeper slope allows. A larger difference is rounding.
    """
    change = abs(trial.value - phi.value)
    steepest = max(-phi.slope, abs(trial.slope))
    if not trial.finite or change <= 2 * trial.step * steepest:
        return 0.0
    near = phi.tiny / phi.eps ** (2 / 3)  # where the leading third of the digits is the same
    return change if trial.step <= near else 0.0


def _check(first_step: float, max_evaluations: int, *, c1: float, c2: float = 1.0) -> None:
    if not (first_step > 0 and math.isfinite(first_step)):
        raise ValueError(f"first_step must be > 0 and finite, got {first_step}")
    check_whole("max_evaluations", max_evaluations, 1)
    if not 0 < c1 < c2 <= 1:
        raise ValueError(f"0 < c1 < c2 < 1 is required, got c1={c1}, c2={c2}")
