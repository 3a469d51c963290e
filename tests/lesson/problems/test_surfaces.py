"""The surfaces have the shape that the lessons tell about."""

import pytest
import torch
from torch.autograd.functional import hessian

from dlopt.lesson.problems import himmelblau, pseudo_huber, rosenbrock, saddle

START_VALUES = {
    saddle: 0.3**4 / 4 - 0.3**2 / 2 + 0.5,
    rosenbrock: 24.2,
    himmelblau: 11.25**2 + 7.25**2,
    pseudo_huber: 2 * (1.81**0.5 - 1),
}


@pytest.mark.parametrize("make", START_VALUES)
def test_value_at_the_start(make):
    problem = make()
    assert float(problem(problem.x0)) == pytest.approx(START_VALUES[make], rel=1e-14)


def test_every_minimum_is_listed():
    assert [len(make().minimizers) for make in START_VALUES] == [2, 1, 4, 1]


def newton(f, x):
    g = torch.func.grad(f)(x)
    return x - torch.linalg.solve(hessian(f, x), g)


def test_rosenbrock_rejects_one_variable():
    with pytest.raises(ValueError, match="n must be >= 2, got 1"):
        rosenbrock(1)


def test_rosenbrock_chained_has_a_second_minimum_from_four_variables_on():
    f = rosenbrock(4)
    x = torch.tensor([-0.7756, 0.6131, 0.3821, 0.1460]).double()
    for _ in range(5):
        x = newton(f, x)
    assert torch.func.grad(f.f)(x).abs().max() < 1e-10
    assert torch.linalg.eigvalsh(hessian(f, x)).min() > 0
    assert x[0] < 0


def test_saddle_is_indefinite_inside_and_definite_outside():
    f = saddle()
    edge = 3**-0.5
    for x, sign in ((0.99 * edge, -1), (1.01 * edge, 1)):
        h = hessian(f, torch.tensor([x, 0.7]).double())
        assert float(torch.linalg.eigvalsh(h).min().sign()) == sign
    assert f.x0[0].abs() < edge


def test_newton_step_on_pseudo_huber_cubes_the_point():
    x = torch.tensor([0.5, -0.9, 1.1]).double()
    torch.testing.assert_close(newton(pseudo_huber(3), x), -(x**3), rtol=1e-13, atol=0)
