"""The layers of a network, counted as papers count them: those that have weights."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd as Convolution

from dlopt.frozen import Frozen

WEIGHT_LAYERS = (nn.Linear, nn.Bilinear, Convolution, nn.Embedding, nn.RNNCellBase, nn.RNNBase)
"""The kinds that count as layers, which are linear, convolutional, recurrent, and embeddings."""


def weight_layers(module: nn.Module) -> list[dict[str, Tensor]]:
    """Return, for each layer with weights, its tensors and those that belong to it.

    What stands between two weight layers, such as a norm, belongs to the one before it; within a
    block that is more than a plain sequence, such as one with a skip, what stands at its start
    belongs to its own first one.

    Args:
        module: A network; layers count in the order in which it holds them.

    Returns:
        Parameters and buffers by name, the module's own.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 1))
        >>> for layer in weight_layers(net):
        ...     print(*layer)
        0.weight 0.bias 1.weight 1.bias 1.running_mean 1.running_var 1.num_batches_tracked
        3.weight 3.bias
    """
    start, layers = _grouped(module, "")
    if layers:
        layers[0] = start | layers[0]
    return layers


def _grouped(module: nn.Module, path: str) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """Return the tensors that come before the first weight layer, and those of each one."""
    if isinstance(module, WEIGHT_LAYERS):
        return {}, [_tensors(module, path, recurse=True)]
    start: dict[str, Tensor] = {}
    layers: list[dict[str, Tensor]] = []
    children = ((name, child) for name, child in module._modules.items() if child is not None)
    for name, child in children:  # one that occurs twice counts twice
        before, inside = _grouped(child, f"{path}{name}.")
        (layers[-1] if layers else start).update(before)
        layers += inside
    (layers[-1] if layers else start).update(_tensors(module, path, recurse=False))
    if layers and type(module) is not nn.Sequential:
        layers[0], start = start | layers[0], {}
    return start, layers


def _tensors(module: nn.Module, path: str, recurse: bool) -> dict[str, Tensor]:
    """Name parameters and buffers."""
    named = chain(module.named_parameters(recurse=recurse), module.named_buffers(recurse=recurse))
    return {path + name: tensor for name, tensor in named}


def split(network: nn.Sequential, layers: int) -> tuple[list[nn.Module], list[nn.Module]]:
    """Return the parts up to the last before weight layer ``layers + 1``, and the other parts.

    Args:
        network: A sequence; plain sequences in it are cut where they have to, other blocks aren't.
        layers: How many weight layers come before the cut.

    Raises:
        ValueError: It isn't a sequence, or the cut is inside a block.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> split(net, 1)[0]
        [Linear(in_features=2, out_features=3, bias=True), Tanh()]
    """
    if type(network) not in (nn.Sequential, Frozen):
        raise ValueError(f"a network to be cut must be an nn.Sequential, got {type(network)}")
    below: list[nn.Module] = []
    parts = list(network)
    for i, part in enumerate(parts):
        inside = len(weight_layers(part))
        if inside <= layers:
            below.append(part)
            layers -= inside
        elif type(part) is nn.Sequential:
            under, over = split(part, layers)
            if not under:
                return below, parts[i:]
            return [*below, nn.Sequential(*under)], [nn.Sequential(*over), *parts[i + 1 :]]
        elif layers:
            kind = type(part).__name__
            raise ValueError(
                f"a cut must not be inside a block, got one after {layers} of the {inside} weight "
                f"layers of {kind}, part {i} of its sequence"
            )
        else:
            return below, parts[i:]
    return below, []


def require_layers(name: str, layers: int, least: int, network: nn.Module, of: str) -> None:
    """Raise ``ValueError`` unless a number of weight layers is in its range.

    Args:
        name: What the number is called.
        layers: The number.
        least: The smallest one.
        network: What has as many at most.
        of: What the network is called.

    Example:
        >>> require_layers("layers", 1, 0, nn.Linear(1, 1), "fresh")  # one is what there is
    """
    most = len(weight_layers(network))
    if layers not in range(least, most + 1):
        raise ValueError(
            f"{name} must be from {least} to the {most} weight layers of {of}, got {layers}"
        )


@torch.no_grad()
def copy_layers(
    origin: nn.Module, module: nn.Module, layers: list[int], names: tuple[str, str]
) -> None:
    """Copy all tensors of some weight layers, in place.

    Args:
        origin: Where they come from.
        module: Where they are written.
        layers: Which ones, from 0; negative numbers count from the end.
        names: What the two networks are called in an error.

    Raises:
        ValueError: Two layers differ in their tensors' kind, shape or dtype, or one shares tensors
            with a layer that is to stay as it is; nothing is written.
    """
    ours, theirs = weight_layers(module), weight_layers(origin)
    chosen = {range(len(ours))[layer] for layer in layers}
    staying = {id(t) for i, layer in enumerate(ours) if i not in chosen for t in layer.values()}
    for layer in layers:
        old, new = ours[layer], theirs[layer]
        i, j = (range(1, len(each) + 1)[layer] for each in (theirs, ours))
        if any(id(tensor) in staying for tensor in old.values()):
            raise ValueError(
                f"weight layer {j} of {names[1]} must share no tensor with layers that stay, "
                f"got {_described(old)} in both"
            )
        if _described(old) != _described(new):
            raise ValueError(
                f"weight layer {i} of {names[0]} must fit weight layer {j} of {names[1]}, "
                f"got {_described(new)} and {_described(old)}"
            )
    for layer in layers:
        for tensor, value in zip(ours[layer].values(), theirs[layer].values(), strict=True):
            tensor.copy_(value)


def _described(layer: dict[str, Tensor]) -> str:
    """Say what two layers must have in common."""
    return ", ".join(
        f"{name.rpartition('.')[2]} {tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}"
        for name, t in layer.items()
    )
