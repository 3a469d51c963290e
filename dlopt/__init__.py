"""Reference implementations of the methods of *Deep Learning*, sections 8.6 and 8.7.

``minimize`` runs a method on a function of one tensor, ``MethodOptimizer`` on a module's
parameters, ``iterate`` yields its states one by one.
"""

from dlopt.averaging import ExponentialAverage, PolyakAverage
from dlopt.batch_norm import BatchNorm, recompute_statistics
from dlopt.bfgs import BFGS
from dlopt.conjugate_gradient import (
    ConjugateGradient,
    fletcher_reeves,
    hestenes_stiefel,
    polak_ribiere,
    polak_ribiere_plus,
)
from dlopt.coordinate_descent import CoordinateDescent
from dlopt.gradient_descent import GradientDescent, SteepestDescent
from dlopt.lbfgs import LBFGS
from dlopt.levenberg_marquardt import LevenbergMarquardt
from dlopt.line_search import backtracking, exact_quadratic, strong_wolfe, weak_wolfe
from dlopt.method import Method, State, iterate
from dlopt.minimization import Path, minimize
from dlopt.newton import Newton
from dlopt.optimizer import MethodOptimizer
from dlopt.truncated_newton import TruncatedNewton

__all__ = [
    "BFGS",
    "LBFGS",
    "BatchNorm",
    "ConjugateGradient",
    "CoordinateDescent",
    "ExponentialAverage",
    "GradientDescent",
    "LevenbergMarquardt",
    "Method",
    "MethodOptimizer",
    "Newton",
    "Path",
    "PolyakAverage",
    "State",
    "SteepestDescent",
    "TruncatedNewton",
    "backtracking",
    "exact_quadratic",
    "fletcher_reeves",
    "hestenes_stiefel",
    "iterate",
    "minimize",
    "polak_ribiere",
    "polak_ribiere_plus",
    "recompute_statistics",
    "strong_wolfe",
    "weak_wolfe",
]
__version__ = "0.1.0"
