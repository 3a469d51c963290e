"""The surfaces of the lessons: a saddle, valleys, and one on which Newton's method diverges."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dlopt.lesson.problems.problem import Problem, Window


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


def _problem(
    name: str,
    f: Callable[[Tensor], Tensor],
    *,
    x0: list[float],
    minimum: float,
    minimizers: list[list[float]],
    window: Window = ((-2.0, 2.0), (-2.0, 2.0)),
) -> Problem:
    """Make the tensors, in float64."""
    return Problem(
        name=name,
        f=f,
        x0=torch.tensor(x0, dtype=torch.float64),
        minimum=minimum,
        minimizers=torch.tensor(minimizers, dtype=torch.float64),
        window=window,
    )
