"""A stage is trained in place, what is frozen in it stays, and a fault of ``fit`` is named."""

import math

import pytest
import torch
from torch import nn

from dlopt.frozen import frozen
from dlopt.stages import Stage, run_stages, start

X = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))


def sgd(module, learning_rate=0.1, steps=2):
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], learning_rate)
    for _ in range(steps):
        optimizer.zero_grad()
        module(X).square().mean().backward()
        optimizer.step()


def two():
    """Two stages, of which the second starts from the first."""
    below = start(nn.Linear(4, 4), nn.BatchNorm1d(4))
    yield Stage("below", below, None, 0, 2)
    network = start(frozen(below), nn.Linear(4, 2))
    yield Stage("above", network, None, 1, 2)
    return network


def test_stages_are_trained_in_order_and_reported_after_their_training():
    seen = []
    network = run_stages(
        two(),
        lambda stage: (seen.append(f"fit {stage.name}"), sgd(stage.module)),
        lambda stage: seen.append(f"{stage.name} {stage.index + 1}/{stage.count}"),
    )
    assert seen == ["fit below", "below 1/2", "fit above", "above 2/2"]
    assert len(network) == 2


def test_parts_are_copied_into_training_mode():
    layer = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval()
    network = start(frozen(nn.Linear(2, 2)), layer)
    assert network[1].training and network[1][1].training and not network[0].training
    assert not layer.training and network[1][0].weight.data_ptr() != layer[0].weight.data_ptr()


def no_step(stage):
    pass


def learning_rate_0(stage):
    sgd(stage.module, 0.0)


def a_copy(stage):
    sgd(start(*stage.module))


class OldOptimiser:
    """Its optimiser is that of the first stage."""

    def __init__(self):
        self.optimizer = None

    def __call__(self, stage):
        self.optimizer = self.optimizer or torch.optim.SGD(stage.module.parameters(), 0.1)
        self.optimizer.zero_grad()
        stage.module(X).square().mean().backward()
        self.optimizer.step()


@pytest.mark.parametrize(
    ("fit", "name"),
    [(no_step, "below"), (learning_rate_0, "below"), (a_copy, "below"), (OldOptimiser(), "above")],
)
def test_a_stage_that_was_not_trained_is_named(fit, name):
    with pytest.raises(ValueError, match=f'stage "{name}" in place, got all its parameters unch'):
        run_stages(two(), fit)


def thaws(stage):
    stage.module.requires_grad_(True)
    sgd(stage.module)


def moves_statistics(stage):
    for module in stage.module.modules():
        module.training = True
    sgd(stage.module)


def changes_dtype(stage):
    sgd(stage.module)
    stage.module[0].double()


@pytest.mark.parametrize(
    ("fit", "names"),
    [
        (thaws, r"\['0.0.0.bias', '0.0.0.weight', '0.0.1.bias', '0.0.1.weight'"),
        (moves_statistics, r"\['0.0.1.num_batches_tracked', '0.0.1.running_mean', '0.0.1.runn"),
        (changes_dtype, r"\['0.0.0.bias', '0.0.0.weight'"),
    ],
)
def test_a_frozen_part_that_moved_is_named(fit, names):
    def only_above(stage):
        (fit if stage.name == "above" else lambda s: sgd(s.module))(stage)

    def stages():
        below = start(nn.Linear(4, 4), nn.BatchNorm1d(4))
        yield Stage("above", start(frozen(start(below)), nn.Linear(4, 2)))
        return below

    with pytest.raises(ValueError, match=f'frozen in stage "above" as it is, got .* of {names}'):
        run_stages(stages(), only_above)


def test_a_frozen_part_that_diverged_before_has_not_moved():
    def stages():
        below = nn.Linear(4, 4)
        with torch.no_grad():
            below.weight.fill_(math.nan)
        network = start(frozen(below), nn.Linear(4, 2))
        yield Stage("above", network)
        return network

    run_stages(stages(), lambda stage: sgd(stage.module))


def test_targets_are_the_labels_or_what_the_target_gives():
    labels = torch.arange(20)
    module = start(nn.Linear(4, 3), nn.BatchNorm1d(3))
    assert Stage("task", module).targets(X, labels) is labels
    target = frozen(nn.Linear(4, 3))
    hints = Stage("hint", module, target).targets(X, labels)
    torch.testing.assert_close(hints, target(X), rtol=0, atol=0)
    assert not hints.requires_grad
    assert module.training and int(module[1].num_batches_tracked) == 0


@pytest.mark.parametrize(
    "regressor",
    [nn.Linear(4, 2), nn.Linear(4, 1), nn.Sequential(nn.Linear(4, 3), nn.Unflatten(1, (3, 1)))],
)
def test_a_regressor_of_another_shape_is_named(regressor):
    stage = Stage("hint", start(regressor), frozen(nn.Linear(4, 3)))
    shape = tuple(regressor(X).shape)
    message = rf"what the teacher's layer does, \(20, 3\), got {shape}".replace("got (", r"got \(")
    with pytest.raises(ValueError, match=message.rstrip(")")):
        stage.targets(X, X)
