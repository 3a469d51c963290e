"""A point with a kink: a minimum, or a place where only single coordinates are stuck."""

import pytest
import torch
from torch import Tensor

from dlopt.kinks import look_around, smallest_mean
from dlopt.method import State
from dlopt.objective import Objective

float64 = {"dtype": torch.float64}


def seen_at(f: object, x: Tensor) -> str:
    objective = Objective(f)  # type: ignore[arg-type]
    return look_around(objective, State.begin(objective.evaluate(x)))


def test_kinks_on_the_axes_are_recognised_as_a_minimum() -> None:
    slopes = torch.linspace(-0.9, 0.9, 12, **float64)
    assert seen_at(lambda x: x.abs().sum() + slopes @ x, torch.zeros(12, **float64)) == "gradient"


def test_a_kink_across_the_axes_lets_a_joint_step_down() -> None:
    def f(x: Tensor) -> Tensor:
        return (x[0] - x[1]).abs() + 0.1 * (x[0] + x[1]) ** 2

    assert seen_at(f, torch.ones(2, **float64)) == "kink"
    assert seen_at(f, torch.zeros(2, **float64)) == "gradient"


def test_too_many_coordinates_are_left_open() -> None:
    assert seen_at(lambda x: (x - 1).square().sum(), torch.zeros(300, **float64)) == "no_decrease"


@pytest.mark.parametrize("seed", range(10))
def test_the_smallest_mean_meets_its_optimality_condition(seed: int) -> None:
    points = torch.randn(15, 6, generator=torch.Generator().manual_seed(seed), **float64) + 0.3
    p = smallest_mean(points)
    assert (points @ p >= p.dot(p) - 1e-9).all()
