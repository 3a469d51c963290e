"""Averaging beside PyTorch's ``swa_utils``: ``python -m benchmarks averaging``.

What an update of the exponential average takes, on one thread, for networks of linear layers.
``torch.optim.swa_utils.AveragedModel`` has two forms: one call for all tensors together (the
*foreach* form, to which ratios refer), and one call for each. All take turns; what is stored are
quartiles of the ratios of times in a round, and how many copies of the parameters each holds.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn
from torch.optim import swa_utils

from benchmarks import results
from benchmarks.overhead import quartiles, rounds
from dlopt.averaging import ExponentialAverage

PART = "averaging"
BASE = "foreach"
DECAY = 0.999
ROUNDS = 25
# (layers, width): updates in a turn.
NETWORKS = {(2, 8): 400, (20, 8): 100, (20, 100): 60, (8, 1024): 4}
Update = Callable[[], None]


def network(layers: int, width: int) -> nn.Module:
    """Linear layers, each with batch normalization."""
    both = [(nn.Linear(width, width), nn.BatchNorm1d(width)) for _ in range(layers)]
    return nn.Sequential(*(layer for pair in both for layer in pair))


def ours(net: nn.Module) -> Update:
    """The library's average."""
    return ExponentialAverage(net, DECAY).update


def theirs(net: nn.Module, together: bool) -> Update:
    """PyTorch's, all tensors in one call or one after the other."""
    if together:
        form = {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(DECAY)}  # type: ignore[no-untyped-call]
    else:
        form = {"avg_fn": swa_utils.get_ema_avg_fn(DECAY)}  # type: ignore[no-untyped-call]
    return partial(swa_utils.AveragedModel(net, **form).update_parameters, net)


WAYS: dict[str, Callable[[nn.Module], Update]] = {
    BASE: partial(theirs, together=True),
    "dlopt": ours,
    "one by one": partial(theirs, together=False),
}


def seconds(update: Update, repeats: int) -> float:
    """The time of an update, the mean of several in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        update()
    return (time.perf_counter() - start) / repeats


def copies_held(way: Callable[[nn.Module], Update], net: nn.Module) -> float:
    """How many entries, for each of the module's, a way holds between updates."""

    def entries() -> int:
        gc.collect()
        # Of subclasses and of what a transform wraps, nobody can tell where it is kept.
        found = [o for o in gc.get_objects() if type(o) in (torch.Tensor, nn.Parameter)]
        tensors = [t for t in found if torch._C._has_storage(t)]
        return sum({t.data_ptr(): t.numel() for t in tensors}.values())

    before = entries()
    update = way(net)
    update()
    update()
    return (entries() - before) / sum(p.numel() for p in net.parameters())


def measure(names: Sequence[str], workers: int) -> None:
    """Time all ways (``names`` and ``workers`` are for the parts that count), print and store."""
    del names, workers
    times, memory = {}, {}
    for (layers, width), repeats in NETWORKS.items():
        net = network(layers, width)
        n = sum(p.numel() for p in net.parameters())
        case = f"{n} in {len(list(net.parameters()))} tensors"
        memory[case] = {name: float(f"{copies_held(way, net):.3g}") for name, way in WAYS.items()}
        contestants = {name: partial(seconds, way(net), repeats) for name, way in WAYS.items()}
        turns = rounds(contestants, ROUNDS + 1)[1:]
        times[case] = {
            name: quartiles([turn[name] / turn[BASE] for turn in turns])
            for name in WAYS
            if name != BASE
        }
        times[case]["microseconds"] = quartiles([1e6 * turn["dlopt"] for turn in turns])
        print(f"{case:27} time {times[case]}, copies held {memory[case]}", flush=True)
    results.save(PART, {"cases": times, "memory": memory})
