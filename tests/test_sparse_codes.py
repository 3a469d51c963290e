"""Sparse codes: scikit-learn's, at any scale, and the gap bounds what is left."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from dlopt.sparse_codes import sparse_codes

generator = torch.Generator().manual_seed(0)
W = torch.nn.functional.normalize(torch.randn(20, 12, generator=generator, dtype=torch.float64))
X = torch.randn(40, 12, generator=generator, dtype=torch.float64)


def value(H: torch.Tensor, X: torch.Tensor, W: torch.Tensor, alpha: float) -> torch.Tensor:
    return 0.5 * (X - H @ W).square().sum(1) + alpha * H.abs().sum(1)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("alpha", [2.0, 0.5, 0.02])
def test_codes_are_those_of_scikit_learn(alpha: float) -> None:
    lasso = Lasso(alpha / X.shape[1], fit_intercept=False, tol=1e-14, max_iter=100_000)
    other = torch.from_numpy(lasso.fit(W.T.numpy(), X.T.numpy()).coef_)
    codes = sparse_codes(X, W, alpha, gap_tol=1e-12)
    assert codes.gap.max() <= 1e-12
    least = value(other, X, W, alpha)
    assert (value(codes.H, X, W, alpha) <= least + 1e-9 * X.square().sum(1)).all()


def test_the_gap_bounds_what_is_above_the_least_value() -> None:
    least = value(sparse_codes(X, W, 0.3, gap_tol=1e-13).H, X, W, 0.3)
    for iterations in (0, 1, 3, 10, 30):
        H, gap = sparse_codes(X, W, 0.3, gap_tol=1e-13, max_iterations=iterations)
        above = value(H, X, W, 0.3) - least
        assert (above <= gap * 0.5 * X.square().sum(1) + 1e-12).all()


def test_a_gap_that_is_left_is_told() -> None:
    assert sparse_codes(X, W, 0.1, max_iterations=2).gap.max() > 1e-3


@pytest.mark.parametrize("size", [1e-8, 1e8])
def test_codes_scale_with_the_data(size: float) -> None:
    one = sparse_codes(X, W, 0.3, gap_tol=1e-10).H
    scaled = sparse_codes(size * X, W, size * 0.3, gap_tol=1e-10).H
    assert torch.allclose(scaled / size, one, atol=1e-4)
    assert sparse_codes(size * X, W, 0.3).gap.max() <= 1e-6


def test_zeros_and_copies_do_no_harm() -> None:
    atoms = torch.cat([W, W[:1], torch.zeros(1, 12, dtype=torch.float64)])
    samples = torch.cat([X, torch.zeros(1, 12, dtype=torch.float64)])
    H, gap = sparse_codes(samples, atoms, 0.3, gap_tol=1e-9)
    assert gap.max() <= 1e-9
    assert H[-1].abs().max() == H[:, -1].abs().max() == gap[-1] == 0
    assert sparse_codes(X, 0 * W, 0.3).H.abs().max() == 0


def test_a_start_is_never_made_worse() -> None:
    start = sparse_codes(X, W, 0.3, gap_tol=1e-12).H
    after = sparse_codes(X, W, 0.3, start, gap_tol=1e-15, max_iterations=30).H
    rounding = 1e-14 * X.square().sum(1)
    assert (value(after, X, W, 0.3) <= value(start, X, W, 0.3) + rounding).all()


def test_float32_comes_back_as_float32() -> None:
    codes = sparse_codes(X.float(), W.float(), 0.3)
    assert codes.H.dtype == torch.float32
    assert codes.gap.max() <= 1e-6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alpha": 0.0}, "alpha must be > 0 and finite, got 0.0"),
        ({"W": W[:, :5]}, r"got \(40, 12\) and \(20, 5\)"),
        ({"W": W[:0]}, "K >= 1"),
        ({"H0": X}, r"H0 must be \(40, 20\), got \(40, 12\)"),
        ({"X": X * np.nan}, "X must be finite, got an entry nan"),
        ({"X": X.long()}, "got torch.int64"),
        ({"gap_tol": 0.0}, "gap_tol must be > 0, got 0.0"),
        ({"max_iterations": -1}, "max_iterations must be >= 0, got -1"),
    ],
)
def test_bad_input_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sparse_codes(**({"X": X, "W": W, "alpha": 0.3} | wrong))  # type: ignore[arg-type]
