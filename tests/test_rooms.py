"""The three rooms: algorithms need no other, training no lesson, and plotting alone draws."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dlopt"


def imports(path: Path, root: Path = ROOT) -> set[str]:
    """The modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(root).parts[: -node.level] if node.level else ()
            module = ".".join([*package, *filter(None, [node.module])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {node.value} if node.value.startswith("dlopt.") else set()
    return found


def test_every_form_of_import_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "dlopt" / "module.py"
    path.parent.mkdir()
    for code in (
        "import dlopt.lesson",
        "from dlopt import lesson",
        "from . import lesson",
        "from .lesson import claims",
        "import_module('dlopt.lesson.claims')",
    ):
        path.write_text(code)
        assert any(name.startswith("dlopt.lesson") for name in imports(path, tmp_path)), code


@pytest.mark.parametrize(
    ("folder", "rooms"),
    [("", ("dlopt.lesson", "dlopt.training")), ("training", ("dlopt.lesson",))],
)
def test_a_room_imports_no_later_one(folder: str, rooms: tuple[str, ...]) -> None:
    for path in (PACKAGE / folder).glob("*.py"):
        assert [name for name in imports(path) if name.startswith(rooms)] == [], path


def test_plotting_alone_imports_matplotlib() -> None:
    drawing = {
        path.parent.name
        for path in PACKAGE.rglob("*.py")
        if any(name.startswith("matplotlib") for name in imports(path))
    }
    assert drawing == {"plotting"}


def test_a_module_has_its_tests_where_its_path_says() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name != "__init__.py":
            place = ROOT / "tests" / path.relative_to(PACKAGE).with_name(f"test_{path.name}")
            assert place.is_file(), place


def test_a_lesson_is_read_without_the_files_of_later_ones() -> None:
    """Conjugate gradients don't need BFGS, line searches and trust regions no method at all."""
    methods = {path.stem for path in PACKAGE.glob("*.py")}
    needs = {name: {n.removeprefix("dlopt.") for n in imports(PACKAGE / f"{name}.py")} & methods
             for name in methods}  # fmt: skip

    def closure(name: str) -> set[str]:
        found, new = set(), {name}
        while new:
            found |= new
            new = set().union(*(needs[n] for n in new)) - found
        return found - {name}

    assert "bfgs" not in closure("conjugate_gradient") | closure("lbfgs")
    assert not needs["bfgs"] & {"gradient_descent", "newton", "lbfgs", "conjugate_gradient"}
    assert closure("line_search") == {"evaluation", "interpolation"}
    assert closure("trust_region") & {"newton", "descent", "line_search", "bfgs"} == set()
