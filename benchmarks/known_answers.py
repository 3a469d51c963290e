"""Is "converged" true? Every method of ours, at its own defaults, on every problem with an answer.

The problems: Moré, Garbow and Hillstrom's, NIST's nonlinear regressions, and those of ``further``.
None is cut off before 10,000 steps. A run is *near*, and has *solved* its problem, when the value
of the point that it returns differs from a listed minimum by at most 1e-6 max(1, |J*|). A
*violation* is a run that says "converged" where it is not near, and other methods, SciPy's, go on
down from its end by more than that; where they do not, it has ended at a minimum that is not
listed, *elsewhere*. A *false alarm* is near and not converged.

Nothing is stored. ``--variant`` repeats the runs from other starts, in other coordinates or units.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from typing import Any

import scipy.optimize
import torch
from torch import Tensor

import dlopt
from benchmarks import further, nist_strd
from benchmarks.more_garbow_hillstrom import INSTANCES
from benchmarks.problem import Problem, farther, perturbed, rotated
from benchmarks.solvers import from_scipy

PART = "known_answers"
METHODS: dict[str, dlopt.Method[Any]] = {
    "dlopt ConjugateGradient": dlopt.ConjugateGradient(),
    "dlopt BFGS": dlopt.BFGS(),
    "dlopt LBFGS": dlopt.LBFGS(),
    "dlopt Newton": dlopt.Newton(),
    "dlopt TruncatedNewton": dlopt.TruncatedNewton(),
    "dlopt LevenbergMarquardt": dlopt.LevenbergMarquardt(),
}
PROBLEMS: tuple[Problem, ...] = (*INSTANCES, *nist_strd.PROBLEMS, *further.PROBLEMS)
WIDTH = 1e-6
STEPS = 10_000
# Listed as a local minimum of three variables; with all six free J curves down there. A run that
# ends there without a claim is right.
SADDLES = {"biggs_exp6": (0.005655649925499929,)}
VERDICTS = ("true", "violation", "elsewhere", "false alarm", "unsolved", "no start", "raised")


# --- Judging a run --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """How a method ended on a problem.

    Attributes:
        problem: Its name.
        verdict: One of ``VERDICTS``. "true": near and converged; "unsolved": neither; "no start":
            f is not finite there.
        reason: The method's own reason, or the exception.
        value: The value of the point returned.
        evaluations: Spent by the method.
    """

    problem: str
    verdict: str
    reason: str
    value: float = math.nan
    evaluations: int = 0


def near(problem: Problem, value: float, reason: str = "") -> bool:
    """Whether a value is that of a listed minimum; of a "plateau" only that of the lowest.

    Some of the others are limits at infinity, where it is right to claim nothing.
    """
    others = () if reason == "plateau" else problem.other_minima
    saddles = SADDLES.get(problem.name, ())
    return any(
        abs(value - minimum) <= WIDTH * max(1.0, abs(minimum))
        for minimum in (problem.minimum, *others)
        if minimum not in saddles
    )


def still_falls(problem: Problem, x: Tensor) -> bool:
    """Whether other methods go on down from x, or from close to it, by more than the width.

    Close in the units of each entry, a millionth of it, where it isn't 0; and of f, by the width:
    minima of fractions lie a thousandth from their poles, those of tangents less.
    """
    value = float(problem(x))
    width = WIDTH * max(1.0, abs(value))
    noise = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    away = 1e-6 * x.abs().where(x != 0, 1.0) * noise
    while not float(problem(x + away)) <= value + width and not torch.equal(x + away, x):
        away = 0.1 * away
    starts = (x, x + away)
    for solver in (least_squares, *SCIPY):
        for start in starts:
            try:
                lower = float(problem(solver(problem, start, None)))
            except (ArithmeticError, IndexError, NameError, RuntimeError, ValueError):
                continue  # SciPy's trust-exact and linear algebra fail at what is not finite
            if lower < value - width:
                return True
    return False


SCIPY = (from_scipy("trust-exact", gtol=0.0, maxiter=300), from_scipy("BFGS", gtol=0.0))


def least_squares(problem: Problem, x: Tensor, tol: float | None) -> Tensor:
    """MINPACK's Levenberg-Marquardt to the last digit; x itself where there are no residuals."""
    if not problem.least_squares:
        return x
    found = scipy.optimize.least_squares(
        lambda b: problem.function(torch.as_tensor(b)).numpy().copy(),  # not torch's memory
        x.numpy(),
        lambda b: torch.func.jacrev(problem.function)(torch.as_tensor(b)).numpy().copy(),
        method="lm" if problem.function(x).numel() >= x.numel() else "trf",
        x_scale="jac",
        **dict.fromkeys(("xtol", "ftol", "gtol"), 1e-15),
    )
    return torch.as_tensor(found.x)


def objective(
    method: dlopt.Method[Any], problem: Problem, factor: float = 1.0
) -> Callable[[Tensor], Tensor]:
    """What a method is given to minimise ``factor`` times f: residuals or the value."""
    if isinstance(method, dlopt.LevenbergMarquardt):
        weight = math.sqrt(factor)
        return lambda x: weight * problem.function(x)
    return lambda x: factor * problem(x)


def _minimized(method: dlopt.Method[Any], problem: Problem, factor: float = 1.0) -> dlopt.Path:
    f = objective(method, problem, factor)
    return dlopt.minimize(f, problem.x0, method, max_steps=STEPS, record=False)


def run(method: dlopt.Method[Any], problem: Problem, factor: float = 1.0) -> Run:
    """Minimise ``factor`` times f by a method's own defaults, and judge the end in units of f."""
    if not math.isfinite(problem.start_value):
        return Run(problem.name, "no start", "")
    try:
        path = _minimized(method, problem, factor)
    except (ArithmeticError, RuntimeError, ValueError) as error:
        return Run(problem.name, "raised", str(error))
    value = float(problem(path.x))
    if near(problem, value, path.reason):
        verdict = "true" if path.converged else "false alarm"
    elif path.converged:
        verdict = "violation" if still_falls(problem, path.x) else "elsewhere"
    else:
        verdict = "unsolved"
    return Run(problem.name, verdict, path.reason, value, path.evaluations)


# --- Variants -------------------------------------------------------------------------------------

Variant = Callable[[dlopt.Method[Any], Problem, torch.Generator], tuple[Problem, float]]


def _warm(
    method: dlopt.Method[Any], problem: Problem, generator: torch.Generator
) -> tuple[Problem, float]:
    """Start again where a first run has ended: little is left to do, and it should be seen."""
    return replace(problem, x0=_minimized(method, problem).x), 1.0


VARIANTS: dict[str, Variant] = {
    "standard": lambda method, problem, generator: (problem, 1.0),
    "perturbed": lambda method, problem, generator: (perturbed(problem, generator), 1.0),
    "rotated": lambda method, problem, generator: (rotated(problem, generator), 1.0),
    "far": lambda method, problem, generator: (farther(problem, 10.0), 1.0),
    "farther": lambda method, problem, generator: (farther(problem, 100.0), 1.0),
    "small": lambda method, problem, generator: (problem, 1e-6),
    "large": lambda method, problem, generator: (problem, 1e6),
    "warm": _warm,
}


def runs(name: str, variant: str = "standard", problems: Sequence[Problem] = PROBLEMS) -> list[Run]:
    """A method on all problems that it can have; Levenberg-Marquardt wants residuals."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # SciPy's remarks about rounding
    method = METHODS[name]
    found = []
    for problem in problems:
        if isinstance(method, dlopt.LevenbergMarquardt) and not problem.least_squares:
            continue
        generator = torch.Generator().manual_seed(0)  # of the problem, whatever came before it
        found.append(run(method, *VARIANTS[variant](method, problem, generator)))
    return found


# --- The report -----------------------------------------------------------------------------------


def measure(names: Sequence[str], workers: int, variants: Sequence[str]) -> None:
    """Print the table and the cases of the named methods, variant by variant."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for variant in variants:
            done = pool.map(partial(runs, variant=variant), names)
            found = dict(zip(names, done, strict=True))
            print(f"\n{variant}")
            print("\n".join([*table(found), "", *cases(found)]), flush=True)


def table(found: dict[str, list[Run]]) -> list[str]:
    """A line a method.

    >>> table({"a": [Run("p", "true", "gradient", 0.0, 7)]})[1].split()
    ['a', '1', '1', '1', '0', '0', '0', '7', '7']
    """
    heads = ("problems", "solved", "true", *VERDICTS[1:4], "evaluations", "of solved")
    lines = [f"{'':26}" + "".join(f"{head:>13}" for head in heads)]
    for name, all_runs in found.items():
        counts = Counter(each.verdict for each in all_runs)
        near_ones = [each for each in all_runs if each.verdict in ("true", "false alarm")]
        cells = (
            len(all_runs) - counts["no start"],
            len(near_ones),
            *(counts[verdict] for verdict in VERDICTS[:4]),
            sum(each.evaluations for each in all_runs),
            sum(each.evaluations for each in near_ones),
        )
        lines.append(f"{name:26}" + "".join(f"{cell:>13,}" for cell in cells))
    return lines


def cases(found: dict[str, list[Run]]) -> list[str]:
    """Every run that is neither true nor without a start, by verdict."""
    minima = {problem.name: problem.minimum for problem in PROBLEMS}
    lines = []
    for verdict in VERDICTS[1:]:
        for name, all_runs in found.items():
            told = [
                f"{each.problem} ({each.reason}, {each.value:.8g} for {minima[each.problem]:.8g})"
                for each in all_runs
                if each.verdict == verdict != "no start"
            ]
            if told:
                lines.append(f"{verdict}, {name}: " + ", ".join(told))
    return lines
