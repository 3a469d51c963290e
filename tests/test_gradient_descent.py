"""Gradient descent against torch.optim.SGD and closed forms."""

import itertools
import math

import pytest
import torch
from torch import Tensor

import dlopt
from dlopt.lesson.problems import bowl, quadratic, rosenbrock, spectrum


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_equals_torch_sgd(momentum: float) -> None:
    f, rate = rosenbrock(), 1e-4
    p = f.x0.clone().requires_grad_()
    sgd = torch.optim.SGD([p], lr=rate, momentum=momentum)
    path = dlopt.minimize(f, f.x0, dlopt.GradientDescent(rate, momentum), max_steps=50)
    for state in path.states:
        torch.testing.assert_close(state.x, p.detach())
        sgd.zero_grad()
        f(p).backward()
        sgd.step()


@pytest.mark.parametrize("condition", [2.0, 10.0, 100.0])
def test_steepest_descent_contracts_as_kantorovich_says(condition: float) -> None:
    """Exact search: the error falls by at most ((κ−1)/(κ+1))² a step, with equality from the
    worst start, (κ, 1) in the eigenvectors' basis.
    """
    q = quadratic(spectrum(2, condition), x0=torch.tensor([condition, 1.0], dtype=torch.float64))
    path = dlopt.minimize(q, q.x0, dlopt.SteepestDescent(dlopt.exact_quadratic), max_steps=10)
    expected = ((condition - 1) / (condition + 1)) ** 2
    ratios = [b / a for a, b in itertools.pairwise(path.values)]
    assert ratios == pytest.approx([expected] * len(ratios), rel=1e-6)


def test_successive_exact_steps_are_orthogonal() -> None:
    q = bowl(condition=30.0)
    path = dlopt.minimize(q, q.x0, dlopt.SteepestDescent(dlopt.exact_quadratic), max_steps=15)
    for a, b in itertools.pairwise(path.states):
        cosine = a.grad.dot(b.grad) / (a.grad.norm() * b.grad.norm())
        assert abs(float(cosine)) < 1e-12


@pytest.mark.parametrize("search", [dlopt.strong_wolfe, dlopt.backtracking])
def test_steepest_descent_reaches_a_minimum(search: dlopt.line_search.LineSearch) -> None:
    q = bowl(condition=10.0)
    path = dlopt.minimize(q, q.x0, dlopt.SteepestDescent(search))
    assert path.converged
    torch.testing.assert_close(path.x, q.minimizers[0], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("search", [dlopt.strong_wolfe, dlopt.backtracking])
def test_steepest_descent_follows_an_endless_fall_to_the_end_of_the_numbers(
    search: dlopt.line_search.LineSearch,
) -> None:
    for dtype in (torch.float32, torch.float64):
        x0 = torch.tensor([1.0, 2.0], dtype=dtype)
        path = dlopt.minimize(lambda x: (x**3).sum(), x0, dlopt.SteepestDescent(search))
        assert path.reason in ("non_finite", "line_search", "max_steps")
        assert -math.inf < float(path.value) < -1e4


def test_steepest_descent_stops_at_a_stationary_start() -> None:
    def f(x: Tensor) -> Tensor:
        return (x**4).sum()

    path = dlopt.minimize(f, torch.zeros(2), dlopt.SteepestDescent(), grad_tol=1e-30)
    assert path.converged
    state = dlopt.SteepestDescent().init(dlopt.objective.Objective(f), torch.zeros(2))
    step = dlopt.SteepestDescent().step(dlopt.objective.Objective(f), state)
    assert step.reason == "no_decrease"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be > 0 and finite, got 0.0"),
        ({"learning_rate": math.inf}, "learning_rate must be > 0 and finite, got inf"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"momentum": -0.1}, r"momentum must be in \[0, 1\), got -0.1"),
    ],
)
def test_settings_are_checked(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dlopt.GradientDescent(**settings)
