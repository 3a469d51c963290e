"""All methods on the Moré-Garbow-Hillstrom set: ``python -m benchmarks mgh``.

*Tight*: with a gradient tolerance of 1e-10 as the only criterion, is a minimum met within 5000
evaluations, and after how many? *Own defaults*: is the point that a method returns, untouched, a
solution? The tight runs are repeated from perturbed starts and in rotated variables, five seeds
each, and on c·f. An evaluation is one call of the objective with its derivatives.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from torch import Tensor

from benchmarks import results
from benchmarks.more_garbow_hillstrom import (
    INSTANCES,
    Problem,
    count_to_solve,
    perturbed,
    rotated,
    solved,
)
from benchmarks.solvers import SOLVERS, Objective, Solver

PART = "mgh"
BUDGET, TOLERANCE = 5000, 1e-10
SEEDS = range(5)
FACTORS = (1e-6, 1e6)
Change = Callable[[Problem, torch.Generator], Problem]
Counts = list[int | None]  # one entry an instance; None where it was not solved


def tight(solver: Solver, instance: Problem, factor: float = 1.0) -> int | None:
    """The evaluations to the minimum when ``factor`` times f is minimised; None if not met."""

    def run(f: Objective, x0: Tensor) -> None:
        scaled = f if factor == 1 else lambda x: factor * f(x)
        try:
            solver(scaled, x0, factor * TOLERANCE)
        except (ArithmeticError, IndexError, RuntimeError, ValueError):
            return  # a method that raises has not solved it, unless it had before

    return count_to_solve(run, instance, BUDGET).evaluations


def returns_a_solution(solver: Solver, instance: Problem) -> bool:
    """Judge the point that a method returns by its own defaults."""
    try:
        return solved(instance, float(instance(solver(instance, instance.x0.clone(), None))))
    except (ArithmeticError, IndexError, RuntimeError, ValueError):
        return False


def changed(solver: Solver, change: Change, seed: int) -> Counts:
    """The tight counts with the whole set changed at random."""
    generator = torch.Generator().manual_seed(seed)
    return [tight(solver, change(instance, generator)) for instance in INSTANCES]


def measure_one(name: str) -> results.Data:
    """Everything about one solver."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the other libraries' remarks about rounding
    solver = SOLVERS[name]
    return {
        "tight": [tight(solver, instance) for instance in INSTANCES],
        "defaults": [int(returns_a_solution(solver, instance)) for instance in INSTANCES],
        "perturbed": [changed(solver, perturbed, seed) for seed in SEEDS],
        "rotated": [changed(solver, rotated, seed) for seed in SEEDS],
        "scaled": [[tight(solver, instance, c) for instance in INSTANCES] for c in FACTORS],
    }


def total(counts: Counts) -> tuple[int, int]:
    """Instances solved, and the evaluations spent on them.

    >>> total([10, None, 5])
    (2, 15)
    """
    met = [n for n in counts if n is not None]
    return len(met), sum(met)


def measure(names: Sequence[str], workers: int) -> None:
    """Run the named solvers, print and store what they did; what others did stays."""
    print(f"{'':30}{'tight':>10}{'defaults':>10}   perturbed, rotated (five seeds), c·f")
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for name, found in zip(names, pool.map(measure_one, names), strict=True):
            print(line(name, found), flush=True)
            about = {
                "budget": BUDGET,
                "factors": list(FACTORS),
                "instances": [instance.name for instance in INSTANCES],
            }
            results.save_solver(PART, about, name, found)


def line(name: str, found: results.Data) -> str:
    """What one solver did, as "solved/evaluations"."""
    met = "{}/{}".format(*total(found["tight"]))
    blocks = [found[key] for key in ("perturbed", "rotated", "scaled")]
    cells = [" ".join("{}/{}".format(*total(counts)) for counts in block) for block in blocks]
    return f"{name:30}{met:>10}{sum(found['defaults']):>10}   " + " | ".join(cells)
