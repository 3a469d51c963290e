"""Which of the project's own files a piece of code depends on, read off its import statements.

A package at the root, such as `dlopt`, is a door: ``dlopt.BFGS`` and ``from dlopt import BFGS``
lead through its ``__init__.py`` to the module that defines the name, and to nothing else that
stands there. From a module the way goes on to all that it imports itself, at its top or inside a
function. A package further in, passed around as a value, stands for all its modules. What can't be
followed (a star, the door itself passed around, a name given to ``import_module``) makes the code
depend on everything.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Two commands of IPython that use no name of ours; any other is not Python, and so everything.
COMMAND = re.compile(r"^(\s*)%(?:pip|matplotlib)\b.*$", re.MULTILINE)
DYNAMIC = {"import_module", "__import__"}


class Unknown(Exception):
    """The code can't be followed."""


def sources(code: str, root: Path) -> list[Path]:
    """The files that the code depends on, sorted.

    Args:
        code: Python, or the cells of a notebook one after the other.
        root: the folder that holds the project's packages.

    Returns:
        Paths of modules, also of the packages they lie in; all modules there are if the code
        can't be followed.
    """
    project = Project(root)
    try:
        found: set[str] = set()
        new = project.needs(COMMAND.sub(r"\1pass", code), package="")
        while new:
            found |= new
            new = set().union(*map(project.needs_of_module, new)) - found
        return sorted(project.files[name] for name in found)
    except (Unknown, SyntaxError):
        return sorted(project.files.values())


class Project:
    """The modules under a folder, by their dotted names."""

    def __init__(self, root: Path) -> None:
        self.doors = {path.parent.name for path in root.glob("*/__init__.py")}
        self.files: dict[str, Path] = {}
        for path in [
            *root.glob("*.py"),
            *(p for d in self.doors for p in (root / d).rglob("*.py")),
        ]:
            place = path.parent if path.name == "__init__.py" else path.with_suffix("")
            self.files[".".join(place.relative_to(root).parts)] = path

    def needs_of_module(self, module: str) -> set[str]:
        """The modules that a module names, and the packages around it."""
        path = self.files[module]
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        return self.needs(path.read_text(encoding="utf-8"), package) | self.inside(package)

    def needs(self, code: str, package: str) -> set[str]:
        """The modules that the code of a module in ``package`` names."""
        facts = read_off(code)
        names = {name for name, _ in facts.imports if "." in name}
        variables: dict[str, str] = {}  # those that hold a module, and its dotted name
        for name, variable in facts.imports:
            top = name.partition(".")[0]
            variables[variable or top] = name if variable else top
        for dots, name, variable in facts.members:
            name = absolute(dots, name, package)
            names.add(name)
            if name in self.files:
                variables[variable] = name
        for chain in facts.chains:
            variable, dot, rest = chain.partition(".")
            if variable in variables:
                name = variables[variable] + dot + rest
                if name in self.doors:
                    raise Unknown(f"{name} passed around as a value")
                if name in self.files and self.files[name].name == "__init__.py":
                    names |= {inner for inner in self.files if inner.startswith(f"{name}.")}
                names.add(name)
        if any(self.owns(word) for word in facts.computed):
            raise Unknown("a module named at run time")
        return {module for name in names if self.owns(name) for module in self.meant(name)}

    def owns(self, name: str) -> bool:
        """Whether a dotted name belongs to the project."""
        top = name.partition(".")[0]
        return not top or top in self.files

    def inside(self, module: str) -> set[str]:
        """The module and the packages around it, up to the door."""
        parts = module.split(".") if module else []
        paths = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
        return {path for path in paths if path not in self.doors}

    def meant(self, name: str) -> set[str]:
        """The modules that a dotted name leads to."""
        door, _, rest = name.partition(".")
        if not door or name.endswith(".*"):
            raise Unknown(name)
        if door not in self.doors:
            return {door}
        path = name
        while path != door and path not in self.files:
            path = path.rpartition(".")[0]
        if path != door or not rest:
            return self.inside(path)
        facts = read_off(self.files[door].read_text(encoding="utf-8"))
        exported = {name: absolute(dots, path, door) for dots, path, name in facts.members}
        path = exported.get(rest.partition(".")[0], name)
        if path == name:
            raise Unknown(name)
        return self.meant(path) if self.owns(path) else set()


@dataclass(frozen=True)
class Facts:
    """What a piece of code says about imports, whatever there is to import."""

    imports: list[tuple[str, str | None]]  # import NAME as VARIABLE
    members: list[tuple[int, str, str]]  # from ... import: dots, name with its module, variable
    chains: set[str]  # names with all their attributes: those of modules are among them
    computed: list[str]  # the strings of code that imports by a name


@cache  # the same modules stand behind many notebooks
def read_off(code: str) -> Facts:
    """Read the facts off the syntax tree."""
    tree = list(ast.walk(ast.parse(code)))
    facts = Facts([], [], set(), [])
    for node in tree:
        if isinstance(node, ast.Import):
            facts.imports.extend((alias.name, alias.asname) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = f"{node.module}." if node.module else ""
            facts.members.extend(
                (node.level, around + alias.name, alias.asname or alias.name)
                for alias in node.names
            )
    variables = {variable or name.partition(".")[0] for name, variable in facts.imports}
    variables |= {variable for _, _, variable in facts.members}
    inner: set[ast.AST] = set()
    for node in tree:  # from the outside: the longest chain comes first
        if node not in inner:
            parts = []
            while isinstance(node, ast.Attribute):
                parts.append(node.attr)
                node = node.value
                inner.add(node)
            if isinstance(node, ast.Name) and node.id in variables:
                facts.chains.add(".".join([node.id, *reversed(parts)]))
    if any((getattr(n, "id", None) or getattr(n, "attr", None)) in DYNAMIC for n in tree):
        strings = (getattr(node, "value", None) for node in tree)
        facts.computed.extend(
            text for text in strings if isinstance(text, str) and re.fullmatch(r"[\w.]+", text)
        )
    return facts


def absolute(dots: int, name: str, package: str) -> str:
    """The full name of what is imported in a package by a name with leading dots."""
    if not dots:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - dots + 1], name])
