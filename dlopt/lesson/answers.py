"""What a student typed, read as numbers or told in words: never with a traceback."""

from __future__ import annotations

import inspect
import numbers
from decimal import Decimal
from typing import Any

import numpy as np
from torch import Tensor

from dlopt.lesson.arrays import Array

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    ((bool, np.bool_), "True or False"),
    ((str, np.str_), "a text"),
    (dict, "a dictionary"),
    ((set, frozenset), "a set"),
    ((complex, np.complexfloating), "a complex number"),
    (type, "a class"),
    (range, "a range"),
)


class NotNumbers(ValueError):
    """Says in words what stands where numbers were wanted."""


def in_words(value: Any) -> str:
    """Return what a value is, such as "a text" or "a 2 × 2 matrix".

    >>> in_words("2.73"), in_words([1, 2, 3]), in_words([[1.0, 0.0], [0.0, 1.0]])
    ('a text', '3 numbers in a row', 'a 2 × 2 matrix')
    """
    try:
        return shape_in_words(as_numbers(value).shape)
    except NotNumbers as error:
        return str(error)


def shape_in_words(shape: tuple[int, ...]) -> str:
    """Return what an array of this shape is.

    >>> shape_in_words(()), shape_in_words((1,)), shape_in_words((8, 3))
    ('one number', 'one number in a list', 'an 8 × 3 matrix')
    """
    if shape == ():
        return "one number"
    if len(shape) == 1:
        return {0: "an empty list", 1: "one number in a list"}.get(
            shape[0], f"{shape[0]} numbers in a row"
        )
    sides = " × ".join(map(str, shape))
    if len(shape) > 2:
        return f"an array of {sides} numbers"
    return f"{'an' if sides.startswith('8') or shape[0] in (11, 18) else 'a'} {sides} matrix"


def as_numbers(value: Any) -> Array:
    """Return a number, array or tensor, or a list of any of these, as float64.

    Raises:
        NotNumbers: It is something else; the message says what, in words.
    """
    try:
        return _read(value)
    except NotNumbers:
        raise
    except RecursionError:
        raise NotNumbers("a list without an end") from None
    except OverflowError:
        raise NotNumbers("a number too large to compute with") from None
    except Exception:  # whatever a stranger's object does when it is looked at
        raise NotNumbers(f"something that cannot be read ({type(value).__name__})") from None


def _read(value: Any) -> Array:
    """Return the numbers, or raise what the parts of the value raise."""
    if isinstance(value, (list, tuple)):
        parts = [_read(part) for part in value]
        if len({part.shape for part in parts}) > 1:
            raise NotNumbers("a list whose rows differ in length")
        return np.array(parts, dtype=np.float64)
    if isinstance(value, Tensor):
        if value.is_complex():
            raise NotNumbers("a complex number" if value.dim() == 0 else "an array of complex")
        held = value.detach().cpu()  # NumPy knows no bfloat16
        value = (held.double() if held.is_floating_point() else held).numpy()
    if isinstance(value, np.ndarray):
        return _read_array(value)
    if isinstance(value, (numbers.Real, Decimal)) and not isinstance(value, bool):
        return np.asarray(float(value))
    raise NotNumbers(_kind(value))


def _read_array(value: Any) -> Array:
    """Return the numbers of an array."""
    if value.dtype.kind in "iuf":
        return np.asarray(value, dtype=np.float64)
    if value.dtype.kind == "O":
        return _read(value.tolist())
    raise NotNumbers(_kind(value.flat[0]) if value.ndim == 0 else f"an array of {value.dtype}")


def _kind(value: Any) -> str:
    """Return in words what a single value is that is no number."""
    if value is None:
        return "nothing (None)"
    for types, words in _KINDS:
        if isinstance(value, types):
            return words
    if inspect.isgenerator(value):
        return "a generator"
    return "a function" if callable(value) else f"something of type {type(value).__name__}"


def told(error: BaseException) -> str:
    """Return an error in one line of at most 200 characters.

    >>> told(ZeroDivisionError("division by zero"))
    'ZeroDivisionError: division by zero'
    """
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:  # an error that cannot even say itself
        text = ""
    short = text if len(text) <= 200 else f"{text[:199]}…"
    return f"{name}: {short}" if short else name


def fits(function: Any, count: int) -> bool:
    """Return whether a function can be called with so many arguments, as far as Python can tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
