"""Levenberg-Marquardt against SciPy's and on the Moré-Garbow-Hillstrom residuals."""

import math

import pytest
import scipy.optimize
import torch

import dlopt
from benchmarks.known_answers import PROBLEMS, near
from benchmarks.more_garbow_hillstrom import INSTANCES, Problem, count_to_solve
from benchmarks.problem import rotated
from dlopt.levenberg_marquardt import LevenbergMarquardt
from tests.small_network import task

BY_NAME = {problem.name: problem for problem in PROBLEMS}


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("instance", INSTANCES, ids=lambda i: i.name)
def test_solves_the_more_garbow_hillstrom_set(instance: Problem) -> None:
    count = count_to_solve(
        lambda f, x0: dlopt.minimize(f, x0, LevenbergMarquardt(), grad_tol=1e-12),
        instance,
        budget=3000,
        residuals=True,
    )
    assert count.solved


def test_one_step_solves_linear_least_squares() -> None:
    g = torch.Generator().manual_seed(0)
    A = torch.randn(20, 5, generator=g, dtype=torch.float64)
    b = torch.randn(20, generator=g, dtype=torch.float64)
    path = dlopt.minimize(lambda x: A @ x - b, torch.zeros(5, dtype=torch.float64),
                          LevenbergMarquardt(damping=0.0), max_steps=1)  # fmt: skip
    torch.testing.assert_close(path.x, torch.linalg.lstsq(A, b[:, None]).solution[:, 0])


def test_the_value_is_the_sum_of_squares_and_the_gradient_its_own() -> None:
    def r(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[0] ** 2 - 1, x[0] * x[1]])

    x0 = torch.tensor([2.0, 3.0], dtype=torch.float64)
    start = dlopt.minimize(r, x0, LevenbergMarquardt(), max_steps=0)
    assert float(start.value) == 9 + 36
    expected = torch.autograd.functional.jacobian(lambda x: (r(x) ** 2).sum(), x0)
    torch.testing.assert_close(start.grad, expected)


def test_fewer_residuals_than_parameters() -> None:
    path = dlopt.minimize(
        lambda x: (x.sum() - 1).reshape(1),
        torch.zeros(4, dtype=torch.float64),
        LevenbergMarquardt(),
    )
    torch.testing.assert_close(path.x, torch.full((4,), 0.25, dtype=torch.float64))


def test_fits_as_well_as_scipy() -> None:
    t = torch.linspace(0, 4, 30, dtype=torch.float64)
    y = 2.5 * torch.exp(-1.3 * t) + 0.5 + 0.01 * torch.sin(40 * t)

    def r(x: torch.Tensor) -> torch.Tensor:
        return x[0] * torch.exp(-x[1] * t) + x[2] - y

    x0 = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    path = dlopt.minimize(r, x0, LevenbergMarquardt())
    peer = scipy.optimize.least_squares(
        lambda x: r(torch.as_tensor(x)).numpy(), x0.numpy(), "3-point"
    )
    assert path.converged
    torch.testing.assert_close(path.x, torch.as_tensor(peer.x), rtol=1e-5, atol=1e-7)


def test_a_scalar_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1-D tensor of residuals, got shape \(\)"):
        dlopt.minimize(lambda x: x.sum(), torch.ones(2), LevenbergMarquardt())


def test_levenberg_marquardt_takes_the_residuals_of_a_module() -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.LevenbergMarquardt())
    losses = [float(optimizer.step(lambda: (net(x) - y).reshape(-1))) for _ in range(15)]
    assert losses[0] == pytest.approx(((task()[0](x) - y) ** 2).sum().item())
    assert losses[-1] < 1e-2 * losses[0]


def test_a_decomposition_that_fails_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries return NaN, rarely, for the singular vectors of a finite matrix."""

    def fails(A: torch.Tensor, full_matrices: bool = True) -> tuple[torch.Tensor, ...]:
        U, sigma, Vh = svd(A, full_matrices=full_matrices)
        return U * math.nan, sigma, Vh * math.nan

    svd = torch.linalg.svd
    monkeypatch.setattr(torch.linalg, "svd", fails)
    instance = next(i for i in INSTANCES if i.name == "extended_rosenbrock")
    path = dlopt.minimize(instance.function, instance.x0, LevenbergMarquardt(initial_radius=1.0))
    assert path.converged and float(path.value) < 1e-20


def test_columns_whose_squares_are_no_numbers_end_the_run() -> None:
    steep = lambda x: torch.stack([1e160 * x[0] - 1, x[1] - 2])  # noqa: E731
    path = dlopt.minimize(steep, torch.zeros(2, dtype=torch.float64), dlopt.LevenbergMarquardt())
    assert path.reason == "non_finite"
    assert path.x.tolist() == [0, 0]


def test_columns_that_have_shrunk_by_many_decades_are_still_seen() -> None:
    path = dlopt.minimize(torch.log, vector(1e-12, 3), LevenbergMarquardt())
    assert path.converged and path.evaluations < 200
    assert path.x.tolist() == pytest.approx([1, 1])
    powell = BY_NAME["powell_singular"]
    path = dlopt.minimize(powell.function, powell.x0, LevenbergMarquardt())
    assert path.converged and path.evaluations < 100


def test_parameters_that_nothing_depends_on_stay_where_they_are() -> None:
    def residuals(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])

    path = dlopt.minimize(residuals, vector(-1.2, 1, 1, -7), LevenbergMarquardt())
    assert path.converged
    assert path.x.tolist() == pytest.approx([1, 1, 1, -7], rel=1e-9)


def test_a_wall_whose_rounding_is_a_part_of_the_value_is_no_floor() -> None:
    problem = rotated(BY_NAME["MGH10_1"], torch.Generator().manual_seed(0))
    path = dlopt.minimize(problem.function, problem.x0, LevenbergMarquardt())
    assert not path.converged or near(problem, float(path.value))


def test_a_start_at_a_minimum_of_zero_or_not_is_seen_at_once() -> None:
    for name in ("gulf", "eigen", "chebyquad_10", "bdqrtic"):
        problem = BY_NAME[name]
        first = dlopt.minimize(problem.function, problem.x0, LevenbergMarquardt())
        again = dlopt.minimize(problem.function, first.x, LevenbergMarquardt())
        assert again.converged and len(again.states) <= 6
