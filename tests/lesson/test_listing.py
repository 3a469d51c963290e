"""Listings are the library's own source, and a table's code lines exist."""

import ast
import html
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from dlopt import Newton
from dlopt.lesson.listing import beside, listing
from dlopt.newton import newton_step


def test_listing_is_the_source_without_docstrings() -> None:
    shown = listing(Newton, newton_step).text
    source = (inspect.getsource(Newton) + inspect.getsource(newton_step)).splitlines()
    assert set(shown.splitlines()) <= {*source, ""}
    assert '"""' not in shown
    assert "def step(self, f: Objective, state: ScaledState) -> ScaledState:" in shown
    namespace = {"dataclass": lambda **_: lambda c: c, "Tensor": object}
    exec(compile("from __future__ import annotations\n" + shown, "listing", "exec"), namespace)


def test_listing_renders_as_python() -> None:
    markdown = listing(newton_step)._repr_markdown_()
    assert markdown.startswith("```python\ndef newton_step(")
    assert markdown.endswith("\n```")


def test_beside_finds_the_line_where_it_stands() -> None:
    table = beside("Newton", [("the step", newton_step, "return")])
    caption, said, line = repr(table).splitlines()
    code, place = line.strip().split("    # newton_step, newton.py:")
    lines = Path(inspect.getsourcefile(newton_step)).read_text(encoding="utf8").splitlines()
    assert lines[int(place) - 1].strip() == code
    for text in (caption, said, f"<code>{html.escape(code)}</code>", f"newton.py:{place}"):
        assert text in table._repr_html_()


@pytest.mark.parametrize("beginning", ["no such line", ""])
def test_beside_refuses_a_line_that_is_not_there(beginning: str) -> None:
    with pytest.raises(ValueError, match="one line of newton_step must begin with"):
        beside("Newton", [("the step", newton_step, beginning)])


NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
COLUMNS = 88  # characters that fit into a column of a page, see book.css


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_the_lessons_show_fits_into_a_column(notebook: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf8"))["cells"]
    nodes = [
        node
        for cell in cells
        if cell["cell_type"] == "code" and "colab" not in cell["metadata"].get("tags", ())
        for node in ast.walk(ast.parse("".join(cell["source"])))
    ]
    names: dict[str, Any] = {}
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            exec(ast.unparse(node), names)
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "listing":
            shown = eval(ast.unparse(node), names).text
            assert [line for line in shown.splitlines() if len(line) > COLUMNS] == []


def test_nothing_to_show() -> None:
    with pytest.raises(ValueError, match="at least one"):
        listing()
