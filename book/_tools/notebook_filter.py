"""Keep in a notebook what belongs in git: code, prose, and the text of the checked cells.

Dropped are images, widget state, execution counts, timings and editor settings; they are made by
executing. What a page folds, by the cell's tags, JupyterLab and Colab fold too: their settings are
written from the tags. The standard library is enough, so that git can call it from anywhere::

    python book/_tools/notebook_filter.py < in.ipynb > out.ipynb       # git's clean filter
    python book/_tools/notebook_filter.py notebooks/*.ipynb            # in place
    python book/_tools/notebook_filter.py --check notebooks/*.ipynb
    python book/_tools/notebook_filter.py --from _build/executed notebooks/*.ipynb

The last form takes the verdicts of the checked cells from the executed notebooks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

Node = dict[str, Any]

METADATA: Node = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
FOLDED = {"hide-input", "remove-input", "solution"}  # tags of code


def text(lines: str | list[str]) -> str:
    """Join the lines of a notebook's string, with one kind of line ending."""
    return ("".join(lines)).replace("\r\n", "\n")


def tags(cell: Node) -> list[str]:
    """The tags of a cell."""
    return list(cell.get("metadata", {}).get("tags", []))


def folded(cell: Node) -> Node:
    """The settings by which Colab and JupyterLab fold the code that a cell's tags fold.

    >>> folded({"cell_type": "code", "metadata": {"tags": ["hide-input"]}})
    {'cellView': 'form', 'jupyter': {'source_hidden': True}}
    """
    if cell["cell_type"] != "code" or not FOLDED & set(tags(cell)):
        return {}
    return {"cellView": "form", "jupyter": {"source_hidden": True}}


def clean(notebook: Node) -> Node:
    """Return the notebook as it is committed; a clean one comes back unchanged."""
    seen: set[str] = set()
    return {
        "cells": [_clean_cell(cell, seen) for cell in notebook["cells"]],
        "metadata": METADATA,
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def refresh(notebook: Node, executed: Node) -> Node:
    """Return the clean notebook with the checked texts of its executed twin, cell by cell."""
    outputs = {cell["id"]: cell.get("outputs", []) for cell in clean(executed)["cells"]}
    notebook = clean(notebook)
    for cell in notebook["cells"]:
        if "outputs" in cell:
            cell["outputs"] = outputs.get(cell["id"], [])
    return clean(notebook)  # the counts of cells that have become checked ones


def read(path: Path) -> Node:
    """Read a notebook."""
    node: Node = json.loads(path.read_text(encoding="utf-8"))
    return node


def dumps(notebook: Node) -> str:
    """Write a notebook as Jupyter itself does."""
    return json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _clean_cell(cell: Node, seen: set[str]) -> Node:
    """Keep a cell's id, type, source, tags and MyST settings, and a checked cell's texts."""
    source = text(cell["source"])
    kept = {k: v for k in ("mystnb", "tags") if (v := cell.get("metadata", {}).get(k))}
    result: Node = {
        "cell_type": cell["cell_type"],
        "id": _identifier(cell, source, seen),
        "metadata": kept | folded(cell),
        "source": source.splitlines(keepends=True),
    }
    if cell["cell_type"] == "code":
        checked = cell.get("outputs", []) if "claim" in tags(cell) else []
        texts = [
            text(o["data"]["text/plain"]) for o in checked if "text/plain" in o.get("data", {})
        ]
        result["execution_count"] = 1 if texts else None  # nbval compares only cells that ran
        result["outputs"] = [
            {
                "data": {"text/plain": t.splitlines(keepends=True)},
                "metadata": {},
                "output_type": "display_data",
            }
            for t in texts
        ]
    return result


def _identifier(cell: Node, source: str, seen: set[str]) -> str:
    """The cell's id; a cell without one gets its content's hash, counted up if met before."""
    base = cell.get("id") or hashlib.sha256(source.encode()).hexdigest()[:8]
    name, n = base, 1
    while name in seen:
        name, n = f"{base}-{n}", n + 1
    seen.add(name)
    return str(name)


def main() -> int:
    """Filter standard input, or the notebooks named."""
    parser = argparse.ArgumentParser(description="Keep in notebooks what belongs in git.")
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if needed")
    parser.add_argument(
        "--from", dest="executed", type=Path, help="folder of executed notebooks: take verdicts"
    )
    options = parser.parse_args()
    if not options.notebooks:
        sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
        sys.stdout.write(dumps(clean(json.load(sys.stdin))))
        return 0
    changed = 0
    for path in options.notebooks:
        if options.executed:
            after = dumps(refresh(read(path), read(options.executed / path.name)))
        else:
            after = dumps(clean(read(path)))
        if after != path.read_text(encoding="utf-8"):
            changed += 1
            print(f"{path}: {'needs cleaning: make tidy' if options.check else 'written'}")
            if not options.check:
                path.write_text(after, encoding="utf-8", newline="\n")
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
