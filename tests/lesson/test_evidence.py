"""The statistics against hand-computed values and made-up laws, and the table."""

import numpy as np
import pytest
import torch

from dlopt.lesson.evidence import (
    convergence_orders,
    fit_exponent,
    mean_and_spread,
    paired_wins,
    table,
)


def test_mean_and_spread_by_hand() -> None:
    summary = mean_and_spread([1, 2, 3, 6])
    assert (summary.mean, summary.low, summary.high, summary.count) == (3, 1, 6, 4)
    assert summary.std == pytest.approx(np.sqrt(14 / 3))
    assert str(summary) == "3 ± 2.2 (n = 4)"


def test_a_single_value_has_no_spread() -> None:
    assert mean_and_spread(torch.tensor([2.5])).std == 0
    assert str(mean_and_spread([2.5])) == "2.5 (n = 1)"


@pytest.mark.parametrize("values", [[], [1, float("nan")], [float("inf")], [[1.0, 2.0]], 3.0])
def test_mean_and_spread_refuses(values: object) -> None:
    with pytest.raises(ValueError, match="values must be"):
        mean_and_spread(values)


def test_wins_ties_and_the_paired_difference() -> None:
    wins = paired_wins([1, 2, 3, 4], [2, 2, 1, 9])
    assert (wins.wins, wins.ties, wins.losses, wins.pairs) == (2, 1, 1, 4)
    assert wins.difference is not None
    assert wins.difference.mean == -1.0
    flipped = paired_wins([1, 2, 3, 4], [2, 2, 1, 9], smaller_is_better=False)
    assert (flipped.wins, flipped.ties, flipped.losses) == (1, 1, 2)


@pytest.mark.parametrize("smaller_is_better", [True, False])
def test_a_diverged_run_loses_and_two_tie(smaller_is_better: bool) -> None:
    nan = float("nan")
    wins = paired_wins([1, nan, nan, nan], [nan, 1, 2, nan], smaller_is_better=smaller_is_better)
    assert (wins.wins, wins.ties, wins.losses) == (1, 1, 2)
    assert wins.difference is None
    assert str(wins) == "1 of 4 wins, 1 tied"


def test_wins_need_pairs() -> None:
    with pytest.raises(ValueError, match="same length, got 2 and 3"):
        paired_wins([1, 2], [1, 2, 3])


@pytest.mark.parametrize("order", [1.0, 1.5, 2.0, 3.0])
def test_the_order_of_a_made_up_sequence(order: float) -> None:
    errors = [0.1]
    while errors[-1] > 1e-11:
        errors.append(0.5 * errors[-1] ** order)
    assert convergence_orders(errors)[-1] == pytest.approx(order, rel=1e-9)


def test_newton_on_a_square_root_is_quadratic() -> None:
    x, errors = 3.0, []
    for _ in range(8):
        errors.append(abs(x - 2**0.5))
        x -= (x * x - 2) / (2 * x)
    assert convergence_orders(errors)[-1] == pytest.approx(2, abs=0.05)


def test_rounding_and_a_rising_error_give_no_order() -> None:
    assert convergence_orders([1, 1e-2, 1e-4, 1e-16, 3e-16, 1e-17]) == pytest.approx([1.0])
    assert convergence_orders([1, 1e-2, 1e-4, 0.0]) == pytest.approx([1.0])
    assert convergence_orders([1, 2, 1]) == []
    assert convergence_orders([1e-1, 1e-2, 1e-4], floor=1e-3) == []
    assert convergence_orders([0.5]) == []


@pytest.mark.parametrize("errors", [[1.0, -1.0], [1.0, float("nan")], []])
def test_orders_need_errors(errors: list[float]) -> None:
    with pytest.raises(ValueError, match="errors must be"):
        convergence_orders(errors)


def test_the_exponent_of_an_exact_law() -> None:
    law = fit_exponent([10, 20, 40, 80], [2e-6 * k**2.5 for k in (10, 20, 40, 80)])
    assert law.exponent == pytest.approx(2.5)
    assert law.error == pytest.approx(0, abs=1e-7)
    assert law.factor == pytest.approx(2e-6)
    assert law(1000) == pytest.approx(2e-6 * 1000**2.5)


def test_the_standard_error_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(4)
    sizes = np.array([100, 150, 300, 700, 900, 1500])
    times = 1e-9 * sizes**3.0 * np.exp(rng.normal(0, 0.2, sizes.size))
    stats = pytest.importorskip("scipy.stats")
    reference = stats.linregress(np.log(sizes), np.log(times))
    law = fit_exponent(sizes, times)
    assert law.exponent == pytest.approx(reference.slope)
    assert law.error == pytest.approx(reference.stderr)
    assert law.factor == pytest.approx(np.exp(reference.intercept))


def test_repeats_give_the_spread_between_them() -> None:
    sizes = np.array([100.0, 1000.0])
    law = fit_exponent(sizes, [sizes**2, sizes**4])
    assert law.exponent == pytest.approx(3)
    assert law.error == pytest.approx(np.sqrt(2))
    assert str(law) == "exponent 3.00 ± 1.41"


@pytest.mark.parametrize(
    ("sizes", "times", "message"),
    [
        ([1, 2], [1, 2, 3], r"times must have shape \(2,\) or \(repeats, 2\), got \(3,\)"),
        ([1, 2], [0, 1], "times must be finite and > 0"),
        ([-1, 2], [1, 1], "sizes must be finite and > 0"),
        ([2, 2], [1, 1], "at least two different"),
    ],
)
def test_fit_exponent_refuses(sizes: list[int], times: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_exponent(sizes, times)


def test_a_table_rounds_escapes_and_can_be_scrolled_by_keyboard() -> None:
    rows = [
        {"method": "a < b", "loss": torch.tensor(1 / 3), "steps": 12},
        {"method": "c", "loss": np.float64(2e-9), "steps": 7},
    ]
    shown = table("Loss & steps", rows)
    markup = shown._repr_html_()
    assert "a &lt; b" in markup
    assert "Loss &amp; steps" in markup
    assert 'tabindex="0"' in markup
    assert markup.count("<tr>") == 3
    assert "<td>0.333</td><td>12</td>" in markup
    assert repr(shown).splitlines()[1].split() == ["method", "loss", "steps"]


def test_a_table_refuses_no_rows_and_other_columns() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        table("Empty", [])
    with pytest.raises(ValueError, match="every row must have the columns"):
        table("Mixed", [{"a": 1}, {"b": 2}])
    with pytest.raises(ValueError, match="caption"):
        table("", [{"a": 1}])
