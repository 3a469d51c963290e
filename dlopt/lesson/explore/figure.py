"""A figure, the sliders that move it, and its picture in few bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from dlopt.lesson.display import require_text
from dlopt.lesson.plotting.picture import Draw, Picture, render, webp

COLOURS = 64


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
        # NumPy's and torch's scalars become Python's.
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


@dataclass(frozen=True)
class Explorable:
    """A figure, its sliders and its texts.

    Attributes:
        draw: Returns the figure at the sliders' values.
        sliders: The sliders by the names of their values.
        alt: What the picture shows, as for ``explore``.
        caption: What to see.
        layout: Where the axes stand, the same in every picture.
    """

    draw: Draw
    sliders: dict[str, Slider]
    alt: str | Callable[..., str]
    caption: str
    layout: list[Any] = field(default_factory=list)

    def frame(self, values: dict[str, Any]) -> tuple[Picture, str]:
        """Return the picture at these values and its alt text."""
        written = ", ".join(f"{s.label} = {s.text(values[n])}" for n, s in self.sliders.items())
        try:
            picture = render(self.draw(**values), self.layout)
            alt = self.alt(**values) if callable(self.alt) else f"{self.alt} ({written})"
        except Exception as error:
            message = f"the figure failed at {written}: {type(error).__name__}: {error}"
            raise RuntimeError(message) from error
        return picture, require_text("alt", alt)


def encoded(image: Image.Image, mask: Image.Image | None = None) -> bytes:
    """Return the picture in few colours, transparent where the mask is 0."""
    octree = Image.Quantize.FASTOCTREE
    reduced = image.quantize(COLOURS, octree, dither=Image.Dither.NONE).convert("RGB")
    if mask is not None:
        reduced.putalpha(mask)
    return webp(reduced)
