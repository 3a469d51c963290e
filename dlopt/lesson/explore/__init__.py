"""Explorable figures: one call, two deliveries.

At a live kernel the sliders are widgets, and the figure is computed again at any value. Where the
notebook is executed for the book (``DLOPT_STATIC=1``), or ipywidgets is missing, it is computed
once at each listed value, and a native range input moves through these frames: no kernel, no
library, by keyboard too.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from dlopt.lesson.display import display, is_live, require_text
from dlopt.lesson.explore.figure import Explorable, Slider
from dlopt.lesson.explore.frames import static_card
from dlopt.lesson.explore.widgets import show_live
from dlopt.lesson.plotting.picture import Draw

__all__ = ["Slider", "explore"]


def explore(
    draw: Draw,
    /,
    *,
    alt: str | Callable[..., str],
    caption: str,
    **sliders: Slider,
) -> None:
    """Display a figure that the reader moves: with widgets live, with frames in the book.

    Args:
        draw: Called with one value per slider, by name; returns a figure of a fixed size, as a
            rule with fixed limits. It has to work for any value between the extremes.
        alt: What the picture shows, for who can't see it: a function of the same values, or one
            text, to which the values are added.
        caption: What to see when moving the sliders; plain text.
        **sliders: One to three. The static page holds the product of their values; the
            environment variable ``DLOPT_MAX_FRAMES`` bounds the values per slider (for tests).

    Raises:
        ValueError: If there is no slider or more than three, if there are too many frames, if a
            text is empty, if frames differ in size.
        RuntimeError: If ``draw`` fails; names the values at which it did.
    """
    if not 1 <= len(sliders) <= 3:
        raise ValueError(f"explore takes one to three sliders, got {len(sliders)}")
    require_text("caption", caption)
    if not callable(alt):
        require_text("alt", alt)
    figure = Explorable(draw, sliders, alt, caption)
    if is_live() and find_spec("ipywidgets"):
        show_live(figure)
    else:
        display(static_card(figure))
