"""The minimum along a line, to rounding, kinks included: what coordinate descent asks for."""

from __future__ import annotations

import math

from dlopt.evaluation import check_whole, rounding
from dlopt.interpolation import cubic_minimum
from dlopt.line_search import Phi, Trial

# The most by which a step grows at once, and in all: beyond, φ has no lower bound; and the share
# of the first step to whose rounding a bracket shrinks that holds φ(0).
_GROWTH, _LONGEST, _SHORTEST = 10.0, 1e60, 1e-6
# A parabola's minimum, found from its slopes, has a slope of rounding.
_FLAT = 100.0
# Next to a kink that is known the other side is looked for, this share of the bracket away.
_BESIDE = 0.01


def exact_search(phi: Phi, first_step: float = 1.0, *, max_evaluations: int = 120) -> Trial | None:
    r"""Find a local minimum of φ: its slope there is 0 to rounding, or changes its sign.

    .. math:: \varepsilon^* = \arg\min_\varepsilon \varphi(\varepsilon)

    A bracket grows until the slope turns, then shrinks: to the minimum of the cubic through values
    and slopes at its ends, which on a parabola is exact, then to where
    the tangents at its ends meet, which is a kink if there is one, then to its middle, until it
    shrinks again. It ends where the decrease that is left drowns in rounding.

    Args:
        phi: The function of the step, with φ'(0) < 0.
        first_step: The first trial, > 0.
        max_evaluations: The most trials, >= 1; a kink takes about 60.

    Returns:
        The lowest trial, of value −∞ where φ has no lower bound; None where none is lower than
        φ(0). Where values differ by rounding, slopes decide.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> from dlopt.line_search import ScalarPhi
        >>> kink = ScalarPhi(lambda e: abs(e - 3), lambda e: math.copysign(1.0, e - 3))
        >>> line = ScalarPhi(lambda e: -e, lambda e: -1.0)
        >>> exact_search(kink).step, exact_search(line).value
        (3.0, -inf)
    """
    if not (first_step > 0 and math.isfinite(first_step)):
        raise ValueError(f"first_step must be > 0 and finite, got {first_step}")
    check_whole("max_evaluations", max_evaluations, 1)
    if not phi.slope < 0:
        return None
    start = best = low = Trial(0.0, phi.value, phi.slope)
    high: Trial | None = None
    step, width, mode = first_step, math.inf, 0
    for _ in range(max_evaluations):
        trial = phi(step)
        if trial.value == -math.inf or (high is None and step > _LONGEST * first_step):
            return Trial(step, -math.inf, trial.slope, trial.at)
        noise = rounding(best.value, phi.eps)
        # Where values differ by rounding slopes decide, if they agree: not across a kink.
        near = abs(trial.value - best.value) <= noise
        flat = near and abs((trial.slope + best.slope) * (trial.step - best.step)) <= 4 * noise
        less = abs(trial.slope) < abs(best.slope) if flat else trial.value < best.value and not near
        if trial.finite and less:
            best = trial
        if trial is best and (trial.slope == 0 or _is_vertex(phi, trial)):
            break
        if trial.finite and trial.slope < 0 and (flat or trial.value < low.value):
            low = trial
        else:
            high = trial
        if high is None:
            grown = cubic_minimum(start, low)
            step = min(grown if grown > low.step else math.inf, _GROWTH * low.step)
            continue
        older_width, width = width, high.step - low.step
        finest = phi.eps * max(low.step, _SHORTEST * first_step)
        if abs(best.slope) * width <= 1e-4 * noise or width <= finest:
            break
        mode += width > 0.5 * older_width  # what shrank the bracket is tried again
        step = _between(low, high, mode)
        if step in (low.step, high.step):
            break
    return None if best is start else best


def _between(low: Trial, high: Trial, mode: int) -> float:
    """Return the next step in a bracket: by a cubic, by tangents or its middle, in turns."""
    width = high.step - low.step
    if not high.finite:
        return low.step + 0.5 * width
    step = low.step + 0.5 * width
    if mode % 3 == 0:
        step = cubic_minimum(low, high)
    elif mode % 3 == 1 and high.slope > 0:  # where the tangents meet: a kink, if there is one
        rise = high.value - low.value - width * low.slope
        meet = width - min(rise / (high.slope - low.slope), width)
        step = low.step + min(max(meet, _BESIDE * width), (1 - _BESIDE) * width)
    return step if low.step < step < high.step else low.step + 0.5 * width


def _is_vertex(phi: Phi, trial: Trial) -> bool:
    """Return whether φ was a parabola on the way to here, and this is its minimum."""
    halfway = 0.5 * trial.step * phi.slope  # what a parabola falls by on the way to its vertex
    parabola = abs(trial.value - phi.value - halfway) <= 1e-6 * abs(halfway)
    return parabola and abs(trial.slope) <= -_FLAT * phi.eps * phi.slope
