"""The next trial step of a line search, from the values and slopes at two others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlopt.line_search import Trial


def cubic_minimum(a: Trial, b: Trial) -> float:
    """Minimise the cubic through two values and slopes (Nocedal & Wright, 3.59).

    Returns infinity, on the side of ``b``, where that cubic has no minimum.
    """
    gap = b.step - a.step
    d1 = a.slope + b.slope - 3 * (b.value - a.value) / gap
    # In units of a power of two, which changes no digit, squares neither overflow nor vanish.
    unit = -math.frexp(max(abs(d1), abs(a.slope), abs(b.slope)))[1]
    d1, slope_a, slope_b = (math.ldexp(v, unit) for v in (d1, a.slope, b.slope))
    radicand = d1 * d1 - slope_a * slope_b
    if not radicand >= 0:
        return math.copysign(math.inf, gap)
    d2 = math.copysign(math.sqrt(radicand), gap)
    bottom = slope_b - slope_a + 2 * d2
    if bottom == 0:
        return math.copysign(math.inf, gap)
    minimum = b.step - gap * (slope_b + d2 - d1) / bottom
    return minimum if math.isfinite(minimum) else math.copysign(math.inf, gap)


def inside(low: Trial, high: Trial, *, bisect: bool) -> float:
    """Return the next step of the zoom: in the inner 80 % of the bracket.

    A step nearer to an end would be no news (Nocedal & Wright, section 3.5, leave the margin open).
    """
    width = high.step - low.step
    if not high.finite:  # nothing to interpolate: contract toward the finite end
        return low.step + 0.1 * width
    if bisect:
        return low.step + 0.5 * width
    ends = sorted((low.step + 0.1 * width, low.step + 0.9 * width))
    return min(max(cubic_minimum(low, high), ends[0]), ends[1])
