"""Train many small networks at once: seeds times learning rates times competitors as one network.

Each replica has its own start, learning rate and minibatches, and perhaps its own data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dlopt.training.examples import Examples
from dlopt.training.history import Grid, History
from dlopt.training.loop import run
from dlopt.training.minibatches import Minibatches
from dlopt.training.plan import Plan, whole
from dlopt.training.replicas import Replicas
from dlopt.training.rules import Memory, Rule
from dlopt.training.task import Task

_AT_A_TIME = 2**15  # examples of all replicas together that are measured at once


def train_many(
    build: Callable[[torch.Generator], nn.Module],
    rule: Rule,
    task: Task | Sequence[Task],
    plan: Plan,
    *,
    seeds: Sequence[int],
    learning_rates: Sequence[float],
) -> Grid:
    """Train a small network from each seed with each learning rate, all at once.

    A seed decides the start and, independently of it, the order of the examples. Competitors
    trained with the same seeds are therefore paired: compare them seed by seed.

    Args:
        build: Makes a network from a generator that was seeded for it, such as
            ``lambda generator: mlp([64, 16, 10], generator)``; see ``Replicas`` for what it may
            be made of.
        rule: ``SGD`` or ``Adam``, or another ``Rule``.
        task: What is to be learned; or S tasks, one for each seed, that differ in their data.
        plan: For how long, and in what pieces.
        seeds: S seeds.
        learning_rates: L learning rates.

    Returns:
        The history; its losses have shape (T, S, L).

    Raises:
        ValueError: An argument is out of its range, or the network has no replicas.

    Example:
        >>> from dlopt.lesson.networks import mlp
        >>> from dlopt.training.history import tuned
        >>> from dlopt.training.rules import SGD
        >>> x = torch.linspace(-1, 1, 20).unsqueeze(1)
        >>> task = Task((x, 3 * x), loss=nn.functional.mse_loss, metric=None)
        >>> grid = train_many(lambda g: mlp([1, 1], g), SGD(), task, Plan(epochs=50),
        ...     seeds=range(4), learning_rates=[0.001, 0.01, 0.1, 1e9])
        >>> grid.train_loss.shape
        torch.Size([51, 4, 4])
        >>> tuned(grid).learning_rate
        0.1
        >>> grid.diverged.sum(dim=0)
        tensor([0, 0, 0, 4])
    """
    shape = (len(seeds), len(learning_rates))
    if 0 in shape:
        raise ValueError(f"seeds and learning_rates must not be empty, got {shape} of them")
    seeds = [whole("seed", seed) for seed in seeds]
    tasks = _one_for_each("seed", task, seeds)
    modules = [build(torch.Generator().manual_seed(seed)) for seed in seeds]
    replicas = Replicas([m for m in modules for _ in learning_rates])
    history = train_replicas(
        replicas.to(tasks[0].data[0].device),
        rule,
        [t for t in tasks for _ in learning_rates],
        plan,
        seeds=[seed for seed in seeds for _ in learning_rates],
        learning_rates=[rate for _ in seeds for rate in learning_rates],
    )
    return Grid.of(history, seeds, learning_rates, replicas)


def train_replicas(
    replicas: Replicas,
    rule: Rule,
    task: Task | Sequence[Task],
    plan: Plan,
    *,
    seeds: Sequence[int],
    learning_rates: Sequence[float],
    after_step: Callable[[Replicas], object] | None = None,
) -> History:
    """Train R networks in place as one; the engine of ``train_many``.

    A replica whose loss or parameters are no longer finite stays where it last was, buffers
    included, and the others do not notice. The seeds may repeat and the networks may start
    anywhere, so that seeds, learning rates and competitors can be mixed at will.

    Args:
        replicas: The networks, on the device of the data.
        rule: ``SGD`` or ``Adam``, or another ``Rule``.
        task: What is to be learned; or R tasks, one for each replica, that differ in their data.
        plan: For how long, and in what pieces.
        seeds: The order of the examples for each replica, R of them.
        learning_rates: For each replica, R of them.
        after_step: Called with the networks after each step, such as to average their parameters.

    Returns:
        The history; its losses have shape (T, R).

    Raises:
        ValueError: An argument is out of its range, or numbers of replicas differ.
    """
    if {len(seeds), len(learning_rates)} != {len(replicas)}:
        raise ValueError(
            "seeds and learning rates must be as many as replicas, got "
            f"{len(seeds)}, {len(learning_rates)} and {len(replicas)}"
        )
    seeds = [whole("seed", seed) for seed in seeds]
    together = Many(replicas, rule, _one_for_each("replica", task, seeds), plan, learning_rates)
    examples = together.examples["train"]
    minibatches = Minibatches(examples.m, plan.batch_size, seeds, replicas.theta.device)
    together.check()
    together.after_step = after_step
    return run(together, list(together.examples), plan, minibatches)


class Many:
    """Replicas with their rule, as a trainee."""

    def __init__(
        self,
        replicas: Replicas,
        rule: Rule,
        tasks: Sequence[Task],
        plan: Plan,
        learning_rates: Sequence[float],
    ) -> None:
        bad = [rate for rate in learning_rates if not 0 <= rate < math.inf]
        if bad:
            raise ValueError(f"learning rates must be finite and >= 0, got {bad[0]}")
        self._replicas, self._rule, self._task, self._clip = replicas, rule, tasks[0], plan.clip
        settings = {(t.loss, t.weight_decay, t.metric, *t.parts) for t in tasks}
        if len(settings) != 1:
            raise ValueError(f"tasks may differ in their data alone, got {settings}")
        self.examples = {k: Examples([t.parts[k] for t in tasks]) for k in tasks[0].parts}
        theta = replicas.theta
        rates = [float(rate) for rate in learning_rates]
        self._rates = torch.tensor(rates, dtype=theta.dtype, device=theta.device).unsqueeze(1)
        self._memory: Memory = rule.init(theta)
        self.alive = torch.ones(len(theta), dtype=torch.bool, device=theta.device)
        self.evaluations = 0
        self.after_step: Callable[[Replicas], object] | None = None

    def step(self, positions: Tensor, factor: float) -> bool:
        """Update all networks; those that would leave the finite numbers stay where they are."""
        self.learn(*self.examples["train"].at(positions), factor)
        if self.after_step is not None:
            self.after_step(self._replicas)
        return True

    def learn(self, x: Tensor, y: Tensor, factor: float) -> None:
        """Update each network by its own examples, inputs and targets of shape (R, batch, ...)."""
        theta, state = self._replicas.theta, self._replicas.state
        variable = theta.detach().requires_grad_()
        new_state = {name: tensor.clone() for name, tensor in state.items()}
        losses = self._replicas.each(self._objective, variable, new_state, x, y, training=True)
        (g,) = torch.autograd.grad(losses.sum(), variable)
        self.evaluations += 1
        if self._clip is not None:  # as torch.nn.utils.clip_grad_norm_ does it
            norms = torch.linalg.vector_norm(g, dim=1, keepdim=True)
            g = g * (self._clip / (norms + 1e-6)).clamp(max=1)
        u, self._memory = self._rule.direction(g, self._memory, self.evaluations)
        new = torch.addcmul(theta, self._rates, u, value=-factor)
        # A sum shows a NaN or an infinity of any entry. Asking waits for the accelerator.
        self.alive &= (losses.detach() + new.sum(dim=1)).isfinite()
        if not bool(self.alive.all()):
            new = _where(self.alive, new, theta)
            new_state = {k: _where(self.alive, v, state[k]) for k, v in new_state.items()}
        self._replicas.theta, self._replicas.state = new, new_state

    @torch.no_grad()
    def measure(self, part: str) -> tuple[Tensor, Tensor | None]:
        """Return loss and score of each network, (R,), as many networks at a time as fit."""
        replicas, examples, task = self._replicas, self.examples[part], self._task

        def judge(module: nn.Module, theta: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Any]:
            outputs = module(x)
            if part == "train":
                return task.objective(outputs, y, theta), outputs
            return task.mean_loss(outputs, y), outputs

        losses, scores = [], []
        size = max(1, _AT_A_TIME // examples.m)
        for start in range(0, len(replicas), size):
            rows = slice(start, start + size)
            x, y = examples.whole(rows)
            theta, state = replicas.theta[rows], {k: v[rows] for k, v in replicas.state.items()}
            loss, outputs = replicas.each(judge, theta, state, x, y, training=False)
            losses.append(loss)
            if task.metric is not None:
                each = (task.metric(_pick(outputs, i), targets) for i, targets in enumerate(y))
                scores += [torch.as_tensor(score) for score in each]
        return torch.cat(losses), torch.stack(scores) if scores else None

    @torch.no_grad()
    def check(self) -> None:
        """Raise ``ValueError`` unless first and last network compute here what they do alone."""
        replicas, task = self._replicas, self._task
        few = torch.arange(min(16, self.examples["train"].m), device=replicas.theta.device)
        x, y = self.examples["train"].at(few.expand(len(replicas), -1))
        state = {name: tensor.clone() for name, tensor in replicas.state.items()}

        def judge(module: nn.Module, theta: Tensor, x: Tensor, y: Tensor) -> tuple[Any, Tensor]:
            outputs = module(x)
            return outputs, task.objective(outputs, y, theta)

        try:
            together, _ = replicas.each(judge, replicas.theta, state, x, y, training=True)
        except RuntimeError as error:
            if "vmap" not in str(error) and "atching rule" not in str(error):
                raise
            raise ValueError(
                f"torch.vmap must be able to run network and loss, train it alone instead: {error}"
            ) from error
        for i in (0, -1):
            alone = replicas.network(i)(x[i])
            try:
                torch.testing.assert_close(_pick(together, i), alone, rtol=1e-3, atol=1e-4)
            except AssertionError as error:
                if _agree_in_double(replicas.network(0), replicas.network(i), x[i]):
                    continue  # a deep network makes much of the last digits
                raise ValueError(
                    "networks of one architecture must compute the same function of their "
                    f"parameters and buffers, train them alone instead: {error}"
                ) from error

    def _objective(self, module: nn.Module, theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return J of one network."""
        return self._task.objective(module(x), y, theta)


def _agree_in_double(pattern: nn.Module, network: nn.Module, x: Tensor) -> bool:
    """Return whether a network computes in double precision what the pattern makes of its θ."""
    pair = Replicas([pattern.double(), network.double()])
    inputs = x.double() if x.is_floating_point() else x
    both = inputs.expand(2, *inputs.shape)

    def judge(module: nn.Module, theta: Tensor, x: Tensor) -> Any:
        return module(x)

    together = _pick(pair.each(judge, pair.theta, dict(pair.state), both, training=True), 1)
    try:
        torch.testing.assert_close(together, pair.network(1)(inputs), rtol=1e-6, atol=1e-9)
    except AssertionError:
        return False
    return True


def _one_for_each(name: str, task: Task | Sequence[Task], seeds: Sequence[int]) -> list[Task]:
    """Return as many tasks as seeds."""
    tasks = [task] * len(seeds) if isinstance(task, Task) else list(task)
    if len(tasks) != len(seeds):
        raise ValueError(f"tasks must be one for each {name}, got {len(tasks)} for {len(seeds)}")
    return tasks


def _where(alive: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Return the new rows of what is alive, and the old ones of what isn't."""
    return torch.where(alive.view(-1, *[1] * (new.dim() - 1)), new, old)


def _pick(outputs: Any, i: int) -> Any:
    """Return what one of several networks returned."""
    if isinstance(outputs, Tensor):
        return outputs[i]
    if isinstance(outputs, dict):
        return {name: _pick(output, i) for name, output in outputs.items()}
    return type(outputs)(_pick(output, i) for output in outputs)
