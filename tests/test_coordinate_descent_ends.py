"""Where coordinate descent ends: at minima, kinks, saddles, on a cycle, at no bound."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dlopt.coordinate_descent import CoordinateState, coordinate_descent

float64 = {"dtype": torch.float64}


def vector(*entries: float) -> Tensor:
    return torch.tensor(entries, **float64)


def valley(alpha: float):
    """The coupled valley of CD4."""
    return lambda x: (x[0] - x[1]) ** 2 + alpha * x.square().sum()


def stall(x: Tensor) -> Tensor:
    """Its minimum is 0; along the axes the kink at x = y holds everybody."""
    return (x[0] - x[1]).abs() + 0.1 * (x[0] + x[1]) ** 2


def powell(x: Tensor) -> Tensor:
    """Powell (1973): smooth, and its path goes round six corners of a cube for ever."""
    outside = (x.abs() - 1).clamp(min=0).square().sum()
    return outside - x[0] * x[1] - x[1] * x[2] - x[2] * x[0]


def test_it_stops_at_a_kink_that_couples_and_says_so() -> None:
    path = coordinate_descent(stall, vector(3, 1))
    assert (path.reason, path.converged) == ("kink", False)
    assert path.x.tolist() == [1.0, 1.0]
    away = coordinate_descent(stall, path.x - 0.5)
    assert (away.reason, away.x.tolist()) == ("kink", [0.5, 0.5])


@pytest.mark.parametrize("start", [(0, 0), (3, 0), (0.5, 0.25), (1e-9, 0)])
@pytest.mark.parametrize("coupling", [3.0, 2.1])
def test_nobody_creeps_along_a_kink_by_rounding(start: tuple, coupling: float) -> None:
    def stuck(x: Tensor) -> Tensor:
        return coupling * (x[0] - x[1]).abs() + (x.sum() - 2) ** 2 / 2

    path = coordinate_descent(stuck, vector(*start))
    assert path.reason == "kink"
    assert len(path.states) < 10


def test_the_same_kink_at_the_minimum_is_an_arrival() -> None:
    path = coordinate_descent(lambda x: (x[0] - x[1]).abs() + 2 * x.abs().sum(), vector(3, 1))
    assert (path.reason, path.x.tolist()) == ("gradient", [0.0, 0.0])


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01])
def test_kinks_along_the_axes_hold_nobody_the_lasso_is_solved(share: float) -> None:
    from sklearn.linear_model import Lasso

    g = torch.Generator().manual_seed(0)
    A, y = torch.randn(30, 8, generator=g, **float64), torch.randn(30, generator=g, **float64)
    alpha = share * float((A.T @ y).abs().max())

    def lasso(h: Tensor) -> Tensor:
        return 0.5 * (y - A @ h).square().sum() + alpha * h.abs().sum()

    path = coordinate_descent(lasso, torch.ones(8, **float64))
    assert (path.reason, path.converged) == ("gradient", True)
    oracle = Lasso(alpha=alpha / 30, fit_intercept=False, tol=1e-13, max_iter=10**5)
    expected = oracle.fit(A.numpy(), y.numpy()).coef_
    np.testing.assert_allclose(path.x.numpy(), expected, atol=1e-8)


def test_a_coupled_penalty_stalls_away_from_the_minimum_it_reports_no_arrival_at() -> None:
    """The fused lasso, on which coordinate descent is known to fail."""

    def fused(x: Tensor) -> Tensor:
        return (x - 1).square().sum() + 5 * x.diff().abs().sum()

    path = coordinate_descent(fused, torch.zeros(4, **float64))
    assert (path.reason, path.x.tolist()) == ("kink", [0.0] * 4)
    assert float(path.value) > float(fused(torch.ones(4, **float64)))


def test_powells_path_is_seen_to_be_a_cycle() -> None:
    e = 0.5
    path = coordinate_descent(powell, vector(-1 - e, 1 + e / 2, -1 - e / 4))
    assert (path.reason, path.converged) == ("cycle", False)
    assert len(path.states) < 60
    torch.testing.assert_close(path.points[-12:].abs(), torch.ones(12, 3, **float64), atol=1e-3,
                               rtol=0.0)  # fmt: skip
    torch.testing.assert_close(path.points[-7], path.points[-1], atol=1e-6, rtol=0.0)
    assert float(path.states[-1].grad.norm()) > 1


def test_slow_progress_is_not_taken_for_a_cycle() -> None:
    path = coordinate_descent(valley(1e-5), vector(1, 1), max_sweeps=300)
    assert (path.reason, len(path.states)) == ("max_steps", 601)


def test_a_return_after_a_way_of_rounding_is_no_cycle() -> None:
    x = vector(1, 1)
    for length, reason in ((1e-10, ""), (1.0, "cycle")):
        state = CoordinateState(
            x=x, value=x[0], grad=x, strides=x, trail=((x + 1e-18, length),)
        ).sweep_ended()
        assert state.reason == reason


def test_it_arrives_at_a_saddle_that_both_axes_call_a_minimum() -> None:
    path = coordinate_descent(lambda x: x.square().sum() + 3 * x[0] * x[1], vector(1, 0))
    assert path.reason == "gradient"
    assert path.x.abs().max() < 1e-12
    beside = coordinate_descent(lambda x: x.square().sum() + 3 * x[0] * x[1], vector(1, 0.1))
    assert beside.reason == "non_finite"
    assert float(beside.value) < -1e10
    assert bool(beside.x.isfinite().all())


@pytest.mark.parametrize(
    "f", [lambda x: -x.sum(), lambda x: x[0].log() + x[1] ** 2, lambda x: -(x[0] ** 2) + x[1] ** 2]
)
def test_no_lower_bound_ends_the_run_with_a_finite_point(f) -> None:
    for blocks in (None, [[0, 1]]):
        path = coordinate_descent(f, vector(2, 1), blocks)
        assert path.reason in (
            "non_finite",
            "no_decrease",
        )  # at the end of the numbers, or at 1e-65
        assert not path.converged
        assert bool(path.x.isfinite().all())
        assert math.isfinite(float(path.value))
        assert float(path.value) <= float(f(vector(2, 1)))


def test_a_wall_of_nan_is_respected() -> None:
    path = coordinate_descent(lambda x: -(1 - x[0] - x[1]).log() - x.log().sum(), vector(0.1, 0.1))
    assert path.converged
    assert path.x.tolist() == pytest.approx([1 / 3, 1 / 3], abs=1e-9)


def test_the_start_may_be_the_end() -> None:
    path = coordinate_descent(valley(1.0), torch.zeros(2, **float64))
    assert (path.reason, path.evaluations) == ("gradient", 1)
    path = coordinate_descent(stall, vector(1, 1))
    assert path.reason == "kink"
    assert path.x.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("scale", [1e-200, 1e-8, 1e8, 1e200])
def test_a_kink_is_one_at_every_scale_and_in_float32(scale: float) -> None:
    path = coordinate_descent(lambda x: scale * stall(x), vector(3, 1))
    assert (path.reason, path.x.tolist()) == ("kink", [1.0, 1.0])
    path = coordinate_descent(stall, torch.tensor([3.0, 1.0]))
    assert (path.reason, path.x.tolist()) == ("kink", [1.0, 1.0])
