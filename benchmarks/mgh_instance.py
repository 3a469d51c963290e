r"""An instance of the Moré-Garbow-Hillstrom set, what "solved" means, and a counting harness."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from benchmarks.mgh_functions import Residuals
from dlopt.lesson.problems import random_rotation

Objective = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Instance:
    r"""A function at one dimension with its start; calling it gives $f(x) = \sum_i r_i(x)^2$.

    Attributes:
        name: Of the function, followed by the dimension where the set has several.
        residuals: Maps (n,) to (m,), float64, twice differentiable by autograd.
        x0: The standard start, (n,), float64.
        minimum: The smallest value of f known.
        other_minima: Values of local minima that the paper lists, some of them limits at infinity.
        minimizer: A point of the smallest value where it has a closed form, (n,), else None.
        note: What is peculiar.
    """

    name: str
    residuals: Residuals = field(repr=False)
    x0: Tensor = field(repr=False)
    minimum: float = 0.0
    other_minima: tuple[float, ...] = ()
    minimizer: Tensor | None = field(default=None, repr=False)
    note: str = field(default="", repr=False)

    def __call__(self, x: Tensor) -> Tensor:
        """The sum of squares at x, (n,); 0-d."""
        r = self.residuals(x)
        return r @ r

    @cached_property
    def start_value(self) -> float:
        """The value of f at the start."""
        return float(self(self.x0))


def tolerance(minimum: float, start_value: float) -> float:
    """How far above a minimum a value may lie and count as solved."""
    width = min(1e-6 * max(1.0, abs(minimum)), 1e-5 * (start_value - minimum))
    if minimum != 0:
        width = min(width, max(1e-3 * abs(minimum), 1e-12))
    return max(width, 1e-13 * max(1e-3, abs(minimum)))


def solved(instance: Instance, value: float) -> bool:
    """Whether a final value lies within the tolerance of a minimum.

    It may lie anywhere below the smallest minimum plus its tolerance, but has to be on both sides
    within the tolerance of a local one: a method that passes that level is still on its way down.
    """
    return _level_reached(instance, value) is not None


def _level_reached(instance: Instance, value: float) -> float | None:
    """The minimum plus its tolerance that a final value satisfies, None if it satisfies none."""
    width = tolerance(instance.minimum, instance.start_value)
    if value <= instance.minimum + width:
        return instance.minimum + width
    for minimum in instance.other_minima:
        width = tolerance(minimum, instance.start_value)
        if abs(value - minimum) <= width:
            return minimum + width
    return None


# --- Other starts, other coordinates --------------------------------------------------------------


def perturbed(instance: Instance, generator: torch.Generator) -> Instance:
    """The instance with each coordinate of its start moved by about a thousandth."""
    noise = torch.randn(instance.x0.shape, dtype=instance.x0.dtype, generator=generator)
    return replace(instance, x0=instance.x0 + 1e-3 * (instance.x0.abs() + 0.1) * noise)


def rotated(instance: Instance, generator: torch.Generator) -> Instance:
    """The instance in randomly rotated coordinates z, x = Qz: same values, other axes."""
    q = random_rotation(instance.x0.numel(), generator)
    minimizer = None if instance.minimizer is None else q.T @ instance.minimizer
    return replace(
        instance,
        residuals=lambda z: instance.residuals(q @ z),
        x0=q.T @ instance.x0,
        minimizer=minimizer,
    )


# --- Counting evaluations -------------------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    """The outcome of one run.

    Attributes:
        solved: Whether the best value seen within the budget solves the instance.
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
    instance: Instance,
    budget: int = 5000,
    residuals: bool = False,
) -> Count:
    """Runs a method on an instance and counts the evaluations it needs.

    An evaluation is one call of the objective; its derivatives are free. The run ends by itself,
    when the budget is spent, or when the smallest minimum has been reached.

    Args:
        minimizer: Called as ``minimizer(f, x0)``; what it returns is ignored.
        instance: The problem.
        budget: Evaluations allowed.
        residuals: Whether f gives the residual vector rather than the sum of its squares.

    Returns:
        The count. A method whose best value is that of a listed local minimum has solved the
        instance, one that went below it to no other minimum has not.
    """
    goal = instance.minimum + tolerance(instance.minimum, instance.start_value)
    improvements: list[tuple[int, float]] = []  # (evaluations, best value so far)
    best, spent = float("inf"), 0

    def f(x: Tensor) -> Tensor:
        nonlocal best, spent
        if spent >= budget or best <= goal:
            raise _Enough
        spent += 1
        r = instance.residuals(x)
        total = r @ r
        value = float(total.detach())
        if value < best:  # False for NaN
            best = value
            improvements.append((spent, value))
        return r if residuals else total

    with contextlib.suppress(_Enough):
        minimizer(f, instance.x0.clone())
    level = _level_reached(instance, best)
    if level is None:
        return Count(False, None, best, spent)
    return Count(True, next(k for k, value in improvements if value <= level), best, spent)
