"""The committed results: a small JSON file for each part, with the versions behind it."""

from __future__ import annotations

import json
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
LIBRARIES = ("numpy", "scipy", "torch", "pytorch-minimize", "scikit-learn")
Data = dict[str, Any]
# family: its solvers, ours first, then SciPy's, which ratios refer to; ``solvers.py`` has them.
FAMILIES = {
    "Newton": ("dlopt Newton", "SciPy trust-exact"),
    "truncated Newton": (
        "dlopt TruncatedNewton",
        "SciPy Newton-CG",
        "pytorch-minimize newton-cg",
    ),
    "conjugate gradients": ("dlopt ConjugateGradient", "SciPy CG", "pytorch-minimize cg"),
    "BFGS": ("dlopt BFGS", "SciPy BFGS", "pytorch-minimize bfgs"),
    "L-BFGS": (
        "dlopt LBFGS",
        "SciPy L-BFGS-B",
        "torch.optim.LBFGS",
        "pytorch-minimize l-bfgs",
    ),
}


def versions() -> dict[str, str]:
    """What is installed here."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def load(part: str) -> Data:
    """The results of a part, empty if it has none yet."""
    path = FOLDER / f"{part}.json"
    return json.loads(path.read_text(encoding="utf8")) if path.is_file() else {}


def save(part: str, data: Data) -> None:
    """Write the results of a part, each list on one line, so that a rerun makes a short diff."""
    text = json.dumps({"versions": versions(), **data}, indent=1, ensure_ascii=False)
    lists = re.compile(r"\[[^\[\]{}]*\]")
    text = lists.sub(lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "["), text)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{part}.json").write_text(text.replace(" ]", "]") + "\n", encoding="utf8")


def save_solver(part: str, about: Data, name: str, found: Data) -> None:
    """Write the results of one solver beside those that are there, in the order of the families."""
    runs = load(part).get("solvers", {}) | {name: found}
    order = [each for family in FAMILIES.values() for each in family]
    save(part, {**about, "solvers": {each: runs[each] for each in order if each in runs}})
