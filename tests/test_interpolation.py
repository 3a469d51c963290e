"""Interpolation: exact where the function is a cubic, inside the bracket everywhere."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlopt.interpolation import cubic_minimum, inside
from dlopt.line_search import Trial

numbers = st.floats(-100, 100)
bends = st.floats(0.01, 100)


def cubic(minimum: float, bend: float, third: float):
    """A trial of a cubic whose local minimum and second derivative there are known."""

    def at(e: float) -> Trial:
        u = e - minimum
        return Trial(e, bend * u * u / 2 + third * u**3 / 6, bend * u + third * u * u / 2)

    return at


@settings(max_examples=200, deadline=None)
@given(st.floats(-5, 5), bends, st.floats(-1, 1), st.floats(-5, 5), st.floats(0.1, 5))
def test_the_minimum_of_a_cubic_is_found(
    minimum: float, bend: float, third: float, left: float, gap: float
) -> None:
    at = cubic(minimum, bend, third * bend)
    a, b = at(left), at(left + gap)
    if abs(third) * max(abs(a.step - minimum), abs(b.step - minimum)) > 0.8:
        return  # the other, falling branch of the cubic comes near
    for first, second in ((a, b), (b, a)):
        assert cubic_minimum(first, second) == pytest.approx(minimum, abs=1e-6)


def test_a_cubic_without_a_minimum_points_beyond_the_second_end() -> None:
    a, b = Trial(0.0, 0.0, -1.0), Trial(1.0, -1.0, -1.0)
    assert cubic_minimum(a, b) == math.inf
    assert cubic_minimum(b, a) == -math.inf


@pytest.mark.parametrize("scale", [2.0**-660, 2.0**660])
def test_the_unit_of_the_values_changes_no_digit(scale: float) -> None:
    a, b = Trial(0.0, 1.0, -3.0), Trial(1.0, 0.3, 0.7)
    scaled = (Trial(t.step, scale * t.value, scale * t.slope) for t in (a, b))
    assert cubic_minimum(*scaled) == cubic_minimum(a, b)


@settings(max_examples=200, deadline=None)
@given(numbers, numbers, numbers, numbers, st.floats(0.01, 10), st.booleans(), st.booleans())
def test_the_next_step_is_well_inside_the_bracket(
    v0: float, s0: float, v1: float, s1: float, width: float, backwards: bool, bisect: bool
) -> None:
    ends = Trial(1.0, v0, s0), Trial(1.0 + width, v1, s1)
    low, high = reversed(ends) if backwards else ends
    step = inside(low, high, bisect=bisect)
    assert 1 + 0.099 * width <= step <= 1 + 0.901 * width
    if bisect:
        assert step == pytest.approx(1 + width / 2)


def test_an_end_that_is_not_finite_is_left_quickly() -> None:
    low, wall = Trial(1.0, 0.0, -1.0), Trial(3.0, math.nan, math.nan)
    assert inside(low, wall, bisect=False) == pytest.approx(1.2)
