"""The exercises' self-check: tells a right answer from a wrong one, and guesses what went wrong."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlopt.lesson.arrays import as_array
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
    rtol: float = 1e-5,
    atol: float = 1e-8,
) -> Feedback:
    """Check an answer without giving the solution away.

    Args:
        name: What is asked for, as the subject of a sentence: "The Newton step".
        answer: The student's number, text, array or tensor of any shape; a function if ``inputs``
            are given; ``...`` as long as it is open.
        expected: The right answer, of the same kind.
        hints: What a typical wrong answer indicates: sentence → that wrong answer (a function
            where ``answer`` is one). The first that matches is shown.
        inputs: Tuples of arguments on which a function is tried.
        rtol: Relative tolerance.
        atol: Absolute tolerance.

    Returns:
        Feedback, true if the answer is right. A function that raises is a wrong answer.

    Raises:
        ValueError: If ``name`` or a hint is empty, or a hint belongs to the right answer.

    Example:
        >>> hints = {"Did you forget the minus sign? The step goes downhill.": 2.0}
        >>> check("The Newton step", 2.0, -2.0, hints=hints)
        ✗ The Newton step is not right yet. Did you forget the minus sign? The step goes downhill.
        >>> check("The Newton step", -2.0, -2.0, hints=hints)
        ✓ The Newton step is right.
    """
    require_text("name", name)
    hints = hints or {}

    def values(of: Any) -> list[Any]:
        return [of] if inputs is None else [of(*arguments) for arguments in inputs]

    def problem(got: list[Any], wanted: list[Any]) -> str:
        pairs = zip(got, wanted, strict=True)
        return next(filter(None, (_problem(g, w, rtol, atol) for g, w in pairs)), "")

    right = values(expected)
    wrongs = {require_text("hint", hint): values(wrong) for hint, wrong in hints.items()}
    for hint, wrong in wrongs.items():
        if not problem(wrong, right):
            raise ValueError(f"a hint must belong to a wrong answer, got the right one: {hint!r}")

    if inputs is not None and answer is not ... and not callable(answer):
        return Feedback("wrong", f"{name} has to be a function that can be called.")
    try:
        got = [...] if answer is ... else values(answer)
    except NotImplementedError:
        got = [...]
    except Exception as error:  # whatever a student's function raises is an answer to explain
        return Feedback("wrong", f"{name} stops with {type(error).__name__}: {error}")
    if any(value is ... or value is None for value in got):
        return Feedback("open", f"{name} is still open: put your answer in place of the dots.")
    found = problem(got, right)
    if not found:
        return Feedback("right", f"{name} is right.")
    hint = next((hint for hint, wrong in wrongs.items() if not problem(got, wrong)), found)
    return Feedback("wrong", f"{name} is not right yet. {hint}")


def _problem(got: Any, wanted: Any, rtol: float, atol: float) -> str:
    """Return what can be said about a difference without giving ``wanted`` away, or ""."""
    if isinstance(wanted, (str, bool)):
        plain = got.item() if np.ndim(got) == 0 and hasattr(got, "item") else got
        if isinstance(plain, type(wanted)):
            return "" if plain == wanted else "Think again."
        kind = "a text" if isinstance(wanted, str) else "True or False"
        return f"It has to be {kind}."
    try:
        a, b = as_array(got), as_array(wanted)
    except (TypeError, ValueError, RuntimeError):
        return "It has to be a number, an array or a tensor."
    if a.shape != b.shape:
        return f"Its shape has to be {b.shape}, and it is {a.shape}."
    if np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True):
        return ""
    if not np.isfinite(a).all() and np.isfinite(b).all():
        return "It holds NaN or infinity: look for a division by zero or a logarithm of one."
    if np.allclose(a, -b, rtol=rtol, atol=atol):
        return "Only the sign is wrong."
    return "Its shape is fine, its numbers are not." if b.shape else "The number is another one."
