"""Execute the notebooks: papermill jobs, run by Dask, cached by content.

::

    python book/_tools/execute.py                           # the book: _build/executed/
    python book/_tools/execute.py --seed 3 --scale full     # _build/runs/seed-3_scale-full_.../
    python book/_tools/execute.py --scheduler HOST:8786 …   # on any Dask cluster

A notebook is executed again when its cells, its parameters, a module that it uses (see
``imports.py``) or the pinned versions have changed. A failed run prints the cell's traceback, or
what the cell wrote to stderr, leaves no file, and the exit status is 1. Workers of a foreign
cluster need `dlopt` with the `book` extra; notebooks travel as text: no file system is shared.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from imports import sources
from notebook_filter import clean, read
from refusals import Parser, Refused, check_device, check_folder, whole

Parameters = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
BUILD = ROOT / "_build"
BOOK: Parameters = {"seed": 0, "scale": "book", "device": "cpu"}
CELL_TIMEOUT = {"smoke": 300, "book": 900}  # seconds; "full" may take as long as it likes
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PATIENCE = 30  # seconds until a scheduler has to answer, and its first worker to be there
# Lines on stderr that mean nothing here. Any other would stand on the page: it fails the notebook.
HARMLESS = re.compile(
    # PyTorch beside a CUDA toolkit on a machine without GPU; its own forward-mode derivatives.
    r"^.*No CUDA runtime is found, using CUDA_HOME=.*\n?"
    r"|^.*Warning: `torch\.jit\.script(?:_method)?` is .*\n?(?:[ \t].*\n?)?",
    re.MULTILINE,
)
# Explorable figures are drawn as frames, and a kernel has one thread, whatever the machine.
ENVIRONMENT = {"DLOPT_STATIC": "1", **dict.fromkeys(THREADS, "1")}


def stems() -> list[str]:
    """The notebooks there are, by name."""
    return sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def folder(parameters: Parameters = BOOK) -> Path:
    """Where the notebooks executed with these parameters belong."""
    if parameters == BOOK:
        return BUILD / "executed"
    return BUILD / "runs" / "_".join(f"{name}-{value}" for name, value in parameters.items())


def fingerprint(notebook_path: str | Path, parameters: Parameters = BOOK) -> str:
    """The content that an execution depends on, as a hash.

    It stands in the executed notebook as ``metadata["dlopt"]["fingerprint"]``.
    """
    cells = clean(read(Path(notebook_path)))["cells"]
    content = [[cell[k] for k in ("id", "cell_type", "metadata", "source")] for cell in cells]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    digest = hashlib.sha256(json.dumps([content, parameters], sort_keys=True).encode())
    for path in [*sources(code, ROOT), ROOT / "constraints.txt"]:
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def records(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The claim records of an executed notebook, in order."""
    return [
        output["metadata"]["dlopt.claim"]
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "dlopt.claim" in output.get("metadata", {})
    ]


def run(text: str, parameters: Parameters) -> tuple[str, float, str]:
    """Execute a notebook in a fresh kernel of this interpreter.

    Args:
        text: the notebook as JSON.
        parameters: values for its parameters cell; those of the book are the cell's own.

    Returns:
        The executed notebook as JSON, the seconds it took, and if it failed the traceback or what
        it wrote to stderr.
    """
    import nbformat
    import papermill
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class OwnKernel(AsyncKernelManager):
        """Starts this interpreter, whatever kernels the user has installed under the same name."""

        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])

    os.environ.update(ENVIRONMENT)
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as cwd:
            notebook = papermill.execute_notebook(
                nbformat.reads(text, as_version=4),
                None,
                {name: v for name, v in parameters.items() if v != BOOK[name]},
                kernel_name="python3",
                language="python",
                progress_bar=False,
                resources={"metadata": {"path": cwd}},
                execution_timeout=CELL_TIMEOUT.get(parameters["scale"]),
                kernel_manager_class=OwnKernel,
                extra_arguments=["--log-level=CRITICAL"],  # not its remarks about transports
            )
    except papermill.PapermillExecutionError as error:
        return "", time.perf_counter() - start, str(error)
    except Exception:
        return "", time.perf_counter() - start, traceback.format_exc()
    for cell in notebook.cells:
        for noise in ("papermill", "execution"):
            cell.metadata.pop(noise, None)
    notebook.metadata.pop("papermill", None)
    errors = take_errors(notebook.cells)
    return "" if errors else nbformat.writes(notebook), time.perf_counter() - start, errors


def take_errors(cells: list[dict[str, Any]]) -> str:
    """Drop what the cells wrote to stderr; return what was not harmless, with its cell."""
    found = []
    for cell in cells:
        outputs = cell.get("outputs", [])
        if "outputs" in cell:
            cell["outputs"] = [output for output in outputs if output.get("name") != "stderr"]
        written = "".join(o["text"] for o in outputs if o.get("name") == "stderr")
        if rest := HARMLESS.sub("", written).strip():
            found.append(f"A cell wrote to stderr, which would stand on the page:\n{rest}\n")
            found.append(f"The cell:\n{cell['source']}\n")
    return "\n".join(found)


def save(text: str, path: Path, key: str, seconds: float) -> dict[str, Any]:
    """Put an executed notebook in its place, whole or not at all."""
    notebook: dict[str, Any] = json.loads(text)
    notebook["metadata"]["dlopt"] = {"fingerprint": key, "seconds": round(seconds, 1)}
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".part")
    half.write_text(json.dumps(notebook, ensure_ascii=False, indent=1), encoding="utf-8")
    half.replace(path)
    return notebook


def load(path: Path, key: str) -> dict[str, Any] | None:
    """The executed notebook, if it is there and current."""
    try:
        notebook = read(path)
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    current = notebook["metadata"].get("dlopt", {}).get("fingerprint") == key
    return notebook if current else None


def execute_all(
    names: list[str], parameters: Parameters, workers: int, scheduler: str | None
) -> Iterator[tuple[str, str, float, str]]:
    """Run the notebooks on a Dask cluster; yield name and result of each as it ends."""
    from distributed import Client, LocalCluster, as_completed, get_worker

    def job(name: str, text: str) -> tuple[str, str, float, str]:
        get_worker().log_event("started", name)
        return name, *run(text, parameters)

    # Dask would like to know by which address others see this machine; without a network, nobody.
    warnings.filterwarnings("ignore", "Couldn't detect a suitable IP address")
    with ExitStack() as stack:
        # Threads suffice here: each only waits for its kernel, which is a process.
        cluster = scheduler or stack.enter_context(
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=False,
                dashboard_address="127.0.0.1:0",
            )
        )
        try:
            client = stack.enter_context(Client(cluster, timeout=PATIENCE))
        except OSError:
            raise Refused(f"no Dask scheduler answers at {scheduler}") from None
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise Refused(f"{scheduler} has no worker after {PATIENCE} s: start one") from None
        client.subscribe_topic("started", lambda event: say(f"{event[1]} …"))
        texts = [(NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8") for name in names]
        for future in as_completed(client.map(job, names, texts, pure=False)):
            yield future.result()


def stop(*_: object) -> NoReturn:
    """End at once, with all kernels: whoever waits for one would go on waiting."""
    import psutil

    # Past Python's buffer, which may be in use.
    os.write(1, b"\nInterrupted. What was executed is kept; run it again to go on.\n")
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(130)


def say(line: str) -> None:
    """Print now, in one piece: someone is waiting, and several threads speak."""
    print(f"{line}\n", end="", flush=True)


def table(done: dict[str, dict[str, Any]], fresh: set[str]) -> str:
    """Times and verdicts, a line for each notebook."""
    lines = []
    for name, notebook in sorted(done.items()):
        verdicts = ", ".join(f"{r['id']} {r['verdict']}" for r in records(notebook))
        mark = " " if name in fresh else "*"
        seconds = notebook["metadata"]["dlopt"]["seconds"]
        lines.append(f"{name:24}{seconds:8.1f}{mark}  {verdicts or '–'}")
    legend = ["* executed before, nothing has changed since"] if set(done) - fresh else []
    return "\n".join(["notebook                 seconds  verdicts", *lines, *legend])


def bring_up_to_date(
    names: list[str], parameters: Parameters, workers: int, scheduler: str | None
) -> int:
    """Execute what is missing or stale, and report; the exit status."""
    out = folder(parameters)
    keys = {name: fingerprint(NOTEBOOKS / f"{name}.ipynb", parameters) for name in names}
    found = {name: load(out / f"{name}.ipynb", keys[name]) for name in names}
    done = {name: notebook for name, notebook in found.items() if notebook}
    todo = [name for name in names if name not in done]
    failed = []
    if todo:
        say(f"Executing {len(todo)} of {len(names)} notebooks, {workers} at a time")
        for name, text, seconds, error in execute_all(todo, parameters, workers, scheduler):
            if error:
                failed.append(name)
                say(f"{name} FAILED after {seconds:.1f} s\n{error}")
            else:
                done[name] = save(text, out / f"{name}.ipynb", keys[name], seconds)
                say(f"{name} done in {seconds:.1f} s")
    say(table(done, set(todo)))
    if failed:
        say(f"FAILED: {', '.join(sorted(failed))}")
    return 1 if failed else 0


def main(argv: list[str] | None = None) -> int:
    """Bring the executed notebooks up to date and report."""
    parser = Parser(description="Execute the notebooks.")
    parser.add_argument("stems", nargs="*", help="notebooks, by name (default: all)")
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=BOOK["seed"])
    parser.add_argument("--scale", choices=["smoke", "book", "full"], default=BOOK["scale"])
    parser.add_argument("--device", default=BOOK["device"])
    parser.add_argument("--workers", type=whole(1), default=2, help="notebooks at a time")
    parser.add_argument("--scheduler", help="address of a Dask scheduler to use instead")
    options = parser.parse_args(argv)
    parameters = {name: getattr(options, name) for name in BOOK}
    names = options.stems or stems()
    out = folder(parameters)
    if unknown := set(names) - set(stems()):
        parser.error(f"no such notebook: {', '.join(sorted(unknown))}")
    try:
        if not options.scheduler:  # a foreign cluster has devices of its own
            check_device(options.device)
        check_folder(out)
        if not options.stems:  # what is no longer in the book must not be read from there
            for path in out.glob("*.ipynb"):
                if path.stem not in names:
                    path.unlink()
        return bring_up_to_date(names, parameters, options.workers, options.scheduler)
    except Refused as refused:
        parser.error(str(refused))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, stop)
    sys.exit(main())
