"""A figure becomes the same picture every time, and a card with its texts."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlopt.lesson import plotting
from dlopt.lesson.plotting import picture


def test_pictures_are_opaque_and_the_same_every_time() -> None:
    first, second = (plotting.render(plotting.figure(2, 1)[0]).pixels for _ in range(2))
    assert first.shape == (plotting.DPI, 2 * plotting.DPI, 3)
    assert first[0, 0].tolist() == [255, 255, 255]
    assert np.array_equal(first, second)
    with pytest.raises(ValueError, match="fig must be a matplotlib Figure, got Axes"):
        plotting.render(plotting.figure()[1])


def test_a_picture_closes_what_pyplot_holds() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    fig = plt.figure()
    plotting.render(fig)
    assert plt.get_fignums() == []


def test_a_picture_knows_its_width_and_its_smallest_text() -> None:
    fig, ax = plotting.figure(3, 2)
    assert plotting.render(fig).width == 288
    assert plotting.render(fig).smallest == pytest.approx(10 * 96 / 72)  # the numbers at the ticks
    ax.text(0, 0, "fine print", fontsize=6)
    assert plotting.render(fig).smallest == pytest.approx(8)
    empty, ax = plotting.figure()
    ax.set_axis_off()
    ax.set(xticks=[], yticks=[])
    assert plotting.render(empty).smallest == 16


def test_a_kept_layout_does_not_jump() -> None:
    layout: list[Any] = []
    positions = []
    for label in ("short", "a\nlabel\nof many\nlines"):
        fig, ax = plotting.figure(3, 2)
        ax.set_ylabel(label)
        plotting.render(fig, layout)
        positions.append(ax.get_position().bounds)
    assert positions[0] == positions[1]


@pytest.mark.parametrize("axis", ["x", "y"])
def test_what_a_logarithmic_axis_has_no_place_for_is_not_drawn(axis: str) -> None:
    fig, ax = plotting.figure()
    ax.plot(*np.array([[0, 1, 10], [1, 2, 3]])[:: 1 if axis == "x" else -1])
    ax.axvline(0.5)
    (ax.set_xscale if axis == "x" else ax.set_yscale)("log")
    plotting.render(fig)
    shown = np.isfinite(np.asarray(ax.lines[0].get_xdata(), dtype=float))
    assert shown.tolist() == [False, True, True]
    assert list(ax.lines[1].get_xdata()) == [0.5, 0.5]


def test_show_gives_alt_text_and_caption(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(picture, "display", shown.append)
    for _ in range(2):
        plotting.show(plotting.figure(2, 1)[0], alt='A "bowl" & a path', caption="See: x < y")
    markup = shown[0]._repr_html_()
    assert 'alt="A &quot;bowl&quot; &amp; a path"' in markup
    assert "See: x &lt; y</figcaption>" in markup
    assert 'data-smallest="13.33"' in markup
    assert markup == shown[1]._repr_html_()
    assert repr(shown[0]) == 'Figure: A "bowl" & a path'
    data = markup.split("base64,")[1].split('"')[0]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (280, 140)
    with pytest.raises(ValueError, match="alt must be a non-empty string"):
        plotting.show(plotting.figure()[0], alt="", caption="x")
