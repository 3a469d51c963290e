"""Heads have a say in training, and leave nothing behind."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlopt.auxiliary_heads import AuxiliaryHeads, auxiliary_loss
from dlopt.batch_norm import BatchNorm
from dlopt.training.many import train_many
from dlopt.training.plan import Plan
from dlopt.training.replicas import Replicas
from dlopt.training.rules import SGD
from dlopt.training.task import Task


def network(seed=0, after=(2, 1)):
    torch.manual_seed(seed)
    blocks = [nn.Sequential(nn.Linear(4, 4), BatchNorm(4), nn.Tanh()) for _ in range(3)]
    return AuxiliaryHeads(blocks, {k: nn.Linear(4, 2) for k in after}, nn.Linear(4, 2))


X = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 2


def test_outputs_come_from_the_bottom_up():
    net = network()
    for block in net.blocks:
        block[1].eval()
    one = net.blocks[0](X)
    two = net.blocks[1](one)
    expected = [net.heads["1"](one), net.heads["2"](two), net.output(net.blocks[2](two))]
    for found, wanted in zip(net(X), expected, strict=True):
        assert torch.equal(found, wanted)
    last = net.eval()(X)
    assert isinstance(last, torch.Tensor) and torch.equal(last, expected[-1])


def test_in_evaluation_mode_no_head_is_asked():
    net = network()
    asked: list[nn.Module] = []
    for head in net.heads.values():
        head.register_forward_hook(lambda module, *_: asked.append(module))
    net.eval()(X)
    assert not asked
    net.train()(X)
    assert len(asked) == 2


def test_without_heads_training_returns_a_tuple_of_one():
    (only,) = AuxiliaryHeads([nn.Linear(4, 4)], {}, nn.Linear(4, 2))(X)
    assert only.shape == (12, 2)


def test_discarding_the_heads_changes_no_bit():
    net = network()
    rates = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(5):
        rates.zero_grad()
        auxiliary_loss(0.3)(net(X), Y).backward()
        rates.step()
    plain = net.eval().discarded()
    assert torch.equal(plain(X), net(X))
    assert not plain.training and net.train().discarded().training
    kept = sum(p.numel() for p in net.parameters()) - 2 * (4 * 2 + 2)
    assert sum(p.numel() for p in plain.parameters()) == kept
    assert {id(p) for p in plain.parameters()} < {id(p) for p in net.parameters()}


def test_the_loss_is_the_weighted_sum():
    outputs = [torch.randn(6, 3, generator=torch.Generator().manual_seed(k)) for k in range(3)]
    y = torch.arange(6) % 3
    a, b, c = (F.cross_entropy(o, y) for o in outputs)
    torch.testing.assert_close(auxiliary_loss(0.3)(tuple(outputs), y), c + 0.3 * (a + b))
    assert torch.equal(auxiliary_loss(0.3)(outputs[2], y), c)
    assert torch.equal(auxiliary_loss(0.3)((outputs[2],), y), c)


def test_heads_give_lower_layers_a_larger_gradient():
    """A deep sigmoid network; the heads see what the output has all but lost."""
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(16, 16), nn.Sigmoid()) for _ in range(12)]
    heads = {k: nn.Linear(16, 2) for k in (4, 8)}
    net = AuxiliaryHeads(blocks, heads, nn.Linear(16, 2))
    x, y = torch.randn(50, 16), torch.arange(50) % 2
    sizes = []
    for weight in (0.0, 0.3):
        net.zero_grad()
        auxiliary_loss(weight)(net(x), y).backward()
        sizes.append(float(net.blocks[0][0].weight.grad.norm()))
    assert sizes[1] > 30 * sizes[0] > 0


def test_replicas_return_all_outputs():
    nets = [network(seed) for seed in range(3)]
    alone = [copy.deepcopy(net)(X) for net in nets]
    replicas = Replicas(nets)
    for training in (True, False):
        found = replicas.each(
            lambda net, theta, x: net(x), replicas.theta, replicas.state,
            X.expand(3, *X.shape), training=training,
        )  # fmt: skip
        if training:
            for k in range(3):
                for one, wanted in zip(found, alone[k], strict=True):
                    torch.testing.assert_close(one[k], wanted)
        else:
            assert isinstance(found, torch.Tensor) and found.shape == (3, 12, 2)


def test_many_networks_with_heads_are_trained_at_once():
    task = Task((X, (X[:, 0] > 0).long()), loss=auxiliary_loss(0.3))
    grid = train_many(
        lambda g: network(int(torch.randint(1000, (), generator=g))), SGD(), task,
        Plan(epochs=30, batch_size=6), seeds=[0, 1], learning_rates=[0.3],
    )  # fmt: skip
    assert float(grid.train_loss[-1].max()) < 0.5 * float(grid.train_loss[0].min())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AuxiliaryHeads([], {}, nn.Tanh()), "at least one, got none"),
        (lambda: network(after=(4,)), r"blocks 1 to 3, got \[4\]"),
        (lambda: network(after=(0, 1)), r"blocks 1 to 3, got \[0\]"),
        (lambda: auxiliary_loss(-0.1), "weight must be .* at least 0, got -0.1"),
        (lambda: auxiliary_loss(math.nan), "weight must be"),
        (lambda: auxiliary_loss(1.0, nn.MSELoss(reduction="sum")), 'reduction="mean"'),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
