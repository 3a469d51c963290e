"""What the execution of notebooks is asked for, checked before anything runs: no, in one line."""

from __future__ import annotations

import argparse
import math
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


class Refused(Exception):
    """Why nothing was executed, in a sentence."""


class Parser(argparse.ArgumentParser):
    """Refuses in one line."""

    def error(self, message: str) -> NoReturn:
        """Say it and end."""
        self.exit(2, f"{message}\n")


def whole(least: int, most: float = math.inf) -> Callable[[str], int]:
    """A reader of whole numbers within bounds."""

    def read_number(text: str) -> int:
        number = int(text) if re.fullmatch(r"-?\d+", text) else None
        if number is None or not least <= number <= most:
            upper = f" and at most {most}" if most < math.inf else ""
            raise argparse.ArgumentTypeError(
                f"must be a whole number, at least {least}{upper}, got {text}"
            )
        return number

    return read_number


def check_device(device: str) -> None:
    """Refuse a device that PyTorch can't compute on here."""
    if device != "cpu":
        import torch

        try:
            float(torch.zeros((), device=device))
        except (RuntimeError, AssertionError) as error:
            why = str(error).partition("\n")[0]
            raise Refused(f"nothing can be computed on device {device!r} here: {why}") from None


def check_folder(path: Path) -> None:
    """Refuse a folder that can't be written into."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise Refused(f"can't write into {path}: {error.strerror}") from None
