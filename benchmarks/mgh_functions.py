r"""The 35 residual vectors of Moré, Garbow and Hillstrom (1981), in torch.

Each function maps ``x``, (n,), to the vector $r(x)$, (m,); the objective is $\sum_i r_i(x)^2$.
Functions of a fixed dimension are plain functions, the others are made by a factory that takes the
dimension. All are literal: where the formula leaves its domain (a quotient by zero, an overflowing
exponential) the value is infinite or NaN, and the method under test has to cope. The numbers are
the paper's, the pairs (n, m).

J. J. Moré, B. S. Garbow, K. E. Hillstrom, "Testing unconstrained optimization software",
ACM TOMS 7(1), 1981, 17-41.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import mgh_data as data
from benchmarks.mgh_data import count

Residuals = Callable[[Tensor], Tensor]

_ROOT5, _ROOT10, _ROOT_A = math.sqrt(5), math.sqrt(10), math.sqrt(1e-5)


# --- 1 to 19: the dimension is fixed --------------------------------------------------------------


def rosenbrock(x: Tensor) -> Tensor:
    """1. Rosenbrock, (n, m) = (2, 2)."""
    x1, x2 = x.unbind()
    return torch.stack((10 * (x2 - x1 * x1), 1 - x1))


def freudenstein_roth(x: Tensor) -> Tensor:
    """2. Freudenstein and Roth, (2, 2)."""
    x1, x2 = x.unbind()
    return torch.stack((x1 - 13 + ((5 - x2) * x2 - 2) * x2, x1 - 29 + ((x2 + 1) * x2 - 14) * x2))


def powell_badly_scaled(x: Tensor) -> Tensor:
    """3. Powell's badly scaled function, (2, 2)."""
    x1, x2 = x.unbind()
    return torch.stack((1e4 * x1 * x2 - 1, torch.exp(-x).sum() - 1.0001))


def brown_badly_scaled(x: Tensor) -> Tensor:
    """4. Brown's badly scaled function, (2, 3)."""
    x1, x2 = x.unbind()
    return torch.stack((x1 - 1e6, x2 - 2e-6, x1 * x2 - 2))


def beale(x: Tensor) -> Tensor:
    """5. Beale, (2, 3)."""
    x1, x2 = x.unbind()
    square = x2 * x2
    return data.BEALE_Y - x1 * (1 - torch.stack((x2, square, square * x2)))


def jennrich_sampson(x: Tensor) -> Tensor:
    """6. Jennrich and Sampson, (2, 10)."""
    i = data.JENNRICH_I
    return 2 + 2 * i - torch.exp(i[:, None] * x).sum(1)


def helical_valley(x: Tensor) -> Tensor:
    """7. Fletcher and Powell's helical valley, (3, 3).

    The angle, in turns, runs from -1/4 to 3/4. ``atan2`` turned by a quarter has exactly this
    branch cut, the negative $x_2$ axis, and the right derivatives on the line $x_1 = 0$ too, where
    the paper's quotient $x_2 / x_1$ has none.
    """
    x1, x2, x3 = x.unbind()
    turns = 0.25 + torch.atan2(-x1, x2) / (2 * math.pi)
    return torch.stack((10 * (x3 - 10 * turns), 10 * (torch.hypot(x1, x2) - 1), x3))


def bard(x: Tensor) -> Tensor:
    """8. Bard, (3, 15)."""
    x1, x2, x3 = x.unbind()
    return data.BARD_Y - x1 - data.BARD_U / (data.BARD_V * x2 + data.BARD_W * x3)


def gaussian(x: Tensor) -> Tensor:
    """9. Gaussian, (3, 15)."""
    x1, x2, x3 = x.unbind()
    return x1 * torch.exp(-0.5 * x2 * (data.GAUSS_T - x3) ** 2) - data.GAUSS_Y


def meyer(x: Tensor) -> Tensor:
    """10. Meyer, (3, 16)."""
    x1, x2, x3 = x.unbind()
    return x1 * torch.exp(x2 / (data.MEYER_T + x3)) - data.MEYER_Y


def gulf(x: Tensor) -> Tensor:
    """11. Gulf research and development, (3, 99).

    The paper misprints the sign inside the modulus; the authors' program has $y_i - x_2$.
    """
    x1, x2, x3 = x.unbind()
    return torch.exp(-((data.GULF_Y - x2).abs() ** x3) / x1) - data.GULF_T


def box(x: Tensor) -> Tensor:
    """12. Box's three-dimensional function, (3, 10)."""
    x1, x2, x3 = x.unbind()
    return torch.exp(-data.BOX_T * x1) - torch.exp(-data.BOX_T * x2) - x3 * data.BOX_Y


def powell_singular(x: Tensor) -> Tensor:
    """13. Powell's singular function (4, 4), and 22. its extension: $m = n$ a multiple of 4."""
    x1, x2, x3, x4 = x.reshape(-1, 4).unbind(1)
    return torch.cat(
        (x1 + 10 * x2, _ROOT5 * (x3 - x4), (x2 - 2 * x3) ** 2, _ROOT10 * (x1 - x4) ** 2)
    )


def wood(x: Tensor) -> Tensor:
    """14. Wood, (4, 6)."""
    x1, x2, x3, x4 = x.unbind()
    return torch.stack(
        (
            10 * (x2 - x1 * x1),
            1 - x1,
            3 * _ROOT10 * (x4 - x3 * x3),
            1 - x3,
            _ROOT10 * (x2 + x4 - 2),
            (x2 - x4) / _ROOT10,
        )
    )


def kowalik_osborne(x: Tensor) -> Tensor:
    """15. Kowalik and Osborne, (4, 11)."""
    x1, x2, x3, x4 = x.unbind()
    u = data.KOWALIK_U
    return data.KOWALIK_Y - x1 * (u * (u + x2)) / (u * (u + x3) + x4)


def brown_dennis(x: Tensor) -> Tensor:
    """16. Brown and Dennis, (4, 20)."""
    x1, x2, x3, x4 = x.unbind()
    line = x1 + data.BROWN_T * x2 - data.BROWN_EXP
    wave = x3 + x4 * data.BROWN_SIN - data.BROWN_COS
    return line * line + wave * wave


def osborne_1(x: Tensor) -> Tensor:
    """17. Osborne's first function, (5, 33)."""
    x1, x2, x3, x4, x5 = x.unbind()
    t = data.OSBORNE_1_T
    return data.OSBORNE_1_Y - (x1 + x2 * torch.exp(-t * x4) + x3 * torch.exp(-t * x5))


def biggs_exp6(x: Tensor) -> Tensor:
    """18. Biggs EXP6, (6, 13)."""
    x1, x2, x3, x4, x5, x6 = x.unbind()
    t = data.BIGGS_T
    decays = x3 * torch.exp(-t * x1) - x4 * torch.exp(-t * x2) + x6 * torch.exp(-t * x5)
    return decays - data.BIGGS_Y


def osborne_2(x: Tensor) -> Tensor:
    """19. Osborne's second function, (11, 65)."""
    t = data.OSBORNE_2_T
    bumps = torch.exp(-x[5:8] * (t[:, None] - x[8:11]) ** 2) @ x[1:4]
    return data.OSBORNE_2_Y - x[0] * torch.exp(-t * x[4]) - bumps


# --- 20 to 35: the dimension is chosen ------------------------------------------------------------


def watson(n: int) -> Residuals:
    """20. Watson, (n, 31)."""
    powers = (count(29) / 29)[:, None] ** count(n, 0)
    slopes = torch.cat((torch.zeros(29, 1, dtype=torch.float64), powers[:, :-1]), 1) * count(n, 0)

    def residuals(x: Tensor) -> Tensor:
        first = x[:1]
        return torch.cat((slopes @ x - (powers @ x) ** 2 - 1, first, x[1:2] - first * first - 1))

    return residuals


def extended_rosenbrock(x: Tensor) -> Tensor:
    """21. Extended Rosenbrock, m = n even."""
    odd, even = x.reshape(-1, 2).unbind(1)
    return torch.cat((10 * (even - odd * odd), 1 - odd))


def penalty_1(x: Tensor) -> Tensor:
    """23. Penalty I, (n, n + 1)."""
    return torch.cat((_ROOT_A * (x - 1), (x @ x - 0.25)[None]))


def penalty_2(n: int) -> Residuals:
    """24. Penalty II, (n, 2n)."""
    grid = torch.exp(count(n) / 10)
    y = _ROOT_A * (grid[1:] + grid[:-1])
    weights = n + 1 - count(n)

    def residuals(x: Tensor) -> Tensor:
        e = _ROOT_A * torch.exp(x / 10)
        tail = e[1:]
        last = (weights @ (x * x) - 1)[None]
        return torch.cat((x[:1] - 0.2, tail + e[:-1] - y, tail - _ROOT_A * math.exp(-0.1), last))

    return residuals


def variably_dimensioned(n: int) -> Residuals:
    """25. Variably dimensioned, (n, n + 2)."""
    weights = count(n)

    def residuals(x: Tensor) -> Tensor:
        gap = x - 1
        total = (weights @ gap)[None]
        return torch.cat((gap, total, total * total))

    return residuals


def trigonometric(n: int) -> Residuals:
    """26. Trigonometric, m = n."""
    i = count(n)

    def residuals(x: Tensor) -> Tensor:
        cosine = torch.cos(x)
        return n - cosine.sum() + i * (1 - cosine) - torch.sin(x)

    return residuals


def brown_almost_linear(x: Tensor) -> Tensor:
    """27. Brown's almost linear function, m = n."""
    return torch.cat((x[:-1] + (x.sum() - (x.numel() + 1)), (x.prod() - 1)[None]))


def discrete_boundary_value(n: int) -> Residuals:
    """28. Discrete boundary value problem, m = n."""
    h = 1 / (n + 1)
    shift = h * count(n) + 1
    neighbours = torch.ones(n - 1, dtype=torch.float64)
    second_difference = 2 * torch.eye(n, dtype=torch.float64)
    second_difference -= neighbours.diag(1) + neighbours.diag(-1)
    return lambda x: second_difference @ x + (0.5 * h * h) * (x + shift) ** 3


def discrete_integral_equation(n: int) -> Residuals:
    """29. Discrete integral equation, m = n."""
    h = 1 / (n + 1)
    t = h * count(n)
    kernel = 0.5 * h * torch.minimum(t[:, None], t) * (1 - torch.maximum(t[:, None], t))
    return lambda x: x + kernel @ (x + (t + 1)) ** 3


def broyden_tridiagonal(n: int) -> Residuals:
    """30. Broyden tridiagonal, m = n."""
    neighbours = torch.ones(n - 1, dtype=torch.float64)
    coupling = neighbours.diag(-1) + 2 * neighbours.diag(1)
    return lambda x: (3 - 2 * x) * x - coupling @ x + 1


def broyden_banded(n: int) -> Residuals:
    """31. Broyden banded, m = n: five neighbours below, one above."""
    band = torch.ones(n, n, dtype=torch.float64).triu(-5).tril(1).fill_diagonal_(0)
    return lambda x: x * (2 + 5 * x * x) + 1 - band @ (x * (1 + x))


def linear_full_rank(n: int, m: int) -> Residuals:
    """32. Linear of full rank, m >= n."""
    matrix = torch.eye(m, n, dtype=torch.float64) - 2 / m
    return lambda x: matrix @ x - 1


def linear_rank_1(n: int, m: int) -> Residuals:
    """33. Linear of rank one, m >= n."""
    matrix = torch.outer(count(m), count(n))
    return lambda x: matrix @ x - 1


def linear_rank_1_zeros(n: int, m: int) -> Residuals:
    """34. Linear of rank one with a zero first and last column and row, m >= n."""
    rows, columns = count(m, 0), count(n)
    rows[-1] = 0
    columns[0] = columns[-1] = 0
    matrix = torch.outer(rows, columns)
    return lambda x: matrix @ x - 1


def chebyquad(n: int) -> Residuals:
    r"""35. Chebyquad, m = n: means of shifted Chebyshev polynomials minus their integrals.

    The rule $T_{k+j} = 2 T_k T_j - T_{k-j}$ doubles the number of polynomials at each step; the
    three-term recurrence is its case j = 1.
    """
    i = count(n)
    integrals = torch.where(i % 2 == 0, -1 / (i * i - 1).clamp(min=1), 0.0)

    def residuals(x: Tensor) -> Tensor:
        polynomials = torch.stack((torch.ones_like(x), 2 * x - 1))
        while len(polynomials) <= n:
            product = 2 * polynomials[-1] * polynomials[1:] - polynomials[:-1].flip(0)
            polynomials = torch.cat((polynomials, product))
        return polynomials[1 : n + 1].mean(1) - integrals

    return residuals
