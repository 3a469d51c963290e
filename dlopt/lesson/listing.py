"""Code from the library on a page: never a copy, so that it cannot be out of date."""

from __future__ import annotations

import ast
import html
import inspect
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlopt.lesson.display import Card, require_text, table_html


class Listing:
    """Source code that displays itself, highlighted where Markdown is rendered."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.text}\n```"


def listing(*objects: Any) -> Listing:
    """Show the source of functions or classes without docstrings, as a cell's last expression.

    Args:
        *objects: What to show, at least one; each function, method or class of the library.

    Returns:
        The code, which displays itself.

    Raises:
        ValueError: If there is nothing to show.

    Example:
        >>> from dlopt.newton import quadratic_model
        >>> listing(quadratic_model)
        def quadratic_model(value: Tensor, g: Tensor, H: Tensor, step: Tensor) -> Tensor:
            return value + step.dot(g) + 0.5 * step.dot(H @ step)
    """
    if not objects:
        raise ValueError("objects must hold at least one, got none")
    return Listing("\n\n".join(_without_docstrings(inspect.getsource(o)) for o in objects))


def _without_docstrings(source: str) -> str:
    """Return the code with the docstrings of the object and of its methods cut out."""
    text = textwrap.dedent(source).rstrip()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or ast.get_docstring(node) is None:
            continue
        docstring = node.body[0]
        for number in range(docstring.lineno - 1, docstring.end_lineno or docstring.lineno):
            lines[number] = "\0"
    kept = [line for line in lines if line != "\0"]
    # A blank line that stood after a docstring would now open the body.
    return "\n".join(
        line for i, line in enumerate(kept) if line or not kept[i - 1].rstrip().endswith(":")
    )


def beside(caption: str, rows: Sequence[tuple[str, Any, str]]) -> Card:
    """Show an algorithm line by line beside the code that runs it.

    Args:
        caption: What the table shows; plain text.
        rows: For each line of the algorithm: its words, the function that runs it, and how the
            line of code begins. The line is looked up in the function's source.

    Returns:
        A table that displays itself, as a cell's last expression.

    Raises:
        ValueError: If not exactly one line of a function begins so.

    Example:
        >>> from dlopt.newton import quadratic_model
        >>> beside("Newton", [("the model's value", quadratic_model, "return")])
        Newton
        the model's value
            return value + step.dot(g) + 0.5 * step.dot(H @ step)    # quadratic_model, ...
    """
    require_text("caption", caption)
    cells, text = [], [caption]
    for said, function, beginning in rows:
        lines, first = inspect.getsourcelines(function)
        at = [i for i, line in enumerate(lines) if line.strip().startswith(beginning)]
        if len(at) != 1:
            raise ValueError(
                f"one line of {function.__qualname__} must begin with {beginning!r}, got {len(at)}"
            )
        file = Path(inspect.getsourcefile(function) or "").name
        place = f"{function.__name__}, {file}:{first + at[0]}"
        code = lines[at[0]].strip()
        line = f"<code>{html.escape(code)}</code><br><small>{html.escape(place)}</small>"
        cells.append([html.escape(said), line])
        text.append(f"{said}\n    {code}    # {place}")
    markup = table_html(caption, ["Algorithm", "Code, and where it stands"], cells, left=True)
    return Card(markup, "\n".join(text))
