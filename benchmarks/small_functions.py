r"""Smooth functions of few variables, beside those of Moré, Garbow and Hillstrom, in torch.

Each maps ``x``, (n,), to the value, 0-d, or to residuals, (m,), whose squares are summed. They are
typed from their formulas: those of CUTEst's SIF files, for which the name of the file is given, or
of the paper. All are literal, also where values overflow. ``further.py`` has starts and minima.
"""

import math

import torch
from torch import Tensor

from benchmarks.problem import vector


def cliff(x: Tensor) -> Tensor:
    """CLIFF: an exponential wall; the minimum lies where it has just ended."""
    x1, x2 = x.unbind()
    return ((x1 - 3) / 100) ** 2 - (x1 - x2) + torch.exp(20 * (x1 - x2))


def cube(x: Tensor) -> Tensor:
    """CUBE: Rosenbrock's valley along a cubic."""
    x1, x2 = x.unbind()
    return torch.stack((x1 - 1, 10 * (x2 - x1**3)))


def himmelblau_exponential(x: Tensor) -> Tensor:
    """HIMMELBG: zero at the origin, and at infinity."""
    x1, x2 = x.unbind()
    return torch.exp(-x1 - x2) * (2 * x1**2 + 3 * x2**2)


def himmelblau_fit(x: Tensor) -> Tensor:
    """HIMMELBF: a fit of seven points, unknowns from 1 to 1e3."""
    x1, x2, x3, x4 = x.unbind()
    a = vector(0, 0.000428, 0.001, 0.00161, 0.00209, 0.00348, 0.00525)
    b = vector(7.391, 11.18, 16.44, 16.20, 22.20, 24.02, 31.32)
    return 100 * ((x1**2 + a * x2**2 + (a * x3) ** 2) / (b * (1 + a * x4**2)) - 1)


def sine_valley(x: Tensor) -> Tensor:
    """SINEVAL: a narrow valley along a sine."""
    x1, x2 = x.unbind()
    return torch.stack((math.sqrt(1000) * (x2 - torch.sin(x1)), 0.5 * x1))


def sisser(x: Tensor) -> Tensor:
    """Sisser (1981): a quartic without second derivatives at its minimum."""
    x1, x2 = x.unbind()
    return 3 * x1**4 - 2 * (x1 * x2) ** 2 + 3 * x2**4


def snail(x: Tensor) -> Tensor:
    """SNAIL: a valley that winds round the minimum."""
    r = torch.hypot(*x.unbind())
    cosine = 0.5 * torch.cos(r - torch.atan2(x[1], x[0]))
    return r * r / (1 + r * r) * (1 + 1.5 * r - r * cosine)


def zangwill(x: Tensor) -> Tensor:
    """ZANGWIL2: a quadratic."""
    x1, x2 = x.unbind()
    return (16 * x1**2 + 16 * x2**2 - 8 * x1 * x2 - 56 * x1 - 256 * x2 + 991) / 15


def bracken_mccormick(x: Tensor) -> Tensor:
    """BRKMCC: a constrained problem with its constraints as penalties."""
    x1, x2 = x.unbind()
    barrier = 0.04 / (1 - 0.25 * x1**2 - x2**2)
    return (x1 - 2) ** 2 + (x2 - 1) ** 2 + barrier + 5 * (x1 - 2 * x2 + 1) ** 2


def dennis_schnabel_a(x: Tensor) -> Tensor:
    """DENSCHNA."""
    x1, x2 = x.unbind()
    return torch.stack((x1**2, x1 + x2, torch.expm1(x2)))


def dennis_schnabel_b(x: Tensor) -> Tensor:
    """DENSCHNB."""
    x1, x2 = x.unbind()
    return torch.stack((x1 - 2, (x1 - 2) * x2, x2 + 1))


def dennis_schnabel_c(x: Tensor) -> Tensor:
    """DENSCHNC: two equations, one with an exponential."""
    x1, x2 = x.unbind()
    return torch.stack((x1**2 + x2**2 - 2, torch.exp(x1 - 1) + x2**3 - 2))


def dennis_schnabel_d(x: Tensor) -> Tensor:
    """DENSCHND: zero on lines through the origin, singular there, large at the start."""
    a, b, c = x.unbind()
    return torch.stack((a**2 + b**3 - c**4, 2 * a * b * c, 2 * a * b - 3 * b * c + a * c))


def dennis_schnabel_e(x: Tensor) -> Tensor:
    """DENSCHNE: flat in its third variable at the start."""
    x1, x2, x3 = x.unbind()
    return torch.stack((x1, x2 + x2**2, torch.expm1(x3)))


def dennis_schnabel_f(x: Tensor) -> Tensor:
    """DENSCHNF."""
    x1, x2 = x.unbind()
    first = 2 * (x1 + x2) ** 2 + (x1 - x2) ** 2 - 8
    return torch.stack((first, 5 * x1**2 + (x2 - 3) ** 2 - 9))


def engvall(x: Tensor) -> Tensor:
    """ENGVAL2."""
    x1, x2, x3 = x.unbind()
    round_ = x1**2 + x2**2
    cubic = x1**3 + 3 * x2**2 + (5 * x3 - x1 + 1) ** 2 - 36
    return torch.stack(
        (round_ + x3**2 - 1, round_ + (x3 - 2) ** 2 - 1, x1 + x2 + x3 - 1, x1 + x2 - x3 + 1, cubic)
    )


def exponential_fit(x: Tensor) -> Tensor:
    """EXPFIT: a straight line fitted by an exponential."""
    t = 0.25 * torch.arange(1, 11, dtype=x.dtype)
    return x[0] * torch.exp(x[1] * t) - t


def log_rosenbrock(x: Tensor) -> Tensor:
    """LOGROS: the logarithm makes most of Rosenbrock's valley concave."""
    x1, x2 = x.unbind()
    return torch.log1p(1e4 * (x2 - x1**2) ** 2 + (1 - x1) ** 2)


def maratos(x: Tensor) -> Tensor:
    """MARATOSB: a linear function along a very narrow circle."""
    x1, x2 = x.unbind()
    return x1 + 1e6 * (x1**2 + x2**2 - 1) ** 2


def mexican_hat(x: Tensor) -> Tensor:
    """MEXHAT: two narrow minima in the brim."""
    x1, x2 = x.unbind()
    u = (x1 - 1) ** 2
    return -2 * u + 1e5 * (u - 0.02 + 1e4 * (x2 - x1**2) ** 2) ** 2


def schittkowski_308(x: Tensor) -> Tensor:
    """S308: a quartic and two waves."""
    x1, x2 = x.unbind()
    return torch.stack((x1**2 + x1 * x2 + x2**2, torch.sin(x1), torch.cos(x2)))


def trust_region_scaling(x: Tensor) -> Tensor:
    """After STREG: Rosenbrock beside two variables that start at 1e10."""
    return torch.cat((torch.stack((10 * (x[1] - x[0] ** 2), x[0] - 1)), x[2:]))


def all_initial(x: Tensor) -> Tensor:
    """ALLINITU: one term of each sort."""
    a, b, c, d = x.unbind()
    quartic = b**4 + (c**2 + (a + d) ** 2) ** 2 + (a - 4 + torch.sin(d) ** 2 + (b * c) ** 2) ** 2
    waves = 2 * torch.sin(c) ** 2 + torch.sin(d) ** 4
    return c + d - 4 + a**2 + b**2 + (c + d) ** 2 + (a * b) ** 2 + (d - 1) ** 2 + quartic + waves


def hatfield_d(x: Tensor) -> Tensor:
    """HATFLDD: a fit by exponentials that nearly cancel."""
    t = vector(0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
    y = vector(1.751, 1.561, 1.391, 1.239, 1.103, 0.981, 0.925, 0.8721, 0.8221, 0.7748)
    return torch.exp(t * x[2]) - x[0] * torch.exp(t * x[1]) + y


def heart(x: Tensor) -> Tensor:
    """HEART8LS: moments of a dipole, equations of degree four with a valley that is hard to leave.

    Dennis, Gay and Vu (1983).
    """
    a, b, c, d, t, u, v, w = x.unbind()
    square, cube = t**2 - v**2, t * (t**2 - 3 * v**2)
    square2, cube2 = u**2 - w**2, u * (u**2 - 3 * w**2)
    other, other2 = v * (v**2 - 3 * t**2), w * (w**2 - 3 * u**2)
    return torch.stack(
        (
            a + b + 0.69,
            c + d + 0.044,
            t * a + u * b - v * c - w * d + 1.57,
            v * a + w * b + t * c + u * d + 1.31,
            a * square - 2 * c * t * v + b * square2 - 2 * d * u * w + 2.65,
            c * square + 2 * a * t * v + d * square2 + 2 * b * u * w - 2,
            a * cube + c * other + b * cube2 + d * other2 + 12.6,
            c * cube - a * other + d * cube2 - b * other2 - 9.48,
        )
    )


def camera(x: Tensor) -> Tensor:
    """YFITU: the position of a camera from seventeen angles; rounding decides what is left."""
    y = vector(21.158931, 17.591719, 14.046854, 10.519732, 7.0058392, 3.5007293)
    below = vector(24.753206, 28.379405, 32.042552, 35.747869)
    y = torch.cat((y, 0 * y[:1], -y.flip(0), -below))
    share = torch.arange(17, dtype=x.dtype) / 16
    return x[2] * torch.tan(x[0] * (1 - share) + x[1] * share) - y


def six_hump_camel(x: Tensor) -> Tensor:
    """CAMEL6, unbounded: six minima in three pairs."""
    x1, x2 = x.unbind()
    return (4 - 2.1 * x1**2 + x1**4 / 3) * x1**2 + x1 * x2 + 4 * (x2**2 - 1) * x2**2


# --- Ways to mislead a tolerance ------------------------------------------------------------------


def line_to_a_million(x: Tensor) -> Tensor:
    """The line 2t + 5 at fifty t up to a million: slopes differ by six orders of magnitude."""
    t = torch.linspace(0, 1e6, 50, dtype=x.dtype)
    return x[0] * t + x[1] - (2 * t + 5)


def hyperbola(x: Tensor) -> Tensor:
    """The sum of x and 1/x, from where 1/x is a million."""
    return (x + 1 / x).sum()


def longley(x: Tensor) -> Tensor:
    """Longley's employment data by a linear model on its raw columns, condition number 5e9.

    NIST StRD, linear regression; J. W. Longley, JASA 62 (1967).
    """
    table = vector(
        60323, 83.0, 234289, 2356, 1590, 107608, 1947, 61122, 88.5, 259426, 2325, 1456, 108632,
        1948, 60171, 88.2, 258054, 3682, 1616, 109773, 1949, 61187, 89.5, 284599, 3351, 1650,
        110929, 1950, 63221, 96.2, 328975, 2099, 3099, 112075, 1951, 63639, 98.1, 346999, 1932,
        3594, 113270, 1952, 64989, 99.0, 365385, 1870, 3547, 115094, 1953, 63761, 100.0, 363112,
        3578, 3350, 116219, 1954, 66019, 101.2, 397469, 2904, 3048, 117388, 1955, 67857, 104.6,
        419180, 2822, 2857, 118734, 1956, 68169, 108.4, 442769, 2936, 2798, 120445, 1957, 66513,
        110.8, 444546, 4681, 2637, 121950, 1958, 68655, 112.6, 482704, 3813, 2552, 123366, 1959,
        69564, 114.2, 502601, 3931, 2514, 125368, 1960, 69331, 115.7, 518173, 4806, 2572, 127852,
        1961, 70551, 116.9, 554894, 4007, 2827, 130081, 1962,
    ).reshape(16, 7)  # fmt: skip
    return x[0] + table[:, 1:] @ x[1:] - table[:, 0]
