"""The book's extensions, each on a book of a few lines."""

import doctest
import importlib
import io
import json
import re
import sys
import warnings
from pathlib import Path

import pytest
from execute import fingerprint
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import docutils_namespace

ROOT = Path(__file__).parents[1]
EXTENSIONS = ROOT / "book" / "_ext"
sys.path.append(str(EXTENSIONS))

import claims  # noqa: E402
import equation_map  # noqa: E402
import executed  # noqa: E402
import mathjax_local  # noqa: E402
import pages  # noqa: E402
import repository  # noqa: E402

RECORD = {
    "id": "N1",
    "statement": 'One step is "enough".',
    "verdict": "confirmed",
    "evidence": "largest error 4e-16 -- at most",
    "seeds": [0, 1],
    "scale": "book",
}


@pytest.fixture
def build(tmp_path: Path):
    """Build a book from its files; return the HTML of each page and the warnings."""

    def build(files: dict[str, str], extensions: list[str], **config) -> tuple[dict[str, str], str]:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf8")
        settings = {
            "extensions": ["myst_parser", *extensions],
            "myst_enable_extensions": ["dollarmath"],
            "math_numfig": False,
            "html_theme": "basic",
            "exclude_patterns": ["_build"],
            **config,
        }
        (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index\n")
        log = io.StringIO()
        with warnings.catch_warnings(), docutils_namespace():
            warnings.simplefilter("ignore")  # Sphinx's own
            out = tmp_path / "_build"
            app = Sphinx(
                tmp_path, None, out, out / "doctrees", "html", settings, None, log, freshenv=True
            )
            app.config.nitpicky = True
            app.build()
        made = {p.relative_to(out).as_posix(): p.read_text("utf8") for p in out.rglob("*.html")}
        return made, re.sub(r"\x1b\[[\d;]*m", "", log.getvalue())

    return build


@pytest.mark.parametrize("path", sorted(EXTENSIONS.glob("*.py")), ids=lambda path: path.stem)
def test_examples_in_docstrings(path: Path) -> None:
    module = importlib.import_module(path.stem)
    assert doctest.testmod(module).failed == 0
    assert callable(module.setup)


def test_the_book_uses_every_extension() -> None:
    config = (ROOT / "_config.yml").read_text(encoding="utf8")
    for path in EXTENSIONS.glob("*.py"):
        assert f"      - {path.stem}\n" in config


# Addresses


def test_pages_of_the_book_stand_at_the_root(build) -> None:
    files = {
        "book/intro.md": "# Home\n\n[claims](claims.md) {doc}`/notebooks/newton`\n",
        "book/claims.md": "# Claims\n\n[home](intro.md)\n",
        "notebooks/newton.md": "# Newton\n\n[claims](../book/claims.md)\n",
    }
    made, log = build(files, ["pages"], root_doc="book/intro")
    assert {"index.html", "claims.html", "notebooks/newton.html"} <= set(made)
    assert 'href="claims.html"' in made["index.html"]
    assert 'href="notebooks/newton.html"' in made["index.html"]
    assert 'href="index.html"' in made["claims.html"]
    assert 'href="../claims.html"' in made["notebooks/newton.html"]
    assert [line for line in log.splitlines() if "toctree" not in line] == []


def test_search_index_knows_addresses_and_reads_them_back() -> None:
    index = pages.SearchIndex("book/intro")
    stream = io.StringIO()
    index.dump({"docnames": ["book/intro", "book/claims", "notebooks/newton"]}, stream)
    assert '"docnames": ["index", "claims", "notebooks/newton"]' in stream.getvalue()
    stream.seek(0)
    assert index.load(stream)["docnames"] == ["book/intro", "book/claims", "notebooks/newton"]


# Numbers


def test_numbers_are_the_textbooks(build) -> None:
    lesson = """# Lesson

$$ a = b $$ (eq-8-27)

$$ c = d $$ (eq-ours)

$$ e = f $$ (eq-also-ours)

See {eq}`eq-8-27` and {eq}`eq-also-ours`.

```{prf:algorithm} Newton's method
:label: alg-8-8
Jump.
```
"""
    index = (
        "# Home\n\n{eq}`eq-8-27` {eq}`eq-ours` {prf:ref}`alg-8-8`\n\n```{toctree}\nlesson\n```\n"
    )
    made, log = build({"index.md": index, "lesson.md": lesson}, ["sphinx_proof", "equations"])
    assert log == ""
    numbers = re.findall(r'<span class="eqno">\((.*?)\)', made["lesson.html"])
    assert numbers == ["8.27", "i", "ii"]
    assert re.findall(r"#equation-\S+\">\((.*?)\)", made["index.html"]) == ["8.27", "i"]
    assert "Algorithm 8.8" in made["lesson.html"]
    assert ">Algorithm 8.8</a>" in made["index.html"]


# Equation, code, test


def test_map_names_what_exists() -> None:
    for label, entry in equation_map.load(ROOT).items():
        assert entry.code and entry.tests, label
        for name in entry.code:
            module, _, rest = name.removeprefix("dlopt.").partition(".")
            assert hasattr(importlib.import_module(f"dlopt.{module}"), rest.split(".")[0])
        for test in entry.tests:
            source, line = equation_map.source_of_test(ROOT, test)
            assert "def test_" in source and line > 0


def test_source_of_a_test(tmp_path: Path) -> None:
    text = "import x\n\n@mark\ndef test_a():\n    pass\n\n"
    text += "class TestB:\n    def test_c(self):\n        1\n"
    (tmp_path / "test_x.py").write_text(text)
    source = equation_map.source_of_test
    assert source(tmp_path, "test_x.py::test_a") == ("@mark\ndef test_a():\n    pass", 3)
    assert source(tmp_path, "test_x.py::TestB::test_c") == ("    def test_c(self):\n        1", 8)
    for missing, message in {
        "test_x.py::test_z": "no test test_z in test_x.py",
        "test_y.py::test_a": "no file test_y.py",
        "test_x.py": "no test named in 'test_x.py'",
    }.items():
        with pytest.raises(ValueError, match=re.escape(message)):
            source(tmp_path, missing)


def test_equations_lead_to_code_and_test(build) -> None:
    files = {
        "index.md": "# Home\n\n```{py:function} dlopt.f()\n```\n\n"
        "```{toctree}\nlesson\nbook/equations\n```\n",
        "lesson.md": "# A lesson\n\n$$ a = b $$ (eq-8-27)\n\n$$ c = d $$ (eq-8-99)\n",
        "book/equations.md": "# Map\n\n```{equation-map}\n```\n",
        "book/equations.yml": "eq-8-27:\n  code: [dlopt.f, dlopt.gone]\n"
        "  tests: ['t.py::test_f', 't.py::test_g']\n",
        "t.py": "def test_f():\n    assert f\n",
    }
    made, log = build(files, ["equations", "equation_map"])
    line = made["lesson.html"].split('"equation-links"')[1].split("</p>")[0]
    assert 'href="index.html#dlopt.f"' in line
    assert 'href="book/equations.html#t-test_f"' in line
    assert 'id="t-test_f"' in made["book/equations.html"]
    assert "A lesson" in made["book/equations.html"].split("<table")[1].split("</table>")[0]
    complaints = [line.partition("WARNING: ")[2] for line in log.splitlines()]
    assert set(complaints) == {
        "book/equations.yml says nothing about eq-8-99",
        "book/equations.yml: no test test_g in t.py",
        "py:obj reference target not found: dlopt.gone",
        "undefined label: 't-test_g'",
    }


# Executed notebooks


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


# Claims


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


# The repository, MathJax, the API


def configured(url: str) -> dict:
    options = {
        "repository_url": url,
        "launch_buttons": {"colab_url": "https://colab.research.google.com"},
        "use_repository_button": True,
    }
    config = Config({}, {"html_theme_options": options})
    config.add("html_theme_options", {}, "html", ())
    repository.configure(None, config)
    return config.html_theme_options


def test_placeholder_switches_the_buttons_off(monkeypatch) -> None:
    monkeypatch.delenv("DLOPT_REPOSITORY_URL", raising=False)
    options = configured(repository.PLACEHOLDER)
    assert (options["repository_url"], options["launch_buttons"]) == ("", {})
    assert not options["use_repository_button"]


def test_address_comes_from_the_configuration_or_the_environment(monkeypatch) -> None:
    monkeypatch.delenv("DLOPT_REPOSITORY_URL", raising=False)
    assert configured("https://github.com/a/b.git")["repository_url"] == "https://github.com/a/b"
    monkeypatch.setenv("DLOPT_REPOSITORY_URL", "https://github.com/c/d/")
    options = configured(repository.PLACEHOLDER)
    assert options["repository_url"] == "https://github.com/c/d"
    assert options["launch_buttons"] and options["use_repository_button"]


def test_mathjax_is_complete() -> None:
    missing = [part for part in mathjax_local.PARTS if not (mathjax_local.source() / part).exists()]
    assert missing == []


def test_every_public_module_has_its_place_in_the_reference() -> None:
    text = "".join(path.read_text("utf8") for path in (ROOT / "book").glob("api*.md"))
    documented = re.findall(r"automodule:: dlopt\.(\w+)$", text, re.MULTILINE)
    public = [p.stem for p in (ROOT / "dlopt").glob("*.py") if not p.stem.startswith("_")]
    assert sorted(documented) == sorted(public)
