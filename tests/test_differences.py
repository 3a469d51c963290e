"""Curvature from first derivatives: what is left to gain, and the way down from a saddle."""

import math

import pytest
import torch
from torch import Tensor

from dlopt.differences import Differences, is_plateau, left_to_gain, way_down
from dlopt.method import State
from dlopt.objective import Objective

D = torch.float64


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=D)


def state_of(f: Objective, *x: float) -> State:
    return State.begin(f.evaluate(vector(*x)))


def test_what_is_left_of_a_bowl_is_found_in_as_many_products_as_it_has_curvatures() -> None:
    f = Objective(lambda x: 3 + 50 * x[0] ** 2 + x[1] ** 2 + 1e-3 * x[2] ** 2)
    state = state_of(f, 1e-3, 1, 10)
    left = left_to_gain(Differences(f, state), math.inf)
    assert left == pytest.approx(float(state.value) - 3, rel=1e-3)
    assert f.evaluations == 4
    assert left_to_gain(Differences(f, state), 1e-6) < left  # enough is enough
    assert f.evaluations == 5


def test_nothing_is_left_at_the_bottom_and_everything_where_it_falls_for_ever() -> None:
    f = Objective(lambda x: x.square().sum())
    assert left_to_gain(Differences(f, state_of(f, 0, 0)), 1.0) == 0
    f = Objective(lambda x: -x[0] + 0 * x[1])
    assert left_to_gain(Differences(f, state_of(f, 1, 1)), 1.0) == math.inf
    f = Objective(lambda x: (x[0] - 1).sqrt() + x[1] ** 2)
    H = Differences(f, state_of(f, 1 + 1e-12, 0))
    assert left_to_gain(H, 1.0) == math.inf  # not defined below 1


def test_what_is_left_does_not_depend_on_the_unit_of_the_objective() -> None:
    for scale in (1e-200, 1e200):
        f = Objective(lambda x, scale=scale: scale * (50 * x[0] ** 2 + x[1] ** 2))
        left = left_to_gain(Differences(f, state_of(f, 1e-3, 1)), math.inf)
        assert left / scale == pytest.approx(1.00005, rel=1e-3)


def test_a_way_down_from_a_saddle_is_sought_in_what_is_known_already() -> None:
    """Six curvatures that the gradient sees, twelve that it doesn't, one of them negative."""
    curvatures = torch.cat((3.0 ** torch.arange(6), torch.arange(1, 12), vector(-0.1)))
    f = Objective(lambda x: 7 + 0.5 * (curvatures * (x - 1) ** 2).sum() + ((x - 1) ** 4).sum())
    x = 1 + torch.cat((1e-9 * torch.ones(6, dtype=D), torch.zeros(12, dtype=D)))
    H = Differences(f, State.begin(f.evaluate(x)))
    assert left_to_gain(H, math.inf) < 1e-11
    assert len(H.known) <= 10
    down = way_down(H, 1e-12)
    assert down is not None
    assert float((curvatures * down).dot(down)) < 0
    assert f.evaluations <= 1 + 20 + 2
    assert way_down(Differences(f, State.begin(f.evaluate(x))), 1e-12, most=6) is None


def test_a_saddle_at_the_origin_has_the_size_of_the_way_there() -> None:
    f = Objective(lambda x: 1 + x[0] ** 2 - x[1] ** 2 + x[1] ** 4)
    state = state_of(f, 1e-10, 0)
    assert way_down(Differences(f, state), 1e-14) is None
    down = way_down(Differences(f, state, start=state_of(f, 1, 0)), 1e-14)
    assert down is not None and abs(float(down[1])) > 0.9


def test_an_entry_that_came_from_afar_keeps_its_unit_where_a_saddle_is_sought() -> None:
    f = Objective(lambda x: (x[1] - 1) ** 2 - x[0] ** 2 + x[0] ** 4)
    start, state = state_of(f, 3, 2), state_of(f, 1e-20, 1)
    assert way_down(Differences(f, state, state, start), 1e-15) is not None
    assert way_down(Differences(f, state, state, state), 1e-15) is None


def test_a_weight_that_began_at_0_and_has_hardly_set_out_counts_as_large_as_the_others() -> None:
    f = Objective(lambda x: (x[0] - 1) ** 2 + (x[1] - 1) ** 2)
    start, state = state_of(f, 2, 0), state_of(f, 1 + 1e-9, 1e-12)
    assert left_to_gain(Differences(f, state, state, start), math.inf) == pytest.approx(1)


def test_an_entry_that_has_run_away_is_no_unit_of_the_others() -> None:
    f = Objective(lambda x: 2 + (1e-12 * x[0] - 1) ** 2 - torch.exp(-(x[1] ** 2)))
    start, state = state_of(f, 1, 2), state_of(f, 1e12, 7)
    used = torch.tensor([True, True])
    assert is_plateau(Differences(f, state, state, start), start, used)
    near = state_of(f, 1e12, 0)
    assert not is_plateau(Differences(f, near, near, start), start, used)
