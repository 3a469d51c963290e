"""Equation ↔ code ↔ test: what ``book/equations.yml`` says, shown and checked.

Under every textbook equation and algorithm of a lesson stands a line with links to the function
that implements it and to the test that pins it. The directive ``equation-map`` makes the page with
the whole map and the source of those tests. A name that doesn't exist is a warning.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from equations import ALGORITHM, EQUATION
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode
from tables import table

SOURCE = "book/equations.yml"
PAGE = "book/equations"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """Where an equation lives: dotted names of objects, and tests as pytest names them."""

    code: tuple[str, ...]
    tests: tuple[str, ...]


def load(root: Path) -> dict[str, Entry]:
    """Read the map: label → entry."""
    listed = yaml.safe_load((root / SOURCE).read_text(encoding="utf8")) or {}
    return {
        label: Entry(tuple(entry["code"]), tuple(entry["tests"])) for label, entry in listed.items()
    }


def source_of_test(root: Path, test: str) -> tuple[str, int]:
    """The source of a test named as ``tests/test_x.py::test_y``, and its first line's number.

    Raises:
        ValueError: There is no such file or test.
    """
    filename, *names = test.split("::")
    path = root / filename
    if not path.is_file():
        raise ValueError(f"no file {filename}")
    source = path.read_text(encoding="utf8")
    body: list[ast.stmt] = ast.parse(source).body
    found: ast.stmt | None = None
    for name in names:
        named = [node for node in body if getattr(node, "name", None) == name]
        if not named:
            raise ValueError(f"no test {name} in {filename}")
        found = named[0]
        body = getattr(found, "body", [])
    if found is None or found.end_lineno is None:
        raise ValueError(f"no test named in {test!r}")
    first = min([found.lineno, *(d.lineno for d in getattr(found, "decorator_list", []))])
    return "\n".join(source.splitlines()[first - 1 : found.end_lineno]), first


def anchor(test: str) -> str:
    """The address of a test's source on the page of the map.

    >>> anchor("tests/test_newton.py::test_one_step")
    'test_newton-test_one_step'
    """
    filename, *names = test.split("::")
    return "-".join([Path(filename).stem, *names])


def link_to_code(name: str) -> addnodes.pending_xref:
    """A link to an object's entry in the API reference; Sphinx warns if there is none."""
    text = nodes.literal("", name.removeprefix("dlopt."), classes=["xref", "py"])
    return addnodes.pending_xref(
        "", text, refdomain="py", reftype="obj", reftarget=name, refexplicit=True, refwarn=True
    )


def link_to_test(test: str) -> addnodes.pending_xref:
    """A link to a test's source on the page of the map."""
    text = nodes.inline("", "", nodes.literal("", test.split("::")[-1]))
    return addnodes.pending_xref(
        "", text, refdomain="std", reftype="ref", reftarget=anchor(test).lower(),
        refexplicit=True, refwarn=True,
    )  # fmt: skip


def link_to_label(label: str) -> addnodes.pending_xref:
    """A link to the equation or algorithm itself."""
    domain, reftype = ("prf", "ref") if ALGORITHM.fullmatch(label) else ("math", "eq")
    return addnodes.pending_xref(
        "", nodes.inline(label, label), refdomain=domain, reftype=reftype, reftarget=label,
        refexplicit=False, refwarn=True,
    )  # fmt: skip


def listed(references: list[addnodes.pending_xref]) -> list[nodes.Node]:
    """The references with commas between them."""
    out: list[nodes.Node] = []
    for reference in references:
        out += [nodes.Text(", "), reference] if out else [reference]
    return out


def mapped(doctree: nodes.document) -> Iterator[tuple[str, nodes.Element]]:
    """The labels on a page that carry a textbook number, with their nodes."""
    for node in doctree.findall(nodes.Element):
        label = node.get("label") or ""
        if EQUATION.fullmatch(label) or ALGORITHM.fullmatch(label):
            yield label, node


def annotate(app: Sphinx, doctree: nodes.document) -> None:
    """Add the line with the links under each textbook equation and algorithm of a page."""
    entries = load(Path(app.srcdir))
    for label, node in list(mapped(doctree)):
        app.env.note_dependency(SOURCE)
        entry = entries.get(label)
        if entry is None:
            logger.warning("%s says nothing about %s", SOURCE, label, location=node)
            continue
        line = nodes.paragraph(classes=["equation-links"])
        line += nodes.inline("", "Code ", classes=["equation-links-label"])
        line += listed([link_to_code(name) for name in entry.code])
        line += nodes.inline("", "Test ", classes=["equation-links-label"])
        line += listed([link_to_test(test) for test in entry.tests])
        node.parent.insert(node.parent.index(node) + 1, line)


class lesson(nodes.Inline, nodes.Element):
    """Stands for the title of the page where a label is defined, until all pages are read."""


class EquationMap(SphinxDirective):
    """``{equation-map}``: the table, and the source of every test in it."""

    def run(self) -> list[nodes.Node]:
        """Build the table and the list of tests."""
        root = Path(self.env.app.srcdir)
        self.env.note_dependency(SOURCE)
        entries = load(root)
        tests = dict.fromkeys(test for entry in entries.values() for test in entry.tests)
        return [self.table(entries), *(self.test(root, test) for test in tests)]

    def table(self, entries: dict[str, Entry]) -> nodes.table:
        """One row an equation."""
        rows = (
            [
                [link_to_label(label)],
                [lesson("", of=label)],
                listed([link_to_code(name) for name in entry.code]),
                listed([link_to_test(test) for test in entry.tests]),
            ]
            for label, entry in entries.items()
        )
        return table(["Number", "Lesson", "Code", "Test"], rows, "equation-map")

    def test(self, root: Path, test: str) -> nodes.Node:
        """A test's source under an anchor of its own."""
        self.env.note_dependency(test.split("::")[0])
        try:
            source, line = source_of_test(root, test)
        except ValueError as error:
            logger.warning("%s: %s", SOURCE, error, location=self.get_location())
            return nodes.comment()
        name = anchor(test)
        box = nodes.container(ids=[name], names=[name.lower()], classes=["pinned-test"])
        self.state.document.note_explicit_target(box)
        box += nodes.paragraph("", "", nodes.literal("", test), nodes.Text(f", line {line}"))
        box += nodes.literal_block(source, source, language="python")
        return box


def page_of(env: BuildEnvironment, label: str) -> str:
    """The page on which an equation or algorithm stands, or "" if there is none."""
    algorithm = getattr(env, "proof_list", {}).get(label, {})
    equation = env.get_domain("math").data["objects"].get(label, ("",))
    return str(algorithm.get("docname") or equation[0])


def place_of(env: BuildEnvironment, label: str) -> tuple[float, ...]:
    """By what the map is ordered: lesson, then the textbook's number, what has none last."""
    order = env.toctree_includes.get(env.config.root_doc, [])
    page = page_of(env, label)
    match = EQUATION.fullmatch(label) or ALGORITHM.fullmatch(label)
    number = map(int, match.groups()) if match else (float("inf"),)
    return order.index(page) if page in order else len(order), *number


def complete(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the map in order, and fill in the titles of the lessons, with links."""
    for body in list(doctree.findall(nodes.tbody)):
        rows = [(node["of"], row) for row in body.children for node in row.findall(lesson)]
        if rows:
            body[:] = [row for _, row in sorted(rows, key=lambda pair: place_of(app.env, pair[0]))]
    for node in list(doctree.findall(lesson)):
        page = page_of(app.env, node["of"])
        if not page:  # the reference beside it has already been reported
            node.replace_self([])
            continue
        title = nodes.Text(app.env.titles[page].astext())
        node.replace_self(make_refnode(app.builder, docname, page, None, title))


def always(app: Sphinx, env: BuildEnvironment, *_: object) -> list[str]:
    """Make the map anew in every build: it depends on all lessons."""
    return [PAGE] if PAGE in env.found_docs else []


def setup(app: Sphinx) -> dict[str, Any]:
    """Annotate after reading (and after the numbers), name the lessons when all pages are read."""
    app.add_node(lesson)
    app.add_directive("equation-map", EquationMap)
    app.connect("doctree-read", annotate, priority=600)
    app.connect("doctree-resolved", complete)
    app.connect("env-get-outdated", always)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
