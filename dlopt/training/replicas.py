"""Many small networks as one network of stacked layers.

A small network leaves the processor waiting for Python most of the time. So R networks of one
architecture become one: each linear layer is one tensor [R, fan-in, fan-out]. The losses are
summed; since no replica's loss depends on another's parameters, each gets the gradient that it
would get alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ReplicatedLinear(nn.Module):
    """R linear layers side by side: inputs (R, batch, fan-in), outputs (R, batch, fan-out).

    Args:
        layers: R layers of one shape; their values are copied.
    """

    bias: nn.Parameter | None

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
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
