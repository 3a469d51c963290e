"""Standardise features: subtract the mean and divide by the root of the variance, in any range."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Standardized(NamedTuple):
    """A batch whose features have mean 0 and variance 1, and what that took.

    Attributes:
        H: H', shape (m, C, ...).
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
        H: Rows are examples, shape (m, C), or (m, C, ...), where a feature has the same
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
    mean = H.mean(axes, keepdim=True)
    D = H - mean
    rest = D.mean(axes, keepdim=True)  # rounding of the mean, and all that is left of a constant
    D -= rest
    # In units of the largest deviation upwards squares are at most m², and never overflow.
    unit = D.amax(axes, keepdim=True).clamp(min=math.sqrt(torch.finfo(H.dtype).tiny))
    D *= 1 / unit
    spread = unit * (sum_of_products(D, D) * (H.shape[1] / H.numel())).sqrt()
    sigma = torch.hypot(spread, torch.full_like(spread, math.sqrt(delta)))  # √(δ + spread²)
    sigma = sigma.masked_fill(sigma == 0, math.inf)  # divided by infinity all is 0, gradients too
    D *= unit / sigma
    mean, variance, sigma = (v.view(-1) for v in (mean + rest, spread * spread, sigma))
    return Standardized(D, mean, variance, sigma)


def all_but_features(H: Tensor) -> list[int]:
    """Name the axes that a sum over examples and positions runs along."""
    return [0, *range(2, H.dim())]


def along_features(v: Tensor, H: Tensor) -> Tensor:
    """Shape a value for each feature, (C,), so that it meets H, (m, C, ...)."""
    return v.view(-1, *[1] * (H.dim() - 2))


def sum_of_products(A: Tensor, B: Tensor) -> Tensor:
    """Return Σ A ∘ B of each feature, (1, C, 1, ...), of two batches, (m, C, ...).

    On the CPU in blocks of examples whose products stay in the cache: fresh memory for all of them
    would take more time than all the sums.
    """
    axes, rows = all_but_features(A), max(1, BLOCK * len(A) // A.numel())
    if rows >= len(A) or torch.is_grad_enabled() or A.device.type != "cpu":
        return (A * B).sum(axes, keepdim=True)
    blocks = zip(torch.split(A, rows), torch.split(B, rows), strict=True)
    return torch.cat([(a * b).sum(axes, keepdim=True) for a, b in blocks]).sum(0, keepdim=True)


BLOCK = 2**17  # values of a block
