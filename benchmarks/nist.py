r"""Parameters right to six digits: 54 runs on NIST's nonlinear regressions, beside SciPy's.

Everybody runs on own defaults. The digits of a run are those of its worst parameter,
$-\log_{10} |b - b^*| / |b^*|$. ``least_squares`` gets the exact Jacobian; ``curve_fit``, called as
most people do, takes differences. Nothing is stored.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import scipy.optimize
import torch
from torch import Tensor

import dlopt
from benchmarks.known_answers import objective
from benchmarks.nist_strd import MODELS, PROBLEMS, observations
from benchmarks.problem import Problem

PART = "nist"
Fit = Callable[[Problem], tuple[Tensor, bool]]  # the parameters, and whether it says "converged"


def from_dlopt(method: dlopt.Method[Any]) -> Fit:
    """A method of ours; Levenberg-Marquardt sees residuals, the others the sum of their squares."""

    def fit(problem: Problem) -> tuple[Tensor, bool]:
        path = dlopt.minimize(objective(method, problem), problem.x0, method, record=False)
        return path.x, path.converged

    return fit


def curve_fit(problem: Problem) -> tuple[Tensor, bool]:
    """SciPy's, with the model, the data and the start alone."""
    name = problem.name.rpartition("_")[0]
    x, y = observations(name)

    def model(x: object, *b: float) -> object:
        b_ = torch.tensor(b, dtype=torch.float64)
        return MODELS[name](b_, torch.as_tensor(x)).numpy().copy()

    found = scipy.optimize.curve_fit(model, x.numpy(), y.numpy(), problem.x0.numpy())
    return torch.as_tensor(found[0]), True  # it raises where it has not


def least_squares(algorithm: str) -> Fit:
    """SciPy's, with exact Jacobians."""

    def fit(problem: Problem) -> tuple[Tensor, bool]:
        def residuals(b: object) -> object:
            return problem.function(torch.as_tensor(b)).numpy().copy()  # not torch's memory

        def jacobian(b: object) -> object:
            of = torch.func.jacrev(problem.function)(torch.as_tensor(b))
            return of.numpy().copy()

        found = scipy.optimize.least_squares(
            residuals, problem.x0.numpy(), jacobian, method=algorithm
        )
        return torch.as_tensor(found.x), bool(found.success)

    return fit


FITS: dict[str, Fit] = {
    "dlopt LevenbergMarquardt": from_dlopt(dlopt.LevenbergMarquardt()),
    "dlopt Newton": from_dlopt(dlopt.Newton()),
    "dlopt BFGS": from_dlopt(dlopt.BFGS()),
    "dlopt LBFGS": from_dlopt(dlopt.LBFGS()),
    "SciPy curve_fit": curve_fit,
    "SciPy least_squares, lm": least_squares("lm"),
    "SciPy least_squares, trf": least_squares("trf"),
}


def digits(problem: Problem, x: Tensor) -> float:
    """The digits of the worst parameter that are right, at most the eleven that are certified."""
    certified = problem.minimizer
    assert certified is not None
    worst = float(((x - certified) / certified).abs().max())
    return 0.0 if not worst < 1 else min(11.0, -math.log10(max(worst, 1e-11)))


def outcomes(name: str) -> list[tuple[float, bool]]:
    """The digits of each run, and whether it says "converged"; neither where it raised."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the other libraries' remarks about rounding
    out = []
    for problem in PROBLEMS:
        try:
            x, converged = FITS[name](problem)
            out.append((digits(problem, x), converged))
        except (ArithmeticError, RuntimeError, ValueError):
            out.append((0.0, False))
    return out


def measure(names: Sequence[str], workers: int) -> None:
    """Print how many of the runs are right to six and to four digits, and which are not."""
    print(f"{'':26}{'6 digits':>10}{'4 digits':>10}   fewer than 4, * where it says converged")
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for name, found in zip(FITS, pool.map(outcomes, FITS), strict=True):
            print(line(name, found), flush=True)


def line(name: str, found: Sequence[tuple[float, bool]]) -> str:
    """What one of them did."""
    met = [sum(right >= wanted for right, _ in found) for wanted in (6, 4)]
    missed = [
        problem.name + "*" * converged
        for problem, (right, converged) in zip(PROBLEMS, found, strict=True)
        if right < 4
    ]
    return f"{name:26}{met[0]:>10}{met[1]:>10}   " + ", ".join(missed)
