"""Sparse coding: an estimator of scikit-learn whose objective never rises."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import DictionaryLearning
from sklearn.utils.estimator_checks import check_estimator

from dlopt import coordinate_descent
from dlopt.sparse_coding import SparseCoding, update_atoms

DIGITS = load_digits().data[:200] / 16
DIGITS = DIGITS - DIGITS.mean(axis=0)


@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks_pass() -> None:
    check_estimator(SparseCoding(max_iter=20))


def test_it_is_found_beside_coordinate_descent() -> None:
    assert coordinate_descent.SparseCoding is SparseCoding


def test_the_objective_falls_and_no_atom_is_too_long() -> None:
    model = SparseCoding(20, 0.5, 0, max_iter=40).fit(DIGITS)
    assert np.all(np.diff(model.objective_) <= 1e-9)
    assert np.linalg.norm(model.components_, axis=1).max() <= 1 + 1e-12
    assert model.gap_ <= 1e-6


def test_it_is_no_worse_than_scikit_learn() -> None:
    ours, theirs = [], []
    for seed in range(3):
        ours.append(SparseCoding(20, 0.5, seed).fit(DIGITS).objective_[-1])
        other = DictionaryLearning(
            20, alpha=0.5, fit_algorithm="cd", random_state=seed, max_iter=100
        ).fit(DIGITS)
        theirs.append(other.error_[-1])
    assert np.median(ours) <= 1.005 * np.median(theirs)


def test_each_atom_is_the_exact_minimum() -> None:
    g = torch.Generator().manual_seed(0)
    shapes = ((30, 6), (30, 1), (1, 6))
    X, H, W = (torch.randn(s, generator=g, dtype=torch.float64) for s in shapes)
    w = update_atoms(W, H, X)
    free = torch.linalg.lstsq(H, X).solution
    assert torch.allclose(w, free / free.norm().clamp(min=1))


def test_atoms_that_no_code_uses_are_replaced() -> None:
    few = np.repeat(np.eye(6)[:2], 10, axis=0) * np.linspace(1, 3, 20)[:, None]
    model = SparseCoding(6, 0.1, 0, max_iter=5).fit(few)
    assert model.n_resampled_ > 0


def test_a_callback_ends_the_fit() -> None:
    seen: list[int] = []
    model = SparseCoding(5, random_state=0, callback=lambda turn, J: seen.append(turn) or turn == 3)
    assert model.fit(DIGITS).n_iter_ == 3
    assert seen == [1, 2, 3]


def test_a_clone_learns_the_same() -> None:
    model = SparseCoding(8, 0.3, 1, max_iter=10)
    assert np.array_equal(model.fit(DIGITS).components_, clone(model).fit(DIGITS).components_)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_atoms": 0}, "n_atoms must be an integer >= 1, got 0"),
        ({"alpha": -1.0}, "alpha must be > 0, got -1.0"),
        ({"max_iter": 0}, "max_iter must be an integer >= 1, got 0"),
        ({"tol": -1.0}, "tol must be >= 0, got -1.0"),
        ({"gap_tol": 0.0}, "gap_tol must be > 0, got 0.0"),
    ],
)
def test_a_parameter_out_of_range_is_named(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SparseCoding(**wrong).fit(DIGITS)  # type: ignore[arg-type]
