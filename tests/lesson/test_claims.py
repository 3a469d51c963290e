"""Verdicts: what is recorded, what is displayed, what is refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter

from dlopt.lesson import claims
from dlopt.lesson.claims import VERDICTS, Record, claim, marks

ROOT = Path(__file__).parents[2]
GOOD: dict[str, Any] = {
    "id": "N1",
    "statement": "One step lands on the minimum.",
    "finding": "It does, to rounding.",
    "confirmed": True,
    "evidence": "largest error 4e-16",
    "refuted_if": "an error exceeds 1e-12",
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
    assert list(made) == [
        "id", "statement", "finding", "verdict", "theorem", "evidence", "refuted_if", "ours",
        "textbook_only", "seeds", "scale",
    ]  # fmt: skip
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
        ({"refuted_if": ""}, "refuted_if must be a non-empty string"),
        ({"finding": "It does"}, "one sentence"),
        ({"finding": "It does. It doesn't."}, "one sentence"),
        ({"finding": " ".join(["so"] * 26) + "."}, "at most 25 words .* got 26 words"),
        ({"finding": "An error of nan."}, "finding must hold finite numbers"),
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


def test_a_claim_without_what_would_refute_it_is_refused() -> None:
    with pytest.raises(TypeError, match="refuted_if"):
        claim(**{key: value for key, value in GOOD.items() if key != "refuted_if"})


def test_a_finding_may_hold_decimals_and_25_words(record: Callable[..., Record]) -> None:
    finding = " ".join(["so"] * 24) + " 0.5."
    assert record(finding=finding)["finding"] == finding


def test_statements_beyond_the_lecture_have_ids_of_their_own(
    record: Callable[..., Record],
) -> None:
    assert record(id="X12")["id"] == "X12"
    with pytest.raises(ValueError, match="got 'X0'"):
        record(id="X0")


def test_the_syllabus_marks_what_is_ours_and_what_only_the_textbook_says(
    record: Callable[..., Record],
) -> None:
    assert marks(record()) == []
    assert marks(record(id="C5")) == ["Not in the lecture: that restarts help."]
    assert marks(record(id="CD1")) == ["Textbook only, not on the slides."]
    both = marks(record(id="BN12"))
    assert both == [
        "Textbook only, not on the slides.",
        "Not in the lecture: that whitening works.",
    ]
    assert marks(record(id="D3"))[0].startswith("Textbook only, not on the slides: that jagged")


def test_words_that_contain_nan_are_no_nan(record: Callable[..., Record]) -> None:
    assert record(evidence="dominant information")["evidence"]


def test_the_compared_text_is_the_verdict_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    data, metadata = published(monkeypatch, live=False)
    assert data == {"text/plain": "N1: confirmed"}
    assert metadata["dlopt.claim"]["evidence"] == "largest error 4e-16"
    assert metadata["dlopt.claim"]["theorem"] == ""
    assert metadata["dlopt.claim"]["textbook_only"] is None


def test_live_a_card_stands_beside_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    theorem = "a quadratic is its own model"
    data, _ = published(monkeypatch, live=True, statement="a < b", theorem=theorem)
    card = data.pop("text/html")
    assert data == {"text/plain": "N1: confirmed"}
    for text in (
        "N1: confirmed", "It does, to rounding.", "largest error 4e-16", "a &lt; b", "2 seeds",
        "theorem, checked", theorem, "Refuted if an error exceeds 1e-12.",
    ):  # fmt: skip
        assert text in card
    data, _ = published(monkeypatch, live=True)
    assert "experiment" in data["text/html"]


def test_verdicts_are_known_without_the_notebooks_libraries() -> None:
    code = (
        "import sys; from dlopt.lesson.claims import VERDICTS; "
        "print({'IPython', 'ipywidgets', 'matplotlib', 'PIL', 'sklearn'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
