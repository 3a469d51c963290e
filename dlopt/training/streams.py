"""Train many networks on examples that are made, or chosen, anew for each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dlopt.training.many import Many
from dlopt.training.plan import Plan, whole
from dlopt.training.replicas import Replicas
from dlopt.training.rules import Rule
from dlopt.training.task import Data, Loss, Task


@dataclass(frozen=True, eq=False)
class Course:
    """What R networks scored in the course of a training.

    Attributes:
        steps: After how many steps they were judged, T numbers, 0 the first.
        scores: What they scored, shape (T, R, ...).
        alive: Which of them have not diverged, shape (R,).
    """

    steps: list[int]
    scores: Tensor
    alive: Tensor


def train_on_stream(
    replicas: Replicas,
    rule: Rule,
    draw: Callable[[float], Data],
    *,
    steps: int,
    learning_rates: Sequence[float],
    judge: Callable[[Replicas], Tensor],
    judge_every: int = 1,
    loss: Loss = F.cross_entropy,
    clip: float | None = None,
) -> Course:
    """Train R networks in place, each on its own minibatches, which a function draws.

    What ``train_replicas`` does where there is no data set to shuffle: sequences that are made as
    they are needed, or examples that a curriculum chooses. A network whose loss or parameters are
    no longer finite stays where it last was.

    Args:
        replicas: The networks, on the device of the examples.
        rule: ``SGD`` or ``Adam``, or another ``Rule``.
        draw: Called before each step with the share of the training that is over, from 0 to
            below 1; returns inputs and targets, each (R, batch, ...).
        steps: Of each network, >= 1.
        learning_rates: For each network, R of them.
        judge: Returns a score of each network, (R, ...); called before the first step, after every
            ``judge_every`` of them, and after the last.
        judge_every: Steps from one judgement to the next, >= 1.
        loss: Maps what a network returns, and targets, to the mean loss, 0-d. Weights of the
            examples may stand in the targets.
        clip: The norm, > 0, to which a longer gradient is shortened; None for no clipping.

    Returns:
        The scores.

    Raises:
        ValueError: An argument is out of its range, or numbers of networks differ.

    Example:
        >>> from dlopt.lesson.networks import mlp
        >>> from dlopt.training.rules import SGD
        >>> nets = Replicas([mlp([1, 1], torch.Generator().manual_seed(s)) for s in range(3)])
        >>> def line(share):
        ...     x = torch.rand(3, 8, 1)
        ...     return x, 2 * x
        >>> course = train_on_stream(nets, SGD(), line, steps=300, learning_rates=[0.5] * 3,
        ...     loss=F.mse_loss, judge=lambda nets: nets.theta[:, 0], judge_every=100)
        >>> torch.round(course.scores[-1], decimals=3)
        tensor([2., 2., 2.])
    """
    steps, judge_every = whole("steps", steps), whole("judge_every", judge_every)
    for name, count in (("steps", steps), ("judge_every", judge_every)):
        if count < 1:
            raise ValueError(f"{name} must be >= 1, got {count}")
    x, y = draw(0.0)
    if {len(learning_rates), len(x), len(y)} != {len(replicas)}:
        raise ValueError(
            "inputs, targets and learning rates must be as many as networks, got "
            f"{len(x)}, {len(y)} and {len(learning_rates)} for {len(replicas)}"
        )
    tasks = [Task(data, loss=loss, metric=None) for data in zip(x, y, strict=True)]
    many = Many(replicas, rule, tasks, Plan(epochs=1, clip=clip), learning_rates)
    many.check()
    judged, scores = [0], [judge(replicas)]
    for step in range(1, steps + 1):
        many.learn(x, y, 1.0)
        if step % judge_every == 0 or step == steps:
            judged.append(step)
            scores.append(judge(replicas))
        if step < steps:
            x, y = draw(step / steps)
    return Course(judged, torch.stack(scores), many.alive)
