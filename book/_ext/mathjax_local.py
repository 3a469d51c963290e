"""Mathematics without a third party: MathJax is copied from ``sphinx-mathjax-offline``.

The package's own extension copies every variant of MathJax (24 MB); the book needs one, with what
its context menu can load: the fonts, the TeX extensions and the speech rules.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.fileutil import copy_asset

MAIN = "tex-chtml.js"
# Whoever goes through a page by keyboard would otherwise stop at each of a hundred formulas; their
# menu opens by the mouse.
CONFIG = {"options": {"menuOptions": {"settings": {"inTabOrder": False}}}}
PARTS = (MAIN, "a11y", "input/tex/extensions", "output", "sre")


def source() -> Path:
    """The folder of MathJax inside the installed package (whose name has hyphens)."""
    spec = find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise ExtensionError("MathJax is missing: pip install sphinx-mathjax-offline")
    return Path(spec.origin).parent / "static" / "mathjax"


def copy(app: Sphinx, exception: Exception | None) -> None:
    """Copy MathJax beside the other static files, once."""
    target = Path(app.outdir) / "_static" / "mathjax"
    if exception is not None or app.builder.format != "html" or (target / MAIN).exists():
        return
    for part in PARTS:
        path = source() / part
        copy_asset(str(path), str((target / part) if path.is_dir() else target))


def setup(app: Sphinx) -> dict[str, Any]:
    """Point Sphinx to the copy, and set it up."""
    app.config.mathjax_path = f"mathjax/{MAIN}"
    app.config.mathjax3_config = CONFIG
    app.connect("build-finished", copy)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
