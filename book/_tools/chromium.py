"""Find the Chromium that the browser test drives, or say how to install it."""

from __future__ import annotations

import os
import shutil
import sys

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
ADVICE = """\
The book is tested in a real browser, and no Chromium was found. Install it
  Debian, Ubuntu   apt-get install chromium   (or any Google Chrome)
  Fedora           dnf install chromium
  macOS            brew install --cask chromium
or name one that you have: CHROMIUM=path make test"""


def find() -> str | None:
    """The browser's path: ``$CHROMIUM``, or the first one there is."""
    named = os.environ.get("CHROMIUM")
    return next(filter(None, map(shutil.which, [named] if named else NAMES)), None)


def main() -> int:
    """Exit with the advice if there is none."""
    if find() is None:
        print(ADVICE, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
