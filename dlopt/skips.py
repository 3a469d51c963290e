"""Skip connections: a short cut around layers, which are scaled as a whole."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Skip(nn.Sequential):
    r"""Layers, around which their input takes a short cut.

    .. math:: y = x + s f(x)

    He et al. (2016) have s = 1. If a network of L of them is to keep the size of its signal, a
    number such as :math:`1/\sqrt L` is needed, or batch normalization, which does the same
    (De & Smith, 2020). "learned" makes s a parameter that starts at 0, so that the network starts
    as if it were not there: SkipInit of De & Smith, ReZero of Bachlechner et al. (2021).

    Args:
        layers: They make f; their output has the shape of their input.
        scale: The number s, or "learned".

    Attributes:
        scale: s, a number or a parameter without axes.

    Raises:
        ValueError: There is no layer, ``scale`` is none of these, or the layers change the shape.

    Example:
        >>> block = Skip(nn.Linear(3, 3), nn.Tanh(), scale="learned")
        >>> x = torch.ones(1, 3)
        >>> torch.equal(block(x), x)
        True
    """

    def __init__(self, *layers: nn.Module, scale: float | str = 1.0) -> None:
        super().__init__(*layers)
        self.scale: float | nn.Parameter
        if not layers:
            raise ValueError("layers must be at least one, got none")
        if isinstance(scale, str):
            if scale != "learned":
                raise ValueError(f'scale must be a number or "learned", got {scale!r}')
            like = next(self.parameters(), torch.empty(()))
            self.scale = nn.Parameter(torch.zeros((), dtype=like.dtype, device=like.device))
        elif math.isfinite(scale):
            self.scale = float(scale)
        else:
            raise ValueError(f"scale must be finite, got {scale}")

    def forward(self, input: Tensor) -> Tensor:
        """Return the input plus what the layers make of it, times the scale."""
        out: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
        if out.shape != input.shape:
            raise ValueError(
                f"layers must keep the shape {tuple(input.shape)}, got {tuple(out.shape)}"
            )
        plain = isinstance(self.scale, float) and self.scale == 1
        return input + (out if plain else self.scale * out)

    def extra_repr(self) -> str:
        """Say what tells two of them apart."""
        return f"scale={self.scale if isinstance(self.scale, float) else 'learned'}"
