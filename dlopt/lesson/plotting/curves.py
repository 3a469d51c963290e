"""Curves, spectra, matrices, power laws, and results seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dlopt.lesson.arrays import Array, as_array
from dlopt.lesson.evidence import PowerLaw, mean_and_spread
from dlopt.lesson.plotting.style import BLACK, METHODS, Method, arm_style, method_style, resolve


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
    a, b = as_array(x), as_array(values)
    if a.shape != b.shape:
        raise ValueError(f"x and values must have the same length, got {a.shape} and {b.shape}")
    shown = np.where(np.isfinite(b) & (b > 0), b, np.nan)
    ax.plot(a, shown, markevery=max(1, a.size // 12), **resolve(method, label))
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
    values = np.sort(as_array(eigenvalues))[::-1]
    index = np.arange(1, values.size + 1)
    color = resolve(method, None)["color"]
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
        >>> from dlopt.lesson import plotting
        >>> _, ax = plotting.figure()
        >>> plotting.matrix(ax, [[1.0, 0.0], [0.0, 1.0]], limit=1.0).get_images()[0].get_clim()
        (-1.0, 1.0)
    """
    entries = as_array(values)
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
    k, t = as_array(sizes), np.atleast_2d(as_array(times))
    middle = np.median(t, axis=0)
    shown = {**resolve(method, None), "linestyle": "none"}
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
        style = method_style(name) if name in METHODS else arm_style(row % 5, name)
        values = as_array(measured)
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


def _interval(values: Array, log: bool) -> tuple[float, list[list[float]]]:
    """Return the mean and how far the interval reaches below and above it."""
    if not log:
        summary = mean_and_spread(values)
        return summary.mean, [[summary.std], [summary.std]]
    summary = mean_and_spread(np.log(values))
    middle = math.exp(summary.mean)
    factor = math.exp(summary.std)
    return middle, [[middle - middle / factor], [middle * factor - middle]]
