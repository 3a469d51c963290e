"""Batch normalization beside PyTorch's kernel: ``python -m benchmarks batch_norm``.

Forward and backward pass in training mode, on one thread. *dlopt* runs the derived backward pass;
*autograd* is the four lines of equations 8.35 to 8.37, differentiated operation by operation. All
take turns; what is stored are quartiles of the ratios of times in a round, to
``torch.nn.functional.batch_norm``, and how many activations each keeps for the backward pass.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import results
from benchmarks.overhead import quartiles, rounds
from dlopt.batch_norm import batch_norm

PART = "batch_norm"
BASE = "torch"
DELTA = 1e-8
ROUNDS = 15
# Shape: how often in a turn.
SHAPES = {(256, 512): 20, (4096, 1024): 3, (32, 64, 28, 28): 5}
DTYPES = (torch.float32, torch.float64)
Normalize = Callable[[Tensor, Tensor, Tensor], Tensor]


def kernel(H: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """PyTorch's own."""
    return F.batch_norm(H, None, None, gamma, beta, training=True, eps=DELTA)


def autograd(H: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """The equations, as one would write them down."""
    axes, shape = [0, *range(2, H.dim())], [-1, *[1] * (H.dim() - 2)]
    D = H - H.mean(axes, keepdim=True)
    standard = D / (DELTA + D.square().mean(axes, keepdim=True)).sqrt()
    return gamma.view(shape) * standard + beta.view(shape)


WAYS: dict[str, Normalize] = {
    BASE: kernel,
    "dlopt": partial(batch_norm, delta=DELTA),
    "autograd": autograd,
}


def inputs(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """H, γ and β, and a gradient in the output."""
    C = shape[1]
    H, gamma, beta = torch.randn(shape) * 2 + 3, torch.rand(C) + 0.5, torch.randn(C)
    leaves = [v.to(dtype).requires_grad_() for v in (H, gamma, beta)]
    return leaves, torch.randn(shape, dtype=dtype)


def seconds(way: Normalize, leaves: list[Tensor], G: Tensor, repeats: int) -> float:
    """The median time of a forward and backward pass."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        torch.autograd.grad(way(*leaves), leaves, G)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def activations_kept(way: Normalize, leaves: list[Tensor]) -> float:
    """The bytes kept for the backward pass, tensors in one memory once, in activations."""
    kept: dict[int, int] = {}

    def note(t: Tensor) -> Tensor:
        kept[t.data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        output = way(*leaves)
    return sum(kept.values()) / (output.numel() * output.element_size())


def measure(names: Sequence[str], workers: int) -> None:
    """Time all ways (``names`` and ``workers`` are for the parts that count), print and store."""
    del names, workers
    times, memory = {}, {}
    for shape, repeats in SHAPES.items():
        for dtype in DTYPES:
            case = f"{' × '.join(map(str, shape))}, {str(dtype).removeprefix('torch.')}"
            leaves, G = inputs(shape, dtype)
            contestants = {n: partial(seconds, w, leaves, G, repeats) for n, w in WAYS.items()}
            turns = rounds(contestants, ROUNDS + 1)[1:]
            times[case] = {
                name: quartiles([turn[name] / turn[BASE] for turn in turns])
                for name in WAYS
                if name != BASE
            }
            memory[case] = {n: float(f"{activations_kept(w, leaves):.3g}") for n, w in WAYS.items()}
            print(f"{case:27} time {times[case]}, activations kept {memory[case]}", flush=True)
    results.save(PART, {"cases": times, "memory": memory})
