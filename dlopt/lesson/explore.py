"""Explorable figures: one call, two deliveries.

At a live kernel the sliders are widgets, and the figure is computed again at any value. Where the
notebook is executed for the book (``DLOPT_STATIC=1``) it is computed once at each listed value, and
a native range input moves through these frames: no kernel, no library, by keyboard too.
"""

from __future__ import annotations

import html
import io
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dlopt.lesson.display import Card, data_uri, display, figure_html, is_live, require_text
from dlopt.lesson.plotting import DPI, pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_FRAMES = 120  # about 1 MB
COLOURS = 64
RIM = 3
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Slider:
    """One quantity under the reader's hand.

    Attributes:
        values: What the static page shows, in order: at least two numbers, or texts. At a live
            kernel numbers may take any value between the extremes, on a logarithmic scale if the
            listed ones are evenly spaced on one.
        label: Name and unit; plain text.
        format: How a number is written, a format specification such as ".3g", ".2f" or "d".
        start: Position in ``values`` at which the figure starts.

    Raises:
        ValueError: If a setting is out of range, or two values look the same when written.

    Example:
        >>> Slider([0.001, 0.01, 0.1], label="learning rate").logarithmic
        True
    """

    values: Sequence[Any]
    label: str
    format: str = ".3g"
    start: int = 0

    def __post_init__(self) -> None:
        """Check the settings; NumPy's and torch's scalars become Python's."""
        values = tuple(v.item() if hasattr(v, "item") else v for v in self.values)
        object.__setattr__(self, "values", values)
        require_text("label", self.label)
        if len(values) < 2:
            raise ValueError(f"values must hold at least two, got {list(values)}")
        if not 0 <= self.start < len(values):
            raise ValueError(f"start must be a position in values, got {self.start}")
        if self.numeric and not all(map(math.isfinite, values)):
            raise ValueError(f"values must be finite, got {list(values)}")
        if len({self.text(value) for value in values}) < len(values):
            raise ValueError(
                f"values must differ when written as {self.format!r}, got {list(values)}"
            )

    @property
    def numeric(self) -> bool:
        """Whether every value is a number."""
        return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in self.values)

    @property
    def logarithmic(self) -> bool:
        """Whether the values are positive and grow by one factor rather than by one difference."""
        if not self.numeric or min(self.values) <= 0 or max(self.values) < 10 * min(self.values):
            return False
        steps = np.abs(np.diff(np.log(self.values)))
        return bool(steps.max() < 2 * steps.min())

    def text(self, value: Any) -> str:
        """Return the value as the reader sees it."""
        return format(value, self.format) if self.numeric else str(value)

    def thinned(self, count: int) -> Slider:
        """Return a slider of at most ``count`` ≥ 2 of the values, both ends among them."""
        last = len(self.values) - 1
        if count < 2:
            raise ValueError(f"a slider must keep at least 2 values, got {count}")
        if last < count:
            return self
        kept = [round(i * last / (count - 1)) for i in range(count)]
        nearest = min(range(count), key=lambda i: abs(kept[i] - self.start))
        return replace(self, values=[self.values[i] for i in kept], start=nearest)


def explore(
    draw: Callable[..., Figure],
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
    figure = _Explorable(draw, sliders, alt, caption)
    if is_live():
        figure.display_live()
    else:
        figure.display_static()


@dataclass(frozen=True)
class _Explorable:
    """A figure, its sliders and its texts."""

    draw: Callable[..., Figure]
    sliders: dict[str, Slider]
    alt: str | Callable[..., str]
    caption: str
    layout: list[Any] = field(default_factory=list)

    def frame(self, values: dict[str, Any]) -> tuple[Pixels, str]:
        """Return the picture at these values and its alt text."""
        written = ", ".join(f"{s.label} = {s.text(values[n])}" for n, s in self.sliders.items())
        try:
            picture = pixels(self.draw(**values), self.layout)
            alt = self.alt(**values) if callable(self.alt) else f"{self.alt} ({written})"
        except Exception as error:
            message = f"the figure failed at {written}: {type(error).__name__}: {error}"
            raise RuntimeError(message) from error
        return picture, require_text("alt", alt)

    def display_static(self) -> None:
        """Draw every frame; display one picture under native sliders."""
        sliders = self.sliders
        if limit := os.environ.get("DLOPT_MAX_FRAMES"):
            sliders = {name: slider.thinned(int(limit)) for name, slider in sliders.items()}
        count = math.prod(len(slider.values) for slider in sliders.values())
        if count > MAX_FRAMES:
            raise ValueError(f"the sliders must make at most {MAX_FRAMES} frames, got {count}")
        combinations = itertools.product(*(slider.values for slider in sliders.values()))
        drawn = [self.frame(dict(zip(sliders, values, strict=True))) for values in combinations]
        pictures, alts = zip(*drawn, strict=True)
        start = 0
        for slider in sliders.values():
            start = start * len(slider.values) + slider.start
        frames, order = _encode(pictures, start)
        data = {
            "frames": ["", *(data_uri(frame) for frame in frames[1:])],
            "order": order,
            "alts": alts,
            "texts": [[slider.text(v) for v in slider.values] for slider in sliders.values()],
        }
        # "</" would end the script element, wherever it stands.
        script = _SCRIPT.replace("DATA", json.dumps(data).replace("</", "<\\/"))
        controls = f"<div hidden>{''.join(map(_control, sliders.values()))}</div>"
        markup = figure_html(
            data_uri(frames[0]), alts[start], self.caption, _width(pictures[0]),
            controls=controls, script=script,
        )  # fmt: skip
        display(Card(markup, f"Explorable figure: {alts[start]}"))

    def display_live(self) -> None:
        """Display widgets that draw again whenever a slider moves."""
        import ipywidgets

        controls = {name: _widget(slider) for name, slider in self.sliders.items()}
        view = ipywidgets.HTML()

        def show() -> None:
            values = {name: control.value for name, control in controls.items()}
            picture, alt = self.frame(values)
            source = data_uri(_webp(Image.fromarray(picture)))
            view.value = figure_html(source, alt, self.caption, _width(picture))

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
        display(ipywidgets.VBox([*controls.values(), view]))


# --- The static page ----------------------------------------------------------------------------

# The controls stay hidden until the script runs: where scripts don't, no control is dead. Frames
# are patches laid over the first picture, so it becomes the background.
_SCRIPT = """<script>(() => {
const data = DATA;
const figure = document.currentScript.closest("figure");
const image = figure.querySelector("img"), controls = figure.querySelector("div");
const inputs = [...figure.querySelectorAll("input")];
data.frames[0] = image.src;
image.style.background = `#fff url(${image.src}) 0 0 / 100% 100% no-repeat`;
image.style.printColorAdjust = "exact";
const show = () => {
  let k = 0;
  inputs.forEach((input, i) => {
    const text = data.texts[i][input.value];
    k = k * data.texts[i].length + Number(input.value);
    input.setAttribute("aria-valuetext", text);
    input.closest("div").querySelector("output").value = text;
  });
  image.src = data.frames[data.order[k]];
  image.alt = data.alts[k];
};
inputs.forEach((input) => input.addEventListener("input", show));
controls.hidden = false;
})();</script>"""


def _control(slider: Slider) -> str:
    """Return a labelled range input with its value beside it; no id, so none can collide."""
    text = html.escape(slider.text(slider.values[slider.start]))
    return (
        '<div style="display:flex;gap:.6rem;align-items:center;margin:0 0 .3rem">'
        '<label style="display:flex;flex:1;flex-wrap:wrap;gap:0 .6rem;align-items:center;margin:0">'
        f"<span>{html.escape(slider.label)}</span>"
        f'<input type="range" min="0" max="{len(slider.values) - 1}" step="1" '
        f'value="{slider.start}" aria-valuetext="{text}" autocomplete="off" '
        'style="flex:1 1 8rem;min-width:6rem;min-height:1.75rem;accent-color:#0072B2"></label>'
        f'<output aria-live="off" style="min-width:4rem;font-weight:600">{text}</output></div>'
    )


def _encode(pictures: Sequence[Pixels], start: int) -> tuple[list[bytes], list[int]]:
    """Return the different frames, the starting one first and whole, and each picture's number.

    The others hold only the pixels that differ from the first: contours and axes stand still.
    """
    base = pictures[start]
    frames = [_webp(Image.fromarray(base))]
    numbers = {base.tobytes(): 0}
    order = []
    for picture in pictures:
        if picture.shape != base.shape:
            raise ValueError(f"frames must have one size, got {picture.shape} and {base.shape}")
        key = picture.tobytes()
        if key not in numbers:
            numbers[key] = len(frames)
            shown = (picture != base).any(axis=-1)
            for _ in range(RIM):  # a browser that scales the patch blurs its edge
                shown = np.logical_or.reduce(
                    [shown, *(np.roll(shown, by, axis) for by in (1, -1) for axis in (0, 1))]
                )
            patch = np.where(shown[..., None], picture, np.uint8(255))
            frames.append(_webp(Image.fromarray(patch), Image.fromarray(shown).convert("L")))
        order.append(numbers[key])
    return frames, order


def _webp(image: Image.Image, mask: Image.Image | None = None) -> bytes:
    """Return the picture in few colours, transparent where the mask is 0, as lossless WebP."""
    octree = Image.Quantize.FASTOCTREE
    reduced = image.quantize(COLOURS, octree, dither=Image.Dither.NONE).convert("RGB")
    if mask is not None:
        reduced.putalpha(mask)
    buffer = io.BytesIO()
    reduced.save(buffer, "WEBP", lossless=True, quality=80, method=4)
    return buffer.getvalue()


def _width(picture: Pixels) -> int:
    """Return the width in CSS pixels."""
    return round(int(picture.shape[1]) * 96 / DPI)


# --- The live kernel ----------------------------------------------------------------------------


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
