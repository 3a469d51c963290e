"""Predict, then run: a question that the reader answers before the experiment does."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Mapping

from dlopt.lesson.display import require_text


class Prediction:
    """A question with its answers folded; displays itself as a cell's last expression."""

    def __init__(self, markup: str, text: str) -> None:
        self.markup, self.text = markup, text

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.markup


def predict(
    question: str, options: Mapping[str, str] | None = None, *, answer: str = "", unit: str = ""
) -> Prediction:
    """Ask the reader for a choice or for a number.

    Args:
        question: What to predict; plain text, as are options and unit.
        options: For a choice, at least three that a bright reader may take, each with what it
            means if chosen (Markdown, with formulas between dollar signs).
        answer: For a number, what came out and why (Markdown); the reader's own stands above it.
        unit: For a number, what is counted, such as "steps".

    Returns:
        The question, which displays itself. The answers open one at a time, without a script.

    Raises:
        ValueError: A text is empty, there are less than three options, or not exactly one of
            ``options`` and ``answer`` is given.

    Example:
        >>> predict("How many steps?", answer="Three: one for each eigenvalue.", unit="steps")
        Predict: How many steps?
        A number of steps. Then compare: Three: one for each eigenvalue.
    """
    require_text("question", question)
    if (options is None) == (answer == ""):
        raise ValueError(f"options or answer must be given, got {options!r} and {answer!r}")
    if options is None:
        require_text("unit", unit)
        parts = [_number(unit), _folded("", "Compare", require_text("answer", answer))]
        lines = [f"A number of {unit}. Then compare: {answer}"]
    else:
        if len(options) < 3:
            raise ValueError(f"options must offer at least three, got {list(options)}")
        name = hashlib.sha256(question.encode()).hexdigest()[:8]
        parts = [_folded(name, option, meant) for option, meant in options.items()]
        lines = [f"- {option}" for option in options]
    legend = f"<legend>Predict: {html.escape(question)}</legend>"
    # A blank line between tags, or MyST in JupyterLab leaves all but the first answer open.
    markup = "\n\n".join(['<fieldset class="dlopt-predict">', legend, *parts, "</fieldset>"])
    return Prediction(markup, "\n".join([f"Predict: {question}", *lines]))


def _folded(name: str, summary: str, meant: str) -> str:
    """Return one answer, folded; of those with one name, a browser opens one at a time."""
    require_text("option", summary)
    group = f' name="predict-{name}"' if name else ""
    text = require_text("the meaning of an option", meant)
    return f"<details{group}><summary>{html.escape(summary)}</summary>\n\n{text}\n\n</details>"


def _number(unit: str) -> str:
    """Return a field to write a number into: nobody reads it but its writer."""
    return (
        '<label>Your number: <input type="number" step="any" autocomplete="off"> '
        f"{html.escape(unit)}</label>"
    )
