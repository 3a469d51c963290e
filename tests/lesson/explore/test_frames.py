"""The static page: every frame is there, and nothing else is needed."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dlopt.lesson import plotting
from dlopt.lesson.explore.figure import Explorable, Slider
from dlopt.lesson.explore.frames import MAX_FRAMES, static_card
from dlopt.lesson.plotting.picture import Draw

CAPTION = "What to see: the line rises."


class Page(HTMLParser):
    """The elements of a fragment, the texts of its script and caption, and whether it nests."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, str] = {}
        self.feed(markup)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def data(self) -> dict[str, Any]:
        found = re.search(r"const data = (\{.*\});", self.texts["script"])
        assert found
        data: dict[str, Any] = json.loads(found[1])
        return data

    def frame(self, k: int) -> np.ndarray[Any, Any]:
        """The picture that the browser makes of the k-th frame over the first."""
        base = decode(self.all("img")[0]["src"] or "")
        patch = self.data["frames"][self.data["order"][k]]
        both = Image.alpha_composite(base, decode(patch)) if patch else base
        return np.asarray(both.convert("RGB"))


def decode(uri: str) -> Image.Image:
    """The picture in a data URI."""
    return Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2]))).convert("RGBA")


def static(draw: Draw, *, alt: Any = "A line", caption: str = CAPTION, **sliders: Slider) -> Page:
    """What the book shows."""
    return Page(static_card(Explorable(draw, sliders, alt, caption))._repr_html_())


def test_one_native_slider_over_the_frames(draw: Draw, alpha: Slider) -> None:
    page = static(draw, alpha=alpha)
    (control,) = page.all("input")
    assert (control["type"], control["min"], control["max"]) == ("range", "0", "2")
    assert control["value"] == "0"
    assert control["aria-valuetext"] == page.texts["output"] == "0.0"
    assert page.texts["span"] == "damping α"
    assert page.data["texts"] == [["0.0", "0.5", "1.0"]]
    assert page.data["alts"][1] == "A line (damping α = 0.5)"
    assert page.texts["figcaption"] == CAPTION
    (image,) = page.all("img")
    assert image["alt"] == "A line (damping α = 0.0)"


def test_without_scripts_there_is_no_dead_control(draw: Draw, alpha: Slider) -> None:
    page = static(draw, alpha=alpha)
    assert "hidden" in page.all("div")[0]
    assert "controls.hidden = false" in page.texts["script"]


def test_nothing_is_loaded_and_no_id_can_collide(draw: Draw, alpha: Slider) -> None:
    page = static(draw, alpha=alpha)
    for _, attributes in page.elements:
        assert "id" not in attributes
        assert (attributes.get("src") or "data:").startswith("data:")
    assert "http" not in page.texts["script"]


def test_every_frame_is_the_figure_at_its_values(draw: Draw, alpha: Slider) -> None:
    beta = Slider([0.0, 3.0], label="shift", start=1)
    page = static(draw, alpha=alpha, beta=beta)
    assert page.data["order"][1] == 0  # the start is the picture itself
    combinations = [(a, b) for a in alpha.values for b in beta.values]
    for k, (a, b) in enumerate(combinations):
        wanted = plotting.render(draw(a, b)).pixels.astype(int)
        assert np.abs(page.frame(k) - wanted).mean() < 2  # of 255: 64 colours
        assert np.abs(page.frame(k) - wanted).max() < 64
    assert np.abs(page.frame(0) - page.frame(3)).max() > 128


def test_equal_frames_are_stored_once(draw: Draw, alpha: Slider) -> None:
    page = static(lambda alpha: draw(float(alpha > 0)), alpha=alpha)
    assert len(page.data["frames"]) == 2
    assert page.data["order"] == [0, 1, 1]


def test_thirty_frames_of_a_moving_path_are_small() -> None:
    def path(turn: float) -> Figure:
        fig, ax = plotting.figure()
        plotting.contours(ax, lambda x: x[0] ** 2 + 5 * x[1] ** 2, (-2, 2), (-1, 1))
        plotting.trajectory(ax, [[-1.5, 0.8], [turn, -0.5], [0.5, 0.3], [0, 0]], "newton")
        plotting.legend(ax)
        return fig

    slider = Slider(np.linspace(-1, 1, 5), label="turn", format=".2f")
    page = static(path, turn=slider)
    first = len(page.all("img")[0]["src"] or "")
    others = [len(frame) for frame in page.data["frames"][1:]]
    assert first + 29 * np.mean(others) < 250_000


def test_the_same_call_gives_the_same_page(draw: Draw, alpha: Slider) -> None:
    first, second = (static(draw, alpha=alpha) for _ in range(2))
    assert (first.elements, first.texts) == (second.elements, second.texts)


def test_texts_are_escaped_everywhere(draw: Draw) -> None:
    nasty = "</script><b>\"'&"
    page = static(
        draw,
        alpha=Slider([0.0, 1.0], label=nasty),
        alt=lambda alpha: f"{nasty}{alpha}",
        caption=nasty,
    )
    assert page.all("b") == []
    assert page.texts["span"] == page.texts["figcaption"] == nasty
    assert page.data["alts"] == [f"{nasty}0.0", f"{nasty}1.0"]


def test_texts_can_be_chosen_too(draw: Draw) -> None:
    heights = {"low": 0.0, "high": 1.0}
    rule = Slider(["low", "high"], label="rule", start=1)
    page = static(lambda rule: draw(heights[rule]), rule=rule)
    assert page.texts["output"] == "high"
    assert page.data["texts"] == [["low", "high"]]


def test_tests_may_ask_for_fewer_frames(
    monkeypatch: pytest.MonkeyPatch, draw: Draw, alpha: Slider
) -> None:
    monkeypatch.setenv("DLOPT_MAX_FRAMES", "2")
    page = static(draw, alpha=Slider(range(9), label="α", format="d", start=7))
    assert page.data["texts"] == [["0", "8"]]
    assert page.texts["output"] == "8"
    monkeypatch.setenv("DLOPT_MAX_FRAMES", "1")
    with pytest.raises(ValueError, match="keep at least 2 values, got 1"):
        static(draw, alpha=alpha)


def test_frames_must_have_one_size(alpha: Slider) -> None:
    with pytest.raises(ValueError, match="frames must have one size"):
        static(lambda alpha: plotting.figure(2 + alpha, 1)[0], alpha=alpha)


def test_too_many_frames_are_refused(draw: Draw) -> None:
    slider = Slider(range(MAX_FRAMES + 1), label="t", format="d")
    with pytest.raises(ValueError, match="at most 120 frames, got 121"):
        static(draw, alpha=slider)
