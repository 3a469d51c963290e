"""How much of J is rounding: what values show, beside slopes, jumps and distance."""

import torch

from dlopt.evaluation import rounding
from dlopt.method import State
from dlopt.noise import disagreement, noise_of, rounding_of, seen_around
from dlopt.objective import Objective


def state_of(f: Objective, *entries: float) -> State:
    return State.begin(f.evaluate(torch.tensor(entries, dtype=torch.float64)))


def test_rounding_shows_where_values_disagree_with_slopes() -> None:
    noisy = Objective(lambda x: x.square().sum() + 1e-9 * torch.sin(1e18 * x.sum()).detach())
    steep = Objective(lambda x: 1e6 * x.sum() + x.square().sum())
    for f, least, most in ((noisy, 1e-11, 3e-9), (steep, 0, 0)):
        state = state_of(f, 0.3, 0.7)
        assert least <= seen_around(f, state) <= most
    assert disagreement(state_of(noisy, 0.3, 0.7), state_of(noisy, 0.3, 0.70001)) == 0  # too far


def test_a_jump_is_no_rounding() -> None:
    """It shows on one side of θ only, and there as much at any distance."""
    state = state_of(f := Objective(lambda x: x.square().sum() + (x[0] < 0.3)), 0.3, 0.7)
    assert seen_around(f, state) == 0


def test_rounding_is_of_the_value_and_of_the_point_it_is_taken_at() -> None:
    f, eps = Objective(lambda x: x.square().sum()), torch.finfo(torch.float64).eps
    before, state = state_of(f, 0.0, -2.0), state_of(f, 3.0, 0.0)
    assert rounding_of(before, state) == rounding(9.0, eps) + eps * 6.0 * 3.0
    assert rounding_of(state, before) == rounding(4.0, eps) + eps * 4.0 * 2.0
    assert noise_of(before, state) == rounding_of(before, state)  # too far for more to be seen
