"""A unit for each parameter: other units cost little, and the first radius is in those of x."""

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
def test_other_units_cost_little(name: str) -> None:
    """Powers of 2, so that rounding is the same."""
    of = (lambda r: r) if name == "levenberg_marquardt" else lambda r: r.square().sum()
    x0 = torch.tensor([-1.2, 1.0, 2.0], dtype=D)
    unit = torch.tensor([2.0**30, 2.0**-30, 2.0**10], dtype=D)
    here = dlopt.minimize(lambda x: of(valley(x)), x0, METHODS[name])
    there = dlopt.minimize(lambda u: of(valley(u / unit)), x0 * unit, METHODS[name])
    assert here.converged and there.converged
    assert there.evaluations <= 2 * here.evaluations
    torch.testing.assert_close(there.x / unit, here.x, rtol=1e-6, atol=1e-6)


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
    assert path.converged and len(path.values) < 100


def state(x: Tensor, radius: float = math.inf) -> ScaledState:
    zero = torch.zeros((), dtype=D)
    return ScaledState(x=x, value=zero, grad=x, radius=radius, scale=torch.zeros_like(x))


def test_the_first_radius_is_in_the_units_of_x() -> None:
    x, scale = torch.tensor([3.0, 4.0], dtype=D), torch.tensor([2.0, 2.0], dtype=D)

    def radius(start: ScaledState, given: float | None) -> float:
        return scaled(start, scale, given)[0].radius

    assert radius(state(x), 1.0) == 2.0
    assert radius(state(x), None) == 10.0
    assert radius(state(0 * x), None) == pytest.approx(math.sqrt(8))
    assert radius(state(0 * x), 1.0) == pytest.approx(2.0)
    assert radius(state(x, 7.0), 1.0) == 7.0


def test_the_scale_is_the_largest_so_far() -> None:
    x = torch.tensor([3.0, 4.0], dtype=D)
    first, whole = scaled(state(x), torch.tensor([8.0, 0.0], dtype=D), None)
    assert whole.tolist() == [8.0, 8.0] and whole_radius(x, whole) == 40.0
    then, now = scaled(first, torch.tensor([1.0, 1.0], dtype=D), None, keep=0.5)
    assert then.scale.tolist() == now.tolist() == [4.0, 1.0] and then.radius == first.radius
    assert units(torch.zeros(2)).tolist() == [1.0, 1.0]


def test_scales_that_are_alike_count_as_one() -> None:
    near = units(torch.tensor([1.0, 4.0, 16.0], dtype=D), alike=10.0)
    torch.testing.assert_close(near, torch.full((3,), 4.0, dtype=D))
    far = units(torch.tensor([1e-6, 1.0, 1e6], dtype=D), alike=10.0)
    torch.testing.assert_close(far, torch.tensor([1e-5, 1.0, 1e5], dtype=D))


@pytest.mark.parametrize("far", [100.0, 200.0, 400.0])
def test_next_to_no_curvature_tells_no_unit(far: float) -> None:
    """On a slope that is nearly straight: a radius by 1e-43 would be good for steps of 1e43."""
    x0 = torch.tensor([far, -3.0, 1.0], dtype=D)
    path = dlopt.minimize(lambda x: torch.logaddexp(x - 2, 2 - x).sum(), x0, dlopt.Newton())
    assert path.converged and path.evaluations <= 90
    assert float(path.value) == pytest.approx(3 * math.log(2))
