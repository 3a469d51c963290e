"""The live kernel: any value is drawn anew, an error is shown, and the last picture stays."""

from typing import Any

import ipywidgets
import pytest
from IPython import display as ipython
from matplotlib.figure import Figure

from dlopt.lesson.display import Card
from dlopt.lesson.explore.figure import Explorable, Slider
from dlopt.lesson.explore.widgets import show_live
from dlopt.lesson.plotting.picture import Draw

VIEW = "application/vnd.jupyter.widget-view+json"


class Cell:
    """What a cell displays: the view of its widgets, and the picture below, which is updated."""

    view: dict[str, Any]
    card: Card
    sliders: list[ipywidgets.Widget]

    def display(self, value: Any, *, raw: bool = False, display_id: bool = False) -> "Cell":
        assert raw or display_id
        if raw:
            self.view = value
        else:
            self.card = value
        return self

    def update(self, card: Card) -> None:
        self.card = card

    @property
    def html(self) -> str:
        return self.card._repr_html_()


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch):
    made: list[ipywidgets.Widget] = []

    def live(draw: Draw, **sliders: Slider) -> Cell:
        cell = Cell()
        monkeypatch.setattr(ipython, "display", cell.display)
        show_live(Explorable(draw, sliders, "A line", "The line rises."))
        (box,) = [widget for widget in made if widget.model_id == cell.view[VIEW]["model_id"]]
        cell.sliders = list(box.children)
        return cell

    ipywidgets.Widget.on_widget_constructed(made.append)
    yield live
    ipywidgets.Widget.on_widget_constructed(None)


def test_any_value_is_drawn_anew(live, draw: Draw, alpha: Slider) -> None:
    drawn: list[float] = []

    def remember(alpha: float) -> Figure:
        drawn.append(alpha)
        return draw(alpha)

    cell = live(remember, alpha=alpha)
    (slider,) = cell.sliders
    before = cell.html
    slider.value = 0.123
    assert drawn == [0.0, 0.123]
    assert cell.html != before
    assert 'alt="A line (damping α = 0.1)"' in cell.html
    assert "The line rises.</figcaption>" in cell.html
    assert (slider.min, slider.max, slider.description) == (0.0, 1.0, "damping α")


def test_where_widgets_can_not_be_shown_there_is_something_to_read(
    live, draw: Draw, alpha: Slider
) -> None:
    cell = live(draw, alpha=alpha)
    assert cell.view["text/plain"] == "Run this cell to move the figure below: damping α."
    assert repr(cell.card) == "Figure: A line (damping α = 0.0)"


def test_the_widget_fits_the_values(live, draw: Draw) -> None:
    sliders = {
        "rate": Slider([1e-3, 1e-2, 1e-1], label="rate", start=1),
        "steps": Slider([1, 2, 5], label="steps", format="d"),
        "rule": Slider(["plain", "damped"], label="rule"),
    }
    rate, steps, rule = live(lambda rate, steps, rule: draw(rate), **sliders).sliders
    assert isinstance(rate, ipywidgets.FloatLogSlider)
    assert rate.value == pytest.approx(1e-2)
    assert (rate.min, rate.max) == pytest.approx((-3, -1))
    assert isinstance(steps, ipywidgets.IntSlider)
    assert isinstance(rule, ipywidgets.SelectionSlider)
    assert rule.value == "plain"


def test_an_error_is_shown_and_the_next_value_recovers(live, draw: Draw, alpha: Slider) -> None:
    def fragile(alpha: float) -> Figure:
        if alpha > 0.9:
            raise ArithmeticError("singular <H>")
        return draw(alpha)

    cell = live(fragile, alpha=alpha)
    (slider,) = cell.sliders
    slider.value = 1.0
    assert 'role="alert"' in cell.html
    assert "singular &lt;H&gt;" in cell.html
    slider.value = 0.5
    assert "<img" in cell.html


def test_no_figure_leaks(live, alpha: Slider) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")

    def careless(alpha: float) -> Figure:
        fig: Figure = plt.figure(figsize=(2, 1))
        return fig

    (slider,) = live(careless, alpha=alpha).sliders
    slider.value = 0.3
    assert plt.get_fignums() == []
