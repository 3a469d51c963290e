"""Tables of docutils nodes, as three of the extensions make them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from docutils import nodes

Cell = Sequence[nodes.Node]


def verbatim(content: Cell, *classes: str) -> nodes.paragraph:
    """A paragraph whose quotes and dashes stay as they were recorded."""
    return nodes.paragraph("", "", *content, classes=[*classes], support_smartquotes=False)


def row(cells: Iterable[Cell]) -> nodes.row:
    """A table row of paragraphs."""
    return nodes.row("", *(nodes.entry("", verbatim(cell)) for cell in cells))


def table(
    head: Sequence[str],
    rows: Iterable[Iterable[Cell]],
    *classes: str,
    widths: Sequence[int] = (),
    row_headers: bool = False,
) -> nodes.table:
    """A table; without ``widths``, in relative units, the columns are as wide as their content."""
    group = nodes.tgroup("", cols=len(head))
    for column in range(len(head)):
        stub = int(row_headers and column == 0)
        group += nodes.colspec(colwidth=widths[column] if widths else 1, stub=stub)
    group += nodes.thead("", row([nodes.Text(text)] for text in head))
    group += nodes.tbody("", *map(row, rows))
    return nodes.table("", group, classes=[*([] if widths else ["colwidths-auto"]), *classes])
