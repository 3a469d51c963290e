"""Problems with 650 to 100,000 variables, and the evaluations that a method needs on them.

Each is a function of a tensor, a start, and a value to reach: ``python -m benchmarks larger``.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing import get_context
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import dlopt
from benchmarks import results
from benchmarks.solvers import SOLVERS, Objective, Solver, from_dlopt
from dlopt.empirical_risk import EmpiricalRisk

PART = "larger"
LOGISTIC_MINIMUM = 0.2639258232950728  # computed by Newton's method, to the last digit but one
BUDGET = 3000  # evaluations


@dataclass(frozen=True, eq=False)
class Larger:
    """A function with a start and a target.

    Attributes:
        name: What tables call it.
        f: Maps a tensor of shape (n,) to a 0-d tensor.
        x0: The start, shape (n,), float64.
        target: The value at which a run has arrived.
        says: What the target is, in words.
    """

    name: str
    f: Objective = field(repr=False)
    x0: Tensor = field(repr=False)
    target: float
    says: str


@cache
def _digits() -> tuple[Tensor, Tensor]:
    """All 1797 digits: pixels in [0, 1], and labels."""
    data = load_digits()
    return torch.tensor(data.data / 16), torch.tensor(data.target)


@cache
def logistic() -> Larger:
    """Softmax regression on the digits with weight decay 1e-3: 650 variables, strongly convex."""
    risk = EmpiricalRisk(
        nn.Linear(64, 10).double(), *_digits(), nn.functional.cross_entropy, weight_decay=1e-3
    )
    return Larger(
        "logistic regression",
        risk,
        torch.zeros(risk.n, dtype=torch.float64),
        LOGISTIC_MINIMUM * (1 + 1e-10),
        "minimum, to a relative 1e-10",
    )


@cache
def network(seed: int = 0) -> Larger:
    """A network 64-32-10 on the digits with weight decay 1e-4: 2410 variables, not convex.

    Its minimum is unknown, and runs end in different ones: the target is a risk that all of them
    reach, five percent above the lowest that was ever seen (0.0209).
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)).double()
    risk = EmpiricalRisk(net, *_digits(), nn.functional.cross_entropy, weight_decay=1e-4)
    return Larger(f"network, start {seed}", risk, risk.initial, 0.022, "risk 0.022")


@cache
def quadratic(n: int) -> Larger:
    """A quadratic of n variables; its eigenvalues lie from 1e-4 to 1, evenly on a log scale."""
    eigenvalues = torch.logspace(-4, 0, n, dtype=torch.float64)
    return Larger(
        f"quadratic, {n} variables",
        lambda x: (eigenvalues * x * x).sum() / 2,
        torch.ones(n, dtype=torch.float64),
        1e-6,
        "1e-6; the minimum is 0",
    )


@cache
def rosenbrock(n: int = 100_000) -> Larger:
    """The extended Rosenbrock function: n/2 valleys that the method does not know to be alike."""

    def f(x: Tensor) -> Tensor:
        a, b = x[::2], x[1::2]
        return (100 * (b - a * a) ** 2 + (1 - a) ** 2).sum()

    start = torch.tensor([-1.2, 1.0], dtype=torch.float64).repeat(n // 2)
    return Larger(f"Rosenbrock, {n} variables", f, start, 1e-6, "1e-6; the minimum is 0")


PROBLEMS: dict[str, Callable[[], Larger]] = {
    "logistic": logistic,
    "network": network,
    "network, start 1": partial(network, 1),
    "network, start 2": partial(network, 2),
    "quadratic 1e3": partial(quadratic, 1000),
    "quadratic 1e5": partial(quadratic, 100_000),
    "Rosenbrock 1e5": rosenbrock,
}


class _Arrived(Exception):
    """Ends a run from inside the objective."""


def count_to_target(solver: Solver, problem: Larger, budget: int = BUDGET) -> int | None:
    """Return the evaluations to the target, None if it is not met within the budget."""
    spent, arrived = 0, False

    def f(x: Tensor) -> Tensor:
        nonlocal spent, arrived
        if arrived or spent >= budget:
            raise _Arrived
        spent += 1
        value = problem.f(x)
        if float(value.detach()) <= problem.target:
            arrived = True
            raise _Arrived
        return value

    with contextlib.suppress(_Arrived, ArithmeticError, RuntimeError, ValueError):
        solver(f, problem.x0.clone(), 1e-14)
    return spent if arrived else None


def evaluations_to_target(
    problem: Larger | str, method: dlopt.Method[Any], budget: int = BUDGET
) -> int | None:
    """Return the evaluations that a method of ours needs, None if it does not arrive.

    Args:
        problem: One of this module's problems, or its key in ``PROBLEMS``.
        method: Such as ``dlopt.LBFGS()``.
        budget: The most evaluations.

    Example:
        >>> evaluations_to_target("logistic", dlopt.TruncatedNewton())
        10
    """
    chosen = PROBLEMS[problem]() if isinstance(problem, str) else problem
    return count_to_target(from_dlopt(method), chosen, budget)


# Methods that ask for gradients alone, and the most variables for those that keep a matrix: beyond
# 1000 an iteration that multiplies two such matrices takes seconds.
GRADIENT_FAMILIES = ("conjugate gradients", "BFGS", "L-BFGS")
DENSE = {"dlopt BFGS": 3000, "SciPy BFGS": 1000, "pytorch-minimize bfgs": 1000}


def measure_one(name: str) -> dict[str, int | None]:
    """The evaluations of one solver, problem by problem; those out of its reach are left out."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the other libraries' remarks about rounding
    problems = {key: make() for key, make in PROBLEMS.items()}
    return {
        key: count_to_target(SOLVERS[name], problem)
        for key, problem in problems.items()
        if len(problem.x0) <= DENSE.get(name, len(problem.x0))
    }


def measure(names: Sequence[str], workers: int) -> None:
    """Run the named solvers, print and store what they did; what others did stays."""
    known = {name for family in GRADIENT_FAMILIES for name in results.FAMILIES[family]}
    wanted = [name for name in names if name in known]
    about = {
        "budget": BUDGET,
        "problems": {
            key: {"name": p.name, "variables": len(p.x0), "target": p.says}
            for key, p in ((key, make()) for key, make in PROBLEMS.items())
        },
    }
    print(f"{'':24}", *(f"{key:>18}" for key in PROBLEMS))
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for name, found in zip(wanted, pool.map(measure_one, wanted), strict=True):
            print(f"{name:24}", *(f"{found.get(k, '·')!s:>18}" for k in PROBLEMS), flush=True)
            results.save_solver(PART, about, name, found)
