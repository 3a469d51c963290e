"""Addresses: pages of ``book/`` stand at the root of the site, and the landing page is its index.

An anchor means one place: the ids that sphinx-proof and sphinx-exercise give to every box get a
number.

The sources of the book live in ``book/`` and ``notebooks/``. A reader should not have to know:
``book/claims.md`` becomes ``claims.html`` and the root of the table of contents ``index.html``.
"""

from __future__ import annotations

import os
from typing import IO, Any
from urllib.parse import quote

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.search import js_index

FOLDER = "book/"
REPEATED = {"proof-content", "exercise-content"}


def address(docname: str, root: str) -> str:
    """The page's place in the site, without its suffix.

    >>> address("book/claims", root="book/intro"), address("book/intro", root="book/intro")
    ('claims', 'index')
    >>> address("notebooks/newton", root="book/intro")
    'notebooks/newton'
    """
    return "index" if docname == root else docname.removeprefix(FOLDER)


class SearchIndex:
    """The search index, whose page names are what the reader's browser turns into links."""

    def __init__(self, root: str) -> None:
        self.root = root

    def dump(self, data: dict[str, Any], stream: IO[str]) -> None:
        """Write addresses in place of document names, and keep the names for the next build."""
        addresses = [address(name, self.root) for name in data["docnames"]]
        js_index.dump({**data, "docnames": addresses, "sources": data["docnames"]}, stream)

    def load(self, stream: IO[str]) -> dict[str, Any]:
        """Read the index back with document names."""
        data: dict[str, Any] = js_index.load(stream)
        data["docnames"] = data.pop("sources")
        return data


class Builder(StandaloneHTMLBuilder):
    """The HTML builder with our addresses."""

    def init(self) -> None:
        """Know the root page before any address is asked for."""
        super().init()
        self.indexer_format = SearchIndex(self.config.root_doc)

    def get_target_uri(self, docname: str, typ: str | None = None) -> str:
        """The address that links point to."""
        return quote(address(docname, self.config.root_doc)) + self.link_suffix

    def get_outfilename(self, pagename: str) -> str:
        """The file behind that address."""
        name = address(pagename, self.config.root_doc) + self.out_suffix
        return os.path.join(self.outdir, *name.split("/"))


def number_repeated_ids(app: Sphinx, doctree: nodes.document) -> None:
    """Number the ids that are the same in every algorithm and exercise."""
    for number, node in enumerate(doctree.findall(nodes.section), start=1):
        node["ids"] = [f"{name}-{number}" if name in REPEATED else name for name in node["ids"]]


def setup(app: Sphinx) -> dict[str, Any]:
    """Replace the HTML builder, and tidy up each page that was read."""
    app.add_builder(Builder, override=True)
    app.connect("doctree-read", number_repeated_ids)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
