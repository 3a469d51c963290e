"""Verdicts on the lecture's statements, each with its record in the notebook's metadata."""

from __future__ import annotations

import html
import inspect
import operator
import re
from collections.abc import Iterable
from typing import Any, TypedDict

from dlopt.lesson.display import display, is_live, require_text

# How many statements each section of the lecture has: A1, N1 to N7, C1 to C8, ...
_COUNTS = {"A": 1, "N": 7, "C": 8, "B": 4, "L": 3, "BN": 16, "CD": 5, "PA": 4, "SP": 11, "D": 9}
_COUNTS |= {"K": 8, "U": 3}
SYLLABUS_IDS = tuple(f"{letters}{i}" for letters, n in _COUNTS.items() for i in range(1, n + 1))
VERDICTS = ("confirmed", "qualified", "refuted", "not tested at this scale")
SCALES = ("smoke", "book", "full")


class Record(TypedDict):
    """What stands in the output's metadata under ``dlopt.claim``."""

    id: str
    statement: str
    verdict: str
    evidence: str
    seeds: list[int]
    scale: str


def record(
    id: str,
    statement: str,
    *,
    confirmed: bool,
    evidence: str,
    seeds: Iterable[int],
    scale: str,
    qualified: bool = False,
    tested: bool = True,
) -> Record:
    """Return the record of the verdict on one statement.

    The verdict is the first that applies: *not tested at this scale* unless ``tested``,
    *confirmed*, *qualified* (it depends, and the evidence names the condition), *refuted*.

    Args:
        id: The syllabus ID, such as ``"N1"``.
        statement: The lecture's statement in our words; plain text.
        confirmed: Whether the measurements support the statement as it stands.
        evidence: The rounded measurements behind the verdict; plain text.
        seeds: The seeds measured; empty if nothing was random.
        scale: "smoke", "book" or "full".
        qualified: Whether they support it under a condition; asked only if not ``confirmed``.
        tested: False if this scale is too small to tell.

    Returns:
        The keys ``id, statement, verdict, evidence, seeds, scale``, as JSON can hold them.

    Raises:
        ValueError: For an unknown ID or scale, an empty text, a flag that is not a bool, a seed
            that is not an integer, or evidence in which NaN or infinity stands for a number.

    Example:
        >>> record("N1", "One step.", confirmed=True, evidence="error 4e-16", seeds=[0],
        ...        scale="book")["verdict"]
        'confirmed'
    """
    if id not in SYLLABUS_IDS:
        raise ValueError(f"id must be one of the syllabus (A1, N1 to N7, ...), got {id!r}")
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    require_text("statement", statement)
    require_text("evidence", evidence)
    if re.search(r"\b(nan|inf|infinity)\b", evidence, flags=re.IGNORECASE):
        raise ValueError(
            f"evidence must hold finite numbers (say in words what diverged), got {evidence!r}"
        )
    return Record(
        id=id,
        statement=statement,
        verdict=_verdict({"tested": tested, "confirmed": confirmed, "qualified": qualified}),
        evidence=evidence,
        seeds=[_integer(seed) for seed in seeds],
        scale=scale,
    )


def claim(*arguments: Any, **keywords: Any) -> None:
    """Display a verdict, with its :func:`record` in the output's metadata; the same arguments.

    The text is ``ID: verdict`` alone: it is what the notebooks' tests compare, and measurements
    differ between machines. The book draws a card from the metadata; at a live kernel the same
    card comes as a widget beside the text.

    Example:
        >>> claim("N1", "One step.", confirmed=True, evidence="error 4e-16", seeds=[0],
        ...       scale="book")
        N1: confirmed
    """
    display(_Verdict(record(*arguments, **keywords)))


# What Jupyter's tooltip and the reference show.
vars(claim)["__signature__"] = inspect.signature(record).replace(return_annotation=None)


class _Verdict:
    """A record that displays as ``ID: verdict``."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def __repr__(self) -> str:
        return f"{self.record['id']}: {self.record['verdict']}"

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the text (and, live, the card) with the record as metadata."""
        data: dict[str, Any] = {"text/plain": repr(self)}
        if is_live():
            data |= _card(self.record)
        return data, {"dlopt.claim": self.record}


def _card(record: Record) -> dict[str, Any]:
    """Return the numbers in the one type that nbval doesn't compare: a widget view."""
    from ipywidgets import HTML

    details = ", ".join(
        [f"scale {record['scale']}"]
        + ([f"seeds {', '.join(map(str, record['seeds']))}"] if record["seeds"] else [])
    )
    text = {key: html.escape(str(value)) for key, value in record.items()}
    widget = HTML(
        f"<b>{text['id']}: {text['verdict']}</b><br>{text['statement']}<br>"
        f"<i>Measured:</i> {text['evidence']} <small>({html.escape(details)})</small>"
    )
    mime = "application/vnd.jupyter.widget-view+json"
    return {mime: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}}


def _verdict(flags: dict[str, Any]) -> str:
    """Return the first verdict that applies; every flag must be a bool."""
    holds = {name: _boolean(name, flag) for name, flag in flags.items()}
    if not holds["tested"]:
        return "not tested at this scale"
    if holds["confirmed"]:
        return "confirmed"
    return "qualified" if holds["qualified"] else "refuted"


def _boolean(name: str, flag: Any) -> bool:
    """Return a bool, also from NumPy's and from a 0-d tensor's."""
    value = flag.item() if hasattr(flag, "item") else flag
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {flag!r}")
    return value


def _integer(seed: Any) -> int:
    """Return a seed as Python's int."""
    try:
        return operator.index(seed)
    except TypeError:
        raise ValueError(f"seeds must be integers, got {seed!r}") from None
