"""What L-BFGS adds to the evaluations, side by side: ``python -m benchmarks overhead``.

The objective is a quadratic in float64, the history holds 10 pairs, there is one thread. The time
spent in the objective and its gradient is subtracted, the rest divided by the iterations. All arms
take turns in every round, and only ratios within a round are kept: to ``torch.optim.LBFGS``, and to
one pass through the 2mn numbers of the history. What is stored are quartiles over the rounds.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar
from unittest import mock

import scipy.optimize
import torch
from torch import Tensor

import dlopt
from benchmarks import results
from benchmarks.solvers import ENDLESS, HISTORY, SOLVERS, LastPoint

PART = "overhead"
P = ParamSpec("P")
T = TypeVar("T")
WARM_UP = 15  # iterations until the history is full and the caches are warm
# variables: (iterations measured, rounds)
SIZES = {1_000: (60, 15), 100_000: (30, 9), 1_000_000: (15, 7)}
DENSE_SIZE, DENSE_ITERATIONS, DENSE_ROUNDS = 1_000, 8, 3
REFERENCE = "torch.optim.LBFGS"
TORCH_20 = "torch.optim.LBFGS, 20 iterations a step"
OPTIMIZER, MINIMIZE = "dlopt, MethodOptimizer", "dlopt, minimize"


class Enough(Exception):
    """Ends a run."""


@dataclass
class Clock:
    """Counts the time spent in the objective, and takes the time of each iteration."""

    inside: float = 0.0
    inside_after: list[float] = field(default_factory=list)  # each call
    marks: list[tuple[float, float]] = field(default_factory=list)

    def timed(self, evaluate: Callable[P, T]) -> Callable[P, T]:
        """The same function, its time counted."""

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            start = time.perf_counter()
            value = evaluate(*args, **kwargs)
            self.inside += time.perf_counter() - start
            self.inside_after.append(self.inside)
            return value

        return call

    def mark(self, *_: object) -> None:
        """End of an iteration."""
        self.marks.append((time.perf_counter(), self.inside))

    def per_iteration(self, first: int, last: int) -> float:
        """Seconds outside the objective from one mark to another, per iteration."""
        (t0, in0), (t1, in1) = self.marks[first], self.marks[last]
        return (t1 - t0 - (in1 - in0)) / (last - first)


class Arms:
    """The contestants on one quadratic; each returns seconds per iteration."""

    def __init__(self, n: int, iterations: int) -> None:
        """Make the problem; its condition number keeps all of them busy throughout."""
        self.eigenvalues = torch.logspace(-4, 0, n, dtype=torch.float64)
        self.x0 = torch.ones(n, dtype=torch.float64)
        self.history = torch.ones(2 * HISTORY, n, dtype=torch.float64)
        self.iterations = iterations
        self.last = WARM_UP + iterations

    def f(self, x: Tensor) -> Tensor:
        """The quadratic."""
        return (self.eigenvalues * x * x).sum() / 2

    def closure(self, p: Tensor, clock: Clock) -> Callable[[], Tensor]:
        """A closure for an optimiser of PyTorch's shape."""

        def evaluate() -> Tensor:
            p.grad = None
            value = self.f(p)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        return clock.timed(evaluate)

    def torch_lbfgs(self, per_step: int = 1) -> float:
        """PyTorch's own, some iterations a step."""
        p, clock = torch.nn.Parameter(self.x0.clone()), Clock()
        optimizer = torch.optim.LBFGS(
            [p], max_iter=per_step, max_eval=ENDLESS, history_size=HISTORY,
            tolerance_grad=0.0, tolerance_change=0.0, line_search_fn="strong_wolfe",
        )  # fmt: skip
        closure = self.closure(p, clock)
        first, steps = (-(-count // per_step) for count in (WARM_UP, self.iterations))
        for _ in range(first + steps + 1):
            optimizer.step(closure)  # type: ignore[no-untyped-call]
            clock.mark()
        return clock.per_iteration(first, first + steps) / per_step

    def method_optimizer(self) -> float:
        """Ours, on a module's parameters, told that every closure is the same loss."""
        p, clock = torch.nn.Parameter(self.x0.clone()), Clock()
        optimizer = dlopt.MethodOptimizer([p], dlopt.LBFGS(HISTORY), full_batch=True)
        closure = self.closure(p, clock)
        for _ in range(self.last + 1):
            optimizer.step(closure)
            clock.mark()
        return clock.per_iteration(WARM_UP, self.last)

    def minimize(self) -> float:
        """Ours, on a function: it takes the gradient inside, where its time is counted, too."""
        clock = Clock()
        gradient = torch.autograd.grad
        with mock.patch("torch.autograd.grad", clock.timed(gradient)):  # type: ignore[arg-type]
            path = dlopt.minimize(
                clock.timed(self.f), self.x0, dlopt.LBFGS(HISTORY), max_steps=self.last,
                grad_tol=1e-300, record=False,
            )  # fmt: skip
        # Calls come in pairs, of the function and of its gradient.
        inside = [clock.inside_after[2 * count - 1] for count in path.counts]
        seconds = [path.seconds[i] - inside[i] for i in (WARM_UP, self.last)]
        return (seconds[1] - seconds[0]) / self.iterations

    def scipy(self) -> float:
        """SciPy's L-BFGS-B."""
        clock = Clock()

        def mark(_: object) -> None:
            clock.mark()
            if len(clock.marks) > self.last:
                raise Enough

        evaluate = clock.timed(LastPoint(self.f, curvature=False).value_and_gradient)
        with contextlib.suppress(Enough):
            scipy.optimize.minimize(
                evaluate, self.x0.numpy(), jac=True, method="L-BFGS-B", callback=mark,
                options={"maxcor": HISTORY, "ftol": 0.0, "gtol": 0.0, "maxiter": ENDLESS},
            )  # fmt: skip
        return clock.per_iteration(WARM_UP, self.last)

    def one_pass(self) -> float:
        """One pass through the numbers of the history."""
        seconds = []
        for _ in range(self.iterations):
            start = time.perf_counter()
            self.history.sum()
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)


def arms(n: int, iterations: int) -> dict[str, Callable[[], float]]:
    """The contestants by name."""
    made = Arms(n, iterations)
    return {
        OPTIMIZER: made.method_optimizer,
        MINIMIZE: made.minimize,
        REFERENCE: made.torch_lbfgs,
        TORCH_20: partial(made.torch_lbfgs, 20),
        "SciPy L-BFGS-B": made.scipy,
        "one pass": made.one_pass,
    }


def rounds(contestants: Mapping[str, Callable[[], float]], number: int) -> list[dict[str, float]]:
    """Let them take turns, each round starting with another."""
    names = list(contestants)
    out = []
    for turn in range(number):
        k = turn % len(names)
        out.append({name: contestants[name]() for name in names[k:] + names[:k]})
    return out


def quartiles(values: Sequence[float]) -> list[float]:
    """Lower quartile, median, upper quartile, to three digits.

    >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    [2.0, 3.0, 4.0]
    """
    return [float(f"{v:.3g}") for v in statistics.quantiles(values, n=4, method="inclusive")]


def ratios(turns: list[dict[str, float]], reference: str) -> dict[str, list[float]]:
    """Quartiles of each contestant's ratio to one of them."""
    return {
        name: quartiles([turn[name] / turn[reference] for turn in turns])
        for name in turns[0]
        if name != reference
    }


def dense_seconds(name: str, iterations: int = DENSE_ITERATIONS) -> float:
    """Seconds an evaluation of a dense BFGS in 1000 variables: the objective costs nothing."""
    made = Arms(DENSE_SIZE, iterations)
    times: list[float] = []

    def f(x: Tensor) -> Tensor:
        times.append(time.perf_counter())
        if len(times) > iterations + 3:
            raise Enough
        return made.f(x)

    with contextlib.suppress(Enough):
        SOLVERS[name](f, made.x0.clone(), 1e-14)
    return (times[-1] - times[3]) / (len(times) - 4)


def measure(names: Sequence[str], workers: int) -> None:
    """Time all arms (``names`` and ``workers`` are for the parts that count), print and store."""
    del names, workers
    sizes = {}
    for n, (iterations, number) in SIZES.items():
        turns = rounds(arms(n, iterations), number)
        to_torch, to_pass = ratios(turns, REFERENCE), ratios(turns, "one pass")
        sizes[str(n)] = {"to torch": to_torch, "to one pass": to_pass, "rounds": number}
        print(f"n = {n:,}: ratio to {REFERENCE}, to one pass (quartiles)", flush=True)
        for name in [*to_pass]:
            micro = 1e6 * statistics.median(turn[name] for turn in turns)
            print(f"  {name:42}{to_torch.get(name, '')!s:26}{to_pass[name]!s:26}{micro:9.0f} µs")
    contestants = {
        name: partial(dense_seconds, name)
        for name in ("dlopt BFGS", "SciPy BFGS", "pytorch-minimize bfgs")
    }
    dense = ratios(rounds(contestants, DENSE_ROUNDS), "dlopt BFGS")
    print(f"an iteration of dense BFGS, n = {DENSE_SIZE:,}, in units of dlopt's: {dense}")
    results.save(PART, {"history": HISTORY, "sizes": sizes, "BFGS": {str(DENSE_SIZE): dense}})
