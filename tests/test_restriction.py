"""An objective held to a block: value, gradient and curvature are parts of the whole's."""

import pytest
import torch
from torch import Tensor

from dlopt.objective import Objective
from dlopt.restriction import Restriction

X = torch.tensor([0.3, -0.7, 1.1, 0.4], dtype=torch.float64)
BLOCK = torch.tensor([2, 0])
Z = torch.tensor([0.9, -0.2], dtype=torch.float64)
FILLED = torch.tensor([-0.2, -0.7, 0.9, 0.4], dtype=torch.float64)


def f(x: Tensor) -> Tensor:
    return x.exp().sum() + (x[0] * x[2] * x[3]).square() + x[0] * x[1]


def test_value_and_gradient_are_those_of_the_whole_at_the_filled_point() -> None:
    at, whole = Restriction(Objective(f), X, BLOCK).evaluate(Z), Objective(f).evaluate(FILLED)
    assert at.x is Z
    assert at.J == whole.J
    assert torch.equal(at.grad, whole.grad[BLOCK])
    assert torch.equal(X, torch.tensor([0.3, -0.7, 1.1, 0.4], dtype=torch.float64))


def test_second_derivatives_are_the_rows_and_columns_of_the_block() -> None:
    curvature = Restriction(Objective(f), X, BLOCK).curvature(Z)
    H = torch.autograd.functional.hessian(f, FILLED)[BLOCK][:, BLOCK]
    torch.testing.assert_close(curvature.hessian(), H)
    v = torch.tensor([1.0, -2.0], dtype=torch.float64)
    torch.testing.assert_close(curvature.product(v), H @ v)


def test_the_whole_counts_what_is_spent() -> None:
    whole = Objective(f)
    part = Restriction(whole, X, BLOCK)
    part.evaluate(Z)
    part.curvature(Z + 1).hessian()
    assert (whole.evaluations, whole.hessian_products) == (2, 2)


def test_the_best_point_is_kept_and_nan_never_is() -> None:
    part = Restriction(Objective(lambda x: x.log().sum()), X.abs(), BLOCK)
    assert part.best is None
    for z in ([2.0, 2.0], [1.0, 1.0], [3.0, 3.0], [-1.0, 1.0]):
        part.evaluate(torch.tensor(z, dtype=torch.float64))
    assert part.best is not None
    assert part.best.x[BLOCK].tolist() == [1.0, 1.0]


def test_of_values_that_rounding_makes_equal_the_flattest_is_best() -> None:
    part = Restriction(Objective(lambda x: 1e12 + x.square().sum()), X, BLOCK)
    for z in ([1e-3, 0.0], [1e-9, 0.0], [1e-4, 0.0]):
        part.evaluate(torch.tensor(z, dtype=torch.float64))
    assert part.best is not None
    assert part.best.x[2] == 1e-9


def test_residuals_are_refused() -> None:
    with pytest.raises(ValueError, match="takes J, got one for residuals"):
        Restriction(Objective(f), X, BLOCK).residuals(Z)
