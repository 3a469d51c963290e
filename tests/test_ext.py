"""The book's extensions, each on a book of a few lines; those for notebooks: test_ext_notebooks."""

import doctest
import importlib
import io
import re
from pathlib import Path

import equation_map
import mathjax_local
import pages
import pytest
import repository
from sphinx.config import Config

ROOT = Path(__file__).parents[1]
EXTENSIONS = [path for path in (ROOT / "book" / "_ext").glob("*.py") if path.stem != "tables"]


@pytest.mark.parametrize("path", sorted(EXTENSIONS), ids=lambda path: path.stem)
def test_examples_in_docstrings(path: Path) -> None:
    module = importlib.import_module(path.stem)
    assert doctest.testmod(module).failed == 0
    assert callable(module.setup)


def test_the_book_uses_every_extension() -> None:
    config = (ROOT / "_config.yml").read_text(encoding="utf8")
    for path in EXTENSIONS:
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


def test_the_map_is_in_the_order_of_lessons_and_numbers(build) -> None:
    entry = "  code: [dlopt.f]\n  tests: ['t.py::test_f']\n"
    labels = ("eq-ours", "eq-8-9", "eq-8-28", "alg-8-8", "eq-8-10", "eq-8-2")
    equation = "$$ a $$ ({})\n\n".format
    files = {
        "index.md": "# Home\n\n```{py:function} dlopt.f()\n```\n\n"
        "```{toctree}\nsecond\nfirst\nbook/equations\n```\n",
        "first.md": "# Of late\n\n" + equation("eq-8-2"),
        "second.md": "# Of old\n\n"
        + "".join(map(equation, ("eq-ours", *labels[1:3], "eq-8-10")))
        + "```{prf:algorithm} A\n:label: alg-8-8\nJump.\n```\n",
        "book/equations.md": "# Map\n\n```{equation-map}\n```\n",
        "book/equations.yml": "".join(f"{label}:\n{entry}" for label in labels),
        "t.py": "def test_f():\n    assert f\n",
    }
    made, _ = build(files, ["sphinx_proof", "equations", "equation_map"])
    body = made["book/equations.html"].split("<tbody>")[1].split("</tbody>")[0]
    lessons = re.findall("Of old|Of late", body)
    assert lessons == ["Of old"] * 5 + ["Of late"]
    numbers = re.findall(r"\((8\.\d+|i)\)|>(?:Algorithm )?(8\.8)[ <]", body)
    assert ["".join(pair) for pair in numbers] == ["8.8", "8.9", "8.10", "8.28", "i", "8.2"]


def test_the_tests_on_the_map_fit_into_a_column() -> None:
    for entry in equation_map.load(ROOT).values():
        for test in entry.tests:
            source, _ = equation_map.source_of_test(ROOT, test)
            assert [line for line in source.splitlines() if len(line) > 88] == []


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
