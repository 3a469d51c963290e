"""The book's one visual language: data and an ``ax`` in, the ``ax`` out.

No function runs an algorithm, sets a global style or touches pyplot. This package alone imports
matplotlib, and this is its one door: ``from dlopt.lesson import plotting``.
"""

from dlopt.lesson.plotting.curves import convergence, matrix, power_law, spectrum, strip
from dlopt.lesson.plotting.legends import legend
from dlopt.lesson.plotting.picture import render, show
from dlopt.lesson.plotting.plane import (
    arrow,
    contours,
    minimum,
    saddle_point,
    start,
    trajectory,
)
from dlopt.lesson.plotting.style import (
    BLACK,
    BLUE,
    DPI,
    GREEN,
    INDIGO,
    METHODS,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    WINE,
    arm_style,
    figure,
    method_style,
)

__all__ = [
    "BLACK",
    "BLUE",
    "DPI",
    "GREEN",
    "INDIGO",
    "METHODS",
    "ORANGE",
    "PURPLE",
    "SKY",
    "VERMILLION",
    "WINE",
    "arm_style",
    "arrow",
    "contours",
    "convergence",
    "figure",
    "legend",
    "matrix",
    "method_style",
    "minimum",
    "power_law",
    "render",
    "saddle_point",
    "show",
    "spectrum",
    "start",
    "strip",
    "trajectory",
]
