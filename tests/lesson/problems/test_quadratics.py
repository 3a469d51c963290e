"""Quadratics have the spectrum they were given, rotations are orthogonal and drawn evenly."""

import math

import pytest
import torch
from torch.autograd.functional import hessian

from dlopt.lesson.problems import (
    Quadratic,
    bowl,
    quadratic,
    random_rotation,
    rotation,
    spectrum,
)


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e8])
def test_quadratic_has_the_spectrum_it_was_given(condition):
    generator = torch.Generator().manual_seed(1)
    eigenvalues = spectrum(20, condition)
    q = quadratic(eigenvalues, basis=random_rotation(20, generator), minimizer=torch.arange(20.0))
    assert isinstance(q, Quadratic)
    torch.testing.assert_close(
        torch.linalg.eigvalsh(q.A), eigenvalues, rtol=1e-12, atol=1e-14 * condition
    )
    torch.testing.assert_close(hessian(q, q.x0), q.A, rtol=1e-12, atol=1e-14 * condition)
    d = q.x0 - q.minimizers[0]
    torch.testing.assert_close(q(q.x0), d @ q.A @ d / 2, rtol=1e-12, atol=0)


def test_quadratic_never_rounds_below_its_minimum():
    q = quadratic(spectrum(50, 1e8), basis=random_rotation(50, torch.Generator().manual_seed(2)))
    for x in 1e-9 * random_rotation(50, torch.Generator().manual_seed(4)):
        assert q(x) > 0


def test_quadratic_with_negative_curvature_has_no_minimum():
    q = quadratic(torch.tensor([-1.0, 2.0]))
    assert q.minimum == -math.inf
    assert q.minimizers.shape == (0, 2)


def test_quadratic_in_many_variables_needs_no_matrix():
    q = quadratic(spectrum(100_000, 1e4))
    x = q.x0.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(q(x), x)
    torch.testing.assert_close(g, q.eigenvalues)


def test_quadratic_follows_the_precision_of_its_argument():
    q = bowl()
    assert q(q.x0.float()).dtype == torch.float32
    assert quadratic(torch.ones(2)).x0.dtype == torch.float32


def test_bowl_is_tilted_by_its_angle():
    q = bowl(condition=10.0, angle=math.pi / 6)
    # Rotated back by 30 degrees the start is 1.5 (½ − √3/2, ½ + √3/2).
    value = 1.125 * ((0.5 - 0.75**0.5) ** 2 + 10 * (0.5 + 0.75**0.5) ** 2)
    assert float(q(q.x0)) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eigenvalues": torch.tensor([1, 2])}, "floating-point"),
        ({"eigenvalues": torch.ones(2, 2)}, "1-D"),
        ({"eigenvalues": torch.ones(0)}, "1-D"),
        ({"eigenvalues": torch.ones(2), "basis": torch.eye(3)}, r"basis .* got \(3, 3\)"),
        ({"eigenvalues": torch.ones(2), "minimizer": torch.ones(3)}, r"minimizer .* got \(3,\)"),
        ({"eigenvalues": torch.ones(2), "x0": torch.ones(1, 2)}, r"x0 .* got \(1, 2\)"),
    ],
)
def test_quadratic_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        quadratic(**arguments)


def test_spectrum():
    log, linear = spectrum(5, 1e4), spectrum(5, 9.0, "linear")
    torch.testing.assert_close(log, torch.tensor([1, 10, 100, 1e3, 1e4]).double())
    assert linear.tolist() == [1, 3, 5, 7, 9]
    assert spectrum(7, 3.0)[-1] == 3.0
    counts = spectrum(50, 1e3, distinct=3).unique(return_counts=True)[1]
    assert sorted(counts.tolist()) == [16, 17, 17]
    assert spectrum(1, 1.0).tolist() == [1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 10.0), "n must be > 0, got 0"),
        ((3, 0.5), "condition must be finite and >= 1, got 0.5"),
        ((3, math.nan), "got nan"),
        ((3, 10.0, "cubic"), "got 'cubic'"),
        ((3, 10.0, "log", 1), "condition must be 1 where all eigenvalues are equal, got 10.0"),
        ((3, 10.0, "log", 4), "distinct must be between 1 and n = 3, got 4"),
    ],
)
def test_spectrum_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        spectrum(*arguments)


def test_rotations_are_orthogonal():
    turned = rotation(0.3) @ torch.tensor([1.0, 0.0]).double()
    torch.testing.assert_close(turned, torch.tensor([math.cos(0.3), math.sin(0.3)]).double())
    q = random_rotation(30, torch.Generator().manual_seed(5))
    torch.testing.assert_close(q.T @ q, torch.eye(30).double(), atol=1e-14, rtol=0)
    assert torch.equal(q, random_rotation(30, torch.Generator().manual_seed(5)))


def test_random_rotation_prefers_no_sign():
    generator = torch.Generator().manual_seed(0)
    corner = torch.stack([random_rotation(3, generator)[0, 0] for _ in range(600)])
    # Uniform on the sphere: mean 0 and mean square 1/3, give or take 0.024 and 0.012.
    assert abs(float(corner.mean())) < 0.08
    assert float(corner.square().mean()) == pytest.approx(1 / 3, abs=0.04)
