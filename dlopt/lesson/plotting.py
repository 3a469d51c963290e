"""The book's one visual language: data and an ``ax`` in, the ``ax`` out.

No function runs an algorithm, sets a global style or touches pyplot. Colours are those of Okabe and
Ito, told apart by colour-blind readers; the two that are pale on white are drawn with a dark edge.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import torch
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from dlopt.lesson.display import Card, data_uri, display, figure_html, require_text
from dlopt.lesson.evidence import PowerLaw, mean_and_spread

BLACK, BLUE, VERMILLION, GREEN, PURPLE = "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY = "#E69F00", "#56B4E9"  # below 3:1 on white: always with the dark edge
PALE = (ORANGE, SKY)
DPI = 140
Method = str | Mapping[str, Any]  # a method's name, or what arm_style returns

# method: colour, marker, line style, name
_METHODS = {
    "gradient_descent": (VERMILLION, "o", "-", "gradient descent"),
    "momentum": (VERMILLION, "s", "--", "momentum"),
    "steepest_descent": (ORANGE, "^", "-", "steepest descent"),
    "sgd": (BLACK, "o", ":", "SGD"),
    "adam": (BLACK, "s", "--", "Adam"),
    "newton": (BLUE, "D", "-", "Newton"),
    "truncated_newton": (BLUE, "P", "--", "truncated Newton"),
    "damped_newton": (SKY, "d", "-", "damped Newton"),
    "levenberg_marquardt": (SKY, "v", "--", "Levenberg–Marquardt"),
    "conjugate_gradient": (GREEN, "X", "-", "conjugate gradient"),
    "fletcher_reeves": (GREEN, "<", "--", "Fletcher–Reeves"),
    "polak_ribiere": (GREEN, ">", "-.", "Polak–Ribière"),
    "polak_ribiere_plus": (GREEN, "H", ":", "Polak–Ribière+"),
    "bfgs": (PURPLE, "h", "-", "BFGS"),
    "lbfgs": (PURPLE, "p", "--", "L-BFGS"),
}
METHODS = tuple(_METHODS)

_STYLE: Any = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.3",
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "mathtext.fontset": "dejavusans",
}

# --- Style --------------------------------------------------------------------------------------


def _style(color: str, marker: str, linestyle: str, label: str) -> dict[str, Any]:
    """Return keyword arguments of ``ax.plot``."""
    style: dict[str, Any] = {
        "color": color,
        "marker": marker,
        "linestyle": linestyle,
        "label": label,
        "linewidth": 2,
        "markersize": 5.5,
    }
    if color in PALE:
        style["path_effects"] = [
            patheffects.Stroke(linewidth=3.4, foreground="0.25"),
            patheffects.Normal(),
        ]
    return style


def method_style(method: str) -> dict[str, Any]:
    """Return the colour, marker, line style and name that a method has throughout the book.

    Args:
        method: One of ``METHODS``, such as "newton".

    Returns:
        Keyword arguments for ``ax.plot``.

    Raises:
        ValueError: For a method that the book doesn't know.

    Example:
        >>> method_style("newton")["color"]
        '#0072B2'
    """
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    return _style(*_METHODS[method])


def _resolve(method: Method, label: str | None) -> dict[str, Any]:
    """Return plot arguments for a method's name or a style, under another label if one is given."""
    found = method_style(method) if isinstance(method, str) else dict(method)
    return found if label is None else {**found, "label": label or "_"}


def arm_style(index: int, label: str) -> dict[str, Any]:
    """Return the style of the ``index``-th arm of a comparison that is not between methods.

    Args:
        index: 0 to 4; the order of the colours is fixed.
        label: The arm's name in the legend.

    Returns:
        Keyword arguments for ``ax.plot``.

    Raises:
        ValueError: If ``index`` is out of range: more arms than that belong into two figures.

    Example:
        >>> arm_style(0, "with weight decay")["label"]
        'with weight decay'
    """
    arms = [(BLUE, "o", "-"), (VERMILLION, "s", "--"), (GREEN, "^", "-."), (PURPLE, "D", ":"),
            (BLACK, "v", "-")]  # fmt: skip
    if not 0 <= index < len(arms):
        raise ValueError(f"index must be between 0 and {len(arms) - 1}, got {index}")
    return _style(*arms[index], label)


def figure(
    width: float = 4.8, height: float = 3.4, rows: int = 1, columns: int = 1, **subplots: Any
) -> tuple[Figure, Any]:
    """Make a figure that pyplot doesn't know of, so that nothing leaks.

    Args:
        width: Inches; 4.8 keeps the text readable on a phone, where the page shrinks it.
        height: Inches.
        rows: Rows of axes.
        columns: Columns of axes.
        **subplots: Passed to ``Figure.subplots``, such as ``sharey=True``.

    Returns:
        The figure and its axes: one, or an array of them.

    Example:
        >>> fig, ax = figure()
        >>> minimum(ax, [0.0, 0.0]) is ax
        True
    """
    with mpl.rc_context(_STYLE):
        fig = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(fig)
        return fig, fig.subplots(rows, columns, **subplots)


def legend(ax: Axes, **options: Any) -> Axes:
    """Add the legend, without an entry twice.

    Args:
        ax: Axes with labelled artists.
        **options: Passed to ``ax.legend``, such as ``loc="lower left"``.

    Returns:
        The same axes.
    """
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(reversed(labels), reversed(handles), strict=True))
    names = list(dict.fromkeys(labels))
    settings = {"fontsize": 10, "framealpha": 0.9, "edgecolor": "0.8", **options}
    ax.legend([unique[name] for name in names], names, **settings)
    return ax


# --- Pictures of the plane -----------------------------------------------------------------------


def contours(
    ax: Axes,
    f: Callable[[Tensor], Tensor],
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    *,
    levels: int | Sequence[float] = 12,
    spacing: str = "log",
    resolution: int = 161,
) -> Axes:
    """Draw grey contours of a function of two variables, and fix the limits of the axes.

    Args:
        ax: Axes to draw on.
        f: Maps a tensor of shape (2,), float64, to a 0-d tensor.
        xlim: Left and right end.
        ylim: Lower and upper end.
        levels: How many, or their values.
        spacing: "log": levels crowd at the smallest value seen, which shows a minimum; "linear":
            evenly, for surfaces unbounded below, such as saddles.
        resolution: Points a side at which ``f`` is evaluated.

    Returns:
        The same axes.

    Raises:
        ValueError: For another ``spacing``, or an ``f`` that is finite nowhere in the picture.

    Example:
        >>> _, ax = figure()
        >>> contours(ax, lambda x: x @ x, (-1, 1), (-1, 1)).get_xlim() == (-1, 1)
        True
    """
    if spacing not in ("log", "linear"):
        raise ValueError(f'spacing must be "log" or "linear", got {spacing!r}')
    x = torch.linspace(*xlim, resolution, dtype=torch.float64)
    y = torch.linspace(*ylim, resolution, dtype=torch.float64)
    grid = torch.cartesian_prod(x, y)
    try:
        values = torch.vmap(f)(grid)
    except RuntimeError:  # an f that branches on its value can't be vectorised
        values = torch.stack([f(point) for point in grid])
    z = np.ma.masked_invalid(values.detach().reshape(resolution, resolution).T.numpy())
    if z.count() == 0:
        raise ValueError("f must be finite somewhere between xlim and ylim")
    low, high = float(z.min()), float(z.max())
    if not isinstance(levels, int):
        heights = np.asarray(levels, dtype=float)
    elif spacing == "log":
        heights = low + (high - low) * np.geomspace(1e-4, 1, levels + 1)[:-1]
    else:
        heights = np.linspace(low, high, levels + 2)[1:-1]
    if high > low:
        ax.contour(
            x, y, z, levels=heights, colors="0.72", linewidths=0.8, negative_linestyles="solid"
        )
    ax.set(xlim=xlim, ylim=ylim)
    ax.set_xlabel("θ₁")
    ax.set_ylabel("θ₂", rotation=0, labelpad=10)
    return ax


def trajectory(ax: Axes, points: Any, method: Method, *, label: str | None = None) -> Axes:
    """Draw the path of a method, up to where it leaves the numbers one can draw.

    Args:
        ax: Axes, as a rule with contours, whose limits stay.
        points: The iterates, shape (steps + 1, 2).
        method: A method's name, or what ``arm_style`` returns.
        label: Entry in the legend instead of the method's name; "" for none.

    Returns:
        The same axes.

    Raises:
        ValueError: If the points are not pairs.
    """
    p = _numbers(points)
    if p.ndim != 2 or p.shape[1] != 2:
        raise ValueError(f"points must have shape (steps + 1, 2), got {p.shape}")
    wild = np.flatnonzero(~(np.abs(p) < 1e6).all(axis=1))
    p = p[: wild[0]] if wild.size else p
    limits = ax.get_xlim(), ax.get_ylim()
    ax.plot(p[:, 0], p[:, 1], zorder=3, **_resolve(method, label))
    if ax.collections:
        ax.set(xlim=limits[0], ylim=limits[1])
    return ax


def arrow(ax: Axes, origin: Any, vector: Any, method: Method, *, label: str | None = None) -> Axes:
    """Draw a vector, in the units of the data.

    Args:
        ax: Axes to draw on.
        origin: Where it starts, shape (2,).
        vector: The vector itself, shape (2,).
        method: A method's name, or what ``arm_style`` returns.
        label: Entry in the legend instead of the method's name; "" for none.

    Returns:
        The same axes.
    """
    resolved = _resolve(method, label)
    (x, y), (u, v) = _numbers(origin), _numbers(vector)
    edge: Any = {"edgecolor": "0.25", "linewidth": 0.8} if resolved["color"] in PALE else {}
    ax.quiver(
        x, y, u, v, angles="xy", scale_units="xy", scale=1, width=0.009, color=resolved["color"],
        zorder=4, **edge,
    )  # fmt: skip
    ax.plot([], [], color=resolved["color"], linewidth=3, label=resolved["label"])
    return ax


def start(ax: Axes, x: Any) -> Axes:
    """Mark where the methods start: an open circle.

    Args:
        ax: Axes to draw on.
        x: The point, shape (2,).

    Returns:
        The same axes.
    """
    return _mark(ax, x, "o", 9, "start", markerfacecolor="none", markeredgewidth=2)


def minimum(ax: Axes, x: Any) -> Axes:
    """Mark a minimum: a star.

    Args:
        ax: Axes to draw on.
        x: The point, shape (2,).

    Returns:
        The same axes.
    """
    return _mark(ax, x, "*", 16, "minimum", markeredgecolor="white")


def saddle_point(ax: Axes, x: Any) -> Axes:
    """Mark a saddle: a cross.

    Args:
        ax: Axes to draw on.
        x: The point, shape (2,).

    Returns:
        The same axes.
    """
    return _mark(ax, x, "X", 11, "saddle", markeredgecolor="white")


def _mark(ax: Axes, x: Any, marker: str, size: float, label: str, **options: Any) -> Axes:
    """Draw one black marker above the paths."""
    a, b = _numbers(x)
    ax.plot([a], [b], marker, color=BLACK, markersize=size, label=label, zorder=5, **options)
    return ax


# --- Curves -------------------------------------------------------------------------------------


def convergence(
    ax: Axes,
    x: Any,
    values: Any,
    method: Method,
    *,
    xlabel: str = "evaluations",
    ylabel: str = "J(θ) − J*",
    label: str | None = None,
) -> Axes:
    """Draw values that fall, on a logarithmic axis; what is not positive has no place on it.

    Args:
        ax: Axes to draw on.
        x: Evaluations, iterations or seconds, shape (points,).
        values: The values above the optimum, shape (points,).
        method: A method's name, or what ``arm_style`` returns.
        xlabel: What ``x`` counts, with its unit.
        ylabel: What the values are.
        label: Entry in the legend instead of the method's name; "" for none.

    Returns:
        The same axes.

    Raises:
        ValueError: If the lengths differ.
    """
    a, b = _numbers(x), _numbers(values)
    if a.shape != b.shape:
        raise ValueError(f"x and values must have the same length, got {a.shape} and {b.shape}")
    shown = np.where(np.isfinite(b) & (b > 0), b, np.nan)
    ax.plot(a, shown, markevery=max(1, a.size // 12), **_resolve(method, label))
    ax.set_yscale("log")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    return ax


def spectrum(ax: Axes, eigenvalues: Any, method: Method = "newton", *, label: str = "") -> Axes:
    """Draw eigenvalues by size on a logarithmic axis: filled if positive, open if negative.

    Args:
        ax: Axes to draw on.
        eigenvalues: Real eigenvalues, shape (n,), in any order; zeros are left out.
        method: A method's name, or what ``arm_style`` returns.
        label: Begins the entries in the legend.

    Returns:
        The same axes.
    """
    values = np.sort(_numbers(eigenvalues))[::-1]
    index = np.arange(1, values.size + 1)
    color = _resolve(method, None)["color"]
    name = f"{label}, " if label else ""
    for sign, fill, word in ((1, color, "positive"), (-1, "white", "negative")):
        at = sign * values > 0
        if at.any():
            ax.plot(
                index[at], np.abs(values[at]), "o", color=color, markerfacecolor=fill,
                markersize=5, label=f"{name}λ {word}",
            )  # fmt: skip
    ax.set_yscale("log")
    ax.set(xlabel="eigenvalue number, from the largest", ylabel="|λ|")
    return ax


def matrix(ax: Axes, values: Any, *, limit: float, title: str = "") -> Axes:
    """Draw the entries of a matrix as colours: purple positive, white zero, brown negative.

    Args:
        ax: Axes to draw on.
        values: The matrix, shape (rows, columns).
        limit: The size of an entry that has the full colour, > 0: one number for all matrices
            that are to be compared.
        title: What the matrix is.

    Returns:
        The same axes.

    Raises:
        ValueError: If ``values`` is no matrix, or the limit is not positive.

    Example:
        >>> _, ax = figure()
        >>> matrix(ax, [[1.0, 0.0], [0.0, 1.0]], limit=1.0).get_images()[0].get_clim()
        (-1.0, 1.0)
    """
    entries = _numbers(values)
    if entries.ndim != 2:
        raise ValueError(f"values must have shape (rows, columns), got {entries.shape}")
    if not limit > 0:
        raise ValueError(f"limit must be > 0, got {limit}")
    ax.imshow(entries, cmap="PuOr", vmin=-limit, vmax=limit, interpolation="nearest")
    ax.set(xticks=[], yticks=[], title=title)
    ax.grid(False)
    return ax


def power_law(
    ax: Axes,
    sizes: Any,
    times: Any,
    law: PowerLaw | float,
    *,
    method: Method = "newton",
    label: str = "measured",
    xlabel: str = "parameters k",
    ylabel: str = "seconds",
) -> Axes:
    """Draw measurements and a power law on two logarithmic axes.

    Args:
        ax: Axes to draw on.
        sizes: Sizes, shape (sizes,).
        times: Seconds or bytes, shape (sizes,) or (repeats, sizes): the median and its range.
        law: The fit of ``fit_exponent``, or an exponent to compare with.
        method: A method's name, or what ``arm_style`` returns.
        label: Begins the entry in the legend.
        xlabel: What the sizes count.
        ylabel: What was measured, with its unit.

    Returns:
        The same axes.
    """
    k, t = _numbers(sizes), np.atleast_2d(_numbers(times))
    middle = np.median(t, axis=0)
    shown = {**_resolve(method, None), "linestyle": "none"}
    exponent = law.exponent if isinstance(law, PowerLaw) else law
    if isinstance(law, PowerLaw):
        line = np.array([law(size) for size in k])
    else:
        line = np.exp(np.log(middle).mean() + law * (np.log(k) - np.log(k).mean()))
    ax.plot(k, middle, **{**shown, "label": f"{label} ($k^{{{exponent:.2f}}}$)"})
    if t.shape[0] > 1:
        ax.vlines(k, t.min(axis=0), t.max(axis=0), color=shown["color"], linewidth=1.2)
    ax.plot(k, line, "--", color=shown["color"], linewidth=1.2)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(k, [f"{size:g}" for size in k])
    ax.minorticks_off()
    ax.set(xlabel=xlabel, ylabel=ylabel)
    return ax


def strip(
    ax: Axes, groups: Mapping[str, Any], *, xlabel: str = "", ylabel: str = "", log: bool = False
) -> Axes:
    """Draw every seed as a dot, and each group's mean ± standard deviation beside it.

    Args:
        ax: Axes to draw on.
        groups: Arm → its measurements, shape (seeds,). A method's name brings its colour. What
            isn't finite is counted in the arm's label as diverged.
        xlabel: What was measured, with its unit: the arms stand below one another.
        ylabel: The same, for arms that stand side by side.
        log: A logarithmic axis, with mean and standard deviation of the logarithms; what isn't
            positive is left out.

    Returns:
        The same axes.

    Raises:
        ValueError: Unless one of the labels is given.
    """
    if bool(xlabel) == bool(ylabel):
        raise ValueError(f"strip needs xlabel or ylabel, got {xlabel!r} and {ylabel!r}")
    upright = bool(ylabel)
    names = []
    for row, (name, measured) in enumerate(groups.items()):
        style = method_style(name) if name in _METHODS else arm_style(row % 5, name)
        values = _numbers(measured)
        finite = values[np.isfinite(values)]
        shown = finite[finite > 0] if log else finite
        dots = {**style, "linestyle": "none", "label": "_", "markersize": 6, "alpha": 0.75}
        places = shown, np.full(shown.size, row - 0.12)
        ax.plot(*(reversed(places) if upright else places), **dots)
        if shown.size:
            mean, spread = _interval(shown, log)
            bar: Any = {"color": BLACK, "markersize": 9, "capsize": 3}
            if upright:
                ax.errorbar(row + 0.2, mean, yerr=spread, fmt="_", **bar)
            else:
                ax.errorbar(mean, row + 0.2, xerr=spread, fmt="|", **bar)
        lost = values.size - finite.size
        names.append(style["label"] + (f"\n({lost} diverged)" if lost else ""))
    if log:
        (ax.set_yscale if upright else ax.set_xscale)("log")
    ends = (-0.5, len(names) - 0.5)
    if upright:
        names = [name.replace("–", "–\n").replace(" ", "\n", 1) for name in names]
        ax.set_xticks(range(len(names)), names)
        ax.set(xlim=ends, ylabel=ylabel)
    else:
        ax.set_yticks(range(len(names)), names)
        ax.set(ylim=ends[::-1], xlabel=xlabel)
    return ax


def _interval(values: npt.NDArray[np.float64], log: bool) -> tuple[float, list[list[float]]]:
    """Return the mean and how far the interval reaches below and above it."""
    if not log:
        summary = mean_and_spread(values)
        return summary.mean, [[summary.std], [summary.std]]
    summary = mean_and_spread(np.log(values))
    middle = math.exp(summary.mean)
    factor = math.exp(summary.std)
    return middle, [[middle - middle / factor], [middle * factor - middle]]


# --- Delivery -----------------------------------------------------------------------------------


def pixels(fig: Figure, layout: list[Any] | None = None) -> npt.NDArray[np.uint8]:
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
    buffer = io.BytesIO()
    Image.fromarray(pixels(fig)).save(buffer, "WEBP", lossless=True, quality=80, method=4)
    card = figure_html(data_uri(buffer.getvalue()), alt, caption, round(fig.get_figwidth() * 96))
    display(Card(card, f"Figure: {alt}"))


def _numbers(values: Any) -> npt.NDArray[np.float64]:
    """Return float64 numbers, from tensors, too."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    elif isinstance(values, Sequence) and any(isinstance(v, Tensor) for v in values):
        values = [v.detach().cpu().numpy() if isinstance(v, Tensor) else v for v in values]
    return np.asarray(values, dtype=np.float64)
