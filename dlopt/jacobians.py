"""Jacobians of a network's layers, of all of it, and their singular values by depth."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def layer_jacobians(network: nn.Sequential, x: Tensor) -> list[Tensor]:
    r"""Return the Jacobian of each part of a network, where the network is at the inputs.

    .. math:: J_l = \frac{\partial h_l}{\partial h_{l-1}}, \qquad h_0 = x

    That of a linear part is its weights, that of a nonlinearity is diagonal, and that of a
    ``Skip`` is the identity plus that of its layers. They compose with ``torch.vmap``.

    Args:
        network: Its parts are those of the ``nn.Sequential``; batch normalization and dropout are
            in evaluation mode.
        x: One input (n,), or m of them, shape (m, ...).

    Returns:
        For each part (outputs, inputs), or (m, outputs, inputs) for m inputs; tensors of several
        axes count as vectors, such as the channels and pixels of a convolution.

    Raises:
        ValueError: ``network`` is no ``nn.Sequential``, a part of it depends on other inputs than
            its own, changes its input in place, or draws at random.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
        >>> [tuple(J.shape) for J in layer_jacobians(network, torch.zeros(3))]
        [(2, 3), (2, 2)]
    """
    if not isinstance(network, nn.Sequential):
        raise ValueError(f"network must be an nn.Sequential, got {type(network).__name__}")
    require_separate(network)
    jacobians, h = [], x if x.dim() > 1 else x.unsqueeze(0)
    for layer in network:
        jacobians.append(_jacobian(layer, h))
        h = layer(h)
    return jacobians if x.dim() > 1 else [J[0] for J in jacobians]


@torch.no_grad()
def network_jacobian(network: nn.Module, x: Tensor) -> Tensor:
    r"""Return the Jacobian of the whole network by automatic differentiation.

    .. math:: J = \frac{\partial h_L}{\partial x} = J_L \cdots J_2 J_1

    Args:
        network: Any module that returns one tensor; see ``layer_jacobians``.
        x: One input (n,), or m of them, shape (m, ...).

    Returns:
        (outputs, inputs), or (m, outputs, inputs) for m inputs.

    Raises:
        ValueError: See ``layer_jacobians``.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2))
        >>> x = torch.ones(3)
        >>> by_layers = products(layer_jacobians(network, x))[-1]
        >>> torch.allclose(network_jacobian(network, x), by_layers)
        True
    """
    require_separate(network)
    return _jacobian(network, x) if x.dim() > 1 else _jacobian(network, x.unsqueeze(0))[0]


def products(jacobians: Sequence[Tensor]) -> list[Tensor]:
    r"""Return the Jacobians of the network up to each part: :math:`J_1, J_2 J_1, \dots`.

    Args:
        jacobians: Of the parts, from the input up, shape (..., outputs, inputs).

    Example:
        >>> [float(J) for J in products([torch.tensor([[2.0]]), torch.tensor([[3.0]])])]
        [2.0, 6.0]
    """
    return list(itertools.accumulate(jacobians, lambda before, J: J @ before))


def singular_values(jacobians: Sequence[Tensor]) -> list[Tensor]:
    r"""Return the singular values of each Jacobian, the largest first.

    Those of :func:`products` show how depth treats the gradient: what points along a singular
    vector is multiplied by its value on its way down. Values below the largest times the machine
    epsilon are rounding, so that deep networks want float64.

    Args:
        jacobians: Shape (..., outputs, inputs) each.

    Returns:
        For each (..., min(outputs, inputs)).

    Example:
        >>> singular_values([torch.diag(torch.tensor([1.0, -3.0]))])
        [tensor([3., 1.])]
    """
    return [torch.linalg.svdvals(J) for J in jacobians]


def require_separate(network: nn.Module) -> None:
    """Check that what a network makes of an input depends on that input alone, and leaves it.

    Args:
        network: Any module.

    Raises:
        ValueError: A norm takes statistics of the batch, dropout is in training mode, or a layer
            changes its input in place.
    """
    for name, module in network.named_modules():
        what = f"{name or 'network'}, {type(module).__name__}"
        if getattr(module, "inplace", False):
            raise ValueError(f"layers must leave their input alone, got inplace=True in {what}")
        if hasattr(module, "running_mean"):
            if module.training or module.running_mean is None:
                raise ValueError(
                    "norms must have running statistics and be in evaluation mode, as those of "
                    f"the batch tie the inputs together, got {what}: call "
                    "recompute_statistics(network, [x]) and network.eval()"
                )
        elif isinstance(module, nn.modules.dropout._DropoutNd) and module.training:
            raise ValueError(f"dropout must be in evaluation mode, got {what} in training")


def _jacobian(function: Any, x: Tensor) -> Tensor:
    """Return the Jacobian of a function at each of m inputs, (m, outputs, inputs)."""

    def one(flat: Tensor) -> Tensor:
        out: Tensor = function(flat.view(1, *x.shape[1:]))
        return out.reshape(-1)

    jacobian: Tensor = torch.vmap(torch.func.jacrev(one))(x.flatten(1))
    return jacobian
