"""Quadratics of any spectrum, in any direction."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dlopt.lesson.problems.problem import Problem


@dataclass(frozen=True, eq=False, kw_only=True)
class Quadratic(Problem):
    """A quadratic, which also knows its matrix.

    Attributes:
        eigenvalues: The spectrum of A, shape (n,).
        basis: Its eigenvectors as columns, shape (n, n); None for the unit vectors.
    """

    eigenvalues: Tensor
    basis: Tensor | None

    @property
    def A(self) -> Tensor:
        """The matrix, shape (n, n), which is the Hessian everywhere; made anew at each call."""
        if self.basis is None:
            return torch.diag(self.eigenvalues)
        a = (self.basis * self.eigenvalues) @ self.basis.T
        return (a + a.T) / 2


def quadratic(
    eigenvalues: Tensor,
    *,
    basis: Tensor | None = None,
    minimizer: Tensor | None = None,
    x0: Tensor | None = None,
) -> Quadratic:
    r"""Return the quadratic of a given spectrum.

    .. math:: f(x) = \tfrac12 (x - x^*)^\top A\,(x - x^*)
              = \tfrac12 \sum_i \lambda_i y_i^2, \qquad y = Q^\top (x - x^*)

    It is evaluated by the second form: a sum of squares, which never comes out below its minimum.
    With a negative eigenvalue x* is a saddle point and nothing is a minimum.

    Args:
        eigenvalues: The spectrum λ, shape (n,), float32 or float64; of any sign.
        basis: The eigenvectors Q as columns, shape (n, n), orthogonal; None for the unit vectors,
            which needs no matrix, so that n = 100,000 is no trouble.
        minimizer: The stationary point x*, shape (n,); default 0.
        x0: The start, shape (n,); by default as far from x* along each eigenvector: x* + Q·1.

    Returns:
        The problem, in the dtype and on the device of ``eigenvalues``.

    Raises:
        ValueError: ``eigenvalues`` is not a 1-D float tensor, or a shape does not fit it.

    Example:
        >>> valley = quadratic(torch.tensor([1.0, 100.0]))
        >>> valley(torch.tensor([1.0, 1.0]))
        tensor(50.5000)
    """
    if eigenvalues.dim() != 1 or not eigenvalues.is_floating_point() or not len(eigenvalues):
        raise ValueError(
            "eigenvalues must be a 1-D floating-point tensor, "
            f"got shape {tuple(eigenvalues.shape)} of {eigenvalues.dtype}"
        )
    n = len(eigenvalues)
    shapes = {"basis": (basis, (n, n)), "minimizer": (minimizer, (n,)), "x0": (x0, (n,))}
    for name, (given, shape) in shapes.items():
        if given is not None and given.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(given.shape)}")
    q = None if basis is None else basis.to(eigenvalues)
    center = torch.zeros_like(eigenvalues) if minimizer is None else minimizer.to(eigenvalues)
    ones = torch.ones_like(eigenvalues) if q is None else q.sum(dim=1)
    start = center + ones if x0 is None else x0.to(eigenvalues)

    def f(x: Tensor) -> Tensor:
        y = x - center.to(x)
        if q is not None:
            y = y @ q.to(x)
        return (eigenvalues.to(x) * y * y).sum() / 2

    bounded = bool((eigenvalues >= 0).all())
    return Quadratic(
        name=f"quadratic of {n} variables",
        f=f,
        x0=start,
        minimum=0.0 if bounded else -math.inf,
        minimizers=center.reshape(1, n)[: int(bounded)],
        eigenvalues=eigenvalues,
        basis=q,
    )


def spectrum(
    n: int, condition: float, distribution: str = "log", distinct: int | None = None
) -> Tensor:
    """Return n eigenvalues from 1 to ``condition``, ascending.

    Args:
        n: How many, > 0.
        condition: The largest one, >= 1: the condition number.
        distribution: "log" for even spacing of the logarithms, "linear" of the values.
        distinct: How many of them differ; the others repeat them evenly. Default: all.

    Returns:
        Shape (n,), float64.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> spectrum(6, 100.0, distinct=3)
        tensor([  1.,   1.,  10.,  10., 100., 100.], dtype=torch.float64)
    """
    if n < 1:
        raise ValueError(f"n must be > 0, got {n}")
    if not 1 <= condition < math.inf:
        raise ValueError(f"condition must be finite and >= 1, got {condition}")
    if distribution not in ("log", "linear"):
        raise ValueError(f'distribution must be "log" or "linear", got {distribution!r}')
    k = n if distinct is None else distinct
    if not 1 <= k <= n:
        raise ValueError(f"distinct must be between 1 and n = {n}, got {distinct}")
    if k == 1 and condition != 1:
        raise ValueError(f"condition must be 1 where all eigenvalues are equal, got {condition}")
    if distribution == "log":
        values = torch.logspace(0, math.log10(condition), k, dtype=torch.float64)
        values[-1] = condition  # to the last bit
    else:
        values = torch.linspace(1, condition, k, dtype=torch.float64)
    # Index i of n goes to group floor(i k / n): the groups differ by one member at most.
    return values.index_select(0, torch.arange(n) * k // n)


def rotation(angle: float) -> Tensor:
    """Return the rotation of the plane by ``angle`` radians, shape (2, 2), float64.

    Example:
        >>> rotation(0.0)
        tensor([[1., -0.],
                [0., 1.]], dtype=torch.float64)
    """
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def random_rotation(n: int, generator: torch.Generator) -> Tensor:
    """Return an orthogonal matrix drawn evenly from all of them (Stewart, 1980).

    Args:
        n: Its size.
        generator: Where the randomness comes from.

    Returns:
        Shape (n, n), float64, on the generator's device.

    Example:
        >>> q = random_rotation(4, torch.Generator().manual_seed(0))
        >>> torch.allclose(q.T @ q, torch.eye(4, dtype=torch.float64))
        True
    """
    gaussian = torch.randn(n, n, generator=generator, dtype=torch.float64, device=generator.device)
    q, r = torch.linalg.qr(gaussian)
    # QR leaves the signs to the implementation; these make the draw uniform.
    orthogonal: Tensor = q * r.diagonal().sign()
    return orthogonal


def bowl(condition: float = 10.0, angle: float = math.pi / 6) -> Quadratic:
    """Return a tilted elliptic bowl in the plane, eigenvalues 1 and ``condition``, minimum at 0."""
    x0 = torch.tensor([-1.5, 1.5], dtype=torch.float64)
    tilted = quadratic(spectrum(2, condition), basis=rotation(angle), x0=x0)
    return replace(tilted, name=f"bowl, condition {condition:g}")
