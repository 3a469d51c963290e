"""Penalty, renormalizing and whitening do what they say."""

import pytest
import torch
from torch import nn

from dlopt.normalization import renormalize_, statistics_penalty, whiten


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_penalty_is_zero_for_standardised_features_only():
    H = drawn(50, 3, 2)
    variance, mean = torch.var_mean(H, (0, 2), correction=0, keepdim=True)
    standard = (H - mean) / variance.sqrt()
    assert float(statistics_penalty(standard)) < 1e-28
    assert float(statistics_penalty(standard + 2)) == pytest.approx(4)
    assert float(statistics_penalty(2 * standard)) == pytest.approx(9)


def test_the_penalty_has_a_gradient_that_reduces_it():
    H = drawn(50, 3).requires_grad_()
    assert torch.autograd.gradcheck(statistics_penalty, H)
    (g,) = torch.autograd.grad(statistics_penalty(H), H)
    assert statistics_penalty(H - 0.1 * g) < statistics_penalty(H)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Linear(4, 3), drawn(30, 4)),
        (nn.Conv1d(4, 3, 2), drawn(8, 4, 5)),
        (nn.Conv2d(4, 3, 2), drawn(8, 4, 5, 5)),
        (nn.Conv3d(4, 3, 2), drawn(8, 4, 3, 3, 3)),
    ],
)
def test_after_renormalizing_the_outputs_are_standardised(layer, x):
    layer = layer.double()
    weight = layer.weight
    before = layer(x)
    renormalize_(layer, x)
    after = layer(x).detach()
    assert layer.weight is weight and weight.requires_grad
    axes = [0, *range(2, after.dim())]
    variance, mean = torch.var_mean(after, axes, correction=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-14, rtol=0)
    torch.testing.assert_close(variance, torch.ones_like(variance), atol=1e-13, rtol=0)
    variance, mean = torch.var_mean(before, axes, correction=0, keepdim=True)
    torch.testing.assert_close(after, (before - mean) / variance.sqrt())


def test_what_cannot_be_renormalized_is_refused():
    with pytest.raises(ValueError, match=r"must have a bias.*Linear\(in_features=2"):
        renormalize_(nn.Linear(2, 3, bias=False), torch.randn(4, 2))
    layer = nn.Linear(2, 3)
    layer.weight.data[1] = 0
    kept = layer.weight.clone()
    with pytest.raises(ValueError, match=r"constant outputs \[1\]"):
        renormalize_(layer, torch.randn(4, 2))
    assert torch.equal(layer.weight, kept)


def test_whitened_features_have_no_linear_relation():
    H = drawn(200, 5) @ drawn(5, 5) + 3
    white = whiten(H, 0.0)
    eye = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(white.T.cov(correction=0), eye, atol=1e-11, rtol=0)
    # The one map without a rotation: symmetric.
    centred = H - H.mean(0)
    by = torch.linalg.lstsq(centred, white).solution
    torch.testing.assert_close(by, by.T, atol=1e-11, rtol=0)


def test_whitening_leaves_directions_without_variance_at_zero():
    H = drawn(50, 2) @ drawn(2, 4)
    for delta in (0.0, 1e-8):
        values = torch.linalg.eigvalsh(whiten(H, delta).T.cov(correction=0))
        expected = torch.tensor([0.0, 0, 1, 1], dtype=torch.float64)
        torch.testing.assert_close(values, expected, atol=1e-6, rtol=0)
    assert not whiten(torch.ones(5, 3), 0.0).any()
    assert whiten(torch.full((5, 3), 0.1)).abs().max() < 1e-3


def test_delta_shrinks_each_variance():
    H = drawn(400, 1)
    variance = H.var(correction=0)
    got = whiten(H, 0.5).var(correction=0)
    torch.testing.assert_close(got, variance / (variance + 0.5))


def test_what_cannot_be_whitened_is_refused():
    with pytest.raises(ValueError, match=r"got \(2, 3, 4\)"):
        whiten(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match="at least 0, got -1"):
        whiten(torch.zeros(2, 3), -1)
