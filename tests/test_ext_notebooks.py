"""What the book makes of executed notebooks: pages, and the cards and tables of their claims."""

import json
from pathlib import Path

import claims
import executed
import stability
from bs4 import BeautifulSoup
from docutils import nodes
from execute import fingerprint

from dlopt.lesson.syllabus import SYLLABUS_IDS

RECORD = {
    "id": "N1",
    "statement": 'One step is "enough".',
    "finding": "It is, to rounding.",
    "theorem": "",
    "refuted_if": "an error exceeds 1e-12",
    "ours": "",
    "textbook_only": None,
    "verdict": "confirmed",
    "evidence": "largest error 4e-16 -- at most",
    "seeds": [0, 1],
    "scale": "book",
}


def code(source: str, *tags: str, outputs: list | None = None) -> dict:
    return {
        "cell_type": "code",
        "id": source[:8],
        "metadata": {"tags": [*tags]},
        "execution_count": None,
        "source": source,
        "outputs": outputs or [],
    }


def notebook(*cells: dict, **dlopt) -> dict:
    title = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# A title\n\nText."}
    metadata = {"dlopt": dlopt}
    return {"cells": [title, *cells], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def test_missing_and_stale_notebooks_are_found(tmp_path: Path) -> None:
    source, made = tmp_path / "a.ipynb", tmp_path / "made.ipynb"
    source.write_text(json.dumps(notebook(code("1 + 1"))))
    assert "has not been executed" in (executed.problem(source, made) or "")
    made.write_text(json.dumps(notebook(fingerprint=fingerprint(source))))
    assert executed.problem(source, made) is None
    source.write_text(json.dumps(notebook(code("1 + 2"))))
    assert "changed since" in (executed.problem(source, made) or "")


def test_what_a_page_shows_of_a_notebook() -> None:
    output = {"output_type": "stream", "name": "stdout", "text": "hello"}
    claim = {"output_type": "display_data", "data": {}, "metadata": {"dlopt.claim": RECORD}}
    prepared = executed.prepare(
        notebook(
            code("pip", "colab"),
            code("seed = 0", "parameters", "hide-input"),
            code("import a", "hide-input"),
            code("nothing to see", "remove-input"),
            code("a.plot()", "hide-input", outputs=[output]),
            code("more()", "hide-input"),
            code("claim()", "claim", outputs=[output, claim]),
            seconds=12.4,
        )
    )
    sources = [cell["source"] for cell in prepared["cells"]]
    assert sources[0].startswith("# A title")
    assert "in 12 s" in sources[1]
    assert sources[2:5] == ["seed = 0\n\nimport a\n\na.plot()", "more()", "claim()"]
    assert prepared["cells"][4]["outputs"] == [output]
    assert sources[5].startswith("```{claim}\n")
    assert json.loads(sources[5].splitlines()[1]) == RECORD


def test_a_solution_is_one_fold_for_its_text_and_its_code() -> None:
    written = (
        "% <details><summary>Solution</summary>\n\n:::{dropdown} Solution\nOne\n\nTwo\n:::\n\n"
        "% </details>"
    )
    text = {**code(written, "solution"), "cell_type": "markdown"}
    cells = [text, code("run()", "solution"), code("next()"), text]
    sources = [cell["source"] for cell in executed.prepare(notebook(*cells))["cells"][2:]]
    shown = "<details><summary>Solution</summary>\n\nOne\n\nTwo"
    assert sources == [shown, "run()", "</details>", "next()", shown, "</details>"]


def test_claims_show_card_and_entry(build, monkeypatch, tmp_path: Path) -> None:
    made_notebook = tmp_path / "newton.ipynb"
    proved = {**RECORD, "id": "A1", "verdict": "qualified", "theorem": "an identity"}
    popular = {**RECORD, "id": "X1", "verdict": "refuted"}
    found = [
        {"output_type": "display_data", "data": {}, "metadata": {"dlopt.claim": record}}
        for record in (popular, RECORD, proved)
    ]
    made_notebook.write_text(json.dumps(notebook(code("claim()", outputs=found))))
    monkeypatch.setattr(claims, "executed_path", lambda name: made_notebook)
    monkeypatch.setattr(claims, "notebooks", lambda env: ["lesson"])
    elsewhere = {"lesson": {"N1": {"7": "confirmed", "8": "refuted"}}}
    monkeypatch.setattr(stability, "load", lambda: elsewhere)
    cards = "".join(
        f"```{{claim}}\n{json.dumps(record)}\n```\n\n" for record in (popular, RECORD, proved)
    )
    files = {
        "index.md": "# Home\n\n{ref}`N1 <claim-n1>`\n",
        "lesson.md": f"# A title\n\n{cards}",
        "book/claims.md": "# Claims\n\n```{claims}\n```\n",
        "book/intro.md": "# Intro\n\n```{verdicts}\n```\n\n```{verdicts} X1 A1\n```\n",
    }
    made, log = build(files, ["sphinx_external_toc", "claims"], external_toc_path="_toc.yml")
    assert [line for line in log.splitlines() if "toctree" not in line] == []
    assert 'href="lesson.html#claim-N1"' in made["index.html"]
    lesson, page = (
        BeautifulSoup(made[name], "html.parser") for name in ("lesson.html", "book/claims.html")
    )
    for card in (lesson.find(id="claim-N1"), page.find(id="N1")):
        text = " ".join(card.text.split())
        for said in (
            "N1", "confirmed", "experiment", "2 seeds", "It is, to rounding.",
            'The lecture: One step is "enough".', "Measured: largest error 4e-16 -- at most",
            "Refuted if an error exceeds 1e-12.",
            "The same verdict at 1 of 2 further seeds; refuted at 1.",
        ):  # fmt: skip
            assert said in text
        assert {"claim", "verdict-confirmed"} <= set(card["class"])
    assert "theorem, checked" in page.find(id="A1").text
    assert "Known by proof: an identity" in page.find(id="A1").text
    assert page.find(id="N1").find("a")["href"] == "../lesson.html#claim-N1"
    totals = page.find(class_="claims-totals").find_all("strong")
    assert [number.text for number in totals] == ["1", "1", "1", "0"]
    # In the order of the syllabus, whatever the lesson's; what the lecture doesn't say at the end.
    assert [entry["id"] for entry in page.find_all(class_="claim")] == ["A1", "N1", "X1"]
    assert page.find(id="X1").find_parent("section").h2.text.startswith("Beyond the lecture")
    front = BeautifulSoup(made["book/intro.html"], "html.parser")
    assert "3 statements, 1 of them popular ones beyond the lecture" in front.text
    assert [number.text for number in front.find_all("strong")] == ["1", "1", "1", "0"]
    brief = front.find_all(class_="claim")
    assert [card.find("a")["href"] for card in brief] == [
        "../lesson.html#claim-X1", "../lesson.html#claim-A1"
    ]  # fmt: skip
    assert "refuted" in brief[0].text and "It is, to rounding." in brief[0].text


def test_a_finding_without_a_verdict_is_refused(build) -> None:
    files = {"index.md": "# Home\n\n```{verdicts} N1 SP99\n```\n"}
    log = build(files, ["sphinx_external_toc", "claims"], external_toc_path="_toc.yml")[1]
    assert "no executed lesson has a verdict on N1, SP99" in log


def test_the_grid_shows_every_statement() -> None:
    box = claims.grid({"N1": {**RECORD, "verdict": "qualified"}, "X1": RECORD})
    links = {link.children[0].astext(): link for link in box.findall(nodes.reference)}
    assert {id: (link["refid"], link["classes"]) for id, link in links.items()} == {
        "N1": ("N1", ["verdict-qualified"]),
        "X1": ("X1", ["verdict-confirmed"]),
    }
    words = box.astext().split()
    assert [id for id in SYLLABUS_IDS if id not in words] == []
    assert links["N1"].astext() == "N1 qualified"  # not by colour alone
