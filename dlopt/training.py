"""Training loops: one network with any optimiser, or many small networks at once.

An honest comparison needs tuned learning rates and several seeds: dozens of short trainings of
each competitor. ``train_many`` does them as one batched network (see ``dlopt.replicas``), and
``tuned`` picks the learning rate. Whoever trains with the same seed sees the same minibatches in
the same order, so that competitors can be compared in pairs.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlopt.history import Data, Grid, History, Log, Loss, Metric, Tuned, accuracy, tuned
from dlopt.optimizer import MethodOptimizer
from dlopt.replicas import SGD, Adam, Memory, Rule, extract, replicate

__all__ = [
    "SGD", "Adam", "Grid", "History", "Tuned", "accuracy", "extract", "mlp", "replicate",
    "train", "train_many", "train_replicas", "tuned",
]  # fmt: skip


def mlp(
    widths: Sequence[int],
    generator: torch.Generator,
    *,
    activation: Callable[[], nn.Module] = nn.Tanh,
    init: str = "torch",
    scale: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """Return a fully connected network whose start is drawn from ``generator`` alone.

    Args:
        widths: Inputs, hidden units of each layer, outputs, such as [64, 16, 10].
        generator: Where the randomness comes from; PyTorch's global one is left alone.
        activation: Makes the nonlinearity between two layers.
        init: "torch", PyTorch's default: weights and biases uniform within ±1/√fan-in; "glorot":
            normal weights of variance 2/(fan-in + fan-out) and zero biases; "he": 2/fan-in.
        scale: Multiplies the initial weights.
        dtype: Of the parameters.

    Returns:
        The network, on the CPU.

    Raises:
        ValueError: ``init`` is none of these, or there are fewer than two widths.

    Example:
        >>> mlp([64, 16, 10], torch.Generator().manual_seed(0))
        Sequential(
          (0): Linear(in_features=64, out_features=16, bias=True)
          (1): Tanh()
          (2): Linear(in_features=16, out_features=10, bias=True)
        )
    """
    if len(widths) < 2:
        raise ValueError(f"widths must name inputs and outputs at least, got {list(widths)}")
    if init not in ("torch", "glorot", "he"):
        raise ValueError(f'init must be "torch", "glorot" or "he", got {init!r}')
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layer = nn.Linear(a, b, device="meta", dtype=dtype).to_empty(device="cpu")
        with torch.no_grad():
            if init == "torch":
                bound = 1 / math.sqrt(a)
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)
            else:
                variance = 2 / a if init == "he" else 2 / (a + b)
                layer.weight.normal_(0, math.sqrt(variance), generator=generator)
                layer.bias.zero_()
            layer.weight *= scale
        layers += [layer, activation()]
    return nn.Sequential(*layers[:-1])


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
        >>> module = mlp([3, 3], torch.Generator().manual_seed(0))
        >>> optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
        >>> history = train(module, optimizer, (torch.eye(3), torch.arange(3)), epochs=20)
        >>> history.train_accuracy[-1]
        tensor(1., dtype=torch.float64)
    """
    log = Log(module, None, data, test, loss, weight_decay, metric)
    size = _batch_size(data, epochs, batch_size, evaluate_every)
    parameters = [p for p in module.parameters() if p.requires_grad]
    # A method of this library differentiates by itself, and curvature needs the graph.
    backward = not isinstance(optimizer, MethodOptimizer)
    order, device = _order(seed), data[0].device
    log.measure()
    for epoch in range(1, epochs + 1):
        for batch in torch.split(torch.randperm(log.m, generator=order).to(device), size):
            before = [p.detach().clone() for p in parameters]
            start = time.perf_counter()
            x, y = data[0][batch], data[1][batch]

            def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
                log.evaluations += 1
                optimizer.zero_grad()
                objective: Tensor = (log.losses(module(x)[None], y[None]) + log.penalty())[0]
                if backward:
                    objective.backward()  # type: ignore[no-untyped-call]
                return objective

            value: Tensor = optimizer.step(closure)  # type: ignore[arg-type, assignment]
            number = float(value.detach())  # waits for the accelerator
            log.count(len(batch), time.perf_counter() - start)
            finite = math.isfinite(number) and all(bool(p.isfinite().all()) for p in parameters)
            if not finite:
                log.alive[:] = False
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
    log = Log(network, replicas, data, test, loss, weight_decay, metric)
    size = _batch_size(data, epochs, batch_size, evaluate_every)
    orders = {seed: _order(seed) for seed in seeds}
    row = torch.tensor([list(orders).index(seed) for seed in seeds])
    rates = [
        torch.tensor(learning_rates, dtype=p.dtype, device=p.device).view(-1, *[1] * (p.dim() - 1))
        for p in parameters
    ]
    device = data[0].device
    memories: list[Memory] = [rule.init(p.detach()) for p in parameters]
    log.measure()
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        shuffled = torch.stack([torch.randperm(log.m, generator=g) for g in orders.values()])
        for batch in torch.split(shuffled[row].to(device), size, dim=1):
            factor = schedule(log.examples / (epochs * log.m)) if schedule else 1.0
            losses = log.losses(network(_rows(data[0], batch)), _rows(data[1], batch))
            grads = torch.autograd.grad(losses.sum(), parameters)
            # A sum shows a NaN or an infinity of any entry, without waiting for the accelerator.
            sums = [losses.detach(), *(g.flatten(1).sum(dim=1) for g in grads)]
            log.alive &= torch.stack(sums).sum(dim=0).isfinite()
            log.count(batch.shape[1])
            log.evaluations += 1
            with torch.no_grad():
                for i, (p, g) in enumerate(zip(parameters, grads, strict=True)):
                    if weight_decay:
                        g = g + weight_decay * p
                    u, memories[i] = rule.direction(g, memories[i], log.steps)
                    rate = rates[i] * factor if schedule else rates[i]
                    # Not a product with 0 or 1: of a NaN that would be a NaN.
                    p.sub_(torch.where(log.alive.view_as(rate), rate * u, 0.0))
        bool(log.alive.any())  # waits for the accelerator
        log.seconds += time.perf_counter() - start
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


def _order(seed: int) -> torch.Generator:
    """Return the stream that shuffles the examples: another one than that of the start."""
    first = torch.Generator().manual_seed(int(seed))
    return torch.Generator().manual_seed(int(torch.randint(2**31, (), generator=first)))


def _rows(x: Tensor, positions: Tensor) -> Tensor:
    """Return ``x[positions]``, five times as fast where a row is more than a number."""
    return x.index_select(0, positions.reshape(-1)).view(*positions.shape, *x.shape[1:])


def _batch_size(data: Data, epochs: int, batch_size: int | None, evaluate_every: int) -> int:
    """Return the number of examples a step, or raise ``ValueError``."""
    size = len(data[0]) if batch_size is None else batch_size
    for name, value in (
        ("epochs", epochs),
        ("batch_size", size),
        ("evaluate_every", evaluate_every),
    ):
        if value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}")
    return size


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
