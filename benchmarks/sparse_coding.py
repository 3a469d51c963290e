"""Sparse coding beside scikit-learn, celer and skglm: ``python -m benchmarks sparse_coding``.

On 300 random digits of 8 by 8 pixels, centred, and 40 atoms. First codes for a fixed dictionary:
each way runs at a row of tolerances, and what counts is the time at which the largest relative
duality gap of its codes, computed here for all alike, is below a target. Then whole dictionaries,
of several draws of digits: the objective at the end and the time. All take turns; what is stored
are curves, quartiles of the ratios of times in a round, and the outcome of each seed. celer and
skglm are left out where they aren't installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import DictionaryLearning
from sklearn.linear_model import Lasso

from benchmarks import results
from benchmarks.overhead import quartiles
from dlopt.sparse_codes import sparse_codes
from dlopt.sparse_coding import SparseCoding

PART = "sparse_coding"
BASE = "scikit-learn"
SAMPLES, ATOMS, ALPHA = 300, 40, 0.5
SHARES = (0.5, 0.1, 0.02)
TARGETS = (1e-4, 1e-6)
# Half a decade each; scikit-learn and celer measure the gap by ‖x‖², which is twice the unit here.
TOLERANCES = tuple(float(f"{10 ** (-k / 2):.2g}") for k in range(2, 15))
ROUNDS, DRAWS, SEEDS = 5, 4, 5
Array = NDArray[np.float64]
Way = Callable[[Array, Array, float, float], Array]


def data(draw: int = 0) -> Array:
    """Some of the digits, shape (300, 64)."""
    digits = load_digits().data / 16
    X = digits[np.random.default_rng(draw).permutation(len(digits))[:SAMPLES]]
    return np.ascontiguousarray(X - X.mean(0))


def dlopt_codes(X: Array, W: Array, alpha: float, tol: float) -> Array:
    """Ours, done at a relative gap of ``tol``."""
    found = sparse_codes(torch.from_numpy(X), torch.from_numpy(W), alpha, gap_tol=tol)
    return found.H.numpy()


def lasso_cd(X: Array, W: Array, alpha: float, tol: float) -> Array:
    """As scikit-learn's ``sparse_encode`` calls its coordinate descent, with a tolerance."""
    model = Lasso(
        alpha / W.shape[1], fit_intercept=False, precompute=W @ W.T, tol=tol / 2, max_iter=10**6
    )
    codes: Array = model.fit(W.T, X.T).coef_
    return codes


def one_by_one(module: str, unit: float) -> Way:
    """The Lasso of another library, a sample at a time, with tolerances ``unit`` as large."""

    def codes(X: Array, W: Array, alpha: float, tol: float) -> Array:
        lasso = importlib.import_module(module).Lasso
        model = lasso(alpha / W.shape[1], fit_intercept=False, tol=unit * tol, max_iter=1000)
        atoms = np.asfortranarray(W.T)
        return np.stack([model.fit(atoms, x).coef_ for x in X])

    return codes


def ways() -> dict[str, Way]:
    """What is installed here."""
    # skglm bounds how far the slopes are from the optimality conditions, in units of its own.
    others = {"celer": one_by_one("celer", 0.5), "skglm": one_by_one("skglm", 1e-2)}
    found = {name: way for name, way in others.items() if importlib.util.find_spec(name)}
    return {BASE: lasso_cd, "dlopt": dlopt_codes, **found}


def largest_gap(X: Array, W: Array, H: Array, alpha: float) -> float:
    r"""The largest duality gap of a sample, over :math:`\tfrac12\|x\|^2`."""
    R = X - H @ W
    scale = np.minimum(1, alpha / np.abs(R @ W.T).max(1))
    squares = (R**2).sum(1)
    primal = 0.5 * squares + alpha * np.abs(H).sum(1)
    dual = scale * (X * R).sum(1) - 0.5 * scale**2 * squares
    return float(((primal - dual) / (0.5 * (X**2).sum(1))).max())


def curve(way: Way, X: Array, W: Array, alpha: float) -> list[tuple[float, float]]:
    """Seconds and the largest gap at each tolerance, to the first below all targets and beyond."""
    out = []
    for tol in TOLERANCES:
        start = time.perf_counter()
        H = way(X, W, alpha, tol)
        out.append((time.perf_counter() - start, largest_gap(X, W, H, alpha)))
    return out


def seconds_to(found: Sequence[tuple[float, float]], target: float) -> float | None:
    """The time of the loosest tolerance at which the gap is below the target.

    >>> seconds_to([(0.1, 1e-2), (0.3, 2e-4), (0.4, 8e-5), (0.5, 9e-5)], 1e-4)
    0.4
    """
    return next((seconds for seconds, gap in found if gap <= target), None)


def codes_of(X: Array, W: Array, contestants: dict[str, Way]) -> dict[str, Any]:
    """Curves and ratios of times for each penalty."""
    out: dict[str, Any] = {}
    for share in SHARES:
        alpha = share * float(np.abs(X @ W.T).max())
        turns = [
            {name: curve(way, X, W, alpha) for name, way in contestants.items()}
            for _ in range(ROUNDS + 1)
        ][1:]
        curves = {
            name: [
                [_short(statistics.median(t[name][k][0] for t in turns)), _short(gap)]
                for k, (_, gap) in enumerate(turns[0][name])
            ]
            for name in contestants
        }
        ratios: dict[str, dict[str, list[float] | None]] = {}
        for target in TARGETS:
            times = [{n: seconds_to(found, target) for n, found in turn.items()} for turn in turns]
            ratios[f"{target:g}"] = {
                name: quartiles([t[name] / t[BASE] for t in times])  # type: ignore[operator]
                if all(t[name] for t in times)
                else None
                for name in contestants
                if name != BASE
            }
        out[str(share)] = {"curves": curves, "ratios": ratios}
        print(f"λ = {share:4} λmax: {ratios}", flush=True)
    return out


def learning(X: Array, seeds: Sequence[int]) -> dict[str, Any]:
    """Dictionaries for several seeds: the objective at their best codes, and seconds."""
    estimators: dict[str, Callable[[int], Any]] = {
        BASE: lambda seed: DictionaryLearning(
            ATOMS, alpha=ALPHA, fit_algorithm="cd", max_iter=300, random_state=seed
        ),
        "dlopt": lambda seed: SparseCoding(ATOMS, ALPHA, seed),
    }
    found: dict[str, Any] = {name: {"objective": [], "seconds": []} for name in estimators}
    for seed in seeds:
        for name, estimator in estimators.items():
            start = time.perf_counter()
            model = estimator(seed).fit(X)
            seconds = time.perf_counter() - start
            W = model.components_
            H = dlopt_codes(X, W, ALPHA, 1e-8)
            value = float(0.5 * ((X - H @ W) ** 2).sum() + ALPHA * np.abs(H).sum())
            found[name]["objective"].append(round(value, 2))
            found[name]["seconds"].append(round(seconds, 2))
    print(found, flush=True)
    return found


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def measure(names: Sequence[str], workers: int) -> None:
    """Time all ways (``names`` and ``workers`` are for the parts that count), print and store."""
    del names, workers
    warnings.simplefilter("ignore")
    X = data()
    W = SparseCoding(ATOMS, ALPHA, 0).fit(X).components_
    contestants = ways()
    optional = {name: version(name) for name in ("celer", "skglm") if name in contestants}
    found = {"optional": optional, "codes": codes_of(X, W, contestants)}
    learned = {str(draw): learning(data(draw), range(SEEDS)) for draw in range(DRAWS)}
    results.save(PART, {**found, "learning": learned})
