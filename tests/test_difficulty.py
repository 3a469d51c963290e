"""An example is judged by a model that hasn't seen it."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from dlopt.difficulty import held_out_losses


def test_no_model_is_asked_about_what_it_was_fitted_to():
    x = torch.arange(23.0)
    numbers = []

    def fit(inputs, targets, number):
        assert torch.equal(inputs, targets)
        seen = set(inputs.tolist())
        numbers.append(number)
        return lambda asked: torch.tensor([float(v in seen) for v in asked.tolist()])

    losses = held_out_losses(fit, x, x, lambda seen, y: seen + y, folds=5,
                             generator=torch.Generator().manual_seed(0))  # fmt: skip
    assert torch.equal(losses, x.double())  # none was seen, and each has its own place
    assert numbers == [0, 1, 2, 3, 4]


def test_wrong_labels_are_the_hardest():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(300, 2, generator=g)
    y = (x[:, 0] > 0).long()
    wrong = torch.randperm(300, generator=g)[:30]
    noisy = y.clone()
    noisy[wrong] = 1 - y[wrong]

    def fit(inputs, targets, number):
        means = torch.stack([inputs[targets == c].mean(0) for c in (0, 1)])
        return lambda asked: -torch.cdist(asked, means)

    loss = partial(F.cross_entropy, reduction="none")
    losses = held_out_losses(fit, x, noisy, loss, generator=g)
    assert losses[wrong].mean() > 2 * losses.mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": 1}, "folds must be in 2..6, got 1"),
        ({"folds": 7}, "folds must be in 2..6, got 7"),
        ({"targets": torch.zeros(5)}, "got 6 and 5"),
        ({"loss": lambda out, y: out.sum()}, r"losses must be 2 numbers, got shape \(\) with 0"),
        ({"loss": lambda out, y: out * torch.nan}, "with 2 NaN"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    settings = {"targets": torch.zeros(6), "loss": lambda out, y: out, "folds": 3} | arguments
    with pytest.raises(ValueError, match=message):
        held_out_losses(lambda x, y, number: lambda x: x, torch.zeros(6), **settings)
