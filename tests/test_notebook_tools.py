"""The tools that write notebooks: git's filter, and the repository's address."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import set_repository
from notebook_filter import clean, dumps, read, refresh, tags

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

NOISY = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": 7,
            "metadata": {"tags": ["claim"], "collapsed": True, "mystnb": {"x": 1}},
            "outputs": [
                {
                    "output_type": "execute_result",
                    "execution_count": 7,
                    "data": {"text/plain": "N1: confirmed", "image/png": "aaaa"},
                    "metadata": {"dlopt.claim": {}},
                },
                {"output_type": "stream", "name": "stdout", "text": "0.1 s"},
            ],
            "source": ["a\r\n", "b"],
        },
        {"cell_type": "code", "metadata": {}, "source": "x", "outputs": [
            {"output_type": "execute_result", "data": {"text/plain": "0.123"}, "metadata": {}}]},
        {"cell_type": "markdown", "metadata": {}, "source": "x", "attachments": {"a.png": {}}},
    ],
    "metadata": {"widgets": {"state": {}}, "kernelspec": {"name": "mine"}},
    "nbformat": 4,
    "nbformat_minor": 4,
}  # fmt: skip


def test_filter_keeps_code_prose_and_checked_texts() -> None:
    kept = clean(NOISY)
    claim, plain, markdown = kept["cells"]
    assert claim["outputs"] == [
        {"data": {"text/plain": ["N1: confirmed"]}, "metadata": {}, "output_type": "display_data"}
    ]
    assert claim["execution_count"] == 1
    assert claim["metadata"] == {"tags": ["claim"], "mystnb": {"x": 1}}
    assert claim["source"] == ["a\n", "b"]
    assert (plain["outputs"], plain["execution_count"]) == ([], None)
    assert "attachments" not in markdown
    assert len({cell["id"] for cell in kept["cells"]}) == 3
    assert set(kept["metadata"]) == {"kernelspec", "language_info"}
    assert clean(kept) == kept


def test_code_that_a_page_folds_is_folded_live_and_nothing_else() -> None:
    tagged = [("code", "hide-input"), ("code", "solution"), ("markdown", "solution"), ("code", "x")]
    cells = [
        {"cell_type": kind, "source": "x", "metadata": {"tags": [tag], "jupyter": {"x": 1}}}
        for kind, tag in tagged
    ]
    kept = [cell["metadata"] for cell in clean({**NOISY, "cells": cells})["cells"]]
    fold = {"cellView": "form", "jupyter": {"source_hidden": True}}
    assert kept == [
        {"tags": ["hide-input"], **fold},
        {"tags": ["solution"], **fold},
        {"tags": ["solution"]},
        {"tags": ["x"]},
    ]


def test_filter_takes_verdicts_from_the_executed_notebook() -> None:
    committed = clean(NOISY)
    executed = clean(NOISY)
    executed["cells"][0]["outputs"][0]["data"]["text/plain"] = "N1: refuted"
    executed["cells"].insert(0, {**executed["cells"][1], "id": "injected"})
    after = refresh(committed, executed)
    assert after["cells"][0]["outputs"][0]["data"]["text/plain"] == ["N1: refuted"]
    assert [cell["id"] for cell in after["cells"]] == [cell["id"] for cell in committed["cells"]]
    # A claim that is new has no verdict and no count yet; afterwards it is clean all the same.
    committed["cells"][0] |= {"outputs": [], "execution_count": None}
    assert refresh(committed, executed) == clean(refresh(committed, executed)) == after


def test_filter_works_as_git_calls_it() -> None:
    command = [sys.executable, str(ROOT / "book" / "_tools" / "notebook_filter.py")]
    result = subprocess.run(command, input=dumps(NOISY), capture_output=True, text=True, check=True)
    assert result.stdout == dumps(clean(NOISY))


# The repository's address


def test_one_repository_url_everywhere() -> None:
    url = set_repository.current()
    for name in ("_config.yml", "pyproject.toml", "CITATION.cff"):
        assert url in (ROOT / name).read_text(), name
    for path in NOTEBOOKS:
        assert dumps(set_repository.with_colab_cell(read(path), url)) == path.read_text("utf-8")
    if url != set_repository.PLACEHOLDER:
        texts = set_repository.texts() + NOTEBOOKS
        assert [p.name for p in texts if "OWNER/REPOSITORY" in p.read_text("utf-8")] == []


def test_setting_the_url_changes_every_place_and_can_be_undone(tmp_path: Path) -> None:
    ours = set_repository.current()
    theirs = "https://github.com/ada-l/notes.on-optimization"
    files = {path: path.read_text("utf-8") for path in set_repository.texts()}
    there = {path: set_repository.replace(text, ours, theirs) for path, text in files.items()}
    slug = ours.removeprefix("https://github.com/")
    assert not [p.name for p, text in there.items() if re.search(rf"/{slug}(?![\w-])", text)]
    assert {p: set_repository.replace(t, theirs, ours) for p, t in there.items()} == files


def test_launch_badges_follow_and_others_stay() -> None:
    text = "https://mybinder.org/v2/gh/a/b/main https://github.com/a/b.git https://github.com/a/b-c"
    assert set_repository.replace(text, "https://github.com/a/b", "https://github.com/x/y") == (
        "https://mybinder.org/v2/gh/x/y/main https://github.com/x/y.git https://github.com/a/b-c"
    )


@pytest.mark.parametrize("url", ["", "github.com/a/b", "https://github.com/a", "https://a.b/c d"])
def test_a_wrong_url_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert set_repository.main([url]) == 2
    assert "must look like" in capsys.readouterr().err


def test_colab_cell_comes_first_and_once() -> None:
    notebook = set_repository.with_colab_cell(clean(NOISY), "https://github.com/a/b")
    again = set_repository.with_colab_cell(notebook, "https://github.com/x/y")
    assert [tags(cell)[:1] for cell in again["cells"]] == [["colab"], ["claim"], [], []]
    assert "git+https://github.com/x/y" in "".join(again["cells"][0]["source"])
