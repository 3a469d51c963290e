r"""Quadratics, exponentials, waves and matrix equations of any number of variables.

Like ``many_variable_functions``, with the same sources.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.many_variable_functions import counting

# --- Quadratics -----------------------------------------------------------------------------------


def hilbert(shift: float) -> Callable[[Tensor], Tensor]:
    """HILBERTA (0) and HILBERTB (5): half the form of the Hilbert matrix, and a share of |x|²."""

    def f(x: Tensor) -> Tensor:
        i = counting(x)
        return 0.5 * x @ (x @ (1 / (i[:, None] + i - 1))) + shift * x @ x

    return f


def dqdrtic(x: Tensor) -> Tensor:
    """DQDRTIC."""
    return torch.cat((x[:-2], 10 * x[1:-1], 10 * x[2:]))


def tridiagonal(x: Tensor) -> Tensor:
    """TRIDIA."""
    return torch.cat((x[:1] - 1, counting(x)[1:].sqrt() * (2 * x[1:] - x[:-1])))


def perturbed_quadratic(x: Tensor) -> Tensor:
    """Andrei, perturbed quadratic."""
    return torch.cat((counting(x).sqrt() * x, x.sum().reshape(1) / 10))


def biggs_b1(x: Tensor) -> Tensor:
    """Andrei, BIGGSB1: a chain of springs between two walls at 1."""
    return torch.cat((x[:1] - 1, x[1:] - x[:-1], 1 - x[-1:]))


# --- Exponentials ---------------------------------------------------------------------------------


def raydan_1(x: Tensor) -> Tensor:
    """Andrei, Raydan 1."""
    return (counting(x) / 10 * (torch.exp(x) - x)).sum()


def raydan_2(x: Tensor) -> Tensor:
    """Andrei, Raydan 2."""
    return (torch.exp(x) - x).sum()


def diagonal_1(x: Tensor) -> Tensor:
    """Andrei, Diagonal 1."""
    return (torch.exp(x) - counting(x) * x).sum()


def hager(x: Tensor) -> Tensor:
    """Andrei, Hager."""
    return (torch.exp(x) - counting(x).sqrt() * x).sum()


def three_exponentials(x: Tensor) -> Tensor:
    """Andrei, extended three exponential terms."""
    a, b = x[::2], 3 * x[1::2]
    return torch.exp(torch.cat((a + b, a - b, -a)) - 0.1).sum()


def quadratic_exponential(x: Tensor) -> Tensor:
    """Andrei, extended quadratic exponential EP1: only differences of pairs matter."""
    d = x[::2] - x[1::2]
    return torch.cat((torch.exp(d) - 5, d * (d - 11)))


# --- Waves ----------------------------------------------------------------------------------------


def cosine(x: Tensor) -> Tensor:
    """COSINE: every minimum is the smallest."""
    return torch.cos(x[:-1] ** 2 - 0.5 * x[1:]).sum()


def fletcher_boundary_value(x: Tensor) -> Tensor:
    """FLETCBV2: a boundary value problem with a cosine, ill-conditioned."""
    h2 = (1 / (len(x) + 1)) ** 2
    jumps = torch.cat((x[:1], x[1:] - x[:-1], x[-1:]))
    return 0.5 * jumps @ jumps - h2 * (2 * x + torch.cos(x)).sum() - x[-1]


def schmidt_vetters(x: Tensor) -> Tensor:
    """SCHMVETT."""
    a, b, c = x[:-2], x[1:-1], x[2:]
    wave = torch.sin((math.pi * b + c) / 2)
    return -(1 / (1 + (a - b) ** 2) + wave + torch.exp(-(((a + c) / b - 2) ** 2))).sum()


def toint_gaussians(x: Tensor) -> Tensor:
    """TOINTGSS."""
    a, b, s = x[:-2], x[1:-1], x[2:] ** 2
    return ((10 / (len(x) - 2) + s) * (2 - torch.exp(-((a - b) ** 2) / (0.1 + s)))).sum()


def extended_himmelblau(x: Tensor) -> Tensor:
    """Andrei, extended Himmelblau: four zeros a pair."""
    a, b = x[::2], x[1::2]
    return torch.cat((a**2 + b - 11, a + b**2 - 7))


# --- Matrix equations -----------------------------------------------------------------------------


def eigen(x: Tensor) -> Tensor:
    """EIGENBLS: the eigenvalues and eigenvectors of a tridiagonal matrix of order √n."""
    n = math.isqrt(len(x))
    values, Q = x[:n], x[n:].reshape(n, n)
    one = torch.eye(n, dtype=x.dtype)
    A = 2 * one - one.roll(1, 0).tril() - one.roll(-1, 0).triu()
    upper = torch.triu_indices(n, n).unbind()
    return torch.cat(((Q.T * values @ Q - A)[upper], (Q.T @ Q - one)[upper]))


def square_root_of_a_matrix(x: Tensor) -> Tensor:
    """MSQRTALS: X² = B², the entries of B being sin k²."""
    n = math.isqrt(len(x))
    X, B = x.reshape(n, n), torch.sin(counting(x) ** 2).reshape(n, n)
    return (X @ X - B @ B).reshape(-1)
