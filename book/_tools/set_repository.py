"""Set the repository's URL everywhere it stands, and write the notebooks' Colab cell from it.

    python book/_tools/set_repository.py https://github.com/OWNER/REPOSITORY

The one source is ``repository.url`` in ``_config.yml``; this replaces it there and in the README,
the citation, the package's metadata, the pages and the notebooks. Without an argument it renews
the notebooks' set-up cells.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from notebook_filter import Node, clean, dumps, read, tags

ROOT = Path(__file__).resolve().parents[2]
PLACEHOLDER = "https://github.com/OWNER/REPOSITORY"
FORM = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")
COLAB = """\
# On Colab: install this book's library. Elsewhere this cell does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet "dlopt[plot] @ git+{url}"
"""


def current(root: Path = ROOT) -> str:
    """The URL in ``_config.yml``."""
    found = FORM.search((root / "_config.yml").read_text(encoding="utf-8"))
    return found.group() if found else PLACEHOLDER


def texts(root: Path = ROOT) -> list[Path]:
    """The text files in which the URL may stand."""
    names = ("_config.yml", "pyproject.toml", "CITATION.cff", "README.md", "CONTRIBUTING.md")
    return [root / n for n in names if (root / n).exists()] + sorted((root / "book").glob("*.md"))


def replace(text: str, old: str, new: str) -> str:
    """Replace one repository by another, in its URL and in the launch addresses of badges."""
    old_slug, new_slug = (url.removeprefix("https://github.com/") for url in (old, new))
    pattern = rf"(github\.com/|/github/|/gh/){re.escape(old_slug)}(?![\w-])"
    return re.sub(pattern, lambda match: match.group(1) + new_slug, text)


def with_colab_cell(notebook: Node, url: str) -> Node:
    """Return the clean notebook with the set-up cell for this URL, before its first code cell."""
    notebook = clean(notebook)
    cells = notebook["cells"]
    setup = next((cell for cell in cells if "colab" in tags(cell)), None)
    if setup is None:
        setup = {"cell_type": "code", "id": "colab", "execution_count": None, "outputs": []}
        first = next((i for i, cell in enumerate(cells) if cell["cell_type"] == "code"), len(cells))
        cells.insert(first, setup)
    setup["metadata"] = {"tags": ["colab", "remove-cell"]}
    setup["source"] = COLAB.strip().format(url=url).splitlines(keepends=True)
    return notebook


def main(argv: list[str]) -> int:
    """Replace the URL, or say what is wrong with it."""
    old = current()
    url = (argv[0] if argv else old).rstrip("/").removesuffix(".git")
    if not FORM.fullmatch(url):
        print(f"the URL must look like {PLACEHOLDER}, got {url!r}", file=sys.stderr)
        return 2
    files = {path: path.read_text(encoding="utf-8") for path in texts()}
    new = {path: replace(text, old, url) for path, text in files.items()}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        files[path] = path.read_text(encoding="utf-8")
        new[path] = dumps(with_colab_cell(read(path), url))
    for path, text in new.items():
        if text != files[path]:
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"{path.relative_to(ROOT)}: written")
    print(f"The repository is {url}" + (" (a placeholder)" if url == PLACEHOLDER else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
