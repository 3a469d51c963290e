"""The data sets: shapes, ranges, honest splits, and no side effects."""

import random
import sys

import numpy as np
import pytest
import torch

from dlopt.lesson.datasets import curve, digits, mnist1d, patches


def test_digits():
    data = digits()
    inputs, targets = data.train
    assert inputs.shape == (len(targets), 64)
    assert inputs.dtype == torch.float32
    assert targets.dtype == torch.int64
    assert (float(inputs.min()), float(inputs.max())) == (0, 1)
    assert targets.unique().tolist() == list(range(10))
    assert len(targets) + len(data.test[1]) == 1797
    assert len(data.test[1]) == pytest.approx(1797 / 4, abs=5)


def rows(inputs):
    return sorted(map(tuple, inputs.tolist()))


def test_digits_are_divided_without_loss_or_repetition():
    one, two = digits(seed=1), digits(seed=2)
    for part in (one.train, two.train):
        assert len(part[0]) == len(one.train[0])
    together = rows(torch.cat([one.train[0], one.test[0]]))
    assert together == rows(torch.cat([two.train[0], two.test[0]]))
    assert rows(one.test[0]) != rows(two.test[0])
    assert torch.equal(one.train[0], digits(seed=1).train[0])


def test_digits_keep_images_and_labels_together():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    known = {tuple(image): label for image, label in zip(images / 16, labels, strict=True)}
    inputs, targets = digits(seed=3, dtype=torch.float64).test
    for x, y in zip(inputs.tolist(), targets.tolist(), strict=True):
        assert known[tuple(x)] == y


def test_digits_give_each_class_its_share():
    data = digits(seed=4, test_fraction=0.3)
    counts = [torch.bincount(part[1], minlength=10) for part in data]
    share = counts[1] / (counts[0] + counts[1])
    assert ((share - 0.3).abs() < 0.01).all()


def test_odd_digits():
    digit, odd = digits(seed=5), digits(seed=5, task="odd")
    assert torch.equal(digit.train[0], odd.train[0])
    assert torch.equal(odd.train[1], (digit.train[1] % 2).float().unsqueeze(1))


def test_standardised_digits_use_the_training_statistics():
    data = digits(standardise=True, train_size=300, dtype=torch.float64)
    inputs = data.train[0]
    assert inputs.isfinite().all()
    assert data.test[0].isfinite().all()
    mean, variance = inputs.mean(dim=0), inputs.var(dim=0, correction=0)
    assert mean.abs().max() < 1e-12
    varied = variance > 0
    torch.testing.assert_close(variance[varied], torch.ones_like(variance[varied]))
    assert varied.sum() > 50
    assert data.test[0].mean(dim=0).abs().max() > 1e-3


def test_smaller_training_sets_are_nested_and_share_their_test_set():
    small, large = digits(train_size=100), digits(train_size=200)
    assert torch.equal(small.train[0], large.train[0][:100])
    assert torch.equal(small.test[0], large.test[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "even"}, "task .* got 'even'"),
        ({"test_fraction": 1.0}, "test_fraction .* got 1.0"),
        ({"train_size": 0}, "train_size .* got 0"),
        ({"train_size": 1797}, "train_size .* got 1797"),
    ],
)
def test_digits_reject(arguments, message):
    with pytest.raises(ValueError, match=message):
        digits(**arguments)


def test_curve():
    data = curve(11)
    x, y = data.train
    assert x.shape == y.shape == (11, 1)
    assert x.dtype == y.dtype == torch.float64
    assert (float(x[0]), float(x[-1])) == (-1, 1)
    np.testing.assert_allclose(y, np.sin(np.pi * x.numpy()) * np.exp(-x.numpy()), atol=1e-15)
    between = data.test[0]
    assert ((x[:-1] < between) & (between < x[1:])).all()
    with pytest.raises(ValueError, match="m must be > 1, got 1"):
        curve(1)


def test_mnist1d_is_reproducible_and_leaves_the_global_generators_alone():
    pytest.importorskip("mnist1d")
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()
    data = mnist1d(100, seed=7)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    again, other = mnist1d(100, seed=7), mnist1d(100, seed=8)
    assert torch.equal(data.train[0], again.train[0])
    assert not torch.equal(data.train[0], other.train[0])
    assert data.train[0].shape == (80, 40)
    assert data.test[0].shape == (20, 40)
    assert data.train[0].dtype == torch.float32
    assert torch.cat([data.train[1], data.test[1]]).bincount().tolist() == [10] * 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"m": 105}, "multiple of 10, got 105"), ({"test_fraction": 0.0}, "got 0.0")],
)
def test_mnist1d_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        mnist1d(**arguments)


@pytest.mark.parametrize(
    ("load", "module", "package"),
    [(digits, "sklearn.datasets", "scikit-learn"), (mnist1d, "mnist1d.data", "mnist1d")],
)
def test_a_missing_package_is_named_with_its_remedy(monkeypatch, load, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'needs {package}: pip install "dlopt\[book\]"'):
        load()


def test_patches_are_cut_from_the_photographs_by_seed() -> None:
    X = patches(50, size=6, seed=3)
    assert X.shape == (50, 36)
    assert X.mean(dim=1).abs().max() < 1e-12
    assert X.std(correction=0).item() == pytest.approx(1)
    assert torch.equal(X, patches(50, size=6, seed=3))
    assert not torch.equal(X, patches(50, size=6, seed=4))


@pytest.mark.parametrize(("wrong", "named"), [({"count": 1}, "count"), ({"size": 300}, "size")])
def test_impossible_patches_are_refused(wrong: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=rf"{named} must be .*, got {wrong[named]}"):
        patches(**({"count": 5} | wrong))
