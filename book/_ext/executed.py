"""Executed notebooks: the book shows what was computed, and refuses to show what is out of date.

The notebooks in git carry no outputs. ``book/_tools/execute.py`` writes the executed ones into
``_build/executed``; here Sphinx is handed that text in place of the source. A notebook that was not
executed, or not since something it depends on changed, is a warning, so that ``-W`` fails.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from execute import fingerprint, folder, load
from notebook_filter import tags
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

HIDDEN = {"colab", "injected-parameters"}  # cells that mean nothing on a page
# The text of a solution as a notebook holds it. JupyterLab, which knows MyST, folds the dropdown
# and reads the lines with % as remarks; Colab and VS Code don't, and fold the details.
SOLUTION = re.compile(
    r"% <details><summary>Solution</summary>\n\n:::\{dropdown\} Solution\n"
    r"(.*)\n:::\n\n% </details>",
    re.DOTALL,
)
logger = logging.getLogger(__name__)


def executed_path(docname: str) -> Path:
    """Where the executed notebook of a page lies."""
    return folder() / f"{Path(docname).name}.ipynb"


def problem(source: Path, executed: Path) -> str | None:
    """Why an executed notebook can't be shown, or None."""
    if not executed.is_file():
        return f"{source.name} has not been executed: run book/_tools/execute.py first"
    if load(executed, fingerprint(source)) is None:
        return f"{source.name}, the library or the pinned versions changed since it was executed"
    return None


def notebooks(env: BuildEnvironment) -> list[str]:
    """The pages that are notebooks."""
    return sorted(name for name in env.found_docs if env.doc2path(name).endswith(".ipynb"))


def check(app: Sphinx, env: BuildEnvironment, *_: object) -> list[str]:
    """Warn of every notebook that is missing or stale, in every build."""
    for docname in notebooks(env):
        if text := problem(Path(env.doc2path(docname)), executed_path(docname)):
            logger.warning(text, location=docname)
    return []


def markdown(source: str) -> dict[str, Any]:
    """A Markdown cell."""
    name = hashlib.sha256(source.encode()).hexdigest()[:12]
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def run_time(notebook: dict[str, Any]) -> str:
    """A line on what the page took to compute."""
    seconds = notebook["metadata"].get("dlopt", {}).get("seconds", 0)
    text = f"Everything on this page was computed in {max(1, round(seconds))} s on one CPU thread."
    return f":::{{div}} run-time\n{text}\n:::"


def folded(cell: dict[str, Any]) -> bool:
    """Whether a page shows the code of a cell only when asked to."""
    return cell["cell_type"] == "code" and "hide-input" in tags(cell)


def with_solutions(cells: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The cells; a solution's text opens details, and they end after the last of its cells."""
    for cell, following in zip(cells, [*cells[1:], {}], strict=True):
        if found := "solution" in tags(cell) and SOLUTION.fullmatch("".join(cell["source"])):
            cell = {**cell, "source": f"<details><summary>Solution</summary>\n\n{found[1]}"}
        yield cell
        if "solution" in tags(cell) and "solution" not in tags(following):
            yield {**markdown("</details>"), "id": f"{cell['id']}-end"}


def prepare(notebook: dict[str, Any]) -> dict[str, Any]:
    """Make of a notebook what the page needs.

    What is not for the page is dropped, outputs that carry a claim become cards, folded cells that
    follow each other become one, solutions end, and a line says how long it all took.
    """
    cells: list[dict[str, Any]] = []
    for cell in with_solutions(notebook["cells"]):
        said = set(tags(cell))
        if HIDDEN & said or ("remove-input" in said and not cell.get("outputs")):
            continue
        cards, outputs = [], []
        for output in cell.get("outputs", ()):
            if record := output.get("metadata", {}).get("dlopt.claim"):
                cards.append(
                    markdown(f"```{{claim}}\n{json.dumps(record, ensure_ascii=False)}\n```")
                )
            else:
                outputs.append(output)
        if cards:
            cell = {**cell, "outputs": outputs}
        if cells and folded(cells[-1]) and folded(cell) and not cells[-1]["outputs"]:
            source = "".join(cells.pop()["source"]) + "\n\n" + "".join(cell["source"])
            cell = {**cell, "source": source}
        cells += [cell, *cards]
    cells.insert(1, markdown(run_time(notebook)))
    return {**notebook, "cells": cells}


def replace(app: Sphinx, docname: str, source: list[str]) -> None:
    """Hand Sphinx the executed text of a notebook."""
    path = executed_path(docname)
    if docname not in notebooks(app.env) or not path.is_file():
        return
    app.env.note_dependency(str(path))
    source[0] = json.dumps(prepare(json.loads(path.read_text(encoding="utf8"))))


def setup(app: Sphinx) -> dict[str, Any]:
    """Check before reading; replace while reading."""
    app.connect("env-get-outdated", check)
    app.connect("source-read", replace)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
