r"""Blurred objectives: an objective averaged over a Gaussian around each point (equation 8.40)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

Estimator = Literal["reparametrised", "score", "antithetic"]
"""How the blurred objective and its derivatives are estimated from samples."""


class Blur:
    r"""An objective blurred by a Gaussian, by sampling; what ``blur`` returns.

    Attributes:
        sigma: The standard deviation σ of the Gaussian.
        samples: What one call costs: evaluations of the objective (1 where σ = 0).
        estimator: How it is estimated.
    """

    def __init__(
        self,
        f: Callable[[Tensor], Tensor],
        sigma: float,
        samples: int,
        estimator: Estimator,
        generator: torch.Generator | None,
        fresh: bool,
    ) -> None:
        self.sigma, self.estimator = sigma, estimator
        self.samples = samples if sigma else 1
        self._f, self._generator, self._fresh = f, generator, fresh
        self._noise: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the blurred objective at x, shape (n,), as a 0-d tensor.

        Raises:
            ValueError: x isn't 1-D, or of another length than at the first call.
        """
        if x.dim() != 1:
            raise ValueError(f"x must be 1-D, got shape {tuple(x.shape)}")
        if not self.sigma:
            return self._f(x)
        if self._noise is None or self._fresh:
            self._noise = draw(self.samples, x, self.estimator, self._generator)
        if self._noise.shape[1] != len(x):
            raise ValueError(f"x must have {self._noise.shape[1]} entries, got {len(x)}")
        return estimate(self._f, x, self.sigma, self._noise.to(x), self.estimator)


def blur(
    f: Callable[[Tensor], Tensor],
    sigma: float,
    n_samples: int = 64,
    *,
    estimator: Estimator = "reparametrised",
    generator: torch.Generator | None = None,
    fresh: bool = False,
) -> Blur:
    r"""Return the objective averaged over a Gaussian around each point, by sampling.

    .. math:: J_\sigma(\theta) = E_{\epsilon \sim N(0, I)} J(\theta + \sigma \epsilon)
              \approx \frac1N \sum_{i=1}^N J(\theta + \sigma \epsilon_i)

    Equation 8.40, where σ is the standard deviation of each coordinate. The estimators of the
    gradient are without bias, and so are those of all higher derivatives:

    - "reparametrised": :math:`\frac1N \sum_i \nabla J(\theta + \sigma \epsilon_i)`. It needs the
      gradient of J, and steps in J are invisible to it.
    - "score": :math:`\frac1{N \sigma} \sum_i (J(\theta + \sigma \epsilon_i) - b_i) \epsilon_i`, by
      values alone. The baseline :math:`b_i` is the mean of the other values (Williams, 1992).
    - "antithetic": the same with samples in pairs ±ε, which makes of it
      :math:`\frac1{N \sigma} \sum_{i \le N/2} (J(\theta + \sigma \epsilon_i) - J(\theta - \sigma
      \epsilon_i)) \epsilon_i` (Salimans et al., 2017).

    The samples are the same at each point (common random numbers): a smooth function, of which a
    line search can make sense, with a minimum of its own near that of :math:`J_\sigma`.

    Args:
        f: The objective J: maps a tensor of shape (n,) to a 0-d tensor. It is called once for all
            samples where ``torch.vmap`` can run it, else once for each.
        sigma: The standard deviation σ, >= 0 and finite; at 0 it is J itself.
        n_samples: N, evaluations of J a call, >= 1; >= 2 for "score"; even for "antithetic".
        estimator: "reparametrised", "score" or "antithetic".
        generator: Where the randomness comes from, on the CPU, so that each device gets the same;
            None for PyTorch's own.
        fresh: Draw new samples at each call, instead of once and for all.

    Returns:
        A function of a tensor of shape (n,), to be minimised like J.

    Raises:
        ValueError: An argument is out of its range; at a call, that f returned no 0-d tensor.

    Example:
        >>> J = lambda x: (x * x).sum()
        >>> smooth = blur(J, 3.0, 1000, generator=torch.Generator().manual_seed(0))
        >>> abs(smooth(torch.zeros(2)) - 2 * 3.0**2) < 1.5  # σ² a coordinate
        tensor(True)
    """
    sigma = checked_sigma(sigma)
    check_samples(n_samples, estimator)
    return Blur(f, sigma, n_samples, estimator, generator, fresh)


def estimate(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    sigma: float,
    noise: Tensor,
    estimator: Estimator,
) -> Tensor:
    r"""Return the blurred objective from given samples, 0-d, with estimates as its derivatives.

    By values alone, the samples stay where they are and what depends on θ is how likely they are:
    each is weighted by the ratio :math:`p(x_i; \theta) / p(x_i; \theta_0)`, which is 1 at θ₀.

    Args:
        f: The objective.
        x: The point θ, shape (n,).
        sigma: The standard deviation, > 0.
        noise: The samples ε, shape (N, n); for "antithetic" its second half is minus the first.
        estimator: How.
    """
    if estimator == "reparametrised":
        return at_all(f, x + sigma * noise).mean()
    with torch.no_grad():
        values = at_all(f, x + sigma * noise)
        others = baselines(values, pairs=estimator == "antithetic")
    moved = x - x.detach()
    ratio = ((noise @ moved) / sigma - moved @ moved / (2 * sigma**2)).exp()
    return ((values - others) * ratio).mean() + others.mean()


def baselines(values: Tensor, *, pairs: bool) -> Tensor:
    """Return for each value the mean of those that are independent of it, shape (N,).

    Args:
        values: Of the objective, shape (N,).
        pairs: Whether value i and value N/2 + i belong to one pair; a single pair has no others,
            and gets 0.
    """
    N = len(values)
    if not pairs:
        return (values.sum() - values) / (N - 1)
    if N == 2:
        return torch.zeros_like(values)
    both = values[: N // 2] + values[N // 2 :]
    return ((both.sum() - both) / (N - 2)).repeat(2)


def at_all(f: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """Return the values of f at N points, shape (N,); points have shape (N, n)."""
    try:
        values = torch.vmap(f)(points)
    except (RuntimeError, ValueError) as error:
        if "vmap" not in str(error):
            raise
        values = torch.stack([f(point) for point in points])
    if not isinstance(values, Tensor) or values.shape != points.shape[:1]:
        shape = tuple(values.shape[1:]) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"f must return a 0-d tensor, got {shape}")
    return values


def draw(
    samples: int, like: Tensor, estimator: Estimator, generator: torch.Generator | None
) -> Tensor:
    """Return standard normal samples for points like one of shape (..., n), (..., N, n)."""
    *many, n = like.shape
    rows = samples // 2 if estimator == "antithetic" else samples
    noise = torch.randn(*many, rows, n, generator=generator, dtype=like.dtype).to(like.device)
    return torch.cat([noise, -noise], dim=-2) if estimator == "antithetic" else noise


def checked_sigma(sigma: float) -> float:
    """Return a standard deviation as a float.

    Raises:
        ValueError: It is negative or not finite.
    """
    if not 0 <= sigma < math.inf:
        raise ValueError(f"sigma must be >= 0 and finite, got {sigma}")
    return float(sigma)


def check_samples(n_samples: int, estimator: str) -> None:
    """Raise ``ValueError`` unless there are enough samples for an estimator that exists."""
    if estimator not in get_args(Estimator):
        raise ValueError(f"estimator must be one of {get_args(Estimator)}, got {estimator!r}")
    least = 1 if estimator == "reparametrised" else 2
    if isinstance(n_samples, bool) or not isinstance(n_samples, int) or n_samples < least:
        raise ValueError(f"n_samples must be a whole number >= {least}, got {n_samples!r}")
    if estimator == "antithetic" and n_samples % 2:
        raise ValueError(f"n_samples must be even for antithetic pairs, got {n_samples}")
