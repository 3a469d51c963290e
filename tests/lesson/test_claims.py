"""Verdicts: what is recorded, what is displayed, what is refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter

from dlopt.lesson import claims
from dlopt.lesson.claims import SYLLABUS_IDS, VERDICTS, Record, claim

ROOT = Path(__file__).parents[2]
GOOD: dict[str, Any] = {
    "id": "N1",
    "statement": "One step lands on the minimum.",
    "confirmed": True,
    "evidence": "largest error 4e-16",
    "seeds": range(2),
    "scale": "book",
}


def published(monkeypatch: pytest.MonkeyPatch, live: bool, **change: Any) -> tuple[Any, Any]:
    """Display a claim; return the data and the metadata that IPython sends."""
    shown: list[Any] = []
    monkeypatch.setattr(claims, "display", shown.append)
    monkeypatch.setattr(claims, "is_live", lambda: live)
    claim(**GOOD | change)
    (verdict,) = shown
    data, metadata = DisplayFormatter().format(verdict)
    return data, metadata


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Record]:
    """Make a claim like the good one, with changes; return its record."""
    return lambda **change: published(monkeypatch, live=False, **change)[1]["dlopt.claim"]


def test_the_syllabus_has_79_statements() -> None:
    assert len(SYLLABUS_IDS) == len(set(SYLLABUS_IDS)) == 79
    assert {"A1", "N7", "C8", "B4", "L3", "BN16", "CD5", "PA4", "SP11", "D9", "K8", "U3"} <= set(
        SYLLABUS_IDS
    )
    assert not {"A2", "N8", "BN17", "N0"} & set(SYLLABUS_IDS)


@pytest.mark.parametrize(
    ("tested", "confirmed", "qualified", "verdict"),
    [
        (True, True, False, "confirmed"),
        (True, True, True, "confirmed"),
        (True, False, True, "qualified"),
        (True, False, False, "refuted"),
        (False, True, True, "not tested at this scale"),
    ],
)
def test_the_first_verdict_that_applies(
    record: Callable[..., Record], tested: bool, confirmed: bool, qualified: bool, verdict: str
) -> None:
    made = record(tested=tested, confirmed=confirmed, qualified=qualified)
    assert made["verdict"] == verdict
    assert verdict in VERDICTS


def test_the_record_has_exactly_its_keys_and_survives_json(record: Callable[..., Record]) -> None:
    made = record(seeds=np.arange(3), confirmed=np.bool_(False))
    assert list(made) == ["id", "statement", "verdict", "evidence", "seeds", "scale"]
    assert json.loads(json.dumps(made)) == made
    assert made["seeds"] == [0, 1, 2]
    assert made["verdict"] == "refuted"


def test_a_comparison_of_tensors_is_a_flag(record: Callable[..., Record]) -> None:
    assert record(confirmed=torch.tensor(1.0) > 2)["verdict"] == "refuted"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "N8"}, "id must be one of the syllabus"),
        ({"id": "n1"}, "got 'n1'"),
        ({"statement": "  "}, "statement must be a non-empty string"),
        ({"evidence": ""}, "evidence must be a non-empty string"),
        ({"evidence": "loss nan on seed 3"}, "finite numbers"),
        ({"evidence": f"ratio {float('inf'):.1f}"}, "finite numbers"),
        ({"confirmed": 1}, "confirmed must be True or False, got 1"),
        ({"qualified": None}, "qualified must be True or False"),
        ({"tested": "no"}, "tested must be True or False"),
        ({"seeds": [0.5]}, "seeds must be integers, got 0.5"),
        ({"scale": "huge"}, "scale must be one of smoke, book, full, got 'huge'"),
    ],
)
def test_refused(record: Callable[..., Record], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        record(**change)


def test_words_that_contain_nan_are_no_nan(record: Callable[..., Record]) -> None:
    assert record(evidence="dominant information")["evidence"]


def test_the_compared_text_is_the_verdict_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    data, metadata = published(monkeypatch, live=False)
    assert data == {"text/plain": "N1: confirmed"}
    assert metadata == {
        "dlopt.claim": {
            "id": "N1",
            "statement": "One step lands on the minimum.",
            "verdict": "confirmed",
            "evidence": "largest error 4e-16",
            "seeds": [0, 1],
            "scale": "book",
        }
    }


def test_live_the_numbers_come_in_the_type_that_nbval_skips(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[ipywidgets.HTML] = []

    def make(value: str) -> ipywidgets.HTML:
        made.append(html(value))
        return made[-1]

    html = ipywidgets.HTML
    monkeypatch.setattr(ipywidgets, "HTML", make)
    data, metadata = published(monkeypatch, live=True, statement="a < b")
    view = data.pop("application/vnd.jupyter.widget-view+json")
    assert data == {"text/plain": "N1: confirmed"}
    assert metadata["dlopt.claim"]["statement"] == "a < b"
    assert view["model_id"] == made[0].model_id
    card = made[0].value
    assert "largest error 4e-16" in card
    assert "a &lt; b" in card
    assert "seeds 0, 1" in card


def test_verdicts_are_known_without_the_notebooks_libraries() -> None:
    code = (
        "import sys; from dlopt.lesson.claims import VERDICTS; "
        "print({'IPython', 'ipywidgets', 'matplotlib', 'PIL', 'sklearn'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
