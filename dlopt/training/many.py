"""Train many small networks at once: seeds times learning rates times competitors as one network.

Each replica has its own learning rate, one entry of a tensor [R, 1, 1], and its own minibatches.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlopt.training.history import Grid, History
from dlopt.training.measure import Data, Log, Loss, Metric, accuracy
from dlopt.training.minibatches import Minibatches, at_least_one
from dlopt.training.replicas import replicate
from dlopt.training.rules import Memory, Rule


def train_replicas(
    network: nn.Module,
    rule: Rule,
    data: Data,
    *,
    seeds: Sequence[int],
    learning_rates: Sequence[float],
    epochs: int,
    batch_size: int | None = None,
    loss: Loss = F.cross_entropy,
    weight_decay: float = 0.0,
    test: Data | None = None,
    metric: Metric | None = accuracy,
    evaluate_every: int = 1,
    schedule: Callable[[float], float] | None = None,
) -> History:
    """Train R networks in place as one; the engine of ``train_many``.

    A replica whose loss or gradient is not finite stays where it last was, and the others do not
    notice. The seeds may repeat and the networks may start anywhere, so that seeds, learning
    rates and competitors can be mixed at will.

    Args:
        network: Maps (R, batch, features) to (R, batch, outputs); each of its parameters has
            R as its first axis, and no replica depends on another. ``replicate`` makes one.
        rule: ``SGD`` or ``Adam``, or another ``Rule``.
        data: Training inputs and targets, for all replicas.
        seeds: The order of the examples for each replica, R of them.
        learning_rates: For each replica, R of them.
        epochs: Passes over the data.
        batch_size: Examples a step (the last step of an epoch may have fewer); None for all.
        loss: A function of ``torch.nn.functional``: outputs, targets, ``reduction``.
        weight_decay: The coefficient λ of the term λ/2 ‖θ‖².
        test: Test inputs and targets.
        metric: What is reported besides the loss; None for nothing, as for a regression.
        evaluate_every: Epochs from one measurement to the next.
        schedule: Maps the share of training that is over, from 0 to below 1, to a factor for the
            learning rates.

    Returns:
        The history; its losses have shape (T, R).

    Raises:
        ValueError: An argument is out of its range, or numbers of replicas differ.
    """
    replicas = len(seeds)
    parameters = [p for p in network.parameters() if p.requires_grad]
    if {len(learning_rates), *(len(p) for p in parameters)} != {replicas}:
        raise ValueError(
            "seeds, learning rates and the first axis of each parameter must have one length, got "
            f"{replicas}, {len(learning_rates)} and {sorted({len(p) for p in parameters})}"
        )
    bad = [rate for rate in learning_rates if not 0 <= rate < math.inf]
    if bad:
        raise ValueError(f"learning rates must be finite and >= 0, got {bad[0]}")
    log = Log(
        network=network, replicas=replicas, data=data, test=test, loss=loss,
        weight_decay=weight_decay, metric=metric,
    )  # fmt: skip
    at_least_one(epochs=epochs, evaluate_every=evaluate_every)
    minibatches = Minibatches(log.m, batch_size, seeds, data[0].device)
    rates = [
        torch.tensor(learning_rates, dtype=p.dtype, device=p.device).view(-1, *[1] * (p.dim() - 1))
        for p in parameters
    ]
    memories: list[Memory] = [rule.init(p.detach()) for p in parameters]
    log.measure()
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        for batch in minibatches.epoch():
            factor = schedule(log.examples / (epochs * log.m)) if schedule else 1.0
            losses = log.losses(network(_rows(data[0], batch)), _rows(data[1], batch))
            grads = torch.autograd.grad(losses.sum(), parameters)
            # A sum shows a NaN or an infinity of any entry, without waiting for the accelerator.
            sums = [losses.detach(), *(g.flatten(1).sum(dim=1) for g in grads)]
            log.keep(torch.stack(sums).sum(dim=0).isfinite())
            log.count_gradient()
            log.count_update(batch.shape[1])
            with torch.no_grad():
                for i, (p, g) in enumerate(zip(parameters, grads, strict=True)):
                    if weight_decay:
                        g = g + weight_decay * p
                    u, memories[i] = rule.direction(g, memories[i], log.steps)
                    rate = rates[i] * factor if schedule else rates[i]
                    # Not a product with 0 or 1: of a NaN that would be a NaN.
                    p.sub_(torch.where(log.alive.view_as(rate), rate * u, 0.0))
        bool(log.alive.any())  # waits for the accelerator
        log.add_seconds(time.perf_counter() - start)
        if epoch % evaluate_every == 0 or epoch == epochs:
            log.measure()
    return log.history()


def train_many(
    build: Callable[[torch.Generator], nn.Module],
    rule: Rule,
    data: Data,
    *,
    seeds: Sequence[int],
    learning_rates: Sequence[float],
    epochs: int,
    batch_size: int | None = None,
    loss: Loss = F.cross_entropy,
    weight_decay: float = 0.0,
    test: Data | None = None,
    metric: Metric | None = accuracy,
    evaluate_every: int = 1,
    schedule: Callable[[float], float] | None = None,
) -> Grid:
    """Train a small network from each seed with each learning rate, all at once.

    A seed decides the start and, independently of it, the order of the examples. Competitors
    trained with the same seeds are therefore paired: compare them seed by seed.

    Args:
        build: Makes a network from a generator that was seeded for it, such as
            ``lambda generator: mlp([64, 16, 10], generator)``; on the CPU, made of ``nn.Linear``
            and of modules that act on each entry alone.
        rule: ``SGD`` or ``Adam``, or another ``Rule``.
        data: Training inputs and targets.
        seeds: S seeds.
        learning_rates: L learning rates.
        epochs: Passes over the data.
        batch_size: As for ``train_replicas``, like everything that follows.
        loss: See there.
        weight_decay: See there.
        test: See there.
        metric: See there.
        evaluate_every: See there.
        schedule: See there.

    Returns:
        The history; its losses have shape (T, S, L).

    Raises:
        ValueError: An argument is out of its range, or replicas of the network do not compute
            what it computes alone.

    Example:
        >>> from dlopt.lesson.networks import mlp
        >>> from dlopt.training.history import tuned
        >>> from dlopt.training.rules import SGD
        >>> x = torch.linspace(-1, 1, 20).unsqueeze(1)
        >>> grid = train_many(lambda g: mlp([1, 1], g), SGD(), (x, 3 * x), loss=F.mse_loss,
        ...     metric=None, seeds=range(4), learning_rates=[0.001, 0.01, 0.1, 1e9], epochs=50)
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
    modules = [build(torch.Generator().manual_seed(int(seed))) for seed in seeds]
    network = replicate([m for m in modules for _ in learning_rates])
    _check_replicas(network, [m for m in modules for _ in learning_rates], data[0][:2].cpu())
    network.to(data[0].device)
    history = train_replicas(
        network,
        rule,
        data,
        seeds=[seed for seed in seeds for _ in learning_rates],
        learning_rates=[rate for _ in seeds for rate in learning_rates],
        epochs=epochs,
        batch_size=batch_size,
        loss=loss,
        weight_decay=weight_decay,
        test=test,
        metric=metric,
        evaluate_every=evaluate_every,
        schedule=schedule,
    )
    return Grid.of(history, seeds, learning_rates, network)


def _rows(x: Tensor, positions: Tensor) -> Tensor:
    """Return ``x[positions]``, five times as fast where a row is more than a number."""
    return x.index_select(0, positions.reshape(-1)).view(*positions.shape, *x.shape[1:])


@torch.no_grad()
def _check_replicas(network: nn.Module, modules: Sequence[nn.Module], x: Tensor) -> None:
    """Raise ``ValueError`` unless first and last replica compute what they compute alone."""
    together = network(x.expand(len(modules), *x.shape))
    for i in (0, -1):
        alone = modules[i](x)
        if alone.shape != together.shape[1:] or not torch.allclose(
            together[i], alone, rtol=1e-3, atol=1e-4
        ):
            raise ValueError(
                "build must return a network of nn.Linear and of modules that act on each entry "
                f"alone (no dropout, nothing that mixes examples or features), got {modules[i]}"
            )
