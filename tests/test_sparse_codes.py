"""Sparse codes: optimality, the gap as a bound, and the data that others stumble over."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import sparse_encode
from sklearn.linear_model import Lasso
from torch import Tensor

from dlopt.sparse_codes import Codes, sparse_codes

float64 = {"dtype": torch.float64}


def case(seed: int = 0, m: int = 12, d: int = 16, K: int = 24) -> tuple[Tensor, Tensor]:
    """Samples, and atoms of norm 1."""
    g = torch.Generator().manual_seed(seed)
    X, W = torch.randn(m, d, generator=g, **float64), torch.randn(K, d, generator=g, **float64)
    return X, W / torch.linalg.vector_norm(W, dim=1, keepdim=True)


def largest_alpha(X: Tensor, W: Tensor) -> float:
    return float((X @ W.T).abs().max())


def objective(X: Tensor, W: Tensor, H: Tensor, alpha: float) -> Tensor:
    return 0.5 * (X - H @ W).square().sum(1) + alpha * H.abs().sum(1)


def violation(X: Tensor, W: Tensor, H: Tensor, alpha: float) -> float:
    """How far the subgradients are from holding 0, as a share of alpha."""
    slopes = (X - H @ W) @ W.T
    used = torch.where(H != 0, (slopes - alpha * H.sign()).abs(), 0.0)
    unused = torch.where(H == 0, slopes.abs() - alpha, 0.0)
    return max(float(used.max()), float(unused.max())) / alpha


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.02])
@pytest.mark.parametrize("seed", [0, 1])
def test_optimality_conditions_hold(share: float, seed: int) -> None:
    X, W = case(seed)
    alpha = share * largest_alpha(X, W)
    H, gap = sparse_codes(X, W, alpha, gap_tol=1e-13)
    assert float(gap.max()) <= 1e-13
    assert violation(X, W, H, alpha) <= 1e-5


@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_codes_are_those_of_scikit_learn(share: float) -> None:
    X, W = case(2)
    alpha = share * largest_alpha(X, W)
    H, _ = sparse_codes(X, W, alpha, gap_tol=1e-13)
    expected = sparse_encode(
        X.numpy(), W.numpy(), algorithm="lasso_cd", alpha=alpha, max_iter=10**5
    )
    np.testing.assert_allclose(H.numpy(), expected, atol=2e-2 * float(H.abs().max()))
    tight = Lasso(alpha=alpha / 16, fit_intercept=False, tol=1e-13, max_iter=10**6)
    for x, h in zip(X, H, strict=True):
        found = tight.fit(W.T.numpy(), x.numpy()).coef_
        np.testing.assert_allclose(h.numpy(), found, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1.0), st.integers(0, 200))
def test_the_gap_bounds_how_far_the_codes_are_from_the_best(
    seed: int, share: float, iterations: int
) -> None:
    X, W = case(seed, m=3, d=6, K=9)
    alpha = share * largest_alpha(X, W)
    H, gap = sparse_codes(X, W, alpha, max_iterations=iterations)
    best, _ = sparse_codes(X, W, alpha, gap_tol=1e-13)
    over = objective(X, W, H, alpha) - objective(X, W, best, alpha)
    half = 0.5 * X.square().sum(1)
    assert bool((over <= gap * half + 1e-12 * half).all())
    assert bool((gap >= 0).all())


def test_an_early_end_has_an_honest_gap() -> None:
    X, W = case(3)
    alpha = 0.05 * largest_alpha(X, W)
    gaps = [float(sparse_codes(X, W, alpha, max_iterations=k).gap.max()) for k in (0, 5, 50, 10000)]
    assert gaps[0] > gaps[1] > gaps[2] > 1e-6 >= gaps[3]


def test_codes_to_start_from_are_never_made_worse_nor_changed() -> None:
    X, W = case(4)
    alpha = 0.1 * largest_alpha(X, W)
    best, _ = sparse_codes(X, W, alpha, gap_tol=1e-13)
    g = torch.Generator().manual_seed(0)
    for distance in (0.0, 1e-9, 1e-3, 1.0, 100.0):
        H0 = best + distance * torch.randn(best.shape, generator=g, **float64)
        before = objective(X, W, H0, alpha)
        for iterations in (0, 1, 7, 300):
            kept = H0.clone()
            H, _ = sparse_codes(X, W, alpha, H0, max_iterations=iterations, gap_tol=1e-14)
            assert bool((objective(X, W, H, alpha) <= before * (1 + 1e-13)).all())
            assert torch.equal(kept, H0)
    again = sparse_codes(X, W, alpha, best, gap_tol=1e-12)
    torch.testing.assert_close(again.H, best, rtol=1e-15, atol=0.0)  # done before it starts


# What others stumble over


def test_a_sample_of_zeros_has_codes_of_zeros_and_no_gap() -> None:
    X, W = case(5)
    X[3] = 0
    H, gap = sparse_codes(X, W, 0.1)
    assert (int((H[3] != 0).sum()), float(gap[3])) == (0, 0.0)
    assert float(gap.max()) <= 1e-6
    H, gap = sparse_codes(torch.zeros_like(X), W, 0.1, torch.ones(12, 24, **float64))
    assert float(H.abs().max()) < 1e-6
    assert bool(gap.isfinite().all())


def test_an_atom_of_zeros_is_never_used() -> None:
    X, W = case(6)
    W[7] = 0
    H, gap = sparse_codes(X, W, 0.05)
    assert int((H[:, 7] != 0).sum()) == 0
    assert float(gap.max()) <= 1e-6
    without = [k for k in range(24) if k != 7]
    torch.testing.assert_close(
        H[:, without], sparse_codes(X, W[without], 0.05).H, atol=2e-3, rtol=0
    )


def test_atoms_of_zeros_alone_explain_nothing() -> None:
    X, _ = case(7)
    H, gap = sparse_codes(X, torch.zeros(4, 16, **float64), 0.1)
    assert (int((H != 0).sum()), float(gap.max())) == (0, 0.0)


@pytest.mark.parametrize("alpha", [1.0, 0.1, 1e-3])
def test_atoms_that_are_equal_share_one_code(alpha: float) -> None:
    X, W = case(8)
    doubled = torch.cat([W, W[:5], W[:5]])
    H, gap = sparse_codes(X, doubled, alpha, gap_tol=1e-9)
    assert bool(H.isfinite().all())
    assert float(gap.max()) <= 1e-9
    least = objective(X, W, sparse_codes(X, W, alpha, gap_tol=1e-9).H, alpha)
    torch.testing.assert_close(objective(X, doubled, H, alpha), least, rtol=1e-7, atol=0.0)


@pytest.mark.parametrize("size", [1e-300, 1e-8, 1e8, 1e200])
def test_the_unit_of_the_data_changes_nothing(size: float) -> None:
    X, W = case(9)
    for share in (0.5, 0.02):
        alpha = share * largest_alpha(X, W)
        here, there = sparse_codes(X, W, alpha), sparse_codes(size * X, W, size * alpha)
        assert int((there.H != 0).sum()) > 0
        torch.testing.assert_close(there.H / size, here.H, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(there.gap, here.gap, rtol=1e-3, atol=1e-13)


@pytest.mark.parametrize("size", [1e-300, 1e-8, 1e8])
def test_the_penalty_may_be_huge_or_tiny_beside_the_data(size: float) -> None:
    X, W = case(10)
    H, gap = sparse_codes(size * X, W, 0.5)
    assert float(gap.max()) <= 1e-6
    if size < 1:
        assert int((H != 0).sum()) == 0
    else:  # least squares, nearly: fewer pixels than atoms
        assert float((size * X - H @ W).abs().max()) <= 1e-2 * size


def test_a_tiny_penalty_is_met_exactly_on_the_atoms_in_use() -> None:
    """More pixels than atoms: the codes are least squares less a shift, from a linear system."""
    X, W = case(11, d=30, K=8)
    alpha = 1e-6
    H, gap = sparse_codes(X, W, alpha, gap_tol=1e-14)
    G = W @ W.T
    plain = torch.linalg.solve(G, W @ X.T).T
    shifted = torch.linalg.solve(G, (X @ W.T - alpha * plain.sign()).T).T
    torch.testing.assert_close(H, shifted, rtol=1e-9, atol=1e-12)
    assert float(gap.max()) < 1e-14


def test_ill_conditioned_atoms_need_their_supports_solved() -> None:
    X, W = case(12, m=6, d=20, K=6)
    W = W[:1] + 1e-2 * W
    alpha = 1e-4 * largest_alpha(X, W)
    _, gap = sparse_codes(X, W, alpha, gap_tol=1e-10, max_iterations=200)
    assert float(gap.max()) <= 1e-10


def test_float32_comes_back_as_float32_and_as_good() -> None:
    X, W = case(13)
    H, gap = sparse_codes(X.float(), W.float(), 0.1, gap_tol=1e-9)
    assert (H.dtype, gap.dtype) == (torch.float32, torch.float32)
    exact = sparse_codes(X.float().double(), W.float().double(), 0.1, gap_tol=1e-9)
    torch.testing.assert_close(H, exact.H.float())


def test_there_may_be_no_samples_and_gradients_are_not_traced() -> None:
    X, W = case(14)
    assert [t.shape for t in sparse_codes(X[:0], W, 0.1)] == [(0, 24), (0,)]
    H, _ = sparse_codes(X, W.clone().requires_grad_(), 0.1)
    assert not H.requires_grad


def test_each_sample_is_on_its_own() -> None:
    X, W = case(15)
    together = sparse_codes(X, W, 0.2, gap_tol=1e-10).H
    alone = torch.cat([sparse_codes(x[None], W, 0.2, gap_tol=1e-10).H for x in X])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0.0)


# Errors

X, W = case(16)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X, W[:0], 0.1), {}, r"K >= 1, got \(12, 16\) and \(0, 16\)"),
        ((X[0], W, 0.1), {}, r"X must be \(m, d\).* got \(16,\)"),
        ((X[:, :5], W, 0.1), {}, r"got \(12, 5\) and \(24, 16\)"),
        ((X * math.nan, W, 0.1), {}, "X must be finite, got an entry nan"),
        ((X, W / 0, 0.1), {}, "W must be finite, got an entry"),
        ((X.long(), W, 0.1), {}, "X must be real floating-point numbers, got torch.int64"),
        ((X.numpy(), W, 0.1), {}, "X must be a torch.Tensor, got ndarray"),
        ((X, W, 0.0), {}, "alpha must be > 0 and finite, got 0.0"),
        ((X, W, math.inf), {}, "alpha must be > 0 and finite, got inf"),
        ((X, W, 0.1, X), {}, r"H0 must be \(12, 24\), got \(12, 16\)"),
        ((X, W, 0.1), {"gap_tol": 0.0}, "gap_tol must be > 0, got 0.0"),
        ((X, W, 0.1), {"max_iterations": -1}, "max_iterations must be >= 0, got -1"),
    ],
)
def test_bad_input_is_named(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sparse_codes(*arguments, **options)


def test_the_codes_have_names() -> None:
    found = sparse_codes(X, W, 0.1)
    assert isinstance(found, Codes)
    assert (found.H.shape, found.gap.shape) == ((12, 24), (12,))
