"""The plain loop: any optimiser, any mode, and an end where the numbers end."""

import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dlopt
from dlopt.empirical_risk import EmpiricalRisk
from dlopt.training.loop import train
from dlopt.training.plan import Plan
from dlopt.training.task import Task
from tests.training.by_hand import EXACT, by_hand
from tests.training.classes import build, build_unbounded, classes, seeded
from tests.training.kinds import heads_loss, kind, points


def sgd(module, rate=0.1, **settings):
    return torch.optim.SGD(module.parameters(), lr=rate, **settings)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.LBFGS(p, line_search_fn="strong_wolfe"),
        lambda p: dlopt.MethodOptimizer(p, dlopt.Newton(), full_batch=True),
        lambda p: dlopt.MethodOptimizer(p, dlopt.TruncatedNewton()),
        lambda p: dlopt.MethodOptimizer(p, dlopt.SteepestDescent()),
    ],
    ids=["torch.optim.LBFGS", "Newton", "TruncatedNewton", "SteepestDescent"],
)
def test_the_loop_takes_any_optimizer(make):
    task = Task(classes(), weight_decay=1e-2)
    module = build(seeded(0))
    history = train(module, make(module.parameters()), task, Plan(10))
    assert history.train_loss[-1] < 0.5 * history.train_loss[0]
    assert history.evaluations[-1] >= history.steps[-1] == 10
    assert not history.diverged
    risk = EmpiricalRisk(module, *task.data, F.cross_entropy, weight_decay=1e-2)
    assert float(risk(risk.initial)) == pytest.approx(float(history.train_loss[-1]), rel=1e-6)


def test_the_loop_visits_what_minimize_visits():
    task = Task(classes(), weight_decay=1e-2)
    module = build(seeded(0))
    risk = EmpiricalRisk(build(seeded(0)), *task.data, F.cross_entropy, weight_decay=1e-2)
    path = dlopt.minimize(risk, risk.initial, dlopt.Newton(), max_steps=5)
    optimizer = dlopt.MethodOptimizer(module.parameters(), dlopt.Newton(), full_batch=True)
    history = train(module, optimizer, task, Plan(5))
    torch.testing.assert_close(
        history.train_loss, torch.tensor(path.values).double(), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("name", ["batch norm", "heads", "constant layer", "tied embedding"])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_the_loop_equals_a_loop_by_hand(name, clip):
    task = Task(
        points(), heads_loss if name == "heads" else F.cross_entropy, weight_decay=0.1,
        test=points(20, seed=1),
    )  # fmt: skip
    plan = Plan(epochs=3, batch_size=10, clip=clip, schedule=lambda share: 1 - share)
    ours, theirs = kind(name)(seeded(0)), kind(name)(seeded(0))
    optimizer = sgd(ours, momentum=0.9)
    history = train(ours, optimizer, task, plan, seed=5)
    decay = 0.0 if clip else 0.1
    losses = by_hand(
        theirs,
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=decay),
        task, plan, seed=5,
    )  # fmt: skip
    train_losses, test_losses = zip(*losses, strict=True)
    exact = EXACT[torch.float64]
    torch.testing.assert_close(history.train_loss, torch.stack(train_losses), **exact)
    torch.testing.assert_close(history.test_loss, torch.stack(test_losses), **exact)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), **exact)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_the_loop_stops_at_a_divergence_and_keeps_the_last_finite_parameters():
    module = build_unbounded(seeded(0))
    task = Task(classes(), test=classes(9))
    history = train(module, sgd(module, 1e200), task, Plan(50, 10))
    assert history.diverged
    assert history.train_loss[-1] == history.test_loss[-1] == torch.inf
    assert history.train_accuracy[-1] == 0
    assert history.train_loss[0].isfinite()
    assert len(history.steps) < 50
    assert all(p.isfinite().all() for p in module.parameters())


def test_a_divergence_leaves_buffers_as_they_last_were():
    module = kind("batch norm")(seeded(0))
    assert train(module, sgd(module, 1e308), Task(points()), Plan(3, 8)).diverged
    assert all(b.isfinite().all() for b in module.buffers())


def test_the_loop_stops_in_time():
    module = build(seeded(0))
    start = time.perf_counter()
    plan = Plan(10**7, evaluate_every=10**7, max_seconds=0.05)
    history = train(module, sgd(module), Task(classes()), plan)
    assert 0.05 <= history.seconds[-1] < time.perf_counter() - start < 30
    assert history.train_loss.shape == (2,)


def test_the_counts_are_in_the_record():
    module = build(seeded(0))
    history = train(module, sgd(module), Task(classes(25)), Plan(3, 10, evaluate_every=2))
    assert history.epochs.tolist() == [0, 2, 3]
    assert history.steps.tolist() == history.evaluations.tolist() == [0, 6, 9]
    assert (history.seconds.diff() > 0).all() and history.seconds[0] == 0


def test_the_loop_leaves_the_mode_alone():
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double()
    train(module, sgd(module), Task(classes()), Plan(1, 25))
    assert module[1].training
    assert module[1].num_batches_tracked == 2  # trained on, but not measured on
    module.eval()
    train(module, sgd(module), Task(classes()), Plan(1))
    assert not module[1].training


def test_the_main_head_alone_is_judged():
    module = kind("heads")(seeded(0))
    task = Task(points(), heads_loss, test=points(9))
    history = train(module, sgd(module), task, Plan(2, 8))
    module.eval()
    hits = module(task.test[0]).argmax(dim=1) == task.test[1]
    assert history.test_accuracy[-1] == hits.double().mean()


def test_the_global_random_numbers_are_left_alone():
    before = torch.get_rng_state()
    module = build(seeded(0))
    train(module, sgd(module), Task(classes()), Plan(2, 9))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "seed", "message"),
    [
        ({"clip": 1.0}, 0, r"clip must be None for a MethodOptimizer, got 1\.0"),
        ({"schedule": lambda share: 1.0}, 0, "schedule must be None without a learning rate"),
        ({}, 0.5, r"seed must be a whole number, got 0\.5"),
    ],
)
def test_what_the_optimizer_can_not_follow_is_rejected(settings, seed, message):
    module = build(seeded(0))
    optimizer = dlopt.MethodOptimizer(module.parameters(), dlopt.BFGS())
    with pytest.raises(ValueError, match=message):
        train(module, optimizer, Task(classes()), Plan(1, **settings), seed=seed)
