r"""Moré, Garbow and Hillstrom's problems in single precision, everybody on own defaults.

Every number that an objective computes is rounded to float32, those of its data included. A run
has solved its problem when the value of the point that it returns, in float64, has made all but
1e-4 of the fall from the start to a listed minimum. A run that spends 5000 evaluations has not.
Nothing is stored.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from benchmarks.more_garbow_hillstrom import INSTANCES
from benchmarks.problem import Problem
from benchmarks.solvers import SOLVERS

PART = "single"
SHARE = 1e-4
BUDGET = 5000  # evaluations a run; one of PyTorch would never end


class _Single(TorchFunctionMode):
    """Rounds what goes into every operation, and what comes out, to float32."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the function on rounded numbers."""
        return tree_map(_rounded, func(*tree_map(_rounded, args), **(kwargs or {})))


def _rounded(value: Any) -> Any:
    double = isinstance(value, Tensor) and value.dtype == torch.float64
    return value.to(torch.float32) if double else value


class Rounded:
    """A problem's objective in float32, which counts its evaluations.

    Args:
        problem: The problem.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.evaluations = 0

    def __call__(self, x: Tensor) -> Tensor:
        """The value at x, (n,), in float32; 0-d."""
        if self.evaluations >= BUDGET:
            raise RuntimeError(f"{BUDGET} evaluations are spent")
        self.evaluations += 1
        with _Single():
            return self._problem(x.float())


def solved(problem: Problem, x: Tensor) -> bool:
    """Whether a point has made all of the fall but a ten-thousandth."""
    value = float(problem(x.double()))
    return any(
        abs(value - minimum) <= SHARE * (problem.start_value - minimum)
        for minimum in (problem.minimum, *problem.other_minima)
    )


def runs(name: str) -> tuple[str, int, int, list[str]]:
    """A solver's problems solved, the evaluations spent on those and the names of the others."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # SciPy's remarks about rounding
    count, spent, left = 0, 0, []
    for problem in INSTANCES:
        f = Rounded(problem)
        try:
            x = SOLVERS[name](f, problem.x0.float(), None)
        except (ArithmeticError, RuntimeError, ValueError) as error:
            left.append(f"{problem.name} ({type(error).__name__})")
            continue
        if solved(problem, x):
            count, spent = count + 1, spent + f.evaluations
        else:
            left.append(problem.name)
    return name, count, spent, left


def measure(names: Sequence[str], workers: int) -> None:
    """Print a line a solver; pytorch-minimize's are left out."""
    names = [name for name in names if not name.startswith("pytorch-minimize")]
    print(f"{'of ' + str(len(INSTANCES)):24} solved  evaluations on those")
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for name, count, spent, left in pool.map(runs, names):
            print(f"{name:24} {count:6}  {spent:11}   not: {', '.join(left) or 'none'}", flush=True)
