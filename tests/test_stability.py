"""Verdicts at further seeds: what is kept, what is said, what is forgotten."""

import json
from pathlib import Path
from typing import Any

import execute
import pytest
import stability
from execute import BOOK, folder


def lesson(source: str, prose: str = "Why?") -> str:
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": prose},
        {"cell_type": "code", "id": "b", "metadata": {}, "source": source, "outputs": []},
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def run(seed: int, verdict: str) -> None:
    """Write what the lesson, as it is now, would have left at a seed."""
    parameters = {**BOOK, "seed": seed}
    metadata = {"dlopt.claim": {"id": "N1", "verdict": verdict}}
    cell = {"cell_type": "code", "outputs": [{"data": {}, "metadata": metadata}]}
    key = execute.fingerprint(stability.NOTEBOOKS / "newton.ipynb", parameters)
    path = folder(parameters) / "newton.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": [cell], "metadata": {"dlopt": {"fingerprint": key}}}))


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A book of one lesson, and what further seeds said of it."""
    monkeypatch.setattr(stability, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(stability, "STORE", tmp_path / "stability.json")
    monkeypatch.setattr(execute, "BUILD", tmp_path)
    (tmp_path / "newton.ipynb").write_text(lesson("claim()"))
    run(100, "confirmed")
    run(200, "qualified")
    return tmp_path


def test_verdicts_are_kept_and_added_to(book: Path) -> None:
    stability.collect(["newton"], [100, 300])
    assert stability.load() == {"newton": {"N1": {"100": "confirmed"}}}
    stability.collect(["newton"], [200])
    assert stability.load() == {"newton": {"N1": {"100": "confirmed", "200": "qualified"}}}


def test_new_code_makes_old_verdicts_count_no_more(book: Path) -> None:
    stability.collect(["newton"], [100])
    (book / "newton.ipynb").write_text(lesson("claim()", prose="Why, in other words?"))
    assert stability.load()
    (book / "newton.ipynb").write_text(lesson("claim(1)"))
    assert stability.load() == {}
    stability.collect(["newton"], [200])  # the old run is still there, and counts no more
    assert stability.load() == {}
    run(200, "qualified")
    stability.collect(["newton"], [200])
    assert stability.load() == {"newton": {"N1": {"200": "qualified"}}}


def test_no_store_is_no_verdict(book: Path) -> None:
    assert stability.load() == {}


def test_every_seed_runs_and_a_failure_is_reported(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []

    def bring(names: list[str], parameters: dict[str, Any], *_: object) -> int:
        ran.append(parameters["seed"])
        return int(parameters["seed"] == 100)

    monkeypatch.setattr(stability, "bring_up_to_date", bring)
    monkeypatch.setattr(stability, "stems", lambda: ["newton"])
    assert stability.main(["newton", "--seeds", "100", "200"]) == 1
    assert ran == [100, 200]
    assert set(stability.load()["newton"]["N1"]) == {"100", "200"}


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--seeds", "x"], ["nowhere"]])
def test_nonsense_is_refused_in_a_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        stability.main(arguments)
    assert capsys.readouterr().err.count("\n") == 1


def test_the_committed_store_is_about_lessons_of_the_book() -> None:
    for verdicts in stability.load().values():
        assert all(seeds for seeds in verdicts.values())
