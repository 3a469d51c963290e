"""Hints reach the layers they are meant for, and distillation is what its paper says."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlopt import BatchNorm
from dlopt.frozen import Frozen
from dlopt.hints import distillation_loss, distillation_targets, hint_stages, train_with_hints
from dlopt.lesson.networks import Skip, mlp
from dlopt.training.many import train_many, train_replicas
from dlopt.training.plan import Plan
from dlopt.training.replicas import Replicas
from dlopt.training.rules import SGD
from dlopt.training.task import Task

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 3


def student(depth=4, norm=BatchNorm, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return mlp([6, *[5] * depth, 3], generator, activation=nn.ReLU, norm=norm)


def teacher(seed=9):
    net = mlp([6, 12, 12, 3], torch.Generator().manual_seed(seed), norm=nn.BatchNorm1d)
    net(X)  # its statistics have seen data
    return net


def values(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def fit(stage, steps=6):
    targets = stage.targets(X, Y)
    loss = F.cross_entropy if stage.target is None else F.mse_loss
    optimizer = torch.optim.SGD(
        [p for p in stage.module.parameters() if p.requires_grad], 0.1, momentum=0.9
    )
    for _ in range(steps):
        optimizer.zero_grad()
        loss(stage.module(X), targets).backward()
        optimizer.step()


def test_it_equals_the_loop_written_by_hand():
    regressor = nn.Linear(5, 12)
    ours = train_with_hints(
        student(), teacher(), fit, regressor=regressor, student_layers=2, teacher_layers=1
    )

    net, guide, r = student(), teacher().eval(), copy.deepcopy(regressor)
    with torch.no_grad():
        hints = guide[:3](X)
    lower = net[:6]
    for module, parameters, loss, y in (
        (nn.Sequential(lower, r), [*lower.parameters(), *r.parameters()], F.mse_loss, hints),
        (net, net.parameters(), F.cross_entropy, Y),
    ):
        optimizer = torch.optim.SGD(parameters, 0.1, momentum=0.9)
        for _ in range(6):
            optimizer.zero_grad()
            loss(module(X), y).backward()
            optimizer.step()
    assert equal(values(ours), values(net))


def test_the_hint_reaches_the_guided_layers_alone_and_they_start_the_task():
    stages = hint_stages(student(), teacher(), nn.Linear(5, 12), student_layers=2, teacher_layers=2)
    hint = next(stages)
    assert (hint.name, hint.index, hint.count) == ("hint", 0, 2)
    assert [type(m) for m in hint.module] == [*[nn.Linear, BatchNorm, nn.ReLU] * 2, nn.Linear]
    torch.testing.assert_close(hint.target(X), teacher().eval()[:6](X), rtol=0, atol=0)
    fit(hint)
    after = values(hint.module)
    task = next(stages)
    assert (task.name, task.target, task.index, task.count) == ("task", None, 1, 2)
    assert equal(values(task.module[:6]), values(hint.module[:6]))
    assert equal(values(task.module[6:]), values(student()[6:]))
    fit(task)
    assert equal(values(hint.module), after)  # a stage is left alone in later ones
    with pytest.raises(StopIteration) as end:
        next(stages)
    assert equal(values(end.value.value), values(task.module))
    assert end.value.value[0].weight.data_ptr() != task.module[0].weight.data_ptr()


def test_what_is_given_stays_as_it_is_even_if_fit_raises():
    given = student().eval(), teacher(), nn.Linear(5, 12)
    before = [values(module) for module in given]

    def failing(stage):
        fit(stage)
        if stage.name == "task":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_with_hints(
            given[0], given[1], failing, regressor=given[2], student_layers=2, teacher_layers=1
        )
    for module, old in zip(given, before, strict=True):
        assert equal(values(module), old)
        assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert not given[0].training and given[1].training


def test_the_teacher_stays_bit_identical():
    stages = []
    train_with_hints(
        student(), teacher(), fit, regressor=nn.Linear(5, 12), student_layers=3, teacher_layers=2,
        callback=stages.append,
    )  # fmt: skip
    assert [stage.name for stage in stages] == ["hint", "task"]
    assert isinstance(stages[0].target, Frozen)
    assert equal(values(stages[0].target), values(teacher()[:6]))


def test_without_a_teacher_the_guided_layer_learns_the_labels():
    names = []

    def watched(stage):
        names.append((stage.name, stage.target, len(stage.module)))
        fit(stage)

    train_with_hints(student(), None, watched, regressor=nn.Linear(5, 3), student_layers=2)
    assert names == [("hint", None, 7), ("task", None, 13)]


def test_the_student_keeps_its_structure():
    block = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    net = nn.Sequential(block, Skip(nn.Linear(6, 6)), nn.Linear(6, 3))
    guided, task = hint_stages(net, teacher(), nn.Linear(6, 12), student_layers=1, teacher_layers=1)
    assert str(task.module) == str(net)
    assert str(guided.module[0]) == str(block[:2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"student_layers": 0}, "student_layers must be from 1 to the 5 weight layers of student"),
        ({"student_layers": 6}, "student_layers must be .* got 6"),
        ({"teacher_layers": 4}, "teacher_layers must be from 1 to the 3 weight layers of teacher"),
        ({"teacher_layers": 0}, "teacher_layers must be .* got 0"),
        ({"teacher_layers": None}, "given both or neither, got Sequential and None"),
        ({"teacher": None}, "given both or neither, got NoneType and 1"),
        ({"student": Skip(nn.Linear(6, 6))}, "must be an nn.Sequential, got .*Skip"),
    ],
)
def test_layers_out_of_range_are_refused_at_once(options, message):
    given = {"student": student(), "teacher": teacher(), "student_layers": 1, "teacher_layers": 1}
    given |= options
    with pytest.raises(ValueError, match=message):
        hint_stages(given.pop("student"), given.pop("teacher"), nn.Linear(5, 12), **given)


def test_a_regressor_that_does_not_fit_is_named_before_anything_is_trained():
    with pytest.raises(ValueError, match=r"regressor must return .* \(40, 12\), got \(40, 7\)"):
        train_with_hints(
            student(), teacher(), fit, regressor=nn.Linear(5, 7), student_layers=2, teacher_layers=1
        )


def test_hints_in_lockstep_are_hints_alone():
    """Five students as one network, and each of them alone, with the same minibatches."""
    regressor, guide, x = nn.Linear(5, 12).double(), teacher().double(), X.double()

    def trained(seeds):
        layers = {"student_layers": 2, "teacher_layers": 1}
        runs = [hint_stages(student(seed=s).double(), guide, regressor, **layers) for s in seeds]
        for run in zip(*runs, strict=True):
            replicas = Replicas([stage.module for stage in run])
            loss = F.cross_entropy if run[0].target is None else F.mse_loss
            task = Task((x, run[0].targets(x, Y)), loss=loss, metric=None)
            plan, rates = Plan(epochs=4, batch_size=10), [0.05] * len(run)
            train_replicas(replicas, SGD(0.9), task, plan, seeds=seeds, learning_rates=rates)
            for i, stage in enumerate(run):
                stage.module.load_state_dict(replicas.network(i).state_dict())
        return [stage.module for stage in run]

    together, alone = trained(range(5)), [trained([s])[0] for s in range(5)]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(values(a), values(b), rtol=1e-9, atol=1e-12)
    assert not torch.allclose(together[0](x), together[1](x))


# Distillation


def logits(seed, dtype=torch.float64):
    return torch.randn(40, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 3


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_is_that_of_pytorch_and_of_the_paper(temperature, weight):
    z, t = logits(0), logits(1)
    found = distillation_loss(temperature, weight)(z, distillation_targets(Y, t))
    divergence = F.kl_div(
        (z / temperature).log_softmax(1), (t / temperature).softmax(1), reduction="batchmean"
    )
    expected = (1 - weight) * F.cross_entropy(z, Y) + weight * temperature**2 * divergence
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_its_gradient_is_that_of_the_soft_cross_entropy_at_any_temperature():
    t = logits(1)
    for temperature in (1.0, 3.0, 100.0):
        z = logits(0).requires_grad_()
        loss = distillation_loss(temperature, 1.0)(z, distillation_targets(Y, t))
        (found,) = torch.autograd.grad(loss, z)
        soft = ((z / temperature).softmax(1) - (t / temperature).softmax(1)) * temperature / 40
        torch.testing.assert_close(found, soft, rtol=1e-10, atol=1e-14)
    # At high temperature it matches centred logits, Hinton et al.'s equation 4.
    centred = (z - z.mean(1, keepdim=True)) - (t - t.mean(1, keepdim=True))
    torch.testing.assert_close(found, centred / 40 / 3, rtol=0.2, atol=1e-3)


def test_labels_survive_beside_logits():
    labels = torch.tensor([0, 999, 512])
    for dtype in (torch.float32, torch.float64):
        targets = distillation_targets(labels, torch.randn(3, 1000, dtype=dtype))
        assert targets.dtype == dtype and torch.equal(targets[:, 0].long(), labels)
    graph = torch.zeros(3, 1000, requires_grad=True)
    assert not distillation_targets(labels, graph).requires_grad


def test_a_student_of_many_learns_its_teachers_outputs():
    guide = teacher().eval()
    targets = distillation_targets(Y, guide(X))
    loss = distillation_loss(2.0, 1.0)
    grid = train_many(
        lambda g: mlp([6, 30, 3], g), SGD(momentum=0.9), Task((X, targets), loss=loss, metric=None),
        Plan(epochs=300), seeds=range(2), learning_rates=[0.1],
    )  # fmt: skip
    assert (grid.train_loss[-1] < 1e-2 * grid.train_loss[0]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: distillation_loss(0.0, 0.5), "temperature must be finite and > 0, got 0.0"),
        (lambda: distillation_loss(math.inf, 0.5), "temperature must be"),
        (lambda: distillation_loss(1.0, 1.5), r"weight must be in \[0, 1\], got 1.5"),
        (lambda: distillation_loss(1.0, -0.1), "weight must be"),
        (lambda: distillation_loss(1.0, 0.5)(logits(0), Y), r"shape \(40, 4\), got \(40,\)"),
        (lambda: distillation_targets(Y[:5], logits(0)), r"got \(5,\) and \(40, 3\)"),
        (lambda: distillation_targets(Y, logits(0)[:, :2]), "whole numbers from 0 to 1"),
        (lambda: distillation_targets(Y - 1, logits(0)), "whole numbers from 0 to 2"),
        (lambda: distillation_targets(Y.double(), logits(0)), "whole numbers"),
    ],
)
def test_settings_and_targets_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
