"""The learning rate that did best is chosen in the mean over the seeds, divergence included."""

import math

import pytest
import torch
from torch import nn

from dlopt.training.history import Grid, History, Record, tuned
from dlopt.training.replicas import Replicas


def grid(last, rates, *, accuracies=None):
    """A grid of two moments whose last losses are ``last``, (S, L)."""
    losses = torch.stack([torch.ones(len(last), len(rates)), torch.tensor(last)]).double()
    times = torch.tensor([0.0, 1.0])
    return Grid(
        epochs=times,
        steps=times,
        evaluations=times,
        seconds=times,
        train_loss=losses,
        test_loss=None,
        train_accuracy=None if accuracies is None else torch.tensor(accuracies)[None].double(),
        test_accuracy=None,
        diverged=losses[-1].isinf(),
        seeds=tuple(range(len(last))),
        learning_rates=tuple(rates),
        _replicas=Replicas([nn.Linear(1, 1)]),
    )


def test_a_network_without_a_finite_loss_counts_as_diverged_from_then_on():
    losses = iter([[1.0, 2.0, 3.0], [1.0, math.nan, 3.0], [1.0, 2.0, math.inf]])
    alive = torch.ones(3, dtype=torch.bool)

    def measure(part):
        if part == "train":
            return torch.tensor(next(losses)), torch.full((3,), 0.5)
        return torch.tensor([1.0, 2.0, 3.0]), None

    record = Record(measure, alive, ["train", "test"])
    for epoch in range(3):
        record.add(epochs=epoch, steps=epoch, evaluations=epoch, seconds=0.0)
    history = record.history()
    inf = math.inf
    assert history.train_loss.tolist() == [[1, 2, 3], [1, inf, 3], [1, inf, inf]]
    assert history.test_loss.tolist() == [[1, 2, 3], [1, inf, 3], [1, inf, inf]]
    assert history.train_accuracy.tolist() == [[0.5] * 3, [0.5, 0, 0.5], [0.5, 0, 0]]
    assert history.test_accuracy is None
    assert history.diverged.tolist() == [False, True, True]
    assert alive.tolist() == [True, False, False]


def test_tuned_takes_the_best_mean_over_the_seeds():
    best = tuned(grid([[0.5, 0.2, 0.9], [0.5, 0.4, 0.1]], [0.1, 0.2, 0.4]))
    assert (best.learning_rate, best.index, best.at_edge) == (0.2, 1, False)
    torch.testing.assert_close(best.scores, torch.tensor([0.5, 0.3, 0.5]).double())
    assert isinstance(best.history, History)
    torch.testing.assert_close(best.history.train_loss[-1], torch.tensor([0.2, 0.4]).double())
    assert best.history.diverged.shape == (2,)
    assert best.history.epochs.shape == (2,)


def test_tuned_says_when_the_choice_lies_at_the_edge():
    assert tuned(grid([[0.1, 0.2, 0.3]], [0.1, 0.2, 0.4])).at_edge
    assert tuned(grid([[0.3, 0.2, 0.1]], [0.1, 0.2, 0.4])).at_edge
    assert tuned(grid([[0.3, 0.1, 0.2]], [0.1, 0.4, 0.2])).at_edge  # in any order
    assert not tuned(grid([[0.3, 0.2, 0.1]], [0.1, 0.4, 0.2])).at_edge
    assert tuned(grid([[0.3]], [0.1])).at_edge


def test_tuned_never_prefers_a_rate_at_which_a_seed_diverged():
    best = tuned(grid([[0.5, 0.01], [0.5, math.inf]], [0.1, 0.2]))
    assert best.learning_rate == 0.1
    assert best.scores[1] == math.inf
    hopeless = tuned(grid([[math.inf, math.inf]], [0.1, 0.2]))
    assert hopeless.learning_rate == 0.1
    assert hopeless.history.diverged.all()


def test_tuned_by_accuracy_takes_the_highest():
    runs = grid([[0.1, 0.2]], [0.1, 0.2], accuracies=[[0.8, 0.9]])
    assert tuned(runs, "train_accuracy").learning_rate == 0.2
    assert tuned(runs).learning_rate == 0.1


@pytest.mark.parametrize("criterion", ["test_loss", "seconds", "train_accuracy", "nonsense"])
def test_tuned_rejects_what_was_not_measured(criterion):
    with pytest.raises(ValueError, match=rf"one of \['train_loss'\], got '{criterion}'"):
        tuned(grid([[0.1]], [0.1]), criterion)
