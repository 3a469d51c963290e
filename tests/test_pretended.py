"""The device that isn't there refuses what CUDA refuses, and lessons run on it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Two, to keep the tests short; `make devices` runs all thirteen.
QUICK = ("empirical_risk", "lbfgs")
PLANTED = {
    "a tensor of the CPU": "x + torch.arange(3.0)",
    "the same inside vmap": "torch.vmap(lambda row: row * torch.ones(3))(x.expand(2, 3))",
    "the same in place": "x.mul_(torch.ones(3))",
    "the same picked by positions of the device": "torch.arange(3.0)[x.argsort()]",
    "the same put into the device": "x.index_put_((torch.tensor([0, 1]),), torch.ones(2))",
    "NumPy": "np.asarray(x)",
    "a generator of the CPU": "torch.randn(3, device=device, generator=torch.Generator())",
    "the same in place, drawn": "x.normal_(generator=torch.Generator())",
    "a network of the CPU": "torch.nn.Linear(3, 1)(x)",
    "a loss of the CPU": "(x * x).sum().backward(torch.ones(1))",
}
SOUND = {
    "a number": "x + torch.tensor(1.0)",
    "positions": "x[torch.tensor([0, 2])]",
    "a list of positions": "x[[0, 2]]",
    "moved": "np.asarray((x + torch.arange(3.0).to(x)).cpu())",
    "gradients": "torch.autograd.grad((y**3).sum(), y)[0]",
    "a Hessian": "torch.func.hessian(lambda z: (z**3).sum())(x)",
    "a product": "torch.eye(3, device=device)[0] @ torch.eye(3, device=device) @ x",
    "exact blurs": "rastrigin(3, dtype=x.dtype)(x) + GaussianMixture(y, torch.eye(3), y)(x)",
    "a network": "copy.deepcopy(torch.nn.Linear(3, 1).to(device)).double()(x.double())",
    "a cell": "torch.nn.LSTMCell(3, 2).to(device)(x[None])[0]",
}  # fmt: skip
SCRIPT = """
import copy, sys
import numpy as np
import torch
from dlopt.exact_blurs import GaussianMixture, rastrigin
from tests.pretended import pretended
with pretended() as device:
    for name, code in {cases!r}.items():
        x = torch.tensor([1.0, 2.0, 3.0], device=device)
        y = torch.ones(3, device=device, requires_grad=True)
        try:
            result = eval(code)
            print(f"{{name}}: {{getattr(result, 'device', 'cpu')}}")
        except (RuntimeError, TypeError) as error:
            print(f"{{name}}: refused")
"""


def python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600
    )


def outcomes(cases: dict[str, str]) -> dict[str, str]:
    done = python("-c", SCRIPT.format(cases=cases))
    assert done.returncode == 0, done.stderr
    return dict(line.split(": ") for line in done.stdout.splitlines())


def test_it_refuses_what_cuda_refuses() -> None:
    assert outcomes(PLANTED) == dict.fromkeys(PLANTED, "refused")


def test_it_takes_what_cuda_takes() -> None:
    found = outcomes(SOUND)
    assert found.pop("moved") == "cpu"
    assert found == dict.fromkeys(set(SOUND) - {"moved"}, "pretended:0")


def test_a_fault_in_a_lesson_is_reported(tmp_path: Path) -> None:
    for folder in ("tests", "notebooks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "tests" / "pretended.py").write_bytes(
        (ROOT / "tests" / "pretended.py").read_bytes()
    )
    cells = ["device = 'cpu'", "import torch", "torch.ones(2, device=device) @ torch.ones(2)"]
    made = [
        {"cell_type": "code", "metadata": {"tags": ["parameters"] * (i == 0)}, "source": [cell]}
        for i, cell in enumerate(cells)
    ]
    (tmp_path / "notebooks" / "faulty.ipynb").write_text(json.dumps({"cells": made}))
    done = python(str(tmp_path / "tests" / "pretended.py"))
    assert done.returncode == 1 and "faulty, cell 2" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("lesson", QUICK)
def test_a_lesson_runs_on_a_device(lesson: str) -> None:
    done = python("tests/pretended.py", lesson)
    assert done.returncode == 0, done.stdout + done.stderr
