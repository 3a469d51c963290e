"""Standardised batches are finite and right, whatever the range and the size of the mean."""

import pytest
import torch

from dlopt.standardization import standardize


def drawn(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def in_float64(H, delta):
    H = H.double()
    axes = [0, *range(2, H.dim())]
    variance, mean = torch.var_mean(H, axes, correction=0, keepdim=True)
    return (H - mean) / (variance + delta).sqrt()


@pytest.mark.parametrize("shape", [(2, 3), (4096, 3), (50, 3, 4), (2, 3, 2, 2)])
def test_it_is_the_equations(shape):
    H = 3 * drawn(*shape) - 2
    standard, mean, variance, sigma = standardize(H, 0.1)
    axes = [0, *range(2, H.dim())]
    v, mu = torch.var_mean(H, axes, correction=0)
    tight = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(standard, in_float64(H, 0.1), **tight)
    torch.testing.assert_close(mean, mu, **tight)
    torch.testing.assert_close(variance, v, **tight)
    torch.testing.assert_close(sigma, (v + 0.1).sqrt(), **tight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("delta", [0.0, 1e-8])
@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, -7e3, 1e6, 1e30, 1e-30])
@pytest.mark.parametrize("shape", [(7, 2), (4096, 2), (32, 2, 28, 28)])
def test_a_constant_feature_is_exactly_zero(shape, value, delta, dtype):
    standard, mean, variance, sigma = standardize(torch.full(shape, value, dtype=dtype), delta)
    assert not standard.any() and not variance.any()
    assert (mean == torch.tensor(value, dtype=dtype)).all()
    assert (sigma == (delta**0.5 if delta else float("inf"))).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("m", [3, 7, 49, 1000])
def test_constants_whose_mean_is_rounded_are_exactly_zero(m, dtype):
    constants = 1e6 * drawn(300, dtype=dtype)
    H = constants.expand(m, 300)
    assert (H.mean(0) != constants).any()
    standard, mean, *_ = standardize(H, 0.0)
    assert not standard.any() and torch.equal(mean, constants)


@pytest.mark.parametrize("shape", [(64, 5), (4096, 5), (16, 5, 9, 9)])
@pytest.mark.parametrize("ratio", [1e2, 1e4, 1e6])
def test_a_large_mean_costs_no_digits(shape, ratio):
    """In float32, against float64 of the same numbers."""
    H = (ratio + drawn(*shape)).float()
    got = standardize(H, 1e-8).H
    torch.testing.assert_close(got.double(), in_float64(H, 1e-8), rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1.0, 1e15, 1e25, 1e30, 1e35])
def test_squares_neither_overflow_nor_underflow(scale, dtype):
    H = drawn(64, 5, dtype=dtype)
    standard, mean, _, sigma = standardize(scale * H, 0.0)
    expected = standardize(H, 0.0)
    eps = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(standard, expected.H, rtol=eps, atol=eps)
    torch.testing.assert_close(sigma, scale * expected.sigma, rtol=eps, atol=0)
    torch.testing.assert_close(mean, scale * expected.mean, rtol=eps, atol=eps * scale)


def test_an_outlier_downwards_does_not_overflow():
    H = torch.zeros(4096, 1)
    H[7] = -1e30
    assert float(standardize(H, 0.0).H[7]) == pytest.approx(-(4095**0.5), rel=1e-6)


def test_features_of_different_ranges_do_not_mix():
    H = drawn(64, 2, dtype=torch.float32)
    mixed = H * torch.tensor([1e30, 1e-6])
    torch.testing.assert_close(standardize(mixed, 0.0).H, standardize(H, 0.0).H)


def test_an_outlier_in_front_costs_no_digits():
    H = drawn(4096, 1, dtype=torch.float32)
    H[0] = 1e4
    torch.testing.assert_close(
        standardize(H, 0.0).H.double(), in_float64(H, 0.0), rtol=1e-6, atol=2e-6
    )


def test_what_is_not_finite_stays_visible():
    H = drawn(8, 3)
    H[2, 0], H[3, 1] = float("nan"), float("inf")
    standard = standardize(H).H
    assert standard[:, :2].isnan().all() and standard[:, 2].isfinite().all()


def test_the_batch_is_not_changed():
    H = drawn(8, 3)
    kept = H.clone()
    standardize(H)
    assert torch.equal(H, kept)
