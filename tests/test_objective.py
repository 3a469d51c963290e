"""The objective: derivatives against closed forms, what is counted, and what is refused."""

import math

import pytest
import torch
from torch import Tensor

from dlopt import objective
from dlopt.objective import Objective

X = torch.tensor([0.5, -1.2, 2.0], dtype=torch.float64)


def cubic(x: Tensor) -> Tensor:
    return (x**3).sum() + x[0] * x[1] * x[2]


def cubic_hessian(x: Tensor) -> Tensor:
    cross = torch.stack(
        [
            torch.stack([torch.zeros(()), x[2], x[1]]),
            torch.stack([x[2], torch.zeros(()), x[0]]),
            torch.stack([x[1], x[0], torch.zeros(())]),
        ]
    )
    return torch.diag(6 * x) + cross


def residuals(x: Tensor) -> Tensor:
    return torch.stack([x[0] * x[1], x[1].sin(), x[2] ** 2, x[0], x[2] * x[0]])


def test_value_gradient_and_hessian_match_closed_forms() -> None:
    at = Objective(cubic).with_curvature(X)
    cross = torch.stack([X[1] * X[2], X[0] * X[2], X[0] * X[1]])
    torch.testing.assert_close(at.grad, 3 * X**2 + cross)
    torch.testing.assert_close(at.hessian(), cubic_hessian(X))
    v = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(at.hessian_product(v), cubic_hessian(X) @ v)


def test_hessian_row_by_row_equals_the_batched_one(monkeypatch: pytest.MonkeyPatch) -> None:
    batched = Objective(cubic).with_curvature(X).hessian()
    monkeypatch.setattr(objective, "_BATCHED_ROWS", 0)
    torch.testing.assert_close(Objective(cubic).with_curvature(X).hessian(), batched)


def test_hessian_of_a_function_that_vmap_cannot_batch() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):  # type: ignore[no-untyped-def]
            (x,) = ctx.saved_tensors
            if float(g.detach().abs().sum()) < 0:  # data-dependent control flow
                return g
            return 2 * x * g

    at = Objective(lambda x: Square.apply(x).sum()).with_curvature(X)
    torch.testing.assert_close(at.hessian(), 2 * torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("rows", [5, 2])
def test_jacobian_by_rows_and_by_columns(rows: int) -> None:
    at = Objective(lambda x: residuals(x)[:rows]).residuals(X)
    r, J = at.jacobian()
    torch.testing.assert_close(r, residuals(X)[:rows])
    expected = torch.autograd.functional.jacobian(lambda x: residuals(x)[:rows], X)
    torch.testing.assert_close(J, expected)
    torch.testing.assert_close(at.value, r @ r)
    torch.testing.assert_close(at.grad, 2 * J.T @ r)


def test_a_linear_objective_has_a_zero_hessian() -> None:
    at = Objective(lambda x: (2 * x).sum()).with_curvature(X)
    assert at.hessian().abs().max() == 0
    assert at.hessian_product(X).abs().max() == 0


def test_counts_are_the_calls_of_f() -> None:
    calls = 0

    def f(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return cubic(x)

    counted = Objective(f)
    at = counted.with_curvature(X)
    at.hessian()
    at.hessian_product(X)
    assert counted.with_curvature(X) is at
    counted.evaluate(X + 1)
    assert (calls, counted.evaluations, counted.hessian_products) == (2, 2, 4)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.sum() * math.nan,
        lambda x: x.exp().sum() * 1e400,
        lambda x: (x - X).abs().sqrt().sum(),  # finite, with an infinite gradient
    ],
)
def test_a_value_or_gradient_that_is_not_finite_is_marked(f) -> None:  # type: ignore[no-untyped-def]
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
def test_unusable_results_are_refused(f, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        Objective(f).evaluate(X)


def test_residuals_must_be_a_vector() -> None:
    with pytest.raises(ValueError, match=r"1-D tensor of residuals, got shape \(\)"):
        Objective(cubic).residuals(X)


def test_products_need_the_graph() -> None:
    at = Objective(cubic).evaluate(X)
    with pytest.raises(ValueError, match="curvature=True"):
        at.hessian()
    with pytest.raises(ValueError, match="curvature=True"):
        at.jacobian()
