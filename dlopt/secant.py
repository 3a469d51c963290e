"""What one step teaches: how the gradient changed along it, the secant equation's two vectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dlopt.evaluation import Evaluation, inner, inners, rounding
from dlopt.method import State

# A step s, the change y of the gradient along it, and sᵀy: what a quasi-Newton method learns from.
# A plain tuple, because that is what a checkpoint can hold.
SecantPair = tuple[Tensor, Tensor, float]


def secant_pair(
    state: State, at: State | Evaluation, *, safeguard: bool = True
) -> SecantPair | None:
    r"""Return s, y and sᵀy of the step from ``state`` to ``at``.

    With the safeguard, y is scaled so that sᵀy also fits the two values of the objective,

    .. math:: y \leftarrow y\,\Bigl(1 + \frac{\vartheta}{s^\top y}\Bigr), \qquad
              \vartheta = 6\,(J_t - J_{t+1}) + 3\,(g_t + g_{t+1})^\top s

    (J. Zhang, Deng & Chen, J. Optim. Theory Appl. 102, 1999): nothing on a quadratic, a third
    derivative's worth elsewhere. Where the difference of the values drowns in rounding, y stays.

    Args:
        state: Where the step began.
        at: The evaluation, or the state, where it ended.
        safeguard: Whether to correct y, and to refuse curvature that is not clearly positive.

    Returns:
        The pair, or None where sᵀy <= 1e-12 ‖s‖‖y‖: a bound relative to the vectors, so that it
        means the same for J and for c·J. (Or where 1/sᵀy would overflow.)
    """
    s, y = at.x - state.x, at.grad - state.grad
    if not safeguard:
        return s, y, inner(s, y)
    sy, ss, yy, slope = inners((s, y), (s, s), (y, y), (state.grad, s))
    if not sy > max(1e-12 * math.sqrt(ss) * math.sqrt(yy), torch.finfo(s.dtype).tiny):
        return None
    before, after = float(state.value), float(at.value)
    # A hundredfold: ϑ is a third-order remainder, much smaller than the difference it comes from.
    noise = 100 * rounding(abs(before) + abs(after), torch.finfo(s.dtype).eps)
    if abs(before - after) > noise:
        slopes = 2 * slope + sy  # (g_t + g_{t+1})ᵀs, as y = g_{t+1} - g_t
        share = (6 * (before - after) + 3 * slopes) / sy
        factor = 1 + min(max(share, -0.5), 10.0)
        y, sy = y.mul_(factor), sy * factor
    return s, y, sy


def curvature_scale(pair: SecantPair, D: Tensor | None = None) -> float:
    r"""Return :math:`\gamma = s^\top y / y^\top y`, the size of the inverse Hessian along a step.

    Nocedal & Wright, equations 6.20 and 7.20; 1 where :math:`y^\top y` is 0. Relative to a diagonal
    matrix, of entries ``D`` > 0 of shape (n,), :math:`s^\top y / y^\top D y`.
    """
    _, y, sy = pair
    yy = inner(y, y if D is None else D * y)
    return sy / yy if yy else 1.0
