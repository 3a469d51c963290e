"""The API reference: names that lead to their entry, and sentences that stay sentences.

The reference documents every object in the module that defines it. Readers, and docstrings, also
use the name under which the package or a module re-exports it: ``dlopt.Newton`` and ``Newton`` lead
to the entry ``dlopt.newton.Newton``.
"""

from __future__ import annotations

import importlib
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def defining_name(target: str, module: str = "dlopt") -> str | None:
    """The full name of what ``target`` means in ``module``, where it is defined.

    >>> defining_name("dlopt.minimize"), defining_name("minimize"), defining_name("dlopt.nothing")
    ('dlopt.minimization.minimize', 'dlopt.minimization.minimize', None)
    """
    place = importlib.import_module(module)
    first, *rest = target.removeprefix("dlopt.").split(".")
    found: Any = getattr(place, first, None) or getattr(
        importlib.import_module("dlopt"), first, None
    )
    owner: str = getattr(found, "__module__", None) or ""
    if not owner.startswith("dlopt"):
        return None
    return ".".join([owner, found.__qualname__, *rest])


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.TextElement
) -> nodes.Element | None:
    """Look a missing Python reference up by the name of the object it means."""
    if node.get("refdomain") != "py":
        return None
    name = defining_name(node["reftarget"], node.get("py:module") or "dlopt")
    if name is None or name == node["reftarget"]:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)


def keep_sentences(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Keep napoleon from reading a type into what stands before a colon.

    Our ``Returns`` sections and properties are described in words, which may contain colons.
    """
    if what in ("attribute", "property") and lines and ":" in lines[0]:
        head, colon, tail = lines[0].partition(":")
        lines[:1] = [head + "\\", colon + tail]  # a backslash joins two lines
    section = ""
    for number, line in enumerate(lines):
        if line in ("Returns:", "Yields:"):
            section = f":{line.lower()} "
            lines[number] = ""
        elif section and line:
            lines[number] = section + line.strip()
            section = ""


def setup(app: Sphinx) -> dict[str, Any]:
    """Come in where Sphinx finds nothing, and before napoleon."""
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-docstring", keep_sentences, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
