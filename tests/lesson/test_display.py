"""What all displays share: whether a reader sits at a kernel, cards and texts."""

from types import SimpleNamespace

import pytest
from IPython.core import getipython

from dlopt.lesson.display import Card, data_uri, figure_html, is_live, require_text, table_html


@pytest.mark.parametrize(
    ("environment", "kernel", "expected"),
    [("", object(), True), ("0", object(), True), ("1", object(), False), ("", None, False)],
)
def test_live_is_a_kernel_outside_the_book(
    monkeypatch: pytest.MonkeyPatch, environment: str, kernel: object, expected: bool
) -> None:
    monkeypatch.setenv("DLOPT_STATIC", environment)
    monkeypatch.setattr(getipython, "get_ipython", lambda: SimpleNamespace(kernel=kernel))
    assert is_live() is expected


def test_outside_ipython_nothing_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DLOPT_STATIC", raising=False)
    assert not is_live()


def test_a_data_uri_names_its_kind() -> None:
    assert data_uri(b"\x89PNG...") == "data:image/png;base64,iVBORy4uLg=="
    assert data_uri(b"RIFF").startswith("data:image/webp;base64,")


def test_a_figure_escapes_its_texts_and_leaves_room_for_its_caption() -> None:
    markup = figure_html("data:x", 'a "b"', "c < d", 200, 16)
    assert 'alt="a &quot;b&quot;"' in markup
    assert "c &lt; d</figcaption>" in markup
    assert "max-width:480px" in markup
    assert "max-width:740px" in figure_html("data:x", "a", "b", 700, 16)


@pytest.mark.parametrize(
    ("width", "smallest", "least", "scrolls"),
    [(460, 13.5, 307, False), (640, 12, 480, True), (640, 8, 640, True), (200, 6, 200, False)],
)
def test_a_picture_shrinks_as_long_as_its_smallest_text_can_be_read(
    width: int, smallest: float, least: int, scrolls: bool
) -> None:
    markup = figure_html("data:x", "a", "b", width, smallest)
    assert f"min-width:{least}px" in markup and f'data-smallest="{smallest}"' in markup
    assert ('tabindex="0"' in markup and "aria-label=" in markup) == scrolls
    assert "overflow-x:auto" in markup


def test_a_card_is_html_with_a_text_beside_it() -> None:
    card = Card("<b>x</b>", "x")
    assert (card._repr_html_(), repr(card)) == ("<b>x</b>", "x")


def test_a_table_escapes_its_texts_keeps_its_cells_and_can_be_scrolled_by_keyboard() -> None:
    markup = table_html("a & b", ["<", "c"], [["<i>x</i>", "1"], ["y", "2"]])
    assert "<caption>a &amp; b</caption>" in markup and 'aria-label="a &amp; b"' in markup
    assert 'tabindex="0"' in markup
    assert '<tr><th scope="col">&lt;</th><th scope="col">c</th></tr>' in markup
    assert '<tr><th scope="row"><i>x</i></th><td>1</td></tr>' in markup
    assert "text-align" not in markup
    assert table_html("a", ["b"], [["c"], ["d"]], left=True).count("text-align:left") == 3


@pytest.mark.parametrize("text", ["", " \n", None, 3])
def test_a_text_holds_something(text: object) -> None:
    assert require_text("alt", "a") == "a"
    with pytest.raises(ValueError, match="alt must be a non-empty string, got"):
        require_text("alt", text)
