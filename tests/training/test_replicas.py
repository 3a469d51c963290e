"""Replicas hold what the networks hold, and compute what they compute alone."""

import pickle

import pytest
import torch
from torch import nn

from dlopt.training.replicas import Replicas
from tests.training.classes import seeded
from tests.training.kinds import KINDS, kind, points


def three(name):
    return [kind(name)(seeded(seed)) for seed in range(3)]


def run(module, theta, x):
    return module(x)


def each(replicas, x, *, training):
    state = {k: v.clone() for k, v in replicas.state.items()}
    return replicas.each(run, replicas.theta, state, x, training=training), state


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_replicas_compute_what_the_networks_compute_alone(name, training):
    modules = three(name)
    replicas = Replicas(modules)
    x = torch.stack([points(7, seed=s)[0] for s in range(3)])
    together, state = each(replicas, x, training=training)
    for r, module in enumerate(modules):
        alone = module.train(training)(x[r])
        picked = tuple(o[r] for o in together) if isinstance(together, tuple) else together[r]
        torch.testing.assert_close(picked, alone, rtol=1e-12, atol=1e-12)
        for key, buffer in module.named_buffers():
            torch.testing.assert_close(state[key][r], buffer, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_a_network_taken_out_is_the_one_put_in_and_shares_no_memory(name):
    modules = three(name)
    replicas = Replicas(modules)
    for r, module in enumerate(modules):
        alone = replicas.network(r)
        assert repr(alone) == repr(module)
        assert [*alone.state_dict()] == [*module.state_dict()]
        for (key, value), theirs in zip(
            alone.state_dict().items(), module.state_dict().values(), strict=True
        ):
            assert torch.equal(value, theirs), key
        for p, q in zip(alone.parameters(), module.parameters(), strict=True):
            assert p.requires_grad == q.requires_grad
            p.data.fill_(9)
        for p in module.parameters():
            p.data.fill_(7)
        for p in replicas.network(r).parameters():
            assert not (p == 9).any() and not (p == 7).any()


def test_tied_weights_stay_tied():
    alone = Replicas(three("tied embedding")).network(1)
    assert alone.last.weight is alone.words.weight


def test_theta_holds_the_trained_parameters_alone():
    modules = three("constant layer")
    replicas = Replicas(modules)
    trained = [nn.utils.parameters_to_vector(m.last.parameters()) for m in modules]
    assert torch.equal(replicas.theta, torch.stack(trained))
    assert sorted(replicas.state) == ["first.bias", "first.weight", "scale"]
    assert len(replicas) == 3


def test_the_layout_of_parameters_in_memory_does_not_matter():
    layers = [nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last) for _ in range(2)]
    x = torch.randn(2, 5, 3, 4, 4)
    together, _ = each(Replicas(layers), x, training=True)
    torch.testing.assert_close(together[1], layers[1](x[1]), rtol=1e-5, atol=1e-5)


class Forgetful(nn.Module):
    """A network that replaces its buffer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 2).double()
        self.register_buffer("seen", torch.zeros(()).double())

    def forward(self, x):
        self.seen = self.seen + 1
        return self.layer(x)


def test_a_buffer_that_is_replaced_is_noticed():
    with pytest.raises(ValueError, match="the buffer seen must be changed in place"):
        each(Replicas([Forgetful()]), points(4)[0].unsqueeze(0), training=True)


def test_replicas_can_be_saved_after_they_were_used():
    replicas = Replicas([nn.Linear(6, 2).double() for _ in range(2)])
    each(replicas, torch.stack([points(4)[0]] * 2), training=True)
    again = pickle.loads(pickle.dumps(replicas))
    assert torch.equal(again.network(1).weight, replicas.network(1).weight)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([], r"one architecture, got \[\]"),
        ([nn.Linear(4, 3), nn.Linear(4, 2)], "one architecture, got .*out_features=2"),
        ([nn.Linear(4, 3), nn.Linear(4, 3).double()], r"one architecture, got .*float64"),
        ([nn.GRU(4, 3)], r"nn\.GRU has no replicas: .* nn\.GRUCell"),
        ([nn.Sequential(nn.LSTM(4, 3))], r"nn\.LSTMCell"),
        ([nn.Tanh()], r"of one dtype, at least one, got \[\]"),
        (
            [nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2).double())],
            r"of one dtype.*float32.*float64",
        ),
    ],
)
def test_what_has_no_replicas_is_rejected(modules, message):
    with pytest.raises(ValueError, match=message):
        Replicas(modules)
