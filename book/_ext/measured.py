"""The benchmarks' page: tables and figures made from the results while the book is built.

``{measured} <what> <family>`` is one table, figure or list; ``WHAT`` names them all. No number that
a rerun would change is typed on the page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from docutils import nodes
from docutils.parsers.rst import directives
from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tables import table

from benchmarks.profiles import performance_profile
from benchmarks.results import FOLDER, load
from benchmarks.tables import TABLES, Cell, losses, profile_counts, solved
from dlopt.lesson.display import figure_html
from dlopt.lesson.plotting import arm_style, figure, legend, render

LARGEST_RATIO = 16  # where the axis of a profile ends
CODERS = ("dlopt", "scikit-learn", "celer", "skglm")
WHAT = (*TABLES, "profile", "gaps", "losses", "versions")


# --- Figures --------------------------------------------------------------------------------------


def library(solver: str) -> int:
    """The place of a solver's library among the colours."""
    order = ("dlopt", "SciPy", "torch.optim", "pytorch-minimize")
    return next(k for k, name in enumerate(order) if solver.startswith(name))


def profile_figure(family: str) -> str:
    """The performance profile of a family, as a figure with alt text and caption."""
    counts = profile_counts(family)
    curves = performance_profile(counts)
    fig, ax = figure(5.6, 3.4)
    for name, corners in curves.items():
        style = {**arm_style(library(name), name), "marker": ""}
        shown = [(tau, share) for tau, share in corners if tau <= LARGEST_RATIO]
        x = [1.0, *(tau for tau, _ in shown), LARGEST_RATIO]
        y = [0.0, *(share for _, share in shown), shown[-1][1] if shown else 0.0]
        ax.step(x, [100 * share for share in y], where="post", **style)
    ax.set_xscale("log")
    ticks = [1, 2, 4, 8, LARGEST_RATIO]
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set(
        xlim=(1, LARGEST_RATIO), ylim=(0, 101), ylabel="runs solved (%)",
        xlabel="evaluations, as a multiple of the fewest that any needs",
    )  # fmt: skip
    legend(ax)
    fig.axes[0].grid(axis="y", color="0.9")
    runs = len(next(iter(counts.values())))
    ends = {
        name: (
            100 * max((share for tau, share in corners if tau == 1), default=0.0),
            100 * solved(counts[name]) / runs,
        )
        for name, corners in curves.items()
    }
    alt = f"Performance profile of {family}. " + " ".join(
        f"{name}: {first:.0f} % of the runs with the fewest evaluations, {last:.0f} % solved."
        for name, (first, last) in ends.items()
    )
    caption = (
        f"{family[0].upper() + family[1:]}, {runs} runs: the set from its standard starts, from "
        "five perturbed ones and in five rotations. Left: how often each needs the fewest "
        "evaluations. Right: how much it solves in the end."
    )
    return embedded(fig, alt, caption)


def gaps_figure(share: str) -> str:
    """Duality gaps of sparse codes against time at a penalty, as a figure in HTML."""
    curves = load("sparse_coding")["codes"][share]["curves"]
    fig, ax = figure(5.6, 3.4)
    ends = []
    for name, points in curves.items():
        seconds, gaps = zip(*points, strict=True)
        ax.loglog(seconds, gaps, **arm_style(CODERS.index(name), name))
        reached = next((s for s, gap in points if gap <= 1e-4), None)
        time = f"{reached:.2g} s to a gap of 1e-4" if reached else "never at a gap of 1e-4"
        ends.append(f"{name}: {time}.")
    ax.set(xlabel="seconds for 300 digits", ylabel="largest relative duality gap")
    legend(ax)
    caption = (
        f"λ = {share} λmax. Each point is a run at one tolerance. Lower left is better: "
        "a smaller gap in less time."
    )
    return embedded(fig, f"Duality gap against time at {share} of λmax. " + " ".join(ends), caption)


def embedded(fig: Figure, alt: str, caption: str) -> str:
    """A figure in HTML, the same bytes in every build."""
    picture = render(fig)
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "dlopt"}):
        fig.savefig(out, format="svg", metadata={"Date": None})
    source = "data:image/svg+xml;base64," + base64.b64encode(out.getvalue().encode()).decode()
    return figure_html(source, alt, caption, picture.width, picture.smallest)


# --- The directive --------------------------------------------------------------------------------


class MeasuredDirective(SphinxDirective):
    """``{measured} <what> <family>``: a table, a figure or a list from the stored results."""

    required_arguments = 1
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Build what was asked for."""
        for path in sorted(FOLDER.glob("*.json")):
            self.env.note_dependency(str(path))
        self.env.note_dependency(__file__)
        what, *which = self.arguments
        directives.choice(what, WHAT)
        if what == "profile":
            return [nodes.raw("", profile_figure(*which), format="html")]
        if what == "gaps":
            return [nodes.raw("", gaps_figure(*which), format="html")]
        if what == "losses":
            return [definitions(losses())]
        if what == "versions":
            found = load("mgh")["versions"]
            text = ", ".join(f"{name} {version}" for name, version in found.items())
            return [nodes.paragraph("", f"Measured with {text}.")]
        return [comparison(*TABLES[what](*which))]


def definitions(lists: dict[str, list[str]]) -> nodes.definition_list:
    """What others do better, family by family."""
    out = nodes.definition_list()
    for family, lines in lists.items():
        items = [nodes.list_item("", nodes.paragraph("", text)) for text in lines]
        found = nodes.bullet_list("", *items) if items else nodes.paragraph("", "Nowhere.")
        title = nodes.term("", family[0].upper() + family[1:])
        out += nodes.definition_list_item("", title, nodes.definition("", found))
    return out


def comparison(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> nodes.table:
    """A table whose rows name what is compared in their first cell."""
    return table(head, map(emphasized, rows), "measured", row_headers=True)


def emphasized(row: Sequence[Cell]) -> list[list[nodes.Node]]:
    """The cells of a row; where they carry values, the least is bold."""
    texts = [cell if isinstance(cell, tuple) else (cell, None) for cell in row]
    values = [value for _, value in texts if value is not None]
    least = min(values) if len(set(values)) > 1 else None
    return [
        [nodes.strong("", text) if value is not None and value == least else nodes.Text(text)]
        for text, value in texts
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("measured", MeasuredDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
