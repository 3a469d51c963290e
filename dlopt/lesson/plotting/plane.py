"""Pictures of the plane: contours, the paths of methods, and marks at points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from dlopt.lesson.arrays import as_array
from dlopt.lesson.plotting.style import BLACK, PALE, Method, resolve


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
        >>> from dlopt.lesson import plotting
        >>> _, ax = plotting.figure()
        >>> plotting.contours(ax, lambda x: x @ x, (-1, 1), (-1, 1)).get_xlim() == (-1, 1)
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
    z = np.ma.masked_invalid(as_array(values).reshape(resolution, resolution).T)
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
    p = as_array(points)
    if p.ndim != 2 or p.shape[1] != 2:
        raise ValueError(f"points must have shape (steps + 1, 2), got {p.shape}")
    wild = np.flatnonzero(~(np.abs(p) < 1e6).all(axis=1))
    p = p[: wild[0]] if wild.size else p
    limits = ax.get_xlim(), ax.get_ylim()
    ax.plot(p[:, 0], p[:, 1], zorder=3, **resolve(method, label))
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
    resolved = resolve(method, label)
    (x, y), (u, v) = as_array(origin), as_array(vector)
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
    a, b = as_array(x)
    ax.plot([a], [b], marker, color=BLACK, markersize=size, label=label, zorder=5, **options)
    return ax
