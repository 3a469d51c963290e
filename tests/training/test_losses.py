"""Every loss is the one that PyTorch computes on the same examples, alone and for many at once."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlopt.lesson.networks import mlp
from dlopt.training.loop import train
from dlopt.training.many import train_many
from dlopt.training.plan import Plan
from dlopt.training.rules import SGD
from dlopt.training.task import Task
from tests.training.by_hand import EXACT, assert_as_by_hand, by_hand
from tests.training.classes import seeded
from tests.training.kinds import kind, points

WEIGHT = torch.tensor([1.0, 5.0, 0.2]).double()


def ignored(targets):
    return torch.where(torch.arange(len(targets)) % 3 == 0, -100, targets)


def shares(targets):
    return F.one_hot(targets, 3).double() * 0.8 + 0.1


def spread(tensor):
    """The same numbers with gaps between them in memory."""
    return torch.stack([tensor, tensor], dim=-1)[..., 0]


def same(tensor):
    return tensor


# The loss, and what becomes of inputs and targets, which are three classes.
CASES = {
    "class weights": (nn.CrossEntropyLoss(weight=WEIGHT), same, same),
    "ignored targets": (F.cross_entropy, same, ignored),
    "smoothed labels": (nn.CrossEntropyLoss(label_smoothing=0.2), same, same),
    "all of these": (
        nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.2, ignore_index=1), same, same,
    ),
    "negative log-likelihood": (
        lambda o, y: F.nll_loss(o.log_softmax(dim=1), y, weight=WEIGHT), same, ignored,
    ),
    "shares": (F.cross_entropy, same, shares),
    "squares": (nn.MSELoss(), same, shares),
    "absolute values": (F.smooth_l1_loss, same, shares),
    "log-odds": (nn.BCEWithLogitsLoss(pos_weight=WEIGHT), same, shares),
    "margins": (F.multi_margin_loss, same, same),
    "gaps in memory": (F.cross_entropy, spread, spread),
    "gaps in memory, squares": (F.mse_loss, spread, lambda y: shares(y).T.contiguous().T),
    "small numbers": (F.cross_entropy, same, lambda y: y.to(torch.int8)),
}  # fmt: skip


def task_of(case):
    loss, of_inputs, of_targets = CASES[case]
    parts = [(of_inputs(x), of_targets(y)) for x, y in (points(40), points(20, seed=1))]
    return Task(parts[0], loss, weight_decay=0.01, test=parts[1], metric=None)


PLAN = Plan(epochs=3, batch_size=7)  # the last one of an epoch holds five


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("case", CASES)
def test_many_at_once_minimise_what_pytorch_computes(case):
    task = task_of(case)
    grid = train_many(
        kind("linear"), SGD(0.9), task, PLAN, seeds=[3, 4], learning_rates=[0.01, 0.1]
    )
    assert_as_by_hand(
        grid, kind("linear"), torch.optim.SGD, {"momentum": 0.9}, [task] * 2, PLAN,
        EXACT[torch.float64],
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_plain_loop_minimises_what_pytorch_computes(case):
    task = task_of(case)
    ours, theirs = kind("linear")(seeded(0)), kind("linear")(seeded(0))
    history = train(ours, torch.optim.SGD(ours.parameters(), lr=0.1), task, PLAN)
    losses = by_hand(
        theirs, lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.01), task, PLAN, seed=0
    )
    train_losses, test_losses = map(torch.stack, zip(*losses, strict=True))
    exact = EXACT[torch.float64]
    torch.testing.assert_close(history.train_loss, train_losses, **exact)
    torch.testing.assert_close(history.test_loss, test_losses, **exact)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), **exact)


def test_images_in_any_layout_make_no_difference():
    def run(layout):
        images = torch.randn(20, 3, 2, 2, generator=seeded(1)).double()
        task = Task((images.to(memory_format=layout), torch.arange(20) % 3))
        return train_many(
            lambda g: nn.Sequential(nn.Flatten(), mlp([12, 3], g, dtype=torch.float64)), SGD(),
            task, PLAN, seeds=[0, 1], learning_rates=[0.1],
        ).train_loss  # fmt: skip

    torch.testing.assert_close(run(torch.contiguous_format), run(torch.channels_last))
