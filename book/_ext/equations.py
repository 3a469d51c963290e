"""Numbers: what comes from the textbook keeps the textbook's number, on every page.

The label says it: the equation ``eq-8-27`` is (8.27), the algorithm ``alg-8-8`` is Algorithm 8.8.
An equation of ours has a label in words and is numbered in Roman numerals on its page: (i), (ii).
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

EQUATION = re.compile(r"eq-(\d+)-(\d+)")
ALGORITHM = re.compile(r"alg-(\d+)-(\d+)")


def textbook_number(label: str) -> str | None:
    """The number that an equation's label stands for.

    >>> textbook_number("eq-8-27"), textbook_number("eq-secant")
    ('8.27', None)
    """
    match = EQUATION.fullmatch(label)
    return ".".join(match.groups()) if match else None


def roman(number: int) -> str:
    """The number in small Roman numerals.

    >>> roman(4), roman(9), roman(28)
    ('iv', 'ix', 'xxviii')
    """
    numerals = ""
    for value, letters in (
        (50, "l"), (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
    ):  # fmt: skip
        numerals += letters * (number // value)
        number %= value
    return numerals


def number_equations(app: Sphinx, doctree: nodes.document) -> None:
    """Number the labelled equations of a page that was just read."""
    known = app.env.get_domain("math").data["objects"]  # label: (page, number)
    ours = 0
    for node in doctree.findall(nodes.math_block):
        label = node.get("label")
        if not label:
            continue
        number = textbook_number(label)
        if number is None:
            ours += 1
            number = roman(ours)
        node["number"] = number
        known[label] = (app.env.docname, number)


def number_algorithms(app: Sphinx, env: BuildEnvironment) -> None:
    """Give the algorithms their textbook numbers, once Sphinx has counted everything itself."""
    for numbers in env.toc_fignumbers.values():
        for label in numbers.get("algorithm", {}):
            if match := ALGORITHM.fullmatch(label):
                numbers["algorithm"][label] = tuple(int(part) for part in match.groups())


def setup(app: Sphinx) -> dict[str, Any]:
    """Number after reading; algorithms after all pages are known."""
    app.connect("doctree-read", number_equations)
    app.connect("env-check-consistency", number_algorithms)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
