"""A notebook as readers work in it: JupyterLab, driven by a browser.

A lesson is opened and looked at; a small notebook is run, its slider moved, saved, and read again
with a new kernel, without a kernel, and through nbconvert.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from execute import NOTEBOOKS
from nbconvert import HTMLExporter
from notebook_filter import clean, dumps, read, tags
from playwright.sync_api import Browser, Locator, Page, expect

ROOT = Path(__file__).parents[1]
TOKEN = "of-this-test"
LESSON = "newton.ipynb"
PATIENCE = 60_000  # milliseconds; the machine may be slow
# A notebook shows all its cells at once, and nobody is asked about news.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
SMALL = """
from dlopt.lesson import plotting
from dlopt.lesson.claims import claim
from dlopt.lesson.explore import Slider, explore

def draw(height):
    fig, ax = plotting.figure(3, 2)
    ax.plot([0, 1], [height, height])
    return fig

explore(
    draw,
    alt=lambda height: f"A line at {height:.1f}",
    caption="The line rises.",
    height=Slider([0.0, 5.0, 10.0], label="height", format=".1f"),
)
"""
CLAIM = """
claim(
    "N1", "One step lands on the minimum.", finding="It lands.", refuted_if="it does not land",
    confirmed=True, evidence="error 4e-16", seeds=[0], scale="book",
)
"""


@dataclass(frozen=True)
class Lab:
    """A JupyterLab server, and the folder that it serves."""

    address: str
    folder: Path

    def ask(self, path: str, method: str = "GET") -> Any:
        """What the server's interface answers."""
        request = urllib.request.Request(
            f"{self.address}/api/{path}", method=method, headers={"Authorization": f"token {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or "null")

    def end_kernels(self) -> None:
        for session in self.ask("sessions"):
            self.ask(f"sessions/{session['id']}", "DELETE")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab with settings and files of its own; whoever runs the tests may have others."""
    home, folder = tmp_path_factory.mktemp("jupyter"), tmp_path_factory.mktemp("notebooks")
    for name, settings in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(settings))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {name: str(home / name) for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")}
    environment = {
        **{name: value for name, value in os.environ.items() if name != "DLOPT_STATIC"},
        **{f"JUPYTER_{name}": path for name, path in own.items()},
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    log = home / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
                f"--port={port}", "--port-retries=0", f"--IdentityProvider.token={TOKEN}",
                f"--ServerApp.root_dir={folder}",
            ],
            env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    lab = Lab(f"http://127.0.0.1:{port}", folder)
    try:
        for _ in range(PATIENCE // 250):
            try:
                lab.ask("status")
                break
            except (urllib.error.URLError, TimeoutError):
                assert server.poll() is None, log.read_text()
                time.sleep(0.25)
        yield lab
        lab.end_kernels()
    finally:
        server.kill()  # nothing of it is kept, and it may take its time to end by itself
        server.wait()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield page
    page.close()


def opened(page: Page, lab: Lab, name: str) -> Locator:
    """The notebook, in a workspace of its own."""
    workspace = name.removesuffix(".ipynb")
    page.goto(f"{lab.address}/lab/workspaces/{workspace}/tree/{name}?token={TOKEN}")
    return page.locator(".jp-Notebook")


def test_a_lesson_is_rendered_and_its_solutions_are_folded(page: Page, lab: Lab) -> None:
    lesson = read(NOTEBOOKS / LESSON)
    sources = ["".join(cell["source"]) for cell in lesson["cells"]]
    first = next(i for i, source in enumerate(sources) if "```{exercise}" in source)
    algorithms = [i for i, source in enumerate(sources) if "```{prf:algorithm}" in source]
    # MyST renders the whole notebook anew for each cell: the rest would take its time.
    cells = [lesson["cells"][i] for i in [*algorithms, *range(first, len(sources))]]
    (lab.folder / LESSON).write_text(dumps({**lesson, "cells": cells}), encoding="utf-8")
    notebook = opened(page, lab, LESSON)
    texts = notebook.locator(".jp-MarkdownCell .myst")
    exercises = [source for source in sources if "```{exercise}" in source]
    expect(notebook.get_by_text(re.compile(r"^Exercise\s\d+$"))).to_have_count(len(exercises))
    expect(notebook.get_by_text("Algorithm 1", exact=True)).to_be_visible()
    assert [t for t in texts.all_inner_texts() if re.search(r"\{[a-z:]+\}|\$\$|:::|```", t)] == []
    assert notebook.locator(".katex-error").count() == 0
    said = page.locator("summary", has_text=re.compile("^Solution$"))
    solutions = texts.locator("details", has=said)
    expect(solutions).to_have_count(len(exercises))
    for solution in solutions.all():
        assert solution.get_attribute("open") is None
        solution.locator("summary").click()
    assert solutions.locator(".katex").count() > len(exercises)
    for cell, shown in zip(cells, notebook.locator(".jp-Cell").all(), strict=True):
        if cell["cell_type"] == "code":
            folded = {"hide-input", "remove-input", "solution"} & set(tags(cell))
            assert shown.locator(".jp-InputPlaceholder").count() == bool(folded)


def small() -> dict[str, Any]:
    """A notebook with a figure to move, a verdict and the code of a solution."""
    cells = [("figure", SMALL, []), ("claim", CLAIM, ["claim"]), ("code", "1 + 1", ["solution"])]
    return clean(
        {
            "cells": [
                {"cell_type": "code", "id": name, "source": source, "metadata": {"tags": tags}}
                for name, source, tags in cells
            ]
        }
    )


def outputs(notebook: dict[str, Any]) -> str:
    return json.dumps([cell["outputs"] for cell in notebook["cells"]])


LAST = "A line at 10.0"


def kept(notebook: Locator) -> None:
    """Check that the last picture and the verdict can be seen."""
    shown = notebook.locator(".jp-OutputArea")
    for text in ("The line rises.", "N1: confirmed", "It lands."):
        expect(shown.get_by_text(text)).to_be_visible()
    image = shown.get_by_alt_text(LAST)
    expect(image).to_be_visible()
    assert image.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 100


def test_the_last_picture_and_the_verdict_stay(page: Page, lab: Lab) -> None:
    path = lab.folder / "small.ipynb"
    path.write_text(dumps(small()), encoding="utf-8")
    notebook = opened(page, lab, path.name)
    code = notebook.locator(".jp-CodeCell")
    expect(code).to_have_count(3)
    expect(page.get_by_text("| Idle")).to_be_visible()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    expect(notebook.get_by_alt_text("A line at 0.0")).to_be_visible()
    page.locator(".widget-slider .noUi-handle").focus()
    page.keyboard.press("End")
    kept(notebook)
    expect(code.last.locator(".jp-OutputArea-output")).to_have_text("2")
    expect(code.last.locator(".jp-InputPlaceholder")).to_be_visible()  # running opens nothing

    page.get_by_title("Save and create checkpoint").first.click()
    for _ in range(PATIENCE // 100):
        with suppress(ValueError):  # half written
            if LAST in outputs(saved := read(path)):
                break
        page.wait_for_timeout(100)
    else:
        pytest.fail("the last picture was not saved")
    assert "VBox" not in outputs(saved)
    unnamed = lab.folder / "unnamed.ipynb"
    unnamed.write_text(dumps({**saved, "metadata": {}}), encoding="utf-8")
    lab.end_kernels()

    notebook = opened(page, lab, path.name)  # with a new kernel, which has run nothing
    expect(page.get_by_text("| Idle")).to_be_visible()
    kept(notebook)
    notebook = opened(page, lab, unnamed.name)  # with none, as on a machine without Python
    page.get_by_role("dialog").get_by_role("button", name="No Kernel").click()
    kept(notebook)
    page.set_content(HTMLExporter().from_filename(str(path))[0])
    kept(page.locator("main"))
    assert "Run this cell to move the figure below: height." in page.inner_text("main")
