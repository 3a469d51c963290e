"""The lecture's statements by ID, and what in them is not on the lecture's slides."""

from __future__ import annotations

import re

# How many statements each section of the lecture has: A1, N1 to N7, C1 to C8, ...
_COUNTS = {"A": 1, "N": 7, "C": 8, "B": 5, "L": 3, "BN": 16, "CD": 5, "PA": 4, "SP": 11, "D": 9}
_COUNTS |= {"K": 9, "U": 3}
SYLLABUS_IDS = tuple(f"{letters}{i}" for letters, n in _COUNTS.items() for i in range(1, n + 1))

OURS = {
    "C3": "that Fletcher–Reeves and Polak–Ribière agree on a quadratic under exact searches",
    "C5": "that restarts help",
    "C8": "that the Hessian is never formed, and gradients and line searches are enough",
    "B4": "that these advantages are a superlinear end",
    "B5": "how similar: under exact searches on a quadratic both visit the same points",
    "BN3": "that deeper networks and larger learning rates become trainable",
    "BN12": "that whitening works",
    "SP5": "the arms with frozen layers",
    "U2": "the task with easy and hard examples",
}
"""What this book adds to a statement."""

TEXTBOOK_ONLY = {
    **dict.fromkeys(("BN12", "BN15", "CD1", "CD2", "CD3", "CD4", "CD5", "PA4", "SP11"), ""),
    "BN10": "that the inputs of the layer are less Gaussian than XW",
    "D3": "that jagged, non-monotone activations make it extremely hard",
}
"""What stands in the textbook and not on the slides; empty if it is the whole statement."""


def is_beyond(id: str) -> bool:
    """Say whether the ID is that of a popular statement which the lecture doesn't make.

    Example:
        >>> is_beyond("X2"), is_beyond("N1")
        (True, False)
    """
    return re.fullmatch(r"X[1-9][0-9]*", id) is not None


def place(id: str) -> int:
    """Return the position of an ID: first the syllabus in order, then X1, X2, and so on.

    Raises:
        ValueError: There is no such ID.

    Example:
        >>> sorted(["X1", "BN2", "N2", "A1"], key=place)
        ['A1', 'N2', 'BN2', 'X1']
    """
    if is_beyond(id):
        return len(SYLLABUS_IDS) + int(id[1:])
    if id not in SYLLABUS_IDS:
        raise ValueError(
            f"id must be one of the syllabus (A1, N1 to N7, ...) or X1, X2, ..., got {id!r}"
        )
    return SYLLABUS_IDS.index(id)
