"""Predict, then run: a question that the reader answers before the experiment does."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Mapping

from dlopt.lesson.display import Card, require_text


def predict(
    question: str, options: Mapping[str, str] | None = None, *, answer: str = "", unit: str = ""
) -> Card:
    """Ask the reader for a choice or for a number.

    Args:
        question: What to predict; plain text, as are options and unit.
        options: For a choice, at least three that a bright reader may take, each with what it
            means if chosen: text with formulas between dollar signs and *emphasis* between stars.
        answer: For a number, what came out and why, written like a meaning; the reader's own
            number stands above it.
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
    # The second class lets MathJax look for formulas.
    fieldset = '<fieldset class="dlopt-predict tex2jax_process">'
    markup = "".join([fieldset, legend, *parts, "</fieldset>"])
    return Card(markup, "\n".join([f"Predict: {question}", *lines]))


def _folded(name: str, summary: str, meant: str) -> str:
    """Return one answer, folded; of those with one name, a browser opens one at a time."""
    require_text("option", summary)
    group = f' name="predict-{name}"' if name else ""
    text = require_text("the meaning of an option", meant)
    head = f"<summary>{html.escape(summary)}</summary>"
    return f"<details{group}>{head}<p>{_marked_up(text)}</p></details>"


def _marked_up(text: str) -> str:
    """Return a text as HTML, with its emphasis, and its formulas for MathJax."""
    pieces = re.split(r"\$([^$]+)\$", html.escape(text))
    pieces[::2] = [re.sub(r"\*([^*]+)\*", r"<em>\1</em>", piece) for piece in pieces[::2]]
    pieces[1::2] = [rf"\({formula}\)" for formula in pieces[1::2]]
    return "".join(pieces)


def _number(unit: str) -> str:
    """Return a field to write a number into: nobody reads it but its writer."""
    return (
        '<label>Your number: <input type="number" step="any" autocomplete="off"> '
        f"{html.escape(unit)}</label>"
    )
