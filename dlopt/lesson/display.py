"""How lessons display: is a reader at the kernel, and one card, figure and table for all."""

from __future__ import annotations

import base64
import html
import math
import os
from collections.abc import Callable, Iterable, Sequence

_CARD = (
    "display:block;box-sizing:border-box;background:#fff;color:#1f1f1f;margin:0;"
    "padding:.5rem;border-radius:.25rem"
)
_CAPTION = (
    "color:#1f1f1f;font-size:.9rem;line-height:1.4;font-weight:400;text-align:left;margin:.4rem 0 0"
)
_IMAGE = "display:block;max-width:100%;height:auto;margin:0;padding:0;background-color:#fff"
READABLE = 9  # CSS pixels: no text in a picture is shown smaller
PHONE = 320  # CSS pixels of a card's inside on a phone


def is_live() -> bool:
    """Say whether a reader sits at a kernel: a notebook that is not executed for the book."""
    from IPython.core.getipython import get_ipython

    if os.environ.get("DLOPT_STATIC", "") not in ("", "0"):
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def display(value: object) -> None:
    """Display a value in the notebook; elsewhere IPython prints its text."""
    import IPython.display

    send: Callable[..., object] = IPython.display.display
    send(value)


def data_uri(data: bytes) -> str:
    """Return the picture as a data URI; its first bytes tell PNG from WebP."""
    kind = "png" if data.startswith(b"\x89PNG") else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def figure_html(
    source: str,
    alt: str,
    caption: str,
    width: int,
    smallest: float,
    *,
    controls: str = "",
    script: str = "",
) -> str:
    """Return a ``<figure>``: a white card that reads the same in both themes and on a phone.

    Args:
        source: The picture's address.
        alt: What the picture shows; plain text.
        caption: What to see in it; plain text.
        width: The picture's width in CSS pixels where there is room.
        smallest: The size of its smallest text at this width, in CSS pixels. The picture shrinks
            with the page as long as this can be read, and scrolls sideways beyond.
        controls: HTML that stands above the picture.
        script: HTML that stands below the caption.
    """
    # A caption much wider than its picture is hard to read; the rest is padding and border.
    card = f"{_CARD};max-width:{max(width, 440) + 40}px"
    least = min(width, math.ceil(width * READABLE / smallest))
    # What never scrolls needs no stop on the way through the page by keyboard.
    scrolls = ' role="group" tabindex="0" aria-label="Picture, may scroll sideways"'
    # The class dark-light keeps the book's theme from dimming the picture in its dark mode.
    return (
        f'<figure class="dlopt-figure" style="{card}">{controls}'
        f'<div style="overflow-x:auto"{scrolls if least > PHONE else ""}>'
        f'<img class="dark-light" src="{source}" alt="{html.escape(alt)}" width="{width}" '
        f'data-smallest="{smallest:.4g}" style="{_IMAGE};min-width:{least}px"></div>'
        f'<figcaption style="{_CAPTION}">{html.escape(caption)}</figcaption>{script}</figure>'
    )


def table_html(
    caption: str, head: Iterable[str], rows: Iterable[Sequence[str]], *, left: bool = False
) -> str:
    """Return a captioned table that scrolls sideways, by keyboard too, on a phone.

    Args:
        caption: What the table shows; plain text.
        head: The columns' names; plain text.
        rows: Cells of HTML; the first of a row is its head.
        left: Whether the cells stand flush left; notebooks put them right.
    """
    style = ' style="text-align:left"' if left else ""
    heads = "".join(f'<th scope="col"{style}>{html.escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row"{style}>{first}</th>'
        + "".join(f"<td{style}>{cell}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    text = html.escape(caption)
    return (
        f'<div class="dlopt-table" style="overflow-x:auto" role="region" tabindex="0" '
        f'aria-label="{text}"><table class="dataframe"><caption>{text}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def require_text(name: str, text: object) -> str:
    """Return ``text`` if it is a string with something in it, else raise ``ValueError``."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{name} must be a non-empty string, got {text!r}")
    return text


class Card:
    """HTML that displays itself, with a text for where HTML can't be shown."""

    def __init__(self, markup: str, text: str) -> None:
        self.markup, self.text = markup, text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.markup
