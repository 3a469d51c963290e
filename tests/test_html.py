"""The files of the built book: links, anchors, third parties, tracebacks, outputs.

``DLOPT_BOOK`` names another build to test; what a browser makes of it, test_book looks at.
"""

import functools
import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup, Tag
from execute import folder, records
from notebook_filter import read, tags

ROOT = Path(__file__).parents[1]
BOOK = Path(os.environ.get("DLOPT_BOOK", ROOT / "_build" / "html"))
FILES = sorted(
    path.relative_to(BOOK).as_posix()
    for path in BOOK.rglob("*.html")
    if path.relative_to(BOOK).parts[0] not in {"_static", "_sources"}
)
LESSONS = sorted(folder().glob("*.ipynb"))
CODE = ["pre", "code", "script", "style", "title"]


def test_the_book_is_built() -> None:
    assert (BOOK / "index.html").is_file(), f"no book in {BOOK}: run `make book` first"
    assert "claims.html" in FILES


@dataclass(frozen=True)
class Page:
    """What the checks need to know about a page."""

    ids: list[str]
    links: list[str]  # a reader may follow
    loads: list[str]  # the browser fetches
    images: list[Tag]
    outputs: list[bool]  # of each output, whether there is something to see
    classes: Counter[str]
    text: str  # outside of code and mathematics


@functools.cache
def page(name: str) -> Page:
    soup = BeautifulSoup((BOOK / name).read_text(encoding="utf8"), "html.parser")
    media = soup.select("img[src], script[src], iframe[src], source[src], video[src], audio[src]")
    linked = soup.select("link[rel~=stylesheet], link[rel~=preload], link[rel~=icon]")
    shows = [
        bool(output.get_text(strip=True) or output.find(["img", "svg", "input", "table"]))
        for output in soup.select(".cell_output")
    ]
    found = Page(
        ids=[str(node["id"]) for node in soup.select("[id]")],
        links=[str(node["href"]) for node in soup.select("a[href]") if node["href"]],
        loads=[str(node["src"]) for node in media] + [str(node["href"]) for node in linked],
        images=soup.select("img"),
        outputs=shows,
        classes=Counter(
            c for node in soup.select("[class]") for c in node.get_attribute_list("class")
        ),
        text="",
    )
    for node in [*soup(CODE), *soup.select(".math, .tex2jax_process")]:
        node.extract()
    return replace(found, text=soup.get_text())


def each_file(function):
    return pytest.mark.parametrize("name", FILES)(function)


def local(name: str, url: str) -> tuple[Path, str] | None:
    """The file and the anchor that a page's link means, or None if it leads elsewhere."""
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return None
    path = (BOOK / name).parent / unquote(parts.path) if parts.path else BOOK / name
    return path.resolve(), unquote(parts.fragment)


@each_file
def test_links_lead_somewhere(name: str) -> None:
    broken = []
    for url in page(name).links:
        target = local(name, url)
        if target is None or (url.startswith("#") and len(url) == 1):
            continue
        path, anchor = target
        if not path.is_file():
            broken.append(url)
        elif anchor and path.suffix == ".html":
            known = path.relative_to(BOOK.resolve()).as_posix()
            if anchor not in page(known).ids:
                broken.append(url)
    assert broken == []


@each_file
def test_nothing_comes_from_third_parties(name: str) -> None:
    outside = [url for url in page(name).loads if urlsplit(url).scheme in {"http", "https"}]
    missing = [
        url
        for url in page(name).loads
        if (target := local(name, url)) is not None and not target[0].is_file()
    ]
    assert (outside, missing) == ([], [])


@each_file
def test_text_is_clean(name: str) -> None:
    text = page(name).text
    raw = (BOOK / name).read_text(encoding="utf8")
    assert "Traceback (most recent call last)" not in raw
    assert 'class="system-message' not in raw
    # Markdown that nobody read: dollars, roles, directives, references.
    leftovers = re.findall(r"\$\$|\{[a-z:]+\}`|:::|```|\\\(", text)
    assert leftovers == []


@each_file
def test_ids_are_unique(name: str) -> None:
    assert [name for name, count in Counter(page(name).ids).items() if count > 1] == []


@each_file
def test_images_have_alternative_texts(name: str) -> None:
    silent = [
        image.get("src")
        for image in page(name).images
        if not image.get("alt") and "logo__image" not in image.get_attribute_list("class")
    ]
    assert silent == []


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_shows_every_output(path: Path) -> None:
    made = page(f"notebooks/{path.stem}.html")
    notebook = read(path)
    shown = [
        cell
        for cell in notebook["cells"]
        if any("dlopt.claim" not in o.get("metadata", {}) for o in cell.get("outputs", []))
        and not {"remove-cell", "remove-output", "colab"} & set(tags(cell))
    ]
    assert len(made.outputs) == len(shown)
    assert all(made.outputs)
    verdicts = Counter(r["verdict"].replace(" ", "-") for r in records(notebook))
    assert {f"claim-{r['id']}" for r in records(notebook)} <= set(made.ids)
    assert all(made.classes[f"verdict-{v}"] >= count for v, count in verdicts.items())


def test_claims_page_lists_every_claim() -> None:
    found = [(path.stem, record) for path in LESSONS for record in records(read(path))]
    text = " ".join(page("claims.html").text.split())
    assert found
    for stem, record in found:
        assert f"notebooks/{stem}.html#claim-{record['id']}" in page("claims.html").links
        for key in ("finding", "statement", "evidence", "refuted_if"):
            assert " ".join(record[key].split()) in text
