"""When a run is done: what "converged" promises, and that the floor is noticed."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

import dlopt
from benchmarks.known_answers import PROBLEMS, near
from benchmarks.problem import farther
from dlopt.differences import Differences, left_to_gain
from dlopt.evaluation import largest_entry, norm, rounding
from dlopt.method import State
from dlopt.minimization import Path
from dlopt.noise import noise_of
from dlopt.objective import Objective
from dlopt.stopping import StoppingRule, default_share, drowns, is_rounding

D = torch.float64
METHODS = {
    "cg": dlopt.ConjugateGradient(),
    "bfgs": dlopt.BFGS(),
    "lbfgs": dlopt.LBFGS(),
    "newton": dlopt.Newton(),
    "truncated_newton": dlopt.TruncatedNewton(),
}
BY_NAME = {problem.name: problem for problem in PROBLEMS}
each = pytest.mark.parametrize("name", METHODS)


def vector(*values: float, dtype: torch.dtype = D) -> Tensor:
    return torch.tensor(values, dtype=dtype)


ABSCISSAE = torch.linspace(0, 1e6, 50, dtype=D)


def line(w: Tensor) -> Tensor:
    return ((w[0] * ABSCISSAE + w[1] - (2 * ABSCISSAE + 5)) ** 2).sum()


def cliff(x: Tensor) -> Tensor:
    return ((x[0] - 3) / 100) ** 2 - (x[0] - x[1]) + torch.exp(20 * (x[0] - x[1]))


def log_cosh(x: Tensor) -> Tensor:
    k = torch.arange(1, len(x) + 1, dtype=x.dtype)
    return (k * torch.log(torch.cosh(x - 1 / k))).sum() + 0.005 * (x @ x)


# A start, and the least value: where the first gradient is huge, where the minimum is 0 and not.
STEEP = {
    "line": (line, vector(0, 0), 0.0),
    "hyperbola": (lambda x: (x + 1 / x).sum(), vector(1e-6), 2.0),
    "cliff": (cliff, vector(0, -1), 0.1997866136777),
    "exponential": (lambda x: (torch.exp(x) - 5 * x).sum(), vector(60, 3), 10 - 10 * math.log(5)),
    "cosh": (lambda x: torch.cosh(x).sum(), vector(30, -20), 2.0),
    "wall": (lambda x: x.square().sum() + torch.exp(30 * x[0]), vector(2, 1), 0.033561768676135),
    "quartic": (lambda x: (x**4).sum(), torch.arange(1, 6, dtype=D), 0.0),
}


@each
@pytest.mark.parametrize("problem", STEEP)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_converged_means_that_nothing_that_matters_is_left(name: str, problem: str, scale: float):
    f, x0, minimum = STEEP[problem]
    path = dlopt.minimize(lambda x: scale * f(x), x0, METHODS[name])
    assert path.converged
    assert float(path.value) / scale - minimum <= 1e-6 * max(1, abs(minimum))


@each
def test_a_first_gradient_that_is_huge_says_little_in_float32_either(name: str) -> None:
    def f(v: Tensor) -> Tensor:
        return 100 * (v[1] - v[0] ** 2) ** 2 + (1 - v[0]) ** 2

    x0 = vector(10, -10, dtype=torch.float32)
    path = dlopt.minimize(f, x0, METHODS[name])
    assert float(path.value) <= 1e-8 * float(f(x0))


def logistic() -> Callable[[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(100, 5, dtype=D, generator=generator)
    b = (torch.rand(100, dtype=D, generator=generator) > 0.5).to(D)
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    return lambda w: loss(A @ w, b) + 1e-2 * (w @ w)


FLOORS = {
    "logistic": (logistic(), torch.zeros(5, dtype=D)),
    "log_cosh": (log_cosh, torch.zeros(20, dtype=D)),
}


@each
@pytest.mark.parametrize("problem", FLOORS)
def test_a_run_ends_soon_after_the_floor(name: str, problem: str) -> None:
    f, x0 = FLOORS[problem]
    path = dlopt.minimize(f, x0, METHODS[name])
    least = min(path.values)
    floor = next(i for i, v in enumerate(path.values) if v - least <= 1e-15 * abs(least))
    assert path.converged
    assert path.evaluations - path.counts[floor] <= 40


@each
@pytest.mark.parametrize("problem", FLOORS)
def test_a_start_at_the_solution_is_recognised_within_five_steps(name: str, problem: str) -> None:
    f, x0 = FLOORS[problem]
    solution = dlopt.minimize(f, x0, METHODS[name]).x
    again = dlopt.minimize(f, solution, METHODS[name])
    assert again.converged
    assert len(again.states) <= 6
    assert again.evaluations <= 16 + 6 + 19 + 4  # a search, values around, the look for a saddle


@pytest.mark.parametrize("name", ["cg", "bfgs", "lbfgs"])
def test_a_start_at_a_saddle_is_no_minimum_though_the_search_fails(name: str) -> None:
    f = BY_NAME["eigen"]
    saddle = dlopt.minimize(f, f.x0, dlopt.BFGS(), grad_tol=1e-12).x
    assert float(f(saddle)) == pytest.approx(0.1608956603340292)  # the minimum is 0
    path = dlopt.minimize(f, saddle, METHODS[name])
    assert not path.converged or float(path.value) < 1e-12


@pytest.mark.parametrize("name", ["cg", "bfgs", "lbfgs", "truncated_newton"])
def test_a_start_of_1e109_says_nothing_of_how_far_down_the_values_go(name: str) -> None:
    problem = farther(BY_NAME["Nelson_2"], 10.0)
    path = dlopt.minimize(problem, problem.x0, METHODS[name], max_steps=400)
    assert path.values[0] > 1e100
    assert not path.converged or near(problem, float(path.value))


@pytest.mark.parametrize("name", ["bfgs", "lbfgs"])
def test_values_below_the_numbers_are_an_end_wherever_the_run_began(name: str) -> None:
    problem = farther(BY_NAME["himmelblau_exponential"], 10.0)
    path = dlopt.minimize(problem, problem.x0, METHODS[name])
    assert path.converged and float(path.value) < 1e-300


ALL = {
    **METHODS,
    "steepest_descent": dlopt.SteepestDescent(),
    "fletcher_reeves": dlopt.ConjugateGradient(dlopt.fletcher_reeves),
    "polak_ribiere": dlopt.ConjugateGradient(dlopt.polak_ribiere),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("scale", [1e-30, 1e-24, 1e24, 1e30])
def test_in_any_unit_a_run_is_the_same_where_squares_leave_the_numbers(
    name: str, scale: float
) -> None:
    def run(unit: float) -> Path:
        stiffness = torch.tensor([1.0, 10.0])
        return dlopt.minimize(
            lambda x: unit * ((x - 1) ** 2 * stiffness).sum(), torch.zeros(2), ALL[name]
        )

    path, usual = run(scale), run(1.0)
    assert path.converged and path.reason == usual.reason == "gradient"
    assert (path.x - 1).abs().max() < 1e-5
    assert abs(path.evaluations - usual.evaluations) <= 2


def test_an_unreachable_tolerance_ends_at_the_floor() -> None:
    path = dlopt.minimize(cliff, vector(0, -1), dlopt.Newton(), grad_tol=1e-300)
    assert (path.converged, path.reason) == (True, "no_decrease")
    assert path.evaluations < 60


def test_a_flat_valley_is_no_floor() -> None:
    """Slopes fall below the tolerance long before the end of a valley that hardly falls."""

    def f(x: Tensor) -> Tensor:
        return 1e8 * (x[1] - x[0].square()) ** 2 + 1e-4 * (x[0] - 3) ** 2

    path = dlopt.minimize(f, vector(-3, 10), dlopt.BFGS(), max_steps=3000)
    assert not path.converged or float(path.value) <= 1e-6


@pytest.mark.parametrize("grad_tol", [None, 1e-6])
def test_a_saddle_is_no_end(grad_tol: float | None) -> None:
    rule = StoppingRule(Objective(lambda x: x[0] ** 2 - x[1] ** 2), dlopt.Newton(), grad_tol)
    f = Objective(lambda x: x[0] ** 2 - x[1] ** 2)
    state = dlopt.Newton().init(f, vector(0, 0))
    assert rule(state) == ""


FIRST_ORDER = {name: ALL[name] for name in ALL if "newton" not in name}


@pytest.mark.parametrize("name", FIRST_ORDER)
@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_where_first_derivatives_see_no_way_down_nothing_is_promised(
    name: str, dtype: torch.dtype
) -> None:
    """A saddle that the path leads straight into, a start on a hilltop; a flat bottom is an end."""

    def saddle(x: Tensor) -> Tensor:
        return x[0] ** 2 - x[1] ** 2 + x[1] ** 4 + x[2:].square().sum()

    def flat(x: Tensor) -> Tensor:
        return x[0] ** 2 + 0 * x[1] + (x[2] ** 4).sum()

    path = dlopt.minimize(saddle, vector(1, 0, 2, 3, dtype=dtype), FIRST_ORDER[name])
    assert not path.converged or float(path.value) < -0.2499
    hilltop = dlopt.minimize(lambda x: torch.cos(x).sum(), torch.zeros(2, dtype=dtype), ALL[name])
    assert not hilltop.converged
    assert dlopt.minimize(flat, vector(1, 2, 0, dtype=dtype), FIRST_ORDER[name]).converged


def state_of(f: Objective, *x: float) -> State:
    return State.begin(f.evaluate(vector(*x)))


def test_a_saddle_that_was_seen_is_not_forgotten() -> None:
    """Where a later search gives up, too, or the rounding of the gradient hides the way down."""
    problem = BY_NAME["eigen"]
    for factor in (1.0, 1e-6, 1e6):
        for method in (dlopt.BFGS(), dlopt.LBFGS(), dlopt.ConjugateGradient()):
            path = dlopt.minimize(lambda x, c=factor: c * problem(x), problem.x0, method)
            assert not path.converged or near(problem, float(path.value) / factor)


def test_what_is_left_is_little_of_j_where_j_does_not_fall_to_zero() -> None:
    """From 1e30 to 1 + 0.005: beside the first values that is nothing, and it is not rounding."""
    f = Objective(lambda x: 1 + x.square().sum())
    rule = StoppingRule(f, dlopt.SteepestDescent(), None)
    heights = (1e30, 1e28, 1e26, 1e25, 1e24, 1e15, 1e6, 1.0, 0.005)
    assert [rule(state_of(f, math.sqrt(h))) for h in heights][-1] == ""


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("bfgs", "cliff"),  # down an exponential wall
        ("newton", "cliff"),
        ("newton", "chained_cragg_levy_10"),  # a gradient that is rounding, beside a pole
        ("newton", "DanWood_1"),  # through 23 decades to a valley that is flat at first
        ("newton", "exponential_fit"),
        ("truncated_newton", "trust_region_scaling"),  # from 5e21 to 9e6 in one step
        ("lbfgs", "Misra1a_1"),  # parameters of 5000 and 2e-5
        ("lbfgs", "DanWood_2"),
        ("bfgs", "Misra1b_2"),
        ("bfgs", "MGH09_1"),
    ],
)
def test_a_start_ten_times_farther_makes_no_end_of_what_falls_on(name: str, problem: str) -> None:
    far = farther(BY_NAME[problem], 10.0)
    path = dlopt.minimize(lambda x: far(x), far.x0, METHODS[name], record=False)
    assert not path.converged or near(far, float(path.value))


def test_a_parameter_that_starts_at_zero_has_told_no_unit() -> None:
    """Longley's intercept is -0.09 for a long time; in the end it is -3.5e6."""
    path = dlopt.minimize(BY_NAME["longley"], BY_NAME["longley"].x0, METHODS["lbfgs"], record=False)
    assert not path.converged or near(BY_NAME["longley"], float(path.value))


@pytest.mark.parametrize("name", ["bfgs", "lbfgs", "cg"])
@pytest.mark.parametrize("decades", [3, 5, 6, 8])
@pytest.mark.parametrize("coupled", [False, True])
def test_what_starts_at_zero_may_be_of_any_unit(name: str, decades: int, coupled: bool) -> None:
    """The end is (1/s, s): how steep J is at 0 tells that the units are s² apart."""
    s = 10.0**decades

    def J(x: Tensor) -> Tensor:
        a, b = s * x[0] - 1, x[1] / s - 1
        return 1 + a**2 + b**2 + (a * x[1] / s) ** 2 * coupled

    path = dlopt.minimize(J, vector(0, 0), METHODS[name], record=False)
    assert not path.converged or float(path.value) - 1 < 1e-6
    assert path.converged or decades > 6


@pytest.mark.parametrize("name", ["bfgs", "lbfgs", "cg"])
@pytest.mark.parametrize("problem", ["raydan_1", "curly_30", "gaussian", "hager", "engval"])
def test_the_floor_costs_twenty_evaluations_and_a_step(name: str, problem: str) -> None:
    """From the first value within rounding of the best one; where entries end at 0, too."""
    path = dlopt.minimize(BY_NAME[problem], BY_NAME[problem].x0, METHODS[name], record=False)
    best = min(path.values)
    first = next(k for k, v in enumerate(path.values) if v - best <= rounding(best, 2.2e-16))
    assert path.converged
    assert path.evaluations - path.counts[first] <= 22


@pytest.mark.parametrize("problem", ["powell_singular", "nondiagonal_quartic", "sine_quadratic"])
def test_the_end_of_the_numbers_is_one_where_curvature_vanishes(problem: str) -> None:
    """J falls to 1e-30 in steps of a fixed share; then the gradient is rounding, and no less."""
    path = dlopt.minimize(BY_NAME[problem], BY_NAME[problem].x0, dlopt.Newton(), record=False)
    assert path.converged and len(path.values) < 100


@pytest.mark.parametrize("name", ["bfgs", "lbfgs", "newton", "truncated_newton"])
def test_a_jump_is_no_floor(name: str) -> None:
    far = farther(BY_NAME["Roszman1_2"], 10.0)  # its arctangent jumps at a pole
    path = dlopt.minimize(lambda x: far(x), far.x0, METHODS[name], record=False)
    assert not path.converged or near(far, float(path.value))


def test_a_gradient_is_rounding_where_the_last_digits_of_the_point_make_it() -> None:
    f = Objective(lambda x: (1e8 * (x - vector(0.3, 0.7))).square().sum())
    for digit in (1e-16, 1e-12):
        state = state_of(f, 0.3 + digit, 0.7)
        assert is_rounding(Differences(f, state), state) == (digit < 1e-15)


def test_one_steep_entry_that_is_rounding_hides_no_other() -> None:
    f = Objective(lambda x: (1e32 * (x[0] - 3e-30)) ** 2 + (x[1] - 2) ** 2)
    state = state_of(f, 3e-30, 1.5)
    assert is_rounding(Differences(f, state_of(f, 3e-30, 2)), state_of(f, 3e-30, 2))
    assert not is_rounding(Differences(f, state), state)
    f = Objective(lambda x: (1e62 * (x[0] - 3e-60)) ** 2 + (x[1] - 2) ** 2)
    H = Differences(f, state_of(f, 3.00000000000001e-60, 1.5))
    assert left_to_gain(H, math.inf) == pytest.approx(0.25, rel=1e-3)


def test_the_default_share_is_a_ten_billionth_in_double_precision() -> None:
    assert default_share(torch.float64) == pytest.approx(1e-10, rel=0.05)
    assert default_share(torch.float32) == pytest.approx(4e-5, rel=0.1)


def test_tests_that_fail_are_repeated_ever_more_seldom() -> None:
    f = Objective(lambda x: torch.exp(-x).sum())
    rule = StoppingRule(f, dlopt.SteepestDescent(), None)
    assert rule(state_of(f, -40)) == ""
    state = state_of(f, 0)
    spent = f.evaluations
    assert [rule(state) for _ in range(50)] == [""] * 50
    assert 5 <= f.evaluations - spent <= 15


def test_the_first_values_are_no_measure_of_the_end() -> None:
    """One step from 1e20 to a hundredth is no reason to take the hundredth for nothing."""
    f = Objective(lambda x: 1e20 * x.square().sum())
    rule = StoppingRule(f, dlopt.SteepestDescent(), None)
    assert [rule(state_of(f, x)) for x in (1, 1e-11)] == ["", ""]


def test_a_gradient_of_exactly_zero_on_the_way_is_survived() -> None:
    """A run may pass a saddle: there the gradient is 0, and later it measures nothing."""
    f = Objective(lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4)
    rule = StoppingRule(f, dlopt.Newton(), None)
    newton = dlopt.Newton()
    for x in ((1e9, 1), (1, 0), (0, 0), (0, 0), (0, 0), (0.1, 0.1), (1e-3, 0.7)):
        assert rule(newton.init(f, vector(*x))) == ""


class WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x * x).sum()

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:
        return -2 * g * ctx.saved_tensors[0]


@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_a_failed_search_is_at_the_floor_or_not(dtype: torch.dtype) -> None:
    """A mean of squares near 0 and a large constant drown; slopes that lie or break don't."""
    eps = torch.finfo(dtype).eps
    t = torch.linspace(0, 1, 50, dtype=dtype)
    cases: list[tuple[Callable[[Tensor], Tensor], list[float], bool]] = [
        (lambda x: ((x[0] * t + x[1] - t.sqrt()) ** 2).mean() * 1e-6, [1.0, 1.0], False),
        (lambda x: ((x[0] * t + x[1] - 3 * t + 1) ** 2).mean(), [3 + 5 * eps, -1 + 2 * eps], True),
        (lambda x: ((x[0] * t + x[1] - 3 * t + 1) ** 2).mean(), [3 + eps**0.5, -1.0], False),
        (lambda x: 1 + (x * x).sum(), [eps, 0.0], True),
        (lambda x: 1 + (x * x).sum(), [100 * eps**0.5, 0.0], False),
        (lambda x: 1 + x.abs().sum(), [1e3 * eps, 1.0], False),
        (WrongGradient.apply, [1.0, 0.3], False),
        (lambda x: x.sum(), [1.0, 0.3], False),
    ]
    for k, (f, x, floor) in enumerate(cases):
        objective = Objective(f)
        state = State.begin(objective.evaluate(vector(*x, dtype=dtype)))
        assert drowns(objective, state) == floor, k
        assert objective.evaluations <= 2


@pytest.mark.parametrize("name", ["newton", "truncated_newton"])
@pytest.mark.parametrize("target", [2e6, 1e8])
def test_a_first_step_too_short_to_be_seen_is_made_longer(name: str, target: float) -> None:
    """In float32 a step of length 1 lowers (x − 2e6)² by less than its rounding."""
    path = dlopt.minimize(lambda x: ((x - target) ** 2).sum(), torch.zeros(1), METHODS[name])
    assert path.converged and float(path.x) == target
    assert path.evaluations <= 20


def test_a_failed_search_belies_what_was_learned() -> None:
    """At the minimum to the last digit, where an old M promises much."""

    def bump(x: Tensor) -> Tensor:
        return -torch.exp(-((x - 9) ** 2).sum())

    for name in ("cg", "bfgs", "lbfgs"):
        path = dlopt.minimize(bump, torch.zeros(1, dtype=D), METHODS[name])
        assert path.converged and float(path.value) == -1.0


@pytest.mark.parametrize("root", [lambda x: x.abs().sum(), lambda x: (x @ x).sqrt()])
def test_a_kink_ends_a_trust_region_without_an_error(root: Callable[[Tensor], Tensor]) -> None:
    path = dlopt.minimize(root, vector(3, 4), dlopt.Newton(), max_steps=3000)
    assert not path.converged and float(path.value) < 1e-50


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(-10, -6), st.integers(-3, 12), st.floats(0, 1), st.booleans()
)
def test_what_bounds_rule_out_is_no_noise(
    seed: int, near: int, steep: int, share: float, leap: bool
) -> None:
    """Whatever two neighbouring points and gradients are: the cheap look never says no wrongly."""
    g = torch.Generator().manual_seed(seed)
    x, step, *slopes = torch.randn(4, 5, generator=g, dtype=D) ** 3
    points = x, x + 10.0**near * step * x
    before, after = (
        State(x=at, value=torch.ones((), dtype=D), grad=10.0**steep * slope)
        for at, slope in zip(points, slopes, strict=True)
    )
    fall = share * (1.0 if leap else noise_of(before, after))
    after = replace(after, value=torch.tensor(1 - fall, dtype=D))
    rule = StoppingRule(Objective(torch.sum), dlopt.BFGS(), 1e-300)
    rule._values = [float(state.value) for state in (before, after)]
    rule._lengths = [norm(state.x) for state in (before, after)]
    rule._largest = [largest_entry(state.grad) for state in (before, after)]
    fell = rule._values[0] - rule._values[1]
    assert rule._may_stand(after, fell) or fell > noise_of(before, after)


@pytest.mark.parametrize("name", ["bfgs", "lbfgs", "truncated_newton"])
@pytest.mark.parametrize("seed", [1, 3])
def test_weights_that_start_at_zero_are_found_or_missed_aloud(name: str, seed: int) -> None:
    """Features in units from 1e-6 to 1e6: weights have from 1e-6 to 1e6 to go."""
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(200, 6, generator=g, dtype=D)
    chances = torch.sigmoid(features @ torch.randn(6, generator=g, dtype=D))
    labels = torch.bernoulli(chances, generator=g)

    def loss(w: Tensor, units: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits((features * units) @ w, labels)

    zero, equal = torch.zeros(6, dtype=D), torch.ones(6, dtype=D)
    least = dlopt.minimize(lambda w: loss(w, equal), zero, dlopt.Newton())
    unequal = torch.logspace(-6, 6, 6, dtype=D)
    path = dlopt.minimize(lambda w: loss(w, unequal), zero, METHODS[name], record=False)
    assert least.converged
    assert not path.converged or float(path.value - least.value) < 1e-6


def regression(seed: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(60, 8, dtype=dtype, generator=generator)
    b = A.sum(1) + torch.randn(60, dtype=dtype, generator=generator)
    return A, b, generator


def from_call_to_call(kind: str, seed: int, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Residuals with dropout's noise in the data, of random minibatches, of dropped units."""
    A, b, generator = regression(seed, dtype)

    def dropout(w: Tensor) -> Tensor:
        kept = torch.rand(A.shape, dtype=dtype, generator=generator) > 0.2
        return (A * kept / 0.8) @ w - b

    def minibatch(w: Tensor) -> Tensor:
        rows = torch.randint(60, (10,), generator=generator)
        return A[rows] @ w - b[rows]

    def units(w: Tensor) -> Tensor:
        kept = 2 * (torch.rand(20, dtype=dtype, generator=generator) > 0.5)
        return torch.tanh(w[:20] + A[:, :1]) @ (kept * w[20:40]) - b

    return {"dropout": dropout, "minibatch": minibatch, "units": units}[kind]


@pytest.mark.parametrize("name", [*ALL, "levenberg_marquardt"])
@pytest.mark.parametrize("kind", ["dropout", "minibatch", "units"])
@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_noise_that_changes_from_call_to_call_is_no_rounding(
    name: str, kind: str, dtype: torch.dtype
) -> None:
    for seed in range(3):
        r = from_call_to_call(kind, seed, dtype)
        method = ALL.get(name, dlopt.LevenbergMarquardt())
        f = r if name == "levenberg_marquardt" else (lambda w, r=r: r(w).square().mean())
        x0 = torch.linspace(0.1, 0.5, 40 if kind == "units" else 8, dtype=dtype)
        path = dlopt.minimize(f, x0, method, max_steps=100)
        assert not path.converged


@pytest.mark.parametrize("name", ALL)
def test_last_digits_that_change_from_call_to_call_are_rounding(name: str) -> None:
    """As those of sums that are added up in another order."""
    A, b, generator = regression(0, D)

    def f(w: Tensor) -> Tensor:
        loss = (A @ w - b).square().mean()
        return loss + 5e-16 * torch.randn((), dtype=D, generator=generator) * loss.detach()

    path = dlopt.minimize(f, torch.zeros(8, dtype=D), ALL[name], grad_tol=1e-300)
    assert path.converged
    least = (A @ torch.linalg.lstsq(A, b).solution - b).square().mean()
    assert abs(float(path.value / least) - 1) < 1e-13


def test_a_gradient_that_is_zero_by_chance_is_no_end() -> None:
    """Where dropout has dropped everything, J is constant for once."""
    draws = iter([1.0, 0.0] + [1.0] * 1000)
    path = dlopt.minimize(
        lambda x: 1 + next(draws) * (x - 3).square().sum(), torch.zeros(2, dtype=D), dlopt.Newton(),
        max_steps=1,
    )  # fmt: skip
    assert not path.converged


LEAST_SQUARES = {**METHODS, "levenberg_marquardt": dlopt.LevenbergMarquardt()}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, D) for name in LEAST_SQUARES), *((name, torch.float32) for name in METHODS)],
)
def test_a_bell_beside_the_data_stands_on_a_plateau(name: str, dtype: torch.dtype) -> None:
    """J no longer depends on where it stands, and the other bell is fitted to rounding."""
    t = torch.linspace(0, 10, 41, dtype=dtype)
    y = 2 * torch.exp(-((t - 4) ** 2)) + 3 * torch.exp(-((t - 7) ** 2))

    def residuals(b: Tensor) -> Tensor:
        return b[0] * torch.exp(-((t - b[1]) ** 2)) + b[2] * torch.exp(-((t - b[3]) ** 2)) - y

    def sum_of_squares(b: Tensor) -> Tensor:
        return residuals(b).square().sum()

    x0 = torch.tensor([1.0, 4.2, 1.0, 17.0], dtype=dtype)
    f = residuals if name == "levenberg_marquardt" else sum_of_squares
    path = dlopt.minimize(f, x0, LEAST_SQUARES[name], record=False)
    assert not path.converged and path.reason in ("plateau", "no_decrease")
    assert path.reason == "plateau" or dtype == torch.float32


@each
@pytest.mark.parametrize(
    "f",
    [
        lambda x: 1 + (x[0] - 3).square(),  # the other entries are in no use
        lambda x: 1 + x.square().sum() + x[0].square(),  # entries that end at 0
        lambda x: 1 + (x[:2] - 3).pow(4).sum() + x[2].square(),  # no curvature
        lambda x: 1e9 + (x - 1e-3).square().sum(),  # nearly all of J is constant
        lambda x: torch.logaddexp(x, -x).sum() + 1e-4 * x.sum(),
    ],
)
def test_a_minimum_is_no_plateau(f: Callable[[Tensor], Tensor], name: str) -> None:
    path = dlopt.minimize(f, torch.tensor([5.0, 0.0, 7.0], dtype=D), ALL[name])
    assert path.reason != "plateau"


def test_a_function_that_never_changes_is_a_plateau_unless_it_is_zero() -> None:
    for level, reason in ((2.0, "plateau"), (0.0, "gradient")):
        flat = dlopt.minimize(lambda x: level + 0 * x.sum(), torch.ones(3), dlopt.LBFGS())
        assert flat.reason == reason


@pytest.mark.parametrize("name", ["bfgs", "lbfgs", "newton", "truncated_newton"])
def test_an_entry_that_has_always_been_small_is_no_plateau(name: str) -> None:
    """As one of many weights that is drawn, and ends, near 0: J hardly changes by all of that."""
    x0 = torch.tensor([3.0, 1e-8, -2.0], dtype=D)
    path = dlopt.minimize(lambda x: 1 + torch.cosh(x - 1e-9).sum(), x0, ALL[name])
    assert path.converged


@each
def test_a_start_at_a_minimum_is_no_plateau_though_its_entries_are_rounding(name: str) -> None:
    for size in (0.0, 1e-17):
        x0 = vector(size, -size)
        assert dlopt.minimize(lambda x: (torch.exp(x) - x).sum(), x0, METHODS[name]).converged
    for size in (1e-12, 1e-8):
        again = dlopt.minimize(
            lambda x: (torch.exp(x) - x).sum(), vector(size, size), METHODS[name]
        )
        assert again.reason != "plateau"


def bells(amplitude: float, center: float) -> Callable[[Tensor], Tensor]:
    t = torch.linspace(0, 10, 41, dtype=D)
    y = 2 * torch.exp(-((t - 4) ** 2)) + 3 * torch.exp(-((t - 7) ** 2))

    def f(b: Tensor) -> Tensor:
        at = b[1] / center, b[3] / center
        model = b[0] * torch.exp(-((t - at[0]) ** 2)) + b[2] * torch.exp(-((t - at[1]) ** 2))
        return (model - amplitude * y).square().sum()

    return f


@each
@pytest.mark.parametrize("units", [(1e6, 1.0), (1.0, 1e-6), (1.0, 1e6)])
def test_a_plateau_is_one_in_any_units(name: str, units: tuple[float, float]) -> None:
    """A step that is small beside counts of a million would bring the bell back to the data."""
    amplitude, center = units
    x0 = vector(amplitude, 4.2 * center, amplitude, 17 * center)
    path = dlopt.minimize(bells(*units), x0, METHODS[name], record=False)
    assert not path.converged or float(path.value) < 1e-6 * amplitude**2


@each
def test_a_start_on_a_plateau_is_one(name: str) -> None:
    """The slope is 1e-96, not 0."""
    f = bells(1.0, 1.0)
    path = dlopt.minimize(lambda b: f(torch.cat([b, 0 * b])), vector(1.0, 25.0), METHODS[name])
    assert not path.converged


@pytest.mark.parametrize("name", ["cg", "newton"])
def test_an_entry_that_came_into_use_on_the_way_can_end_on_a_plateau(name: str) -> None:
    """At the start its gradient is exactly 0, as that of weights before others that are 0."""

    def f(x: Tensor) -> Tensor:
        shape = torch.sigmoid(-3 * x[1]) - 5 * torch.exp(-((x[1] + 5) ** 2))
        return 1 + (x[0] - 1) ** 2 + 0.5 * x[0] ** 2 * shape

    assert dlopt.minimize(f, vector(0.0, 0.0), METHODS[name]).reason == "plateau"


@each
@pytest.mark.parametrize(
    ("f", "x0"),
    [  # a sharp minimum, one at an edge, entries that a generic direction hardly has
        (lambda x: 2 - torch.exp(-((x - 1e6) ** 2)).sum() / 2, vector(1e6 + 0.5, 1e6 - 0.7)),
        (lambda x: 1 + (x[0] - 1) ** 2 + torch.relu(x[1] - 1) ** 2 * (x[1] > 1), vector(1, 1)),
        (lambda x: 1 + ((x - 1) ** 4).mean(), torch.linspace(-2, 2, 1000, dtype=D)),
    ],
)
def test_nor_is_a_minimum_hard_to_see(f: Callable[[Tensor], Tensor], x0: Tensor, name: str) -> None:
    if name != "newton" or len(x0) < 100:
        path = dlopt.minimize(f, x0, METHODS[name], record=False, max_steps=400)
        assert path.reason != "plateau"


@each
def test_where_nothing_is_left_of_j_there_is_no_plateau(name: str) -> None:
    """Classes that a line separates: losses fall to 1e-50, their slopes to exactly 0."""
    g = torch.Generator().manual_seed(5)
    A = torch.randn(200, 6, generator=g, dtype=D)
    y = (A @ torch.randn(6, generator=g, dtype=D) > 0).to(D)
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    path = dlopt.minimize(lambda w: loss(A @ w, y), torch.zeros(6, dtype=D), METHODS[name])
    assert path.reason != "plateau" and float(path.value) < 1e-16


def test_a_small_promise_is_believed_only_where_entries_by_themselves_change_little() -> None:
    f = Objective(lambda x: 1 + (x[0] - 1).square() + 0 * x[1])
    f.curvature(vector(1, 1)).hessian()  # second derivatives are known
    for x, believed in ((1 + 1e-9, True), (1.1, False)):
        rule, state = StoppingRule(f, dlopt.Newton(), None), state_of(f, x, 1)
        rule(state)
        assert rule._is_informed(state, 1e-5) == believed
        assert rule._is_informed(state, 0.1)
