"""Claims: a card where a statement is tested, and a page with all of them.

A claim cell leaves its record in its output's metadata (``dlopt.lesson.claims.Record``).
``{claim}`` shows one record (``executed.py`` writes it into the lesson). ``{claims}`` gathers them
from the executed notebooks, in the order of the syllabus: totals, a picture of the whole, a filter,
and an entry for each. The filter is a script that finds all it needs on the page; without scripts
the whole list stands there. ``{verdicts}`` shows the totals, or the findings whose IDs it names.
How often other seeds gave the same verdict: see ``stability.py``.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import stability
from docutils import nodes
from execute import records
from executed import executed_path, notebooks
from notebook_filter import read
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from tables import verbatim

from dlopt.lesson.claims import VERDICTS, Record, conditions, kind, marks
from dlopt.lesson.syllabus import SYLLABUS_IDS, is_beyond, place

PAGE = "book/claims"
GATHERING = (PAGE, "book/intro")  # pages that show what other pages found


def style(verdict: str) -> str:
    """The CSS class of a verdict.

    >>> style("not tested at this scale")
    'verdict-not-tested-at-this-scale'
    """
    return "verdict-" + verdict.replace(" ", "-")


def badge(verdict: str) -> nodes.inline:
    """The verdict as a coloured word."""
    return nodes.inline("", verdict, classes=["verdict", style(verdict)])


def records_of(docname: str) -> list[Record]:
    """The records of a page's executed notebook, in the order of the syllabus."""
    path = executed_path(docname)
    found = records(read(path)) if path.is_file() else []
    return sorted(found, key=lambda record: place(record["id"]))  # type: ignore[arg-type]


def lesson_names(env: BuildEnvironment) -> list[str]:
    """The notebooks, in the order of the table of contents where it names them."""
    order = list(vars(env)["external_site_map"])
    return sorted(
        notebooks(env), key=lambda name: order.index(name) if name in order else len(order)
    )


def title(docname: str) -> str:
    """The title of a page's executed notebook: the heading of its first cell."""
    source = read(executed_path(docname))["cells"][0]["source"]
    return "".join(source).partition("\n")[0].removeprefix("# ")


def said(label: str, text: str, *classes: str) -> nodes.paragraph:
    """A paragraph that begins with what it is."""
    return verbatim([nodes.inline("", label, classes=["claim-label"]), nodes.Text(text)], *classes)


def claimed(record: Record) -> nodes.paragraph:
    """The statement, after who makes it."""
    label = "The textbook: " if record["textbook_only"] == "" else "The lecture: "
    if is_beyond(record["id"]):
        label = "Claim: "
    return said(label, record["statement"], "claim-text")


def raw(html: str) -> nodes.raw:
    """HTML as it is."""
    return nodes.raw("", html, format="html")


def card(
    record: Record, elsewhere: dict[str, str], name: nodes.Node, *, folded: bool
) -> list[nodes.Node]:
    """What a card shows of a record; the small print is ``folded`` on the page with all claims."""
    head = nodes.paragraph(classes=["claim-head"])
    head += [
        name,
        badge(record["verdict"]),
        nodes.inline("", kind(record), classes=["claim-kind"]),
        nodes.inline("", conditions(record), classes=["claim-conditions"]),
    ]
    small = [said("Measured: ", record["evidence"], "claim-evidence")]
    if record["theorem"]:
        small.insert(0, said("Known by proof: ", record["theorem"], "claim-theorem"))
    small.append(said("Refuted if ", f"{record['refuted_if']}.", "claim-refuted-if"))
    if folded:
        small = [raw("<details><summary>Numbers</summary>"), *small, raw("</details>")]
    return [
        head,
        verbatim([nodes.Text(record["finding"])], "claim-finding"),
        claimed(record),
        *(verbatim([nodes.Text(mark)], "claim-mark") for mark in marks(record)),
        *small,
        verbatim([nodes.Text(stability.sentence(record["verdict"], elsewhere))], "claim-stability"),
    ]


def link_to(id: str) -> addnodes.pending_xref:
    """An ID that leads to the card beside the experiment."""
    return addnodes.pending_xref(
        "", nodes.inline("", id), refdomain="std", reftype="ref", refexplicit=True, refwarn=True,
        reftarget=f"claim-{id}".lower(), classes=["claim-id"],
    )  # fmt: skip


class ClaimDirective(SphinxDirective):
    """``{claim}``: the card of one record, given as JSON."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Build the card."""
        self.env.note_dependency(str(stability.STORE))
        record = json.loads("\n".join(self.content))
        name = f"claim-{record['id']}"
        box = nodes.container(ids=[name], names=[name.lower()])
        box["classes"] = ["claim", style(record["verdict"])]
        self.state.document.note_explicit_target(box)
        elsewhere = stability.load().get(Path(self.env.docname).name, {}).get(record["id"], {})
        label = nodes.inline("", f"Claim {record['id']}", classes=["claim-id"])
        box += card(record, elsewhere, label, folded=False)
        return [box]


class ClaimsDirective(SphinxDirective):
    """``{claims}``: totals, the grid, the filter, and an entry for every claim."""

    def run(self) -> list[nodes.Node]:
        """Build the page from the executed notebooks in the order of the table of contents."""
        self.env.note_dependency(str(stability.STORE))
        self.elsewhere = stability.load()
        lessons = {name: records_of(name) for name in lesson_names(self.env)}
        found = {record["id"]: record for listed in lessons.values() for record in listed}
        out = [totals(list(found.values())), grid(found), raw(FILTER)]
        beyond = []
        for docname, listed in lessons.items():
            out += self.section(docname, [r for r in listed if not is_beyond(r["id"])])
            beyond += [self.entry(docname, r) for r in listed if is_beyond(r["id"])]
        if beyond:
            heading = nodes.title("", "Beyond the lecture")
            section = nodes.section("", heading, *beyond, ids=["beyond"], classes=["claims-lesson"])
            out.append(section)
        return out

    def section(self, docname: str, found: list[Record]) -> list[nodes.Node]:
        """A lesson's section, with its entries."""
        if not found:
            return []
        link = addnodes.pending_xref(
            "", nodes.inline("", title(docname)), refdomain="std", reftype="doc",
            reftarget=f"/{docname}", refexplicit=True, refwarn=True,
        )  # fmt: skip
        section = nodes.section("", nodes.title("", "", link), names=[f"claims-of-{docname}"])
        section["classes"] = ["claims-lesson"]
        self.state.document.note_implicit_target(section, section)
        section += [self.entry(docname, record) for record in found]
        return [section]

    def entry(self, docname: str, record: Record) -> nodes.container:
        """A claim's entry; its ID leads to the card beside the experiment."""
        elsewhere = self.elsewhere.get(Path(docname).name, {}).get(record["id"], {})
        body = card(record, elsewhere, link_to(record["id"]), folded=True)
        classes = ["claim", style(record["verdict"])]
        return nodes.container("", *body, ids=[record["id"]], classes=classes)


class VerdictsDirective(SphinxDirective):
    """``{verdicts}``: how many there are of each; ``{verdicts} N2 X1``: what came out of some."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Gather the records of all executed notebooks."""
        listed = [r for name in lesson_names(self.env) for r in records_of(name)]
        if not self.arguments:
            beyond = sum(is_beyond(record["id"]) for record in listed)
            ours = f"{len(listed)} statements, {beyond} of them popular ones beyond the lecture:"
            return [nodes.paragraph("", ours), totals(listed)]
        found = {record["id"]: record for record in listed}
        chosen = self.arguments[0].split()
        if unknown := [id for id in chosen if id not in found]:
            raise self.error(f"no executed lesson has a verdict on {', '.join(unknown)}")
        return [brief(found[id]) for id in chosen]


def brief(record: Record) -> nodes.container:
    """A card of the statement and what came out."""
    head = verbatim([link_to(record["id"]), badge(record["verdict"])], "claim-head")
    finding = verbatim([nodes.Text(record["finding"])], "claim-finding")
    classes = ["claim", "claim-brief", style(record["verdict"])]
    return nodes.container("", head, claimed(record), finding, classes=classes)


def totals(found: list[Record]) -> nodes.paragraph:
    """How many statements have which verdict."""
    counts = Counter(record["verdict"] for record in found)
    line = nodes.paragraph(classes=["claims-totals"])
    for verdict in VERDICTS:
        number = nodes.strong("", str(counts[verdict]))
        line += nodes.inline("", "", number, nodes.Text(" "), badge(verdict))
    return line


def grid(found: dict[str, Record]) -> nodes.container:
    """A picture of the whole: a line of IDs for each letter, marked by verdict, each a link."""
    box = nodes.container(classes=["claims-grid"])
    ids = [*SYLLABUS_IDS, *sorted(filter(is_beyond, found), key=place)]
    for letters in dict.fromkeys(id.rstrip("0123456789") for id in ids):
        line = nodes.paragraph()
        for id in (id for id in ids if id.rstrip("0123456789") == letters):
            if id in found:
                verdict = found[id]["verdict"]
                link = nodes.reference("", "", refid=id, internal=True, classes=[style(verdict)])
                link += [nodes.Text(id), nodes.inline("", f" {verdict}", classes=["for-readers"])]
            else:
                link = nodes.inline("", id, classes=["no-lesson"])
                link += nodes.inline("", " has no lesson yet", classes=["for-readers"])
            line += [link, nodes.Text(" ")]
        box += line
    return box


# Hidden until claims.js fills it: where scripts don't run, no control is dead.
FILTER = """<form class="claims-filter" hidden>
<label>Verdict <select name="verdict"><option value="">all</option></select></label>
<label>Lesson <select name="lesson"><option value="">all</option></select></label>
<output></output></form>"""


def always(app: Sphinx, env: BuildEnvironment, *_: object) -> list[str]:
    """Make these pages anew in every build."""
    return [page for page in GATHERING if page in env.found_docs]


def add_script(app: Sphinx, pagename: str, *_: object) -> None:
    """Load the filter on the one page that has it."""
    if pagename == PAGE:
        app.add_js_file("claims.js")


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the three directives."""
    app.add_directive("claim", ClaimDirective)
    app.add_directive("verdicts", VerdictsDirective)
    app.add_directive("claims", ClaimsDirective)
    app.connect("env-get-outdated", always)
    app.connect("html-page-context", add_script)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
