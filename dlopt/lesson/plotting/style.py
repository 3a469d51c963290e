"""One colour, dash and marker for each method throughout the book.

Seven colours are those of Okabe and Ito, two are Paul Tol's: told apart by colour-blind readers.
The two that are pale on white are drawn with a dark edge. Methods that share a colour differ in
their dash: solid, dashed or dotted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib import patheffects
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLACK, BLUE, VERMILLION, GREEN, PURPLE = "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INDIGO, WINE = "#332288", "#882255"
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
    "adam": (BLACK, "s", "-", "Adam"),
    "newton": (BLUE, "D", "-", "Newton"),
    "truncated_newton": (INDIGO, "P", "--", "truncated Newton"),
    "damped_newton": (SKY, "d", "-", "damped Newton"),
    "levenberg_marquardt": (WINE, "v", "--", "Levenberg–Marquardt"),
    "conjugate_gradient": (GREEN, "X", "-", "conjugate gradient"),
    "fletcher_reeves": (ORANGE, "<", "--", "Fletcher–Reeves"),
    "polak_ribiere": (WINE, ">", "-", "Polak–Ribière"),
    "polak_ribiere_plus": (INDIGO, "H", "-", "Polak–Ribière+"),
    "bfgs": (PURPLE, "h", "-", "BFGS"),
    "lbfgs": (SKY, "p", "--", "L-BFGS"),
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


def resolve(method: Method, label: str | None) -> dict[str, Any]:
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
        >>> fig, (left, right) = figure(columns=2)
        >>> left.figure is fig
        True
    """
    with mpl.rc_context(_STYLE):
        fig = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(fig)
        return fig, fig.subplots(rows, columns, **subplots)
