"""Many small networks as one, beside one after the other: ``python -m benchmarks replicas``.

60 networks of one kind make some steps of SGD with momentum on minibatches of 50 of their own, in
float32 on one thread. *torch.optim* trains one after the other, in a loop of five lines; *train* is
the plain loop of ``dlopt``; *vmap* is PyTorch's own recipe for ensembles, ``stack_module_state``
and ``functional_call``; *by hand* are linear layers that were written as ``baddbmm``. All take
turns, and what is stored are quartiles of the ratios in a round: how many times as fast as
*torch.optim*.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional as F

from benchmarks import results
from benchmarks.overhead import quartiles, rounds
from dlopt.training.loop import train
from dlopt.training.many import train_replicas
from dlopt.training.plan import Plan
from dlopt.training.replicas import Replicas
from dlopt.training.rules import SGD
from dlopt.training.task import Task

PART = "replicas"
REPLICAS, EXAMPLES, BATCH, ROUNDS = 60, 500, 50, 7
RATE, MOMENTUM = 0.01, 0.9
BASE = "torch.optim"
Build = Callable[[], nn.Module]


class Recurrent(nn.Module):
    """A GRU cell of 16 units over the 20 steps of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.last = nn.GRUCell(3, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Read the sequences (batch, 20, 3), classify their ends."""
        h: Tensor | None = None
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        logits: Tensor = self.last(h)
        return logits


class ByHand(nn.Module):
    """Networks 64-16-16-10, as three tensors of weights and three of biases."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        layers = zip(*([m for m in net.modules() if isinstance(m, nn.Linear)] for net in modules))  # noqa: B905
        stacks = [torch.stack([torch.cat([x.weight.T, x.bias[None]]) for x in ls]) for ls in layers]
        self.weights = nn.ParameterList(s[:, :-1].detach().clone() for s in stacks)
        self.biases = nn.ParameterList(s[:, -1:].detach().clone() for s in stacks)

    def forward(self, x: Tensor) -> Tensor:
        """Map (60, batch, 64) to (60, batch, 10)."""
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x.tanh() if k else x, weight)
        return x


def layered(norm: Build | None = None) -> nn.Module:
    """A network 64-16-16-10, with a norm after each hidden layer if asked for."""
    hidden = [[nn.Linear(a, 16), *([norm()] if norm else []), nn.Tanh()] for a in (64, 16)]
    return nn.Sequential(*(layer for layers in hidden for layer in layers), nn.Linear(16, 10))


def convolutional() -> nn.Module:
    """Three convolutions with 8 channels on images of 8 × 8."""
    layers: list[nn.Module] = []
    for channels in (1, 8, 8):
        layers += [nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


# Kind: how to build a network, and the shape of an example.
KINDS: dict[str, tuple[Build, tuple[int, ...]]] = {
    "linear layers": (layered, (64,)),
    "batch norm": (partial(layered, partial(nn.BatchNorm1d, 16)), (64,)),
    "layer norm": (partial(layered, partial(nn.LayerNorm, 16)), (64,)),
    "GRU cell": (Recurrent, (20, 3)),
    "convolutions": (convolutional, (1, 8, 8)),
}


def minibatches() -> Iterator[Tensor]:
    """Positions of one epoch, (60, batch)."""
    orders = torch.stack([torch.randperm(EXAMPLES) for _ in range(REPLICAS)])
    yield from torch.split(orders, BATCH, dim=1)


def one_after_the_other(build: Build, task: Task) -> float:
    """The seconds of *torch.optim*."""
    modules, (x, y) = [build() for _ in range(REPLICAS)], task.data
    start = time.perf_counter()
    for module in modules:
        optimizer = torch.optim.SGD(module.parameters(), lr=RATE, momentum=MOMENTUM)
        for batch in torch.split(torch.randperm(EXAMPLES), BATCH):
            optimizer.zero_grad()
            F.cross_entropy(module(x[batch]), y[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return time.perf_counter() - start


def plain_loop(build: Build, task: Task) -> float:
    """The seconds of *train*, without measuring."""
    total = 0.0
    for _ in range(REPLICAS):
        module = build()
        optimizer = torch.optim.SGD(module.parameters(), lr=RATE, momentum=MOMENTUM)
        total += float(train(module, optimizer, task, Plan(1, BATCH)).seconds[-1])
    return total


def at_once(build: Build, task: Task) -> float:
    """The seconds of *dlopt*, without measuring."""
    history = train_replicas(
        Replicas([build() for _ in range(REPLICAS)]), SGD(MOMENTUM), task, Plan(1, BATCH),
        seeds=range(REPLICAS), learning_rates=[RATE] * REPLICAS,
    )  # fmt: skip
    return float(history.seconds[-1])


def recipe(build: Build, task: Task) -> float:
    """The seconds of *vmap*."""
    module = build()
    parameters, buffers = stack_module_state([build() for _ in range(REPLICAS)])

    def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        outputs: Tensor = functional_call(module, (parameters, buffers), (x,))
        return outputs

    network = torch.vmap(one)
    return stacked(lambda x: network(parameters, buffers, x), parameters.values(), task)


def by_hand(build: Build, task: Task) -> float:
    """The seconds of *by hand*."""
    network = ByHand([build() for _ in range(REPLICAS)])
    return stacked(network, network.parameters(), task)


def stacked(network: Callable[[Tensor], Tensor], parameters: Iterable[Tensor], task: Task) -> float:
    """The seconds of training what maps (60, batch, ...) to (60, batch, 10)."""
    optimizer = torch.optim.SGD(parameters, lr=RATE, momentum=MOMENTUM)
    x, y = task.data
    start = time.perf_counter()
    for batch in minibatches():
        optimizer.zero_grad()
        outputs = network(x[batch])
        loss = F.cross_entropy(outputs.flatten(0, 1), y[batch].flatten(), reduction="sum")
        (loss / BATCH).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return time.perf_counter() - start


def measure(names: Sequence[str], workers: int) -> None:
    """Time all ways (``names`` and ``workers`` are for the parts that count), print and store."""
    del names, workers
    found = {}
    print(f"{'':15}{'train':>22}{'by hand':>22}{'vmap':>22}{'dlopt':>22}   (quartiles)")
    for kind, (build, shape) in KINDS.items():
        task = Task((torch.randn(EXAMPLES, *shape), torch.arange(EXAMPLES) % 10), metric=None)
        ways = {
            BASE: partial(one_after_the_other, build, task),
            "train": partial(plain_loop, build, task),
            "dlopt": partial(at_once, build, task),
        }
        if kind == "linear layers":
            ways["by hand"] = partial(by_hand, build, task)
        if kind != "GRU cell":  # vmap has no rule for it
            ways["vmap"] = partial(recipe, build, task)
        measured = rounds(ways, ROUNDS)
        found[kind] = {
            way: quartiles([turn[BASE] / turn[way] for turn in measured])
            for way in ways
            if way != BASE
        }
        cells = (found[kind].get(way, "–") for way in ("train", "by hand", "vmap", "dlopt"))
        print(f"{kind:15}", *(f"{cell!s:>21}" for cell in cells), flush=True)
    about = {"replicas": REPLICAS, "examples": EXAMPLES, "batch": BATCH}
    results.save(PART, {**about, "cases": found})
