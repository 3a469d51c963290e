"""Levenberg-Marquardt against SciPy's and on the Moré-Garbow-Hillstrom residuals."""

import math

import pytest
import scipy.optimize
import torch

import dlopt
from benchmarks.more_garbow_hillstrom import INSTANCES, Problem, count_to_solve
from dlopt.levenberg_marquardt import LevenbergMarquardt
from tests.small_network import task


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
