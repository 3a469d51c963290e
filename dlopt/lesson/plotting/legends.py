"""Legends that hide nothing, over lines that can be told apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import STEP_LOOKUP_MAP
from matplotlib.collections import Collection, PathCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.container import Container
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.path import Path
from matplotlib.quiver import Quiver
from matplotlib.transforms import Bbox

_FREE = "free"  # the group of legends whose place is found when all is drawn
_PLACES: tuple[Any, ...] = (
    "upper right", "upper left", "lower left", "lower right",
    "center right", "center left", "lower center", "upper center",
)  # fmt: skip
_LOOK: dict[str, Any] = {
    "loc": "upper right",
    "fontsize": 10,
    "framealpha": 0.9,
    "edgecolor": "0.8",
    "handlelength": 2.8,
}

Place = TypeVar("Place", Axes, Figure)


def legend(place: Place, **options: Any) -> Place:
    """Add a legend that hides nothing, without an entry twice.

    Args:
        place: Axes with labelled artists: the legend stands where it covers no data, or else below
            the figure. A figure: one legend for all of its axes, below them. An explorable figure
            has its legend below, so that it stands still.
        **options: Passed to matplotlib's ``legend``; ``loc`` is the place that is tried first.

    Returns:
        The same axes or figure.

    Example:
        >>> from dlopt.lesson import plotting
        >>> fig, ax = plotting.figure()
        >>> line = ax.plot([0, 1], [1, 0], **plotting.method_style("newton"))
        >>> plotting.legend(ax) is ax
        True
    """
    settings = {**_LOOK, **options}
    if isinstance(place, Figure):
        _below(place, _entries(place.axes), settings)
        return place
    entries = _entries([place])
    made = place.legend([h for h, _ in entries], [text for _, text in entries], **settings)
    made.set_gid(_FREE)
    return place


def settle_legends(fig: Figure, *, still: bool) -> bool:
    """Put each free legend where it covers nothing; return whether one has moved.

    Args:
        fig: A figure that was drawn, unless ``still``.
        still: Whether the picture is one of a series: then all go below.
    """
    moved = False
    homeless: list[Axes] = []
    settings: dict[str, Any] = {}
    for ax in fig.axes:
        found = ax.get_legend()
        if found is None or found.get_gid() != _FREE:
            continue
        before = found.get_window_extent()
        if not still and _fits(fig, ax, found):
            moved |= bool((found.get_window_extent().get_points() != before.get_points()).any())
        else:
            homeless.append(ax)
            settings = {**_LOOK, "fontsize": found.get_texts()[0].get_fontsize()}
            if title := found.get_title().get_text():
                settings["title"] = title
            found.remove()
    if homeless:
        _below(fig, _entries(homeless), settings)
    return moved or bool(homeless)


def refuse_riddles(fig: Figure) -> None:
    """Raise ``ValueError`` where a drawn figure has lines that look alike, or hides its data."""
    for ax in fig.axes:
        _refuse_alike(ax)
        if (found := ax.get_legend()) and (what := _hidden(fig, found.get_window_extent())):
            raise ValueError(
                f"the legend covers {what}: call plotting.legend(ax), which finds a place, or "
                "plotting.legend(fig), which is below"
            )
    for below in fig.legends:
        boxes = [box for ax in fig.axes if (box := ax.get_tightbbox()) is not None]
        if any(below.get_window_extent().overlaps(box) for box in boxes):
            raise ValueError("the legend below the figure reaches into it: make the figure higher")


def _refuse_alike(ax: Axes) -> None:
    """Raise ``ValueError`` if two labels in the axes belong to lines of one colour and dash."""
    seen: dict[tuple[Any, ...], str] = {}
    for handle, text in _entries([ax]):
        look = _looks(handle)
        if look and seen.setdefault(look, text) != text:
            raise ValueError(
                f"{seen[look]!r} and {text!r} must differ in colour or dash, got {look[:2]} twice"
            )


def _looks(handle: Any) -> tuple[Any, ...]:
    """Return what tells a line from another: colour and dash, or the marker where there is none."""
    line = handle[0] if isinstance(handle, Container) and len(handle) else handle
    if not isinstance(line, Line2D):
        return ()
    color, dash = to_hex(line.get_color()), str(line.get_linestyle())
    if dash.lower() not in ("none", "", " "):
        return color, dash
    return color, "no line", str(line.get_marker()), to_hex(line.get_markerfacecolor(), True)


def _entries(axes: Iterable[Axes]) -> list[tuple[Any, str]]:
    """Return handles and labels, each label once unless it stands for different looks."""
    found: dict[tuple[str, tuple[Any, ...]], Any] = {}
    for ax in axes:
        for handle, text in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault((text, _looks(handle)), handle)
    return [(handle, text) for (text, _), handle in found.items()]


def _below(fig: Figure, entries: list[tuple[Any, str]], settings: dict[str, Any]) -> None:
    """Add a legend below the axes, as wide as fits, and make the figure higher by it."""
    settings = {k: v for k, v in settings.items() if k not in ("loc", "ncols", "bbox_to_anchor")}
    handles, texts = [h for h, _ in entries], [text for _, text in entries]
    if fig.get_layout_engine() is None:
        fig.set_layout_engine("constrained")
    for columns in range(len(entries), 0, -1):
        made = fig.legend(handles, texts, loc="outside lower center", ncols=columns, **settings)
        box = made.get_window_extent()
        if box.width <= fig.bbox.width or columns == 1:
            fig.set_figheight(fig.get_figheight() + box.height / fig.dpi)
            return
        made.remove()


def _fits(fig: Figure, ax: Axes, legend: Legend) -> bool:
    """Return whether the legend found a place in its axes, and leave it there."""
    for place in ("", *_PLACES):
        if place:  # else where it stands
            legend.set_loc(place)
        box = legend.get_window_extent()
        inside = ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1 and ax.bbox.y0 <= box.y0
        if inside and box.y1 <= ax.bbox.y1 and not _hidden(fig, box):
            return True
    return False


def _hidden(fig: Figure, box: Bbox) -> str:
    """Return what of the data a box covers, in words; contours and shaded bands may be covered."""
    for ax in fig.axes:
        for line in ax.lines:
            if line.get_visible() and _covers_line(box, ax, line):
                text = str(line.get_label())
                return "a line" if text.startswith("_") else f"the line {text!r}"
        for collection in ax.collections:
            if collection.get_visible() and _covers_collection(box, ax, collection):
                return "data"
        for patch in ax.patches:
            if patch.get_visible() and _covers_patch(box, ax, patch):
                return "data"
        if any(image.get_window_extent().overlaps(box) for image in ax.images):
            return "an image"
        for note in ax.texts:
            if note.get_visible() and note.get_text() and note.get_window_extent().overlaps(box):
                return f"the text {note.get_text()!r}"
        if any(inset.bbox.overlaps(box) for inset in ax.child_axes):
            return "the axes inside"
    return ""


def _covers_line(box: Bbox, ax: Axes, line: Line2D) -> bool:
    """Return whether a box covers a piece of a line, or a marker."""
    pixels = ax.figure.get_dpi() / 72
    marked = str(line.get_marker()).lower() not in ("none", "", " ")
    points = np.asarray(line.get_transform().transform_path(line.get_path()).vertices)
    path = Path(np.transpose(STEP_LOOKUP_MAP[line.get_drawstyle()](*points.T)))
    radius = pixels * float(line.get_markersize()) / 2 if marked else 0.0
    if str(line.get_linestyle()).lower() not in ("none", "", " "):
        radius = max(radius, pixels * float(line.get_linewidth()) / 2)
        if path.intersects_bbox(box.padded(radius), filled=False):
            return True
    return marked and _holds(box.padded(radius), points)


def _covers_collection(box: Bbox, ax: Axes, collection: Collection) -> bool:
    """Return whether a box covers a piece of a collection that isn't contours."""
    if isinstance(collection, ContourSet):
        return False
    if isinstance(collection, QuadMesh):
        return bool(collection.get_datalim(ax.transData).transformed(ax.transData).overlaps(box))
    if isinstance(collection, Quiver):  # arrows in the units of the data, as ``arrow`` draws them
        length = np.column_stack([collection.U, collection.V])
        along = np.linspace(0, 1, 33)[:, None, None]
        return _holds(box, ax.transData.transform((collection.XY + along * length).reshape(-1, 2)))
    if isinstance(collection, PathCollection):
        radius = np.sqrt(np.max(collection.get_sizes(), initial=0)) / 2 * ax.figure.get_dpi() / 72
        places = collection.get_offset_transform().transform(collection.get_offsets())
        return _holds(box.padded(radius), places)
    transform, filled = collection.get_transform(), isinstance(collection, PolyCollection)
    return any(
        transform.transform_path(path).intersects_bbox(box, filled=filled)
        for path in collection.get_paths()
    )


def _covers_patch(box: Bbox, ax: Axes, patch: Patch) -> bool:
    """Return whether a box covers a piece of a patch in the units of the data, such as a bar."""
    if patch.get_data_transform() != ax.transData:  # a band from edge to edge
        return False
    path = patch.get_transform().transform_path(patch.get_path())
    return bool(path.intersects_bbox(box, filled=patch.get_fill()))


def _holds(box: Bbox, points: Any) -> bool:
    """Return whether one of the points, shape (points, 2), lies in the box."""
    x, y = np.asarray(points, dtype=float).reshape(-1, 2).T
    return bool(((box.x0 <= x) & (x <= box.x1) & (box.y0 <= y) & (y <= box.y1)).any())
