"""From a figure to what the page shows: pixels, and a card with alt text and caption."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from dlopt.lesson.display import Card, data_uri, display, figure_html, require_text
from dlopt.lesson.plotting.style import DPI

Pixels = npt.NDArray[np.uint8]
Draw = Callable[..., Figure]


def pixels(fig: Figure, layout: list[Any] | None = None) -> Pixels:
    """Return the picture on white, shape (height, width, 3), and close it if pyplot has it open.

    Args:
        fig: A figure, from ``figure`` or from anywhere.
        layout: Where the axes stand in a series of pictures: filled by the first, kept by the
            others, so that nothing jumps and each takes half the time.

    Returns:
        Colours from 0 to 255.

    Raises:
        ValueError: If it is not a figure.
    """
    if not isinstance(fig, Figure):
        raise ValueError(f"fig must be a matplotlib Figure, got {type(fig).__name__}")
    fig.set_dpi(DPI)
    if layout and len(layout) == len(fig.axes):
        fig.set_layout_engine("none")
        for ax, position in zip(fig.axes, layout, strict=True):
            ax.set_position(position)
    canvas: Any = FigureCanvasAgg(fig)
    canvas.draw()
    if layout is not None and not layout:
        layout.extend(ax.get_position() for ax in fig.axes)
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba()))
    white = Image.new("RGBA", picture.size, "white")
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(fig)
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"))


def show(fig: Figure, *, alt: str, caption: str) -> None:
    """Display a figure with its alt text and caption on a white card.

    Args:
        fig: The figure.
        alt: What the picture shows, for who can't see it; plain text.
        caption: What to see in it; plain text.

    Raises:
        ValueError: If a text is empty.
    """
    require_text("alt", alt)
    require_text("caption", caption)
    picture = pixels(fig)
    source = data_uri(webp(Image.fromarray(picture)))
    display(Card(figure_html(source, alt, caption, css_width(picture)), f"Figure: {alt}"))


def webp(image: Image.Image) -> bytes:
    """Return the picture as lossless WebP."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, quality=80, method=4)
    return buffer.getvalue()


def css_width(picture: Pixels) -> int:
    """Return the width in CSS pixels."""
    return round(int(picture.shape[1]) * 96 / DPI)
