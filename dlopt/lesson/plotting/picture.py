"""From a figure to what the page shows: a picture, and a card with alt text and caption."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from dlopt.lesson.display import Card, data_uri, display, figure_html, require_text
from dlopt.lesson.plotting.legends import refuse_riddles, settle_legends
from dlopt.lesson.plotting.style import DPI

Pixels = npt.NDArray[np.uint8]
Draw = Callable[..., Figure]


@dataclass(frozen=True)
class Picture:
    """A figure as it was drawn.

    Attributes:
        pixels: Colours from 0 to 255 on white, shape (height, width, 3).
        smallest: The size of the smallest text in it, in CSS pixels.
    """

    pixels: Pixels
    smallest: float

    @property
    def width(self) -> int:
        """The width in CSS pixels."""
        return round(int(self.pixels.shape[1]) * 96 / DPI)


def render(fig: Figure, layout: list[Any] | None = None) -> Picture:
    """Return a figure's picture, and close the figure if pyplot has it open.

    Args:
        fig: A figure, from ``figure`` or from anywhere.
        layout: Where the axes stand in a series of pictures: filled by the first, kept by the
            others, so that nothing jumps and each takes half the time.

    Returns:
        The picture.

    Raises:
        ValueError: If it is not a figure, if two labelled lines in one axes share colour and dash,
            or if the legend covers data.
    """
    if not isinstance(fig, Figure):
        raise ValueError(f"fig must be a matplotlib Figure, got {type(fig).__name__}")
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(fig)
    fig.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(fig)
    _leave_out_what_has_no_place(fig)
    if layout is not None:
        settle_legends(fig, still=True)
    if layout and len(layout) == len(fig.axes):
        fig.set_layout_engine("none")
        for ax, position in zip(fig.axes, layout, strict=True):
            ax.set_position(position)
    canvas.draw()
    while settle_legends(fig, still=False):
        canvas.draw()
    refuse_riddles(fig)
    if layout is not None and not layout:
        layout.extend(ax.get_position() for ax in fig.axes)
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba()))
    white = Image.new("RGBA", picture.size, "white")
    return Picture(
        np.asarray(Image.alpha_composite(white, picture).convert("RGB")), _smallest_text(fig)
    )


def show(fig: Figure, *, alt: str, caption: str) -> None:
    """Display a figure with its alt text and caption on a white card.

    Args:
        fig: The figure.
        alt: What the picture shows, for who can't see it; plain text.
        caption: What to see in it; plain text.

    Raises:
        ValueError: If a text is empty, or for a figure that ``render`` refuses.
    """
    require_text("alt", alt)
    require_text("caption", caption)
    picture = render(fig)
    source = data_uri(webp(Image.fromarray(picture.pixels)))
    markup = figure_html(source, alt, caption, picture.width, picture.smallest)
    display(Card(markup, f"Figure: {alt}"))


def webp(image: Image.Image) -> bytes:
    """Return the picture as lossless WebP."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, quality=80, method=4)
    return buffer.getvalue()


def _leave_out_what_has_no_place(fig: Figure) -> None:
    """Take what isn't positive out of lines on logarithmic axes: it would come in from the edge."""
    for ax in fig.axes:
        for line in ax.lines:
            if line.get_transform() != ax.transData:  # a line from edge to edge
                continue
            x, y = (np.asarray(line.get_data(orig=False)[i], dtype=float) for i in (0, 1))
            shown = np.ones(x.shape, dtype=bool)
            if ax.get_xscale() == "log":
                shown &= x > 0
            if ax.get_yscale() == "log":
                shown &= y > 0
            if not shown.all():
                line.set_data(np.where(shown, x, np.nan), y)


def _smallest_text(fig: Figure) -> float:
    """Return the size of the smallest text of a drawn figure in CSS pixels, 16 without any.

    An exponent counts as the number to which it belongs.
    """
    texts = (artist for artist in fig.findobj(Text) if artist.get_visible())
    sizes = (float(text.get_fontsize()) for text in texts if text.get_text().strip())
    return min((points * 96 / 72 for points in sizes), default=16.0)
