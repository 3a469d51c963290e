"""Many networks at once, of any kind, are trained exactly as each would be by hand."""

import pytest
import torch
from torch.nn import functional as F

from dlopt.training.many import train_many
from dlopt.training.plan import Plan
from dlopt.training.rules import SGD, Adam
from dlopt.training.task import Task
from tests.training.by_hand import EXACT, assert_as_by_hand
from tests.training.kinds import KINDS, heads_loss, kind, points

ARMS = {
    "plain": (SGD(), torch.optim.SGD, {}),
    "momentum": (SGD(momentum=0.9), torch.optim.SGD, {"momentum": 0.9}),
    "Adam": (Adam(), torch.optim.Adam, {}),
}
# With more momentum times rate a training magnifies rounding, which differs between processors.
SEEDS, RATES = [3, 4], [0.01, 0.02]


@pytest.mark.parametrize("dtype", EXACT, ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_networks_of_each_kind_equal_fifty_steps_by_hand(name, dtype):
    loss = heads_loss if name == "heads" else F.cross_entropy
    task = Task(points(80, dtype=dtype), loss, test=points(20, seed=1, dtype=dtype))
    plan = Plan(epochs=5, batch_size=8)
    grid = train_many(kind(name, dtype), SGD(0.9), task, plan, seeds=SEEDS, learning_rates=RATES)
    assert grid.steps[-1] == 50
    assert (grid.train_loss[-1] < grid.train_loss[0]).any()
    assert_as_by_hand(
        grid, kind(name, dtype), torch.optim.SGD, {"momentum": 0.9}, [task] * 2, plan, EXACT[dtype]
    )  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [{}, {"clip": 0.5}, {"schedule": lambda share: 1 - share**2}],
    ids=["plain", "clipped", "scheduled"],
)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("rule", "optimizer", "options"), ARMS.values(), ids=ARMS)
def test_rules_equal_fifty_steps_by_hand(rule, optimizer, options, weight_decay, settings):
    """Each seed has data of its own."""
    tasks = [
        Task(points(80, seed=s), weight_decay=weight_decay, test=points(20, seed=9)) for s in SEEDS
    ]
    plan = Plan(epochs=5, batch_size=8, **settings)
    grid = train_many(kind("batch norm"), rule, tasks, plan, seeds=SEEDS, learning_rates=RATES)
    # Adam divides by gradients that may be small, and by their rounding errors.
    tolerance = (
        {"rtol": 1e-9, "atol": 1e-10} if optimizer is torch.optim.Adam else EXACT[torch.float64]
    )
    assert_as_by_hand(grid, kind("batch norm"), optimizer, options, tasks, plan, tolerance)
