"""Small networks for the pages: their start is drawn from a generator, and from nothing else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import nn


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
