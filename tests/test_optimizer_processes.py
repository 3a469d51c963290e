"""`MethodOptimizer` under DistributedDataParallel: processes take the steps of one on all data."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from torch import Tensor, distributed, nn
from torch.nn.functional import mse_loss
from torch.nn.parallel import DistributedDataParallel

import dlopt
from tests.small_network import task

pytestmark = pytest.mark.skipif(not distributed.is_gloo_available(), reason="needs gloo")

METHODS = {"lbfgs": dlopt.LBFGS(), "bfgs": dlopt.BFGS(), "cg": dlopt.ConjugateGradient()}
CONVENTIONS = ("backward", "loss alone", "loss averaged by hand")


def iterates(method: dlopt.Method, model: nn.Module, x: Tensor, y: Tensor, how: str) -> Tensor:
    """The points of a few steps, one a row."""
    optimizer = dlopt.MethodOptimizer(model.parameters(), method, full_batch=True)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = mse_loss(model(x), y)
        if how != "loss alone":
            loss.backward()
        if how == "loss averaged by hand" and distributed.is_initialized():
            loss = loss.detach()
            distributed.all_reduce(loss)
            loss /= distributed.get_world_size()
        return loss

    points = []
    for _ in range(12):
        optimizer.step(closure)
        points.append(torch.cat([p.detach().reshape(-1) for p in model.parameters()]))
    return torch.stack(points)


def in_each(rank: int, folder: str, check: Callable[[int], None]) -> None:
    """Run a check in one of two processes."""
    torch.set_num_threads(1)
    address = f"file://{folder}/store"
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    try:
        check(rank)
    finally:
        distributed.destroy_process_group()


def in_two_processes(folder: Path, check: Callable[[int], None]) -> None:
    torch.multiprocessing.spawn(in_each, (str(folder), check), nprocs=2)


def visit_the_same(rank: int) -> None:
    _, x, y = task()
    mine = slice(20 * rank, 20 * rank + 20)
    for method in METHODS.values():
        for how in CONVENTIONS:
            expected = iterates(method, task()[0], x, y, "loss alone")
            model = DistributedDataParallel(task()[0])
            points = iterates(method, model, x[mine], y[mine], how)
            torch.testing.assert_close(points, expected, rtol=1e-8, atol=1e-9)
            both = [torch.empty_like(points) for _ in range(2)]
            distributed.all_gather(both, points)
            assert torch.equal(*both)  # to the last bit, or they would drift apart


def refuse_what_is_not_averaged(rank: int) -> None:
    net, x, y = task()
    model = DistributedDataParallel(net)
    with pytest.raises(ValueError, match="Hessian, which DistributedDataParallel does not"):
        dlopt.MethodOptimizer(net.parameters(), dlopt.Newton()).step(lambda: mse_loss(model(x), y))
    outside = nn.Parameter(torch.ones(1, dtype=x.dtype))
    optimizer = dlopt.MethodOptimizer([*net.parameters(), outside], dlopt.LBFGS())
    with pytest.raises(ValueError, match=r"must all belong to the .* module, got 1 outside"):
        optimizer.step(lambda: mse_loss(model(x), y) + outside.sum() ** 2)


def leave_fits_of_their_own_alone(rank: int) -> None:
    """One process fits a model by itself, with a teacher that happens to be wrapped."""
    net, x, _ = task()
    teacher = DistributedDataParallel(task()[0])

    def closure() -> Tensor:
        with torch.no_grad():
            targets = teacher(x) + 1
        return mse_loss(net(x), targets)

    if rank == 0:
        optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.Newton())
        assert float(optimizer.step(closure)) == pytest.approx(1.0)
        assert closure() < 0.9


def stop_together(rank: int) -> None:
    """Where one loss is not finite, no process steps, and none waits for the other."""
    net, x, y = task()
    model = DistributedDataParallel(net)
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.LBFGS())
    before = [p.detach().clone() for p in net.parameters()]
    factor = float("nan") if rank == 0 else 1.0
    optimizer.step(lambda: factor * mse_loss(model(x), y))
    assert optimizer.reason == "non_finite"
    assert all(map(torch.equal, before, net.parameters()))
    optimizer.step(lambda: mse_loss(model(x), y))
    assert optimizer.reason == ""


def all_of_them(rank: int) -> None:
    visit_the_same(rank)
    refuse_what_is_not_averaged(rank)
    leave_fits_of_their_own_alone(rank)
    stop_together(rank)


def test_processes_take_the_steps_of_one_on_all_data(tmp_path: Path) -> None:
    in_two_processes(tmp_path, all_of_them)


def test_the_script_in_the_book_runs(tmp_path: Path) -> None:
    """Under torchrun, to a small loss that is printed once."""
    page = (Path(__file__).parents[1] / "book" / "how_to_use.md").read_text("utf-8")
    found = r"^```{code-block} python\n:caption: [^\n]*\n(.*?)^```$"
    (script,) = re.findall(found, page, re.DOTALL | re.MULTILINE)
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
    run = subprocess.run(
        [sys.executable, *launch],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(run.stdout) < 1e-2
