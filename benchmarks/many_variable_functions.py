r"""Smooth functions of any number of variables, beside those of Moré, Garbow and Hillstrom.

Each maps ``x``, (n,), to the value, 0-d, or to residuals, (m,), whose squares are summed; where
the formula needs more than x, a factory makes the function. They are typed from their formulas:

- CUTEst's SIF files, for which the name of the file is given;
- L. Lukšan, J. Vlček, *Sparse and partially separable test problems for unconstrained and equality
  constrained optimization*, report V-767, Academy of Sciences of the Czech Republic, 1999 (LV);
- N. Andrei, *An unconstrained optimization test functions collection*, Advanced Modeling and
  Optimization 10(1), 2008 (Andrei).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.problem import vector


def counting(x: Tensor) -> Tensor:
    """The numbers 1 to n."""
    return torch.arange(1, len(x) + 1, dtype=x.dtype)


# --- Narrow valleys -------------------------------------------------------------------------------


def chained_rosenbrock(x: Tensor) -> Tensor:
    """LV 2.1."""
    return torch.cat((10 * (x[:-1] ** 2 - x[1:]), x[:-1] - 1))


def chained_wood(x: Tensor) -> Tensor:
    """LV 2.2: Wood's function on overlapping quadruples."""
    a, b, c, d = (x[k : len(x) - 3 + k : 2] for k in range(4))
    tenth = math.sqrt(10)
    parts = (10 * (a**2 - b), a - 1, math.sqrt(90) * (c**2 - d), c - 1)
    return torch.cat((*parts, tenth * (b + d - 2), (b - d) / tenth))


def scaled_rosenbrock(x: Tensor) -> Tensor:
    """CHNROSNB: a chain whose links have different weights, up to n = 12."""
    weights = vector(1.40, 2.40, 1.40, 1.75, 1.20, 2.25, 1.20, 1.00, 1.10, 1.50, 1.60)
    return torch.cat((4 * weights[: len(x) - 1] * (x[:-1] - x[1:] ** 2), x[1:] - 1))


def erroneous_rosenbrock(x: Tensor) -> Tensor:
    """ERRINROS: the same with an error, which makes it a problem with large residuals."""
    weights = vector(1.40, 2.40, 1.40, 1.75, 1.20, 2.25, 1.20, 1.00, 1.10, 1.50, 1.60)
    return torch.cat((x[:-1] - 16 * (weights[: len(x) - 1] * x[1:]) ** 2, x[1:] - 1))


def generalized_rosenbrock(x: Tensor) -> Tensor:
    """GENROSE: one more than a sum of squares."""
    return 1 + (100 * (x[1:] - x[:-1] ** 2) ** 2 + (x[1:] - 1) ** 2).sum()


def inseparable_rosenbrock(x: Tensor) -> Tensor:
    """EXTROSNB: nothing but the first variable fixes the place in the valley."""
    return torch.cat((x[:1] - 1, 10 * (x[1:] - x[:-1] ** 2)))


def fletcher_chain(x: Tensor) -> Tensor:
    """Andrei, FLETCHCR: a chained Rosenbrock function without its second terms, moved."""
    return 10 * (x[1:] - x[:-1] + 1 - x[:-1] ** 2)


def oscillating_path(x: Tensor) -> Tensor:
    """OSCIPATH: Nesterov's path, whose length grows exponentially with n."""
    weight = math.sqrt(500)
    return torch.cat((0.5 * (x[:1] - 1), weight * (x[1:] - 2 * x[:-1] ** 2 + 1)))


def nondiagonal(x: Tensor) -> Tensor:
    """NONDIA."""
    return torch.cat((x[:1] - 1, 10 * (x[0] - x[:-1] ** 2)))


def liarwhd(x: Tensor) -> Tensor:
    """LIARWHD."""
    return torch.cat((2 * (x**2 - x[0]), x - 1))


def chained_freudenstein_roth(x: Tensor) -> Tensor:
    """FREUROTH: large residuals, several minima."""
    a, b = x[:-1], x[1:]
    return torch.cat((a - 13 + ((5 - b) * b - 2) * b, a - 29 + ((b + 1) * b - 14) * b))


# --- Flat at the minimum: the Hessian is singular there -------------------------------------------


def quartic(x: Tensor) -> Tensor:
    """DQRTIC: a sum of fourth powers."""
    return (x - counting(x)) ** 2


def power(x: Tensor) -> Tensor:
    """POWER: the square of a quadratic."""
    return (counting(x) * x**2).sum().reshape(1)


def sparse_square(x: Tensor) -> Tensor:
    """SPARSQUR: squares of sums of six squares."""
    i = counting(x)
    places = [(k * i - 1).long() % len(x) for k in (1, 2, 3, 5, 7, 11)]
    return torch.sqrt(i / 8) * sum(x[place] ** 2 for place in places)


def nondiagonal_quartic(x: Tensor) -> Tensor:
    """NONDQUAR: two squares hold what the quartics leave loose."""
    loose = (x[:-2] + x[1:-1] + x[-1]) ** 2
    return torch.cat(((x[0] - x[1]).reshape(1), (x[-2] - x[-1]).reshape(1), loose))


def sine_quadratic(x: Tensor) -> Tensor:
    """Andrei, SINQUAD."""
    middle = torch.sin(x[1:-1] - x[-1]) - x[0] ** 2 + x[1:-1] ** 2
    return torch.cat(((x[:1] - 1) ** 2, middle, x[-1:] ** 2 - x[0] ** 2))


def chained_powell_singular(x: Tensor) -> Tensor:
    """LV 2.3: Powell's singular function on overlapping quadruples."""
    a, b, c, d = (x[k : len(x) - 3 + k : 2] for k in range(4))
    parts = (a + 10 * b, math.sqrt(5) * (c - d), (b - 2 * c) ** 2, math.sqrt(10) * (a - d) ** 2)
    return torch.cat(parts)


def chained_cragg_levy(x: Tensor) -> Tensor:
    """CRAGGLVY, LV 2.4: an exponential, a tangent and an eighth power."""
    a, b, c, d = (x[k : len(x) - 3 + k : 2] for k in range(4))
    parts = ((torch.exp(a) - b) ** 2, 10 * (b - c) ** 3, (torch.tan(c - d) + c - d) ** 2)
    return torch.cat((*parts, a**4, d - 1))


def tridiagonal_quartic(x: Tensor) -> Tensor:
    """Andrei, extended tridiagonal 1: squares along one diagonal, fourth powers along the other."""
    a, b = x[::2], x[1::2]
    return torch.cat((a + b - 3, (a - b + 1) ** 2))


def overlapping_tridiagonal_quartic(x: Tensor) -> Tensor:
    """Andrei, generalized tridiagonal 1: the same on overlapping pairs."""
    a, b = x[:-1], x[1:]
    return torch.cat((a + b - 3, (a - b + 1) ** 2))


def broyden_power(x: Tensor) -> Tensor:
    """LV 2.5: Broyden's tridiagonal equations to the power 7/3."""
    outer = torch.nn.functional.pad(x, (1, 1))
    return (((3 - 2 * x) * x - outer[:-2] - outer[2:] + 1).abs() ** (7 / 3)).sum()


def seven_diagonal(x: Tensor) -> Tensor:
    """BROYDN7D, LV 2.7: the same with a link to the other half of the variables."""
    outer, half = torch.nn.functional.pad(x, (1, 1)), len(x) // 2
    tridiagonal = (1 - outer[:-2] - 2 * outer[2:] + (3 - x / 2) * x).abs() ** (7 / 3)
    return tridiagonal.sum() + ((x[:half] + x[half:]).abs() ** (7 / 3)).sum()


# --- Quartics with a minimum other than zero ------------------------------------------------------


def arwhead(x: Tensor) -> Tensor:
    """ARWHEAD: every term holds the last variable."""
    return ((x[:-1] ** 2 + x[-1] ** 2) ** 2 - 4 * x[:-1] + 3).sum()


def engval(x: Tensor) -> Tensor:
    """ENGVAL1."""
    return ((x[:-1] ** 2 + x[1:] ** 2) ** 2 - 4 * x[:-1] + 3).sum()


def bdqrtic(x: Tensor) -> Tensor:
    """BDQRTIC: band of width four, and the last variable everywhere."""
    n, s = len(x), x**2
    band = s[:-4] + 2 * s[1 : n - 3] + 3 * s[2 : n - 2] + 4 * s[3 : n - 1] + 5 * s[-1]
    return torch.cat((3 - 4 * x[:-4], band))


def edensch(x: Tensor) -> Tensor:
    """EDENSCH."""
    a, b = x[:-1], x[1:]
    return 16 + ((a - 2) ** 4 + (a * b - 2 * b) ** 2 + (b + 1) ** 2).sum()


def curly(width: int) -> Callable[[Tensor], Tensor]:
    """CURLY: a double well for each sum of up to ``width`` + 1 neighbours."""

    def f(x: Tensor) -> Tensor:
        sums = torch.cat((torch.zeros_like(x[:1]), x.cumsum(0)))
        ends = (torch.arange(len(x)) + width + 1).clamp(max=len(x))
        q = sums[ends] - sums[:-1]
        return (q * (q * (q**2 - 20) - 0.1)).sum()

    return f


def dixon_maany(
    coefficients: tuple[float, float, float, float], powers: tuple[int, int, int, int]
) -> Callable[[Tensor], Tensor]:
    """DIXMAANA to DIXMAANL: n a multiple of three; the powers of i/n grade the terms."""

    def f(x: Tensor) -> Tensor:
        n, m = len(x), len(x) // 3
        share = counting(x) / n
        a, b, c, d = (share**k for k in powers)
        alpha, beta, gamma, delta = coefficients
        out = 1 + alpha * (a * x**2).sum()
        out = out + beta * (b[:-1] * x[:-1] ** 2 * (x[1:] + x[1:] ** 2) ** 2).sum()
        out = out + gamma * (c[: 2 * m] * x[: 2 * m] ** 2 * x[m:] ** 4).sum()
        return out + delta * (d[:m] * x[:m] * x[2 * m :]).sum()

    return f
