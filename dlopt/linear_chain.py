"""What a gradient step does to a chain of linear units, order by order in the learning rate."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import Any, TypeVar

Number = TypeVar("Number", bound=Any)


def chain_gradient(x: Number, weights: Sequence[Number]) -> list[Number]:
    r"""Return the gradient of :math:`\hat y = x w_1 w_2 \cdots w_l` in the weights.

    .. math:: g_i = x \prod_{j \ne i} w_j

    Products of what stands before and after w_i, so that a weight may be 0.

    Args:
        x: The input; like the weights a float, a ``Fraction`` or a tensor.
        weights: w_1, …, w_l.

    Returns:
        g_1, …, g_l.

    Example:
        >>> chain_gradient(1.0, [2.0, 3.0, 0.0])
        [0.0, 0.0, 6.0]
    """
    before = itertools.accumulate(weights[:-1], operator.mul, initial=x)
    after = [*itertools.accumulate(reversed(weights[1:]), operator.mul, initial=1)]
    return [a * b for a, b in zip(before, reversed(after), strict=True)]


def chain_orders(
    x: Number,
    weights: Sequence[Number],
    learning_rate: Number,
) -> list[Number]:
    r"""Split the output after one gradient step into orders of the learning rate (equation 8.34).

    .. math:: x (w_1 - \epsilon g_1)(w_2 - \epsilon g_2) \cdots (w_l - \epsilon g_l)
              = \sum_{k=0}^{l} x (-\epsilon)^k \sum_{|S| = k} \prod_{i \in S} g_i
                \prod_{i \notin S} w_i

    The gradient is that for :math:`\partial J / \partial \hat y = 1`. All 2^l products are
    collected in l² steps, one factor after another: times :math:`w_i` each order stays, times
    :math:`-\epsilon g_i` it becomes the next. All products of one order have the same sign, so
    nothing cancels.

    Args:
        x: The input; like the weights a float, a ``Fraction``, which gives the exact result, or a
            tensor, for many chains at once.
        weights: w_1, …, w_l.
        learning_rate: ε.

    Returns:
        The contributions of orders 0 to l. The first is the output before the step, the first two
        together are the first-order prediction, all of them are the output after it.

    Example:
        >>> from fractions import Fraction
        >>> orders = chain_orders(Fraction(1), [Fraction(2), Fraction(3)], Fraction(1, 10))
        >>> [str(order) for order in orders]  # (2 - 0.3)(3 - 0.2) = 6 - 1.3 + 0.06
        ['6', '-13/10', '3/50']
    """
    orders = [x]
    for w, g in zip(weights, chain_gradient(x, weights), strict=True):
        stay = [order * w for order in orders]
        rise = [order * (-learning_rate * g) for order in orders]
        both = [a + b for a, b in zip(stay[1:], rise[:-1], strict=True)]
        orders = [stay[0], *both, rise[-1]]
    return orders
