"""What all tests share: one thread unless more are asked for, a browser, a book in small."""

import io
import os
import re
import warnings
from pathlib import Path

import chromium
import pytest
import torch
from execute import ENVIRONMENT, THREADS

os.environ.update({k: os.environ.get(k, v) if k in THREADS else v for k, v in ENVIRONMENT.items()})
torch.set_warn_always(True)  # not once a process: no test's end depends on another's


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest file first: in two processes it runs beside all the others."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


@pytest.fixture(scope="module")
def browser():
    """Chromium; without one its tests are left out, or fail where one has to be."""
    from playwright.sync_api import sync_playwright

    path = chromium.find()
    if path is None:
        (pytest.fail if chromium.required() else pytest.skip)(chromium.MISSING)
    with sync_playwright() as playwright:
        # Containers run as root, where Chromium's sandbox can't start.
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def build(tmp_path: Path):
    """Build a book from its files; return the HTML of each page and the warnings."""
    from sphinx.application import Sphinx  # only some tests have to wait for it
    from sphinx.util.docutils import docutils_namespace

    def build(files: dict[str, str], extensions: list[str], **config) -> tuple[dict[str, str], str]:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf8")
        settings = {
            "extensions": ["myst_parser", *extensions],
            "myst_enable_extensions": ["dollarmath"],
            "math_numfig": False,
            "html_theme": "basic",
            "exclude_patterns": ["_build"],
            **config,
        }
        (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index\n")
        log = io.StringIO()
        with warnings.catch_warnings(), docutils_namespace():
            warnings.simplefilter("ignore")  # Sphinx's own
            out = tmp_path / "_build"
            app = Sphinx(
                tmp_path, None, out, out / "doctrees", "html", settings, None, log, freshenv=True
            )
            app.config.nitpicky = True
            app.build()
        made = {p.relative_to(out).as_posix(): p.read_text("utf8") for p in out.rglob("*.html")}
        return made, re.sub(r"\x1b\[[\d;]*m", "", log.getvalue())

    return build
