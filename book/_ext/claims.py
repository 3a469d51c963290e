"""Claims: a card where a statement is tested, and a page with all of them.

A claim cell leaves its record in its output's metadata: ``id``, ``statement``, ``verdict``,
``evidence``, ``seeds``, ``scale``. ``{claim}`` shows one record (``executed.py`` writes it into the
lesson); ``{claims}`` gathers them from the executed notebooks, lesson by lesson.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from docutils import nodes
from execute import records
from executed import executed_path, notebooks
from notebook_filter import read
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from tables import Cell, table, verbatim

from dlopt.lesson.claims import VERDICTS

PAGE = "book/claims"
Record = dict[str, Any]


def style(verdict: str) -> str:
    """The CSS class of a verdict.

    >>> style("not tested at this scale")
    'verdict-not-tested-at-this-scale'
    """
    return "verdict-" + verdict.replace(" ", "-")


def badge(verdict: str) -> nodes.inline:
    """The verdict as a coloured word."""
    return nodes.inline("", verdict, classes=["verdict", style(verdict)])


def conditions(record: Record) -> str:
    """The seeds and the scale in words.

    >>> conditions({"seeds": [0, 1, 2], "scale": "book"})
    '3 seeds, scale “book”'
    >>> conditions({"seeds": [4], "scale": "full"})
    'seed 4, scale “full”'
    """
    seeds = record.get("seeds") or []
    number = [f"seed {seeds[0]}"] if len(seeds) == 1 else [f"{len(seeds)} seeds"] if seeds else []
    return ", ".join([*number, f"scale “{record['scale']}”"])


def records_of(docname: str) -> list[Record]:
    """The records of a page's executed notebook, in order."""
    path = executed_path(docname)
    return records(read(path)) if path.is_file() else []


def title(docname: str) -> str:
    """The title of a page's executed notebook: the heading of its first cell."""
    source = read(executed_path(docname))["cells"][0]["source"]
    return "".join(source).partition("\n")[0].removeprefix("# ")


class ClaimDirective(SphinxDirective):
    """``{claim}``: the card of one record, given as JSON."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Build the card."""
        record = json.loads("\n".join(self.content))
        name = f"claim-{record['id']}"
        card = nodes.container(ids=[name], names=[name.lower()])
        card["classes"] = ["claim", style(record["verdict"])]
        self.state.document.note_explicit_target(card)
        head = nodes.paragraph(classes=["claim-head"])
        head += [
            nodes.inline("", f"Claim {record['id']}", classes=["claim-id"]),
            badge(record["verdict"]),
            nodes.inline("", conditions(record), classes=["claim-conditions"]),
        ]
        card += head
        card += verbatim([nodes.Text(record["statement"])], "claim-text")
        card += verbatim([nodes.Text(record["evidence"])], "claim-evidence")
        return [card]


class ClaimsDirective(SphinxDirective):
    """``{claims}``: totals by verdict, then a table for every lesson."""

    def run(self) -> list[nodes.Node]:
        """Build the page from the executed notebooks in the order of the table of contents."""
        lessons = {name: records_of(name) for name in self.lessons()}
        totals = Counter(record["verdict"] for found in lessons.values() for record in found)
        line = nodes.paragraph(classes=["claims-totals"])
        for verdict in VERDICTS:
            line += nodes.inline(
                "", "", nodes.strong("", str(totals[verdict])), nodes.Text(" "), badge(verdict)
            )
        return [line, *(node for name in lessons for node in self.lesson(name, lessons[name]))]

    def lessons(self) -> list[str]:
        """The notebooks, in the order of the table of contents where it names them."""
        order = list(vars(self.env)["external_site_map"])
        return sorted(
            notebooks(self.env),
            key=lambda name: order.index(name) if name in order else len(order),
        )

    def lesson(self, docname: str, found: list[Record]) -> list[nodes.Node]:
        """A lesson's section, with its table."""
        if not found:
            return []
        link = addnodes.pending_xref(
            "", nodes.inline("", title(docname)), refdomain="std", reftype="doc",
            reftarget=f"/{docname}", refexplicit=True, refwarn=True,
        )  # fmt: skip
        section = nodes.section("", nodes.title("", "", link), names=[f"claims-of-{docname}"])
        self.state.document.note_implicit_target(section, section)
        head = ["ID", "Statement", "Verdict", "What was measured"]
        section += table(head, map(self.claim, found), "claims-table", widths=(8, 36, 14, 42))
        return [section]

    def claim(self, record: Record) -> list[Cell]:
        """A table row; the ID links to the card beside its cell."""
        name = f"claim-{record['id']}"
        link = addnodes.pending_xref(
            "", nodes.inline("", record["id"]), refdomain="std", reftype="ref",
            reftarget=name.lower(), refexplicit=True, refwarn=True,
        )  # fmt: skip
        measured = [
            nodes.Text(record["evidence"]),
            nodes.inline("", f" ({conditions(record)})", classes=["claim-conditions"]),
        ]
        return [[link], [nodes.Text(record["statement"])], [badge(record["verdict"])], measured]


def always(app: Sphinx, env: BuildEnvironment, *_: object) -> list[str]:
    """Make the page anew in every build."""
    return [PAGE] if PAGE in env.found_docs else []


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the two directives."""
    app.add_directive("claim", ClaimDirective)
    app.add_directive("claims", ClaimsDirective)
    app.connect("env-get-outdated", always)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
