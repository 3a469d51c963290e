"""An exact blur is the Gaussian average, to quadrature's accuracy."""

import math

import numpy as np
import pytest
import torch

from dlopt.exact_blurs import GaussianMixture, Polynomial, Sinusoids, Total, rastrigin

NODES, WEIGHTS = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(60))
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def quadrature(f, x, sigma):
    """The average over a Gaussian in two dimensions, by Gauss and Hermite's rule."""
    moved = x + sigma * torch.cartesian_prod(NODES, NODES)
    weights = torch.cartesian_prod(WEIGHTS, WEIGHTS).prod(1)
    return weights @ torch.vmap(f)(moved)


def objectives():
    g = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    return {
        "polynomial": Polynomial((1.0, -2.0, 0.5, 0.25, -0.125, 0.01, 0.02)),
        "sinusoids": Sinusoids(draw(4), draw(4, 2), draw(4)),
        "mixture": GaussianMixture(draw(3), draw(3, 2), torch.tensor([0.9, 1.0, 2.0]).double()),
        "rastrigin": rastrigin(2, amplitude=3.0),
    }


@pytest.mark.parametrize("name", objectives())
@pytest.mark.parametrize("sigma", [0.1, 0.5, 0.7])
def test_it_is_the_average(name, sigma):
    f, x = objectives()[name], torch.tensor([0.3, -1.1], dtype=torch.float64)
    found = f.blurred(sigma)(x)
    torch.testing.assert_close(found, quadrature(f, x, sigma), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", objectives())
def test_twice_blurred_is_blurred_by_the_root_of_the_squares(name):
    f, x = objectives()[name], torch.tensor([0.3, -1.1], dtype=torch.float64)
    torch.testing.assert_close(f.blurred(0.3).blurred(0.4)(x), f.blurred(0.5)(x))
    assert f.blurred(0.0)(x) == f(x)


def test_a_single_wave_in_closed_form():
    wave = Sinusoids(*(torch.tensor(v, dtype=torch.float64) for v in ([2.0], [[3.0]], [0.5])))
    x = torch.tensor([0.2], dtype=torch.float64)
    assert math.isclose(wave(x), 2 * math.cos(1.1))
    assert math.isclose(wave.blurred(0.4)(x), 2 * math.cos(1.1) * math.exp(-0.72))


def test_minus_a_square_keeps_its_curvature_at_any_blur():
    """Why continuation can't help where no blur is convex: only a constant changes."""
    for sigma in (0.0, 1.0, 100.0):
        assert Polynomial((0, 0, -1)).blurred(sigma).coefficients[1:] == (0, -1)


def test_rastrigin_has_its_least_value_at_0():
    f = rastrigin(3)
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert f(torch.zeros(3).double()) == 0 and torch.vmap(f)(x).min() > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Polynomial(()), "got none"),
        (lambda: Total(()), "got none"),
        (lambda: rastrigin(0), "n must be >= 1, got 0"),
        (lambda: Sinusoids(torch.ones(2), torch.ones(1, 2), torch.ones(1)), r"got \[\(2,\)"),
        (lambda: Sinusoids(torch.ones(1), torch.ones(1), torch.ones(1)), r"got \[\(1,\)"),
        (lambda: GaussianMixture(torch.ones(1), torch.ones(2, 1), torch.ones(1)), r"\(2, 1\)"),
        (lambda: GaussianMixture(torch.ones(1), torch.ones(1, 1), torch.zeros(1)), "> 0, got 0"),
        (lambda: Polynomial((1.0,)).blurred(-1.0), "sigma must be >= 0 and finite, got -1"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
