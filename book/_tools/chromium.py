"""Find the Chromium that the browser test drives, or install one.

::

    python book/_tools/chromium.py             # find or install; else say what to do, in one line
    python book/_tools/chromium.py --report    # at the end of `make test`: say what did not run

``CHROMIUM`` names a browser, or ``none`` where there shall be none. A browser counts if it runs:
Ubuntu's package of that name may only point to a store. Without one the browser part is left out,
but where ``CI`` is set that is a failure.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
# Where Playwright puts what it downloads, on Linux and on macOS.
DOWNLOADS = (".cache/ms-playwright", "Library/Caches/ms-playwright")
PROGRAMS = ("chrome-linux*/chrome", "chrome-mac*/*.app/Contents/MacOS/*")
SECONDS = 300  # for one step of an installation
PROBE = 30  # for a browser to say its version
MISSING = (
    "No Chromium that runs: the browser part of the tests is left out. Install Chromium or Google "
    "Chrome, or name yours: CHROMIUM=path make test"
)


def candidates() -> list[str]:
    """The browsers to try: the one that ``CHROMIUM`` names, or all there are, ours last."""
    if named := os.environ.get("CHROMIUM"):
        return [named]
    folders = [Path.home() / folder for folder in DOWNLOADS]
    if chosen := os.environ.get("PLAYWRIGHT_BROWSERS_PATH"):
        folders = [Path(chosen)]
    downloaded = [
        str(path)
        for folder in folders
        for program in PROGRAMS
        for path in sorted(folder.glob(f"chromium-*/{program}"), reverse=True)
    ]
    return [*NAMES, *downloaded]


def find() -> str | None:
    """The path of the first browser that runs, or None."""
    paths = filter(None, map(shutil.which, candidates()))
    return next((path for path in paths if succeeds([path, "--version"], PROBE)), None)


def required() -> bool:
    """Whether a missing browser is a failure."""
    return bool(os.environ.get("CI"))


def succeeds(command: list[str], seconds: float | None = None) -> bool:
    """Run a command in silence; end it with its children when its time is over."""
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
        )
    except OSError:
        return False
    try:
        return process.wait(seconds or SECONDS) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        if process.poll() is None:
            # What sudo started is not ours to end.
            with contextlib.suppress(PermissionError, subprocess.TimeoutExpired):
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(5)


def administrator() -> list[str] | None:
    """What to write before a command that the system's owner runs; None if we may not."""
    if os.geteuid() == 0:
        return []
    return ["sudo", "-n"] if succeeds(["sudo", "-n", "true"]) else None


def installations() -> list[list[list[str]]]:
    """The ways to install a browser here, each as the commands it takes."""
    first = administrator()
    apt = first is not None and shutil.which("apt-get") is not None
    ways = []
    if first is not None and apt:
        get = [*first, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
        get += ["-o", "Acquire::http::Timeout=20", "-o", "DPkg::Lock::Timeout=60"]
        packages = ["chromium", "fonts-dejavu-core"]
        ways.append([[*get, "update"], [*get, "install", "--no-install-recommends", *packages]])
    playwright = [sys.executable, "-m", "playwright", "install"]
    ways.append([[*playwright, *(["--with-deps"] if apt else []), "chromium"]])
    return ways


def install() -> str | None:
    """Install a browser in the first way that ends with one that runs; its path, or None."""
    for commands in installations():
        if all(map(succeeds, commands)) and (path := find()):
            return path
    return None


def main(argv: list[str] | None = None) -> int:
    """Find or install; or report."""
    parser = argparse.ArgumentParser(description="Find or install the browser for the tests.")
    parser.add_argument("--report", action="store_true", help="only say what did not run")
    report = parser.parse_args(argv).report
    path = find()
    if path is None and not report and not os.environ.get("CHROMIUM"):
        print("No Chromium found: installing one, which takes a few minutes", flush=True)
        path = install()
    if path is None and (report or os.environ.get("CHROMIUM") != "none"):
        print(MISSING, file=sys.stderr)
    return int(path is None and required())


if __name__ == "__main__":
    sys.exit(main())
