"""The three rooms: algorithms need no other, training no lesson, and plotting alone draws."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dlopt"


def imports(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {*names, *(node.module or "" for node in nodes if isinstance(node, ast.ImportFrom))}


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


@pytest.mark.parametrize("room", ["lesson", "training"])
def test_a_module_has_its_tests_where_its_path_says(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        if path.name != "__init__.py":
            place = ROOT / "tests" / path.relative_to(PACKAGE).with_name(f"test_{path.name}")
            assert place.is_file()
