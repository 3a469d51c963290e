"""The training loop, and the training of one network with any optimiser."""

from __future__ import annotations

import time
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from dlopt.optimizer import MethodOptimizer
from dlopt.training.history import History, Record
from dlopt.training.minibatches import Minibatches
from dlopt.training.plan import Plan, whole
from dlopt.training.task import Task


class Trainee(Protocol):
    """What the loop trains: R networks, of which each has its examples.

    Attributes:
        alive: Which of them have not diverged, (R,).
        evaluations: Minibatch gradients computed so far by each of them.
    """

    alive: Tensor
    evaluations: int

    def step(self, positions: Tensor, factor: float) -> bool:
        """Learn from the examples at ``positions`` (R, batch); return whether to go on."""
        ...

    def measure(self, part: str) -> tuple[Tensor, Tensor | None]:
        """Return loss and score of each network on "train" or "test", (R,)."""
        ...


def run(trainee: Trainee, parts: list[str], plan: Plan, minibatches: Minibatches) -> History:
    """Train by a plan: the one loop over epochs and minibatches.

    Args:
        trainee: What is trained.
        parts: What it is measured on, "train" and perhaps "test".
        plan: How long, and how often it is measured.
        minibatches: The order of the examples.

    Returns:
        The history; its losses have shape (T, R).
    """
    record = Record(trainee.measure, trainee.alive, parts)
    steps, examples, seconds = 0, 0, 0.0
    total = plan.epochs * minibatches.m

    def measure() -> None:
        epochs = examples / minibatches.m
        record.add(epochs=epochs, steps=steps, evaluations=trainee.evaluations, seconds=seconds)

    measure()
    for epoch in range(1, plan.epochs + 1):
        start = time.perf_counter() - seconds
        for batch in minibatches.epoch():
            go_on = trainee.step(batch, plan.factor(examples / total))
            steps += 1
            examples += batch.shape[1]
            seconds = time.perf_counter() - start
            if not go_on or (plan.max_seconds is not None and seconds >= plan.max_seconds):
                measure()
                return record.history()
        if epoch % plan.evaluate_every == 0 or epoch == plan.epochs:
            measure()
    return record.history()


def train(
    module: nn.Module, optimizer: torch.optim.Optimizer, task: Task, plan: Plan, *, seed: int = 0
) -> History:
    """Train one network, in place: the plain loop.

    The network is measured in evaluation mode, on all the data at once, and trained in the mode
    it is in. Training stops where loss or parameters are no longer finite, and the last finite
    parameters, and the buffers that belong to them, are put back.

    Args:
        module: The network.
        optimizer: Any of ``torch.optim``, or a ``MethodOptimizer``, on the network's parameters
            (not with ``LevenbergMarquardt``, which wants residuals instead of a loss).
        task: What is to be learned.
        plan: For how long, and in what pieces.
        seed: Decides the order of the examples, and nothing else.

    Returns:
        The history; its losses have shape (T,).

    Raises:
        ValueError: The plan has a schedule or clips, and the optimiser has no learning rate or
            differentiates by itself.

    Example:
        >>> from dlopt.lesson.networks import mlp
        >>> module = mlp([3, 3], torch.Generator().manual_seed(0))
        >>> optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
        >>> task = Task((torch.eye(3), torch.arange(3)))
        >>> history = train(module, optimizer, task, Plan(epochs=20))
        >>> history.train_accuracy[-1]
        tensor(1., dtype=torch.float64)
    """
    inputs = task.data[0]
    minibatches = Minibatches(
        len(inputs), plan.batch_size, [whole("seed", seed)], device=inputs.device
    )
    history = run(_One(module, optimizer, task, plan), list(task.parts), plan, minibatches)
    return history.reshaped(lambda v: v[..., 0])


class _One:
    """One network with its optimiser, as a trainee."""

    def __init__(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, task: Task, plan: Plan
    ) -> None:
        self._module, self._optimizer, self._task, self._plan = module, optimizer, task, plan
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        # A method of this library differentiates by itself, and curvature needs the graph.
        self._backward = not isinstance(optimizer, MethodOptimizer)
        if plan.clip is not None and not self._backward:
            raise ValueError(f"clip must be None for a MethodOptimizer, got {plan.clip}")
        if plan.schedule is not None and not all("lr" in g for g in optimizer.param_groups):
            raise ValueError(f"schedule must be None without a learning rate, got {plan.schedule}")
        self._rates = [group["lr"] for group in optimizer.param_groups if "lr" in group]
        self.alive = torch.ones(1, dtype=torch.bool, device=task.data[0].device)
        self.evaluations = 0

    def step(self, positions: Tensor, factor: float) -> bool:
        """Make one step of the optimiser; undo it where it leads out of the finite numbers."""
        x, y = (t[positions[0]] for t in self._task.data)
        state = [*self._parameters, *self._module.buffers()]
        before = [t.detach().clone() for t in state]
        self._scale_rates(factor)
        value: Tensor = self._optimizer.step(lambda: self._objective(x, y))  # type: ignore[arg-type, assignment, return-value]
        self._scale_rates(1.0)
        # A sum shows a NaN or an infinity of any entry. Asking waits for the accelerator.
        finite = bool((value.detach() + self._theta().detach().sum()).isfinite())
        if not finite:
            with torch.no_grad():
                for tensor, old in zip(state, before, strict=True):
                    tensor.copy_(old)
        self.alive &= finite
        return finite

    def measure(self, part: str) -> tuple[Tensor, Tensor | None]:
        """Return loss and score, (1,)."""
        modes = [(module, module.training) for module in self._module.modules()]
        self._module.eval()
        x, y = self._task.parts[part]
        with torch.no_grad():
            outputs = self._module(x)
            if part == "train":
                loss = self._task.objective(outputs, y, self._theta())
            else:
                loss = self._task.mean_loss(outputs, y)
            metric = self._task.metric
            score = None if metric is None else torch.as_tensor(metric(outputs, y))[None]
        for module, mode in modes:
            module.training = mode
        return loss[None], score

    def _objective(self, x: Tensor, y: Tensor) -> Tensor:
        """Return J on some examples, with its gradient in the parameters."""
        self.evaluations += 1
        self._optimizer.zero_grad()
        objective = self._task.objective(self._module(x), y, self._theta())
        if self._backward:
            objective.backward()  # type: ignore[no-untyped-call]
            if self._plan.clip is not None:
                clip_grad_norm_(self._parameters, self._plan.clip)
        return objective

    def _scale_rates(self, factor: float) -> None:
        """Multiply the learning rates, where the plan has a schedule."""
        if self._plan.schedule is not None:
            for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor

    def _theta(self) -> Tensor:
        """Return the trained parameters as one vector."""
        return torch.cat([p.reshape(-1) for p in self._parameters])
