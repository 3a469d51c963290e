"""The problems in single precision: every number is rounded, and the budget holds."""

import pytest
import torch

from benchmarks.more_garbow_hillstrom import INSTANCES
from benchmarks.problem import Problem
from benchmarks.single import BUDGET, Rounded, runs, solved


@pytest.mark.parametrize("problem", INSTANCES, ids=lambda p: p.name)
def test_values_and_gradients_are_those_of_float32(problem) -> None:
    f = Rounded(problem)
    x = problem.x0.float().requires_grad_()
    value = f(x)
    (g,) = torch.autograd.grad(value, x)
    assert (value.dtype, g.dtype, f.evaluations) == (torch.float32, torch.float32, 1)
    assert float(value.detach()) == pytest.approx(problem.start_value, rel=1e-2)


def test_every_operation_is_rounded() -> None:
    """A third in float64 less a third in float32 is nothing: both were rounded."""
    third = torch.ones(1, dtype=torch.float64) / 3
    x = torch.ones(1) / 3
    assert float(third - x) != 0
    f = Rounded(Problem("third", lambda x: (third - x) ** 2, x0=x.double()))
    assert float(f(x)) == 0


def test_the_budget_ends_a_run() -> None:
    f = Rounded(INSTANCES[0])
    for _ in range(BUDGET):
        f(INSTANCES[0].x0)
    with pytest.raises(RuntimeError, match="5000 evaluations"):
        f(INSTANCES[0].x0)


def test_solved_means_all_of_the_fall_but_a_ten_thousandth() -> None:
    rosenbrock = INSTANCES[0]
    assert rosenbrock.start_value == pytest.approx(24.2)
    assert solved(rosenbrock, torch.tensor([0.96, 0.9216]))
    assert not solved(rosenbrock, torch.tensor([0.94, 0.8836]))


def test_ours_solve_nearly_all() -> None:
    name, count, spent, left = runs("dlopt TruncatedNewton")
    assert name == "dlopt TruncatedNewton" and count >= 38 and spent < 2500
    assert len(left) == len(INSTANCES) - count
