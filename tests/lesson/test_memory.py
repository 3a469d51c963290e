"""The meter counts what PyTorch allocates: checked by hand, and against the operating system."""

import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch

from dlopt import BFGS, iterate
from dlopt.lesson.memory import peak_bytes

A = torch.zeros(100, 100, dtype=torch.float64)
SIZE = 80_000


def test_counts_what_is_alive_at_once() -> None:
    assert peak_bytes(lambda: A + 1) == SIZE
    assert peak_bytes(lambda: [A + i for i in range(5)]) == 5 * SIZE
    assert peak_bytes(lambda: [float((A + i)[0, 0]) for i in range(5)]) in (SIZE, SIZE + 8)


def test_views_and_changes_in_place_are_free() -> None:
    assert peak_bytes(lambda: A.T[3:].reshape(100, -1)[0]) <= SIZE
    assert peak_bytes(lambda: (A.T, A[3], A.view(-1), A.detach())) == 0
    assert peak_bytes(lambda: A.mul_(1)) == 0


def test_sees_the_backward_pass() -> None:
    x = torch.ones(1000, dtype=torch.float64, requires_grad=True)
    assert peak_bytes(lambda: torch.autograd.grad((x.exp() ** 2).sum(), x)) >= 3 * 8000


def run(n: int) -> None:
    for _ in islice(iterate(lambda x: (x**4).sum(), torch.ones(n, dtype=torch.float64), BFGS()), 4):
        pass


CHILD = """
import re
from pathlib import Path
from tests.lesson.test_memory import run
status = Path("/proc/self/status")
run(10)
peaks = []
for n in (10, 2000):
    run(n)
    peaks.append(1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]))
print(peaks[1] - peaks[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says what was used")
def test_agrees_with_the_operating_system() -> None:
    command = [sys.executable, "-c", CHILD]
    root = Path(__file__).parents[2]
    found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert peak_bytes(lambda: run(2000)) == pytest.approx(int(found.stdout), rel=0.1)
