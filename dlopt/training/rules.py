"""Update rules for many networks at once: a gradient becomes a direction, entry by entry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Memory = tuple[Tensor, ...]
"""What a rule keeps from one step to the next, tensors of the parameter's shape."""


class Rule(Protocol):
    """How a gradient becomes a direction u; the loop then takes θ ← θ − ε u. Frozen and pure."""

    def init(self, parameter: Tensor) -> Memory:
        """Return the memory before the first step."""
        ...

    def direction(self, grad: Tensor, memory: Memory, t: int) -> tuple[Tensor, Memory]:
        """Return u and the memory after step t = 1, 2, …, all of the parameter's shape."""
        ...


@dataclass(frozen=True)
class SGD:
    r"""Stochastic gradient descent, :math:`u_t = \mu u_{t-1} + g_t`, as ``torch.optim.SGD``.

    Args:
        momentum: The share μ of the last direction that stays, in [0, 1).

    Raises:
        ValueError: ``momentum`` is outside [0, 1).
    """

    momentum: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")

    def init(self, parameter: Tensor) -> Memory:
        """Return the direction before the first step, which is 0."""
        return (torch.zeros_like(parameter),) if self.momentum else ()

    def direction(self, grad: Tensor, memory: Memory, t: int) -> tuple[Tensor, Memory]:
        """Return u, which is the memory as well."""
        if not self.momentum:
            return grad, ()
        u = torch.add(grad, memory[0], alpha=self.momentum)
        return u, (u,)


@dataclass(frozen=True)
class Adam:
    r"""Adam (Kingma and Ba, 2015), as ``torch.optim.Adam``.

    .. math:: s_t = \rho_1 s_{t-1} + (1 - \rho_1) g_t, \quad
              r_t = \rho_2 r_{t-1} + (1 - \rho_2) g_t^2, \quad
              u_t = \frac{s_t / (1 - \rho_1^t)}{\sqrt{r_t / (1 - \rho_2^t)} + \delta}

    Args:
        rho1: The decay ρ₁ of the mean gradient s, in [0, 1).
        rho2: The decay ρ₂ of the mean squared gradient r, in [0, 1).
        delta: The small δ that is added to the root.

    Raises:
        ValueError: A decay is outside [0, 1).
    """

    rho1: float = 0.9
    rho2: float = 0.999
    delta: float = 1e-8

    def __post_init__(self) -> None:
        for name, rho in (("rho1", self.rho1), ("rho2", self.rho2)):
            if not 0 <= rho < 1:
                raise ValueError(f"{name} must be in [0, 1), got {rho}")

    def init(self, parameter: Tensor) -> Memory:
        """Return s and r before the first step, which are 0."""
        return torch.zeros_like(parameter), torch.zeros_like(parameter)

    def direction(self, grad: Tensor, memory: Memory, t: int) -> tuple[Tensor, Memory]:
        """Return u, and s and r."""
        s = memory[0].lerp(grad, 1 - self.rho1)
        r = (memory[1] * self.rho2).addcmul_(grad, grad, value=1 - self.rho2)
        root = r.sqrt().div_(math.sqrt(1 - self.rho2**t)).add_(self.delta)
        return s / root / (1 - self.rho1**t), (s, r)
