"""The live kernel: widgets under which the figure is drawn anew at any value.

The picture is an ordinary output below the widgets, which it follows. So it is in the file when the
notebook is saved, for readers without this kernel, and for nbconvert.
"""

from __future__ import annotations

import html
import math
import time
from collections.abc import Callable
from typing import Any

from PIL import Image

from dlopt.lesson.display import Card, data_uri, figure_html
from dlopt.lesson.explore.figure import Explorable, Slider, encoded

_VIEW = "application/vnd.jupyter.widget-view+json"


def show_live(figure: Explorable) -> None:
    """Display the sliders, and below them the picture, drawn again whenever one moves."""
    import IPython.display

    display: Callable[..., Any] = IPython.display.display
    controls = {name: _widget(slider) for name, slider in figure.sliders.items()}
    began = time.perf_counter()
    first = _card(figure, controls)
    follow = time.perf_counter() - began < 0.3  # a slow figure waits until the slider rests
    display(_sliders(figure, controls), raw=True)
    picture = display(first, display_id=True)

    def moved(_: object) -> None:
        try:
            card = _card(figure, controls)
        except RuntimeError as error:  # a widget's callback would swallow it
            card = Card(f'<pre role="alert">{html.escape(str(error))}</pre>', str(error))
        picture.update(card)

    for control in controls.values():
        if hasattr(control, "continuous_update"):
            control.continuous_update = follow
        control.observe(moved, names="value")


def _card(figure: Explorable, controls: dict[str, Any]) -> Card:
    """Return the picture at the values of the controls."""
    picture, alt = figure.frame({name: control.value for name, control in controls.items()})
    source = data_uri(encoded(Image.fromarray(picture.pixels)))
    markup = figure_html(source, alt, figure.caption, picture.width, picture.smallest)
    return Card(markup, f"Figure: {alt}")


def _sliders(figure: Explorable, controls: dict[str, Any]) -> dict[str, Any]:
    """Return the view of the controls, and what to read where widgets can't be shown."""
    import ipywidgets

    box = ipywidgets.VBox(list(controls.values()))
    labels = ", ".join(slider.label for slider in figure.sliders.values())
    return {
        _VIEW: {"version_major": 2, "version_minor": 0, "model_id": box.model_id},
        "text/plain": f"Run this cell to move the figure below: {labels}.",
    }


def _widget(slider: Slider) -> Any:
    """Return the widget that fits the values: every number between the extremes, or a choice."""
    import ipywidgets

    first = slider.values[slider.start]
    settings: dict[str, Any] = {
        "description": slider.label,
        "style": {"description_width": "initial"},
        "layout": {"width": "min(32rem, 95%)"},
    }
    if not slider.numeric:
        options = [(slider.text(value), value) for value in slider.values]
        return ipywidgets.SelectionSlider(options=options, value=first, **settings)
    low, high = min(slider.values), max(slider.values)
    if all(isinstance(value, int) for value in slider.values):
        return ipywidgets.IntSlider(first, low, high, **settings)
    if slider.logarithmic:
        ends = {"min": math.log10(low), "max": math.log10(high), "step": 0.01}
        return ipywidgets.FloatLogSlider(first, readout_format=slider.format, **ends, **settings)
    step = (high - low) / 200
    return ipywidgets.FloatSlider(
        first, min=low, max=high, step=step, readout_format=slider.format, **settings
    )
