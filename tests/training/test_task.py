"""A task's objective, and what it refuses."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlopt.empirical_risk import EmpiricalRisk
from dlopt.training.task import Task, accuracy
from tests.training.classes import build, classes, seeded


def test_accuracy_of_classes_and_of_log_odds():
    outputs = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    targets = torch.tensor([1, 0, 0, 0])
    assert float(accuracy(outputs, targets)) == 0.75
    both = torch.stack([outputs, -outputs])
    assert accuracy(both, targets).tolist() == [0.75, 0.25]
    odds = torch.tensor([[2.0], [-1.0], [0.5]])
    assert float(accuracy(odds, torch.tensor([[1.0], [0.0], [0.0]]))) == pytest.approx(2 / 3)
    assert accuracy(odds.expand(5, 3, 1), torch.ones(3, 1)).shape == (5,)


def test_accuracy_of_a_regression_is_refused():
    with pytest.raises(ValueError, match="a regression has metric=None"):
        accuracy(torch.zeros(3, 1), torch.tensor([[0.0], [0.5], [1.0]]))
    with pytest.raises(ValueError, match=r"of shape \(m,\), got \(3, 1\)"):
        accuracy(torch.zeros(3, 1), torch.tensor([[0], [1], [1]]))


def test_the_objective_is_the_empirical_risk():
    module, data = build(seeded(0)), classes()
    task = Task(data, weight_decay=0.3)
    risk = EmpiricalRisk(module, *data, F.cross_entropy, weight_decay=0.3)
    J = task.objective(module(data[0]), data[1], risk.initial)
    torch.testing.assert_close(J, risk(risk.initial))
    torch.testing.assert_close(
        task.mean_loss(module(data[0]), data[1]), F.cross_entropy(module(data[0]), data[1])
    )


def test_whole_targets_become_those_of_the_losses():
    for dtype in (torch.bool, torch.int8, torch.uint8, torch.int32):
        task = Task((torch.zeros(4, 2), torch.tensor([0, 1, 1, 0]).to(dtype)))
        assert task.data[1].dtype == torch.int64
        assert task.data[1].tolist() == [0, 1, 1, 0]


def test_parts_and_device():
    task = Task(classes(5), test=classes(3))
    assert {k: len(x) for k, (x, _) in task.parts.items()} == {"train": 5, "test": 3}
    assert list(Task(classes(5)).parts) == ["train"]
    moved = task.to("meta")
    assert moved.data[0].is_meta and moved.test[1].is_meta
    assert Task(classes(5)).to("meta").test is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": (torch.zeros(3, 4), torch.zeros(2))}, "got 3 and 2"),
        ({"test": (torch.zeros(0, 4), torch.zeros(0))}, "at least one, got 0 and 0"),
        ({"loss": nn.CrossEntropyLoss(reduction="sum")}, r'reduction="mean", got CrossEntropy'),
        ({"weight_decay": -0.1}, r"weight_decay must be >= 0, got -0\.1"),
        ({"weight_decay": math.nan}, "weight_decay must be >= 0, got nan"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Task(**{"data": classes(5)} | change)


def test_targets_belong_to_outputs_as_the_loss_wants_it():
    outputs, odds = torch.randn(6, 3), (torch.arange(6).view(6, 1) % 2).bool()
    x = torch.zeros(6, 2)
    task = Task((x, torch.randn(6, 3)), nn.MSELoss(), metric=None)
    torch.testing.assert_close(
        task.mean_loss(outputs, task.data[1]), F.mse_loss(outputs, task.data[1])
    )
    own = Task((x, torch.randn(6, 1)), lambda o, y: (o - y).abs().mean(), metric=None)
    assert own.mean_loss(outputs, own.data[1]) == (outputs - own.data[1]).abs().mean()
    task = Task((x, odds), F.binary_cross_entropy_with_logits)
    with pytest.raises(ValueError, match=r"wants float targets, got torch\.int64"):
        task.mean_loss(outputs[:, :1], task.data[1])


def test_losses_that_are_no_mean_of_what_belongs_together_are_rejected():
    task = Task((torch.zeros(5, 4), torch.zeros(5)), F.mse_loss, metric=None)
    with pytest.raises(ValueError, match=r"targets' shape \(5,\), got \(5, 1\)"):
        task.mean_loss(torch.zeros(5, 1), task.data[1])
    task = Task(classes(5), lambda outputs, targets: F.cross_entropy(outputs, targets).view(1))
    with pytest.raises(ValueError, match=r"a 0-d tensor, the mean, got shape \(1,\)"):
        task.mean_loss(torch.zeros(5, 3), task.data[1])
