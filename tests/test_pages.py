"""The prose keeps its promises: examples run, and pages name what exists."""

import doctest
import re
from pathlib import Path

import draw_figures
import equation_map
import pytest
import torch
from notebook_filter import read

from dlopt import Newton
from dlopt.lesson.syllabus import SYLLABUS_IDS, TEXTBOOK_ONLY, is_beyond

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "book").glob("*.md")])
LESSONS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def examples(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [p for p in PAGES if examples(p)], ids=lambda p: p.name)
def test_examples_run(page: Path) -> None:
    torch.manual_seed(0)
    names: dict[str, object] = {}  # the examples of a page are read one after the other
    for source in examples(page):
        if ">>>" in source:
            example = doctest.DocTestParser().get_doctest(source, names, page.name, None, None)
            result = doctest.DocTestRunner().run(example, clear_globs=False)
            assert (result.attempted > 0, result.failed) == (True, 0)
            names = example.globs
        else:
            exec(source, names)


def test_readme_trains_the_network_that_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    exec(examples(ROOT / "README.md")[0], {})
    losses = [float(line) for line in capsys.readouterr().out.splitlines()]
    assert losses[-1] < 1e-2 * losses[0]


def test_slide_map_names_every_statement_once() -> None:
    text = (ROOT / "book" / "slide_map.md").read_text("utf-8")
    named = re.findall(r"^- (?:\{ref\}`)?([A-Z]+\d+)", text, re.MULTILINE)
    assert sorted(named) == sorted(SYLLABUS_IDS)
    marked = re.findall(r"^- (?:\{ref\}`)?([A-Z]+\d+).*textbook only\)", text, re.MULTILINE)
    assert sorted(marked) == sorted(TEXTBOOK_ONLY)


@pytest.mark.parametrize("name", ["README.md", "book/intro.md", "book/slide_map.md"])
def test_tables_list_thirteen_lessons_and_link_those_there_are(name: str) -> None:
    rows = re.findall(r"^\| \d+ \| .*", (ROOT / name).read_text("utf-8"), re.MULTILINE)
    linked = sorted(re.findall(r"notebooks/(\w+)\.ipynb", "\n".join(rows)))
    assert (len(rows), linked) == (13, LESSONS)
    assert sum("planned" in row for row in rows) == 13 - len(LESSONS)


def images(page: Path) -> list[tuple[str, str]]:
    """The address and the alt text of each image."""
    text = page.read_text("utf-8")
    directive = r"^```\{(?:image|figure)\} (\S+)\n(?:(?!:alt:|```).*\n)*(?::alt: (.*)\n)?"
    markdown = re.findall(r"!\[([^\]]*)\]\((\S+?)\)", text)
    return re.findall(directive, text, re.MULTILINE) + [(source, alt) for alt, source in markdown]


@pytest.mark.parametrize("page", [p for p in PAGES if images(p)], ids=lambda p: p.name)
def test_images_exist_are_small_and_have_alt_text(page: Path) -> None:
    for source, alt in images(page):
        assert len(alt) > 20, source
        assert (page.parent / source).stat().st_size < 100_000, source


def test_landing_page_says_what_newton_spends_today() -> None:
    drawn = re.findall(
        r">(\d+) evaluations", (draw_figures.STATIC / "valley.svg").read_text("utf-8")
    )
    spent = draw_figures.run(Newton(), 1000).evaluations
    assert abs(int(drawn[0]) - spent) <= 2, "run book/_tools/draw_figures.py"


def test_every_reference_is_cited_and_every_citation_has_its_entry() -> None:
    keys = re.findall(
        r"^@\w+\{([^,]+),", (ROOT / "book" / "references.bib").read_text("utf-8"), re.M
    )
    cells = [(ROOT / "notebooks" / f"{stem}.ipynb").read_text("utf-8") for stem in LESSONS]
    text = " ".join([*cells, *(page.read_text("utf-8") for page in PAGES)])
    cited = {key for keys in re.findall(r"\{cite:[pt]\}`([^`]+)`", text) for key in keys.split(",")}
    assert sorted(keys) == sorted(cited)


def test_every_statement_has_one_verdict() -> None:
    outputs = [
        "".join(output["data"]["text/plain"])
        for stem in LESSONS
        for cell in read(ROOT / "notebooks" / f"{stem}.ipynb")["cells"]
        if "claim" in cell["metadata"].get("tags", [])
        for output in cell["outputs"]
    ]
    verdicts = dict(output.split(": ") for output in outputs)
    assert len(verdicts) == len(outputs)
    assert {id for id in verdicts if not is_beyond(id)} == set(SYLLABUS_IDS)
    assert set(verdicts.values()) <= {"confirmed", "qualified", "refuted"}


def test_every_equation_of_the_lecture_has_its_function_and_its_test() -> None:
    entries = equation_map.load(ROOT)
    for number in range(25, 41):
        entry = entries[f"eq-8-{number}"]
        assert entry.code and entry.tests, number
