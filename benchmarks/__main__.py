"""Second-order methods side by side on the Moré-Garbow-Hillstrom set: ``python -m benchmarks``.

Two columns judge a method. *Tight*: with a gradient tolerance of 1e-10, is the minimum met within
5000 evaluations, and how many does it take? *Own defaults*: is the point it returns a solution?
An evaluation is one call of the objective with its derivatives; products with the Hessian are free.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import scipy.optimize
import torch
import torchmin
from torch import Tensor

import dlopt
from benchmarks.more_garbow_hillstrom import (
    INSTANCES,
    Instance,
    count_to_solve,
    perturbed,
    rotated,
    solved,
)

Objective = Callable[[Tensor], Tensor]
Change = Callable[[Instance, torch.Generator], Instance]
# Called with f, x0 and a gradient tolerance (None: the method's own); returns the point it ends at.
Solver = Callable[[Objective, Tensor, float | None], Tensor]


class LastPoint:
    """The derivatives that SciPy asks for one by one, from one evaluation a point."""

    def __init__(self, f: Objective) -> None:
        """Wrap the objective."""
        self.f = f
        self.x = torch.empty(0)

    def at(self, x: object) -> None:
        """Evaluate at a point unless it is the last one."""
        new = torch.as_tensor(x)
        if not torch.equal(new, self.x):
            self.x = new.clone().requires_grad_()
            self.y = self.f(self.x)
            (self.g,) = torch.autograd.grad(self.y, self.x, create_graph=True)

    def value_and_gradient(self, x: object) -> tuple[float, object]:
        """The value as a float, the gradient as an array."""
        self.at(x)
        return float(self.y.detach()), self.g.detach().numpy()

    def hessian(self, x: object) -> object:
        """The Hessian as an array."""
        self.at(x)
        if not self.g.requires_grad:  # linear in x
            return torch.zeros(len(self.x), len(self.x)).double().numpy()
        rows = [torch.autograd.grad(g, self.x, retain_graph=True)[0] for g in self.g]
        return torch.stack(rows).numpy()


def from_dlopt(method: dlopt.Method) -> Solver:
    """A method of ours."""
    return lambda f, x0, tol: dlopt.minimize(f, x0, method, grad_tol=tol, record=False).x


def from_scipy(name: str) -> Solver:
    """A method of SciPy's, with exact derivatives."""

    def solve(f: Objective, x0: Tensor, tol: float | None) -> Tensor:
        at = LastPoint(f)
        result = scipy.optimize.minimize(
            at.value_and_gradient, x0.numpy(), jac=True, hess=at.hessian, method=name, tol=tol
        )
        return torch.as_tensor(result.x)

    return solve


def from_torchmin(name: str) -> Solver:
    """A method of pytorch-minimize's."""

    def solve(f: Objective, x0: Tensor, tol: float | None) -> Tensor:
        return torchmin.minimize(f, x0, method=name, tol=tol).x

    return solve


SOLVERS: dict[str, Solver] = {
    "dlopt Newton": from_dlopt(dlopt.Newton()),
    "SciPy trust-exact": from_scipy("trust-exact"),
    "pytorch-minimize trust-exact": from_torchmin("trust-exact"),
    "dlopt TruncatedNewton": from_dlopt(dlopt.TruncatedNewton()),
    "SciPy Newton-CG": from_scipy("Newton-CG"),
    "pytorch-minimize newton-cg": from_torchmin("newton-cg"),
}


def returns_a_solution(solver: Solver, instance: Instance) -> bool:
    """Judge the point that a method returns by its own defaults."""
    try:
        return solved(instance, float(instance(solver(instance, instance.x0.clone(), None))))
    except (ArithmeticError, RuntimeError, ValueError):  # a method that raises has not solved it
        return False


def tight(solver: Solver, instance: Instance) -> int | None:
    """The evaluations to the minimum, None if it is not met."""

    def run(f: Objective, x0: Tensor) -> None:
        try:
            solver(f, x0, 1e-10)
        except (ArithmeticError, RuntimeError, ValueError):
            return

    return count_to_solve(run, instance).evaluations


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")  # the other libraries' remarks about rounding
    print(f"{'':30}{'tight':>7}{'evaluations':>13}{'defaults':>10}{'seconds':>9}")
    for name, solver in SOLVERS.items():
        start = time.perf_counter()
        counts = [n for instance in INSTANCES if (n := tight(solver, instance)) is not None]
        seconds = time.perf_counter() - start
        defaults = sum(returns_a_solution(solver, instance) for instance in INSTANCES)
        print(f"{name:30}{len(counts):7}{sum(counts):13}{defaults:10}{seconds:9.1f}", flush=True)
    print("\nThe same, tight, from perturbed starts and in rotated coordinates: five seeds each")
    for name, solver in SOLVERS.items():
        for change in (perturbed, rotated):
            runs = [other_instances(solver, change, seed) for seed in range(5)]
            cells = "".join(f"{met:4}/{spent}" for met, spent in runs)
            print(f"{name:30}{change.__name__:10}{cells}", flush=True)


def other_instances(solver: Solver, change: Change, seed: int) -> tuple[int, int]:
    """Solved instances and the evaluations spent on them, with the set changed at random."""
    generator = torch.Generator().manual_seed(seed)
    counts = [tight(solver, change(instance, generator)) for instance in INSTANCES]
    met = [n for n in counts if n is not None]
    return len(met), sum(met)


if __name__ == "__main__":
    main()
