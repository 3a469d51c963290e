"""Test problems with known answers: quadratics of any spectrum, the surfaces of the lessons.

This is the one door: ``from dlopt.lesson import problems``.
"""

from dlopt.lesson.problems.problem import Problem
from dlopt.lesson.problems.quadratics import (
    Quadratic,
    bowl,
    quadratic,
    random_rotation,
    rotation,
    spectrum,
)
from dlopt.lesson.problems.surfaces import himmelblau, pseudo_huber, rosenbrock, saddle

__all__ = [
    "Problem",
    "Quadratic",
    "bowl",
    "himmelblau",
    "pseudo_huber",
    "quadratic",
    "random_rotation",
    "rosenbrock",
    "rotation",
    "saddle",
    "spectrum",
]
