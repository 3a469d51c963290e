"""The self-check: right, wrong, open, and never the solution."""

from typing import Any

import numpy as np
import pytest
import torch

from dlopt.lesson.exercises import check

STEP = torch.tensor([1.25, -3.5], dtype=torch.float64)
HINTS = {"Did you forget the minus sign?": -STEP, "You stepped along the gradient.": 2 * STEP}


@pytest.mark.parametrize(
    "answer",
    [STEP, STEP.float(), STEP.clone().requires_grad_(), STEP.numpy(), [1.25, -3.5], STEP + 1e-9],
)
def test_right_in_any_form(answer: Any) -> None:
    assert check("The step", answer, STEP, hints=HINTS).state == "right"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (-STEP, "Did you forget the minus sign?"),
        (2 * STEP, "You stepped along the gradient."),
        (3 * STEP, "Its shape is fine, its numbers are not."),
        (STEP[:1], "Its shape has to be (2,), and it is (1,)."),
        (STEP * float("nan"), "It holds NaN or infinity"),
        ("left", "It has to be a number, an array or a tensor."),
        ({}, "It has to be a number, an array or a tensor."),
    ],
)
def test_wrong_and_why(answer: Any, sentence: str) -> None:
    feedback = check("The step", answer, STEP, hints=HINTS)
    assert feedback.state == "wrong"
    assert not feedback
    assert sentence in feedback.message
    assert "1.25" not in repr(feedback) + feedback._repr_html_()


def test_a_sign_is_noticed_without_a_hint() -> None:
    assert "sign" in check("The slope", 2.0, -2.0).message


@pytest.mark.parametrize("answer", [..., None])
def test_open(answer: Any) -> None:
    feedback = check("The step", answer, STEP)
    assert feedback.state == "open"
    assert not feedback


def test_words_and_truths() -> None:
    assert check("The kind of point", "saddle", "saddle")
    assert not check("The kind of point", "minimum", "saddle")
    assert check("Whether it descends", np.bool_(False), False)
    assert check("Whether it descends", torch.tensor(True), True)
    assert not check("Whether it descends", 1, True)
    assert "hint" in check("The kind", "b", "a", hints={"A hint.": "b"}).message.lower()


INPUTS = [(1.0, 2.0), (3.0, -1.0)]


def difference(a: float, b: float) -> float:
    return a - b


def unfinished(a: float, b: float) -> Any:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("answer", "state", "sentence"),
    [
        (lambda a, b: -(b - a), "right", "is right"),
        (lambda a, b: b - a, "wrong", "The order is reversed."),
        (lambda a, b: 0.0 * a, "wrong", "not right yet"),
        (lambda a: a, "wrong", "stops with TypeError"),
        (lambda a, b: a / 0, "wrong", "stops with ZeroDivisionError"),
        (lambda a, b: None, "open", "still open"),
        (lambda a, b: ..., "open", "still open"),
        (unfinished, "open", "still open"),
        (..., "open", "still open"),
        (-1.0, "wrong", "has to be a function"),
    ],
)
def test_functions(answer: Any, state: str, sentence: str) -> None:
    hints = {"The order is reversed.": lambda a, b: b - a}
    feedback = check("The difference", answer, difference, inputs=INPUTS, hints=hints)
    assert feedback.state == state
    assert sentence in feedback.message


def test_a_hint_must_not_describe_the_right_answer() -> None:
    with pytest.raises(ValueError, match="a hint must belong to a wrong answer"):
        check("The step", ..., STEP, hints={"No.": STEP.clone()})


def test_texts_are_required_and_escaped() -> None:
    with pytest.raises(ValueError, match="name must be"):
        check("", 1, 1)
    with pytest.raises(ValueError, match="hint must be"):
        check("x", 1, 1, hints={" ": 2})
    assert "&lt;b&gt;" in check("<b>", 1, 1)._repr_html_()
