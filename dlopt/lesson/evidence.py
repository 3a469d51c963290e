"""The small statistics that an honest verdict needs, and a table to show them in."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from dlopt.lesson.arrays import Array, as_array
from dlopt.lesson.display import Card, require_text, table_html


@dataclass(frozen=True)
class Summary:
    """Mean and spread of one number over seeds; its text is rounded for evidence."""

    mean: float
    std: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        spread = f" ± {self.std:.2g}" if self.count > 1 else ""
        return f"{self.mean:.3g}{spread} (n = {self.count})"


def mean_and_spread(values: npt.ArrayLike) -> Summary:
    """Summarise one measurement over seeds.

    Args:
        values: One number per seed, shape (seeds,); a sequence, array or tensor.

    Returns:
        Mean, sample standard deviation (0 for a single value), smallest, largest and count.

    Raises:
        ValueError: If there is none, or one isn't finite: diverged runs are counted apart.

    Example:
        >>> print(mean_and_spread([0.9, 0.92, 0.94]))
        0.92 ± 0.02 (n = 3)
    """
    v = _vector("values", values)
    if not np.isfinite(v).all():
        raise ValueError(f"values must be finite (count diverged runs apart), got {v.tolist()}")
    std = float(v.std(ddof=1)) if v.size > 1 else 0.0
    return Summary(float(v.mean()), std, float(v.min()), float(v.max()), v.size)


@dataclass(frozen=True)
class Wins:
    """How often ``a`` beat ``b`` on the same seed; its text is rounded for evidence."""

    wins: int
    ties: int
    losses: int
    difference: Summary | None

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return self.wins + self.ties + self.losses

    def __str__(self) -> str:
        text = f"{self.wins} of {self.pairs} wins"
        if self.ties:
            text += f", {self.ties} tied"
        if self.difference is None:
            return text
        return f"{text}, difference {self.difference}"


def paired_wins(a: npt.ArrayLike, b: npt.ArrayLike, *, smaller_is_better: bool = True) -> Wins:
    """Compare two arms seed by seed.

    Args:
        a: The first arm's results, shape (seeds,). NaN is a run that diverged: it loses.
        b: The second arm's results on the same seeds, shape (seeds,).
        smaller_is_better: True for losses, False for accuracies.

    Returns:
        Wins of ``a``, ties, losses, and the mean and spread of a − b over the pairs in which
        both are finite (None without such a pair).

    Raises:
        ValueError: If the shapes differ or are empty.

    Example:
        >>> print(paired_wins([0.1, 0.2, 0.3], [0.2, 0.4, 0.3]))
        2 of 3 wins, 1 tied, difference -0.1 ± 0.1 (n = 3)
    """
    first, second = _vector("a", a), _vector("b", b)
    if first.shape != second.shape:
        raise ValueError(f"a and b must have the same length, got {first.size} and {second.size}")
    worst = math.inf if smaller_is_better else -math.inf
    scored_a, scored_b = (np.where(np.isnan(v), worst, v) for v in (first, second))
    sign = 1 if smaller_is_better else -1
    wins = int((sign * scored_a < sign * scored_b).sum())
    ties = int((scored_a == scored_b).sum())
    both = np.isfinite(first) & np.isfinite(second)
    difference = mean_and_spread(first[both] - second[both]) if both.any() else None
    return Wins(wins, ties, first.size - wins - ties, difference)


def convergence_orders(errors: npt.ArrayLike, *, floor: float | None = None) -> list[float]:
    r"""Estimate the order of convergence from three successive errors each.

    .. math:: p_k = \frac{\log(e_{k+1} / e_k)}{\log(e_k / e_{k-1})},

    which tends to 1 for linear and to 2 for quadratic convergence.

    Args:
        errors: The errors e_k ≥ 0 of successive iterates, shape (steps + 1,).
        floor: Errors at or below it are rounding and are left out, with all that follow;
            the default is 1e-13 times the largest.

    Returns:
        The orders p_k in the iterates' order. The last ones tell: the rate is a local one.
        Triples in which the error doesn't fall give none.

    Raises:
        ValueError: If there is no error, or one is negative or not finite.

    Example:
        >>> [round(p, 2) for p in convergence_orders([1e-1, 1e-2, 1e-4, 1e-8, 1e-17])]
        [2.0, 2.0]
    """
    e = _vector("errors", errors)
    if not (np.isfinite(e).all() and (e >= 0).all()):
        raise ValueError(f"errors must be finite and >= 0, got {e.tolist()}")
    limit = 1e-13 * float(e.max()) if floor is None else floor
    lost = np.flatnonzero(e <= limit)
    logs = np.log(e[: lost[0]] if lost.size else e)
    steps = np.diff(logs)
    return [float(after / before) for before, after in pairwise(steps) if before < 0 and after < 0]


@dataclass(frozen=True)
class PowerLaw:
    """The fit time = factor · size^exponent, with the exponent's spread."""

    exponent: float
    error: float
    factor: float

    def __call__(self, size: float) -> float:
        """Return the time that the fit predicts for ``size``."""
        return float(self.factor * size**self.exponent)

    def __str__(self) -> str:
        return f"exponent {self.exponent:.2f} ± {self.error:.2f}"


def fit_exponent(sizes: npt.ArrayLike, times: npt.ArrayLike) -> PowerLaw:
    r"""Fit the power law time = c · size^p by least squares of the logarithms.

    .. math:: \log t = \log c + p \log k

    Args:
        sizes: The sizes k > 0, shape (sizes,); at least two different ones.
        times: The times t > 0, shape (sizes,), or (repeats, sizes) for repeated measurements.

    Returns:
        The exponent, its spread and the factor. With repeats, one fit each: their means, and the
        sample standard deviation of the exponents; without, the standard error of the slope.

    Raises:
        ValueError: If shapes disagree, a number is not finite and positive, or two sizes lack.

    Example:
        >>> law = fit_exponent([100, 200, 400], [1e-3, 8e-3, 64e-3])
        >>> round(law.exponent, 6), round(law(800), 6)
        (3.0, 0.512)
    """
    k, t = _vector("sizes", sizes), np.atleast_2d(as_array(times))
    if t.ndim != 2 or t.shape[1] != k.size or t.shape[0] == 0:
        raise ValueError(
            f"times must have shape ({k.size},) or (repeats, {k.size}), got {np.shape(times)}"
        )
    for name, array in (("sizes", k), ("times", t)):
        if not (np.isfinite(array).all() and (array > 0).all()):
            raise ValueError(f"{name} must be finite and > 0, got {array.tolist()}")
    if np.unique(k).size < 2:
        raise ValueError(f"sizes must hold at least two different ones, got {k.tolist()}")
    x, y = np.log(k) - np.log(k).mean(), np.log(t)
    slopes = y @ x / (x @ x)
    factors = np.exp(y.mean(axis=1) - slopes * np.log(k).mean())
    if len(slopes) > 1:
        error = float(slopes.std(ddof=1))
    else:
        residual = y[0] - y[0].mean() - slopes[0] * x
        error = math.sqrt(residual @ residual / max(k.size - 2, 1) / (x @ x))
    return PowerLaw(float(slopes.mean()), error, float(np.exp(np.log(factors).mean())))


def table(caption: str, rows: Sequence[Mapping[str, object]]) -> Card:
    """Show measurements as a table: the last expression of the cell before a claim.

    Args:
        caption: What the table shows; plain text.
        rows: One mapping a row, with the same keys, the columns' heads. Floats are rounded to
            three digits, everything else shows as its text.

    Returns:
        A table that displays itself, as HTML and as text.

    Raises:
        ValueError: If there is no row, or two rows have different keys.

    Example:
        >>> table("Error after one step", [{"condition": 10, "error": 4.441e-16}])
        Error after one step
        condition     error
               10  4.44e-16
    """
    require_text("caption", caption)
    if not rows or not rows[0]:
        raise ValueError("rows must hold at least one row with one column, got none")
    heads = list(rows[0])
    for row in rows:
        if list(row) != heads:
            raise ValueError(f"every row must have the columns {heads}, got {list(row)}")
    cells = [[_cell(row[head]) for head in heads] for row in rows]
    lines = [heads, *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    markup = table_html(caption, heads, [[html.escape(cell) for cell in row] for row in cells])
    return Card(markup, f"{caption}\n{text}")


def _cell(value: object) -> str:
    """Return a cell's text; floats, also NumPy's and 0-d tensors, with three digits."""
    scalar = value.item() if hasattr(value, "item") else value
    return f"{scalar:.3g}" if isinstance(scalar, float) else str(scalar)


def _vector(name: str, values: npt.ArrayLike) -> Array:
    """Return a non-empty 1-D float64 array."""
    array = as_array(values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be one-dimensional and not empty, got shape {array.shape}")
    return array
