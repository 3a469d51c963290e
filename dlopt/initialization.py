"""How the weights of a network start: rules that keep a signal's size, and orthogonal matrices."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlopt.activations import is_activation, mean_square

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_RULES = ("torch", "variance", "glorot", "he", "orthogonal")


def orthogonal(
    rows: int,
    columns: int,
    generator: torch.Generator,
    *,
    determinant_sign: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    r"""Return a matrix drawn uniformly from those whose singular values are all 1.

    The Q of a QR factorisation of a normal matrix, with signs such that the diagonal of R is
    positive: without them Q would depend on how the factorisation is computed. Saxe et al. (2014)
    start deep linear networks with such matrices. The sign of the determinant of a product can't
    change while no factor loses its rank: a deep linear network with the wrong one never arrives
    by small steps. So it can be chosen here.

    Args:
        rows: At least 1.
        columns: At least 1; the longer of the two sides has orthonormal vectors across.
        generator: Where the randomness comes from, on the device where the matrix is to be.
        determinant_sign: 1 for rotations, −1 for reflections, None for either by chance; of a
            square matrix.
        dtype: Of the matrix; what has fewer digits than float32 is computed with these.

    Returns:
        Shape (rows, columns).

    Raises:
        ValueError: A size is below 1, or the sign is none, or asked of a matrix that isn't square.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> Q = orthogonal(3, 3, generator, determinant_sign=-1, dtype=torch.float64)
        >>> round(float(torch.linalg.det(Q)), 12)
        -1.0
    """
    if rows < 1 or columns < 1:
        raise ValueError(f"rows and columns must be at least 1, got {rows} and {columns}")
    if determinant_sign not in (None, 1, -1):
        raise ValueError(f"determinant_sign must be None, 1 or -1, got {determinant_sign}")
    if determinant_sign is not None and rows != columns:
        raise ValueError(
            f"determinant_sign needs a square matrix, got {determinant_sign} for {rows} x {columns}"
        )
    long, short = max(rows, columns), min(rows, columns)
    computed = torch.promote_types(dtype, torch.float32)
    normal = torch.empty(long, short, dtype=computed, device=generator.device)
    Q, R = torch.linalg.qr(normal.normal_(generator=generator))
    Q = Q * R.diagonal().sign()
    if determinant_sign is not None:
        Q[0] *= determinant_sign * torch.linalg.det(Q).sign()
    matrix: Tensor = Q if rows >= columns else Q.T
    return matrix.to(dtype).contiguous()


def initialize_(
    network: nn.Module,
    rule: str | float,
    generator: torch.Generator,
    scale: float = 1.0,
    activation: Callable[[Tensor], Tensor] | None = None,
) -> None:
    r"""Draw the weights of linear and convolutional layers anew; their biases become 0.

    The rules by name; n is the fan-in, the inputs of a unit:

    - "variance": normal, of variance 1/n in the first layer, whose inputs are taken to have mean
      square 1, and 1/(n q) in the others, where q is the ``mean_square`` of the nonlinearity
      before them. He et al. (2015) is the case of ReLU. What skip connections add to the signal
      is not counted.
    - "he": normal, of variance 2/n in all layers.
    - "glorot": normal, of variance 2/(fan-in + fan-out) (Glorot & Bengio, 2010).
    - "orthogonal": the weights of each layer are one ``orthogonal`` matrix, a unit a row
      (Saxe et al., 2014).
    - "torch": PyTorch's default, weights and biases uniform within :math:`\pm 1/\sqrt n`.

    A number is the standard deviation of normal weights. Other layers stay as they are.

    Args:
        network: Its layers are changed in place, one after the other in the order in which they
            were put into it.
        rule: One of these names, or a number of at least 0.
        generator: Where the randomness comes from; the layers may be on another device.
        scale: Multiplies the weights, of whatever rule; "torch" leaves biases alone.
        activation: What stands before all layers but the first; "variance" alone needs it, and
            finds it in a network with nonlinearities of one kind, from ``torch.nn`` or here.

    Raises:
        ValueError: ``rule`` or ``scale`` is none, there is no layer, or "variance" finds no
            nonlinearity or several.

    Example:
        >>> network = nn.Sequential(nn.Linear(100, 400), nn.Tanh(), nn.Linear(400, 10))
        >>> initialize_(network, "variance", torch.Generator().manual_seed(0))
        >>> weights = network[2].weight.detach()
        >>> round(float(weights.square().mean() * 400 * mean_square(nn.Tanh())), 1)
        1.0
    """
    if isinstance(rule, str) and rule not in _RULES:
        raise ValueError(f"rule must be a number or one of {', '.join(_RULES)}, got {rule!r}")
    if not isinstance(rule, str) and not 0 <= rule < math.inf:
        raise ValueError(f"rule must be a finite standard deviation of at least 0, got {rule}")
    if not math.isfinite(scale):
        raise ValueError(f"scale must be finite, got {scale}")
    layers = [m for m in network.modules() if isinstance(m, _LAYERS)]
    if not layers:
        raise ValueError("network must have a linear or convolutional layer, got none")
    matters = rule == "variance" and len(layers) > 1
    q = mean_square(activation or _only_activation(network)) if matters else 1.0
    with torch.no_grad():
        for number, layer in enumerate(layers):
            weight = layer.weight
            weight.copy_(_drawn(weight, rule, generator, q if number else 1.0))
            weight *= scale
            if layer.bias is not None and rule == "torch":
                layer.bias.copy_(_uniform(layer.bias, 1 / math.sqrt(weight[0].numel()), generator))
            elif layer.bias is not None:
                layer.bias.zero_()


def _drawn(weight: Tensor, rule: str | float, generator: torch.Generator, q: float) -> Tensor:
    """Return new weights of the shape of the old ones, on the generator's device."""
    fan_in, fan_out = weight[0].numel(), len(weight) * weight[0, 0].numel()
    if rule == "torch":
        return _uniform(weight, 1 / math.sqrt(fan_in), generator)
    if rule == "orthogonal":
        matrix = orthogonal(len(weight), fan_in, generator, dtype=weight.dtype)
        return matrix.view(weight.shape)
    variances = {
        "variance": 1 / (fan_in * q),
        "he": 2 / fan_in,
        "glorot": 2 / (fan_in + fan_out),
    }
    std = math.sqrt(variances[rule]) if isinstance(rule, str) else rule
    new = torch.empty(weight.shape, dtype=weight.dtype, device=generator.device)
    return new.normal_(0, std, generator=generator)


def _uniform(like: Tensor, bound: float, generator: torch.Generator) -> Tensor:
    """Return numbers within ±bound, on the generator's device."""
    new = torch.empty(like.shape, dtype=like.dtype, device=generator.device)
    return new.uniform_(-bound, bound, generator=generator)


def _only_activation(network: nn.Module) -> nn.Module:
    """Return the one kind of nonlinearity that a network has."""
    kinds = {str(m): m for m in network.modules() if is_activation(m)}
    if len(kinds) != 1:
        raise ValueError(
            'rule "variance" must know the nonlinearity: give activation, '
            f"or a network with one kind, got {sorted(kinds)}"
        )
    return next(iter(kinds.values()))
