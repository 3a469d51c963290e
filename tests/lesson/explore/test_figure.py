"""Sliders know their values, and a figure that fails says where."""

from typing import Any

import numpy as np
import pytest

from dlopt.lesson import plotting
from dlopt.lesson.explore.figure import Explorable, Slider
from dlopt.lesson.plotting.picture import Draw


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": [1]}, r"at least two, got \[1\]"),
        ({"values": [1.0, float("nan")]}, "values must be finite"),
        ({"values": [1.0001, 1.0002]}, "values must differ when written as '.3g'"),
        ({"values": ["a", "a"]}, "values must differ"),
        ({"values": [1, 2], "start": 2}, "start must be a position in values, got 2"),
        ({"values": [1, 2], "label": ""}, "label must be"),
    ],
)
def test_a_slider_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Slider(**{"label": "α"} | options)


def test_which_sliders_are_logarithmic() -> None:
    assert Slider([1, 3, 10, 30], label="κ").logarithmic
    assert Slider(np.geomspace(1e-4, 1, 9), label="rate").logarithmic
    assert not Slider([0.0, 0.1, 1.0], label="α").logarithmic
    assert not Slider(np.linspace(0.01, 1, 9), label="ε").logarithmic
    assert not Slider([1.0, 2.0, 4.0], label="σ").logarithmic


def test_a_slider_is_thinned_to_both_ends_and_starts_nearby() -> None:
    slider = Slider(range(9), label="t", format="d", start=7)
    thinned = slider.thinned(3)
    assert (thinned.values, thinned.start) == ((0, 4, 8), 2)
    assert slider.thinned(9) is slider
    with pytest.raises(ValueError, match="keep at least 2 values, got 1"):
        slider.thinned(1)


def test_a_frame_is_the_picture_and_its_alt_text(draw: Draw, alpha: Slider) -> None:
    picture, alt = Explorable(draw, {"alpha": alpha}, "A line", "See.").frame({"alpha": 0.123})
    assert np.array_equal(picture.pixels, plotting.render(draw(0.123)).pixels)
    assert alt == "A line (damping α = 0.1)"
    named = Explorable(draw, {"alpha": alpha}, lambda alpha: f"At {alpha}", "See.")
    assert named.frame({"alpha": 0.123})[1] == "At 0.123"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda alpha: {}["x"], "failed at damping α = 0.0: KeyError: 'x'"),
        (lambda alpha: None, "must be a matplotlib Figure, got NoneType"),
    ],
)
def test_a_figure_that_fails_says_where(broken: Any, message: str, alpha: Slider) -> None:
    with pytest.raises(RuntimeError, match=message):
        Explorable(broken, {"alpha": alpha}, "A line", "See.").frame({"alpha": 0.0})
