"""What is frozen stays as it is, to the bit, statistics too, whatever the optimiser remembers."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from dlopt import BatchNorm, ExponentialAverage
from dlopt.frozen import Frozen, frozen, thawed
from dlopt.lesson.networks import Skip
from dlopt.training.many import train_replicas
from dlopt.training.plan import Plan
from dlopt.training.replicas import Replicas
from dlopt.training.rules import SGD, Adam
from dlopt.training.task import Task

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(64) % 3
NORMS = {"torch": nn.BatchNorm1d, "dlopt": BatchNorm}
each_norm = pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)


def body(norm=BatchNorm, seed=0, dropout=0.0):
    """Layers of each kind, with statistics that have seen data."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        skip = Skip(nn.Linear(6, 6), norm(6), nn.Tanh())
        layers = nn.Sequential(nn.Linear(4, 6), norm(6), nn.Tanh(), skip, nn.Dropout(dropout))
        layers(X)
        return layers


def head(seed=1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(6, 3)


def values(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def train(network, optimizer, steps=5):
    """The plain loop of an engineer, who calls train() each time."""
    for step in range(steps):
        network.train()
        optimizer.zero_grad(set_to_none=False)
        cross_entropy(network(X[step % 4 :: 4]), Y[step % 4 :: 4]).backward()
        optimizer.step()


OPTIMIZERS = {
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.9),
}
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)


@each_norm
@each_optimizer
def test_nothing_frozen_moves_with_an_optimiser_of_all_parameters(norm, optimizer):
    network = nn.Sequential(frozen(body(norm)), head())
    before, learned = values(network[0]), values(network[1])
    train(network, optimizer(network.parameters()))
    assert equal(values(network[0]), before) and not equal(values(network[1]), learned)
    assert all(not m.training for m in network[0].modules()) and network.training


@each_optimizer
def test_an_optimiser_from_before_leaves_what_is_frozen_alone(optimizer):
    """Momentum and weight decay would go on moving a parameter whose last gradient is kept."""
    network = nn.Sequential(*body(), head())
    old = optimizer(network.parameters())
    train(network, old)
    careless = copy.deepcopy(network)
    still = optimizer(careless.parameters())
    still.load_state_dict(old.state_dict())
    train(careless, still, 1)
    network = nn.Sequential(Frozen(*network[:-1]), network[-1])
    before = values(network[0])
    train(network, old)
    assert equal(values(network[0]), before)

    careless[:-1].requires_grad_(False)  # the trap
    before = values(careless[:-1])
    train(careless, still)
    after = values(careless[:-1])
    assert not torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["1.running_mean"], after["1.running_mean"])


@each_norm
def test_the_trap_of_statistics_that_still_move(norm):
    """Without gradients, and even after eval(): train() of the network thaws the averages."""
    network = nn.Sequential(body(norm).requires_grad_(False).eval(), head())
    before = values(network[0])
    train(network, torch.optim.SGD(network[1].parameters(), 0.1))
    moved = [k for k, v in values(network[0]).items() if not torch.equal(v, before[k])]
    assert moved and all("running" in name or "tracked" in name for name in moved)


def test_dropout_is_off_and_the_output_that_of_evaluation():
    layers = body(dropout=0.5)
    part = nn.Sequential(frozen(layers)).train()
    torch.testing.assert_close(part(X), layers.eval()(X), rtol=0, atol=0)


def test_gradients_pass_through_what_is_frozen():
    x = X.clone().requires_grad_()
    below = nn.Linear(4, 4)
    frozen(body())(below(x)).sum().backward()
    assert below.weight.grad.abs().sum() > 0 and x.grad.abs().sum() > 0


def test_a_frozen_copy_leaves_the_module_alone_and_shares_no_memory():
    layers = body()
    before = values(layers)
    part = frozen(layers)
    assert (
        equal(values(part), before)
        and layers.training
        and all(p.requires_grad for p in layers.parameters())
    )
    pointers = {t.data_ptr() for t in layers.state_dict().values()}
    assert not pointers & {t.data_ptr() for t in part.state_dict().values()}
    with torch.no_grad():
        for p in part.parameters():
            p.zero_()
    assert equal(values(layers), before)
    assert isinstance(frozen(body())[3], Skip) and isinstance(frozen(Skip(nn.Tanh()))[0], Skip)


def test_thawing_restores_what_had_learned_and_no_more():
    layers = body()
    layers[0].bias.requires_grad_(False)  # constant on purpose
    network = nn.Sequential(frozen(layers), head())
    free = thawed(network)
    assert [type(part) for part in free] == [*map(type, layers), nn.Linear]
    learned = {name for name, p in free.named_parameters() if p.requires_grad}
    assert learned == {name for name, _ in free.named_parameters()} - {"0.bias"}
    assert all(m.training for m in free.modules())
    assert isinstance(network[0], Frozen)
    assert not any(p.requires_grad for p in network[0].parameters())
    assert equal(values(free[:-1]), values(layers))
    assert type(thawed(network[0])) is nn.Sequential
    twice = thawed(
        nn.Sequential(Frozen(frozen(layers)), head())
    )  # one freezing is undone at a time
    assert type(twice[0]) is Frozen and type(thawed(twice)[0]) is nn.Linear


def test_a_thawed_network_learns_again():
    network = thawed(nn.Sequential(frozen(body()), head()))
    before = values(network)
    train(network, torch.optim.SGD(network.parameters(), 0.1))
    kept = {k for k, v in values(network).items() if torch.equal(v, before[k])}
    assert kept <= {"0.bias", "3.0.bias"}  # which batch norm takes out again


@each_norm
@pytest.mark.parametrize("rule", [SGD(momentum=0.9), Adam()], ids=["momentum", "adam"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_frozen_parts_of_replicas_stay_bit_identical(norm, rule, dtype):
    modules = [nn.Sequential(frozen(body(norm, seed)), head(seed)).to(dtype) for seed in range(3)]
    replicas = Replicas(modules)
    assert replicas.theta.shape == (3, 6 * 3 + 3)
    task = Task((X.to(dtype), Y), weight_decay=0.1)
    plan = Plan(epochs=3, batch_size=16)
    train_replicas(replicas, rule, task, plan, seeds=range(3), learning_rates=[0.1] * 3)
    for i, module in enumerate(modules):
        alone = replicas.network(i)
        assert equal(values(alone[0]), values(module[0]))
        assert not equal(values(alone[1]), values(module[1]))
        assert isinstance(alone[0], Frozen) and not alone[0][1].training


def test_it_is_saved_loaded_copied_averaged_and_compiled():
    network = nn.Sequential(frozen(body()), head())
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert equal(values(other), values(network)) and not other.train()[0].training
        assert all(p.requires_grad for p in thawed(other).parameters())
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    fresh = nn.Sequential(frozen(body(seed=5)), head(5))
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert equal(values(fresh), values(network))
    compiled = torch.compile(network, backend="eager")
    average = ExponentialAverage(compiled, 0.5)
    before = values(network[0])
    train(compiled, torch.optim.SGD(network.parameters(), 0.1), 2)
    average.update()
    with average.applied():
        assert equal(values(network[0]), before)
    assert equal(values(network[0]), before)
