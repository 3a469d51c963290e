"""One repository URL: ``repository.url`` in ``_config.yml``, or ``DLOPT_REPOSITORY_URL``.

With the placeholder the book is complete but claims no address: the launch, source and issue
buttons are off.
"""

from __future__ import annotations

import os
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

PLACEHOLDER = "https://github.com/OWNER/REPOSITORY"
BUTTONS = (
    "use_repository_button",
    "use_issues_button",
    "use_edit_page_button",
    "use_source_button",
)


def configure(app: Sphinx, config: Config) -> None:
    """Set the URL in the theme's options, and switch the buttons off with the placeholder."""
    options = config.html_theme_options
    url = os.environ.get("DLOPT_REPOSITORY_URL") or options.get("repository_url") or PLACEHOLDER
    options["repository_url"] = url.rstrip("/").removesuffix(".git")
    if options["repository_url"] == PLACEHOLDER:
        options["repository_url"] = ""
        options["launch_buttons"] = {}
        options.update(dict.fromkeys(BUTTONS, False))


def setup(app: Sphinx) -> dict[str, Any]:
    """Run before the theme reads its options."""
    app.connect("config-inited", configure, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
