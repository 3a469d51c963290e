"""The minimum along a line: exact on parabolas, at kinks, beside walls, and honest without end."""

import math

import pytest

from dlopt.exact_search import exact_search
from dlopt.line_search import ScalarPhi


def sign(v: float) -> float:
    return math.copysign(1.0, v) if v else 0.0


MINIMA = {
    "kink": (lambda e: abs(e - 3), lambda e: sign(e - 3), 3.0),
    "kink and parabola": (
        lambda e: 2 * abs(e - 3) + 0.3 * (e - 1) ** 2,
        lambda e: 2 * sign(e - 3) + 0.6 * (e - 1),
        3.0,
    ),
    "cosh": (lambda e: math.cosh(e - 20), lambda e: math.sinh(e - 20), 20.0),
    "wall": (
        lambda e: -e - 1e-3 * math.log(1 - e) if e < 1 else math.nan,
        lambda e: -1 + 1e-3 / (1 - e) if e < 1 else math.nan,
        0.999,
    ),
    "offset": (lambda e: 1e8 + (e - 1) ** 2, lambda e: 2 * (e - 1), 1.0),
}


@pytest.mark.parametrize("name", MINIMA)
@pytest.mark.parametrize("first", [1e-3, 1.0, 7.7, 300.0])
def test_it_finds_the_minimum_in_few_trials(name: str, first: float) -> None:
    value, slope, where = MINIMA[name]
    phi = ScalarPhi(value, slope)
    trial = exact_search(phi, first)
    assert trial is not None
    assert trial.step == pytest.approx(where, rel=1e-9)
    assert phi.calls <= 30


def test_the_right_first_step_on_a_parabola_is_all_it_takes() -> None:
    phi = ScalarPhi(lambda e: (e - 0.7) ** 2, lambda e: 2 * (e - 0.7))
    trial = exact_search(phi, 0.7)
    assert (trial.step if trial else None, phi.calls) == (0.7, 1)


def test_a_kink_at_the_start_leaves_nothing_to_gain() -> None:
    assert exact_search(ScalarPhi(lambda e: 2 * abs(e) - e, lambda e: 2 * sign(e) - 1)) is None


def test_a_line_without_a_lower_bound_is_told() -> None:
    trial = exact_search(ScalarPhi(lambda e: -e, lambda e: -1.0))
    assert trial is not None
    assert trial.value == -math.inf


@pytest.mark.parametrize("first", [0.0, math.inf])
def test_a_first_step_that_is_none_is_refused(first: float) -> None:
    with pytest.raises(ValueError, match=f"first_step must be > 0 and finite, got {first}"):
        exact_search(ScalarPhi(lambda e: e * e, lambda e: 2 * e), first)


def test_at_least_one_trial_is_asked_for() -> None:
    with pytest.raises(ValueError, match="max_evaluations must be >= 1, got 0"):
        exact_search(ScalarPhi(lambda e: e * e, lambda e: 2 * e), max_evaluations=0)
