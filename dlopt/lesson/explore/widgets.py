"""The live kernel: widgets under which the figure is drawn anew at any value."""

from __future__ import annotations

import html
import math
import time
from typing import Any

from PIL import Image

from dlopt.lesson.display import data_uri, figure_html
from dlopt.lesson.explore.figure import Explorable, Slider, encoded


def live_view(figure: Explorable) -> Any:
    """Return widgets that draw again whenever a slider moves."""
    import ipywidgets

    controls = {name: _widget(slider) for name, slider in figure.sliders.items()}
    view = ipywidgets.HTML()

    def show() -> None:
        values = {name: control.value for name, control in controls.items()}
        picture, alt = figure.frame(values)
        source = data_uri(encoded(Image.fromarray(picture.pixels)))
        view.value = figure_html(source, alt, figure.caption, picture.width, picture.smallest)

    def moved(_: object) -> None:
        try:
            show()
        except RuntimeError as error:  # a widget's callback would swallow it
            view.value = f'<pre role="alert">{html.escape(str(error))}</pre>'

    began = time.perf_counter()
    show()
    follow = time.perf_counter() - began < 0.3  # a slow figure waits until the slider rests
    for control in controls.values():
        if hasattr(control, "continuous_update"):
            control.continuous_update = follow
        control.observe(moved, names="value")
    return ipywidgets.VBox([*controls.values(), view])


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
