"""Activations and gradients of a network, layer by layer, in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dlopt.activations import is_activation
from dlopt.exchange import buffers_held


@dataclass(frozen=True)
class LayerStatistics:
    """What one layer makes of a batch; what it doesn't have is NaN.

    Attributes:
        name: As in ``network.named_modules()``.
        kind: The class of the layer.
        mean: Of all its outputs.
        std: Of all its outputs.
        flat: Of a nonlinearity: the share of outputs at which its slope is below 0.01, such as
            those of a ReLU that is off, or of a saturated sigmoid.
        dead: Of a nonlinearity: the share of units that are flat for all inputs of the batch.
        switching: Of a nonlinearity: the share of units that get positive and negative numbers.
        gradient: The root mean square of the loss's gradient in the outputs.
        parameter_gradient: That of its gradient in the layer's own parameters.
    """

    name: str
    kind: str
    mean: float
    std: float
    flat: float = math.nan
    dead: float = math.nan
    switching: float = math.nan
    gradient: float = math.nan
    parameter_gradient: float = math.nan


def layer_statistics(
    network: nn.Module, x: Tensor, loss: Callable[[Any], Tensor] | None = None
) -> list[LayerStatistics]:
    """Measure each layer while a batch passes, and while its gradient comes back.

    By hooks, which are gone afterwards. Nothing of the network is changed: neither gradients that
    its parameters hold nor running averages. Batch normalization and dropout do what the
    network's mode makes them do.

    Args:
        network: All that is called in it counts as a layer, but for itself and each plain
            ``nn.Sequential``; what returns several tensors counts with the first.
        x: A batch, shape (m, ...).
        loss: From what the network returns to a tensor of one number; None for no gradients.

    Returns:
        In the order in which the layers return; one that is called several times, such as a
        recurrent cell, comes several times.

    Raises:
        ValueError: A layer changes its input in place, or the loss is not one number.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> _, relu, last = layer_statistics(network, torch.zeros(8, 3), torch.mean)
        >>> (relu.name, relu.kind, relu.switching, round(last.gradient, 3))  # each weighs 1/8
        ('1', 'ReLU', 0.0, 0.125)
    """
    seen: list[tuple[LayerStatistics, nn.Module, Tensor]] = []
    hooks = []

    def look(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            tensor = output if isinstance(output, Tensor) else output[0]
            values = tensor.detach()
            std, mean = (float(v) for v in torch.std_mean(values, correction=0))
            units = _units(module, inputs[0].detach()) if is_activation(module) else {}
            kind = type(module).__name__
            seen.append((LayerStatistics(name, kind, mean, std, **units), module, tensor))

        return hook

    for name, module in network.named_modules():
        if getattr(module, "inplace", False):
            raise ValueError(f"layers must leave their input alone, got inplace=True in {name}")
    try:
        for name, module in network.named_modules():
            alone = module is network and not list(module.children())
            if alone or (module is not network and type(module) is not nn.Sequential):
                hooks.append(module.register_forward_hook(look(name)))
        with buffers_held(network), torch.enable_grad():
            start = x.detach().requires_grad_() if x.is_floating_point() else x
            outputs = network(start)
            return _with_gradients(seen, None if loss is None else loss(outputs))
    finally:
        for hook in hooks:
            hook.remove()


def _units(module: nn.Module, z: Tensor) -> dict[str, float]:
    """Return how many units of a nonlinearity are flat, dead or switching."""
    with torch.no_grad():
        slope = torch.func.jvp(module.forward, (z,), (torch.ones_like(z),))[1]
        flat, positive, negative = slope.abs() < 0.01, (z > 0).any(0), (z < 0).any(0)
        shares = {"flat": flat, "dead": flat.all(0), "switching": positive & negative}
        return {name: float(share.double().mean()) for name, share in shares.items()}


def _with_gradients(
    seen: list[tuple[LayerStatistics, nn.Module, Tensor]], value: Tensor | None
) -> list[LayerStatistics]:
    """Add what the gradient of the loss is, if there is one."""
    if value is None:
        return [statistics for statistics, _, _ in seen]
    if value.numel() != 1:
        raise ValueError(f"loss must return one number, got shape {tuple(value.shape)}")
    own = [[p for p in m.parameters(recurse=False) if p.requires_grad] for _, m, _ in seen]
    asked = [t for _, _, t in seen] + [p for parameters in own for p in parameters]
    found = iter(torch.autograd.grad(value.reshape(()), asked, allow_unused=True))
    at_outputs = [next(found) for _ in seen]
    at_weights = [[next(found) for _ in parameters] for parameters in own]
    return [
        LayerStatistics(
            **{**vars(s), "gradient": _rms([g]), "parameter_gradient": _rms(at_weights[k])}
        )
        for k, ((s, _, _), g) in enumerate(zip(seen, at_outputs, strict=True))
    ]


def _rms(gradients: Sequence[Tensor | None]) -> float:
    """Return the root mean square of all entries, NaN of none."""
    entries = [g.reshape(-1) for g in gradients if g is not None]
    return float(torch.cat(entries).double().square().mean().sqrt()) if entries else math.nan
