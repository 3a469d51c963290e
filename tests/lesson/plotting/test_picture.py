"""A figure becomes the same pixels every time, and a card with its texts."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlopt.lesson import plotting
from dlopt.lesson.plotting import picture


def test_pixels_are_opaque_and_the_same_every_time() -> None:
    first, second = (plotting.pixels(plotting.figure(2, 1)[0]) for _ in range(2))
    assert first.shape == (plotting.DPI, 2 * plotting.DPI, 3)
    assert first[0, 0].tolist() == [255, 255, 255]
    assert np.array_equal(first, second)
    with pytest.raises(ValueError, match="fig must be a matplotlib Figure, got Axes"):
        plotting.pixels(plotting.figure()[1])


def test_pixels_close_what_pyplot_holds() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    fig = plt.figure()
    plotting.pixels(fig)
    assert plt.get_fignums() == []


def test_a_kept_layout_does_not_jump() -> None:
    layout: list[Any] = []
    positions = []
    for label in ("short", "a\nlabel\nof many\nlines"):
        fig, ax = plotting.figure(3, 2)
        ax.set_ylabel(label)
        plotting.pixels(fig, layout)
        positions.append(ax.get_position().bounds)
    assert positions[0] == positions[1]


def test_show_gives_alt_text_and_caption(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(picture, "display", shown.append)
    for _ in range(2):
        plotting.show(plotting.figure(2, 1)[0], alt='A "bowl" & a path', caption="See: x < y")
    markup = shown[0]._repr_html_()
    assert 'alt="A &quot;bowl&quot; &amp; a path"' in markup
    assert "See: x &lt; y</figcaption>" in markup
    assert markup == shown[1]._repr_html_()
    assert repr(shown[0]) == 'Figure: A "bowl" & a path'
    data = markup.split("base64,")[1].split('"')[0]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (280, 140)
    with pytest.raises(ValueError, match="alt must be a non-empty string"):
        plotting.show(plotting.figure()[0], alt="", caption="x")
