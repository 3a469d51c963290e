"""Greedy pretraining is the loop written by hand; deepening and transfer copy what they name."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlopt import BatchNorm
from dlopt.frozen import Frozen, thawed
from dlopt.lesson.networks import Skip, mlp
from dlopt.pretraining import WithInput, deepen, greedy_pretrain, greedy_stages, transfer
from dlopt.training.loop import train
from dlopt.training.many import train_replicas
from dlopt.training.plan import Plan
from dlopt.training.replicas import Replicas
from dlopt.training.rules import SGD, Adam
from dlopt.training.task import Task

X = torch.randn(48, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.arange(48) % 3
WAYS = ("end", "each", "none")


def seeded(make, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().double()


def blocks(n=3, seed=0, norm=BatchNorm, inputs=0):
    """Hidden blocks with batch norm and a skip; from the second on with further inputs."""

    def block(k):
        wide = 6 + inputs * (k > 0)
        more = [Skip(nn.Linear(6, 6), nn.Tanh())] if k == 1 else []
        return nn.Sequential(nn.Linear(wide, 6), norm(6), nn.Tanh(), *more)

    return [seeded(lambda k=k: block(k), 10 * seed + k) for k in range(n)]


def head(k, seed=0):
    """Auxiliary networks of depth 1, 2 and 3."""

    def layers():
        hidden = [layer for _ in range(k - 1) for layer in (nn.Linear(6, 6), nn.Tanh())]
        return nn.Sequential(*hidden, nn.Linear(6, 3))

    return seeded(layers, 100 + 10 * seed + k)


def values(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def steps(module, parameters=None, n=4, x=X):
    optimizer = torch.optim.SGD(parameters or module.parameters(), 0.1, momentum=0.9)
    for _ in range(n):
        optimizer.zero_grad()
        F.cross_entropy(module(x), Y).backward()
        optimizer.step()


def fit(stage):
    steps(stage.module, [p for p in stage.module.parameters() if p.requires_grad])


# Greedy pretraining


@pytest.mark.parametrize("norm", [BatchNorm, nn.BatchNorm1d])
@pytest.mark.parametrize("way", WAYS)
def test_it_equals_the_loop_written_by_hand(way, norm):
    layers, top = blocks(norm=norm), None
    for k, block in enumerate(layers, 1):
        below, top = nn.Sequential(*layers[: k - 1]).eval(), head(k)
        with torch.no_grad():
            h = below(X)
        steps(nn.Sequential(block, top), x=h)
        below.train()
        if k > 1 and (way == "each" or (way == "end" and k == 3)):
            steps(nn.Sequential(below, block, top))
    found = greedy_pretrain(blocks(norm=norm), head, fit, fine_tune=way)
    assert [type(part) for part in found] == [nn.Sequential] * 4
    torch.testing.assert_close(
        values(found), values(nn.Sequential(*layers, top)), rtol=1e-9, atol=1e-12
    )
    assert all(p.requires_grad for p in found.parameters())
    assert all(m.training for m in found.modules())


@pytest.mark.parametrize(
    ("way", "names"),
    [
        ("end", ["layer 1", "layer 2", "layer 3", "fine-tuning 3"]),
        ("each", ["layer 1", "layer 2", "fine-tuning 2", "layer 3", "fine-tuning 3"]),
        ("none", ["layer 1", "layer 2", "layer 3"]),
    ],
)
def test_stages_come_in_order_each_after_its_training(way, names):
    seen = []

    def watched(stage):
        fit(stage)
        seen.append("trained")

    greedy_pretrain(blocks(), head, watched, fine_tune=way, callback=seen.append)
    stages = seen[1::2]
    assert seen[::2] == ["trained"] * len(names) and [s.name for s in stages] == names
    assert [s.index for s in stages] == [*range(len(names))]
    assert {s.count for s in stages} == {len(names)} and {s.target for s in stages} == {None}


@pytest.mark.parametrize("way", WAYS)
def test_one_block_is_trained_jointly_at_once(way):
    assert [s.name for s in greedy_stages(blocks(1), head, fine_tune=way)] == ["layer 1"]
    assert len(greedy_pretrain(blocks(1), head, fit, fine_tune=way)) == 2


def test_what_is_below_stays_bit_identical_and_is_what_the_last_stage_left():
    before = None
    for stage in greedy_stages(blocks(), head, fine_tune="each"):
        first = stage.module[0]
        if stage.name.startswith("layer") and stage.index:
            assert isinstance(first, Frozen) and not any(m.training for m in first.modules())
            assert equal(values(first), before)
            learned = [p for p in stage.module.parameters() if p.requires_grad]
            assert len(learned) == len([*stage.module[1:].parameters()])
            fit(stage)
            assert equal(values(first), before)
        else:
            assert all(p.requires_grad for p in stage.module.parameters())
            fit(stage)
        before = values(thawed(stage.module)[:-1])


def test_a_stage_is_left_alone_in_later_ones():
    stages, then = [], []

    def watched(stage):
        fit(stage)
        stages.append(stage)
        then.append(values(stage.module))

    found = greedy_pretrain(blocks(), head, watched, fine_tune="each")
    assert all(equal(values(s.module), old) for s, old in zip(stages, then, strict=True))
    modules = [found, *(s.module for s in stages)]
    pointers = [{t.data_ptr() for t in m.state_dict().values()} for m in modules]
    assert len(set().union(*pointers)) == sum(map(len, pointers))


def test_what_is_given_stays_as_it_is_whether_fit_raises_or_not():
    given, top = blocks(), head(1)
    given[1].eval()
    before = [values(m) for m in (*given, top)]

    def failing(stage):
        fit(stage)
        if stage.index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        greedy_pretrain(given, lambda k: top, failing)
    greedy_pretrain(given, lambda k: top, fit)
    assert all(equal(values(m), old) for m, old in zip((*given, top), before, strict=True))
    assert [m.training for m in given] == [True, False, True]
    assert all(p.requires_grad and p.grad is None for m in (*given, top) for p in m.parameters())


def test_a_parameter_that_never_learned_does_not_begin_to():
    given = blocks()
    given[0][0].requires_grad_(False)  # random features, on purpose
    found = greedy_pretrain(given, head, fit)
    assert torch.equal(found[0][0].weight, given[0][0].weight)
    assert not found[0][0].weight.requires_grad and found[1][0].weight.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_raw_input_comes_behind_what_the_block_below_gives(dtype):
    given, x = [b.to(dtype) for b in blocks(inputs=6)], X.to(dtype)
    stages = list(greedy_stages(given, lambda k: head(k).to(dtype), raw_input=True))
    network = stages[-1].module.eval()
    h = given[0].eval()(x)
    for block in given[1:]:
        h = block.eval()(torch.cat([h, x], 1))
    torch.testing.assert_close(network(x), head(3).to(dtype)(h), rtol=0, atol=0)
    assert isinstance(stages[2].module[0], Frozen)
    found = greedy_pretrain(
        given, lambda k: head(k).to(dtype), lambda s: steps(s.module, x=x), raw_input=True
    )
    assert found[0][0][0][0].weight.dtype == dtype


def test_maps_of_one_size_are_joined_by_channels_and_others_flattened():
    x = torch.randn(2, 3, 8, 8)
    same = WithInput(nn.Conv2d(3, 5, 3, padding=1))
    assert same(x).shape == (2, 8, 8, 8)
    torch.testing.assert_close(same(x)[:, 5:], x, rtol=0, atol=0)
    torch.testing.assert_close(same(x)[:, :5], same[0](x), rtol=0, atol=0)
    smaller = WithInput(nn.Conv2d(3, 5, 3))
    assert smaller(x).shape == (2, 5 * 36 + 3 * 64)
    assert WithInput(nn.Flatten())(x).shape == (2, 2 * 192)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: greedy_stages([], head), "blocks must hold at least one, got none"),
        (lambda: greedy_stages(blocks(), head, fine_tune="never"), "fine_tune .* got 'never'"),
        (lambda: greedy_stages([nn.Tanh(), "relu"], head), "block 2 must be a module, got 'relu'"),
        (lambda: greedy_stages(blocks(), lambda k: None), "head 1 must be a module, got None"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_trained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Many networks, stage by stage, as one


def lockstep(seeds, way, rule, epochs=3, **options):
    """Replicas of each stage, whose values are written back."""
    runs = [
        greedy_stages(blocks(seed=s, **options), lambda k, s=s: head(k, s), fine_tune=way)
        for s in seeds
    ]
    for run in zip(*runs, strict=True):
        replicas = Replicas([stage.module for stage in run])
        plan, rates = Plan(epochs=epochs, batch_size=16), [0.05] * len(run)
        task = Task((X, Y), weight_decay=0.01)
        train_replicas(replicas, rule, task, plan, seeds=seeds, learning_rates=rates)
        for i, stage in enumerate(run):
            before = values(stage.module)
            stage.module.load_state_dict(replicas.network(i).state_dict())
            if isinstance(stage.module[0], Frozen):
                assert equal(values(stage.module[0]), {k[2:]: v for k, v in before.items()
                                                       if k.startswith("0.")})  # fmt: skip
    return [stage.module for stage in run]


@pytest.mark.parametrize("norm", [BatchNorm, nn.BatchNorm1d])
@pytest.mark.parametrize("rule", [SGD(0.9), Adam()], ids=["momentum", "adam"])
def test_in_lockstep_each_network_is_what_it_would_be_alone(rule, norm):
    together = lockstep(range(3), "each", rule, norm=norm)
    for seed, network in enumerate(together):
        alone = lockstep([seed], "each", rule, norm=norm)[0]
        torch.testing.assert_close(values(network), values(alone), rtol=1e-8, atol=1e-10)


def test_in_lockstep_it_is_the_plain_loop():
    def plain(stage):
        parameters = [p for p in stage.module.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(parameters, 0.05, momentum=0.9)
        plan = Plan(epochs=3, batch_size=16)
        train(stage.module, optimizer, Task((X, Y), weight_decay=0.01), plan, seed=0)

    ours = greedy_pretrain(blocks(), head, plain)
    together = lockstep(range(2), "end", SGD(0.9))[0]
    torch.testing.assert_close(values(ours), values(together), rtol=1e-8, atol=1e-10)


def test_one_budget_and_one_schedule_for_all_stages():
    """The trap: a schedule that restarts with each stage, and steps for each stage."""
    total, seen, naive = 40, [], []

    def budgeted(stage):
        n = total // stage.count
        optimizer = torch.optim.SGD([p for p in stage.module.parameters() if p.requires_grad], 0.1)
        for t in range(n):
            optimizer.param_groups[0]["lr"] = 0.1 * (1 - (stage.index + t / n) / stage.count)
            seen.append(optimizer.param_groups[0]["lr"])
            naive.append(0.1 * (1 - t / n))
            optimizer.zero_grad()
            F.cross_entropy(stage.module(X), Y).backward()
            optimizer.step()

    greedy_pretrain(blocks(), head, budgeted)
    joint = [0.1 * (1 - t / total) for t in range(total)]
    torch.testing.assert_close(seen, joint)
    assert sum(naive) > sum(joint) and naive.count(0.1) == 4


# Deepening


def network(depth, seed=0, width=6, norm=BatchNorm):
    net = mlp([6, *[width] * (depth - 1), 3], torch.Generator().manual_seed(seed), norm=norm)
    net(X.float())  # statistics that have seen data
    return net


def layer_values(net):
    """The values of each weight layer with its norm, by hand."""
    layers = []
    for part in net:
        if isinstance(part, nn.Linear):
            layers.append([])
        layers[-1] += [v.clone() for v in part.state_dict().values()]
    return layers


def same(a, b):
    return len(a) == len(b) and all(map(torch.equal, a, b))


@pytest.mark.parametrize("norm", [BatchNorm, nn.BatchNorm1d, None])
@pytest.mark.parametrize(("first", "last"), [(4, 3), (1, 0), (0, 2), (5, 6), (2, 1)])
@pytest.mark.parametrize("depth", [11, 19])
def test_first_and_last_layers_are_copied_and_all_else_is_the_deeper_ones(depth, first, last, norm):
    trained, deeper = network(11, 1, norm=norm), network(depth, 2, norm=norm)
    old, fresh = layer_values(trained), layer_values(deeper)
    new = deepen(trained, deeper, first=first, last=last)
    for i, found in enumerate(layer_values(new)):
        if i < first:
            assert same(found, old[i])
        elif i >= depth - last:
            assert same(found, old[i - depth])
        else:
            assert same(found, fresh[i]) and not same(found, old[min(i, 10)])
    assert all(map(same, layer_values(trained), old))
    assert all(map(same, layer_values(deeper), fresh))
    memory = [{t.data_ptr() for t in m.state_dict().values()} for m in (new, trained, deeper)]
    assert len(set().union(*memory)) == sum(map(len, memory))


def test_the_textbooks_numbers_are_the_default():
    trained, deeper = network(11, 1), network(16, 2)
    assert equal(values(deepen(trained, deeper)), values(deepen(trained, deeper, first=4, last=3)))


def test_convolutions_are_deepened_in_blocks():
    def convolutions(depth):
        block = [
            [nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU()] for _ in range(depth)
        ]
        return nn.Sequential(
            *(nn.Sequential(*b) for b in block), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)
        )

    trained, deeper = convolutions(3), convolutions(5)
    trained(torch.randn(4, 2, 4, 4))
    new = deepen(trained, deeper, first=2, last=1)
    assert equal(values(new[:2]), values(trained[:2]))
    assert equal(values(new[2:5]), values(deeper[2:5]))
    assert equal(values(new[-1]), values(trained[-1]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: deepen(network(5), network(9)), r"first \+ last .* the 5 .* of trained, got 7"),
        (lambda: deepen(network(9), network(5)), r"first \+ last .* the 5 .* of deeper, got 7"),
        (lambda: deepen(network(9), network(9), first=-1), "first must be from 0 .* got -1"),
        (lambda: deepen(network(9), network(9), last=-1), "last must be from 0 .* got -1"),
        (lambda: deepen(network(9), network(9), first=0, last=0), "from 1 .* got 0"),
        (
            lambda: deepen(network(9, width=5), network(11), first=1, last=1),
            r"weight layer 1 of trained must fit weight layer 1 of deeper, got weight \(5, 6\)",
        ),
        (
            lambda: deepen(network(9, width=5), network(11), first=0, last=1),
            "weight layer 9 of trained must fit weight layer 11 of deeper",
        ),
        (
            lambda: deepen(network(9, norm=None), network(11)), r"must fit .* gamma \(6,\) float32",
        ),
    ],
)  # fmt: skip
def test_layers_that_cannot_be_copied_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Transfer


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize("k", range(6))
def test_the_first_layers_are_transferred_and_no_other(k, freeze):
    trained, fresh = network(5, 1), network(5, 2)
    old, own = layer_values(trained), layer_values(fresh)
    new = transfer(trained, fresh, k, freeze=freeze)
    found = layer_values(thawed(new))
    assert all(same(found[i], old[i] if i < k else own[i]) for i in range(5))
    if not freeze or not k:
        assert str(new) == str(fresh) and all(p.requires_grad for p in new.parameters())
        return
    part, rest = new[0], new[1:]
    assert isinstance(part, Frozen) and len(part) == min(3 * k, 13)
    assert all(p.requires_grad for p in rest.parameters())
    before = values(part)
    if k < 5:
        steps(new.train(), x=X.float())
        assert equal(values(part), before)
        assert not same(layer_values(thawed(new))[k], own[k])
    assert all(map(same, layer_values(trained), old)) and all(map(same, layer_values(fresh), own))


def test_a_transfer_to_another_task_has_another_last_layer():
    trained = network(4, 1)
    fresh = nn.Sequential(*network(4, 2)[:-1], nn.Linear(6, 7))
    new = transfer(trained, fresh, 3, freeze=True)
    assert new(X.float()).shape == (48, 7)
    with pytest.raises(
        ValueError, match="weight layer 4 of trained must fit weight layer 4 of fre"
    ):
        transfer(trained, fresh, 4)


@pytest.mark.parametrize("k", [-1, 5, 1.5])
def test_a_number_of_layers_out_of_range_is_named(k):
    with pytest.raises(ValueError, match=f"layers must be from 0 to the 4 .* of trained, got {k}"):
        transfer(network(4), network(5), k)
    if k == 5:
        with pytest.raises(ValueError, match=r"layers must be from 0 to the 4 .* of fresh, got 5"):
            transfer(network(5), network(4), k)


def test_what_is_frozen_may_not_end_inside_a_block():
    def net():
        return nn.Sequential(Skip(nn.Linear(6, 6), nn.Linear(6, 6)), nn.Linear(6, 3))

    assert isinstance(transfer(net(), net(), 1), nn.Sequential)
    with pytest.raises(ValueError, match="after 1 of the 2 weight layers of Skip"):
        transfer(net(), net(), 1, freeze=True)


def test_transferred_layers_are_trained_with_replicas_frozen_or_not():
    trained = [network(4, s) for s in range(3)]
    for freeze in (False, True):
        modules = [transfer(t, network(4, 9), 2, freeze=freeze) for t in trained]
        replicas = Replicas(modules)
        plan = Plan(epochs=2, batch_size=16)
        task = Task((X.float(), Y), weight_decay=0.1)
        train_replicas(replicas, Adam(), task, plan, seeds=range(3), learning_rates=[0.1] * 3)
        for i, module in enumerate(modules):
            before, after = (layer_values(thawed(m)) for m in (module, replicas.network(i)))
            assert [same(*pair) for pair in zip(before, after, strict=True)] == (
                [freeze, freeze, False, False]
            )


# What comes out is an ordinary network


@pytest.mark.parametrize(
    "make",
    [
        lambda: greedy_pretrain(blocks(inputs=6), head, fit, raw_input=True),
        lambda: deepen(network(8), network(9, 1)).double(),
        lambda: transfer(network(4), network(4, 1), 2, freeze=True).double(),
    ],
    ids=["greedy", "deepened", "transferred"],
)
def test_it_is_saved_loaded_pickled_copied_and_compiled(make):
    net = make()
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other = copy.deepcopy(net)
    with torch.no_grad():
        for t in (*other.parameters(), *other.buffers()):
            t.zero_()
    other.load_state_dict(torch.load(file, weights_only=True))
    for again in (other, pickle.loads(pickle.dumps(net)), torch.compile(net, backend="eager")):
        torch.testing.assert_close(again.eval()(X), net.eval()(X), rtol=0, atol=0)
    before = values(net)
    steps(other.train())
    assert equal(values(net), before)
