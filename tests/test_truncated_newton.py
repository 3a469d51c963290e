"""Truncated Newton: its inner solver, its scale, and its way out of saddles."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import dlopt
from dlopt.lesson.problems import quadratic, rosenbrock, spectrum
from dlopt.objective import Objective
from dlopt.truncated_newton import TruncatedNewton, steihaug


def test_steihaug_solves_a_system_to_its_tolerance() -> None:
    q = quadratic(spectrum(30, 100.0))
    H = Objective(q).curvature(q.x0)
    step = steihaug(H, H.at.grad, 1e6, 1e-10, 100)
    torch.testing.assert_close(step.s, q.minimizers[0] - q.x0, rtol=1e-8, atol=1e-8)
    assert step.decrease == pytest.approx(float(H.at.value))


def test_steihaug_stops_at_the_boundary() -> None:
    q = quadratic(spectrum(30, 100.0))
    H = Objective(q).curvature(q.x0)
    lengths = [float(steihaug(H, H.at.grad, r, 1e-10, 100).s.norm()) for r in (0.01, 0.5, 2.0)]
    assert lengths == pytest.approx([0.01, 0.5, 2.0])


def test_steihaug_follows_negative_curvature_to_the_boundary() -> None:
    q = quadratic(torch.tensor([1.0, -0.5], dtype=torch.float64))
    H = Objective(q).curvature(torch.tensor([1.0, 0.1], dtype=torch.float64))
    step = steihaug(H, H.at.grad, 7.0, 1e-10, 100)
    assert float(step.s.norm()) == pytest.approx(7.0)
    model = H.at.grad.dot(step.s) + 0.5 * step.s.dot(H.product(step.s))
    assert step.decrease == pytest.approx(-float(model))


def test_many_parameters() -> None:
    x0 = rosenbrock(2).x0.repeat(500)

    def f(x: torch.Tensor) -> torch.Tensor:
        a, b = x[::2], x[1::2]
        return (100 * (b - a * a) ** 2 + (1 - a) ** 2).sum()

    path = dlopt.minimize(f, x0, TruncatedNewton())
    assert path.converged
    assert path.evaluations < 60
    torch.testing.assert_close(path.x, torch.ones(1000, dtype=torch.float64))


def test_products_are_capped() -> None:
    q = quadratic(spectrum(200, 1e6))
    path = dlopt.minimize(q, q.x0, TruncatedNewton(max_products=5), max_steps=10)
    assert path.hessian_products <= 50 + 20


def test_finds_its_way_out_of_a_saddle_in_many_dimensions() -> None:
    """Started exactly at the saddle, where the gradient is zero, of Σ x⁴/4 − x₁²/2 + Σ x²/2."""

    def f(x: torch.Tensor) -> torch.Tensor:
        return (x**4).sum() / 4 + (x * x).sum() / 2 - x[0] ** 2

    path = dlopt.minimize(f, torch.zeros(50, dtype=torch.float64), TruncatedNewton())
    assert abs(float(path.x[0])) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_products": 0}, "max_products must be an integer >= 1, got 0"),
        ({"initial_radius": math.inf}, "initial_radius must be > 0 and finite, or None, got inf"),
    ],
)
def test_settings_are_checked(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TruncatedNewton(**settings)


def test_rounding_does_not_cut_the_inner_solve_short() -> None:
    """Far beyond a condition of 1e8, n products leave a residual; a few times n do not."""
    q = quadratic(spectrum(12, 1e10))
    path = dlopt.minimize(q, q.x0, TruncatedNewton(initial_radius=100.0))
    assert path.converged
    assert len(path.states) <= 6


def test_near_a_saddle_it_leaves_on_the_side_that_leads_downhill() -> None:
    f = Objective(lambda x: (x**4).sum() / 4 - (x * x).sum() / 2)
    for side in (-1.0, 1.0):
        x = torch.tensor([side * 1e-10], dtype=torch.float64)
        state = replace(TruncatedNewton().init(f, x), first_norm=1.0)
        assert side * float(TruncatedNewton().step(f, state).x) > 0.5


def test_it_trains_a_classifier() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(60, 4, generator=g)
    labels = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    net = nn.Linear(4, 3)
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.TruncatedNewton())
    for _ in range(10):
        optimizer.step(lambda: cross_entropy(net(x), labels) + 1e-2 * flat_norm(net))
    assert cross_entropy(net(x), labels) < 0.7


def flat_norm(net: nn.Module) -> Tensor:
    return sum((p * p).sum() for p in net.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("x", [(9.0003590734777620, 1.6094379124341005), (30.0, 1.6), (2.0, 2.0)])
def test_a_model_solved_to_the_end_of_the_numbers_promises_a_number(
    x: tuple[float, float], dtype: torch.dtype
) -> None:
    """With no tolerance the residual vanishes, and with it the direction's length."""
    f = Objective(lambda x: 1e-6 * (torch.exp(x) - 5 * x).sum())
    H = f.curvature(torch.tensor(x, dtype=dtype))
    model = steihaug(H, H.at.grad, 1e3, 0.0, 50)
    g, h = H.at.grad.double(), torch.exp(torch.tensor(x, dtype=torch.float64)) * 1e-6
    assert model.decrease == pytest.approx(float((0.5 * g * g / h).sum()), rel=1e-3)
