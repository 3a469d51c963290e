"""Line searches as scalar code: their conditions on random functions, and how they fail."""

import math
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlopt.line_search import (
    ScalarPhi,
    backtracking,
    exact_quadratic,
    strong_wolfe,
    weak_wolfe,
)


def wavy(minimum: float, ripple: float, frequency: float, scale: float) -> ScalarPhi:
    """A valley at ``minimum`` > 0 with ripples, sloping down at 0."""
    phase = frequency * minimum

    def value(e: float) -> float:
        return scale * ((e - minimum) ** 2 + ripple * (1 - math.cos(frequency * e - phase)))

    def slope(e: float) -> float:
        return scale * (2 * (e - minimum) + ripple * frequency * math.sin(frequency * e - phase))

    return ScalarPhi(value, slope)


functions = st.builds(
    wavy,
    st.floats(0.01, 100),
    st.floats(0, 0.5),
    st.floats(0.1, 10),
    st.sampled_from([1e-8, 1.0, 1e8]),
)


@settings(max_examples=300, deadline=None)
@given(functions, st.floats(1e-6, 1e6), st.sampled_from([1e-3, 0.1, 0.5, 0.9]))
def test_strong_wolfe_conditions(phi: ScalarPhi, first: float, c2: float) -> None:
    if not phi.slope < 0:
        return
    trial = strong_wolfe(phi, first, c1=1e-4, c2=c2)
    assert trial is not None
    noise = 10 * phi.eps * abs(phi.value)
    assert trial.value <= phi.value + 1e-4 * trial.step * phi.slope + noise
    assert abs(trial.slope) <= c2 * abs(phi.slope)


@settings(max_examples=300, deadline=None)
@given(functions, st.floats(1e-6, 1e6), st.sampled_from([1e-3, 0.1, 0.5, 0.9]))
def test_weak_wolfe_conditions(phi: ScalarPhi, first: float, c2: float) -> None:
    if not phi.slope < 0:
        return
    trial = weak_wolfe(phi, first, c1=1e-4, c2=c2)
    assert trial is not None
    noise = 10 * phi.eps * abs(phi.value)
    assert trial.value <= phi.value + 1e-4 * trial.step * phi.slope + noise
    assert trial.slope >= c2 * phi.slope


def test_the_weak_conditions_take_fewer_trials() -> None:
    counts = []
    for search in (weak_wolfe, strong_wolfe):
        phi = ScalarPhi(lambda e: (e - 3) ** 2, lambda e: 2 * (e - 3))
        assert search(phi, 5.9, c2=0.1) is not None
        counts.append(phi.calls)
    assert counts[0] == 1 < counts[1]


@settings(max_examples=200, deadline=None)
@given(functions, st.floats(1e-6, 1e6))
def test_backtracking_meets_armijo(phi: ScalarPhi, first: float) -> None:
    if not phi.slope < 0:
        return
    trial = backtracking(phi, first)
    assert trial is not None
    assert trial.step <= first
    assert trial.value <= phi.value + 1e-4 * trial.step * phi.slope
    assert trial.value < phi.value


@pytest.mark.parametrize("search", [backtracking, strong_wolfe, weak_wolfe])
def test_a_wall_of_infinities_is_contracted_away(search) -> None:
    def barrier(e: float) -> float:
        return -math.log(1 - e) - 10 * e if e < 1 else math.nan

    phi = ScalarPhi(barrier, lambda e: 1 / (1 - e) - 10 if e < 1 else math.nan)
    trial = search(phi, 1e6)
    assert trial is not None
    assert trial.finite
    assert trial.value < 0


@pytest.mark.parametrize("search", [backtracking, strong_wolfe, weak_wolfe])
def test_an_uphill_direction_is_refused(search) -> None:
    assert search(ScalarPhi(lambda e: e, lambda e: 1.0), 1.0) is None


@pytest.mark.parametrize("search", [backtracking, strong_wolfe, weak_wolfe])
def test_a_lying_slope_ends_in_none(search) -> None:
    phi = ScalarPhi(lambda e: 1 + e, lambda e: -1.0)
    assert search(phi, 1.0) is None
    assert phi.calls <= 61


def test_strong_wolfe_is_exact_on_a_parabola_in_few_evaluations() -> None:
    phi = ScalarPhi(lambda e: (e - 3) ** 2, lambda e: 2 * (e - 3))
    trial = strong_wolfe(phi, 1.0, c1=1e-8, c2=1e-6)
    assert trial is not None
    assert trial.step == pytest.approx(3, rel=1e-6)
    assert phi.calls == 2


def test_strong_wolfe_grows_while_nothing_is_bracketed() -> None:
    phi = ScalarPhi(lambda e: -math.log1p(e) + 1e-6 * e, lambda e: -1 / (1 + e) + 1e-6)
    trial = strong_wolfe(phi, 1e-3, c2=0.1)
    assert trial is not None
    assert trial.step > 8


def test_strong_wolfe_on_a_function_without_minimum_returns_its_best() -> None:
    trial = strong_wolfe(ScalarPhi(lambda e: -e, lambda e: -1.0), 1.0, max_evaluations=7)
    assert trial is not None
    assert trial.step == pytest.approx(1e6)


def test_rounding_does_not_defeat_strong_wolfe() -> None:
    """With 1e16 added to J, all differences near the minimum are rounding; slopes decide."""
    phi = ScalarPhi(lambda e: 1e16 + (e - 1) ** 2, lambda e: 2 * (e - 1))
    trial = strong_wolfe(phi, 0.3, c2=0.1)
    assert trial is not None
    assert abs(trial.step - 1) <= 0.1


@given(st.floats(1e-3, 1e3), st.floats(-50, -0.1), st.floats(-1e3, 1e3))
def test_exact_quadratic_finds_the_vertex(bend: float, slope: float, offset: float) -> None:
    phi = ScalarPhi(
        lambda e: offset + slope * e + bend * e * e / 2, lambda e: slope + bend * e, lambda e: bend
    )
    trial = exact_quadratic(phi)
    assert trial is not None
    assert trial.step == pytest.approx(-slope / bend)


@pytest.mark.parametrize("curvature", [0.0, -1.0, math.nan, math.inf])
def test_exact_quadratic_needs_upward_curvature(curvature: float) -> None:
    phi = ScalarPhi(lambda e: -e, lambda e: -1.0, lambda e: curvature)
    assert exact_quadratic(phi) is None


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (partial(strong_wolfe, first_step=0.0), "first_step must be > 0 and finite, got 0.0"),
        (partial(backtracking, first_step=math.nan), "first_step must be > 0 and finite, got nan"),
        (partial(strong_wolfe, c1=0.5, c2=0.1), "got c1=0.5, c2=0.1"),
        (partial(strong_wolfe, c2=1.5), "got c1=0.0001, c2=1.5"),
        (
            partial(backtracking, max_evaluations=0),
            "max_evaluations must be an integer >= 1, got 0",
        ),
    ],
)
def test_settings_are_checked(search, message: str) -> None:
    phi = ScalarPhi(lambda e: (e - 1) ** 2, lambda e: 2 * (e - 1))
    with pytest.raises(ValueError, match=message):
        search(phi)


def hermite(value: float, slope: float) -> ScalarPhi:
    """The cubic with φ(0) = 0, φ'(0) = −1, and this value and slope at 1."""
    b = slope - 1 - 2 * (value + 1) + 2
    a = value + 1 - b
    return ScalarPhi(lambda e: -e + a * e**2 + b * e**3, lambda e: -1 + 2 * a * e + 3 * b * e**2)


@pytest.mark.parametrize("search", [strong_wolfe, weak_wolfe])
def test_a_flat_trial_that_has_not_decreased_enough_is_refused(search) -> None:
    for value in (0.05, -0.05):
        phi = hermite(value, 0.0)
        trial = search(phi, 1.0, c1=0.1)
        assert trial.value <= 0.1 * trial.step * phi.slope
        assert phi.calls > 1


@pytest.mark.parametrize("search", [strong_wolfe, weak_wolfe])
def test_a_rise_far_above_rounding_is_not_taken_for_rounding(search) -> None:
    phi = ScalarPhi(lambda e: 1 + 1e-13 * (e - 1) ** 2 * (e > 0.5), lambda e: -1e-13 * (1 - e))
    trial = search(phi, 2.0)
    assert trial is None or trial.value <= 1


def test_where_values_are_rounding_a_steep_climb_is_refused() -> None:
    """Every trial is one unit in the last place higher: slopes decide, for weak_wolfe, too."""
    phi = ScalarPhi(lambda e: 1e16 + 2 * (e > 0), lambda e: -1 + 3 * e)
    trial = weak_wolfe(phi, 1.0)
    assert trial is not None
    assert abs(trial.slope) <= 1 - 2e-4


@pytest.mark.parametrize("steepness", [1e2, 1e4, 1e8])
def test_the_bracket_shrinks_at_a_pace_whatever_the_function(steepness: float) -> None:
    """Before an exponential wall interpolation alone creeps; twice what bisection takes is fair."""
    phi = ScalarPhi(
        lambda e: -e + math.exp(min(steepness * (e - 1), 600)),
        lambda e: -1 + steepness * math.exp(min(steepness * (e - 1), 600)),
    )
    trial = strong_wolfe(phi, 1e3, c2=0.1, max_evaluations=200)
    assert trial is not None
    assert abs(trial.slope) <= 0.1
    # The bracket begins a thousand wide and ends where the slope is flat.
    assert phi.calls <= 2 * math.log2(1e3 / (0.1 / steepness))


def test_growth_is_bounded_and_at_least_doubles() -> None:
    steps: list[float] = []

    def value(e: float) -> float:
        steps.append(e)
        return -e

    strong_wolfe(ScalarPhi(value, lambda e: -1.0), 1.0, max_growth=4.0, max_evaluations=5)
    assert steps[1:] == [1.0, 4.0, 16.0, 64.0, 256.0]
    steps.clear()
    phi = ScalarPhi(lambda e: value(e) + e * e / 4, lambda e: -1 + e / 2)  # its cubic ends at 2
    strong_wolfe(phi, 1.5, c2=0.01)
    assert steps[1] == 1.5
    assert steps[2] == 3.0


def test_backtracking_at_least_halves_the_step() -> None:
    """Also where the parabola's minimum lies beyond it, as it may if c1 is large."""
    steps: list[float] = []

    def value(e: float) -> float:
        steps.append(e)
        return -e + 0.2 * e * e

    trial = backtracking(ScalarPhi(value, lambda e: -1 + 0.4 * e), 1.0, c1=0.9)
    assert trial is not None
    assert steps == [0.0, 1.0, 0.5]


@pytest.mark.parametrize("search", [strong_wolfe, weak_wolfe])
def test_where_values_are_flat_the_slopes_keep_the_minimum(search) -> None:
    """The first trial is as low as the start, on a slope that is steep uphill."""
    phi = ScalarPhi(lambda e: 1.0, lambda e: 1e-13 * (-1 + 3.8 * e))
    trial = search(phi, 1.0, c2=0.4)
    assert trial is not None
    assert trial.slope >= -0.4e-13
    if search is strong_wolfe:
        assert trial.slope <= 0.4e-13


@pytest.mark.parametrize("fall", [0.0, 2.0**-53])
def test_where_values_are_flat_a_last_digit_is_no_decrease(fall: float) -> None:
    """Beyond the minimum the weak conditions bound no slope: two neighbours would take turns."""
    phi = ScalarPhi(lambda e: 1.0 - fall * (e > 0), lambda e: 1e-30 * (-1 + 4 * (e > 0)))
    phi.tiny = 1e-3
    assert weak_wolfe(phi, 1.0) is None


def test_rounding_is_measured_where_values_disagree_with_slopes() -> None:
    """A thousand units in the last place, where ten are expected: slopes decide in their place."""
    noise = 1000 * ScalarPhi.eps
    phi = ScalarPhi(
        lambda e: 1.0 + noise * (e > 0) + (1e-18 * e - 2e-18) * e,
        lambda e: 2e-18 * (e - 1),
    )
    trial = strong_wolfe(phi, 0.9, c2=0.5)
    assert trial is None  # far from where the step is short, values are taken at their word
    phi.tiny = 1.0
    trial = strong_wolfe(phi, 0.9, c2=0.5)
    assert trial is not None
    assert trial.step == 0.9


def test_a_search_below_the_rounding_gives_up_early() -> None:
    phi = ScalarPhi(lambda e: 1.0 + 1e-14 * (e > 0), lambda e: -1e-17 * (1 - 9 * (e > 0)))
    assert strong_wolfe(phi, 1.0) is None
    assert phi.calls <= 5


def test_a_bracket_ends_where_its_points_are_the_same() -> None:
    phi = ScalarPhi(lambda e: 1.0 + (e > 0), lambda e: -1.0)
    assert strong_wolfe(phi, 1.0) is None
    many = phi.calls
    phi = ScalarPhi(lambda e: 1.0 + (e > 0), lambda e: -1.0)
    phi.tiny = 1e-3
    assert strong_wolfe(phi, 1.0) is None
    assert phi.calls < min(many, 8)
