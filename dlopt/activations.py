"""Nonlinearities that the lecture compares, and by how much each changes a signal's size."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

_WIDTH, _POINTS = 12.0, 2**16  # a normal number lies farther out once in 10³² draws
_OF_SEVERAL = (nn.GLU, nn.MultiheadAttention, nn.Softmin, nn.Softmax, nn.Softmax2d, nn.LogSoftmax)


class Maxout(nn.Module):
    r"""The largest of several linear units, which is one unit of the layer.

    .. math:: h_j = \max_{i = 1, \dots, k} z_{(j - 1) k + i}

    Goodfellow et al. (2013). It is nowhere flat: the gradient reaches that piece which is the
    largest. The layer before makes k times as many features as there are units, those of a unit
    side by side. Where two pieces are equally large, they share the gradient.

    Args:
        pieces: How many linear units k make one, at least 1.
        axis: That of the features: the last, as a linear layer has it, or 1 for a convolution.

    Raises:
        ValueError: ``pieces`` is below 1, or the features are no multiple of it.

    Example:
        >>> Maxout(2)(torch.tensor([[1.0, 5.0, -3.0, -4.0]]))
        tensor([[ 5., -3.]])
    """

    def __init__(self, pieces: int, axis: int = -1) -> None:
        super().__init__()
        if pieces < 1:
            raise ValueError(f"pieces must be at least 1, got {pieces}")
        self.pieces, self.axis = pieces, axis

    def forward(self, z: Tensor) -> Tensor:
        """Return one number for each unit.

        Args:
            z: Features, shape (..., k·units) if their axis is the last.
        """
        if z.shape[self.axis] % self.pieces:
            raise ValueError(
                f"features must be a multiple of {self.pieces} pieces, got {z.shape[self.axis]}"
            )
        axis = self.axis % z.dim()
        *before, features = z.shape[: axis + 1]
        groups = *before, features // self.pieces, self.pieces, *z.shape[axis + 1 :]
        return z.reshape(groups).amax(axis + 1)

    def extra_repr(self) -> str:
        """Say what tells two of them apart."""
        return f"{self.pieces}" + (f", axis={self.axis}" if self.axis != -1 else "")


class Jagged(nn.Module):
    r"""A nonlinearity that is not monotone: a hyperbolic tangent with ripples.

    .. math:: f(z) = \tanh z + a \sin(\omega z)

    Its slope changes sign again and again once :math:`a \omega > 1`.

    Args:
        amplitude: a, at least 0; 0 is the hyperbolic tangent.
        frequency: ω, above 0.

    Raises:
        ValueError: A setting is out of its range.

    Example:
        >>> Jagged(0.5)(torch.tensor([0.0, math.pi / 20]))
        tensor([0.0000, 0.6558])
    """

    def __init__(self, amplitude: float, frequency: float = 10.0) -> None:
        super().__init__()
        if not 0 <= amplitude < math.inf:
            raise ValueError(f"amplitude must be a finite number of at least 0, got {amplitude}")
        if not 0 < frequency < math.inf:
            raise ValueError(f"frequency must be a finite number above 0, got {frequency}")
        self.amplitude, self.frequency = amplitude, frequency

    def forward(self, z: Tensor) -> Tensor:
        """Return f(z), of the same shape."""
        return z.tanh() + self.amplitude * (self.frequency * z).sin()

    def extra_repr(self) -> str:
        """Say what tells two of them apart."""
        return f"{self.amplitude}, frequency={self.frequency}"


def mean_square(activation: Callable[[Tensor], Tensor]) -> float:
    r"""Return how large a nonlinearity leaves a standard normal input, in the mean square.

    .. math:: q = \operatorname{E}[f(z)^2], \qquad z \sim \mathcal N(0, 1)

    A layer whose weights have mean 0 and variance 1/(fan-in · q) makes of such activations sums
    of variance 1 again, so that depth neither shrinks nor swells the signal. For ReLU q is ½, the
    variance that of He et al. (2015). For ``Maxout`` the pieces are independent, and their largest
    has the density :math:`k \, \varphi(z) \Phi(z)^{k-1}`.

    Given the slope f′ in place of f it returns the share of a gradient's mean square that passes
    the nonlinearity on its way down.

    The integral is a sum over midpoints of a fine grid, which finds kinks as easily as curves: a
    rule of Gauss would need f to be smooth.

    Args:
        activation: f, a function or a module that acts on each entry alone; or ``Maxout``.

    Returns:
        q.

    Raises:
        ValueError: f doesn't return one number for each that it gets.

    Example:
        >>> round(mean_square(nn.ReLU()), 6), round(mean_square(Maxout(2)), 6)
        (0.5, 1.0)
    """
    step = 2 * _WIDTH / _POINTS
    z = (torch.arange(_POINTS, dtype=torch.float64) + 0.5) * step - _WIDTH
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    if isinstance(activation, Maxout):
        pieces, values = activation.pieces, z
        density = pieces * density * torch.special.ndtr(z) ** (pieces - 1)
    else:
        with torch.no_grad():
            values = activation(z)
        if values.shape != z.shape:
            raise ValueError(
                "activation must return one number for each entry, "
                f"got {tuple(values.shape)} for {tuple(z.shape)}"
            )
    return float((values.square() * density).sum() * step)


def is_activation(module: nn.Module) -> bool:
    """Say whether a module is a nonlinearity of units: ``Maxout``, ``Jagged`` or one of PyTorch's.

    Args:
        module: Any; of PyTorch's those count that act on each entry alone.

    Example:
        >>> [is_activation(layer) for layer in (nn.ReLU(), nn.Linear(1, 1), nn.Softmax(1))]
        [True, False, False]
    """
    of_torch = type(module).__module__ == nn.Tanh.__module__
    return isinstance(module, Maxout | Jagged) or (of_torch and not isinstance(module, _OF_SEVERAL))
