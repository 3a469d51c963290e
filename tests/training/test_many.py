"""Many networks at once are trained exactly as each would be alone."""

import time
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlopt.lesson.networks import mlp
from dlopt.training.history import tuned
from dlopt.training.loop import train
from dlopt.training.many import train_many, train_replicas
from dlopt.training.minibatches import Minibatches
from dlopt.training.replicas import replicate
from dlopt.training.rules import SGD, Adam
from tests.training.classes import build, build_unbounded, classes, seeded

ARMS = {
    "plain": (SGD(), torch.optim.SGD, {}),
    "momentum": (SGD(momentum=0.9), torch.optim.SGD, {"momentum": 0.9}),
    "Adam": (Adam(), torch.optim.Adam, {}),
}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("rule", "optimizer", "settings"), ARMS.values(), ids=ARMS)
def test_many_equal_a_handwritten_loop_with_torch(rule, optimizer, settings, weight_decay):
    data, test = classes(), classes(20, seed=1)
    seeds, rates = [3, 4], [0.01, 0.1]
    grid = train_many(
        build, rule, data, seeds=seeds, learning_rates=rates, epochs=12, loss=F.cross_entropy,
        weight_decay=weight_decay, test=test,
    )  # fmt: skip
    for (i, seed), (j, rate) in product(enumerate(seeds), enumerate(rates)):
        module = build(seeded(seed))
        alone = optimizer(module.parameters(), lr=rate, weight_decay=weight_decay, **settings)
        for epoch in range(13):
            with torch.no_grad():
                theta = nn.utils.parameters_to_vector(module.parameters())
                loss = F.cross_entropy(module(data[0]), data[1])
                penalty = weight_decay / 2 * theta @ theta
                hits = module(test[0]).argmax(dim=1) == test[1]
            assert float(grid.train_loss[epoch, i, j]) == pytest.approx(float(loss + penalty))
            assert float(grid.test_accuracy[epoch, i, j]) == pytest.approx(
                float(hits.double().mean())
            )
            alone.zero_grad()
            F.cross_entropy(module(data[0]), data[1]).backward()
            alone.step()


@pytest.mark.parametrize(("rule", "optimizer", "settings"), ARMS.values(), ids=ARMS)
def test_many_equal_the_plain_loop_on_minibatches(rule, optimizer, settings):
    data = classes(50)
    seeds, rates = [3, 4, 5], [0.01, 0.1]
    grid = train_many(
        build, rule, data, seeds=seeds, learning_rates=rates, epochs=4, batch_size=16, test=data,
        evaluate_every=2,
    )  # fmt: skip
    for (i, seed), (j, rate) in product(enumerate(seeds), enumerate(rates)):
        module = build(seeded(seed))
        history = train(
            module, optimizer(module.parameters(), lr=rate, **settings), data, epochs=4,
            batch_size=16, seed=seed, test=data, evaluate_every=2,
        )  # fmt: skip
        for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
            torch.testing.assert_close(getattr(grid, name)[:, i, j], getattr(history, name))
        for name in ("epochs", "steps", "evaluations"):
            assert torch.equal(getattr(grid, name), getattr(history, name))
        for p, q in zip(grid.network(i, j).parameters(), module.parameters(), strict=True):
            torch.testing.assert_close(p, q)
    assert grid.epochs.tolist() == [0, 2, 4]
    assert grid.steps.tolist() == [0, 8, 16]  # 16 + 16 + 16 + 2 examples an epoch
    assert (grid.seconds.diff() > 0).all()


def test_many_regression_and_log_odds():
    x, y = classes()
    line = (x, x @ torch.ones(4, 2).double())
    grid = train_many(
        lambda g: mlp([4, 2], g, dtype=torch.float64), SGD(), line, seeds=[0],
        learning_rates=[0.3], epochs=100, loss=F.mse_loss, metric=None,
    )  # fmt: skip
    assert grid.train_loss[-1] < 1e-6
    assert grid.train_accuracy is None
    odds = (x, (y > 0).double().unsqueeze(1))
    grid = train_many(
        lambda g: mlp([4, 1], g, dtype=torch.float64), SGD(), odds, seeds=[0],
        learning_rates=[1.0], epochs=100, loss=F.binary_cross_entropy_with_logits,
    )  # fmt: skip
    assert grid.train_accuracy[-1] > 0.95


def test_a_diverging_replica_leaves_the_others_alone():
    data = classes()

    def run(second):
        return train_many(
            build_unbounded, SGD(momentum=0.9), data, seeds=[0, 1], learning_rates=[0.05, second],
            epochs=5, batch_size=10, test=data,
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
    grid = train_many(flat, SGD(), classes(), seeds=range(6), learning_rates=[0.01], epochs=3)
    assert grid.diverged[:, 0].tolist() == [not fine for fine in signs]
    for i in range(6):
        assert all(p.isfinite().all() for p in grid.network(i, 0).parameters())


@pytest.mark.parametrize("widths", [[2, 1], [2, 8, 1]])
def test_the_minibatches_depend_on_the_seed_alone(widths):
    seen = []

    def loss(outputs, targets, reduction):
        if torch.is_grad_enabled():
            seen.append(targets.view(4, -1))
        return F.mse_loss(outputs, targets, reduction=reduction)

    train_many(
        lambda g: mlp(widths, g), SGD(), (torch.randn(12, 2), torch.arange(12.0).unsqueeze(1)),
        seeds=[8, 7], learning_rates=[0.1, 0.2], epochs=2, batch_size=5, loss=loss, metric=None,
    )  # fmt: skip
    minibatches = Minibatches(12, 5, [8, 8, 7, 7])
    expected = [*minibatches.epoch(), *minibatches.epoch()]
    assert all(map(torch.equal, seen, expected)) and len(seen) == len(expected)


def test_a_seed_decides_start_and_result():
    def run(seeds):
        return train_many(
            build, Adam(), classes(), seeds=seeds, learning_rates=[0.1], epochs=3, batch_size=10
        ).train_loss[:, :, 0]

    first, second = run([1, 2]), run([1, 2])
    assert torch.equal(first, second)
    torch.testing.assert_close(run([2])[:, 0], first[:, 1])
    assert not torch.equal(first[:, 0], first[:, 1])


def test_the_global_random_numbers_are_left_alone():
    before = torch.get_rng_state()
    train_many(build, SGD(), classes(), seeds=[0], learning_rates=[0.1], epochs=2, batch_size=9)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_schedule_scales_the_learning_rates():
    shares = []

    def schedule(share):
        shares.append(share)
        return 1.0 if share < 0.5 else 0.0

    grid = train_many(
        build, SGD(), classes(40), seeds=[0], learning_rates=[0.1], epochs=4, batch_size=20,
        schedule=schedule,
    )  # fmt: skip
    assert shares == [i / 8 for i in range(8)]
    losses = grid.train_loss[:, 0, 0]
    assert losses[2] == losses[3] == losses[4] < losses[1] < losses[0]


def test_replicas_mix_seeds_rates_and_competitors():
    data = classes()
    starts = [mlp([4, 6, 3], seeded(0), init=init) for init in ("torch", "glorot")]
    network = replicate([m.double() for m in starts])
    history = train_replicas(
        network, SGD(), data, seeds=[5, 5], learning_rates=[0.1, 0.2], epochs=3, batch_size=10
    )
    for r, (module, rate) in enumerate(zip(starts, (0.1, 0.2), strict=True)):
        optimizer = torch.optim.SGD(module.parameters(), lr=rate)
        alone = train(module, optimizer, data, epochs=3, batch_size=10, seed=5)
        torch.testing.assert_close(history.train_loss[:, r], alone.train_loss)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": []}, "must not be empty"),
        ({"learning_rates": [-0.1]}, "learning rates must be finite and >= 0, got -0.1"),
        ({"epochs": 0}, "epochs must be >= 1, got 0"),
        ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
        ({"evaluate_every": 0}, "evaluate_every must be >= 1, got 0"),
        (
            {"build": lambda g: nn.Sequential(build(g), nn.Softmax(dim=0))},
            "modules that act on each entry alone .* got Sequential",
        ),
    ],
)
def test_wrong_arguments_are_named(change, message):
    usual = {"build": build, "seeds": [0, 1], "learning_rates": [0.1], "epochs": 1}
    with pytest.raises(ValueError, match=message):
        train_many(rule=SGD(), data=classes(), **usual | change)


def test_replicas_that_do_not_fit_are_rejected():
    network = replicate([nn.Linear(4, 3)])
    with pytest.raises(ValueError, match=r"one length, got 2, 2 and \[1\]"):
        train_replicas(network, SGD(), classes(), seeds=[0, 1], learning_rates=[1, 2], epochs=1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_many_on_a_gpu():
    data = classes()
    there = tuple(t.cuda() for t in data)
    runs = [
        train_many(build, Adam(), d, seeds=[0, 1], learning_rates=[0.1], epochs=3, batch_size=10)
        for d in (data, there)
    ]
    torch.testing.assert_close(runs[0].train_loss, runs[1].train_loss)
    assert not runs[1].train_loss.is_cuda


def test_many_at_once_are_several_times_as_fast_as_one_after_the_other():
    data = tuple(t.float() if t.is_floating_point() else t for t in classes(200))
    seeds = range(20)

    def together():
        train_many(
            lambda g: mlp([4, 8, 3], g), SGD(momentum=0.9), data, seeds=seeds,
            learning_rates=[0.1], epochs=10, batch_size=20, evaluate_every=10,
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
