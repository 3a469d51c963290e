"""Comparing counts: performance profiles, and ratios that no single problem can dominate."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

Counts = Sequence[int | None]  # evaluations, one entry a problem; None where it was not solved


def performance_profile(counts: Mapping[str, Counts]) -> dict[str, list[tuple[float, float]]]:
    r"""The share of problems that a solver solves with at most τ times the fewest evaluations.

    .. math:: \rho_s(\tau) = \frac1{|P|}\,\Bigl|\Bigl\{p \in P :
              n_{p,s} \le \tau \min_{s'} n_{p,s'}\Bigr\}\Bigr|

    E. D. Dolan and J. J. Moré, Mathematical Programming 91 (2002). Problems that nobody solves are
    in P, too.

    Args:
        counts: Solver → its evaluations on the same problems in the same order.

    Returns:
        Solver → the corners (τ, ρ(τ)) of the step function, by τ, at most one for each τ.

    Example:
        >>> performance_profile({"a": [10, 10, None, None], "b": [20, 5, 7, None]})
        {'a': [(1.0, 0.25), (2.0, 0.5)], 'b': [(1.0, 0.5), (2.0, 0.75)]}
    """
    columns = list(zip(*counts.values(), strict=True))
    fewest = [min((n for n in column if n is not None), default=0) for column in columns]
    out = {}
    for name, own in counts.items():
        ratios = sorted(n / m for n, m in zip(own, fewest, strict=True) if n is not None)
        out[name] = [
            (tau, (k + 1) / len(columns))
            for k, tau in enumerate(ratios)
            if ratios[k + 1 : k + 2] != [tau]
        ]
    return out


def median_ratio(own: Counts, others: Counts) -> float:
    """The median of own/others over the problems that both solve.

    >>> median_ratio([1, 4, 9, None], [2, 4, None, 7])
    0.75
    """
    return statistics.median(
        n / m for n, m in zip(own, others, strict=True) if n is not None and m is not None
    )


def on_common(counts: Mapping[str, Counts]) -> tuple[int, dict[str, int]]:
    """The number of problems that all solve, and each solver's evaluations on those.

    >>> on_common({"a": [1, 4, None], "b": [2, 3, 5]})
    (2, {'a': 5, 'b': 5})
    """
    columns = [column for column in zip(*counts.values(), strict=True) if None not in column]
    sums = [sum(column) for column in zip(*columns, strict=True)] or [0] * len(counts)
    return len(columns), dict(zip(counts, sums, strict=True))
