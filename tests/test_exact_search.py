"""The exact line search on scalar functions: minima to rounding, in few evaluations."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlopt.exact_search import exact_search
from dlopt.line_search import ScalarPhi

FIRST = [1e-8, 1e-3, 0.5, 1.0, 30.0, 1e8]


def quadratic(minimum: float = 3.0, bend: float = 1.0, offset: float = 0.0) -> ScalarPhi:
    return ScalarPhi(
        lambda e: bend * (e - minimum) ** 2 + offset, lambda e: 2 * bend * (e - minimum)
    )


def kink(minimum: float, left: float, right: float) -> ScalarPhi:
    return ScalarPhi(
        lambda e: max(left * (minimum - e), right * (e - minimum)),
        lambda e: -left if e < minimum else right,
    )


def cosh() -> ScalarPhi:
    def at(function):
        return lambda e: function(e - 3) if abs(e - 3) < 700 else math.inf

    return ScalarPhi(at(math.cosh), at(math.sinh))


def barrier() -> ScalarPhi:
    """A minimum at 4, a wall at 5, NaN beyond."""
    return ScalarPhi(
        lambda e: -e - math.log(5 - e) if e < 5 else math.nan,
        lambda e: 1 / (5 - e) - 1 if e < 5 else math.nan,
    )


def steep() -> ScalarPhi:
    """Its minimum is log 4; to the right it grows beyond all bounds."""
    return ScalarPhi(
        lambda e: math.exp(e) - 4 * e if e < 700 else math.inf,
        lambda e: math.exp(e) - 4 if e < 700 else math.inf,
    )


def quartic() -> ScalarPhi:
    return ScalarPhi(lambda e: (e - 3) ** 4, lambda e: 4 * (e - 3) ** 3)


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize(
    ("make", "minimum", "most"),
    [
        (quadratic, 3.0, 10),
        (cosh, 3.0, 40),
        (barrier, 4.0, 35),
        (steep, math.log(4), 45),
        (quartic, 3.0, 62),
        (lambda: kink(3.0, 1.0, 1.0), 3.0, 65),
        (lambda: kink(3.0, 1.0, 1e6), 3.0, 65),
        (lambda: kink(3.0, 1e6, 1.0), 3.0, 65),
    ],
    ids=["quadratic", "cosh", "barrier", "exp", "quartic", "kink", "wall", "cliff"],
)
def test_minima_are_found_to_rounding(make, minimum: float, most: int, first: float) -> None:
    phi = make()
    trial = exact_search(phi, first)
    assert trial is not None
    assert trial.step == pytest.approx(minimum, rel=1e-12)
    assert phi.calls <= most
    assert trial.value <= phi.value


@given(st.floats(0.01, 100), st.floats(1e-8, 1e8), st.floats(-1, 1))
def test_a_quadratic_takes_one_evaluation_from_the_right_step(
    minimum: float, bend: float, offset: float
) -> None:
    phi = quadratic(minimum, bend, offset * bend)
    trial = exact_search(phi, minimum)
    assert trial is not None
    assert (trial.step, phi.calls) == (minimum, 1)


def test_a_slope_of_rounding_ends_the_search_on_a_parabola() -> None:
    for minimum in (0.1, 0.7, 3.3):
        phi = ScalarPhi(lambda e: 0.3 * e * (e - 2 * minimum), lambda e: 0.6 * e - 0.6 * minimum)
        trial = exact_search(phi, minimum * (1 + 4e-16))
        assert trial is not None
        assert trial.slope != 0
        assert phi.calls == 1


@settings(deadline=None)
@given(
    st.floats(0.01, 100),
    st.floats(1e-3, 1e3),
    st.floats(1e-3, 1e3),
    st.floats(0, 10),
    st.floats(1e-4, 1e4),
)
def test_a_kink_on_a_parabola_is_found(
    minimum: float, left: float, right: float, bend: float, first: float
) -> None:
    phi = ScalarPhi(
        lambda e: max(left * (minimum - e), right * (e - minimum)) + bend * (e - minimum) ** 2,
        lambda e: (-left if e < minimum else right) + 2 * bend * (e - minimum),
    )
    trial = exact_search(phi, first)
    assert trial is not None
    assert trial.step == pytest.approx(minimum, rel=1e-9)
    assert phi.calls <= 80


@pytest.mark.parametrize("scale", [1e-200, 1e-8, 1e8, 1e200])
def test_the_unit_of_phi_changes_nothing(scale: float) -> None:
    for make in (cosh, barrier, lambda: kink(3.0, 1.0, 1e3)):
        plain = make()
        scaled = ScalarPhi(
            lambda e: scale * plain(e).value,
            lambda e: scale * plain(e).slope,
        )
        here, there = exact_search(make(), 0.7), exact_search(scaled, 0.7)
        assert here is not None
        assert there is not None
        assert there.step == pytest.approx(here.step, rel=1e-12)


def test_the_slopes_decide_where_an_offset_hides_the_values() -> None:
    trial = exact_search(quadratic(3.0, 1.0, 1e14))
    assert trial is not None
    assert trial.step == pytest.approx(3, rel=1e-9)


def test_float32_values_are_searched_to_their_own_rounding() -> None:
    phi = quadratic(3.0, 1.0, 1.0)
    phi.eps = torch.finfo(torch.float32).eps
    trial = exact_search(phi, 1e-3)
    assert trial is not None
    assert trial.step == pytest.approx(3, rel=1e-5)
    assert phi.calls <= 12


def test_no_lower_bound_is_minus_infinity() -> None:
    for first in FIRST:
        phi = ScalarPhi(lambda e: -e, lambda e: -1.0)
        trial = exact_search(phi, first)
        assert trial is not None
        assert trial.value == -math.inf
        assert phi.calls <= 70
    pole = ScalarPhi(lambda e: -math.inf if e >= 1 else -e, lambda e: -1.0)
    trial = exact_search(pole)
    assert trial is not None
    assert trial.value == -math.inf


def test_what_falls_for_ever_to_a_bound_ends_on_the_flat() -> None:
    trial = exact_search(ScalarPhi(lambda e: math.exp(-e), lambda e: -math.exp(-e)))
    assert trial is not None
    assert trial.value <= 1e-17


def test_before_a_wall_of_nan_it_goes_as_near_as_numbers_do() -> None:
    wall = ScalarPhi(lambda e: -e if e < 5 else math.nan, lambda e: -1.0 if e < 5 else math.nan)
    trial = exact_search(wall)
    assert trial is not None
    assert 5 * (1 - 1e-14) < trial.step < 5


def test_there_may_be_nothing_lower() -> None:
    at_a_kink = ScalarPhi(abs, lambda e: -1.0 if e <= 0 else 1.0)
    assert exact_search(at_a_kink) is None
    assert at_a_kink.calls < 60
    flat = ScalarPhi(lambda e: 1.0, lambda e: 0.0)
    assert exact_search(flat) is None
    assert flat.calls == 0
    nan = ScalarPhi(lambda e: math.nan if e else 1.0, lambda e: math.nan if e else -1.0)
    assert exact_search(nan) is None


def test_the_lowest_trial_is_returned_when_trials_run_out() -> None:
    for most in range(1, 8):
        phi = quartic()
        trial = exact_search(phi, 1e-3, max_evaluations=most)
        assert phi.calls == most
        assert trial is not None
        assert trial.value < phi.value


@pytest.mark.parametrize("first", [0.0, -1.0, math.inf, math.nan])
def test_bad_steps_are_named(first: float) -> None:
    with pytest.raises(ValueError, match=f"first_step must be > 0 and finite, got {first}"):
        exact_search(quadratic(), first)


def test_a_bad_budget_is_named() -> None:
    with pytest.raises(ValueError, match="max_evaluations must be an integer >= 1, got 0"):
        exact_search(quadratic(), max_evaluations=0)
