"""Many small networks as one: stacked layers, and update rules with a learning rate for each.

A small network leaves the processor waiting for Python most of the time. So R networks of one
architecture become one: each linear layer is one tensor [R, fan-in, fan-out], each learning rate
one entry of a tensor [R, 1, 1]. The losses are summed; since no replica's loss depends on
another's parameters, each gets the gradient that it would get alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

Memory = tuple[Tensor, ...]


class ReplicatedLinear(nn.Module):
    """R linear layers side by side: inputs (R, batch, fan-in), outputs (R, batch, fan-out).

    Args:
        layers: R layers of one shape; their values are copied.
    """

    bias: nn.Parameter | None

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        """Stack weights to [R, fan-in, fan-out] and biases to [R, 1, fan-out]."""
        super().__init__()
        self.weight = nn.Parameter(torch.stack([x.weight.detach().T for x in layers]))
        biases = [x.bias.detach()[None] for x in layers if x.bias is not None]
        self.bias = nn.Parameter(torch.stack(biases)) if biases else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply each layer to its own batch."""
        if self.bias is None:
            return torch.bmm(x, self.weight)
        return torch.baddbmm(self.bias, x, self.weight)

    def layer(self, replica: int) -> nn.Linear:
        """Return one of the layers, as an ordinary one."""
        weight = self.weight.detach()[replica].T.clone()
        b, a = weight.shape
        alone = nn.Linear(a, b, bias=self.bias is not None, device="meta")
        alone.weight = nn.Parameter(weight)
        if self.bias is not None:
            alone.bias = nn.Parameter(self.bias.detach()[replica, 0].clone())
        return alone


def replicate(modules: Sequence[nn.Module]) -> nn.Module:
    """Return ordinary networks of one architecture as a single network of replicas.

    Each ``nn.Linear`` becomes a ``ReplicatedLinear``; everything else must act on every entry
    alone, as activations and skip connections do. The inputs then are (R, batch, features).

    Args:
        modules: The R networks. One that occurs twice gives two replicas with the same start.

    Returns:
        The network; it shares no memory with ``modules``.

    Raises:
        ValueError: There is none, they differ in architecture, or they hold parameters or buffers
            outside of linear layers.

    Example:
        >>> nets = [nn.Sequential(nn.Linear(4, 3), nn.Tanh()) for _ in range(5)]
        >>> replicate(nets)(torch.zeros(5, 7, 4)).shape
        torch.Size([5, 7, 3])
    """
    if len({repr(m) for m in modules}) != 1:
        kinds = sorted({repr(m) for m in modules})
        raise ValueError(f"modules must be of one architecture, got {kinds}")
    first = modules[0]
    if isinstance(first, nn.Linear):
        return ReplicatedLinear([m for m in modules if isinstance(m, nn.Linear)])
    own = [*first.named_parameters(recurse=False), *first.named_buffers(recurse=False)]
    if own:
        names = [name for name, _ in own]
        raise ValueError(f"only nn.Linear has replicas, got {type(first).__name__} with {names}")
    together = copy.deepcopy(first)
    for name, _ in first.named_children():
        setattr(together, name, replicate([m.get_submodule(name) for m in modules]))
    return together


def extract(network: nn.Module, replica: int) -> nn.Module:
    """Return one replica as an ordinary network that shares no memory; ``replicate`` undone.

    Args:
        network: What ``replicate`` returned.
        replica: Its number, from 0.
    """
    if isinstance(network, ReplicatedLinear):
        return network.layer(replica)
    alone = copy.deepcopy(network)
    for name, child in network.named_children():
        setattr(alone, name, extract(child, replica))
    return alone


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
        """Check the momentum."""
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
        """Check the decays."""
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
