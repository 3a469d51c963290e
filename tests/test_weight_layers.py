"""Layers are counted, cut and copied as they are named, and nothing else is touched."""

import copy

import pytest
import torch
from torch import nn

from dlopt import BatchNorm
from dlopt.frozen import Frozen, frozen
from dlopt.lesson.networks import Skip
from dlopt.weight_layers import WEIGHT_LAYERS, copy_layers, require_layers, split, weight_layers


class Gated(nn.Module):
    """A block with a parameter of its own, which PyTorch names before its layers."""

    def __init__(self, width):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(()))
        self.norm, self.inner = nn.LayerNorm(width), nn.Linear(width, width)
        self.none = None

    def forward(self, x):
        return x + self.gate * self.inner(self.norm(x))


NETWORKS = {
    "plain": lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)),
    "norms": lambda: nn.Sequential(
        nn.LayerNorm(4), nn.Linear(4, 5, bias=False), BatchNorm(5), nn.PReLU(), nn.Linear(5, 2)
    ),
    "blocks": lambda: nn.Sequential(
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU()),
        nn.Sequential(nn.PReLU(), nn.Linear(4, 2)),
    ),
    "skips": lambda: nn.Sequential(nn.Linear(4, 4), Gated(4), Skip(nn.Linear(4, 4), BatchNorm(4))),
    "convolutions": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2)
    ),
    "sequences": lambda: nn.Sequential(
        nn.Embedding(9, 4), nn.Conv1d(4, 3, 1), nn.ConvTranspose1d(3, 2, 1)
    ),
    "normed weights": lambda: nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), nn.Bilinear(2, 2, 2)
    ),
}  # fmt: skip
LAYERS = {
    "plain": [{"0.weight", "0.bias"}, {"2.weight", "2.bias"}],
    "norms": [
        {"0.weight", "0.bias", "1.weight", "2.gamma", "2.beta", "2.running_mean", "2.running_var",
         "3.weight"},
        {"4.weight", "4.bias"},
    ],
    "blocks": [
        {"0.0.weight", "0.0.bias", "0.1.weight", "0.1.bias", "0.1.running_mean", "0.1.running_var",
         "0.1.num_batches_tracked", "1.0.weight"},
        {"1.1.weight", "1.1.bias"},
    ],
    "skips": [
        {"0.weight", "0.bias"},
        {"1.norm.weight", "1.norm.bias", "1.inner.weight", "1.inner.bias", "1.gate"},
        {"2.0.weight", "2.0.bias", "2.1.gamma", "2.1.beta", "2.1.running_mean", "2.1.running_var"},
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_each_tensor_belongs_to_one_layer(name):
    net = NETWORKS[name]()
    layers = weight_layers(net)
    named = [key for layer in layers for key in layer]
    assert sorted(named) == sorted(net.state_dict())
    if name in LAYERS:
        assert [set(layer) for layer in layers] == LAYERS[name]
    own = net.state_dict()
    assert all(t.data_ptr() == own[k].data_ptr() for layer in layers for k, t in layer.items())


def test_a_layer_that_occurs_twice_counts_twice():
    shared = nn.Linear(4, 4)
    assert len(weight_layers(nn.Sequential(shared, nn.Tanh(), shared))) == 2
    assert weight_layers(nn.Tanh()) == [] and weight_layers(BatchNorm(3)) == []


@pytest.mark.parametrize("name", ["plain", "norms", "blocks", "skips", "convolutions"])
def test_the_parts_of_a_cut_are_the_network(name):
    net = NETWORKS[name]().eval()
    x = torch.randn(5, 1, 4, 4) if name == "convolutions" else torch.randn(5, 4)
    n = len(weight_layers(net))
    for k in range(n + 1):
        below, above = split(net, k)
        assert len(weight_layers(nn.Sequential(*below))) == k
        torch.testing.assert_close(nn.Sequential(*below, *above)(x), net(x), rtol=0, atol=0)
        if above and k:  # what follows a layer comes with it
            first = next(m for m in nn.Sequential(*above).modules() if not [*m.children()])
            assert isinstance(first, (*WEIGHT_LAYERS, nn.LayerNorm))
    assert split(net, n) == ([*net], [])


def test_a_cut_goes_through_plain_sequences_alone():
    net = nn.Sequential(nn.Linear(2, 2), Skip(nn.Linear(2, 2), nn.Linear(2, 2)))
    assert [len(part) for part in map(list, split(net, 1))] == [1, 1]
    with pytest.raises(ValueError, match="after 1 of the 2 weight layers of Skip, part 1"):
        split(net, 2)
    with pytest.raises(ValueError, match=r"must be an nn.Sequential, got .*Skip"):
        split(net[1], 1)
    parts = split(frozen(net), 1)
    assert isinstance(parts[0][0], nn.Linear)
    with pytest.raises(ValueError, match="of Frozen, part 0"):
        split(nn.Sequential(Frozen(nn.Linear(2, 2), nn.Linear(2, 2))), 1)


def snapshot(net):
    return {k: v.clone() for k, v in net.state_dict().items()}


@pytest.mark.parametrize("layers", [[0], [1], [-1], [0, -1], [0, 1, 2], []])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exactly_the_named_layers_are_copied(layers, dtype):
    origin, net = (NETWORKS["skips"]().to(dtype) for _ in range(2))
    for module in (origin, net):
        with torch.no_grad():
            for t in (*module.parameters(), *module.buffers()):
                t.copy_(torch.randn(t.shape, dtype=torch.float64).abs())
    before, source = snapshot(net), snapshot(origin)
    copy_layers(origin, net, layers, ("a", "b"))
    copied = {key for i in layers for key in LAYERS["skips"][i]}
    for key, value in snapshot(net).items():
        assert torch.equal(value, source[key] if key in copied else before[key]), key
    assert snapshot(origin).keys() == source.keys()
    assert all(torch.equal(v, source[k]) for k, v in snapshot(origin).items())


def tied():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    return net


@pytest.mark.parametrize(
    ("origin", "net", "message"),
    [
        (
            lambda: nn.Sequential(nn.Linear(4, 3)), lambda: nn.Sequential(nn.Linear(4, 5)),
            r"weight layer 1 of a must fit weight layer 1 of b, got weight \(3, 4\) float32, "
            r"bias \(3,\) float32 and weight \(5, 4\) float32, bias \(5,\) float32",
        ),
        (
            lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
            lambda: nn.Sequential(nn.Linear(4, 4), BatchNorm(4)),
            r"running_mean .* and weight .* gamma \(4,\)",
        ),
        (
            lambda: nn.Sequential(nn.Linear(4, 4)).double(), lambda: nn.Sequential(nn.Linear(4, 4)),
            r"float64, .* float32",
        ),
        (
            lambda: tied(), lambda: tied(),
            "weight layer 1 of b must share no tensor with layers that stay",
        ),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit_are_refused_and_nothing_is_written(origin, net, message):
    net = net()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ValueError, match=message):
        copy_layers(origin(), net, [0], ("a", "b"))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_a_later_layer_that_does_not_fit_leaves_earlier_ones_alone():
    net, origin = (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, n)) for n in (2, 3))
    before = snapshot(net)
    with pytest.raises(ValueError, match="weight layer 2 of a must fit weight layer 2 of b"):
        copy_layers(origin, net, [0, 1], ("a", "b"))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("layers", [-1, 3, 1.5, 0])
def test_a_number_out_of_its_range_is_named(layers):
    with pytest.raises(
        ValueError, match=f"k must be from 1 to the 2 weight layers of it, got {layers}"
    ):
        require_layers("k", layers, 1, NETWORKS["plain"](), "it")
    require_layers("k", 2, 1, NETWORKS["plain"](), "it")
