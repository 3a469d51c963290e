"""Verdicts on the lecture's statements, each with its record in the notebook's metadata."""

from __future__ import annotations

import html
import inspect
import operator
import re
from collections.abc import Iterable
from typing import Any, TypedDict

from dlopt.lesson.display import display, is_live, require_text
from dlopt.lesson.syllabus import OURS, TEXTBOOK_ONLY, place

VERDICTS = ("confirmed", "qualified", "refuted", "not tested at this scale")
SCALES = ("smoke", "book", "full")
LONGEST_FINDING = 25  # words


class Record(TypedDict):
    """What stands in the output's metadata under ``dlopt.claim``."""

    id: str
    statement: str
    finding: str
    verdict: str
    theorem: str
    evidence: str
    refuted_if: str
    ours: str
    textbook_only: str | None
    seeds: list[int]
    scale: str


def record(
    id: str,
    statement: str,
    *,
    finding: str,
    confirmed: bool,
    evidence: str,
    refuted_if: str,
    seeds: Iterable[int],
    scale: str,
    theorem: str = "",
    qualified: bool = False,
    tested: bool = True,
) -> Record:
    """Return the record of the verdict on one statement.

    The verdict is the first that applies: *not tested at this scale* unless ``tested``,
    *confirmed*, *qualified* (it depends, and the finding names the condition), *refuted*.

    Args:
        id: The syllabus ID, such as ``"N1"``; ``"X1"`` and so on for what the lecture doesn't say.
        statement: The lecture's statement in our words; plain text, like all that follows.
        finding: What came out, as one sentence of at most 25 words for someone who has read no
            lesson. Where a number decides, code chooses the words.
        confirmed: Whether the measurements support the statement as it stands.
        evidence: The rounded measurements behind the verdict.
        refuted_if: Which result would have refuted the statement, to follow "Refuted if": the
            test that the flags make, in words.
        seeds: The seeds measured; empty if nothing was random.
        scale: "smoke", "book" or "full".
        theorem: What is known by proof, if the measurements check a theorem or an identity; empty
            for an experiment, whose outcome nobody can know in advance.
        qualified: Whether they support it under a condition; asked only if not ``confirmed``.
        tested: False if this scale is too small to tell.

    Returns:
        The record, as JSON can hold it. ``ours`` and ``textbook_only`` come from the syllabus.

    Raises:
        ValueError: For an unknown ID or scale, an empty text, a finding that is not one sentence
            of at most 25 words, a flag that is not a bool, a seed that is not an integer, or a
            finding or evidence in which NaN or infinity stands for a number.

    Example:
        >>> record("N1", "One step.", finding="One step lands on the minimum, to rounding.",
        ...        confirmed=True, evidence="error 4e-16", refuted_if="an error exceeds 1e-12",
        ...        seeds=[0], scale="book")["verdict"]
        'confirmed'
    """
    place(id)
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    texts = {
        "statement": statement, "finding": finding, "evidence": evidence, "refuted_if": refuted_if
    }  # fmt: skip
    for name, text in texts.items():
        require_text(name, text)
        if re.search(r"\b(nan|inf|infinity)\b", text, flags=re.IGNORECASE):
            raise ValueError(
                f"{name} must hold finite numbers (say in words what diverged), got {text!r}"
            )
    _require_sentence(finding)
    return Record(
        id=id,
        statement=statement,
        finding=finding,
        verdict=_verdict({"tested": tested, "confirmed": confirmed, "qualified": qualified}),
        theorem=theorem,
        evidence=evidence,
        refuted_if=refuted_if,
        ours=OURS.get(id, ""),
        textbook_only=TEXTBOOK_ONLY.get(id),
        seeds=[_integer(seed) for seed in seeds],
        scale=scale,
    )


def claim(*arguments: Any, **keywords: Any) -> None:
    """Display a verdict, with its :func:`record` in the output's metadata; the same arguments.

    The text is ``ID: verdict`` alone: it is what the notebooks' tests compare, and measurements
    differ between machines. The book draws a card from the metadata; at a live kernel the card is
    HTML beside the text, and stays in the notebook when it is saved.

    Example:
        >>> claim("N1", "One step.", finding="One step lands on the minimum, to rounding.",
        ...       confirmed=True, evidence="error 4e-16", refuted_if="an error exceeds 1e-12",
        ...       seeds=[0], scale="book")
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
            data["text/html"] = _card(self.record)
        return data, {"dlopt.claim": self.record}


def marks(record: Record) -> list[str]:
    """Return what a card says of where a statement comes from, one sentence each.

    Args:
        record: The record of a claim; its ``ours`` and ``textbook_only`` are read.
    """
    said = []
    if record["textbook_only"] is not None:
        said.append(f"Textbook only, not on the slides{_part(record['textbook_only'])}.")
    if record["ours"]:
        said.append(f"Not in the lecture{_part(record['ours'])}.")
    return said


def conditions(record: Record) -> str:
    """Return the seeds and the scale of a record in words.

    Args:
        record: The record of a claim; its ``seeds`` and ``scale`` are read.

    Example:
        >>> conditions({"seeds": [0, 1, 2], "scale": "book"})
        '3 seeds, scale “book”'
        >>> conditions({"seeds": [4], "scale": "full"})
        'seed 4, scale “full”'
    """
    seeds = record["seeds"]
    number = [f"seed {seeds[0]}"] if len(seeds) == 1 else [f"{len(seeds)} seeds"] if seeds else []
    return ", ".join([*number, f"scale “{record['scale']}”"])


def kind(record: Record) -> str:
    """Return whether the outcome was known by proof: "theorem, checked", or "experiment".

    Args:
        record: The record of a claim; its ``theorem`` is read.
    """
    return "theorem, checked" if record["theorem"] else "experiment"


def _card(record: Record) -> str:
    """Return the card of a live notebook."""
    small = [f"The statement: {record['statement']}", *marks(record)]
    small += [f"Known by proof: {record['theorem']}"] if record["theorem"] else []
    small += [f"Measured: {record['evidence']}", f"Refuted if {record['refuted_if']}."]
    head = f"{record['id']}: {record['verdict']}"
    aside = f"({kind(record)}, {conditions(record)})"
    return (
        '<div style="border-left:.3rem solid #0072B2;padding:.1rem .8rem;margin:.3rem 0">'
        f"<p><b>{html.escape(head)}</b> <small>{html.escape(aside)}</small>"
        f"<br>{html.escape(record['finding'])}</p>"
        f"<small>{'<br>'.join(map(html.escape, small))}</small></div>"
    )


def _part(text: str) -> str:
    """Return a part of a statement, to follow what is said of it; nothing if it is the whole."""
    return f": {text}" if text else ""


def _require_sentence(finding: str) -> None:
    """Raise ``ValueError`` unless the finding is one sentence that isn't too long."""
    words = len(finding.split())
    if words > LONGEST_FINDING or not finding.endswith(".") or re.search(r"[.!?]\s", finding):
        raise ValueError(
            f"finding must be one sentence of at most {LONGEST_FINDING} words that ends with a "
            f"full stop, got {words} words: {finding!r}"
        )


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
