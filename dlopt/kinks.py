"""Where no gradient exists: is a point with a kink a minimum, or does some direction lead down?"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from dlopt.evaluation import largest_entry, rounding
from dlopt.method import State
from dlopt.objective import Objective

# A mean of gradients below this share of the largest of them is 0; a decrease counts from this
# share of what the mean promises on.
_SMALL, _SHARE = 1e-6, 0.1
# Each gradient that is met rules out some directions; after 4n + 10 the question stays open.
_MOST_COORDINATES = 200


def look_around(f: Objective, state: State) -> Literal["gradient", "kink", "no_decrease"]:
    r"""Say what a point is that a method can't leave though its gradient isn't 0.

    The gradients met near the point have a mean p of least norm. A short step along −p either
    lowers the value, or ends where the gradient rules this direction out; that one is added, and
    the mean found anew (the bundle method of Lemaréchal and of Wolfe, 1975). A mean of 0 makes the
    point stationary, whatever the gradient that autograd chose at the kink.

    Args:
        f: The objective.
        state: The point, shape (n,).

    Returns:
        "gradient" where a mean of gradients is 0, "kink" where a joint step lowers the value,
        "no_decrease" where neither is seen after 4n + 10 evaluations, or n is over 200.

    Example:
        >>> import torch
        >>> def at_zero(f):
        ...     f, x = Objective(f), torch.zeros(2, dtype=torch.float64)
        ...     return look_around(f, State.begin(f.evaluate(x)))
        >>> at_zero(lambda x: x.abs().sum() + x[0] / 2)
        'gradient'
        >>> at_zero(lambda x: (x[0] - x[1]).abs() + x.sum() / 2)
        'kink'
    """
    x, n = state.x, len(state.x)
    noise = rounding(float(state.value), torch.finfo(x.dtype).eps)
    radius = torch.finfo(x.dtype).eps ** 0.5 * max(1.0, largest_entry(x))
    steepest = largest_entry(state.grad) or 1.0  # slopes count in its units: none overflows
    met = [state.grad.double().cpu() / steepest]
    for _ in range(4 * n + 10 if n <= _MOST_COORDINATES else 0):
        gradients = torch.stack(met)
        p = smallest_mean(gradients)
        length = float(p.norm())
        if length <= _SMALL * float(gradients.norm(dim=1).max()):
            return "gradient"
        at = f.evaluate(x - (radius / length * p).to(x))
        least = max(_SHARE * radius * length * steepest, noise)
        if at.finite and float(state.value) - least > at.J:
            return "kink"
        gradient = at.grad.double().cpu() / steepest
        if not at.finite or bool(gradient @ p > (1 - _SHARE) * length**2):
            break
        met.append(gradient)
    return "no_decrease"


def smallest_mean(points: Tensor) -> Tensor:
    r"""Return the weighted mean of points that is nearest to 0 (Wolfe, 1976).

    .. math:: \min_w \Big\| \sum_i w_i g_i \Big\|, \qquad w_i \ge 0, \quad \sum_i w_i = 1

    Args:
        points: One in each row, shape (m, n).

    Returns:
        The mean, shape (n,).

    Example:
        >>> import torch
        >>> points = torch.tensor([[1.0, 3.0], [1.0, -1.0], [5.0, 0.0]], dtype=torch.float64)
        >>> smallest_mean(points).round(decimals=9).abs().tolist()
        [1.0, 0.0]
    """
    size = points.norm(dim=1).max()
    if size == 0:
        return points[0]
    G = points / size
    chosen, w = [int(G.norm(dim=1).argmin())], torch.ones(1, dtype=G.dtype)
    mean: Tensor = points[0]
    least = math.inf
    while True:
        p: Tensor = w @ G[chosen]
        along = G @ p
        new, square = int(along.argmin()), float(p.dot(p))
        if not square < least:  # by rounding, points that depend on each other could take turns
            return mean
        mean, least = p * size, square
        if new in chosen or float(along[new]) >= square - 1e-14:
            return mean
        chosen, w = [*chosen, new], torch.cat([w, w.new_zeros(1)])
        while True:
            v = _affine_weights(G[chosen])
            if bool((v > 0).all()):
                w = v
                break
            # Go from w towards v as far as no weight turns negative; drop the one that is 0.
            reach = torch.where(v <= 0, w / (w - v).clamp(min=1e-300), torch.inf)
            leaving = int(reach.argmin())
            w = w + min(1.0, float(reach[leaving])) * (v - w)
            keep = [i for i in range(len(chosen)) if i != leaving]
            chosen, w = [chosen[i] for i in keep], w[keep].clamp(min=0)
            w = w / w.sum()


def _affine_weights(G: Tensor) -> Tensor:
    """Return the weights, of any sign, of the mean of the rows that is nearest to 0."""
    # min ‖vᵀG‖ with Σv = 1: v is along the solution of (1 1ᵀ + G Gᵀ) v = 1.
    matrix = 1 + G @ G.T
    v: Tensor = torch.linalg.lstsq(matrix, torch.ones(len(G), 1, dtype=G.dtype)).solution[:, 0]
    return v / v.sum()
