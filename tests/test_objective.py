"""The objective: derivatives against closed forms, what is counted, and what is refused."""

import math
import weakref

import pytest
import torch
from torch import Tensor

from dlopt.objective import Objective

X = torch.tensor([0.5, -1.2, 2.0], dtype=torch.float64)


def cubic(x: Tensor) -> Tensor:
    return (x**3).sum() + x[0] * x[1] * x[2]


def test_value_and_gradient_match_closed_forms() -> None:
    at = Objective(cubic).evaluate(X)
    assert at.J == float(at.value) == pytest.approx(float(cubic(X)))
    cross = torch.stack([X[1] * X[2], X[0] * X[2], X[0] * X[1]])
    torch.testing.assert_close(at.grad, 3 * X**2 + cross)


def test_counts_are_the_calls_of_f() -> None:
    calls = 0

    def f(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return cubic(x)

    counted = Objective(f)
    at = counted.curvature(X)
    at.hessian()
    at.product(X)
    assert counted.curvature(X) is at
    counted.evaluate(X + 1)
    assert (calls, counted.evaluations, counted.hessian_products) == (2, 2, 4)
    elsewhere = counted.curvature(X + 1)
    assert torch.equal(counted.curvature(X).at.x, X)
    assert torch.equal(elsewhere.at.x, X + 1)
    assert calls == 4


def test_residuals_are_summed_squared() -> None:
    at = Objective(lambda x: torch.stack([3 * x[0], x[1], x[0] - x[2]])).residuals(X).at
    assert float(at.value) == pytest.approx(float(9 * X[0] ** 2 + X[1] ** 2 + (X[0] - X[2]) ** 2))
    expected = torch.stack([18 * X[0] + 2 * (X[0] - X[2]), 2 * X[1], -2 * (X[0] - X[2])])
    torch.testing.assert_close(at.grad, expected)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.sum() * math.nan,
        lambda x: x.exp().sum() * 1e400,
        lambda x: (x - X).abs().sqrt().sum(),  # finite, with an infinite gradient
    ],
)
def test_a_value_or_gradient_that_is_not_finite_is_marked(f) -> None:
    at = Objective(f).evaluate(X)
    assert not at.finite


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: x, r"0-d tensor, got shape \(3,\)"),
        (lambda x: 1.0, "0-d tensor, got float"),
        (lambda x: x.detach().sum(), "depend on x through autograd"),
        (lambda x: (x > 0).sum(), "real floating-point tensor, got torch.int64"),
    ],
)
def test_unusable_results_are_refused(f, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Objective(f).evaluate(X)


def test_residuals_must_be_a_vector_with_entries() -> None:
    with pytest.raises(ValueError, match=r"1-D tensor of residuals, got shape \(\)"):
        Objective(cubic).residuals(X)
    with pytest.raises(ValueError, match=r"1-D tensor of residuals, got shape \(0,\)"):
        Objective(lambda x: x[:0]).residuals(X)


@pytest.mark.parametrize("name", ["evaluate", "curvature"])
def test_what_depends_on_other_tensors_only_is_refused(name: str) -> None:
    elsewhere = torch.ones(2, requires_grad=True)
    f = Objective(lambda x: elsewhere.square().sum())
    with pytest.raises(ValueError, match=r"f\(x\) must depend on x, got .* other tensors only"):
        getattr(f, name)(torch.ones(3))


def test_a_graph_is_freed_before_the_next_one_is_built() -> None:
    f = Objective(cubic)
    kept = weakref.ref(f.curvature(X))
    assert kept() is not None
    f.evaluate(X + 1)
    assert kept() is None


def test_a_released_graph_is_gone_at_once() -> None:
    f = Objective(cubic)
    kept = weakref.ref(f.curvature(X))
    f.release()
    assert kept() is None
