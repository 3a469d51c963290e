"""Answers are read as numbers, or told in words."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from dlopt.lesson.answers import NotNumbers, as_numbers, fits, in_words, told


@pytest.mark.parametrize(
    "value",
    [
        [1, 0.5],
        (Fraction(1), Decimal("0.5")),
        np.array([1, 0.5], dtype=object),
        torch.tensor([1, 0.5], dtype=torch.bfloat16, requires_grad=True),
        [torch.tensor(1), np.float32(0.5)],
    ],
)
def test_numbers_in_any_form(value: Any) -> None:
    assert as_numbers(value).tolist() == [1, 0.5]
    assert as_numbers(value).dtype == np.float64


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2.73", "a text"),
        (None, "nothing (None)"),
        (True, "True or False"),
        (1j, "a complex number"),
        (torch.tensor(1j), "a complex number"),
        ({}, "a dictionary"),
        ({1}, "a set"),
        (int, "a class"),
        (len, "a function"),
        ((k for k in "ab"), "a generator"),
        (object(), "something of type object"),
        ([1, "2"], "a text"),
        ([[1], [1, 2]], "a list whose rows differ in length"),
        (10**400, "a number too large to compute with"),
        ([], "an empty list"),
        ([2.73], "one number in a list"),
        ([1, 2, 3], "3 numbers in a row"),
        (np.eye(2), "a 2 × 2 matrix"),
        (np.ones((8, 1)), "an 8 × 1 matrix"),
        (np.ones((18, 1)), "an 18 × 1 matrix"),
        (np.ones((80, 1)), "an 80 × 1 matrix"),
        (np.ones((1, 8)), "a 1 × 8 matrix"),
        (np.ones((2, 3, 4)), "an array of 2 × 3 × 4 numbers"),
    ],
)
def test_values_in_words(value: Any, words: str) -> None:
    assert in_words(value) == words


def test_a_list_in_itself_ends() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(NotNumbers, match="a list without an end"):
        as_numbers(loop)


def test_an_error_is_told_in_one_short_line() -> None:
    assert told(ValueError("a\n  b")) == "ValueError: a b"
    assert told(ValueError()) == "ValueError"
    assert told(ValueError("x" * 999)) == f"ValueError: {'x' * 199}…"


def test_how_many_arguments_a_function_takes() -> None:
    assert fits(lambda a, b=1: a, 1) and fits(lambda a, b=1: a, 2) and fits(lambda *a: a, 9)
    assert not fits(lambda a: a, 2) and not fits(lambda a, *, b: a, 1)
    assert fits(3, 1) and fits(dict, 1)  # Python cannot tell
