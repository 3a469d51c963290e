"""Kinks: which of them are stationary, and the least mean of gradients against an oracle."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dlopt.kinks import look_around, smallest_mean
from dlopt.method import State
from dlopt.objective import Objective

float64 = {"dtype": torch.float64}


def answer(f, *x: float, dtype: torch.dtype = torch.float64) -> str:
    objective = Objective(f)
    return look_around(objective, State.begin(objective.evaluate(torch.tensor(x, dtype=dtype))))


def one_norm(x: Tensor) -> Tensor:
    return x.abs().sum()


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (one_norm, (0, 0), "gradient"),
        (lambda x: one_norm(x) + 0.9 * x[0], (0, 0), "gradient"),
        (lambda x: one_norm(x) + 1.1 * x[0], (0, 0), "kink"),
        (lambda x: torch.linalg.vector_norm(x) + 0.5 * x[0], (1e-300, 0), "gradient"),
        (lambda x: (x[0] - x[1]).abs() + 0.1 * x.sum() ** 2, (1, 1), "kink"),
        (lambda x: (x[0] - x[1]).abs() + 0.1 * x.sum() ** 2, (0, 0), "gradient"),
        (lambda x: x.max() + 0.25 * x.square().sum(), (-0.5, -0.5, -0.5, -0.5), "gradient"),
        (lambda x: x.max() + 0.25 * x.square().sum(), (0, 0, 0, 0), "kink"),
        (lambda x: (x - 1).square().sum() + 5 * x.diff().abs().sum(), (0, 0, 0, 0, 0), "kink"),
        (lambda x: x.square().sum(), (0, 0), "gradient"),
        (lambda x: x.square().sum(), (1, 0), "kink"),  # no kink, but a step leads down
    ],
)
def test_stationary_or_not(f, x: tuple[float, ...], expected: str) -> None:
    assert answer(f, *map(float, x)) == expected
    for scale in (1e-200, 1e200):
        assert answer(lambda x: scale * f(x), *map(float, x)) == expected
    if 1e-300 not in x:
        assert answer(f, *map(float, x), dtype=torch.float32) == expected


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_the_lasso_at_0_is_stationary_up_to_the_largest_penalty(seed: int, below: bool) -> None:
    g = torch.Generator().manual_seed(seed)
    A, y = torch.randn(12, 6, generator=g, **float64), torch.randn(12, generator=g, **float64)
    alpha = float((A.T @ y).abs().max()) * (0.9 if below else 1.1)

    def lasso(h: Tensor) -> Tensor:
        return 0.5 * (y - A @ h).square().sum() + alpha * h.abs().sum()

    assert answer(lasso, *[0.0] * 6) == ("kink" if below else "gradient")


def test_what_can_not_be_told_is_not() -> None:
    assert answer(one_norm, *[0.1] * 201) == "no_decrease"  # too many coordinates to look
    assert answer(lambda x: x.sum() + 1e20, 0.0, 0.0) == "no_decrease"  # rounding hides it
    wall = answer(lambda x: x.sum() + torch.where(x.sum() < 0, math.nan, 0.0), 0.0, 0.0)
    assert wall == "no_decrease"


def test_at_most_four_evaluations_a_coordinate() -> None:
    f = Objective(lambda x: 1e20 + (x * torch.arange(1, 6)).abs().sum())
    look_around(f, State.begin(f.evaluate(torch.ones(5, **float64))))
    assert f.evaluations <= 1 + 4 * 5 + 10


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 5), st.sampled_from([0.0, 1.0, 3.0])
)
def test_the_least_mean_meets_its_optimality_condition(
    seed: int, m: int, n: int, shift: float
) -> None:
    """p is the nearest point of the hull to 0 if and only if gᵢᵀp >= ‖p‖² for all i."""
    points = torch.randn(m, n, generator=torch.Generator().manual_seed(seed), **float64)
    points[:, 0] += shift
    p = smallest_mean(points)
    assert float((points @ p).min()) >= float(p @ p) - 1e-9
    assert _in_hull(p, points)


def _in_hull(p: Tensor, points: Tensor) -> bool:
    from scipy.optimize import nnls

    matrix = torch.cat([points.T, torch.ones(1, len(points), **float64)])
    _, distance = nnls(matrix.numpy(), torch.cat([p, torch.ones(1, **float64)]).numpy())
    return distance < 1e-8


@pytest.mark.parametrize("seed", [593, 689])
def test_gradients_that_depend_on_each_other_end_the_search(seed: int) -> None:
    """In exact arithmetic the norm falls in each round; by rounding it may go in circles."""
    test_the_lasso_at_0_is_stationary_up_to_the_largest_penalty.hypothesis.inner_test(seed, True)


def test_the_least_mean_of_one_of_equal_and_of_tiny_points() -> None:
    one = torch.tensor([[3.0, 4.0]], **float64)
    assert smallest_mean(one).tolist() == [3.0, 4.0]
    assert smallest_mean(one.repeat(4, 1)).tolist() == [3.0, 4.0]
    assert smallest_mean(torch.zeros(2, 3, **float64)).tolist() == [0.0] * 3
    tiny = 1e-100 * torch.tensor([[1.0, 3.0], [1.0, -1.0]], **float64)
    torch.testing.assert_close(smallest_mean(tiny) * 1e100, torch.tensor([1.0, 0.0], **float64))
