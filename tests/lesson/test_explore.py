"""Explorable figures: the frames of the static page, the widgets of the live kernel."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import ipywidgets
import numpy as np
import pytest
from IPython.core import getipython
from matplotlib.figure import Figure
from PIL import Image

from dlopt.lesson import explore as module
from dlopt.lesson import plotting
from dlopt.lesson.display import is_live
from dlopt.lesson.explore import MAX_FRAMES, Slider, explore

ALPHA = Slider([0.0, 0.5, 1.0], label="damping α", format=".1f")
CAPTION = "What to see: the line rises."


def draw(alpha: float, beta: float = 0.0) -> Figure:
    """A line at height α + β."""
    fig, ax = plotting.figure(2.4, 1.6)
    ax.plot([0, 1], [alpha + beta, alpha + beta])
    ax.set(xlim=(0, 1), ylim=(-1, 5))
    return fig


@pytest.fixture(autouse=True)
def every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have asked the notebooks for fewer frames."""
    monkeypatch.delenv("DLOPT_MAX_FRAMES", raising=False)


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


def static(monkeypatch: pytest.MonkeyPatch, *arguments: Any, **options: Any) -> Page:
    """Deliver for the book."""
    shown: list[Any] = []
    monkeypatch.setattr(module, "display", shown.append)
    monkeypatch.setattr(module, "is_live", lambda: False)
    explore(*arguments, **{"alt": "A line", "caption": CAPTION} | options)
    return Page(shown[0]._repr_html_())


def live(monkeypatch: pytest.MonkeyPatch, *arguments: Any, **options: Any) -> list[Any]:
    """Deliver to a kernel; return the sliders and, last, the view."""
    shown: list[Any] = []
    monkeypatch.setattr(module, "display", shown.append)
    monkeypatch.setattr(module, "is_live", lambda: True)
    explore(*arguments, **{"alt": "A line", "caption": CAPTION} | options)
    return list(shown[0].children)


# --- The static page ----------------------------------------------------------------------------


def test_one_native_slider_over_the_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    page = static(monkeypatch, draw, alpha=ALPHA)
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


def test_without_scripts_there_is_no_dead_control(monkeypatch: pytest.MonkeyPatch) -> None:
    page = static(monkeypatch, draw, alpha=ALPHA)
    assert "hidden" in page.all("div")[0]
    assert "controls.hidden = false" in page.texts["script"]


def test_nothing_is_loaded_and_no_id_can_collide(monkeypatch: pytest.MonkeyPatch) -> None:
    page = static(monkeypatch, draw, alpha=ALPHA)
    for _, attributes in page.elements:
        assert "id" not in attributes
        assert (attributes.get("src") or "data:").startswith("data:")
    assert "http" not in page.texts["script"]


def test_every_frame_is_the_figure_at_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    beta = Slider([0.0, 3.0], label="shift", start=1)
    page = static(monkeypatch, draw, alpha=ALPHA, beta=beta)
    assert page.data["order"][1] == 0  # the start is the picture itself
    combinations = [(a, b) for a in ALPHA.values for b in beta.values]
    for k, (a, b) in enumerate(combinations):
        wanted = plotting.pixels(draw(a, b)).astype(int)
        assert np.abs(page.frame(k) - wanted).mean() < 2  # of 255: 64 colours
        assert np.abs(page.frame(k) - wanted).max() < 64
    assert np.abs(page.frame(0) - page.frame(3)).max() > 128


def test_equal_frames_are_stored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    page = static(monkeypatch, lambda alpha: draw(float(alpha > 0)), alpha=ALPHA)
    assert len(page.data["frames"]) == 2
    assert page.data["order"] == [0, 1, 1]


def test_thirty_frames_of_a_moving_path_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    def path(turn: float) -> Figure:
        fig, ax = plotting.figure()
        plotting.contours(ax, lambda x: x[0] ** 2 + 5 * x[1] ** 2, (-2, 2), (-1, 1))
        plotting.trajectory(ax, [[-1.5, 0.8], [turn, -0.5], [0.5, 0.3], [0, 0]], "newton")
        plotting.legend(ax)
        return fig

    slider = Slider(np.linspace(-1, 1, 5), label="turn", format=".2f")
    page = static(monkeypatch, path, turn=slider)
    first = len(page.all("img")[0]["src"] or "")
    others = [len(frame) for frame in page.data["frames"][1:]]
    assert first + 29 * np.mean(others) < 250_000


def test_the_same_call_gives_the_same_page(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (static(monkeypatch, draw, alpha=ALPHA) for _ in range(2))
    assert (first.elements, first.texts) == (second.elements, second.texts)


def test_texts_are_escaped_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    nasty = "</script><b>\"'&"
    page = static(
        monkeypatch,
        draw,
        alpha=Slider([0.0, 1.0], label=nasty),
        alt=lambda alpha: f"{nasty}{alpha}",
        caption=nasty,
    )
    assert page.all("b") == []
    assert page.texts["span"] == page.texts["figcaption"] == nasty
    assert page.data["alts"] == [f"{nasty}0.0", f"{nasty}1.0"]


def test_texts_can_be_chosen_too(monkeypatch: pytest.MonkeyPatch) -> None:
    heights = {"low": 0.0, "high": 1.0}
    rule = Slider(["low", "high"], label="rule", start=1)
    page = static(monkeypatch, lambda rule: draw(heights[rule]), rule=rule)
    assert page.texts["output"] == "high"
    assert page.data["texts"] == [["low", "high"]]


def test_tests_may_ask_for_fewer_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLOPT_MAX_FRAMES", "2")
    page = static(monkeypatch, draw, alpha=Slider(range(9), label="α", format="d", start=7))
    assert page.data["texts"] == [["0", "8"]]
    assert page.texts["output"] == "8"
    monkeypatch.setenv("DLOPT_MAX_FRAMES", "1")
    with pytest.raises(ValueError, match="keep at least 2 values, got 1"):
        static(monkeypatch, draw, alpha=ALPHA)


# --- The live kernel ----------------------------------------------------------------------------


def test_live_any_value_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    def remember(alpha: float) -> Figure:
        drawn.append(alpha)
        return draw(alpha)

    slider, view = live(monkeypatch, remember, alpha=ALPHA)
    before = view.value
    slider.value = 0.123
    assert drawn == [0.0, 0.123]
    assert view.value != before
    assert 'alt="A line (damping α = 0.1)"' in view.value
    assert (slider.min, slider.max, slider.description) == (0.0, 1.0, "damping α")


def test_live_the_widget_fits_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    sliders = {
        "rate": Slider([1e-3, 1e-2, 1e-1], label="rate", start=1),
        "steps": Slider([1, 2, 5], label="steps", format="d"),
        "rule": Slider(["plain", "damped"], label="rule"),
    }
    rate, steps, rule, _ = live(monkeypatch, lambda rate, steps, rule: draw(rate), **sliders)
    assert isinstance(rate, ipywidgets.FloatLogSlider)
    assert rate.value == pytest.approx(1e-2)
    assert (rate.min, rate.max) == pytest.approx((-3, -1))
    assert isinstance(steps, ipywidgets.IntSlider)
    assert isinstance(rule, ipywidgets.SelectionSlider)
    assert rule.value == "plain"


def test_live_an_error_is_shown_and_the_next_value_recovers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fragile(alpha: float) -> Figure:
        if alpha > 0.9:
            raise ArithmeticError("singular <H>")
        return draw(alpha)

    slider, view = live(monkeypatch, fragile, alpha=ALPHA)
    slider.value = 1.0
    assert 'role="alert"' in view.value
    assert "singular &lt;H&gt;" in view.value
    slider.value = 0.5
    assert "<img" in view.value


def test_no_figure_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")

    def careless(alpha: float) -> Figure:
        fig: Figure = plt.figure(figsize=(2, 1))
        return fig

    slider, _ = live(monkeypatch, careless, alpha=ALPHA)
    slider.value = 0.3
    static(monkeypatch, careless, alpha=ALPHA)
    assert plt.get_fignums() == []


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("deliver", [static, live])
def test_a_figure_that_fails_says_where(monkeypatch: pytest.MonkeyPatch, deliver: Any) -> None:
    with pytest.raises(RuntimeError, match=r"failed at damping α = 0.0: KeyError: 'x'"):
        deliver(monkeypatch, lambda alpha: {}["x"], alpha=ALPHA)
    with pytest.raises(RuntimeError, match="must be a matplotlib Figure, got NoneType"):
        deliver(monkeypatch, lambda alpha: None, alpha=ALPHA)


def test_frames_must_have_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="frames must have one size"):
        static(monkeypatch, lambda alpha: plotting.figure(2 + alpha, 1)[0], alpha=ALPHA)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one to three sliders, got 0"),
        ({name: ALPHA for name in "abcd"}, "one to three sliders, got 4"),
        ({"alpha": ALPHA, "caption": ""}, "caption must be"),
        ({"alpha": ALPHA, "alt": " "}, "alt must be"),
        (
            {"alpha": Slider(range(MAX_FRAMES + 1), label="t", format="d")},
            "at most 120 frames, got 121",
        ),
    ],
)
def test_refused(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        static(monkeypatch, draw, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": [1]}, r"at least two, got \[1\]"),
        ({"values": [1.0, float("nan")]}, "values must be finite"),
        ({"values": [1.0001, 1.0002]}, "values must differ when written as '.3g'"),
        ({"values": ["a", "a"]}, "values must differ"),
        ({"values": [1, 2], "start": 2}, "start must be a position in values, got 2"),
        ({"values": [1, 2], "label": ""}, "label must be"),
    ],
)
def test_a_slider_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Slider(**{"label": "α"} | options)


def test_which_sliders_are_logarithmic() -> None:
    assert Slider([1, 3, 10, 30], label="κ").logarithmic
    assert Slider(np.geomspace(1e-4, 1, 9), label="rate").logarithmic
    assert not Slider([0.0, 0.1, 1.0], label="α").logarithmic
    assert not Slider(np.linspace(0.01, 1, 9), label="ε").logarithmic
    assert not Slider([1.0, 2.0, 4.0], label="σ").logarithmic


@pytest.mark.parametrize(
    ("environment", "kernel", "expected"),
    [("", object(), True), ("0", object(), True), ("1", object(), False), ("", None, False)],
)
def test_live_is_a_kernel_outside_the_book(
    monkeypatch: pytest.MonkeyPatch, environment: str, kernel: object, expected: bool
) -> None:
    monkeypatch.setenv("DLOPT_STATIC", environment)
    monkeypatch.setattr(getipython, "get_ipython", lambda: SimpleNamespace(kernel=kernel))
    assert is_live() is expected


def test_outside_ipython_nothing_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DLOPT_STATIC", raising=False)
    assert not is_live()
