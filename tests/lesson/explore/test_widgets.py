"""The live kernel: any value is drawn anew, and an error is shown."""

import ipywidgets
import pytest
from matplotlib.figure import Figure

from dlopt.lesson.explore.figure import Explorable, Slider
from dlopt.lesson.explore.widgets import live_view
from dlopt.lesson.plotting.picture import Draw


def live(draw: Draw, **sliders: Slider) -> list[ipywidgets.Widget]:
    """The sliders and, last, the view."""
    return list(live_view(Explorable(draw, sliders, "A line", "The line rises.")).children)


def test_any_value_is_drawn_anew(draw: Draw, alpha: Slider) -> None:
    drawn: list[float] = []

    def remember(alpha: float) -> Figure:
        drawn.append(alpha)
        return draw(alpha)

    slider, view = live(remember, alpha=alpha)
    before = view.value
    slider.value = 0.123
    assert drawn == [0.0, 0.123]
    assert view.value != before
    assert 'alt="A line (damping α = 0.1)"' in view.value
    assert (slider.min, slider.max, slider.description) == (0.0, 1.0, "damping α")


def test_the_widget_fits_the_values(draw: Draw) -> None:
    sliders = {
        "rate": Slider([1e-3, 1e-2, 1e-1], label="rate", start=1),
        "steps": Slider([1, 2, 5], label="steps", format="d"),
        "rule": Slider(["plain", "damped"], label="rule"),
    }
    rate, steps, rule, _ = live(lambda rate, steps, rule: draw(rate), **sliders)
    assert isinstance(rate, ipywidgets.FloatLogSlider)
    assert rate.value == pytest.approx(1e-2)
    assert (rate.min, rate.max) == pytest.approx((-3, -1))
    assert isinstance(steps, ipywidgets.IntSlider)
    assert isinstance(rule, ipywidgets.SelectionSlider)
    assert rule.value == "plain"


def test_an_error_is_shown_and_the_next_value_recovers(draw: Draw, alpha: Slider) -> None:
    def fragile(alpha: float) -> Figure:
        if alpha > 0.9:
            raise ArithmeticError("singular <H>")
        return draw(alpha)

    slider, view = live(fragile, alpha=alpha)
    slider.value = 1.0
    assert 'role="alert"' in view.value
    assert "singular &lt;H&gt;" in view.value
    slider.value = 0.5
    assert "<img" in view.value


def test_no_figure_leaks(alpha: Slider) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")

    def careless(alpha: float) -> Figure:
        fig: Figure = plt.figure(figsize=(2, 1))
        return fig

    slider, _ = live(careless, alpha=alpha)
    slider.value = 0.3
    assert plt.get_fignums() == []
