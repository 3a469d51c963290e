"""The benchmark's table: each solver gets the same problem, and only evaluations are counted."""

import pytest
import torch
from torch.autograd.functional import hessian

from benchmarks.__main__ import SOLVERS, LastPoint, returns_a_solution, tight
from benchmarks.more_garbow_hillstrom import INSTANCES

ROSENBROCK = next(instance for instance in INSTANCES if instance.name == "rosenbrock")


@pytest.mark.filterwarnings("ignore")  # the other libraries' remarks about rounding
@pytest.mark.parametrize("name", SOLVERS)
def test_solver_solves_and_is_counted(name: str) -> None:
    count = tight(SOLVERS[name], ROSENBROCK)
    assert count is not None
    assert 10 < count < 200
    assert returns_a_solution(SOLVERS[name], ROSENBROCK)


def test_one_evaluation_gives_all_derivatives() -> None:
    calls = []

    def f(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        return (x**4).sum() + x[0] * x[1]

    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    at = LastPoint(f)
    value, gradient = at.value_and_gradient(x.numpy())
    matrix = at.hessian(x.numpy())
    assert len(calls) == 1
    assert (value, list(gradient)) == (19.0, [6.0, 33.0])
    assert torch.equal(torch.as_tensor(matrix), hessian(f, x))
    at.value_and_gradient(2 * x.numpy())
    assert len(calls) == 3  # one more by the oracle
