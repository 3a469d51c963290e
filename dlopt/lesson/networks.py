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
    norm: Callable[[int], nn.Module] | None = None,
    skip: bool = False,
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
        norm: Makes what stands between a hidden layer and its nonlinearity, from the number of
            units, such as ``BatchNorm``; the layer then has no bias.
        skip: Add to the output of each hidden layer its input, where both have the same width.
        dtype: Of the parameters; that of ``norm`` has to be the same.

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
    for number, (a, b) in enumerate(itertools.pairwise(widths), start=1):
        hidden = number < len(widths) - 1
        bias = not hidden or norm is None
        layer = nn.Linear(a, b, bias, device="meta", dtype=dtype).to_empty(device="cpu")
        with torch.no_grad():
            if init == "torch":
                bound = 1 / math.sqrt(a)
                for parameter in layer.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)
            else:
                variance = 2 / a if init == "he" else 2 / (a + b)
                layer.weight.normal_(0, math.sqrt(variance), generator=generator)
                if bias:
                    layer.bias.zero_()
            layer.weight *= scale
        block = [layer, *([] if norm is None else [norm(b)]), activation()] if hidden else [layer]
        layers += [Skip(*block)] if hidden and skip and a == b else block
    return nn.Sequential(*layers)


class Skip(nn.Sequential):
    """Layers, around which their input takes a short cut."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the input plus what the layers make of it."""
        out: torch.Tensor = input + super().forward(input)  # type: ignore[no-untyped-call]
        return out


class Reader(nn.Module):
    """A recurrent cell that reads a sequence, and a linear layer that answers at its end.

    The last entry of each input says whether the sequence ends there: 1 once, and 0 elsewhere. So
    sequences of all lengths stand in one tensor, and what follows the end has no effect.

    Args:
        inputs: Numbers in one input, the mark of the end not counted.
        hidden: Units of the cell, an ``nn.GRUCell``.
        outputs: Numbers in the answer.
        generator: Where the start comes from: PyTorch's default, uniform within ±1/√hidden.

    Example:
        >>> reader = Reader(1, 4, 2, torch.Generator().manual_seed(0))
        >>> reader(torch.zeros(3, 7, 2)).shape
        torch.Size([3, 2])
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.cell = nn.GRUCell(inputs, hidden, device="meta").to_empty(device="cpu")
        self.answer = nn.Linear(hidden, outputs, device="meta").to_empty(device="cpu")
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-(hidden**-0.5), hidden**-0.5, generator=generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the answers, shape (batch, outputs), to x, shape (batch, time, inputs + 1)."""
        h = torch.zeros(len(x), self.cell.hidden_size, dtype=x.dtype, device=x.device)
        at_end = torch.zeros_like(h)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t, :-1], h)
            at_end = at_end + x[:, t, -1:] * h
        out: torch.Tensor = self.answer(at_end)
        return out
