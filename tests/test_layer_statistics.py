"""What is measured by layer is what is computed by hand, and the network doesn't notice."""

import math

import pytest
import torch
from torch import nn

from dlopt.activations import Jagged, Maxout
from dlopt.auxiliary_heads import AuxiliaryHeads, auxiliary_loss
from dlopt.batch_norm import BatchNorm
from dlopt.layer_statistics import layer_statistics
from dlopt.lesson.networks import mlp
from dlopt.recurrent import LastOutput
from dlopt.skips import Skip


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def rms(t):
    return float(t.detach().square().mean().sqrt())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_number_by_hand(dtype):
    net = mlp([6, 9, 3], seeded(0), activation=nn.ReLU, dtype=dtype)
    x = torch.randn(20, 6, generator=seeded(1), dtype=dtype)
    linear, relu, last = layer_statistics(net, x, lambda out: out.square().sum())
    z = net[0](x)
    h = net[1](z)
    out = net[2](h)
    for t in (z, h, out):
        t.retain_grad()
    out.square().sum().backward()
    for s, t in ((linear, z), (relu, h), (last, out)):
        assert s.mean == pytest.approx(float(t.detach().mean()), rel=1e-5, abs=1e-6)
        assert s.std == pytest.approx(float(t.detach().std(correction=0)), rel=1e-5)
        assert s.gradient == pytest.approx(rms(t.grad), rel=1e-5)
    own = torch.cat([p.grad.reshape(-1) for p in net[0].parameters()])
    assert linear.parameter_gradient == pytest.approx(rms(own), rel=1e-5)
    off = z <= 0
    assert relu.flat == pytest.approx(float(off.double().mean()))
    assert relu.dead == pytest.approx(float(off.all(0).double().mean()))
    both = off.any(0) & (~off).any(0)
    assert relu.switching == pytest.approx(float(both.double().mean()))
    assert [s.name for s in (linear, relu, last)] == ["0", "1", "2"]
    assert [s.kind for s in (linear, relu, last)] == ["Linear", "ReLU", "Linear"]
    assert math.isnan(relu.parameter_gradient) and math.isnan(linear.flat)


@pytest.mark.parametrize(
    ("activation", "z", "flat"),
    [
        (nn.ReLU(), [-2.0, -1.0, 1.0, 2.0], 0.5),
        (nn.Sigmoid(), [-9.0, -1.0, 1.0, 5.0], 0.5),
        (nn.Tanh(), [-9.0, -1.0, 1.0, 2.0], 0.25),
        (Maxout(2), [-9.0, -1.0, 1.0, 9.0], 0.0),
        (Jagged(0.5), [-9.0, -1.0, 1.0, 9.0], 0.0),
    ],
    ids=str,
)
def test_flat_entries(activation, z, flat):
    (found,) = layer_statistics(activation, torch.tensor([z]))
    assert found.flat == flat and found.name == ""


def test_dead_units_are_flat_for_all_inputs():
    (found,) = layer_statistics(nn.ReLU(), torch.tensor([[-1.0, -1.0, 1.0], [-2.0, 2.0, 3.0]]))
    third = pytest.approx(1 / 3)
    assert (found.dead, found.switching, found.flat) == (third, third, pytest.approx(0.5))


def test_the_order_is_that_of_the_calls():
    block = Skip(nn.Linear(4, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 4)))
    net = nn.Sequential(nn.Linear(3, 4), block)
    found = layer_statistics(net, torch.ones(2, 3))
    assert [s.name for s in found] == ["0", "1.0", "1.1.0", "1.1.1", "1"]
    assert math.isnan(found[0].gradient)


def test_a_skip_owns_its_scale_and_not_its_layers():
    for scale, owns in ((1.0, False), ("learned", True)):
        net = nn.Sequential(Skip(nn.Linear(4, 4), scale=scale))
        linear, skip = layer_statistics(net, torch.ones(2, 4), torch.sum)
        assert math.isnan(skip.parameter_gradient) != owns
        assert not math.isnan(linear.parameter_gradient)


def test_a_network_of_several_outputs():
    blocks = [nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3)]
    net = AuxiliaryHeads(blocks, {1: nn.Linear(4, 2)}, nn.Linear(4, 2))
    y = torch.tensor([0, 1, 0])
    found = layer_statistics(net, torch.ones(3, 4), lambda out: auxiliary_loss(0.3)(out, y))
    names = [s.name for s in found]
    assert names == ["blocks.0.0", "blocks.0.1", "heads.1", "blocks.1.0", "blocks.1.1",
                     "blocks.2.0", "blocks.2.1", "output"]  # fmt: skip
    assert all(s.gradient > 0 for s in found)
    last = layer_statistics(net, torch.ones(3, 4), lambda out: out[-1].sum())
    assert math.isnan(last[names.index("heads.1")].gradient)  # the loss doesn't ask it


def test_a_cell_is_called_at_every_step():
    net = LastOutput(nn.LSTMCell(2, 3), nn.Linear(3, 1))
    found = layer_statistics(net, torch.randn(4, 6, 2, generator=seeded(0)), torch.sum)
    assert [s.name for s in found] == ["cell"] * 6 + ["head"]
    assert 0 < found[0].gradient < found[5].gradient


def test_the_network_is_left_as_it_was():
    net = nn.Sequential(
        nn.Linear(3, 4), BatchNorm(4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)
    )
    x = torch.randn(9, 3, generator=seeded(0))
    net(x).sum().backward()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    gradients = [p.grad.clone() for p in net.parameters()]
    with torch.no_grad():
        layer_statistics(net, x, torch.sum)
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), gradients, strict=True))
    assert not any(m._forward_hooks for m in net.modules()) and net.training and not x.requires_grad


def test_hooks_are_removed_when_something_raises():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    for loss in (lambda out: 1 / 0, lambda out: out):
        with pytest.raises((ZeroDivisionError, ValueError)):
            layer_statistics(net, torch.ones(2, 3), loss)
        assert not any(m._forward_hooks for m in net.modules())


def test_frozen_parameters_have_no_gradient():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh()).requires_grad_(False)
    linear, tanh = layer_statistics(net, torch.ones(2, 3), torch.sum)
    assert math.isnan(linear.parameter_gradient) and tanh.gradient == 1


@pytest.mark.parametrize(
    ("network", "loss", "message"),
    [
        (nn.Sequential(nn.ReLU(inplace=True)), None, "inplace=True in 0"),
        (nn.Linear(3, 2), lambda out: out, r"one number, got shape \(5, 2\)"),
    ],
)
def test_wrong_arguments_are_named(network, loss, message):
    with pytest.raises(ValueError, match=message):
        layer_statistics(network, torch.ones(5, 3), loss)
