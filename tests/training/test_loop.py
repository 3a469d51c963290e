"""The plain loop: any optimiser, any mode, and an end where the numbers end."""

import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dlopt
from dlopt.empirical_risk import EmpiricalRisk
from dlopt.training.loop import train
from tests.training.classes import build, build_unbounded, classes, seeded


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
    data = classes()
    module = build(seeded(0))
    history = train(module, make(module.parameters()), data, epochs=10, weight_decay=1e-2)
    assert history.train_loss[-1] < 0.5 * history.train_loss[0]
    assert history.evaluations[-1] >= history.steps[-1] == 10
    assert not history.diverged
    risk = EmpiricalRisk(module, *data, F.cross_entropy, weight_decay=1e-2)
    assert float(risk(risk.initial)) == pytest.approx(float(history.train_loss[-1]), rel=1e-6)


def test_the_loop_visits_what_minimize_visits():
    data = classes()
    module = build(seeded(0))
    risk = EmpiricalRisk(build(seeded(0)), *data, F.cross_entropy, weight_decay=1e-2)
    path = dlopt.minimize(risk, risk.initial, dlopt.Newton(), max_steps=5)
    optimizer = dlopt.MethodOptimizer(module.parameters(), dlopt.Newton(), full_batch=True)
    history = train(module, optimizer, data, epochs=5, weight_decay=1e-2)
    torch.testing.assert_close(
        history.train_loss, torch.tensor(path.values).double(), rtol=1e-6, atol=1e-9
    )


def test_the_loop_stops_at_a_divergence_and_keeps_the_last_finite_parameters():
    module = build_unbounded(seeded(0))
    optimizer = torch.optim.SGD(module.parameters(), lr=1e200)
    history = train(module, optimizer, classes(), epochs=50, batch_size=10, test=classes(9))
    assert history.diverged
    assert history.train_loss[-1] == history.test_loss[-1] == torch.inf
    assert history.train_accuracy[-1] == 0
    assert history.train_loss[0].isfinite()
    assert len(history.steps) < 50
    assert all(p.isfinite().all() for p in module.parameters())


def test_the_loop_stops_in_time():
    module = build(seeded(0))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    start = time.perf_counter()
    history = train(
        module, optimizer, classes(), epochs=10**7, evaluate_every=10**7, max_seconds=0.05
    )
    assert 0.05 <= history.seconds[-1] < time.perf_counter() - start < 30
    assert history.train_loss.shape == (2,)


def test_the_loop_leaves_the_mode_alone():
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    train(module, optimizer, classes(), epochs=1, batch_size=25)
    assert module[1].training
    assert module[1].num_batches_tracked == 2  # trained on, but not measured on
    module.eval()
    train(module, optimizer, classes(), epochs=1)
    assert not module[1].training


def test_the_global_random_numbers_are_left_alone():
    before = torch.get_rng_state()
    module = build(seeded(0))
    train(module, torch.optim.SGD(module.parameters()), classes(), epochs=2, batch_size=9)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "evaluate_every"])
def test_counts_below_one_are_rejected(name):
    module = build(seeded(0))
    optimizer = torch.optim.SGD(module.parameters())
    with pytest.raises(ValueError, match=f"{name} must be >= 1, got 0"):
        train(module, optimizer, classes(), **{"epochs": 1, name: 0})
