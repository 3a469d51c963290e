"""What is measured: means over the data, per replica, with divergence never hidden."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlopt.history import Grid, History, Log, accuracy, tuned
from dlopt.replicas import replicate


def test_accuracy_of_classes_and_of_log_odds():
    outputs = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    classes = torch.tensor([1, 0, 0, 0])
    assert float(accuracy(outputs, classes)) == 0.75
    both = torch.stack([outputs, -outputs])
    assert accuracy(both, classes).tolist() == [0.75, 0.25]
    odds = torch.tensor([[2.0], [-1.0], [0.5]])
    assert float(accuracy(odds, torch.tensor([[1.0], [0.0], [0.0]]))) == pytest.approx(2 / 3)
    assert accuracy(odds.expand(5, 3, 1), torch.ones(3, 1)).shape == (5,)


def test_accuracy_of_a_regression_is_refused():
    with pytest.raises(ValueError, match="a regression has metric=None"):
        accuracy(torch.zeros(3, 1), torch.tensor([[0.0], [0.5], [1.0]]))


def examples(m, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(m, 4, generator=generator), torch.arange(m) % 3


@pytest.mark.parametrize("replicas", [None, 2])
def test_measuring_equals_the_definition_however_many_examples(replicas):
    modules = [nn.Linear(4, 3) for _ in range(2)]
    data, test = examples(5000), examples(30, seed=1)  # 5000: more than one chunk
    network = modules[0] if replicas is None else replicate(modules)
    log = Log(network, replicas, data, test, F.cross_entropy, 0.3, accuracy)
    log.measure()
    history = log.history()
    for r, module in enumerate(modules[: replicas or 1]):
        pick = (lambda v: v) if replicas is None else (lambda v, r=r: v[..., r])
        theta = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
        objective = F.cross_entropy(module(data[0]), data[1]).detach() + 0.15 * theta @ theta
        assert float(pick(history.train_loss)) == pytest.approx(float(objective), rel=1e-5)
        test_loss = F.cross_entropy(module(test[0]), test[1]).detach()
        assert float(pick(history.test_loss)) == pytest.approx(float(test_loss), rel=1e-5)
        for part, (x, y) in (("train", data), ("test", test)):
            share = (module(x).argmax(dim=1) == y).double().mean()
            measured = pick(getattr(history, f"{part}_accuracy"))
            assert float(measured) == pytest.approx(float(share), abs=1e-7)
    assert history.train_loss.shape == ((1,) if replicas is None else (1, 2))
    assert history.diverged.shape == (() if replicas is None else (2,))


def test_measuring_keeps_the_modes_and_uses_the_evaluation_mode():
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3).eval(), nn.Dropout(0.5))
    network.train()
    network[1].eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    log = Log(network, None, examples(20), None, F.cross_entropy, 0.0, None)
    log.measure()
    log.measure()
    assert [m.training for m in network] == [True, False, True]
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert log.history().train_loss.unique().numel() == 1
    assert log.history().train_accuracy is None
    assert log.history().test_loss is None


def test_a_loss_that_is_not_finite_counts_as_divergence():
    fine, broken = nn.Linear(4, 3), nn.Linear(4, 3)
    broken.weight.data[0, 0] = math.nan
    log = Log(
        replicate([fine, broken]), 2, examples(20), examples(5), F.cross_entropy, 0.0, accuracy
    )
    log.measure()
    history = log.history()
    assert history.diverged.tolist() == [False, True]
    assert history.train_loss[0, 1] == history.test_loss[0, 1] == math.inf
    assert history.train_accuracy[0, 1] == history.test_accuracy[0, 1] == 0
    assert history.train_loss[0, 0].isfinite()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": (torch.zeros(3, 4), torch.zeros(2))}, "got 3 and 2"),
        ({"test": (torch.zeros(0, 4), torch.zeros(0))}, "at least one, got 0 and 0"),
        ({"loss": nn.CrossEntropyLoss()}, "function of torch.nn.functional, got CrossEntropy"),
        ({"weight_decay": -0.1}, "weight_decay must be >= 0, got -0.1"),
    ],
)
def test_log_rejects(change, message):
    settings = {
        "network": nn.Linear(4, 3),
        "replicas": None,
        "data": examples(5),
        "test": None,
        "loss": F.cross_entropy,
        "weight_decay": 0.0,
        "metric": None,
    }
    with pytest.raises(ValueError, match=message):
        Log(**{**settings, **change})


def test_targets_that_would_broadcast_are_rejected():
    data = (torch.zeros(5, 4), torch.zeros(5))
    log = Log(nn.Linear(4, 1), None, data, None, F.mse_loss, 0.0, None)
    with pytest.raises(ValueError, match=r"targets' shape \(5,\), got \(5, 1\)"):
        log.measure()


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
        _replicas=nn.Identity(),
    )


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
