"""Train one network, with any optimiser: the plain loop."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlopt.optimizer import MethodOptimizer
from dlopt.training.history import History
from dlopt.training.measure import Data, Log, Loss, Metric, accuracy
from dlopt.training.minibatches import Minibatches, at_least_one


def train(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Data,
    *,
    epochs: int,
    batch_size: int | None = None,
    seed: int = 0,
    loss: Loss = F.cross_entropy,
    weight_decay: float = 0.0,
    test: Data | None = None,
    metric: Metric | None = accuracy,
    evaluate_every: int = 1,
    max_seconds: float | None = None,
) -> History:
    """Train one network, in place: the plain loop.

    The objective is the empirical risk :eq:`eq-8-25` plus weight decay. The network is measured
    in evaluation mode and trained in the mode it is in. Training stops where loss or parameters
    are no longer finite, and the last finite parameters are put back.

    Args:
        module: The network.
        optimizer: Any of ``torch.optim``, or a ``MethodOptimizer``, on the network's parameters
            (not with ``LevenbergMarquardt``, which wants residuals instead of a loss).
        data: Training inputs and targets.
        epochs: Passes over the data.
        batch_size: Examples a step (the last step of an epoch may have fewer); None for all.
        seed: Decides the order of the examples, and nothing else.
        loss: A function of ``torch.nn.functional``: outputs, targets, ``reduction``.
        weight_decay: The coefficient λ of the term λ/2 ‖θ‖²; leave the optimiser's at 0.
        test: Test inputs and targets.
        metric: What is reported besides the loss; None for nothing, as for a regression.
        evaluate_every: Epochs from one measurement to the next.
        max_seconds: Stop after so much training time.

    Returns:
        The history; its losses have shape (T,).

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> from dlopt.lesson.networks import mlp
        >>> module = mlp([3, 3], torch.Generator().manual_seed(0))
        >>> optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
        >>> history = train(module, optimizer, (torch.eye(3), torch.arange(3)), epochs=20)
        >>> history.train_accuracy[-1]
        tensor(1., dtype=torch.float64)
    """
    log = Log(
        network=module, data=data, test=test, loss=loss, weight_decay=weight_decay, metric=metric
    )
    at_least_one(epochs=epochs, evaluate_every=evaluate_every)
    minibatches = Minibatches(log.m, batch_size, [seed], data[0].device)
    parameters = [p for p in module.parameters() if p.requires_grad]
    # A method of this library differentiates by itself, and curvature needs the graph.
    backward = not isinstance(optimizer, MethodOptimizer)
    log.measure()
    for epoch in range(1, epochs + 1):
        for (batch,) in minibatches.epoch():
            before = [p.detach().clone() for p in parameters]
            start = time.perf_counter()
            x, y = data[0][batch], data[1][batch]

            def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
                log.count_gradient()
                optimizer.zero_grad()
                objective: Tensor = (log.losses(module(x)[None], y[None]) + log.penalty())[0]
                if backward:
                    objective.backward()  # type: ignore[no-untyped-call]
                return objective

            value: Tensor = optimizer.step(closure)  # type: ignore[arg-type, assignment]
            number = float(value.detach())  # waits for the accelerator
            log.count_update(len(batch))
            log.add_seconds(time.perf_counter() - start)
            finite = math.isfinite(number) and all(bool(p.isfinite().all()) for p in parameters)
            log.keep(finite)
            if not finite:
                with torch.no_grad():
                    for p, b in zip(parameters, before, strict=True):
                        p.copy_(b)
            late = max_seconds is not None and log.seconds >= max_seconds
            if late or not finite:
                log.measure()
                return log.history()
        if epoch % evaluate_every == 0 or epoch == epochs:
            log.measure()
    return log.history()
