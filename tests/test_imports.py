"""What a notebook depends on: each form of import, and the lessons as they are."""

import subprocess
import sys
from pathlib import Path

import execute
import pytest
from execute import NOTEBOOKS, ROOT, stems
from imports import COMMAND, sources
from notebook_filter import read

TREE = {
    "lib/__init__.py": "from lib.a import A, a2 as renamed\nfrom .b import B\nfrom os import sep\n"
    "from lib.pages import Page\n",
    "lib/a.py": "A = a2 = 1\n",
    "lib/b.py": "from lib.c import C\nB = C\n",
    "lib/c.py": "def C():\n    from .d import D\n    return D\n",
    "lib/d.py": "import numpy\nD = 1\n",
    "lib/alone.py": "",
    "lib/uses_door.py": "import lib\n\ndef f():\n    return lib.A\n",
    "lib/pages/__init__.py": "from lib.pages.page import Page\n",
    "lib/pages/page.py": "from .. import a\nfrom . import ink\nPage = ink.DARK, a.A\n",
    "lib/pages/ink.py": "DARK = 1\n",
    "lib/pages/deep/__init__.py": "",
    "lib/pages/deep/down.py": "",
    "bench/__init__.py": "",
    "bench/run.py": "from lib import A\n",
    "single.py": "from lib.alone import *\n",
}
EVERYTHING = set(TREE)
PAGES = {"lib/pages/__init__.py", "lib/pages/page.py", "lib/pages/ink.py", "lib/a.py"}
B = {"lib/b.py", "lib/c.py", "lib/d.py"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def used(code: str, tree: Path) -> set[str]:
    return {path.relative_to(tree).as_posix() for path in sources(code, tree)}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import torch, os.path\nfrom numpy import *\nos.sep", set()),
        # Through the door
        ("import lib", set()),
        ("import lib\nlib.A + 1", {"lib/a.py"}),
        ("import lib as l\nl.A.real.imag", {"lib/a.py"}),
        ("from lib import A", {"lib/a.py"}),
        ("from lib import renamed as other", {"lib/a.py"}),
        ("from lib import B, A", B | {"lib/a.py"}),
        ("from lib import sep", set()),
        ("def f():\n    from lib import B", B),
        ("from lib import Page", PAGES),
        # Modules
        ("from lib.c import C", {"lib/c.py", "lib/d.py"}),
        ("import lib.d", {"lib/d.py"}),
        ("import lib.d as d", {"lib/d.py"}),
        ("import lib.d\nlib.A", {"lib/a.py", "lib/d.py"}),
        ("import lib\nlib.b.B", B),
        ("from lib import d", {"lib/d.py"}),
        ("from lib import d\nprint(d)", {"lib/d.py"}),
        ("from lib.uses_door import f", {"lib/uses_door.py", "lib/a.py"}),
        # Packages inside
        ("from lib.pages import ink", PAGES),
        ("from lib.pages.ink import DARK", PAGES),
        ("from lib import pages\npages.ink.DARK", PAGES),
        ("import lib\nlib.pages.deep.down.x",
         PAGES | {"lib/pages/deep/__init__.py", "lib/pages/deep/down.py"}),
        ("from lib.pages.deep.down import x",
         PAGES | {"lib/pages/deep/__init__.py", "lib/pages/deep/down.py"}),
        # Other folders of the project
        ("from bench.run import x", {"bench/run.py", "lib/a.py"}),
        # What can't be followed
        ("from lib import *", EVERYTHING),
        ("from lib.a import *", EVERYTHING),
        ("from single import x", EVERYTHING),
        ("from lib import absent", EVERYTHING),
        ("import lib\nlib.absent", EVERYTHING),
        ("import lib\ngetattr(lib, name)", EVERYTHING),
        ("import lib\nalias = lib", EVERYTHING),
        ("from lib import pages\nvars(pages)",
         PAGES | {"lib/pages/deep/__init__.py", "lib/pages/deep/down.py"}),
        ("from importlib import import_module\nimport_module('lib.a')", EVERYTHING),
        ("import importlib\nimportlib.import_module(f'lib.{name}')", EVERYTHING),
        ("__import__('lib')", EVERYTHING),
        ("this is no Python", EVERYTHING),
        ("%run script.py", EVERYTHING),
        ("from . import a", EVERYTHING),
        # What looks like it and isn't
        ("from importlib import import_module\nimport_module('torch')", set()),
        ("if x:\n    %pip install lib\nimport lib\nlib.A", {"lib/a.py"}),
    ],
)  # fmt: skip
def test_forms_of_import(tree: Path, code: str, expected: set[str]) -> None:
    assert used(code, tree) == expected


def test_door_itself_is_no_dependency(tree: Path) -> None:
    before = used("from lib import A", tree)
    door = tree / "lib" / "__init__.py"
    door.write_text(door.read_text() + "from lib.alone import other\n")
    assert used("from lib import A", tree) == before
    door.write_text(door.read_text().replace("from lib.a import A", "from lib.b import A"))
    assert used("from lib import A", tree) == B


# The lessons


def code_of(stem: str) -> str:
    cells = read(NOTEBOOKS / f"{stem}.ipynb")["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


@pytest.mark.parametrize("stem", stems())
def test_fingerprint_changes_with_the_modules_that_a_lesson_uses(
    stem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = [*ROOT.glob("*/__init__.py"), *(ROOT / "dlopt").rglob("*.py")]
    for path in [*modules, *ROOT.glob("benchmarks/*.py"), ROOT / "constraints.txt"]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    needed = {path.relative_to(ROOT) for path in sources(code_of(stem), ROOT)}
    monkeypatch.setattr(execute, "ROOT", tmp_path)
    notebook = NOTEBOOKS / f"{stem}.ipynb"
    before = execute.fingerprint(notebook)
    changed = set()
    for path in sorted(tmp_path.rglob("*.py")):
        content = path.read_bytes()
        path.write_bytes(content + b"\n# changed\n")
        if execute.fingerprint(notebook) != before:
            changed.add(path.relative_to(tmp_path))
        path.write_bytes(content)
    assert changed == needed
    assert len(needed) < len(list(tmp_path.rglob("*.py"))), "everything: what can't be followed?"


ALONE = """
import importlib, sys
lines, stems = open("lines").read().splitlines(), set()
for number, line in enumerate(lines):
    stem, statement = line.split(": ", 1)
    if stem not in stems:
        stems.add(stem)
        for name in [name for name in sys.modules if name.split(".")[0] == "dlopt"]:
            del sys.modules[name]
        sys.path[0] = stem
        importlib.invalidate_caches()
    exec(statement)
"""


def test_lessons_find_all_they_import_in_what_they_depend_on(tmp_path: Path) -> None:
    """Each lesson's imports work beside nothing but its dependencies, and so do theirs."""
    import ast

    lines = []
    for stem in stems():
        code, files = COMMAND.sub(r"\1pass", code_of(stem)), sources(code_of(stem), ROOT)
        for path in files:
            copy = tmp_path / stem / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        modules = {".".join(p.relative_to(ROOT).with_suffix("").parts) for p in files}
        door = (ROOT / "dlopt" / "__init__.py").read_text(encoding="utf-8")
        kept = [
            ast.unparse(node)
            for node in ast.parse(door).body
            if isinstance(node, ast.ImportFrom) and node.module in modules
        ]
        (tmp_path / stem / "dlopt" / "__init__.py").write_text("\n".join(kept))
        for text in [code, *(p.read_text(encoding="utf-8") for p in files)]:
            lines += [
                f"{stem}: {ast.unparse(node)}"
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Import | ast.ImportFrom)
                if "dlopt" in ast.unparse(node) and not getattr(node, "level", 0)
            ]
            lines += [
                f"{stem}: import dlopt; {ast.unparse(node)}"
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Attribute)
                if isinstance(node.value, ast.Name) and node.value.id == "dlopt"
            ]
    (tmp_path / "lines").write_text("\n".join(dict.fromkeys(lines)))
    command = [sys.executable, "-c", ALONE]
    result = subprocess.run(
        command, cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert result.stderr == ""


def test_a_change_of_bfgs_concerns_no_lesson_that_does_not_use_it() -> None:
    bfgs = ROOT / "dlopt" / "bfgs.py"
    concerned = {stem for stem in stems() if bfgs in sources(code_of(stem), ROOT)}
    assert "bfgs" in concerned
    assert concerned & {"newton", "conjugate_gradient", "nonlinear_cg"} == set()
