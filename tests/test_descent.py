"""The step of a descent method: its line, its first trial, its fresh start."""

import math
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch import Tensor

import dlopt
from dlopt.descent import LineFunction, first_guess, in_own_units, restarted, search
from dlopt.evaluation import Evaluation
from dlopt.lesson.problems import rosenbrock
from dlopt.line_search import Trial, backtracking, exact_quadratic, strong_wolfe, weak_wolfe
from dlopt.method import State
from dlopt.objective import Objective


def test_line_function_of_an_objective() -> None:
    f = Objective(lambda x: (x**4).sum())
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    start = State.begin(f.evaluate(x))
    d = torch.tensor([-1.0, 0.5], dtype=torch.float64)
    phi = LineFunction(f, start, d)
    assert phi.slope == pytest.approx(-4 + 16)
    assert phi.curvature() == pytest.approx(12 + 12)
    trial = phi(0.5)
    assert trial.value == pytest.approx(0.5**4 + 2.25**4)
    assert trial.slope == pytest.approx(4 * 0.5**3 * -1 + 4 * 2.25**3 * 0.5)


def bowl(x: Tensor) -> Tensor:
    return (x * x).sum()


def at(f: Objective, *x: float) -> State:
    return State.begin(f.evaluate(torch.tensor(x, dtype=torch.float64)))


def first_trial(**settings: float) -> float:
    """The first trial of a search on x² from 3, where the slope along -g is -36."""
    seen: list[float] = []

    def spy(phi: object, first_step: float) -> None:
        seen.append(first_step)

    f = Objective(bowl)
    state = at(f, 3.0)
    assert search(spy, f, state, -state.grad, **settings) is None
    return seen[0]


def test_the_first_trial_is_the_given_one_or_expects_the_change_of_the_step_before() -> None:
    assert first_trial(first=0.7, change=-9.0) == 0.7
    assert first_trial(change=-9.0) == pytest.approx(0.25)
    assert first_trial() == pytest.approx(
        first_guess(at(Objective(bowl), 3.0), torch.tensor([6.0]))
    )


def test_the_first_guess_is_bounded_by_the_point_and_by_the_zero_of_the_objective() -> None:
    near = at(Objective(bowl), 3.0)  # J = 9, g = 6: min(3/6, 18/36)
    rho = -near.grad
    assert first_guess(near, rho) == pytest.approx(0.5)
    high = at(Objective(lambda x: bowl(x) + 1000), 3.0)
    assert first_guess(high, rho) == pytest.approx(3 / 6)
    low = at(Objective(lambda x: bowl(x) - 8), 3.0)
    assert first_guess(low, rho) == pytest.approx(2 / 36)
    assert first_guess(low, 10 * rho) == pytest.approx(2 / 360)
    zero = at(Objective(lambda x: bowl(x) - 9), 3.0)
    assert first_guess(zero, rho) == pytest.approx(0.5)
    assert first_guess(near, 1e-200 * rho) == 0  # shorter than numbers tell


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_units_are_relative_to_the_largest_entry_and_never_zero(dtype) -> None:
    x = torch.tensor([-4.0, 1.0, 0.0, 1e-30], dtype=dtype)
    expected = torch.tensor([1.0, 1 / 16, 1.0, torch.finfo(dtype).eps ** 2], dtype=dtype)
    torch.testing.assert_close(in_own_units(x), expected, rtol=1e-6, atol=0)
    huge = torch.tensor([0.25, 1.0], dtype=dtype) * 2.0**100  # its square is no float32
    assert in_own_units(huge).tolist() == [1 / 16, 1]
    assert in_own_units(torch.zeros(2, dtype=dtype)).tolist() == [1, 1]


def test_a_search_tells_where_it_ended_and_the_change_on_the_way() -> None:
    f = Objective(bowl)
    state = at(f, 3.0)
    found = search(backtracking, f, state, -state.grad, first=0.25)
    assert found is not None
    assert float(found.at.x) == pytest.approx(1.5)
    assert found.change == pytest.approx(-9.0)


def test_nothing_is_tried_uphill_or_along_a_slope_that_is_no_number() -> None:
    f = Objective(bowl)
    state = at(f, 3.0)
    for rho in (state.grad, 0 * state.grad, math.nan * state.grad, -math.inf * state.grad):
        for line_search in (backtracking, exact_quadratic):
            assert search(line_search, f, state, rho, first=1.0) is None
    assert f.evaluations == 1


def test_a_trial_that_is_not_phis_own_is_refused() -> None:
    f = Objective(bowl)
    state = at(f, 3.0)
    with pytest.raises(ValueError, match="made by the phi it was given"):
        search(lambda phi, first_step: Trial(1.0, 0.0, 0.0), f, state, -state.grad, first=1.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Learned(State):
    lessons: int = 0


def test_a_fresh_start_forgets_and_a_second_failure_keeps_all() -> None:
    f = Objective(bowl)
    state = replace(Learned.begin(f.evaluate(torch.ones(1))), lessons=7)
    seen: list[int] = []

    def step(f: Objective, state: Learned) -> Learned:
        seen.append(state.lessons)
        return state.moved(f.evaluate(0 * state.x)) if works else state.ended("line_search")

    works = True
    assert (restarted(step, f, state, lessons=0).lessons, seen) == (0, [0])
    works = False
    last = restarted(step, f, state, lessons=0)
    assert (last.lessons, last.reason, seen) == (7, "line_search", [0, 0])
    assert last.x is state.x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_fresh_start_is_not_tried_where_the_gradient_is_rounding(dtype) -> None:
    """‖g‖ max(1, ‖θ‖) of x² + 1 at x, on both sides of ten units in the last place of 1."""

    def step(f: Objective, state: Learned) -> Learned:
        seen.append(float(state.x))
        return state

    f = Objective(lambda x: bowl(x) + 1)
    for x, tried in ((4.0, False), (6.0, True)):
        seen: list[float] = []
        state = Learned.begin(f.evaluate(torch.tensor([x * torch.finfo(dtype).eps], dtype=dtype)))
        last = restarted(step, f, state, lessons=0)
        assert (len(seen), last.reason) == ((1, "") if tried else (0, "line_search"))


@pytest.mark.parametrize(
    ("method", "last"),
    [
        (dlopt.BFGS, {3, 4, 5}),
        (dlopt.LBFGS, {3, 4, 5}),
        (dlopt.ConjugateGradient, {3, 4, 5}),
        (partial(dlopt.ConjugateGradient, dlopt.polak_ribiere), {3, 4}),
    ],
    ids=["bfgs", "lbfgs", "conjugate_memory", "polak_ribiere"],
)
def test_a_failed_search_starts_afresh_once(method, last: set[int]) -> None:
    """The search fails as told: then along −g, with a memory along −Dg, and then the run ends."""
    for fails, reason, directions in (
        ({3}, "max_steps", 6),
        (last - {5}, "max_steps" if 5 in last else "line_search", 6 if 5 in last else 5),
        (last, "line_search", 1 + max(last)),
    ):
        slopes: list[float] = []

        def search(phi, first_step: float, fails=fails, slopes=slopes) -> Trial | None:
            slopes.append(phi.slope)
            return None if len(slopes) - 1 in fails else strong_wolfe(phi, first_step, c2=0.5)

        f = rosenbrock(6)
        path = dlopt.minimize(f, f.x0, method(line_search=search), max_steps=5)
        assert (path.reason, len(slopes)) == (reason, directions)
        g = path.states[3].grad
        assert slopes[3] != pytest.approx(slopes[4])
        assert slopes[4] == pytest.approx(-float(g.dot(g)))
        if 4 in fails and 5 in last:
            D = in_own_units(path.states[3].x)
            assert slopes[5] == pytest.approx(-float(g.dot(D * g)))
        literal = method(line_search=search, safeguard=False)
        slopes.clear()
        assert dlopt.minimize(f, f.x0, literal, max_steps=5).reason == "line_search"
        assert len(slopes) == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_line_without_end_is_searched_no_farther_than_numbers_reach(dtype: torch.dtype) -> None:
    f = Objective(lambda x: -1e-30 * x.sum())  # falls for ever, by next to nothing
    start = State.begin(f.evaluate(torch.zeros(2, dtype=dtype)))
    phi = LineFunction(f, start, -start.grad)
    assert phi(1e300).finite == (dtype is torch.float64)
    path = dlopt.minimize(lambda x: -1e-30 * x.sum(), torch.zeros(2, dtype=dtype), dlopt.BFGS())
    assert bool(path.x.isfinite().all())


def test_the_tiny_step_moves_the_entry_that_is_moved_most_by_a_unit_in_the_last_place() -> None:
    f = Objective(bowl)
    eps = torch.finfo(torch.float64).eps
    state = at(f, 2.0, 0.001)
    line = LineFunction(f, state, torch.tensor([1.0, 0.01], dtype=torch.float64))
    assert line.tiny == pytest.approx(eps / 10)
    assert LineFunction(f, state, torch.zeros(2, dtype=torch.float64)).tiny == 0
    zero = LineFunction(f, at(f, 4.0, 0.0), torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert zero.tiny == pytest.approx(4 * eps**1.5)  # an entry of 0 has a size, too


class Clamped(Objective):
    """Distances to a point outside, where entries are clamped to [0, 1] before they count."""

    def __init__(self, *c: float) -> None:
        self.c, self.asked = torch.tensor(c, dtype=torch.float64), []
        super().__init__(lambda x: (x - self.c).square().sum())

    def evaluate(self, x: Tensor) -> Evaluation:
        self.asked.append(x)
        inside = x.clamp(0, 1)
        return super().evaluate(x if torch.equal(inside, x) else inside)


def test_slopes_are_those_of_the_entries_that_followed() -> None:
    f = Clamped(3.0, 0.5, -1.0)
    start = at(f, 0.5, 0.0, 0.5)
    phi = LineFunction(f, start, -start.grad)  # (5, 1, -3)
    assert phi(0.05).slope == pytest.approx(2 * (0.75 - 3) * 5 + 2 * (0.05 - 0.5) + 2 * 1.35 * -3)
    trial = phi(0.25)  # the first and the last entry end at their bounds
    assert trial.slope == pytest.approx(2 * (0.25 - 0.5) * 1)
    assert trial.value == pytest.approx(4 + 0.25**2 + 1)
    assert phi.held is None


@pytest.mark.parametrize("line_search", [strong_wolfe, weak_wolfe, backtracking])
def test_entries_that_are_held_leave_the_direction(line_search) -> None:
    """Their slopes, a million times the others', would ask for a decrease that isn't there."""
    f = Clamped(1e3, 0.3, -1e3)
    start = at(f, 1.0, 0.9, 0.0)
    f.asked.clear()
    found = search(line_search, f, start, -start.grad, first=0.4)
    assert found.at.x[[0, 2]].tolist() == [1.0, 0.0]
    assert float(found.at.x[1]) == pytest.approx(0.9 - 0.4 * 1.2)
    assert found.change == pytest.approx(-0.4 * 1.2**2)
    assert len(f.asked) == 1  # what was known of the trial holds for the new line


def test_where_all_is_held_there_is_no_step() -> None:
    f = Clamped(3.0, -1.0)
    start = at(f, 1.0, 0.0)
    f.asked.clear()
    assert search(strong_wolfe, f, start, -start.grad, first=0.1) is None
    assert len(f.asked) == 1
