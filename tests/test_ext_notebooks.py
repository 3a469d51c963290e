"""What the book makes of executed notebooks: pages, and the cards and tables of their claims."""

import json
import re
from pathlib import Path

import claims
import executed
from execute import fingerprint

RECORD = {
    "id": "N1",
    "statement": 'One step is "enough".',
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


def test_a_solution_ends_after_its_code() -> None:
    text = {**code("<details>", "solution"), "cell_type": "markdown"}
    cells = [text, code("run()", "solution"), code("next()"), text]
    prepared = executed.prepare(notebook(*cells))["cells"][2:]
    sources = [cell["source"] for cell in prepared]
    assert sources == ["<details>", "run()", "</details>", "next()", "<details>", "</details>"]


def test_claims_show_card_and_table(build, monkeypatch, tmp_path: Path) -> None:
    made_notebook = tmp_path / "newton.ipynb"
    claim = {"output_type": "display_data", "data": {}, "metadata": {"dlopt.claim": RECORD}}
    made_notebook.write_text(json.dumps(notebook(code("claim()", outputs=[claim]))))
    monkeypatch.setattr(claims, "executed_path", lambda name: made_notebook)
    monkeypatch.setattr(claims, "notebooks", lambda env: ["lesson"])
    files = {
        "index.md": "# Home\n\n{ref}`N1 <claim-n1>`\n",
        "lesson.md": f"# A title\n\n```{{claim}}\n{json.dumps(RECORD)}\n```\n",
        "book/claims.md": "# Claims\n\n```{claims}\n```\n",
    }
    made, log = build(files, ["sphinx_external_toc", "claims"], external_toc_path="_toc.yml")
    assert [line for line in log.splitlines() if "toctree" not in line] == []
    assert 'id="claim-N1"' in made["lesson.html"]
    assert 'href="lesson.html#claim-N1"' in made["index.html"]
    for text in ("verdict-confirmed", "largest error 4e-16 -- at most", "2 seeds"):
        assert text in made["lesson.html"]
        assert text in made["book/claims.html"]
    assert 'href="../lesson.html#claim-N1"' in made["book/claims.html"]
    assert "One step is &quot;enough&quot;." in made["book/claims.html"]
    totals = made["book/claims.html"].split("claims-totals")[1].split("</p>")[0]
    assert re.findall(r"<strong>(\d)</strong>", totals) == ["1", "0", "0", "0"]
