"""The tables of the benchmarks' page, and the list of what others do better, from the results.

A table is its head and its rows. A cell is a text, or a text with the value that makes it the best
of its row: the least one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.profiles import median_ratio, on_common
from benchmarks.results import FAMILIES, load

Cell = str | tuple[str, float | None]
Table = tuple[list[str], list[list[Cell]]]
NONE = "–"
HESSIAN_WAYS = {"batched": "dlopt / one batched pass", "loop": "dlopt / one pass a row"}
REPLICAS_WAYS = {"train": "train", "by hand": "by hand", "vmap": "vmap", "dlopt": "train_many"}
BATCH_NORM_WAYS = ("dlopt", "autograd")
AVERAGING_WAYS = ("dlopt", "one by one")


# --- Numbers as text ------------------------------------------------------------------------------


def thousands(number: float) -> str:
    """A whole number with narrow spaces.

    >>> thousands(12345.4)
    '12\u202f345'
    """
    return f"{number:,.0f}".replace(",", "\u202f")


def solved(counts: Sequence[int | None]) -> int:
    """How many problems were solved."""
    return sum(n is not None for n in counts)


def spent(counts: Sequence[int | None]) -> int:
    """The evaluations on those."""
    return sum(n for n in counts if n is not None)


def mean_and_range(values: Sequence[float], text: Callable[[float], str] = thousands) -> str:
    """The mean, and the extremes where they differ.

    >>> mean_and_range([1, 2, 3]), mean_and_range([40, 40])
    ('2 (1–3)', '40')
    """
    low, high = min(values), max(values)
    mean = statistics.fmean(values)
    if low == high:
        return text(mean)
    shown = f"{mean:.1f}" if high < 100 and mean != round(mean) else text(mean)
    return f"{shown} ({text(low)}–{text(high)})"


# --- What a page can show -------------------------------------------------------------------------


def solvers(part: str, family: str) -> dict[str, Any]:
    """The results of a family's solvers, ours first."""
    found = load(part)["solvers"]
    return {name: found[name] for name in FAMILIES[family] if name in found}


def mgh_table(family: str) -> Table:
    """A family on the Moré-Garbow-Hillstrom set: a row a measure, a column a solver."""
    runs = solvers("mgh", family)
    reference = FAMILIES[family][1]
    tight = {name: run["tight"] for name, run in runs.items()}
    common, sums = on_common(tight)

    def row(label: str, cell: Callable[[str], tuple[str, float | None]]) -> list[Cell]:
        return [label, *(cell(name) for name in runs)]

    def ratio(name: str) -> tuple[str, float | None]:
        value = median_ratio(tight[name], tight[reference])
        return f"{value:.2f}", value

    def total(label: str, key: str) -> list[list[Cell]]:
        met = {name: [solved(c) for c in run[key]] for name, run in runs.items()}
        sums = {name: [spent(c) for c in run[key]] for name, run in runs.items()}
        return [
            row(f"{label}: solved", lambda s: (mean_and_range(met[s]), -statistics.fmean(met[s]))),
            row("evaluations on these", lambda s: (mean_and_range(sums[s]), None)),
        ]

    rows = [
        row("Solved, tight", lambda s: (str(solved(tight[s])), -solved(tight[s]))),
        row("evaluations on these", lambda s: (thousands(spent(tight[s])), None)),
        row(f"evaluations on the {common} that all solve", lambda s: (thousands(sums[s]), sums[s])),
        row(f"median ratio to {reference}", ratio),
        row(
            "Solved, own defaults",
            lambda s: (str(sum(runs[s]["defaults"])), -sum(runs[s]["defaults"])),
        ),
        *total("Perturbed starts", "perturbed"),
        *total("Rotated variables", "rotated"),
    ]
    for k, factor in enumerate(load("mgh")["factors"]):
        rows.append(
            row(
                f"10{superscript(factor)}·f: solved, evaluations",
                lambda s, k=k: (  # type: ignore[misc]
                    f"{solved(runs[s]['scaled'][k])}, {thousands(spent(runs[s]['scaled'][k]))}",
                    None,
                ),
            )
        )
    return ["", *runs], rows


def superscript(factor: float) -> str:
    """The exponent of a power of ten.

    >>> superscript(1e-6)
    '⁻⁶'
    """
    digits = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return f"{factor:.0e}".partition("e")[2].replace("+", "").replace("0", "").translate(digits)


def larger_table(family: str) -> Table:
    """A family on the larger problems: a row a problem, a column a solver."""
    data = load("larger")
    runs = solvers("larger", family)
    rows: list[list[Cell]] = []
    for key, about in data["problems"].items():
        if not any(key in run for run in runs.values()):
            continue
        row: list[Cell] = [about["name"]]
        for run in runs.values():
            count = run.get(key)
            text = "too large" if key not in run else "not met" if count is None else str(count)
            row.append((text, count))
        rows.append(row)
    return ["Evaluations to the target", *runs], rows


def problem_table() -> Table:
    """The larger problems themselves."""
    problems = load("larger")["problems"].values()
    rows: list[list[Cell]] = [
        [about["name"], thousands(about["variables"]), about["target"]] for about in problems
    ]
    return ["Problem", "Variables", "Target"], rows


def quartile_cell(found: Sequence[float] | None) -> tuple[str, float | None]:
    """A median with its quartiles.

    >>> quartile_cell([0.412, 0.5, 0.61]), quartile_cell([101.0, 123.0, 140.0])
    (('0.50 (0.41–0.61)', 0.5), ('123 (101–140)', 123.0))
    """
    if found is None:
        return NONE, None
    digits = 2 if found[1] < 10 else 1 if found[1] < 100 else 0
    low, middle, high = (f"{value:.{digits}f}" for value in found)
    return f"{middle} ({low}–{high})", found[1]


def overhead_table(to: str) -> Table:
    """L-BFGS's overhead as a ratio: a row an implementation, a column a size."""
    sizes = load("overhead")["sizes"]
    key = f"to {to}"
    arms = [arm for arm in next(iter(sizes.values()))[key] if arm != "one pass"]
    rows: list[list[Cell]] = [
        [arm, *(quartile_cell(size[key][arm])[0] for size in sizes.values())] for arm in arms
    ]
    return ["Overhead per iteration", *(f"n = {thousands(int(n))}" for n in sizes)], rows


def dense_table() -> Table:
    """The time of an iteration of the dense BFGS methods."""
    found = load("overhead")["BFGS"]
    head = ["Time per iteration, over dlopt BFGS", *(f"n = {thousands(int(n))}" for n in found)]
    names = next(iter(found.values()))
    rows: list[list[Cell]] = [
        [name, *(quartile_cell(size[name])[0] for size in found.values())] for name in names
    ]
    return head, rows


def ratio_table(part: str, first: str, ways: Mapping[str, str]) -> Table:
    """Ratios of times, a row for each case, a column for each way."""
    rows: list[list[Cell]] = []
    for case, ratios in load(part)["cases"].items():
        cells = [quartile_cell(ratios.get(way))[0] for way in ways]
        rows.append([thousands(int(case)) if case.isdigit() else case, *cells])
    return [first, *ways.values()], rows


def batch_norm_table() -> Table:
    """Times over those of PyTorch's kernel, then activations kept for the backward pass."""
    found = load("batch_norm")
    rows: list[list[Cell]] = []
    for case, kept in found["memory"].items():
        times = [quartile_cell(found["cases"][case][way])[0] for way in BATCH_NORM_WAYS]
        rows.append([case, *times, *(f"{kept[way]:.3g}" for way in ("torch", *BATCH_NORM_WAYS))])
    head = [f"time of {way}" for way in BATCH_NORM_WAYS]
    return ["H", *head, *(f"{way} keeps" for way in ("torch", *BATCH_NORM_WAYS))], rows


def averaging_table() -> Table:
    """Times of an update over those of PyTorch's foreach form, then copies of the parameters."""
    found = load("averaging")
    rows: list[list[Cell]] = []
    for case, kept in found["memory"].items():
        n, rest = case.split(" ", 1)
        times = found["cases"][case]
        cells = [quartile_cell(times[way])[0] for way in AVERAGING_WAYS]
        spent = f"{times['microseconds'][1]:,.0f} µs"
        held = (f"{kept[way]:.3g}" for way in ("dlopt", "foreach"))
        rows.append([f"{thousands(int(n))} {rest}", *cells, spent, *held])
    head = [f"time of {way}" for way in AVERAGING_WAYS]
    return ["Parameters", *head, "dlopt takes", "dlopt holds", "foreach holds"], rows


def codes_table() -> Table:
    """Times to a duality gap over those of scikit-learn: a row for each penalty and target."""
    found = load("sparse_coding")
    names = next(iter(next(iter(found["codes"].values()))["ratios"].values()))
    rows: list[list[Cell]] = [
        [f"λ = {share} λmax, gap {target}", *(quartile_cell(ratios[name])[0] for name in names)]
        for share, case in found["codes"].items()
        for target, ratios in case["ratios"].items()
    ]
    versions = found["optional"]
    return [
        "Time to the gap",
        *(f"{name} {versions.get(name, '')}".strip() for name in names),
    ], rows


def dictionaries_table() -> Table:
    """Learned dictionaries: the objective at the end for each draw of digits, and seconds."""

    def cell(values: Sequence[float]) -> tuple[str, float]:
        low, middle, high = min(values), statistics.median(values), max(values)
        return f"{middle:.1f} ({low:.1f}–{high:.1f})", middle

    draws = load("sparse_coding")["learning"].values()
    names = list(next(iter(draws)))
    rows: list[list[Cell]] = [
        [f"objective, draw {k}", *(cell(draw[name]["objective"]) for name in names)]
        for k, draw in enumerate(draws, 1)
    ]
    times = (cell([s for draw in draws for s in draw[name]["seconds"]]) for name in names)
    return ["Median (range) of the seeds", *names], [*rows, ["seconds", *times]]


def summary_table() -> Table:
    """All families, a row each: ours beside SciPy's and beside the best of the others."""
    rows: list[list[Cell]] = []

    def both(runs: list[Any]) -> Cell:
        if not runs:
            return NONE
        tight, default = (max(k) for k in zip(*runs, strict=True))
        return f"{tight} / {default}", -tight - default

    for family, (ours, reference, *_) in FAMILIES.items():
        runs = solvers("mgh", family)
        met = {name: (solved(run["tight"]), sum(run["defaults"])) for name, run in runs.items()}
        others = [pair for name, pair in met.items() if name not in (ours, reference)]
        ratio = median_ratio(runs[ours]["tight"], runs[reference]["tight"])
        cells = [both([met[ours]]), both([met[reference]]), both(others), f"{ratio:.2f}"]
        rows.append([family[0].upper() + family[1:], *cells])
    count = len(load("mgh")["instances"])
    return [
        f"Solved of {count}: tight / own defaults",
        "dlopt",
        "SciPy",
        "best other",
        "evaluations over SciPy's, median",
    ], rows


def losses() -> dict[str, list[str]]:
    """Every measure in which another implementation does better than ours, by family."""
    return {
        family: [*_losses_on_mgh(family), *_losses_on_larger(family), *_losses_of_time(family)]
        for family in FAMILIES
    }


def _losses_on_mgh(family: str) -> list[str]:
    runs = {name: {**run, "tight": [run["tight"]]} for name, run in solvers("mgh", family).items()}
    sets = {
        "from the standard starts": "tight",
        "from perturbed starts": "perturbed",
        "in rotated variables": "rotated",
    }
    out = []
    for label, key in sets.items():
        met = {s: -statistics.fmean(map(solved, run[key])) for s, run in runs.items()}
        out += _loss(f"solved {label}, tight", met)
    out += _loss("solved with own defaults", {s: -sum(r["defaults"]) for s, r in runs.items()})
    for label, key in sets.items():
        common, sums = on_common({s: [n for c in run[key] for n in c] for s, run in runs.items()})
        out += _loss(f"evaluations {label}, on the {common} runs that all solve", sums)
    return out


def _losses_on_larger(family: str) -> list[str]:
    runs = solvers("larger", family)
    out = []
    for key, about in load("larger")["problems"].items():
        counts = {
            name: float("inf") if run[key] is None else run[key]
            for name, run in runs.items()
            if key in run
        }
        if counts and next(iter(counts)) == FAMILIES[family][0]:
            out += _loss(f"evaluations on {about['name']}", counts)
    return out


def _losses_of_time(family: str) -> list[str]:
    out = []
    for n, size in load("overhead")["sizes"].items() if family == "L-BFGS" else ():
        medians = {name: found[1] for name, found in size["to one pass"].items()}
        others = {name: v for name, v in medians.items() if not name.startswith("dlopt")}
        for ours in (name for name in medians if name.startswith("dlopt")):
            label = f"overhead in passes through the history, {thousands(int(n))} variables, {ours}"
            out += _loss(label, {ours: medians[ours], **others})
    return out


def _loss(label: str, values: Mapping[str, float]) -> list[str]:
    """One line if any value is less than the first one, which is ours."""

    def text(value: float) -> str:
        size = abs(value)
        return "not met" if size == float("inf") else f"{size:.5g}"

    ours, *others = values
    better = [f"{name} {text(values[name])}" for name in others if values[name] < values[ours]]
    return [f"{label}: {text(values[ours])}, but {', '.join(better)}"] if better else []


def profile_counts(family: str) -> dict[str, list[int | None]]:
    """All tight runs of a family's solvers, one after the other: 11 variants of the set."""
    return {
        name: [n for counts in [run["tight"], *run["perturbed"], *run["rotated"]] for n in counts]
        for name, run in solvers("mgh", family).items()
    }


TABLES: dict[str, Callable[..., Table]] = {
    "summary": summary_table,
    "mgh": mgh_table,
    "problems": problem_table,
    "larger": larger_table,
    "overhead": overhead_table,
    "dense": dense_table,
    "hessian": lambda: ratio_table("hessian", "Parameters", HESSIAN_WAYS),
    "replicas": lambda: ratio_table("replicas", "Networks with", REPLICAS_WAYS),
    "batch_norm": batch_norm_table,
    "averaging": averaging_table,
    "codes": codes_table,
    "dictionaries": dictionaries_table,
}
