r"""Objectives whose blur is known: blurred, each is one of its kind again.

They are what a sampled blur is checked against, and what continuation can use instead of samples.
All are functions of a tensor of shape (n,), and ``blurred(sigma)`` averages them over a Gaussian
of standard deviation σ in each coordinate (equation 8.40).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dlopt.blurring import checked_sigma


class Blurrable(Protocol):
    """An objective that knows its blur."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the value at x, shape (n,), 0-d."""
        ...

    def blurred(self, sigma: float) -> Blurrable:
        """Return the objective averaged over a Gaussian of standard deviation ``sigma``."""
        ...


@dataclass(frozen=True)
class Polynomial:
    r"""The same polynomial in each coordinate, :math:`\sum_j \sum_k c_k x_j^k`.

    .. math:: E\,(x + \sigma\epsilon)^k = \sum_{j \le k/2} \binom{k}{2j} (2j - 1)!!\,
              \sigma^{2j} x^{k - 2j}

    Args:
        coefficients: :math:`c_0, c_1, \ldots`, at least one.

    Raises:
        ValueError: There is none.

    Example:
        >>> Polynomial((0, 0, 1)).blurred(2.0)  # x² becomes x² + σ²
        Polynomial(coefficients=(4.0, 0.0, 1.0))
    """

    coefficients: Sequence[float]

    def __post_init__(self) -> None:
        if not len(self.coefficients):
            raise ValueError("coefficients must hold at least one number, got none")

    def __call__(self, x: Tensor) -> Tensor:
        """Return the value at x, shape (n,), 0-d."""
        value = torch.zeros_like(x)
        for c in reversed(self.coefficients):
            value = value * x + c
        return value.sum()

    def blurred(self, sigma: float) -> Polynomial:
        """Return the polynomial averaged over a Gaussian of standard deviation ``sigma``."""
        sigma = checked_sigma(sigma)
        out = [0.0] * len(self.coefficients)
        for k, c in enumerate(self.coefficients):
            for j in range(k // 2 + 1):
                moment = math.prod(range(1, 2 * j, 2)) * sigma ** (2 * j)  # (2j - 1)!! σ^2j
                out[k - 2 * j] += c * math.comb(k, 2 * j) * moment
        return Polynomial(tuple(out))


@dataclass(frozen=True, eq=False)
class Sinusoids:
    r"""A sum of waves, :math:`\sum_k a_k \cos(w_k^\top x + \varphi_k)`.

    The blur is a low-pass filter: :math:`a_k` becomes :math:`a_k e^{-\sigma^2 \|w_k\|^2 / 2}`.

    Args:
        amplitudes: a, shape (K,).
        frequencies: w, shape (K, n).
        phases: φ, shape (K,).

    Raises:
        ValueError: The shapes don't match.

    Example:
        >>> wave = Sinusoids(torch.ones(1), torch.ones(1, 1), torch.zeros(1))
        >>> float(wave.blurred(2.0)(torch.zeros(1)))  # e⁻²
        0.135...
    """

    amplitudes: Tensor
    frequencies: Tensor
    phases: Tensor

    def __post_init__(self) -> None:
        _check_shapes(self.amplitudes, self.frequencies, self.phases)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the value at x, shape (n,), 0-d."""
        a, w, phases = (t.to(x.device) for t in (self.amplitudes, self.frequencies, self.phases))
        return (a * (w @ x + phases).cos()).sum()

    def blurred(self, sigma: float) -> Sinusoids:
        """Return the waves averaged over a Gaussian of standard deviation ``sigma``."""
        kept = (-(checked_sigma(sigma) ** 2) / 2 * self.frequencies.square().sum(1)).exp()
        return Sinusoids(self.amplitudes * kept, self.frequencies, self.phases)


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    r"""A sum of bumps or wells, :math:`\sum_k a_k \exp(-\|x - m_k\|^2 / (2 s_k^2))`.

    Blurred, a well of width s has the width :math:`\sqrt{s^2 + \sigma^2}`, and its depth is less by
    the factor :math:`(s^2 / (s^2 + \sigma^2))^{n/2}`: narrow ones vanish first.

    Args:
        heights: a, shape (K,); negative for a well.
        means: m, shape (K, n).
        widths: s, shape (K,), > 0.

    Raises:
        ValueError: The shapes don't match, or a width isn't positive.

    Example:
        >>> well = GaussianMixture(-torch.ones(1), torch.zeros(1, 2), torch.ones(1))
        >>> well.blurred(1.0)(torch.zeros(2))
        tensor(-0.5000)
    """

    heights: Tensor
    means: Tensor
    widths: Tensor

    def __post_init__(self) -> None:
        _check_shapes(self.heights, self.means, self.widths)
        if not bool((self.widths > 0).all()):
            raise ValueError(f"widths must be > 0, got {float(self.widths.min())}")

    def __call__(self, x: Tensor) -> Tensor:
        """Return the value at x, shape (n,), 0-d."""
        a, means, widths = (t.to(x.device) for t in (self.heights, self.means, self.widths))
        away = (x - means).square().sum(1)
        return (a * (-away / (2 * widths.square())).exp()).sum()

    def blurred(self, sigma: float) -> GaussianMixture:
        """Return the mixture averaged over a Gaussian of standard deviation ``sigma``."""
        widths = (self.widths.square() + checked_sigma(sigma) ** 2).sqrt()
        share = (self.widths / widths) ** self.means.shape[1]
        return GaussianMixture(self.heights * share, self.means, widths)


@dataclass(frozen=True)
class Total:
    """The sum of objectives that know their blurs.

    Args:
        parts: The summands, at least one.

    Raises:
        ValueError: There is none.

    Example:
        >>> both = Total((Polynomial((0, 0, 1)), Polynomial((1,))))
        >>> float(both.blurred(1.0)(torch.tensor([2.0])))
        6.0
    """

    parts: Sequence[Blurrable]

    def __post_init__(self) -> None:
        if not len(self.parts):
            raise ValueError("parts must hold at least one objective, got none")

    def __call__(self, x: Tensor) -> Tensor:
        """Return the value at x, shape (n,), 0-d."""
        return torch.stack([part(x) for part in self.parts]).sum()

    def blurred(self, sigma: float) -> Total:
        """Return the sum of the blurred parts."""
        return Total(tuple(part.blurred(sigma) for part in self.parts))


def rastrigin(n: int, *, amplitude: float = 10.0, dtype: torch.dtype = torch.float64) -> Total:
    r"""Return Rastrigin's function :math:`\sum_j x_j^2 + A (1 - \cos 2 \pi x_j)` of n variables.

    A bowl with a local minimum near each grid point; the least value, 0, is at 0.

    Args:
        n: The number of variables, >= 1.
        amplitude: A.
        dtype: Of the points.

    Raises:
        ValueError: n is below 1.

    Example:
        >>> float(rastrigin(3)(torch.zeros(3, dtype=torch.float64)))
        0.0
    """
    if n < 1:
        raise ValueError(f"n must be >= 1, got {n}")
    waves = Sinusoids(
        torch.full((n,), -amplitude, dtype=dtype),
        2 * math.pi * torch.eye(n, dtype=dtype),
        torch.zeros(n, dtype=dtype),
    )
    return Total((Polynomial((amplitude, 0.0, 1.0)), waves))


def _check_shapes(sizes: Tensor, places: Tensor, others: Tensor) -> None:
    """Raise ``ValueError`` unless K summands have K numbers, K points, and K numbers."""
    shapes = [tuple(t.shape) for t in (sizes, places, others)]
    if places.dim() != 2 or {shapes[0], shapes[2]} != {shapes[1][:1]}:
        raise ValueError(f"shapes must be (K,), (K, n) and (K,), got {shapes}")
