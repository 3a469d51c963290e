"""What counts as solved and how it is counted; other starts and other coordinates."""

import math

import pytest
import torch
from scipy import optimize
from torch import Tensor

from benchmarks.more_garbow_hillstrom import (
    INSTANCES,
    count_to_solve,
    perturbed,
    rotated,
    solved,
    tolerance,
)

BY_NAME = {instance.name: instance for instance in INSTANCES}


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_tolerance_has_each_of_its_bounds():
    width = {p.name: tolerance(p.minimum, p.start_value) for p in INSTANCES}
    assert width["rosenbrock"] == 1e-6
    assert width["meyer"] == pytest.approx(1e-6 * 87.94585517)
    assert width["discrete_boundary_value"] == pytest.approx(1e-5 * 0.02808058**2)
    assert width["gaussian"] == pytest.approx(1.12793277e-11)
    assert width["watson_12"] == 1e-12
    assert tolerance(0.0, 1e-12) == pytest.approx(1e-16)
    assert tolerance(100.0, 100.0) == pytest.approx(1e-11)


def test_solved_takes_a_local_minimum_but_not_what_lies_below_it():
    instance = BY_NAME["freudenstein_roth"]
    local = instance.other_minima[0]
    assert solved(instance, local + 1e-6)
    assert not solved(instance, local + 1e-3)
    assert not solved(instance, local - 1e-3)
    assert solved(instance, 9e-7)
    assert not solved(instance, 2e-6)
    assert not solved(instance, math.nan)


def visit(*points: Tensor):
    """A method that evaluates at the given points."""

    def minimizer(f, x0):
        for x in points:
            f(x)

    return minimizer


def test_count_is_that_of_the_first_solving_evaluation():
    instance = BY_NAME["rosenbrock"]
    far, near, best = vector(0, 0), vector(1.0005, 1.001), vector(1, 1)
    outcome = count_to_solve(visit(far, vector(math.nan, 0), near, best, best, far), instance)
    assert (outcome.solved, outcome.evaluations, outcome.spent) == (True, 3, 3)  # stops there
    outcome = count_to_solve(visit(far, far, best), instance, budget=2)
    assert (outcome.solved, outcome.evaluations, outcome.spent) == (False, None, 2)
    assert outcome.best == 1


def test_passing_a_local_minimum_is_not_solving():
    instance = BY_NAME["freudenstein_roth"]
    local, beyond = vector(11.4127789869, -0.896805253274), vector(5.1, 4)
    ended = count_to_solve(visit(instance.x0, local, instance.x0), instance)
    assert (ended.solved, ended.evaluations, ended.spent) == (True, 2, 3)
    passed = count_to_solve(visit(instance.x0, local, beyond), instance)
    assert not passed.solved
    went_on = count_to_solve(visit(local, beyond, vector(5, 4)), instance)
    assert (went_on.solved, went_on.evaluations) == (True, 3)


def test_count_of_a_method_on_residuals_and_on_sums():
    instance = BY_NAME["bard"]

    def gauss_newton(r, x):
        for _ in range(20):
            x = x.detach().requires_grad_()
            value = r(x)
            rows = [torch.autograd.grad(v, x, retain_graph=True)[0] for v in value]
            x = x - torch.linalg.lstsq(torch.stack(rows), value.detach()[:, None]).solution[:, 0]

    outcome = count_to_solve(gauss_newton, instance, residuals=True)
    assert outcome.solved
    assert outcome.evaluations == outcome.spent < 20

    def bfgs(f, x0):
        def value_and_gradient(x):
            z = torch.tensor(x, requires_grad=True)
            value = f(z)
            return value.item(), torch.autograd.grad(value, z)[0].numpy()

        return optimize.minimize(value_and_gradient, x0.numpy(), jac=True, method="BFGS")

    outcome = count_to_solve(bfgs, instance)
    assert outcome.solved
    assert outcome.best < instance.minimum + 1e-6


def test_perturbed_moves_only_the_start_and_a_little():
    instance = BY_NAME["box"]
    moved = perturbed(instance, torch.Generator().manual_seed(1))
    again = perturbed(instance, torch.Generator().manual_seed(1))
    assert torch.equal(moved.x0, again.x0)
    step = (moved.x0 - instance.x0) / (instance.x0.abs() + 0.1)
    assert ((step != 0) & (step.abs() < 5e-3)).all()
    assert moved.function is instance.function
    assert moved.start_value == float(instance(moved.x0)) != instance.start_value


def test_rotated_has_the_same_values_in_other_coordinates():
    instance = BY_NAME["wood"]
    turned = rotated(instance, torch.Generator().manual_seed(2))
    assert not torch.allclose(turned.x0, instance.x0)
    assert turned.start_value == pytest.approx(instance.start_value, rel=1e-13)
    assert float(turned(turned.minimizer)) == pytest.approx(0, abs=1e-25)
    spectra = [
        torch.linalg.eigvalsh(torch.autograd.functional.hessian(p, p.x0))
        for p in (instance, turned)
    ]
    torch.testing.assert_close(*spectra)
