"""The browser for the tests: which one is taken, how one is installed, what is said without."""

import os
import sys
import time
from pathlib import Path

import chromium
import pytest


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a browser, a package manager or sudo; programs go into ``bin``."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CHROMIUM", "PLAYWRIGHT_BROWSERS_PATH", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(chromium, "NAMES", tuple(n for n in chromium.NAMES if n[0] != "/"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return tmp_path


def program(path: Path, script: str = "exit 0") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


# Finding


def test_nothing_is_found_where_nothing_is(machine: Path) -> None:
    assert chromium.find() is None


def test_what_does_not_run_is_passed_over(machine: Path) -> None:
    program(machine / "bin" / "chromium-browser", "echo install me from a store; exit 1")
    chrome = program(machine / "bin" / "google-chrome", '[ "$1" = --version ]')
    assert chromium.find() == chrome


@pytest.mark.parametrize(
    "place",
    [
        ".cache/ms-playwright/chromium-1200/chrome-linux/chrome",
        ".cache/ms-playwright/chromium-1200/chrome-linux64/chrome",
        "Library/Caches/ms-playwright/chromium-1200/chrome-mac-arm64/X.app/Contents/MacOS/X",
    ],
)
def test_playwrights_download_is_found(machine: Path, place: str) -> None:
    chrome = program(machine / place)
    assert chromium.find() == chrome


def test_playwrights_folder_may_be_elsewhere(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chrome = program(machine / "there" / "chromium-1200" / "chrome-linux" / "chrome")
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(machine / "there"))
    assert chromium.find() == chrome


def test_a_named_browser_is_the_only_one(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(machine / "bin" / "chromium")
    mine = program(machine / "mine")
    monkeypatch.setenv("CHROMIUM", mine)
    assert chromium.find() == mine
    monkeypatch.setenv("CHROMIUM", "none")
    assert chromium.find() is None


def test_time_limit_ends_a_command_and_its_children(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chromium, "SECONDS", 0.3)
    written = machine / "written"
    command = program(machine / "slow", f"(/bin/sleep 1; echo > {written}) & /bin/sleep 9")
    assert not chromium.succeeds([command])
    time.sleep(1.2)
    assert not written.exists()


# Installing


def names(ways: list[list[list[str]]]) -> list[str]:
    """The last words that say what each way installs."""
    return [" ".join(commands[-1][-3:]) for commands in ways]


def test_owner_of_the_system_asks_the_package_manager_first(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    program(machine / "bin" / "apt-get")
    apt, playwright = chromium.installations()
    assert apt[0][0] == "env"
    assert apt[1][-2:] == ["chromium", "fonts-dejavu-core"]
    assert playwright == [
        [sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"]
    ]


def test_sudo_serves_only_without_a_password(machine: Path) -> None:
    program(machine / "bin" / "apt-get")
    sudo = machine / "bin" / "sudo"
    program(sudo, '[ "$1" = -n ]')
    assert chromium.installations()[0][0][:3] == ["sudo", "-n", "env"]
    program(sudo, "exit 1")
    assert names(chromium.installations()) == ["playwright install chromium"]


def test_without_a_package_manager_playwright_is_left(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names(chromium.installations()) == ["playwright install chromium"]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert names(chromium.installations()) == ["playwright install chromium"]


def test_an_installation_counts_if_its_browser_runs(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(machine / "prepared")
    stub = program(machine / "stub", f"echo exit 1 > {machine}/bin/chromium")
    good = program(machine / "good", f"/bin/mv {machine}/prepared {machine}/bin/google-chrome")
    ways = [[["absent"]], [[stub]], [[good]]]
    monkeypatch.setattr(chromium, "installations", lambda: ways[:2])
    assert chromium.install() is None
    monkeypatch.setattr(chromium, "installations", lambda: ways)
    assert chromium.install() == str(machine / "bin" / "google-chrome")


# Saying


def test_without_a_browser_one_line_says_what_to_do(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chromium, "install", lambda: None)
    for options in ([], ["--report"]):
        assert chromium.main(options) == 0
        assert capsys.readouterr().err == chromium.MISSING + "\n"
    monkeypatch.setenv("CI", "true")
    assert chromium.main([]) == 1


def test_with_a_browser_nothing_is_said(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(machine / "bin" / "chromium")
    assert chromium.main([]) == chromium.main(["--report"]) == 0
    assert capsys.readouterr() == ("", "")


def test_nothing_is_installed_where_a_browser_is_named_or_only_reported(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chromium, "install", lambda: pytest.fail("installs"))
    assert chromium.main(["--report"]) == 0
    monkeypatch.setenv("CHROMIUM", "none")
    capsys.readouterr()
    assert chromium.main([]) == 0
    assert capsys.readouterr() == ("", "")  # who wants none needs no advice
