"""Test problems with known answers: quadratics of any spectrum, the surfaces of the lessons."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

_Window = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """A function to minimise, with what is known about it. Calling it calls ``f``.

    Attributes:
        name: What figures and tables call it.
        f: Maps a tensor of shape (n,) to a 0-d tensor.
        x0: The usual start, shape (n,).
        minimum: The lowest value; -inf where there is none.
        minimizers: The points of lowest value, shape (k, n); none where k = 0.
        saddles: Stationary points that are no extrema, shape (k, n).
        window: The part of the plane worth drawing, ((x_low, x_high), (y_low, y_high)).
    """

    name: str
    f: Callable[[Tensor], Tensor]
    x0: Tensor
    minimum: float
    minimizers: Tensor
    saddles: Tensor
    window: _Window = ((-2.0, 2.0), (-2.0, 2.0))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the value at ``x``, shape (n,), as a 0-d tensor."""
        return self.f(x)

    @property
    def n(self) -> int:
        """The number of variables."""
        return self.x0.numel()

    def on_grid(self, x: Any, y: Any) -> Tensor:
        """Evaluate a function of two variables at many points at once.

        Args:
            x: First coordinates, an array or tensor of any shape.
            y: Second coordinates, of the same shape.

        Returns:
            The values, of that shape.

        Raises:
            ValueError: The problem has not two variables, or the shapes differ.

        Example:
            >>> saddle().on_grid([[0.0, 1.0]], [[0.0, 0.0]])
            tensor([[ 0.0000, -0.2500]], dtype=torch.float64)
        """
        if self.n != 2:
            raise ValueError(f"a grid needs a problem of 2 variables, got {self.n}")
        x, y = torch.as_tensor(x, dtype=self.x0.dtype), torch.as_tensor(y, dtype=self.x0.dtype)
        if x.shape != y.shape:
            raise ValueError(
                f"x and y must have one shape, got {tuple(x.shape)} and {tuple(y.shape)}"
            )
        points = torch.stack([x.reshape(-1), y.reshape(-1)], dim=1).to(self.x0.device)
        values: Tensor = vmap(self.f)(points)
        return values.reshape(x.shape)

    def grid(self, points: int = 200) -> tuple[Tensor, Tensor, Tensor]:
        """Return X, Y and the values there over the window, each (points, points): for contours."""
        (x_low, x_high), (y_low, y_high) = self.window
        x = torch.linspace(x_low, x_high, points, dtype=self.x0.dtype)
        y = torch.linspace(y_low, y_high, points, dtype=self.x0.dtype)
        x, y = torch.meshgrid(x, y, indexing="xy")
        return x, y, self.on_grid(x, y)


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

    @property
    def condition(self) -> float:
        """The ratio of the largest to the smallest absolute eigenvalue."""
        size = self.eigenvalues.abs()
        return float(size.max() / size.min())


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
        saddles=center.reshape(1, n)[: int(bool(eigenvalues.min() < 0 < eigenvalues.max()))],
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
    tilted = quadratic(
        spectrum(2, condition),
        basis=rotation(angle),
        x0=torch.tensor([-1.5, 1.5], dtype=torch.float64),
    )
    return replace(tilted, name=f"bowl, condition {condition:g}")


def saddle() -> Problem:
    r"""Return :math:`x^4/4 - x^2/2 + y^2/2`: two minima with a saddle point between them.

    The Hessian diag(3x² − 1, 1) is indefinite where \|x\| < 1/√3; there Newton's step goes uphill
    in x and ends at the saddle. The start lies inside.
    """
    return _problem(
        "saddle",
        lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2,
        x0=[0.3, 1.0],
        minimum=-0.25,
        minimizers=[[-1.0, 0.0], [1.0, 0.0]],
        saddles=[[0.0, 0.0]],
        window=((-1.75, 1.75), (-1.25, 1.25)),
    )


def rosenbrock(n: int = 2) -> Problem:
    r"""Return Rosenbrock's curved valley, chained to any number of variables.

    .. math:: f(x) = \sum_{i=1}^{n-1} 100\,(x_{i+1} - x_i^2)^2 + (1 - x_i)^2

    From n = 4 on there is a second, local minimum near (−1, 1, …, 1).

    Args:
        n: The number of variables, >= 2.

    Raises:
        ValueError: n is below 2.
    """
    if n < 2:
        raise ValueError(f"n must be >= 2, got {n}")
    return _problem(
        "Rosenbrock" if n == 2 else f"chained Rosenbrock, {n} variables",
        lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum(),
        x0=[(-1.2, 1.0)[i % 2] for i in range(n)],
        minimum=0.0,
        minimizers=[[1.0] * n],
        window=((-2.0, 2.0), (-1.0, 3.0)),
    )


def himmelblau() -> Problem:
    """Return Himmelblau's (x² + y − 11)² + (x + y² − 7)²: four minima, four saddles, one hill."""
    return _problem(
        "Himmelblau",
        lambda x: (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2,
        x0=[-0.5, -0.5],
        minimum=0.0,
        minimizers=[
            [3.0, 2.0],
            [-2.8051180869527448, 3.1313125182505730],
            [-3.7793102533777469, -3.2831859912861694],
            [3.5844283403304917, -1.8481265269644034],
        ],
        saddles=[
            [0.0866775045553964, 2.8842547011747761],
            [-3.0730257507643896, -0.0813530442879675],
            [3.3851541836070209, 0.0738518798377493],
            [-0.1279613467306801, -1.9537149802445764],
        ],
        window=((-5.0, 5.0), (-5.0, 5.0)),
    )


def pseudo_huber(n: int = 2) -> Problem:
    r"""Return :math:`\sum_i \sqrt{1 + x_i^2} - 1`: convex, yet Newton's method can diverge.

    A Newton step maps each coordinate to −x³: to the minimum where \|x\| < 1, for ever between 1
    and −1, and off to infinity from beyond.
    """
    return _problem(
        "pseudo-Huber",
        # The same as the root less one, without the cancellation near 0.
        lambda x: (x**2 / (1 + (1 + x**2).sqrt())).sum(),
        x0=[0.9] * n,
        minimum=0.0,
        minimizers=[[0.0] * n],
    )


def exponential(n: int = 2) -> Problem:
    r"""Return :math:`\sum_i e^{x_i} - x_i`: convex, and a long step overflows to infinity.

    Left of the minimum the slope stays −1 while the curvature vanishes: the Newton step from −7 is
    1096 long, and exp(1089) is no number of float64.
    """
    return _problem(
        "exponential",
        lambda x: (x.exp() - x).sum(),
        x0=[-7.0] * n,
        minimum=float(n),
        minimizers=[[0.0] * n],
        window=((-8.0, 3.0), (-8.0, 3.0)),
    )


def log_barrier(n: int = 2) -> Problem:
    r"""Return :math:`\sum_i x_i - \log x_i`: convex on its domain x > 0, NaN outside.

    A Newton step maps the error e = 1 − x of each coordinate to e², the quadratic rate in its
    purest form, where x < 2; from beyond it leaves the domain. The start lies beyond.
    """
    return _problem(
        "logarithmic barrier",
        lambda x: (x - x.log()).sum(),
        x0=[3.0] * n,
        minimum=float(n),
        minimizers=[[1.0] * n],
        window=((0.02, 4.0), (0.02, 4.0)),
    )


def catalogue() -> tuple[Problem, ...]:
    """Return each problem of this module once, at its default settings.

    Example:
        >>> [p.name for p in catalogue()][1:4]
        ['bowl, condition 10', 'saddle', 'Rosenbrock']
    """
    return (
        quadratic(spectrum(10, 100.0)),
        bowl(),
        saddle(),
        rosenbrock(),
        himmelblau(),
        pseudo_huber(),
        exponential(),
        log_barrier(),
    )


def _problem(
    name: str,
    f: Callable[[Tensor], Tensor],
    *,
    x0: list[float],
    minimum: float,
    minimizers: list[list[float]],
    saddles: list[list[float]] | None = None,
    window: _Window = ((-2.0, 2.0), (-2.0, 2.0)),
) -> Problem:
    """Make the tensors, in float64."""
    n = len(x0)
    return Problem(
        name=name,
        f=f,
        x0=torch.tensor(x0, dtype=torch.float64),
        minimum=minimum,
        minimizers=torch.tensor(minimizers, dtype=torch.float64).reshape(-1, n),
        saddles=torch.tensor(saddles or [], dtype=torch.float64).reshape(-1, n),
        window=window,
    )
