"""Sparse coding: scikit-learn's protocol, a falling objective, atoms that stay alive."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import DictionaryLearning
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from dlopt.sparse_codes import sparse_codes
from dlopt.sparse_coding import SparseCoding, _resampled, update_atoms


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    X = load_digits().data[:120] / 16
    return X - X.mean(0)


def objective(X: np.ndarray, H: np.ndarray, W: np.ndarray, alpha: float) -> float:
    return float(0.5 * ((X - H @ W) ** 2).sum() + alpha * np.abs(H).sum())


def test_scikit_learn_accepts_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the checks leave out
        check_estimator(SparseCoding())


def test_it_works_inside_scikit_learn(digits: np.ndarray) -> None:
    pipeline = make_pipeline(StandardScaler(), SparseCoding(5, max_iter=3))
    assert pipeline.fit_transform(digits).shape == (120, 5)
    assert list(pipeline.get_feature_names_out()) == [f"sparsecoding{k}" for k in range(5)]
    search = GridSearchCV(
        SparseCoding(4, max_iter=2, random_state=0),
        {"alpha": [0.5, 50.0]},
        scoring=lambda model, X, y=None: -objective(X, model.transform(X), model.components_, 0.5),
        cv=2,
    )
    assert search.fit(digits).best_params_ == {"alpha": 0.5}


def test_its_settings_are_kept_as_given_and_cloned() -> None:
    model = SparseCoding(7, 0.3, 5, max_iter=9, tol=1e-3, gap_tol=1e-4)
    assert model.get_params() == {
        "n_atoms": 7, "alpha": 0.3, "random_state": 5, "max_iter": 9, "tol": 1e-3,
        "gap_tol": 1e-4, "callback": None,
    }  # fmt: skip
    assert clone(model).get_params() == model.get_params()


# The objective


def test_the_objective_never_rises_and_is_that_of_the_fitted_codes(digits: np.ndarray) -> None:
    model = SparseCoding(20, 0.5, random_state=0, max_iter=60)
    H = model.fit_transform(digits)
    falls = [a - b for a, b in itertools.pairwise(model.objective_)]
    assert min(falls) >= -1e-12 * model.objective_[0]
    assert len(model.objective_) == model.n_iter_
    assert model.objective_[-1] == pytest.approx(objective(digits, H, model.components_, 0.5))
    assert model.gap_ <= 1e-6
    assert np.linalg.norm(model.components_, axis=1).max() <= 1 + 1e-12


def test_new_samples_are_coded_at_the_learned_atoms(digits: np.ndarray) -> None:
    model = SparseCoding(12, 0.5, random_state=0, max_iter=10).fit(digits[:80])
    H = model.transform(digits[80:])
    W = torch.from_numpy(model.components_)
    expected, _ = sparse_codes(torch.from_numpy(digits[80:].copy()), W, 0.5)
    np.testing.assert_array_equal(H, expected.numpy())
    own = model.transform(digits[:80])
    assert objective(digits[:80], own, model.components_, 0.5) == pytest.approx(
        model.objective_[-1], rel=1e-5
    )


def test_it_ends_as_low_as_scikit_learn(digits: np.ndarray) -> None:
    ours, theirs = [], []
    for seed in range(3):
        ours.append(SparseCoding(16, 0.5, random_state=seed).fit(digits).objective_[-1])
        other = DictionaryLearning(
            16, alpha=0.5, fit_algorithm="cd", max_iter=100, random_state=seed
        ).fit(digits)
        W = torch.from_numpy(other.components_)
        H, _ = sparse_codes(torch.from_numpy(digits), W, 0.5)  # its best codes
        theirs.append(objective(digits, H.numpy(), other.components_, 0.5))
    assert np.median(ours) <= np.median(theirs) * 1.005


def test_the_unit_of_the_data_changes_nothing(digits: np.ndarray) -> None:
    here = SparseCoding(10, 0.5, random_state=0, max_iter=15).fit(digits)
    for size in (2.0**-27, 2.0**27):
        there = SparseCoding(10, 0.5 * size, random_state=0, max_iter=15).fit(size * digits)
        np.testing.assert_allclose(there.components_, here.components_, atol=1e-6)
        assert there.n_iter_ == here.n_iter_


def test_same_seed_same_atoms(digits: np.ndarray) -> None:
    def atoms(seed: int | np.random.RandomState) -> np.ndarray:
        return SparseCoding(8, random_state=seed, max_iter=4).fit(digits).components_

    np.testing.assert_array_equal(atoms(1), atoms(1))
    np.testing.assert_array_equal(atoms(1), atoms(np.random.RandomState(1)))
    assert not np.array_equal(atoms(1), atoms(2))
    state = torch.random.get_rng_state()
    atoms(3)
    assert torch.equal(state, torch.random.get_rng_state())


def test_float32_stays(digits: np.ndarray) -> None:
    single = digits.astype(np.float32)
    model = SparseCoding(8, random_state=0, max_iter=6)
    assert model.fit_transform(single).dtype == model.components_.dtype == np.float32
    assert model.transform(single).dtype == np.float32
    double = SparseCoding(8, random_state=0, max_iter=6).fit(digits)
    np.testing.assert_allclose(model.components_, double.components_, atol=1e-3)


# Atoms


def test_an_update_of_atoms_is_least_squares_one_atom_at_a_time() -> None:
    g = torch.Generator().manual_seed(0)
    W = torch.randn(3, 5, generator=g, dtype=torch.float64)
    H = torch.randn(20, 3, generator=g, dtype=torch.float64)
    X = 0.1 * torch.randn(20, 5, generator=g, dtype=torch.float64)
    found, expected = update_atoms(W, H, X), W.clone()
    for k in range(3):
        others = [j for j in range(3) if j != k]
        rest = X - H[:, others] @ expected[others]
        free = torch.linalg.lstsq(H[:, k : k + 1], rest).solution[0]
        expected[k] = free / max(1.0, float(free.norm()))
    torch.testing.assert_close(found, expected)
    many = update_atoms(W, H, X, 200)
    free = torch.linalg.lstsq(H, X).solution
    torch.testing.assert_close(many, free, atol=1e-8, rtol=0.0)
    assert torch.equal(update_atoms(W, H, X, 0), W)


def test_the_norm_of_atoms_is_bounded_and_unused_ones_stay() -> None:
    g = torch.Generator().manual_seed(1)
    W = torch.randn(3, 5, generator=g, dtype=torch.float64)
    H = torch.randn(20, 3, generator=g, dtype=torch.float64)
    H[:, 1] = 0
    kept = W.clone()
    found = update_atoms(W, H, 100 * torch.randn(20, 5, generator=g, dtype=torch.float64), 5)
    norms = found.norm(dim=1)
    assert float(norms[[0, 2]].max()) <= 1 + 1e-12
    assert torch.equal(found[1], W[1])
    assert torch.equal(kept, W)


def test_dead_atoms_are_replaced_by_samples() -> None:
    """Along three lines, atoms that no sample needs at first find work."""
    random = np.random.default_rng(0)
    X = np.zeros((60, 40))
    X[np.arange(60), 13 * (np.arange(60) % 3)] = random.normal(size=60) + 3
    model = SparseCoding(6, 0.5, random_state=0).fit(X)
    assert model.n_resampled_ > 0
    largest = np.abs(model.components_)[:, [0, 13, 26]].max(0)
    np.testing.assert_allclose(largest, 1, atol=1e-6)


def test_a_dead_atom_becomes_the_sample_that_is_explained_worst() -> None:
    X = torch.tensor([[3.0, 0.0], [0.0, 2.0], [0.0, 5.0]])
    W, H = torch.eye(2), torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    found, count = _resampled(0.1 * W, 10 * H, X, torch.tensor([1]))
    assert (found[1].tolist(), count) == ([0.0, 1.0], 1)
    assert torch.equal(found[0], 0.1 * W[0])
    assert _resampled(W, H, X[:1].repeat(3, 1) * (H != 0), torch.tensor([0, 1]))[1] == 0


def test_more_atoms_than_samples_and_data_of_zeros() -> None:
    X = np.random.default_rng(0).normal(size=(4, 6))
    model = SparseCoding(9, 0.1, random_state=0).fit(X)
    assert model.components_.shape == (9, 6)
    assert np.isfinite(model.components_).all()
    nothing = SparseCoding(3, random_state=0).fit(np.zeros((5, 4)))
    assert nothing.objective_[-1] == 0
    assert not nothing.transform(np.zeros((2, 4))).any()


# A run


def test_a_callback_sees_each_turn_and_may_stop(digits: np.ndarray) -> None:
    seen: list[tuple[int, float]] = []

    def third(turn: int, value: float) -> bool:
        seen.append((turn, value))
        return turn == 3

    model = SparseCoding(8, random_state=0, callback=third).fit(digits)
    assert [turn for turn, _ in seen] == [1, 2, 3] == list(range(1, model.n_iter_ + 1))
    assert model.gap_ <= 1e-6
    assert model.objective_[-1] <= seen[-1][1]


def test_codes_that_are_not_done_are_announced(
    digits: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dlopt.sparse_coding as module

    def hasty(*args, **options):
        return sparse_codes(*args, **options, max_iterations=1)

    model = SparseCoding(8, random_state=0, max_iter=2).fit(digits)
    monkeypatch.setattr(module, "sparse_codes", hasty)
    with pytest.warns(ConvergenceWarning, match="relative duality gap of the codes is"):
        model.transform(digits)
    with pytest.warns(ConvergenceWarning, match="gap"):
        model.fit(digits)
    assert model.gap_ > 1e-6


# Errors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_atoms": 0}, "n_atoms must be an integer >= 1, got 0"),
        ({"n_atoms": 2.5}, "n_atoms must be an integer >= 1, got 2.5"),
        ({"n_atoms": True}, "n_atoms must be an integer >= 1, got True"),
        ({"alpha": 0}, "alpha must be > 0 and finite, got 0"),
        ({"alpha": math.nan}, "alpha must be > 0 and finite, got nan"),
        ({"alpha": "much"}, "alpha must be > 0 and finite, got 'much'"),
        ({"gap_tol": 0.0}, "gap_tol must be > 0 and finite, got 0.0"),
        ({"tol": -0.5}, "tol must be >= 0 and finite, got -0.5"),
        ({"max_iter": 0}, "max_iter must be an integer >= 1, got 0"),
    ],
)
def test_bad_settings_are_named(settings: dict, message: str, digits: np.ndarray) -> None:
    with pytest.raises(ValueError, match=message):
        SparseCoding(**settings).fit(digits)


def test_bad_data_is_named(digits: np.ndarray) -> None:
    with pytest.raises(ValueError, match="NaN"):
        SparseCoding(3).fit(digits * math.nan)
    with pytest.raises(ValueError, match="2D array"):
        SparseCoding(3).fit(digits[0])
    with pytest.raises(NotFittedError):
        SparseCoding(3).transform(digits)
    model = SparseCoding(3, random_state=0, max_iter=1, tol=0).fit(digits)
    with pytest.raises(ValueError, match=r"has 10 features.*expecting 64"):
        model.transform(digits[:, :10])
