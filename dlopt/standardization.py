"""Standardise features: subtract the mean and divide by the root of the variance, in any range."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Standardized(NamedTuple):
    """A batch whose features have mean 0 and variance 1, and what that took.

    Attributes:
        H: H', shape (m, C, *positions).
        mean: μ, shape (C,).
        variance: The biased variance, without δ, shape (C,).
        sigma: σ, shape (C,). Where it would be 0, it is infinite.
    """

    H: Tensor
    mean: Tensor
    variance: Tensor
    sigma: Tensor


def standardize(H: Tensor, delta: float = 1e-8) -> Standardized:
    r"""Standardise each feature over the batch (equations 8.35 to 8.37).

    .. math:: H' = \frac{H - \mu}{\sigma}, \qquad \mu = \frac1m \sum_i H_{i,:}, \qquad
              \sigma = \sqrt{\delta + \frac1m \sum_i (H - \mu)_i^2}

    A constant feature gives exactly 0, with δ = 0, too. A mean that is large beside the spread
    costs no digits, and squares don't overflow.

    Args:
        H: Rows are examples, shape (m, C), or (m, C, *positions), where a feature has the same
            mean and variance at every position. Changed by nothing, and no gradient flows through.
        delta: δ, at least 0.

    Returns:
        H', μ, the variance and σ.

    Example:
        >>> import torch
        >>> H = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
        >>> standardize(H, delta=0.0).H.tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    H = H.detach()
    axes = all_but_features(H)
    # Relative to one of its own values a constant is 0, and its mean comes out exactly.
    origin = H[0].reshape(H.shape[1], -1)[:, 0]
    mean = origin + (H - along_features(origin, H)).mean(axes)
    D = H - along_features(mean, H)
    rest = D.mean(axes)  # what rounding left of a mean that is large beside the spread
    D -= along_features(rest, H)
    spread = _root_mean_square(D)
    # This is √(δ + spread²) without a square. Nothing divided by infinity is 0, in gradients, too.
    sigma = torch.hypot(spread, torch.full_like(spread, math.sqrt(delta)))
    sigma = sigma.masked_fill(sigma == 0, math.inf)
    D /= along_features(sigma, H)
    return Standardized(D, mean + rest, spread.square(), sigma)


def all_but_features(H: Tensor) -> list[int]:
    """Name the axes that a sum over examples and positions runs along."""
    return [0, *range(2, H.dim())]


def along_features(v: Tensor, H: Tensor) -> Tensor:
    """Shape a value for each feature, (C,), so that it meets H, (m, C, *positions)."""
    return v.view(-1, *[1] * (H.dim() - 2))


def _root_mean_square(D: Tensor) -> Tensor:
    """Return √(mean of squares) of each feature, through squares of at most 1."""
    axes = all_but_features(D)
    largest = torch.maximum(D.amax(axes), -D.amin(axes))
    unit = largest.masked_fill(largest == 0, 1)
    return unit * (D / along_features(unit, D)).square_().mean(axes).sqrt()
