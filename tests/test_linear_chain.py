"""The orders of a step along a chain are exact, and nothing cancels among them."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlopt.linear_chain import chain_gradient, chain_orders

WEIGHTS = st.lists(st.floats(-3, 3), min_size=1, max_size=100)


@given(WEIGHTS, st.floats(-2, 2), st.floats(1e-6, 10))
@settings(max_examples=30, deadline=None)
def test_orders_add_up_to_the_output_after_a_step(weights, x, rate):
    w, x, rate = [Fraction(v) for v in weights[:12]], Fraction(x), Fraction(rate)
    g = chain_gradient(x, w)
    orders = chain_orders(x, w, rate)
    assert len(orders) == len(w) + 1
    assert sum(orders) == x * math.prod(a - rate * b for a, b in zip(w, g, strict=True))
    assert orders[0] == x * math.prod(w)
    assert orders[1] == -rate * sum(b * b for b in g)


@given(WEIGHTS, st.floats(-2, 2), st.floats(1e-6, 10))
@settings(max_examples=30, deadline=None)
def test_each_order_in_floats_is_that_in_fractions_to_rounding(weights, x, rate):
    exact = chain_orders(Fraction(x), [Fraction(v) for v in weights], Fraction(rate))
    rounding = 4 * len(weights) * 2.0**-53
    for order, right in zip(chain_orders(x, weights, rate), exact, strict=True):
        assert abs(Fraction(order) - right) <= rounding * abs(right) + Fraction(1, 10**250)


def test_the_orders_are_the_subsets_of_weights_that_move():
    x, w, rate = Fraction(2), [Fraction(v) for v in (1, -3, 5)], Fraction(1, 7)
    g = chain_gradient(x, w)
    assert g == [-30, 10, -6]
    second = g[0] * g[1] * w[2] + g[0] * w[1] * g[2] + w[0] * g[1] * g[2]
    assert chain_orders(x, w, rate)[2] == x * rate**2 * second


def test_the_gradient_is_that_of_autograd_and_a_zero_weight_costs_nothing():
    w = torch.tensor([0.5, 0.0, -2.0, 3.0], dtype=torch.float64, requires_grad=True)
    (1.5 * w.prod()).backward()
    assert chain_gradient(1.5, w.tolist()) == pytest.approx(w.grad.tolist(), rel=1e-15)


def test_tensors_are_many_chains_at_once():
    rates = torch.tensor([0.1, 0.2], dtype=torch.float64)
    orders = chain_orders(1.0, [1.1, 0.9, 1.2], rates)
    assert float(orders[3][1]) == pytest.approx(chain_orders(1.0, [1.1, 0.9, 1.2], 0.2)[3])
