r"""A test problem with its known answer, what "solved" means, and a counting harness."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from dlopt.lesson.problems import random_rotation

Objective = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Problem:
    r"""A function at one dimension with its start and its minima; calling it gives $f(x)$.

    Attributes:
        name: Of the function, followed by the dimension or the start where a set has several.
        function: Maps (n,) to the value, 0-d, or to residuals, (m,), whose squares are summed:
            $f(x) = \sum_i r_i(x)^2$. Float64, twice differentiable by autograd.
        x0: The standard start, (n,), float64.
        minimum: The smallest value of f known.
        other_minima: Values of known local minima, some of them limits at infinity.
        minimizer: A point of the smallest value where one is published or has a closed form,
            (n,), else None.
        note: What is peculiar.
        source: The paper and the number there, where the set is not one paper's.
    """

    name: str
    function: Callable[[Tensor], Tensor] = field(repr=False)
    x0: Tensor = field(repr=False)
    minimum: float = 0.0
    other_minima: tuple[float, ...] = ()
    minimizer: Tensor | None = field(default=None, repr=False)
    note: str = field(default="", repr=False)
    source: str = field(default="", repr=False)

    def __call__(self, x: Tensor) -> Tensor:
        """The value at x, (n,); 0-d."""
        return total(self.function(x))

    @cached_property
    def least_squares(self) -> bool:
        """Whether the function gives residuals."""
        return self.function(self.x0).ndim == 1

    @cached_property
    def start_value(self) -> float:
        """The value of f at the start."""
        return float(self(self.x0))


def vector(*values: float) -> Tensor:
    """Numbers as a tensor, (n,), float64."""
    return torch.tensor(values, dtype=torch.float64)


def total(y: Tensor) -> Tensor:
    """The value of f, 0-d, from what the function of a problem gives."""
    return y @ y if y.ndim else y


def tolerance(minimum: float, start_value: float) -> float:
    """How far above a minimum a value may lie and count as solved."""
    width = min(1e-6 * max(1.0, abs(minimum)), 1e-5 * (start_value - minimum))
    if minimum != 0:
        width = min(width, max(1e-3 * abs(minimum), 1e-12))
    return max(width, 1e-13 * max(1e-3, abs(minimum)))


def solved(problem: Problem, value: float) -> bool:
    """Whether a final value lies within the tolerance of a minimum.

    It may lie anywhere below the smallest minimum plus its tolerance, but has to be on both sides
    within the tolerance of a local one: a method that passes that level is still on its way down.
    """
    return _level_reached(problem, value) is not None


def _level_reached(problem: Problem, value: float) -> float | None:
    """The minimum plus its tolerance that a final value satisfies, None if it satisfies none."""
    width = tolerance(problem.minimum, problem.start_value)
    if value <= problem.minimum + width:
        return problem.minimum + width
    for minimum in problem.other_minima:
        width = tolerance(minimum, problem.start_value)
        if abs(value - minimum) <= width:
            return minimum + width
    return None


# --- Other starts, other coordinates --------------------------------------------------------------


def perturbed(problem: Problem, generator: torch.Generator) -> Problem:
    """The problem with each coordinate of its start moved by about a thousandth."""
    noise = torch.randn(problem.x0.shape, dtype=problem.x0.dtype, generator=generator)
    return replace(problem, x0=problem.x0 + 1e-3 * (problem.x0.abs() + 0.1) * noise)


def farther(problem: Problem, factor: float) -> Problem:
    """The problem from ``factor`` times its start; from the vector of that many where it is 0."""
    x0 = problem.x0 if bool(problem.x0.any()) else torch.ones_like(problem.x0)
    return replace(problem, x0=factor * x0)


def rotated(problem: Problem, generator: torch.Generator) -> Problem:
    """The problem in randomly rotated coordinates z, x = Qz: same values, other axes."""
    q = random_rotation(problem.x0.numel(), generator)
    minimizer = None if problem.minimizer is None else q.T @ problem.minimizer
    return replace(
        problem,
        function=lambda z: problem.function(q @ z),
        x0=q.T @ problem.x0,
        minimizer=minimizer,
    )


# --- Counting evaluations -------------------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    """The outcome of one run.

    Attributes:
        solved: Whether the best value seen within the budget solves the problem.
        evaluations: Calls until the best value first solved it; None if it never did.
        best: The best value seen.
        spent: All calls of the run.
    """

    solved: bool
    evaluations: int | None
    best: float
    spent: int


class _Enough(Exception):
    """Ends a run from inside the objective."""


def count_to_solve(
    minimizer: Callable[[Objective, Tensor], object],
    problem: Problem,
    budget: int = 5000,
    residuals: bool = False,
) -> Count:
    """Runs a method on an problem and counts the evaluations it needs.

    An evaluation is one call of the objective; its derivatives are free. The run ends by itself,
    when the budget is spent, or when the smallest minimum has been reached.

    Args:
        minimizer: Called as ``minimizer(f, x0)``; what it returns is ignored.
        problem: The problem.
        budget: Evaluations allowed.
        residuals: Whether f gives the residual vector rather than the sum of its squares.

    Returns:
        The count. A method whose best value is that of a listed local minimum has solved the
        problem, one that went below it to no other minimum has not.
    """
    goal = problem.minimum + tolerance(problem.minimum, problem.start_value)
    improvements: list[tuple[int, float]] = []  # (evaluations, best value so far)
    best, spent = float("inf"), 0

    def f(x: Tensor) -> Tensor:
        nonlocal best, spent
        if spent >= budget or best <= goal:
            raise _Enough
        spent += 1
        y = problem.function(x)
        value = float(total(y).detach())
        if value < best:  # False for NaN
            best = value
            improvements.append((spent, value))
        return y if residuals else total(y)

    with contextlib.suppress(_Enough):
        minimizer(f, problem.x0.clone())
    level = _level_reached(problem, best)
    if level is None:
        return Count(False, None, best, spent)
    return Count(True, next(k for k, value in improvements if value <= level), best, spent)
