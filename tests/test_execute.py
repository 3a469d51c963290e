"""The execution tool: parameters, failures, the cache, and the table at the end."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import execute
import nbformat
import pytest
from execute import BOOK, fingerprint, run
from nbformat.v4 import new_code_cell, new_notebook

CLAIM = """
from IPython.display import display
record = {"id": "T1", "statement": "s", "verdict": "confirmed", "evidence": "e",
          "seeds": [seed], "scale": scale}
display({"text/plain": "T1: confirmed"}, raw=True, metadata={"dlopt.claim": record})
"""


def trivial(*sources: str) -> str:
    cells = [
        new_code_cell('seed = 0\nscale = "book"\ndevice = "cpu"', metadata={"tags": ["parameters"]})
    ]
    cells += [new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(sources)]
    cells[0]["id"] = "parameters"
    return nbformat.writes(new_notebook(cells=cells))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project in small: the tools, one module, one notebook."""
    tools = Path(execute.__file__).parent
    for name in ("execute.py", "notebook_filter.py"):
        (tmp_path / "book" / "_tools").mkdir(parents=True, exist_ok=True)
        shutil.copy(tools / name, tmp_path / "book" / "_tools")
    for name in ("dlopt/module.py", "constraints.txt", "notebooks/lesson.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "notebooks" / "lesson.ipynb").write_text(trivial(CLAIM))
    return tmp_path


def call(tree: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(tree / "book" / "_tools" / "execute.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_run_injects_only_what_differs_from_the_book() -> None:
    text, seconds, error = run(trivial(CLAIM), {**BOOK, "seed": 5})
    notebook = json.loads(text)
    assert (error, seconds > 0) == ("", True)
    assert execute.records(notebook)[0]["seeds"] == [5]
    injected = [
        c for c in notebook["cells"] if "injected-parameters" in c["metadata"].get("tags", [])
    ]
    assert ["".join(c["source"]).split() for c in injected] == [
        ["#", "Parameters", "seed", "=", "5"]
    ]
    assert "papermill" not in text


def test_run_uses_this_interpreter_one_thread_and_a_folder_of_its_own(tmp_path: Path) -> None:
    source = (
        "import os, sys\n"
        "print(sys.executable, os.environ['OMP_NUM_THREADS'], os.environ['DLOPT_STATIC'], "
        "os.listdir())"
    )
    notebook = json.loads(run(trivial(source), BOOK)[0])
    assert notebook["cells"][1]["outputs"][0]["text"] == [f"{sys.executable} 1 1 []\n"]


def test_run_reports_the_traceback_of_a_failing_cell() -> None:
    text, _, error = run(trivial("value = 0", "1 / value"), BOOK)
    assert text == ""
    assert "ZeroDivisionError" in error


def test_command_executes_once_reports_and_fails_with_the_notebook(tree: Path) -> None:
    out = tree / "_build" / "executed" / "lesson.ipynb"
    first = call(tree)
    assert first.returncode == 0, first.stderr
    assert "lesson …" in first.stdout
    assert "lesson done in" in first.stdout
    assert "T1 confirmed" in first.stdout
    metadata = json.loads(out.read_text())["metadata"]["dlopt"]
    assert metadata["fingerprint"] == fingerprint_in(tree)

    written = out.stat().st_mtime_ns
    second = call(tree)
    assert "lesson done" not in second.stdout
    assert "executed before" in second.stdout
    assert out.stat().st_mtime_ns == written

    (tree / "notebooks" / "lesson.ipynb").write_text(trivial(CLAIM, "1 / 0"))
    failed = call(tree)
    assert failed.returncode == 1
    assert "ZeroDivisionError" in failed.stdout
    assert failed.stdout.splitlines()[-1] == "FAILED: lesson"
    assert json.loads(out.read_text())["metadata"]["dlopt"]["fingerprint"] != fingerprint_in(tree)
    assert [path.name for path in out.parent.iterdir()] == ["lesson.ipynb"]


def test_command_refuses_unknown_notebooks_and_forgets_removed_ones(tree: Path) -> None:
    assert "no such notebook: absent" in call(tree, "absent").stderr
    removed = tree / "_build" / "executed" / "removed.ipynb"
    removed.parent.mkdir(parents=True)
    removed.write_text("{}")
    (tree / "notebooks" / "lesson.ipynb").unlink()
    assert call(tree).returncode == 0
    assert not removed.exists()


def fingerprint_in(tree: Path, **parameters: object) -> str:
    """The fingerprint as the project in ``tree`` computes it."""
    code = (
        "import json, sys; from execute import BOOK, NOTEBOOKS, fingerprint; "
        "print(fingerprint(NOTEBOOKS / 'lesson.ipynb', {**BOOK, **json.loads(sys.argv[1])}))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, json.dumps(parameters)],
        cwd=tree / "book" / "_tools",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.mark.parametrize("part", ["dlopt/module.py", "constraints.txt", "notebooks/lesson.ipynb"])
def test_fingerprint_follows_library_pins_and_cells(tree: Path, part: str) -> None:
    before = fingerprint_in(tree)
    content = trivial(CLAIM, "0") if part.endswith("ipynb") else "# changed\n"
    (tree / part).write_text(content)
    assert fingerprint_in(tree) != before


def test_fingerprint_follows_parameters_but_not_outputs(tree: Path) -> None:
    before = fingerprint_in(tree)
    assert fingerprint_in(tree, seed=1) != before
    path = tree / "notebooks" / "lesson.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "new"}]
    path.write_text(json.dumps(notebook))
    assert fingerprint_in(tree) == before


def test_save_replaces_whole_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lesson.ipynb"
    execute.save(trivial(), path, "first", 1.0)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute.save(trivial("1"), path, "second", 1.0)
    assert execute.load(path, "first") is not None
    assert execute.load(path, "second") is None


def test_folders_are_apart_per_seed_and_scale() -> None:
    folders = [
        execute.folder({**BOOK, "seed": s, "scale": c}) for s in (0, 1) for c in ("book", "smoke")
    ]
    assert len(set(folders)) == 4
    assert folders[0].name == "executed"


def test_fingerprint_default_is_the_book() -> None:
    for name in execute.stems():
        path = execute.NOTEBOOKS / f"{name}.ipynb"
        assert fingerprint(path) == fingerprint(str(path), BOOK)
