"""The repository agrees with itself: names, versions, addresses, and what is kept out of git."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import executed
import pytest
import yaml
from notebook_filter import clean, dumps, read, tags
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import dlopt

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PARAMETERS = ["seed = 0", 'scale = "book"', 'device = "cpu"']

# The lecture's sections, and the modules that bear no section's name.
SECTIONS = {
    "empirical_risk", "newton", "conjugate_gradient", "nonlinear_cg", "bfgs", "lbfgs",
    "meta_algorithms", "batch_norm", "coordinate_descent", "averaging", "pretraining",
    "model_design", "continuation",
}  # fmt: skip
ONLY_A_SETTING = {"meta_algorithms"}
TAUGHT_IN = {"nonlinear_cg": "conjugate_gradient", "curriculum": "continuation"}


def each_notebook(function):
    return pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)(function)


def text_files() -> list[Path]:
    """The files that git would commit."""
    try:
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and a clone")
    paths = [ROOT / name for name in names.splitlines()]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()]


# One stem, three places


@each_notebook
def test_lesson_has_module_and_tests(path: Path) -> None:
    assert path.stem in SECTIONS
    module = TAUGHT_IN.get(path.stem, path.stem)
    if path.stem not in ONLY_A_SETTING:
        assert (ROOT / "dlopt" / f"{module}.py").is_file()
        assert (ROOT / "tests" / f"test_{module}.py").is_file()


def test_module_of_a_section_has_its_lesson() -> None:
    stems = {TAUGHT_IN.get(path.stem, path.stem) for path in (ROOT / "dlopt").glob("*.py")}
    lessons = {path.stem for path in NOTEBOOKS}
    assert {TAUGHT_IN.get(stem, stem) for stem in stems & SECTIONS} - lessons == set()


def test_contents_list_every_notebook() -> None:
    listed = re.findall(r"file: (\S+)", (ROOT / "_toc.yml").read_text())
    assert sorted(f for f in listed if f.startswith("notebooks/")) == [
        f"notebooks/{path.stem}" for path in NOTEBOOKS
    ]
    assert all(list(ROOT.glob(f"{f}.*")) for f in listed)


# Packages and versions


def pinned() -> list[list[str]]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line.split("==") for line in lines if not line.startswith("#")]


def bounds(requirements: list[str]) -> dict[str, str]:
    parsed = [Requirement(r) for r in requirements if not r.startswith("dlopt")]
    return {r.name.lower(): str(r.specifier) for r in parsed}


def test_one_version_everywhere() -> None:
    assert PROJECT["dynamic"] == ["version"], "it is taken from the package"
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == dlopt.__version__
    readme = (ROOT / "README.md").read_text("utf-8")
    assert re.findall(r"version = \{(.*)\}", readme) == [dlopt.__version__]
    assert f"## [{dlopt.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_package_needs_numpy_and_torch_alone() -> None:
    needs = bounds(PROJECT["dependencies"])
    assert set(needs) == {"numpy", "torch"}
    assert all(specifier.startswith(">=") for specifier in needs.values())


def test_conda_environment_is_what_the_notebooks_need() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip[-1] == "--editable ."
    here = bounds(conda + pip[:-1])
    assert here.pop("python") == PROJECT["requires-python"]
    assert here.pop("pip") == ""
    for name, package in {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}.items():
        here[name] = here.pop(package)
    extras = PROJECT["optional-dependencies"]
    book = bounds(extras["book"])
    lab = {name: book[name] for name in ("jupyterlab", "jupyterlab_myst")}
    assert here == bounds(PROJECT["dependencies"]) | bounds(extras["plot"]) | lab


def test_pins_cover_and_satisfy_every_requirement() -> None:
    pins = {name.lower(): version for name, version in pinned()}
    extras = PROJECT["optional-dependencies"].values()
    wanted = [Requirement(r) for r in sum(extras, PROJECT["dependencies"]) if r[:5] != "dlopt"]
    assert [r.name for r in wanted if r.name.lower() not in pins] == []
    assert [str(r) for r in wanted if pins[r.name.lower()] not in r.specifier] == []


def test_pins_run_on_the_oldest_python_promised() -> None:
    """A pin that needs 3.11.5 would end an installation with 3.11.2 in a riddle."""
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    pins = pinned()
    installed = {d.metadata["Name"].lower(): d.metadata for d in metadata.distributions()}
    found = {name: installed[name.lower()] for name, _ in pins if name.lower() in installed}
    asked = {
        name: found[name].get("Requires-Python", "")
        for name, version in pins
        if name in found and Version(found[name]["Version"]).public == version
    }
    assert asked
    assert {n: r for n, r in asked.items() if oldest not in SpecifierSet(r)} == {}


def test_lower_bounds_are_tested() -> None:
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    assert re.findall(r'python: \["([\d.]+)"', workflow) == [
        PROJECT["requires-python"].removeprefix(">=")
    ]
    tested = re.findall(r"(\w+)==([\d.]+)\.\*", workflow)
    needs = bounds(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["bench"])
    assert {"numpy", "torch", "scipy"} == {name for name, _ in tested}
    assert {name: needs[name] for name, _ in tested} == {n: f">={v}" for n, v in tested}


IMPORT = """
import json, sys, time, torch
start = time.perf_counter()
import dlopt
seconds = time.perf_counter() - start
print(json.dumps([seconds, sorted({name.split(".")[0] for name in sys.modules})]))
"""


def test_import_is_light() -> None:
    for _ in range(4):  # the machine may be busy: the fastest of a few runs tells
        command = [sys.executable, "-c", IMPORT]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        seconds, modules = json.loads(result.stdout)
        if seconds < 0.3:
            break
    extras = PROJECT["optional-dependencies"]
    names = {"sklearn", "IPython", "PIL", "papermill", "pandas"} | set(
        bounds(extras["plot"] + extras["bench"])
    )
    assert names & set(modules) == set()
    assert seconds < 0.3


# Notebooks


@each_notebook
def test_notebook_frame(path: Path) -> None:
    code = [cell for cell in read(path)["cells"] if cell["cell_type"] == "code"]
    assert [tags(cell)[:1] for cell in code[:2]] == [["colab"], ["parameters"]]
    lines = "".join(code[1]["source"]).splitlines()
    assert [
        line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()
    ] == PARAMETERS


@each_notebook
def test_checked_cells_are_tagged_and_carry_their_verdicts(path: Path) -> None:
    for cell in read(path)["cells"]:
        claims = re.findall(r"^claim\(", "".join(cell["source"]), flags=re.MULTILINE)
        checked = {"claim", "nbval-check-output"} & set(tags(cell))
        assert len(checked) == (2 if claims else 0)
        if claims:
            assert len(cell["outputs"]) == len(claims), "run `make verdicts`"


@each_notebook
def test_every_exercise_has_its_solution_folded(path: Path) -> None:
    cells = read(path)["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    exercises = [i for i, source in enumerate(sources) if "```{exercise}" in source]
    assert exercises
    for i, end in zip(exercises, [*exercises[1:], len(cells)], strict=True):
        at = [j for j in range(i, end) if "solution" in tags(cells[j])]
        assert [cells[j]["cell_type"] for j in at] == ["markdown", "code"], sources[i]
        assert at[1] == at[0] + 1
        assert executed.SOLUTION.fullmatch(sources[at[0]]), sources[at[0]]


@each_notebook
def test_what_only_sets_up_or_shows_the_library_is_folded(path: Path) -> None:
    cells = [cell for cell in read(path)["cells"] if cell["cell_type"] == "code"]
    assert "hide-input" in tags(cells[1]), "the parameters"
    shows = re.compile(r"^(listing|beside)\(", re.MULTILINE)
    for cell in cells:
        assert bool(shows.search("".join(cell["source"]))) <= ("remove-input" in tags(cell))


@each_notebook
def test_notebook_is_as_the_filter_leaves_it(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == dumps(clean(read(path)))


@each_notebook
def test_notebook_has_short_cells(path: Path) -> None:
    for cell in read(path)["cells"]:
        lines = [line for line in "".join(cell["source"]).splitlines() if line.strip()]
        if cell["cell_type"] == "code":
            assert len(lines) <= 25, lines[0]


# What stays out of git


def test_no_absolute_paths() -> None:
    pattern = re.compile(r"""(^|["'` =(:])/(home|root|tmp|usr|work|opt|Users)/""", re.MULTILINE)
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in text_files()
        for match in pattern.finditer(path.read_text(encoding="utf-8"))
        if path != Path(__file__)
    ]
    assert found == []


def test_no_outputs_of_any_kind_are_committed() -> None:
    built = [p for p in text_files() if p.relative_to(ROOT).parts[0] in {"_build", ".venv"}]
    assert built == []
    state = [p.name for p in NOTEBOOKS if re.search(r'"(image/|application/vnd)', p.read_text())]
    assert state == []


def test_hooks_before_a_commit_are_parts_of_make_test() -> None:
    (source,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    makefile = (ROOT / "Makefile").read_text()
    (parts,) = re.findall(r"for part in ([\w ]+);", makefile)
    entries = [hook["entry"] for hook in source["hooks"]]
    assert entries == [f"make check-{part}" for part in parts.split()[:2]]
    style = makefile.split("\ncheck-style:")[1].split("\n\n")[0]
    for command in ("ruff check .", "ruff format --check .", "notebook_filter.py --check"):
        assert command in style


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_lists_its_commands() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in ("book", "test", "live", "notebooks", "repository", "bench", "clean"):
        assert f"make {command} " in listed
