"""What is measured: means over the data, per replica, with divergence never hidden."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlopt.training.measure import Log, accuracy
from dlopt.training.replicas import replicate


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


def log_of(network, data, **settings):
    usual = {"test": None, "loss": F.cross_entropy, "weight_decay": 0.0, "metric": accuracy}
    return Log(network=network, data=data, **usual | settings)


@pytest.mark.parametrize("replicas", [None, 2])
def test_measuring_equals_the_definition_however_many_examples(replicas):
    modules = [nn.Linear(4, 3) for _ in range(2)]
    data, test = examples(5000), examples(30, seed=1)  # 5000: more than one chunk
    network = modules[0] if replicas is None else replicate(modules)
    log = log_of(network, data, replicas=replicas, test=test, weight_decay=0.3)
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
    log = log_of(network, examples(20), metric=None)
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
    log = log_of(replicate([fine, broken]), examples(20), replicas=2, test=examples(5))
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
    with pytest.raises(ValueError, match=message):
        log_of(nn.Linear(4, 3), **{"data": examples(5), **change})


def test_targets_that_would_broadcast_are_rejected():
    data = (torch.zeros(5, 4), torch.zeros(5))
    log = log_of(nn.Linear(4, 1), data, loss=F.mse_loss, metric=None)
    with pytest.raises(ValueError, match=r"targets' shape \(5,\), got \(5, 1\)"):
        log.measure()


def test_the_counts_are_in_the_record():
    log = log_of(nn.Linear(4, 3), examples(20))
    log.measure()
    log.count_gradient()
    log.count_gradient()
    log.count_update(5)
    log.add_seconds(0.5)
    log.measure()
    history = log.history()
    assert history.epochs.tolist() == [0, 0.25]
    assert history.steps.tolist() == [0, 1]
    assert history.evaluations.tolist() == [0, 2]
    assert history.seconds.tolist() == [0, 0.5]


def test_a_replica_that_is_not_kept_counts_as_diverged_for_ever():
    log = log_of(replicate([nn.Linear(4, 3)] * 3), examples(20), replicas=3)
    log.keep(torch.tensor([True, False, True]))
    log.keep(torch.tensor([True, True, True]))
    log.measure()
    assert log.history().diverged.tolist() == [False, True, False]
    log.keep(False)
    assert not log.alive.any()
