"""Layers that stay as they are while others learn: parameters, statistics, modes and all."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

from torch import nn


class Frozen(nn.Sequential):
    """Layers that stay as they are, to the bit, whatever is trained below or above them.

    A parameter without a gradient isn't enough: batch norm's running averages would still follow
    the data, and dropout would still draw. So these layers stay in evaluation mode, too, which
    ``train()`` of the network around them doesn't change. Gradients pass through them.

    Their gradients are dropped. So an optimiser that was made for them before leaves them alone,
    with momentum and weight decay, too. What it remembers would live on when they are thawed: make
    a new one for each part of a training.

    Two ways lead around it, both on the network around: ``requires_grad_(True)`` lets parameters
    learn again, and ``recompute_statistics`` recomputes theirs as well.

    Args:
        layers: They are not copied; ``frozen`` copies.

    Example:
        >>> import torch
        >>> network = nn.Sequential(Frozen(nn.Linear(2, 3), nn.BatchNorm1d(3)), nn.Linear(3, 1))
        >>> _ = network.train()(torch.randn(8, 2))
        >>> network[0][1].running_mean
        tensor([0., 0., 0.])
        >>> [name for name, p in network.named_parameters() if p.requires_grad]
        ['1.weight', '1.bias']
    """

    def __init__(self, *layers: Any) -> None:
        super().__init__(*layers)
        self._learned = [name for name, p in self.named_parameters() if p.requires_grad]
        self.requires_grad_(False)
        self.zero_grad()
        self.eval()

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode, whatever the mode of the network around."""
        return super().train(False)

    def thaw(self) -> nn.Sequential:
        """Return the layers, not copied, in training mode; those learn again that had learned."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in self._learned)
        return nn.Sequential(OrderedDict(self._modules.items())).train()


def frozen(module: nn.Module) -> Frozen:
    """Return a frozen copy of a module; the module itself stays as it is.

    Args:
        module: One layer, or an ``nn.Sequential``, whose layers become those of the copy.

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> frozen(nn.Sequential(layer, nn.Tanh()))
        Frozen(
          (0): Linear(in_features=2, out_features=3, bias=True)
          (1): Tanh()
        )
        >>> layer.weight.requires_grad
        True
    """
    module = copy.deepcopy(module)
    if type(module) is nn.Sequential:
        return Frozen(OrderedDict(module._modules.items()))
    return Frozen(module)


def thawed(network: nn.Sequential) -> nn.Sequential:
    """Return a copy in which no part is ``Frozen`` any more; the network itself stays as it is.

    The layers of a frozen part take its place in the sequence.

    Args:
        network: A sequence, of which some parts are frozen, or which is itself.

    Example:
        >>> thawed(nn.Sequential(Frozen(nn.Linear(2, 3), nn.Tanh()), nn.Linear(3, 1)))
        Sequential(
          (0): Linear(in_features=2, out_features=3, bias=True)
          (1): Tanh()
          (2): Linear(in_features=3, out_features=1, bias=True)
        )
    """
    network = copy.deepcopy(network)
    if isinstance(network, Frozen):
        return network.thaw()
    parts: list[nn.Module] = []
    for part in network:
        parts += part.thaw() if isinstance(part, Frozen) else [part]
    return nn.Sequential(*parts)
