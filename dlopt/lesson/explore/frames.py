"""The static page: a picture for each value, under a native range input."""

from __future__ import annotations

import html
import itertools
import json
import math
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from dlopt.lesson.display import Card, data_uri, figure_html
from dlopt.lesson.explore.figure import Explorable, Slider, encoded
from dlopt.lesson.plotting.picture import Pixels

MAX_FRAMES = 120  # about 1 MB
RIM = 3

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


def static_card(figure: Explorable) -> Card:
    """Draw every frame; return one picture under native sliders."""
    sliders = figure.sliders
    if limit := os.environ.get("DLOPT_MAX_FRAMES"):
        sliders = {name: slider.thinned(int(limit)) for name, slider in sliders.items()}
    count = math.prod(len(slider.values) for slider in sliders.values())
    if count > MAX_FRAMES:
        raise ValueError(f"the sliders must make at most {MAX_FRAMES} frames, got {count}")
    combinations = itertools.product(*(slider.values for slider in sliders.values()))
    drawn = [figure.frame(dict(zip(sliders, values, strict=True))) for values in combinations]
    pictures, alts = zip(*drawn, strict=True)
    start = 0
    for slider in sliders.values():
        start = start * len(slider.values) + slider.start
    frames, order = _encode([picture.pixels for picture in pictures], start)
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
        data_uri(frames[0]), alts[start], figure.caption, pictures[0].width,
        min(picture.smallest for picture in pictures), controls=controls, script=script,
    )  # fmt: skip
    return Card(markup, f"Explorable figure: {alts[start]}")


def _control(slider: Slider) -> str:
    """Return a labelled range input with its value beside it; no id, so none can collide."""
    text = html.escape(slider.text(slider.values[slider.start]))
    # Room for the longest text, or the range would change its width under the reader's hand.
    longest = max(len(slider.text(value)) for value in slider.values)
    return (
        '<div style="display:flex;gap:.6rem;align-items:center;margin:0 0 .3rem">'
        '<label style="display:flex;flex:1;flex-wrap:wrap;gap:0 .6rem;align-items:center;margin:0">'
        f"<span>{html.escape(slider.label)}</span>"
        f'<input type="range" min="0" max="{len(slider.values) - 1}" step="1" '
        f'value="{slider.start}" aria-valuetext="{text}" autocomplete="off" '
        'style="flex:1 1 8rem;min-width:6rem;min-height:1.75rem;accent-color:#0072B2"></label>'
        f'<output aria-live="off" style="min-width:max(4rem,{longest}ch);font-weight:600">'
        f"{text}</output></div>"
    )


def _encode(pictures: Sequence[Pixels], start: int) -> tuple[list[bytes], list[int]]:
    """Return the different frames, the starting one first and whole, and each picture's number.

    The others hold only the pixels that differ from the first: contours and axes stand still.
    """
    base = pictures[start]
    frames = [encoded(Image.fromarray(base))]
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
            frames.append(encoded(Image.fromarray(patch), Image.fromarray(shown).convert("L")))
        order.append(numbers[key])
    return frames, order
