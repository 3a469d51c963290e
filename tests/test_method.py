"""States and the loop: where a state begins, moves and ends, and what is never shared."""

import itertools
from dataclasses import dataclass

import torch

import dlopt
from dlopt.lesson.problems import rosenbrock
from dlopt.method import State
from dlopt.objective import Objective


@dataclass(frozen=True, eq=False, kw_only=True)
class Counting(State):
    """A state that remembers how many steps led to it."""

    steps: int = 0


class Halving:
    """Halves the point, four times."""

    def init(self, f: Objective, x: torch.Tensor) -> Counting:
        return Counting.begin(f.evaluate(x))

    def step(self, f: Objective, state: Counting) -> Counting:
        if state.steps == 4:
            return state.ended("no_decrease")
        return state.moved(f.evaluate(state.x / 2), steps=state.steps + 1)


def test_a_state_begins_moves_and_ends() -> None:
    f = Objective(lambda x: (x * x).sum())
    first = Counting.begin(f.evaluate(torch.tensor([4.0])), steps=3)
    moved = first.moved(f.evaluate(torch.tensor([2.0])))
    assert (float(moved.x), float(moved.value), float(moved.grad)) == (2.0, 4.0, 4.0)
    assert (moved.steps, moved.reason) == (3, "")
    assert (float(first.x), first.steps) == (4.0, 3)
    last = moved.ended("callback")
    assert (type(last), last.steps, last.reason, last.x is moved.x) == (
        Counting, 3, "callback", True,
    )  # fmt: skip
    assert last.moved(f.evaluate(torch.tensor([1.0]))).reason == ""
    assert type(last.plain) is State
    assert (last.plain.reason, last.plain.x is last.x) == ("callback", True)
    plain = last.plain
    assert plain.plain is plain


def test_iterate_yields_the_last_state_and_ends() -> None:
    halving = dlopt.iterate(lambda x: (x * x).sum(), torch.tensor([16.0]), Halving())
    states = list(itertools.islice(halving, 20))
    assert [float(s.x) for s in states] == [16.0, 8.0, 4.0, 2.0, 1.0, 1.0]
    assert [s.reason for s in states] == [""] * 5 + ["no_decrease"]


def test_iterate_never_touches_its_start_and_keeps_no_aliases() -> None:
    x0 = rosenbrock().x0.clone()
    states = list(itertools.islice(dlopt.iterate(rosenbrock(), x0, dlopt.Newton()), 5))
    points = [s.x.clone() for s in states]
    states[-1].x.add_(1)
    assert all(torch.equal(s.x, p) for s, p in zip(states[:-1], points[:-1], strict=True))
    assert torch.equal(x0, rosenbrock().x0)


def test_the_first_state_is_not_the_callers_tensor() -> None:
    x0 = torch.tensor([3.0])
    first = next(dlopt.iterate(lambda x: (x * x).sum(), x0, Halving()))
    x0.zero_()
    assert float(first.x) == 3.0
