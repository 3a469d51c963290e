"""What a Hessian costs, beside the two usual ways to get one: ``python -m benchmarks.hessian``.

*Batched*: all rows in one batched pass back through the graph of the gradient. *Loop*: one pass for
each row. Times are the least of some rounds in which they take turns, on one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from dlopt.empirical_risk import EmpiricalRisk
from dlopt.objective import Objective


def gradient_graph(risk: EmpiricalRisk, theta: Tensor) -> tuple[Tensor, Tensor]:
    """The parameters as a leaf, shape (n,), and the gradient with its graph."""
    leaf = theta.clone().requires_grad_()
    (g,) = torch.autograd.grad(risk(leaf), leaf, create_graph=True)
    return leaf, g


def batched(risk: EmpiricalRisk, theta: Tensor) -> Tensor:
    """All rows at once."""
    leaf, g = gradient_graph(risk, theta)
    rows = torch.eye(len(theta), dtype=theta.dtype)
    return torch.autograd.grad(g, leaf, rows, is_grads_batched=True)[0]


def loop(risk: EmpiricalRisk, theta: Tensor) -> Tensor:
    """Row by row."""
    leaf, g = gradient_graph(risk, theta)
    rows = torch.eye(len(theta), dtype=theta.dtype)
    return torch.stack([torch.autograd.grad(g, leaf, row, retain_graph=True)[0] for row in rows])


def ours(risk: EmpiricalRisk, theta: Tensor) -> Tensor:
    """As `Newton` gets it."""
    return Objective(risk).with_curvature(theta).hessian()


def seconds(build: Callable[[EmpiricalRisk, Tensor], Tensor], risk: EmpiricalRisk) -> float:
    """The time to build one Hessian."""
    start = time.perf_counter()
    build(risk, risk.initial)
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    data = load_digits()
    x = torch.tensor(data.data / 16)[:500]
    labels = torch.tensor(data.target)[:500]
    print(f"{'parameters':>10}{'seconds':>10}{'ratio to batched':>18}{'ratio to loop':>15}")
    for hidden, rounds in ((6, 5), (66, 2)):
        net = nn.Sequential(nn.Linear(64, hidden), nn.Tanh(), nn.Linear(hidden, 10)).double()
        risk = EmpiricalRisk(net, x, labels, nn.functional.cross_entropy)
        ways = (ours, batched, loop) if risk.n < 1000 else (ours, loop)
        turns = [[seconds(way, risk) for way in ways] for _ in range(rounds)]
        least = dict(zip(ways, map(min, zip(*turns, strict=True)), strict=True))
        to_batched = f"{least[ours] / least[batched]:.2f}" if batched in least else "–"
        ratio = least[ours] / least[loop]
        print(f"{risk.n:10}{least[ours]:10.2f}{to_batched:>18}{ratio:15.2f}", flush=True)


if __name__ == "__main__":
    main()
