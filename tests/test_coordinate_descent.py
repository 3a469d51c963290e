"""Coordinate descent: exact blocks, the rate of the coupled valley, honest ends."""

import pytest
import torch
from torch import Tensor

from dlopt.coordinate_descent import coordinate_descent

float64 = {"dtype": torch.float64}


@pytest.mark.parametrize("alpha", [1.0, 0.1, 0.01])
def test_each_sweep_of_the_coupled_valley_contracts_as_derived(alpha: float) -> None:
    def valley(x: Tensor) -> Tensor:
        return (x[0] - x[1]) ** 2 + alpha * x.square().sum()

    path = coordinate_descent(valley, torch.ones(2, **float64), max_sweeps=12)
    ends = path.points[2::2, 1]
    rates = ends[1:] / ends[:-1]
    assert (rates * (1 + alpha) ** 2 - 1).abs().max() <= 1e-12


def test_it_stops_at_a_kink_that_couples_and_says_so() -> None:
    def stall(x: Tensor) -> Tensor:
        return (x[0] - x[1]).abs() + 0.1 * (x[0] + x[1]) ** 2

    path = coordinate_descent(stall, torch.tensor([3.0, 1.0], **float64))
    assert (path.reason, path.converged) == ("kink", False)
    assert path.x.tolist() == [1.0, 1.0]
