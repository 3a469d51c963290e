"""Does a verdict depend on the seed? Run the book at further seeds and keep what came out.

::

    python book/_tools/stability.py                        # seeds 100, 200, 300 and 400
    python book/_tools/stability.py newton --seeds 7 8 9   # some lessons, some seeds
    python book/_tools/stability.py --scheduler HOST:8786  # on any Dask cluster

The lessons run as jobs of ``execute.py``: what ran before is not run again, so that an interrupted
run goes on where it stopped. The verdicts stand in ``book/stability.json``, with a hash of each
lesson's code: once the code changes, its old verdicts count no more, and pages say nothing of them.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sys
from pathlib import Path

import execute
from execute import (
    BOOK,
    NOTEBOOKS,
    ROOT,
    bring_up_to_date,
    fingerprint,
    folder,
    records,
    stems,
    stop,
)
from notebook_filter import read, text
from refusals import Parser, Refused, check_folder, whole

STORE = ROOT / "book" / "stability.json"
SEEDS = (100, 200, 300, 400)  # so far apart that no experiment meets a seed of another run


def code_hash(notebook: Path) -> str:
    """What a lesson's verdicts are made by, as a hash: its code, without prose and settings."""
    cells = read(notebook)["cells"]
    code = [text(cell["source"]).strip() for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256("\n\n".join(code).encode()).hexdigest()[:16]


def load() -> dict[str, dict[str, dict[str, str]]]:
    """The verdicts by lesson, ID and seed; lessons whose code changed since are left out."""
    kept = json.loads(STORE.read_text(encoding="utf-8")) if STORE.is_file() else {}
    return {
        stem: found["verdicts"]
        for stem, found in kept.items()
        if (NOTEBOOKS / f"{stem}.ipynb").is_file()
        and code_hash(NOTEBOOKS / f"{stem}.ipynb") == found["code"]
    }


def sentence(verdict: str, elsewhere: dict[str, str]) -> str:
    """How often further seeds gave the same verdict.

    >>> sentence("confirmed", {"1": "confirmed", "2": "confirmed"})
    'The same verdict at 2 of 2 further seeds.'
    >>> sentence("confirmed", {"1": "qualified", "2": "confirmed"})
    'The same verdict at 1 of 2 further seeds; qualified at 1.'
    >>> sentence("confirmed", {})
    'Not yet run at further seeds.'
    """
    if not elsewhere:
        return "Not yet run at further seeds."
    found = list(elsewhere.values())
    others = [f"{v} at {found.count(v)}" for v in sorted(set(found) - {verdict})]
    same = f"The same verdict at {found.count(verdict)} of {len(found)} further seeds"
    return "; ".join([same, *others]) + "."


def collect(names: list[str], seeds: list[int]) -> None:
    """Write the verdicts at these seeds of what ran and is current; those at other seeds stay."""
    kept = load()
    for stem in names:
        verdicts = kept.setdefault(stem, {})
        for seed in seeds:
            parameters = {**BOOK, "seed": seed}
            key = fingerprint(NOTEBOOKS / f"{stem}.ipynb", parameters)
            executed = execute.load(folder(parameters) / f"{stem}.ipynb", key)
            for record in records(executed) if executed else []:
                verdicts.setdefault(record["id"], {})[str(seed)] = record["verdict"]
    made = {
        stem: {"code": code_hash(NOTEBOOKS / f"{stem}.ipynb"), "verdicts": verdicts}
        for stem, verdicts in sorted(kept.items())
        if verdicts
    }
    STORE.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Execute, collect, report."""
    parser = Parser(description="Run the book at further seeds and keep the verdicts.")
    parser.add_argument("stems", nargs="*", help="lessons, by name (default: all)")
    parser.add_argument("--seeds", nargs="+", type=whole(1, 2**32 - 1), default=list(SEEDS))
    parser.add_argument("--workers", type=whole(1), default=2, help="notebooks at a time")
    parser.add_argument("--scheduler", help="address of a Dask scheduler to use instead")
    options = parser.parse_args(argv)
    names = options.stems or stems()
    if unknown := set(names) - set(stems()):
        parser.error(f"no such notebook: {', '.join(sorted(unknown))}")
    status = 0
    try:
        for seed in options.seeds:
            parameters = {**BOOK, "seed": seed}
            check_folder(folder(parameters))
            print(f"Seed {seed}", flush=True)
            status |= bring_up_to_date(names, parameters, options.workers, options.scheduler)
            collect(names, [seed])
    except Refused as refused:
        parser.error(str(refused))
    return status


if __name__ == "__main__":
    signal.signal(signal.SIGINT, stop)
    sys.exit(main())
