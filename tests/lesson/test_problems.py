"""The test problems are themselves tested: derivatives, known answers, behaviour at the edges."""

import math

import numpy as np
import pytest
import torch
from torch.autograd.functional import hessian

from dlopt.lesson.problems import (
    Quadratic,
    bowl,
    catalogue,
    exponential,
    himmelblau,
    log_barrier,
    pseudo_huber,
    quadratic,
    random_rotation,
    rosenbrock,
    rotation,
    saddle,
    spectrum,
)

PROBLEMS = [
    *catalogue(),
    rosenbrock(5),
    pseudo_huber(3),
    quadratic(
        torch.tensor([-1.0, 2.0, 30.0]).double(),
        basis=random_rotation(3, torch.Generator().manual_seed(8)),
        minimizer=torch.tensor([1.0, -2.0, 3.0]),
    ),
]
START_VALUES = {
    "quadratic of 10 variables": float(spectrum(10, 100.0).sum()) / 2,
    # Rotated back by 30 degrees the start is 1.5 (½ − √3/2, ½ + √3/2).
    "bowl, condition 10": 1.125 * ((0.5 - 0.75**0.5) ** 2 + 10 * (0.5 + 0.75**0.5) ** 2),
    "saddle": 0.3**4 / 4 - 0.3**2 / 2 + 0.5,
    "Rosenbrock": 24.2,
    "Himmelblau": 11.25**2 + 7.25**2,
    "pseudo-Huber": 2 * (1.81**0.5 - 1),
    "exponential": 2 * (math.exp(-7) + 7),
    "logarithmic barrier": 2 * (3 - math.log(3)),
}


def newton(f, x):
    g = torch.func.grad(f)(x)
    return x - torch.linalg.solve(hessian(f, x), g)


def by_name(problems):
    return pytest.mark.parametrize("problem", problems, ids=lambda p: p.name)


@by_name(PROBLEMS)
def test_derivatives_agree_with_differences(problem):
    for shift in (0.0, 0.1):
        x = (problem.x0 + shift).requires_grad_(True)
        assert torch.autograd.gradcheck(problem, (x,))
        assert torch.autograd.gradgradcheck(problem, (x,))


@by_name(catalogue())
def test_value_at_the_start(problem):
    assert float(problem(problem.x0)) == pytest.approx(START_VALUES[problem.name], rel=1e-14)


@by_name(PROBLEMS)
def test_minimizers(problem):
    for x in problem.minimizers:
        assert float(problem(x)) == pytest.approx(problem.minimum, abs=1e-25, rel=1e-15)
        assert torch.func.grad(problem.f)(x).abs().max() < 2e-13
        assert torch.linalg.eigvalsh(hessian(problem, x)).min() > 0.1


@by_name(PROBLEMS)
def test_saddles(problem):
    for x in problem.saddles:
        assert torch.func.grad(problem.f)(x).abs().max() < 2e-13
        eigenvalues = torch.linalg.eigvalsh(hessian(problem, x))
        assert eigenvalues.min() < -0.5
        assert eigenvalues.max() > 0.5


@by_name(PROBLEMS)
def test_nothing_lies_below_the_minimum(problem):
    generator = torch.Generator().manual_seed(3)
    x = problem.x0 + torch.randn(2000, problem.n, generator=generator, dtype=torch.float64)
    values = torch.func.vmap(problem.f)(x)
    values = values[~values.isnan()]
    assert len(values) > 1000
    assert values.min() >= problem.minimum


def test_every_stationary_point_is_listed_for_the_surfaces_with_several():
    assert [len(p.minimizers) for p in (saddle(), himmelblau())] == [2, 4]
    assert [len(p.saddles) for p in (saddle(), himmelblau())] == [1, 4]


@by_name([p for p in catalogue() if p.n == 2])
def test_grid_equals_the_values_point_by_point(problem):
    x, y, z = problem.grid(points=4)
    assert x.shape == y.shape == z.shape == (4, 4)
    assert (float(x[0, 0]), float(x[0, -1])) == problem.window[0]
    assert (float(y[0, 0]), float(y[-1, 0])) == problem.window[1]
    for i in range(4):
        for j in range(4):
            torch.testing.assert_close(
                z[i, j], problem(torch.stack([x[i, j], y[i, j]])), rtol=1e-14, atol=1e-14
            )


def test_grid_takes_numpy_and_rejects_what_does_not_fit():
    x, y = np.meshgrid(np.linspace(-1, 1, 3), np.linspace(0, 1, 2))
    z = saddle().on_grid(x, y)
    np.testing.assert_allclose(np.asarray(z), x**4 / 4 - x**2 / 2 + y**2 / 2, atol=1e-16)
    with pytest.raises(ValueError, match="2 variables, got 5"):
        rosenbrock(5).on_grid(x, y)
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3\) and \(3, 2\)"):
        saddle().on_grid(x, y.T)


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e8])
def test_quadratic_has_the_spectrum_it_was_given(condition):
    generator = torch.Generator().manual_seed(1)
    eigenvalues = spectrum(20, condition)
    q = quadratic(eigenvalues, basis=random_rotation(20, generator), minimizer=torch.arange(20.0))
    assert isinstance(q, Quadratic)
    assert q.condition == condition
    torch.testing.assert_close(
        torch.linalg.eigvalsh(q.A), eigenvalues, rtol=1e-12, atol=1e-14 * condition
    )
    torch.testing.assert_close(hessian(q, q.x0), q.A, rtol=1e-12, atol=1e-14 * condition)
    d = q.x0 - q.minimizers[0]
    torch.testing.assert_close(q(q.x0), d @ q.A @ d / 2, rtol=1e-12, atol=0)


def test_quadratic_never_rounds_below_its_minimum():
    q = quadratic(spectrum(50, 1e8), basis=random_rotation(50, torch.Generator().manual_seed(2)))
    for x in 1e-9 * random_rotation(50, torch.Generator().manual_seed(4)):
        assert q(x) > 0


def test_quadratic_with_negative_curvature_has_no_minimum():
    q = quadratic(torch.tensor([-1.0, 2.0]))
    assert q.minimum == -math.inf
    assert q.minimizers.shape == (0, 2)
    assert q.saddles.tolist() == [[0.0, 0.0]]
    assert quadratic(torch.tensor([-1.0, -2.0])).saddles.shape == (0, 2)


def test_quadratic_in_many_variables_needs_no_matrix():
    q = quadratic(spectrum(100_000, 1e4))
    x = q.x0.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(q(x), x)
    torch.testing.assert_close(g, q.eigenvalues)


def test_quadratic_follows_the_precision_of_its_argument():
    q = bowl()
    assert q(q.x0.float()).dtype == torch.float32
    assert quadratic(torch.ones(2)).x0.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eigenvalues": torch.tensor([1, 2])}, "floating-point"),
        ({"eigenvalues": torch.ones(2, 2)}, "1-D"),
        ({"eigenvalues": torch.ones(0)}, "1-D"),
        ({"eigenvalues": torch.ones(2), "basis": torch.eye(3)}, r"basis .* got \(3, 3\)"),
        ({"eigenvalues": torch.ones(2), "minimizer": torch.ones(3)}, r"minimizer .* got \(3,\)"),
        ({"eigenvalues": torch.ones(2), "x0": torch.ones(1, 2)}, r"x0 .* got \(1, 2\)"),
    ],
)
def test_quadratic_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        quadratic(**arguments)


def test_spectrum():
    log, linear = spectrum(5, 1e4), spectrum(5, 9.0, "linear")
    torch.testing.assert_close(log, torch.tensor([1, 10, 100, 1e3, 1e4]).double())
    assert linear.tolist() == [1, 3, 5, 7, 9]
    assert spectrum(7, 3.0)[-1] == 3.0
    counts = spectrum(50, 1e3, distinct=3).unique(return_counts=True)[1]
    assert sorted(counts.tolist()) == [16, 17, 17]
    assert spectrum(1, 1.0).tolist() == [1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 10.0), "n must be > 0, got 0"),
        ((3, 0.5), "condition must be finite and >= 1, got 0.5"),
        ((3, math.nan), "got nan"),
        ((3, 10.0, "cubic"), "got 'cubic'"),
        ((3, 10.0, "log", 1), "condition must be 1 where all eigenvalues are equal, got 10.0"),
        ((3, 10.0, "log", 4), "distinct must be between 1 and n = 3, got 4"),
    ],
)
def test_spectrum_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        spectrum(*arguments)


def test_rotations_are_orthogonal():
    turned = rotation(0.3) @ torch.tensor([1.0, 0.0]).double()
    torch.testing.assert_close(turned, torch.tensor([math.cos(0.3), math.sin(0.3)]).double())
    q = random_rotation(30, torch.Generator().manual_seed(5))
    torch.testing.assert_close(q.T @ q, torch.eye(30).double(), atol=1e-14, rtol=0)
    assert torch.equal(q, random_rotation(30, torch.Generator().manual_seed(5)))


def test_random_rotation_prefers_no_sign():
    generator = torch.Generator().manual_seed(0)
    corner = torch.stack([random_rotation(3, generator)[0, 0] for _ in range(600)])
    # Uniform on the sphere: mean 0 and mean square 1/3, give or take 0.024 and 0.012.
    assert abs(float(corner.mean())) < 0.08
    assert float(corner.square().mean()) == pytest.approx(1 / 3, abs=0.04)


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


def test_newton_step_on_the_barrier_squares_the_error_or_leaves_the_domain():
    f = log_barrier()
    x = torch.tensor([0.3, 1.8]).double()
    torch.testing.assert_close(1 - newton(f, x), (1 - x) ** 2, rtol=1e-13, atol=0)
    outside = newton(f, f.x0)
    assert (outside < 0).all()
    assert f(outside).isnan()


def test_newton_step_on_the_exponential_overflows():
    f = exponential()
    after = newton(f, f.x0)
    torch.testing.assert_close(after, f.x0 + torch.expm1(-f.x0), rtol=1e-12, atol=0)
    assert f(after) == math.inf
