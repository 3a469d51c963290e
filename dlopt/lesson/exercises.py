"""The exercises' self-check: tells a right answer from a wrong one, and guesses what went wrong."""

from __future__ import annotations

import copy
import html
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from dlopt.lesson.answers import (
    NotNumbers,
    as_numbers,
    fits,
    in_words,
    shape_in_words,
    told,
)
from dlopt.lesson.display import require_text

_MARK = {"right": "✓", "wrong": "✗", "open": "…"}
_COLOUR = {"right": "#009E73", "wrong": "#D55E00", "open": "#767676"}


class Feedback:
    """What the check found: true if the answer is right; displays itself as a cell's last value.

    Attributes:
        state: "right", "wrong" or "open".
        message: The sentence for the student.
    """

    def __init__(self, state: str, message: str) -> None:
        self.state, self.message = state, message

    def __bool__(self) -> bool:
        return self.state == "right"

    def __repr__(self) -> str:
        return f"{_MARK[self.state]} {self.message}"

    def _repr_html_(self) -> str:
        # The same in both themes.
        return (
            '<p class="dlopt-check" style="background:#fff;color:#1f1f1f;margin:0;'
            f'padding:.4rem .7rem;border-left:.3rem solid {_COLOUR[self.state]}">'
            f"{html.escape(repr(self))}</p>"
        )


def check(
    name: str,
    answer: Any,
    expected: Any,
    *,
    hints: Mapping[str, Any] | None = None,
    inputs: Sequence[tuple[Any, ...]] | None = None,
    of: Callable[[Any], Any] | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-8,
) -> Feedback:
    """Check an answer without giving the solution away; whatever it is, a sentence comes back.

    Args:
        name: What is asked for, as the subject of a sentence: "The Newton step". It is a plural
            if the word before the first preposition ends like one: "The bytes of M are right".
        answer: The student's number, text, array or tensor of any shape; a function if ``inputs``
            are given; ``...`` as long as it is open.
        expected: The right answer, of the same kind.
        hints: What a typical wrong answer indicates: sentence → that wrong answer. The first that
            matches is shown.
        inputs: Tuples of arguments on which a function is tried; it gets copies.
        of: What is computed with the answer, where many answers are right: ``of(answer)`` is
            compared with ``of(expected)``, and a hint with ``of`` of its wrong answer. It is
            called only with what has the form of ``expected``; whole numbers where that is one.
        rtol: Relative tolerance.
        atol: Absolute tolerance.

    Returns:
        Feedback, true if the answer is right. A function that raises is a wrong answer.

    Raises:
        ValueError: If ``name`` or a hint is empty, a hint belongs to the right answer, or both
            ``inputs`` and ``of`` are given.

    Example:
        >>> hints = {"Did you forget the minus sign?": 2.0}
        >>> check("The Newton step", 2.0, -2.0, hints=hints)
        ✗ The Newton step is not right yet. Did you forget the minus sign?
        >>> check("The two roots", [-2.0, 2.0], [-2.0, 2.0])
        ✓ The two roots are right.
        >>> check("A divisor of 12", 5, 4, of=lambda n: 12 % n == 0)
        ✗ A divisor of 12 is not right yet. Think again.
    """
    require_text("name", name)
    if inputs is not None and of is not None:
        raise ValueError("check takes inputs or of, got both")
    say = _Sentences(name)
    hints = {require_text("hint", hint): wrong for hint, wrong in (hints or {}).items()}

    def values(value: Any) -> list[Any]:
        if inputs is not None:
            return [value(*copy.deepcopy(arguments)) for arguments in inputs]
        return [value if of is None else of(value)]

    def problem(got: list[Any], wanted: list[Any]) -> str:
        pairs = zip(got, wanted, strict=True)
        return next(filter(None, (_problem(g, w, rtol, atol) for g, w in pairs)), "")

    right = values(expected)
    wrongs = {hint: values(wrong) for hint, wrong in hints.items()}
    for hint, wrong in wrongs.items():
        if not problem(wrong, right):
            raise ValueError(f"a hint must belong to a wrong answer, got the right one: {hint!r}")

    if answer is ...:
        return say.still_open()
    if callable(expected) and (found := _unfit(answer, inputs)):
        return Feedback("wrong", f"{name} {say.have} to {found}.")
    if of is not None and (found := _formless(answer, expected)):
        return say.wrong(found)
    try:
        got = values(answer)
    except NotImplementedError:
        return say.still_open()
    except (Exception, SystemExit) as error:  # a mistake in an answer, to be explained
        return Feedback("wrong", f"{name} {say.stop} with {told(error)}")
    if inputs is not None and any(value is ... for value in got):
        return say.still_open()
    if inputs is not None and any(value is None for value in got):
        return Feedback("wrong", f"{name} {say.give} nothing: did you forget return?")
    found = problem(got, right)
    if not found:
        return Feedback("right", f"{name} {say.be} right.")
    return say.wrong(next((h for h, wrong in wrongs.items() if not problem(got, wrong)), found))


class _Sentences:
    """The verbs that go with a subject."""

    def __init__(self, name: str) -> None:
        self.name = name
        plural = _is_plural(name)
        self.be, self.have = ("are", "have") if plural else ("is", "has")
        self.stop, self.give = ("stop", "return") if plural else ("stops", "returns")

    def still_open(self) -> Feedback:
        """Return the feedback on what is not there yet."""
        text = f"{self.name} {self.be} still open: put your answer in place of the dots."
        return Feedback("open", text)

    def wrong(self, why: str) -> Feedback:
        """Return the feedback on a wrong answer."""
        return Feedback("wrong", f"{self.name} {self.be} not right yet. {why}")


_PREPOSITIONS = r" (?:after|at|before|between|by|for|from|in|into|of|on|that|to|with) "
_SINGULAR = ("ss", "us", "is", "bias", "series", "'s", "’s")


def _is_plural(name: str) -> bool:
    """Return whether a subject is a plural: "The bytes of M", "The step and its length"."""
    head = re.split(_PREPOSITIONS, name)[0]
    if head.isidentifier() and "_" in head:  # the name of a function
        return False
    return " and " in head or (head.endswith("s") and not head.endswith(_SINGULAR))


def _unfit(answer: Any, inputs: Sequence[tuple[Any, ...]] | None) -> str:
    """Return what an answer that has to be a function lacks, or ""."""
    if not callable(answer):
        return f"be a function that can be called, not {in_words(answer)}"
    count = len(inputs[0]) if inputs else None
    if count is None or fits(answer, count):
        return ""
    return f"take {count} argument{'s' if count > 1 else ''}"


_INFINITE = "It holds NaN or infinity: look for a division by zero or a logarithm of one."


def _formless(answer: Any, expected: Any) -> str:
    """Return why nothing can be computed with an answer of this form, or ""."""
    if callable(expected):
        return ""
    if (found := _misshapen(answer, expected)) or isinstance(expected, (str, bool)):
        return found
    values = as_numbers(answer)
    if not np.isfinite(values).all():
        return _INFINITE
    if isinstance(expected, int) and values != np.floor(values):
        return "The answer has to be a whole number."
    return ""


def _misshapen(got: Any, wanted: Any) -> str:
    """Return how the kind or the shape of an answer differs from what is wanted, or ""."""
    if isinstance(wanted, (str, bool)):
        kind = "a text" if isinstance(wanted, str) else "True or False"
        return "" if isinstance(_plain(got), type(wanted)) else _instead(kind, in_words(got))
    shape = as_numbers(wanted).shape
    try:
        here = as_numbers(got).shape
    except NotNumbers as error:
        return _instead(shape_in_words(shape), str(error))
    return "" if here == shape else _instead(shape_in_words(shape), shape_in_words(here))


def _instead(wanted: str, got: str) -> str:
    """Return the sentence on another form than the one wanted."""
    return f"The answer has to be {wanted}, and it is {got}."


def _plain(value: Any) -> Any:
    """Return what NumPy and torch make of a text or a truth as Python's own."""
    single = isinstance(value, (np.generic, np.ndarray, Tensor)) and value.ndim == 0
    return value.item() if single else value


def _problem(got: Any, wanted: Any, rtol: float, atol: float) -> str:
    """Return what can be said about a difference without giving ``wanted`` away, or ""."""
    wanted = _plain(wanted)
    if found := _misshapen(got, wanted):
        return found
    if isinstance(wanted, (str, bool)):
        return "" if _plain(got) == wanted else "Think again."
    a, b = as_numbers(got), as_numbers(wanted)
    with np.errstate(all="ignore"):
        if np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True):
            return ""
        if not np.isfinite(a).all() and np.isfinite(b).all():
            return _INFINITE
        if np.allclose(a, -b, rtol=rtol, atol=atol):
            return "Only the sign is wrong."
    return "Its shape is fine, its numbers are not." if b.shape else "The number is another one."
