"""A unit for each parameter: other units change nothing, and the first radius is in those of x."""

import math

import pytest
import torch
from torch import Tensor

import dlopt
from dlopt.scaling import ScaledState, scaled, units, whole_radius

D = torch.float64
METHODS = {"newton": dlopt.Newton(), "levenberg_marquardt": dlopt.LevenbergMarquardt()}


def valley(x: Tensor) -> Tensor:
    """Residuals of a curved one, of a steep and of a flat axis."""
    return torch.stack([10 * (x[1] - x[0] ** 2), 1 - x[0], torch.exp(x[2]) - 3, x[2] * x[0] - 1])


@pytest.mark.parametrize("name", METHODS)
def test_other_units_change_nothing(name: str) -> None:
    """Powers of 2, so that not even rounding does: the whole path is the same, in its units."""
    of = (lambda r: r) if name == "levenberg_marquardt" else lambda r: r.square().sum()
    x0 = torch.tensor([-1.2, 1.0, 2.0], dtype=D)
    unit = torch.tensor([2.0**30, 2.0**-30, 2.0**10], dtype=D)
    here = dlopt.minimize(lambda x: of(valley(x)), x0, METHODS[name])
    there = dlopt.minimize(lambda u: of(valley(u / unit)), x0 * unit, METHODS[name])
    assert here.converged and there.converged
    steps = min(len(here.states), len(there.states)) - 1
    assert steps >= 8 and here.values[:steps] == there.values[:steps]


@pytest.mark.parametrize("name", METHODS)
def test_features_in_far_units_take_no_longer(name: str) -> None:
    """A regression whose columns differ by 14 decades."""
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(40, 4, dtype=D, generator=generator) * 10 ** torch.tensor(
        [-7.0, -2, 2, 7], dtype=D
    )
    y = (torch.randn(40, dtype=D, generator=generator) > 0).to(D)

    def residuals(w: Tensor) -> Tensor:
        return torch.sigmoid(A @ w) - y

    of = (lambda r: r) if name == "levenberg_marquardt" else lambda r: r.square().sum()
    path = dlopt.minimize(lambda w: of(residuals(w)), torch.zeros(4, dtype=D), METHODS[name])
    assert path.converged and len(path.values) < 60


def state(x: Tensor, radius: float = math.inf) -> ScaledState:
    zero = torch.zeros((), dtype=D)
    return ScaledState(x=x, value=zero, grad=x, radius=radius, scale=torch.zeros_like(x))


def test_the_first_radius_is_in_the_units_of_x() -> None:
    x, scale = torch.tensor([3.0, 4.0], dtype=D), torch.tensor([2.0, 2.0], dtype=D)
    assert scaled(state(x), scale, 1.0).radius == 2.0
    assert scaled(state(x), scale, None).radius == 10.0
    assert scaled(state(x), scale, None, share=0.1).radius == 1.0
    assert scaled(state(0 * x), scale, None).radius == pytest.approx(math.sqrt(8))
    assert scaled(state(0 * x), scale, 1.0).radius == pytest.approx(2.0)
    assert scaled(state(x, 7.0), scale, 1.0).radius == 7.0


def test_the_scale_is_the_largest_so_far() -> None:
    x = torch.tensor([3.0, 4.0], dtype=D)
    first = scaled(state(x), torch.tensor([8.0, 0.0], dtype=D), None)
    assert units(first.scale).tolist() == [8.0, 8.0]
    assert whole_radius(first) == 40.0
    then = scaled(first, torch.tensor([1.0, 1.0], dtype=D), None, keep=0.5)
    assert then.scale.tolist() == [4.0, 1.0] and then.radius == first.radius
    assert units(torch.zeros(2)).tolist() == [1.0, 1.0]
