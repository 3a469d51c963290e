"""Second derivatives: against closed forms, by rows and in batches, after the graph went stale."""

import math

import pytest
import torch
from torch import Tensor

import dlopt
from dlopt import curvature
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


def test_hessian_and_its_products_match_closed_forms() -> None:
    f = Objective(cubic)
    H = f.curvature(X)
    torch.testing.assert_close(H.hessian(), cubic_hessian(X))
    assert f.hessian_products == 3
    v = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(H.product(v), cubic_hessian(X) @ v)
    assert f.hessian_products == 4
    assert f.evaluations == 1


def test_hessian_row_by_row_equals_the_batched_one(monkeypatch: pytest.MonkeyPatch) -> None:
    batched = Objective(cubic).curvature(X).hessian()
    monkeypatch.setattr(curvature, "_BATCHED_ROWS", 0)
    torch.testing.assert_close(Objective(cubic).curvature(X).hessian(), batched)


def test_hessian_of_a_function_that_vmap_cannot_batch() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            if float(g.detach().abs().sum()) < 0:  # data-dependent control flow
                return g
            return 2 * x * g

    at = Objective(lambda x: Square.apply(x).sum()).curvature(X)
    torch.testing.assert_close(at.hessian(), 2 * torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("rows", [5, 2])
def test_jacobian_by_rows_and_by_columns(rows: int) -> None:
    A = Objective(lambda x: residuals(x)[:rows]).residuals(X)
    r, J = A.jacobian()
    torch.testing.assert_close(r, residuals(X)[:rows])
    expected = torch.autograd.functional.jacobian(lambda x: residuals(x)[:rows], X)
    torch.testing.assert_close(J, expected)
    torch.testing.assert_close(A.at.value, r @ r)
    torch.testing.assert_close(A.at.grad, 2 * J.T @ r)


def test_a_linear_objective_has_a_zero_hessian() -> None:
    at = Objective(lambda x: (2 * x).sum()).curvature(X)
    assert at.hessian().abs().max() == 0
    assert at.product(X).abs().max() == 0


def test_a_point_that_is_not_finite_has_no_second_derivatives() -> None:
    H = Objective(lambda x: x.sum() * math.nan).curvature(X)
    for ask in (H.hessian, H.jacobian, lambda: H.product(X)):
        with pytest.raises(ValueError, match="where value or gradient is not finite"):
            ask()


def test_one_number_has_no_jacobian() -> None:
    with pytest.raises(ValueError, match=r"needs Objective\.residuals"):
        Objective(cubic).curvature(X).jacobian()


def test_a_stale_graph_is_made_anew_and_counted() -> None:
    """A module's parameters are overwritten by trials elsewhere; products are those of here."""
    weights = torch.nn.Parameter(X.clone())

    class Shared(Objective):
        def _forward(self, x: Tensor, keep: bool):
            with torch.no_grad():
                weights.copy_(x)
            return self._f(weights), [weights], None

    f = Shared(cubic)
    H = f.curvature(X)
    assert H.fresh
    f.evaluate(X + 1)
    assert not H.fresh
    torch.testing.assert_close(H.product(X), cubic_hessian(X) @ X)
    assert f.evaluations == 3
    assert H.fresh


@pytest.mark.parametrize(
    ("message", "hidden"),
    [
        ("CUDA out of memory. Tried to allocate 20.00 GiB", False),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", False),
        ("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes", False),
        ("more than one element of the written-to tensor refers to a single memory location", True),
        ("Batching rule not implemented for aten::something", True),
    ],
)
def test_a_loop_takes_over_from_a_failed_batch_unless_memory_is_out(
    message: str, hidden: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    row_by_row = curvature._pull_back

    def no_batches(outputs, inputs, v: Tensor) -> Tensor:
        if v.dim() == 2:
            raise RuntimeError(message)
        return row_by_row(outputs, inputs, v)

    H = Objective(cubic).curvature(X)
    monkeypatch.setattr(curvature, "_pull_back", no_batches)
    if hidden:
        torch.testing.assert_close(H.hessian(), cubic_hessian(X))
    else:
        with pytest.raises(RuntimeError, match="memory"):
            H.hessian()


class Simulator(torch.autograd.Function):
    """A function with a first derivative that autograd can't differentiate."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x[0] ** 2 * torch.arange(1.0, 6.0, dtype=x.dtype)

    @staticmethod
    def backward(ctx, upstream: Tensor) -> Tensor:
        x = ctx.saved_tensors[0].detach()
        slopes = torch.arange(1.0, 6.0, dtype=x.dtype)
        return (2 * x[0] * (upstream.detach() * slopes).sum()).reshape(1)


class Refusing(Simulator):
    """The same, where autograd says so."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor) -> Tensor:
        return Simulator.backward(ctx, upstream)


ONE = torch.tensor([1.5], dtype=torch.float64)


@pytest.mark.parametrize("simulator", [Simulator, Refusing])
def test_a_jacobian_needs_first_derivatives_only(simulator) -> None:
    _, jacobian = Objective(simulator.apply).residuals(ONE).jacobian()
    expected = 3 * torch.arange(1.0, 6.0, dtype=torch.float64)[:, None]
    torch.testing.assert_close(jacobian, expected)
    path = dlopt.minimize(lambda x: simulator.apply(x) - 2, ONE.float(), dlopt.LevenbergMarquardt())
    # Σ (k x² − 2)² is least where x² = 2 Σk / Σk².
    assert path.converged
    assert float(path.x) == pytest.approx((30 / 55) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("method", [dlopt.Newton(), dlopt.TruncatedNewton()])
def test_a_hidden_hessian_is_no_zero_hessian(method) -> None:
    with pytest.raises(ValueError, match="autograd differentiates f only once"):
        dlopt.minimize(lambda x: Simulator.apply(x).sum(), ONE, method)


def test_a_linear_function_has_a_zero_hessian() -> None:
    f = Objective(lambda x: 3 * x.sum())
    for x in (X, 2 * X):
        assert not f.curvature(x).hessian().any()
