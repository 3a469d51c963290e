"""The self-check: right, wrong, open, and never the solution."""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
        (STEP[:1], "The answer has to be 2 numbers in a row, and it is one number in a list."),
        (STEP * float("nan"), "It holds NaN or infinity"),
        ("left", "The answer has to be 2 numbers in a row, and it is a text."),
        ({}, "The answer has to be 2 numbers in a row, and it is a dictionary."),
        (None, "The answer has to be 2 numbers in a row, and it is nothing (None)."),
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


def test_open() -> None:
    feedback = check("The step", ..., STEP)
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
        (lambda a: a, "wrong", "The difference has to take 2 arguments."),
        (lambda a, b: a.b, "wrong", "stops with AttributeError"),
        (lambda a, b: exit(1), "wrong", "stops with SystemExit: 1"),
        (lambda a, b: a / 0, "wrong", "stops with ZeroDivisionError"),
        (lambda a, b: None, "wrong", "The difference returns nothing: did you forget return?"),
        (lambda a, b: difference, "wrong", "has to be one number, and it is a function."),
        (lambda a, b: (yield a), "wrong", "has to be one number, and it is a generator."),
        (lambda a, b: [a - b], "wrong", "has to be one number, and it is one number in a list."),
        (lambda a, b: ..., "open", "still open"),
        (unfinished, "open", "still open"),
        (..., "open", "still open"),
        (-1.0, "wrong", "has to be a function that can be called, not one number."),
        (dict, "wrong", "The difference"),
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


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("The Newton step", "is"),
        ("The line searches", "are"),
        ("The bytes of M", "are"),
        ("The number of steps", "is"),
        ("The limit", "is"),
        ("Your α", "is"),
        ("β from the slopes", "is"),
        ("my_steps", "is"),
        ("The loss", "is"),
        ("The radius", "is"),
        ("The bias", "is"),
        ("The basis", "is"),
        ("Newton's", "is"),
        ("The step and its length", "are"),
        ("The run with your periods", "is"),
        ("The two roots", "are"),
    ],
)
def test_the_verb_goes_with_its_subject(name: str, verb: str) -> None:
    assert check(name, 1, 1).message == f"{name} {verb} right."
    assert check(name, 2, 1).message.startswith(f"{name} {verb} not right yet. ")
    assert check(name, ..., 1).message.startswith(f"{name} {verb} still open")
    verbs = ("stop with", "return nothing") if verb == "are" else ("stops with", "returns nothing")
    wrongs: list[Any] = [lambda a: a / 0, lambda a: None]
    for wrong, said in zip(wrongs, verbs, strict=True):
        assert f"{name} {said}" in check(name, wrong, abs, inputs=[(1,)]).message
    has = "have" if verb == "are" else "has"
    assert check(name, 3, abs, inputs=[(1,)]).message.startswith(f"{name} {has} to be a function")


def divides(n: Any) -> bool:
    """Whether n divides 12."""
    if n < 1:
        raise ValueError(f"n must be >= 1, got {n}")
    return bool(12 % n == 0)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (3, "✓ The divisor is right."),
        (4.0, "✓ The divisor is right."),
        (5, "Not this one."),
        (2.5, "The answer has to be a whole number."),
        (0, "The divisor stops with ValueError: n must be >= 1, got 0"),
        (None, "has to be one number, and it is nothing (None)."),
        (float("nan"), "It holds NaN or infinity"),
        (10**400, "has to be one number, and it is a number too large to compute with."),
        ([3], "has to be one number, and it is one number in a list."),
        ("3", "has to be one number, and it is a text."),
        (True, "has to be one number, and it is True or False."),
        (..., "still open"),
    ],
)
def test_what_is_computed_with_the_answer(answer: Any, sentence: str) -> None:
    feedback = check("The divisor", answer, 6, of=divides, hints={"Not this one.": 5})
    assert sentence in repr(feedback)


def test_a_function_of_a_function_and_of_a_word() -> None:
    def total(f: Any) -> Any:
        return sum(f(k) for k in range(3))

    assert check("The terms", lambda k: 3 - k, lambda k: k + 1, of=total)
    assert "stop with TypeError" in check("The terms", lambda: 3, abs, of=total).message
    assert check("The rule", "b", "a", of=lambda word: word in "ab")
    assert "a text, and it is one number" in check("The rule", 1, "a", of=len).message
    with pytest.raises(ValueError, match="inputs or of, got both"):
        check("x", 1, 1, of=abs, inputs=[(1,)])


def test_a_function_may_spoil_its_arguments() -> None:
    def spoiling(x: torch.Tensor) -> torch.Tensor:
        return x.mul_(2)

    inputs = [(torch.ones(2),)]
    for _ in range(2):
        assert check("The double", spoiling, lambda x: 2 * x, inputs=inputs)
    assert inputs[0][0].tolist() == [1, 1]


class Hostile:
    """Raises at every look."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise RuntimeError("no")


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def endless(*_: Any) -> Any:
    return endless()


def speechless(*_: Any) -> Any:
    raise Unspeakable


LOOP: list[Any] = []
LOOP.append(LOOP)
ODD: list[Any] = [
    Hostile(), Unspeakable, endless, speechless, LOOP, 10**400, 10**5000, "n" * 10**6, "2.73",
    [50], 0, -3, None, float("nan"), float("inf"), 2j, {1, 2}, {"a": 1}, object(), [[1], [1, 2]],
    [[1, 2], 3], int, (k for k in range(3)), range(3), print, lambda: 1, lambda a: lambda b: a,
    b"2.73", True, [None], ["1"], [], [[]], (), NotImplemented, np.array(["a"]), np.array(None),
    np.array([1, "a"], dtype=object), torch.tensor([1j]), torch.tensor(True), Fraction(1, 3),
    Decimal("NaN"), slice(1), torch.nn.Linear(1, 1), np.datetime64("2020"), torch.empty(0),
    torch.ones(2, dtype=torch.bfloat16), torch.eye(2).to_sparse(), ValueError("x"), ..., Any,
]  # fmt: skip
ANYTHING = st.recursive(
    st.integers(0, len(ODD) - 1).map(lambda k: ODD[k])
    | st.integers()
    | st.floats()
    | st.text()
    | st.complex_numbers(),
    lambda parts: (
        st.lists(parts, max_size=4) | st.tuples(parts) | st.dictionaries(st.text(), parts)
    ),
    max_leaves=6,
)
EXPECTED: list[Any] = [2.73, 7, [1.0, 2.0], [[1.0, 0.0], [0.0, 1.0]], "saddle", True]
ORDERLY = re.compile(r"[✓✗…] The answers? [a-z ]+.*", re.DOTALL)


@settings(max_examples=300, deadline=None)
@given(ANYTHING, st.sampled_from(EXPECTED))
def test_whatever_is_typed_is_answered_with_a_sentence(answer: Any, expected: Any) -> None:
    for name in ("The answer", "The answers"):
        for options in ({}, {"of": lambda value: value}):
            feedback = check(name, answer, expected, **options)
            assert ORDERLY.fullmatch(repr(feedback)) and len(feedback.message) < 400
    for function in (answer, lambda *_: answer):
        feedback = check("The answer", function, lambda x: expected, inputs=[(1.0,)])
        assert ORDERLY.fullmatch(repr(feedback)) and len(feedback.message) < 400


@pytest.mark.parametrize("answer", ODD, ids=lambda value: type(value).__name__)
def test_nothing_odd_is_right(answer: Any) -> None:
    for expected in EXPECTED:
        if answer is not True and not isinstance(answer, torch.Tensor):
            assert not check("The answer", answer, expected)
