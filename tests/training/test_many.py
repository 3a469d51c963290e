"""Many networks at once: what a seed decides, divergence, data of their own, refusals."""

import math
import time
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlopt.averaging import ExponentialAverage, exponential_averages
from dlopt.lesson.networks import mlp
from dlopt.training.history import tuned
from dlopt.training.loop import train
from dlopt.training.many import train_many, train_replicas
from dlopt.training.minibatches import Minibatches
from dlopt.training.plan import Plan
from dlopt.training.replicas import Replicas
from dlopt.training.rules import SGD, Adam
from dlopt.training.task import Task
from tests.training.classes import build, build_unbounded, classes, seeded
from tests.training.kinds import kind, points

PLAIN = SGD()


def many(build=build, rule=PLAIN, task=None, plan=None, *, seeds=(0,), learning_rates=(0.1,)):
    """Train with what is given, and else with little."""
    task, plan = task or Task(classes()), plan or Plan(epochs=3, batch_size=10)
    return train_many(build, rule, task, plan, seeds=seeds, learning_rates=learning_rates)


def test_many_equal_the_plain_loop():
    task, plan = Task(classes(50), test=classes(20, seed=1)), Plan(4, 16, evaluate_every=2)
    seeds, rates = [3, 4, 5], [0.01, 0.1]
    grid = many(rule=Adam(), task=task, plan=plan, seeds=seeds, learning_rates=rates)
    for (i, seed), (j, rate) in product(enumerate(seeds), enumerate(rates)):
        module = build(seeded(seed))
        history = train(module, torch.optim.Adam(module.parameters(), rate), task, plan, seed=seed)
        for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
            torch.testing.assert_close(getattr(grid, name)[:, i, j], getattr(history, name))
        for name in ("epochs", "steps", "evaluations"):
            assert torch.equal(getattr(grid, name), getattr(history, name))
        torch.testing.assert_close(grid.network(i, j).state_dict(), module.state_dict())
    assert grid.epochs.tolist() == [0, 2, 4]
    assert grid.steps.tolist() == [0, 8, 16]  # 16 + 16 + 16 + 2 examples an epoch
    assert (grid.seconds.diff() > 0).all()


def test_many_regression_and_log_odds():
    x, y = classes()
    line = Task((x, x @ torch.ones(4, 2).double()), F.mse_loss, metric=None)
    grid = many(
        lambda g: mlp([4, 2], g, dtype=torch.float64), task=line, plan=Plan(100),
        learning_rates=[0.3],
    )  # fmt: skip
    assert grid.train_loss[-1] < 1e-6
    assert grid.train_accuracy is None
    odds = Task((x, (y > 0).double().unsqueeze(1)), F.binary_cross_entropy_with_logits)
    grid = many(
        lambda g: mlp([4, 1], g, dtype=torch.float64), task=odds, plan=Plan(100),
        learning_rates=[1.0],
    )  # fmt: skip
    assert grid.train_accuracy[-1] > 0.95


def test_a_diverging_replica_leaves_the_others_alone():
    task, plan = Task(classes(), test=classes()), Plan(epochs=5, batch_size=10)

    def run(second):
        return many(
            build_unbounded, SGD(momentum=0.9), task, plan, seeds=[0, 1],
            learning_rates=[0.05, second],
        )  # fmt: skip

    calm, wild = run(0.05), run(1e200)
    assert wild.diverged.tolist() == [[False, True], [False, True]]
    assert torch.equal(wild.train_loss[:, :, 0], calm.train_loss[:, :, 0])
    assert torch.equal(wild.train_loss[0], calm.train_loss[0])
    for loss, share in (
        (wild.train_loss, wild.train_accuracy),
        (wild.test_loss, wild.test_accuracy),
    ):
        assert loss[1:, :, 1].isinf().all()
        assert (share[1:, :, 1] == 0).all()
        assert not loss.isnan().any()
    for p in wild.network(1, 1).parameters():
        assert p.isfinite().all()
    best = tuned(wild)
    assert best.learning_rate == 0.05
    assert best.scores[1].isinf()


def test_what_diverges_stays_where_it_last_was_finite_buffers_too():
    """The last finite step of the plain loop, which puts the same back."""
    rate, plan = 1e308, Plan(epochs=3, batch_size=8)
    start = kind("batch norm")(seeded(0))
    replicas = Replicas([kind("batch norm")(seeded(1)), start, start])
    task = Task(points())
    history = train_replicas(
        replicas, SGD(), task, plan, seeds=[0] * 3, learning_rates=[0.01, rate, 0.0]
    )
    assert history.diverged.tolist() == [False, True, False]
    torch.testing.assert_close([*replicas.network(2).parameters()], [*start.parameters()])
    alone = kind("batch norm")(seeded(0))
    alone.load_state_dict(start.state_dict())
    assert train(alone, torch.optim.SGD(alone.parameters(), rate), task, plan).diverged
    torch.testing.assert_close(replicas.network(1).state_dict(), alone.state_dict())
    assert replicas.network(0)[1].num_batches_tracked == 18
    assert replicas.network(1)[1].num_batches_tracked < 18


class Root(nn.Module):
    """|x|^½, whose derivative at 0 is infinite while its value is not."""

    def forward(self, x):
        return x.abs().sqrt()


def test_a_gradient_that_is_not_finite_is_caught_before_it_does_harm():
    def flat(generator):
        module = nn.Sequential(nn.Linear(4, 3), Root(), nn.Linear(3, 3)).double()
        for p in module.parameters():
            p.data.uniform_(-1, 1, generator=generator)
        if module[0].weight[0, 0] > 0:
            module[0].weight.data.zero_()
            module[0].bias.data.zero_()
        return module

    signs = [bool(flat(seeded(seed))[0].weight.any()) for seed in range(6)]
    assert 0 < sum(signs) < 6
    grid = many(flat, seeds=range(6), learning_rates=[0.01])
    assert grid.diverged[:, 0].tolist() == [not fine for fine in signs]
    for i in range(6):
        assert all(p.isfinite().all() for p in grid.network(i, 0).parameters())


def test_the_minibatches_depend_on_the_seed_alone():
    """With this loss a bias adds up the targets of a minibatch, each time with another factor."""
    data = torch.zeros(12, 1).double(), torch.arange(12.0).double().unsqueeze(1)
    task = Task(data, lambda outputs, targets: (outputs * targets).sum(), metric=None)
    plan = Plan(epochs=2, batch_size=5, schedule=lambda share: share)
    grid = many(
        lambda g: mlp([1, 1], g, init="glorot", dtype=torch.float64), task=task, plan=plan,
        seeds=[8, 7], learning_rates=[0.1, 0.2],
    )  # fmt: skip
    minibatches = Minibatches(12, 5, [8, 7])
    batches = [*minibatches.epoch(), *minibatches.epoch()]
    sums = torch.stack([data[1][batch].sum(dim=(1, 2)) for batch in batches], dim=1)
    factors = torch.tensor([0, 5, 10, 12, 17, 22]).double() / 24
    for i, rate in product(range(2), [0.1, 0.2]):
        bias = grid.network(i, [0.1, 0.2].index(rate))[0].bias
        assert bias.item() == pytest.approx(-rate * float(sums[i] @ factors))


def test_a_seed_decides_start_and_result():
    def run(seeds):
        return many(rule=Adam(), seeds=seeds).train_loss[:, :, 0]

    first, second = run([1, 2]), run([1, 2])
    assert torch.equal(first, second)
    torch.testing.assert_close(run([2])[:, 0], first[:, 1])
    assert not torch.equal(first[:, 0], first[:, 1])


def test_the_global_random_numbers_are_left_alone():
    before = torch.get_rng_state()
    many()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_schedule_scales_the_learning_rates():
    shares = []

    def schedule(share):
        shares.append(share)
        return 1.0 if share < 0.5 else 0.0

    grid = many(task=Task(classes(40)), plan=Plan(4, 20, schedule=schedule))
    assert shares == [i / 8 for i in range(8)]
    losses = grid.train_loss[:, 0, 0]
    assert losses[2] == losses[3] == losses[4] < losses[1] < losses[0]


def test_many_stop_in_time():
    start = time.perf_counter()
    grid = many(plan=Plan(10**7, evaluate_every=10**7, max_seconds=0.05))
    assert 0.05 <= grid.seconds[-1] < time.perf_counter() - start < 30
    assert grid.train_loss.shape == (2, 1, 1)


def test_replicas_mix_seeds_rates_competitors_and_data():
    starts = [mlp([4, 6, 3], seeded(0), init=init).double() for init in ("torch", "glorot")]
    tasks = [Task(classes(30, seed=s), test=classes(20, seed=s + 9)) for s in (0, 1)]
    plan = Plan(epochs=3, batch_size=10)
    history = train_replicas(
        Replicas(starts), SGD(), tasks, plan, seeds=[5, 5], learning_rates=[0.1, 0.2]
    )
    for r, (module, rate, task) in enumerate(zip(starts, (0.1, 0.2), tasks, strict=True)):
        optimizer = torch.optim.SGD(module.parameters(), lr=rate)
        alone = train(module, optimizer, task, plan, seed=5)
        for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
            torch.testing.assert_close(getattr(history, name)[:, r], getattr(alone, name))


def test_whoever_asks_hears_of_each_step_and_averages_as_one_alone():
    starts = [build(seeded(s)) for s in (0, 1)]
    task, plan = Task(classes(30)), Plan(epochs=2, batch_size=10)
    replicas, heard = Replicas(starts), []
    settings = {"seeds": [3, 4], "learning_rates": [0.1, 0.1]}
    train_replicas(replicas, SGD(), task, plan, **settings,
                   after_step=lambda networks: heard.append(networks.theta.clone()))  # fmt: skip
    assert len(heard) == 6 and torch.equal(heard[-1], replicas.theta)
    for r, (module, seed) in enumerate(zip(starts, (3, 4), strict=True)):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        average = ExponentialAverage(module, 0.5)
        optimizer.register_step_post_hook(lambda *_, average=average: average.update())
        train(module, optimizer, task, plan, seed=seed)
        theta = exponential_averages(torch.stack(heard)[:, r], 0.5)[-1]
        with average.applied():
            alone = nn.utils.parameters_to_vector(module.parameters())
        torch.testing.assert_close(theta, alone)


def test_measuring_a_few_replicas_at_a_time_changes_nothing(monkeypatch):
    def run():
        return many(task=Task(classes(), test=classes(7)), seeds=[0, 1, 2])

    whole = run()
    monkeypatch.setattr("dlopt.training.many._AT_A_TIME", 100)  # two at a time, then one
    pieces = run()
    for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
        torch.testing.assert_close(getattr(pieces, name), getattr(whole, name))


class Fork(nn.Sequential):
    """A network that asks what its inputs are."""

    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


def scaled(generator):
    """A network with a number that is neither parameter nor buffer."""
    module = build(generator)
    scale = float(torch.rand((), generator=generator))
    module[1].forward = lambda x: scale * x
    return module


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": []}, "must not be empty"),
        ({"seeds": [0, 0.5]}, "seed must be a whole number, got 0.5"),
        ({"learning_rates": [-0.1]}, "learning rates must be finite and >= 0, got -0.1"),
        ({"learning_rates": [math.nan]}, "learning rates must be finite and >= 0, got nan"),
        ({"task": [Task(classes())]}, "one for each seed, got 1 for 2"),
        ({"task": [Task(classes()), Task(classes(9))]}, "of one shape, got .*50, 4.*9, 4"),
        (
            {"task": [Task(classes()), Task(classes(), weight_decay=0.1)]},
            "differ in their data alone",
        ),
        ({"build": lambda g: nn.Sequential(build(g), nn.Dropout(0.5))}, "random"),
        ({"build": lambda g: Fork(build(g))}, "data-dependent control flow"),
        (
            {"task": Task(classes(), lambda o, y: o.mean() if o.sum() > 0 else -o.mean())},
            "network and loss, .*data-dependent control flow",
        ),
        ({"build": scaled}, "must compute the same function"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        many(**{"seeds": [0, 1]} | change)


class Sine(nn.Module):
    def forward(self, x):
        return (6 * x).sin()


def test_a_network_that_magnifies_rounding_is_the_same_network():
    """Eight steep layers make the first digits of single precision out of the last one."""

    def steep(generator):
        layers = [nn.Linear(4 if k == 0 else 16, 16) for k in range(8)]
        for layer in layers:
            nn.init.normal_(layer.weight, generator=generator)
        parts = [part for layer in layers for part in (layer, nn.BatchNorm1d(16), Sine())]
        return nn.Sequential(*parts, nn.Linear(16, 3))

    x, y = classes()
    trained = many(steep, task=Task((x.float(), y)), seeds=[0, 1], learning_rates=[1e-9])
    assert trained.train_loss.isfinite().all()


def test_replicas_that_do_not_fit_are_rejected():
    replicas = Replicas([nn.Linear(4, 3)])
    with pytest.raises(ValueError, match="as many as replicas, got 2, 2 and 1"):
        train_replicas(
            replicas, SGD(), Task(classes()), Plan(1), seeds=[0, 1], learning_rates=[1, 2]
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_many_on_a_gpu():
    task = Task(classes())
    runs = [many(build, Adam(), t, seeds=[0, 1]) for t in (task, task.to("cuda"))]
    torch.testing.assert_close(runs[0].train_loss, runs[1].train_loss)
    assert not runs[1].train_loss.is_cuda
    assert next(runs[1].network(0, 0).parameters()).is_cuda


def test_many_at_once_are_several_times_as_fast_as_one_after_the_other():
    data = tuple(t.float() if t.is_floating_point() else t for t in classes(200))
    seeds = range(20)

    def together():
        many(
            lambda g: mlp([4, 8, 3], g), SGD(momentum=0.9), Task(data),
            Plan(10, 20, evaluate_every=10), seeds=seeds,
        )  # fmt: skip

    def alone():
        for seed in seeds:
            module = mlp([4, 8, 3], seeded(seed))
            optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
            for _ in range(10):
                for batch in torch.randperm(200, generator=seeded(seed)).split(20):
                    optimizer.zero_grad()
                    F.cross_entropy(module(data[0][batch]), data[1][batch]).backward()
                    optimizer.step()

    def seconds(run):
        start = time.process_time()  # of this process alone, whatever else the machine does
        run()
        return time.process_time() - start

    together()
    assert seconds(alone) > 2 * min(seconds(together) for _ in range(2))
