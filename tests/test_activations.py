"""The nonlinearities are the formulas, and the mean squares are those of closed forms."""

import itertools
import math

import pytest
import torch
from scipy.integrate import quad
from torch import nn

from dlopt.activations import Jagged, Maxout, is_activation, mean_square


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def name(value: object) -> str:
    """What a test is called: the same in each process, so without an address."""
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_maxout_is_the_largest_of_neighbours(pieces, dtype):
    z = torch.randn(5, 4 * pieces, generator=seeded(0), dtype=dtype)
    by_hand = [z[:, pieces * j : pieces * (j + 1)].max(1).values for j in range(4)]
    assert torch.equal(Maxout(pieces)(z), torch.stack(by_hand, 1))
    assert torch.equal(Maxout(pieces)(z[0]), Maxout(pieces)(z)[0])


def test_maxout_of_channels():
    z = torch.randn(2, 6, 3, 4, generator=seeded(0))
    of_channels = Maxout(3, axis=1)(z)
    assert of_channels.shape == (2, 2, 3, 4)
    moved = Maxout(3)(z.movedim(1, -1)).movedim(-1, 1)
    assert torch.equal(of_channels, moved)


def test_the_gradient_of_maxout_reaches_the_largest_piece_alone():
    z = torch.tensor([[1.0, 3.0, 2.0, -5.0]], requires_grad=True)
    Maxout(2)(z).sum().backward()
    assert z.grad.tolist() == [[0, 1, 1, 0]]


def test_jagged_is_the_formula_and_without_ripples_tanh():
    z = torch.linspace(-3, 3, 101, dtype=torch.float64)
    expected = torch.tanh(z) + 0.4 * torch.sin(7 * z)
    torch.testing.assert_close(Jagged(0.4, 7.0)(z), expected, rtol=1e-14, atol=1e-15)
    assert torch.equal(Jagged(0.0)(z), torch.tanh(z))


@pytest.mark.parametrize(("amplitude", "monotone"), [(0.0, True), (0.9 / 10, False)])
def test_jagged_is_not_monotone(amplitude, monotone):
    """The slope at its flattest, where tanh is nearly flat, is about -aω."""
    values = Jagged(amplitude)(torch.linspace(-4, 4, 10_001, dtype=torch.float64))
    assert bool((values.diff() > 0).all()) == monotone


@pytest.mark.parametrize("module", [Maxout(2), Jagged(0.3)])
def test_vmap_computes_what_each_alone_does(module):
    z = torch.randn(3, 5, 4, generator=seeded(0))
    torch.testing.assert_close(torch.vmap(module)(z), torch.stack([module(one) for one in z]))


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (nn.Identity(), 1.0),
        (nn.ReLU(), 0.5),
        (nn.LeakyReLU(0.1), (1 + 0.1**2) / 2),
        (torch.sign, 1.0),
        (torch.sin, (1 - math.exp(-2)) / 2),
        (torch.exp, math.exp(2)),
        (Maxout(1), 1.0),
        (Maxout(2), 1.0),
        (Maxout(3), 1 + math.sqrt(3) / (2 * math.pi)),
    ],
    ids=name,
)
def test_mean_squares_with_closed_forms(activation, expected):
    assert mean_square(activation) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("module", "scalar"),
    [
        (nn.Tanh(), math.tanh),
        (nn.Sigmoid(), lambda z: 1 / (1 + math.exp(-z))),
        (nn.Hardtanh(), lambda z: min(max(z, -1.0), 1.0)),
        (Jagged(0.4), lambda z: math.tanh(z) + 0.4 * math.sin(10 * z)),
    ],
    ids=name,
)
def test_mean_squares_are_scipys_integrals(module, scalar):
    def integrand(z):
        return scalar(z) ** 2 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    pieces = [-12, -1, 0, 1, 12]  # a kink ends a piece
    integral = sum(
        quad(integrand, a, b, epsabs=1e-12, limit=500)[0] for a, b in itertools.pairwise(pieces)
    )
    assert mean_square(module) == pytest.approx(integral, abs=1e-6)


@pytest.mark.parametrize("pieces", [2, 4])
def test_the_mean_square_of_maxout_is_that_of_draws(pieces):
    draws = Maxout(pieces)(torch.randn(400_000, pieces, generator=seeded(0))).square()
    error = float(draws.std()) / math.sqrt(len(draws))
    assert abs(float(draws.mean()) - mean_square(Maxout(pieces))) < 4 * error


def test_activations_are_told_from_other_layers():
    units = [nn.ReLU(), nn.GELU(), nn.PReLU(), Maxout(2), Jagged(0.1)]
    others = [nn.Linear(1, 1), nn.Softmax(1), nn.GLU(), nn.Dropout(), nn.Identity(), nn.Flatten()]
    assert all(map(is_activation, units)) and not any(map(is_activation, others))


def test_the_text_of_a_module_tells_two_of_them_apart():
    """Replicas compare architectures by it."""
    assert len({str(m) for m in (Maxout(2), Maxout(3), Maxout(2, axis=1))}) == 3
    assert len({str(m) for m in (Jagged(0.1), Jagged(0.2), Jagged(0.1, 5.0))}) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Maxout(0), "pieces must be at least 1, got 0"),
        (lambda: Maxout(2)(torch.zeros(4, 5)), "multiple of 2 pieces, got 5"),
        (lambda: Jagged(-0.1), "amplitude must be .* at least 0, got -0.1"),
        (lambda: Jagged(math.nan), "amplitude must be"),
        (lambda: Jagged(0.1, 0.0), "frequency must be .* above 0, got 0.0"),
        (lambda: mean_square(torch.sum), r"one number for each entry, got \(\) for"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
