"""The execution tool: parameters, failures, the cache, and the table at the end."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import execute
import nbformat
import psutil
import pytest
from execute import BOOK, fingerprint, run
from nbformat.v4 import new_code_cell, new_notebook

CLAIM = """
from IPython.display import display
record = {"id": "T1", "statement": "s", "verdict": "confirmed", "evidence": "e",
          "seeds": [seed], "scale": scale}
display({"text/plain": "T1: confirmed"}, raw=True, metadata={"dlopt.claim": record})

def never():
    from dlopt import module
"""


MODULES = ("dlopt/__init__.py", "dlopt/module.py", "dlopt/other.py")


def trivial(*sources: str) -> str:
    cells = [
        new_code_cell('seed = 0\nscale = "book"\ndevice = "cpu"', metadata={"tags": ["parameters"]})
    ]
    cells += [new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(sources)]
    cells[0]["id"] = "parameters"
    return nbformat.writes(new_notebook(cells=cells))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project in small: the tools, two modules, a notebook that uses one of them."""
    shutil.copytree(Path(execute.__file__).parent, tmp_path / "book" / "_tools")
    for name in (*MODULES, "constraints.txt", "notebooks/lesson.ipynb"):
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


HARMLESS = """\
import sys
print("No CUDA runtime is found, using CUDA_HOME='/cuda'", file=sys.stderr)
print("/lib/a b/_script.py:9: DeprecationWarning: `torch.jit.script` is deprecated. Please ...",
      file=sys.stderr)
print("  warnings.warn(", file=sys.stderr)
print("kept")
"""


def test_harmless_lines_on_stderr_are_dropped() -> None:
    text, _, error = run(trivial(HARMLESS), BOOK)
    assert error == ""
    (output,) = json.loads(text)["cells"][1]["outputs"]
    assert (output["name"], output["text"]) == ("stdout", ["kept\n"])


def test_any_other_line_on_stderr_fails_and_is_shown(tree: Path) -> None:
    warn = "import warnings\nwarnings.warn('look here')"
    (tree / "notebooks" / "lesson.ipynb").write_text(trivial(HARMLESS, warn))
    failed = call(tree)
    assert failed.returncode == 1
    assert "lesson FAILED" in failed.stdout
    assert "UserWarning: look here" in failed.stdout
    assert "CUDA" not in failed.stdout
    assert warn in failed.stdout, "the cell is shown"
    assert not list((tree / "_build" / "executed").iterdir())


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


def test_command_runs_two_notebooks_at_a_time(tree: Path) -> None:
    """Each waits for the other to have started."""
    wait = "import pathlib, time\nhere = pathlib.Path({!r})\n(here / {!r}).touch()\n"
    wait += "while not (here / {!r}).exists():\n    time.sleep(0.05)"
    for one, other in (("a", "b"), ("b", "a")):
        notebook = trivial(wait.format(str(tree), one, other))
        (tree / "notebooks" / f"{one}.ipynb").write_text(notebook)
    done = call(tree, "a", "b")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert sorted(lines[1:3]) == ["a …", "b …"]
    assert [line.split()[1] for line in lines[3:5]] == ["done", "done"]


def test_command_forgets_removed_notebooks(tree: Path) -> None:
    removed = tree / "_build" / "executed" / "removed.ipynb"
    removed.parent.mkdir(parents=True)
    removed.write_text("{}")
    (tree / "notebooks" / "lesson.ipynb").unlink()
    assert call(tree).returncode == 0
    assert not removed.exists()


# What is refused or interrupted is so in a sentence


def test_folder_without_permission_is_refused_before_anything_runs(tree: Path) -> None:
    (tree / "_build").write_text("no folder")
    refused = call(tree)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("can't write into ")
    assert refused.stderr.count("\n") == 1


SCHEDULER = """
import sys, execute
from distributed import LocalCluster
execute.PATIENCE = 1
with LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster:
    sys.exit(execute.main(["--scheduler", sys.argv[1] or cluster.scheduler_address]))
"""


@pytest.mark.parametrize(
    ("address", "sentence"),
    [("", "has no worker after 1 s"), ("127.0.0.1:9", "no Dask scheduler answers at 127.0.0.1:9")],
)
def test_cluster_that_cannot_work_is_refused(tree: Path, address: str, sentence: str) -> None:
    refused = subprocess.run(
        [sys.executable, "-c", SCHEDULER, address],
        cwd=tree / "book" / "_tools", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert refused.returncode == 2
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr


def hear_interrupts() -> None:
    """Undo what a shell does to the programs in its background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupt_ends_everything_at_once(tree: Path) -> None:
    (tree / "notebooks" / "lesson.ipynb").write_text(trivial("import time\ntime.sleep(300)"))
    command = [sys.executable, str(tree / "book" / "_tools" / "execute.py")]
    with subprocess.Popen(
        command, stdout=PIPE, stderr=PIPE, text=True, preexec_fn=hear_interrupts
    ) as process:
        try:
            assert process.stdout is not None
            while "lesson …" not in process.stdout.readline():
                pass
            while not (kernels := psutil.Process(process.pid).children(recursive=True)):
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=5)
        finally:
            process.kill()
    assert process.returncode == 130
    assert out.splitlines()[-1].startswith("Interrupted")
    assert err == ""
    _, left = psutil.wait_procs(kernels, timeout=5)
    assert [k for k in left if k.status() != psutil.STATUS_ZOMBIE] == []


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
def test_fingerprint_follows_used_modules_pins_and_cells(tree: Path, part: str) -> None:
    before = fingerprint_in(tree)
    (tree / "dlopt" / "other.py").write_text("# changed\n")
    assert fingerprint_in(tree) == before
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
