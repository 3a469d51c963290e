"""What a Hessian costs, beside the two usual ways to get one: ``python -m benchmarks hessian``.

*Batched*: all rows in one batched pass back through the graph of the gradient. *Loop*: one pass for
each row. They take turns, on one thread; what is stored are quartiles of the ratios in a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from benchmarks import results
from benchmarks.overhead import quartiles, rounds
from dlopt.empirical_risk import EmpiricalRisk
from dlopt.objective import Objective

PART = "hessian"
SIZES = {6: 7, 66: 3}  # hidden units: rounds


def gradient_graph(risk: EmpiricalRisk, theta: Tensor) -> tuple[Tensor, Tensor]:
    """The parameters as a leaf, shape (n,), and the gradient with its graph."""
    leaf = theta.clone().requires_grad_()
    (g,) = torch.autograd.grad(risk(leaf), leaf, create_graph=True)
    return leaf, g


def batched(risk: EmpiricalRisk, theta: Tensor) -> Tensor:
    """All rows at once."""
    leaf, g = gradient_graph(risk, theta)
    rows = torch.eye(len(theta), dtype=theta.dtype)
    return torch.autograd.grad(g, leaf, rows, is_grads_batched=True)[0]


def loop(risk: EmpiricalRisk, theta: Tensor) -> Tensor:
    """Row by row."""
    leaf, g = gradient_graph(risk, theta)
    rows = torch.eye(len(theta), dtype=theta.dtype)
    return torch.stack([torch.autograd.grad(g, leaf, row, retain_graph=True)[0] for row in rows])


def ours(risk: EmpiricalRisk, theta: Tensor) -> Tensor:
    """As `Newton` gets it."""
    return Objective(risk).curvature(theta).hessian()


def seconds(build: Callable[[EmpiricalRisk, Tensor], Tensor], risk: EmpiricalRisk) -> float:
    """The time to build one Hessian."""
    start = time.perf_counter()
    build(risk, risk.initial)
    return time.perf_counter() - start


def measure(names: Sequence[str], workers: int) -> None:
    """Time all ways (``names`` and ``workers`` are for the parts that count), print and store."""
    del names, workers
    data = load_digits()
    x = torch.tensor(data.data / 16)[:500]
    labels = torch.tensor(data.target)[:500]
    found = {}
    print(f"{'parameters':>10}{'ratio to batched':>26}{'ratio to loop':>26}   (quartiles)")
    for hidden, turns in SIZES.items():
        net = nn.Sequential(nn.Linear(64, hidden), nn.Tanh(), nn.Linear(hidden, 10)).double()
        risk = EmpiricalRisk(net, x, labels, nn.functional.cross_entropy)
        ways: dict[str, Callable[[], float]] = {
            "dlopt": partial(seconds, ours, risk),
            "loop": partial(seconds, loop, risk),
        }
        if risk.n < 1000:  # beyond, the batch takes gigabytes
            ways["batched"] = partial(seconds, batched, risk)
        measured = rounds(ways, turns)
        found[str(risk.n)] = {
            way: quartiles([turn["dlopt"] / turn[way] for turn in measured])
            for way in ways
            if way != "dlopt"
        }
        print(f"{risk.n:10}", *(f"{found[str(risk.n)].get(w)!s:>26}" for w in ("batched", "loop")))
    results.save(PART, {"examples": len(x), "cases": found})
