"""What is known about a problem is true: its derivatives, its minima, and that nothing is lower."""

import pytest
import torch
from torch.autograd.functional import hessian

from dlopt.lesson.problems import (
    bowl,
    himmelblau,
    pseudo_huber,
    quadratic,
    random_rotation,
    rosenbrock,
    saddle,
    spectrum,
)

PROBLEMS = [
    quadratic(spectrum(10, 100.0)),
    quadratic(
        torch.tensor([-1.0, 2.0, 30.0]).double(),
        basis=random_rotation(3, torch.Generator().manual_seed(8)),
        minimizer=torch.tensor([1.0, -2.0, 3.0]),
    ),
    bowl(),
    saddle(),
    rosenbrock(),
    rosenbrock(5),
    himmelblau(),
    pseudo_huber(),
    pseudo_huber(3),
]
each_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: f"{p.name}, n = {p.n}")


def test_names_differ():
    names = {problem.name for problem in PROBLEMS if problem.n == 2}
    assert names == {"bowl, condition 10", "saddle", "Rosenbrock", "Himmelblau", "pseudo-Huber"}


@each_problem
def test_derivatives_agree_with_differences(problem):
    for shift in (0.0, 0.1):
        x = (problem.x0 + shift).requires_grad_(True)
        assert torch.autograd.gradcheck(problem, (x,))
        assert torch.autograd.gradgradcheck(problem, (x,))


@each_problem
def test_minimizers(problem):
    for x in problem.minimizers:
        assert float(problem(x)) == pytest.approx(problem.minimum, abs=1e-25, rel=1e-15)
        assert torch.func.grad(problem.f)(x).abs().max() < 2e-13
        assert torch.linalg.eigvalsh(hessian(problem, x)).min() > 0.1


@each_problem
def test_nothing_lies_below_the_minimum(problem):
    generator = torch.Generator().manual_seed(3)
    x = problem.x0 + torch.randn(2000, problem.n, generator=generator, dtype=torch.float64)
    values = torch.func.vmap(problem.f)(x)
    values = values[~values.isnan()]
    assert len(values) > 1000
    assert values.min() >= problem.minimum
