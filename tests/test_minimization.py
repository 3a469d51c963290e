"""`iterate` and `minimize`: the path, its ends, its invariances, and what is refused."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import dlopt
from dlopt.conjugate_memory import ConjugateMemory
from dlopt.lesson.problems import himmelblau, quadratic, random_rotation, rosenbrock, spectrum
from dlopt.method import State
from dlopt.minimization import REASONS
from dlopt.objective import Objective

# Every method at settings that solve Rosenbrock's function; first-order ones need many steps.
METHODS = {
    "gradient_descent": dlopt.GradientDescent(learning_rate=1e-3),
    "momentum": dlopt.GradientDescent(learning_rate=1e-4, momentum=0.9),
    "steepest_descent": dlopt.SteepestDescent(),
    "steepest_backtracking": dlopt.SteepestDescent(dlopt.backtracking),
    "newton": dlopt.Newton(),
    "literal_newton": dlopt.Newton(damping=0.0),
    "damped_newton": dlopt.Newton(damping=1.0),
    "truncated_newton": dlopt.TruncatedNewton(),
    "conjugate_gradient": dlopt.ConjugateGradient(),
    "polak_ribiere_plus": dlopt.ConjugateGradient(dlopt.polak_ribiere_plus),
    "literal_fletcher_reeves": dlopt.ConjugateGradient(dlopt.fletcher_reeves, safeguard=False),
    "bfgs": dlopt.BFGS(),
    "literal_bfgs": dlopt.BFGS(dlopt.backtracking, scale_first=False, safeguard=False),
    "lbfgs": dlopt.LBFGS(),
}
LEARNED = ["conjugate_gradient", "bfgs", "lbfgs"]
SECOND_ORDER = ["newton", "truncated_newton", *LEARNED]
ROBUST = ["steepest_descent", "steepest_backtracking", "polak_ribiere_plus", *SECOND_ORDER]
each = pytest.mark.parametrize("name", METHODS)


def start(*entries: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(entries, dtype=dtype)


@each
def test_path_is_consistent(name: str) -> None:
    f, x0 = himmelblau(), start(0.5, 0.4)
    before = x0.clone()
    seen = []
    path = dlopt.minimize(f, x0, METHODS[name], max_steps=30, callback=seen.append)
    assert torch.equal(x0, before)
    assert torch.equal(path.states[0].x, before)
    assert path.reason in REASONS
    assert len(path.states) == len(seen) == len(path.counts) == len(path.seconds)
    assert path.values == tuple(float(s.value) for s in path.states)
    assert path.points.shape == (len(path.states), 2)
    assert all(type(s) is dlopt.State for s in path.states)
    for state in path.states:
        torch.testing.assert_close(state.value, f(state.x))
    torch.testing.assert_close(path.value, f(path.x))
    assert list(path.counts) == sorted(path.counts)
    assert path.counts[-1] <= path.evaluations
    distinct = {tuple(s.x.tolist()) for s in path.states}
    assert len(distinct) >= len(path.states) - 1  # only a failed last step stands twice


@each
def test_evaluations_are_the_calls_of_f(name: str) -> None:
    calls = 0

    def f(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return himmelblau()(x)

    path = dlopt.minimize(f, start(0.5, 0.4), METHODS[name], max_steps=10)
    assert path.evaluations == calls


@pytest.mark.parametrize("name", ROBUST)
def test_values_never_rise(name: str) -> None:
    path = dlopt.minimize(rosenbrock(), start(-1.2, 1.0), METHODS[name], max_steps=200)
    rounding = 1e-14
    assert all(b <= a * (1 + rounding) for a, b in itertools.pairwise(path.values))


@each
def test_without_a_record_the_ends_are_the_same(name: str) -> None:
    whole = dlopt.minimize(himmelblau(), start(0.5, 0.4), METHODS[name], max_steps=25)
    ends = dlopt.minimize(himmelblau(), start(0.5, 0.4), METHODS[name], max_steps=25, record=False)
    assert len(ends.states) == 2
    assert torch.equal(ends.x, whole.x)
    assert torch.equal(ends.states[-1].x, whole.states[-1].x)
    assert ends.values == whole.values


@each
def test_a_step_is_pure(name: str) -> None:
    """The same state gives the same next state, and is itself unchanged."""
    f = dlopt.objective.Objective(himmelblau())
    states = list(itertools.islice(dlopt.iterate(f, start(0.5, 0.4), METHODS[name]), 3))
    kept = states[1].x.clone()
    again = METHODS[name].step(f, states[1])
    assert torch.equal(again.x, states[2].x)
    assert torch.equal(states[1].x, kept)


@pytest.mark.parametrize("name", SECOND_ORDER)
@pytest.mark.parametrize("scale", [1e-6, 1e6, 1e-100, 1e100])
def test_the_scale_of_the_objective_does_not_matter(name: str, scale: float) -> None:
    plain = dlopt.minimize(rosenbrock(), start(-1.2, 1.0), METHODS[name])
    scaled = dlopt.minimize(lambda x: scale * rosenbrock()(x), start(-1.2, 1.0), METHODS[name])
    assert scaled.converged and plain.converged
    assert abs(scaled.evaluations - plain.evaluations) <= 0.1 * plain.evaluations
    torch.testing.assert_close(scaled.x, plain.x, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["steepest_descent", "steepest_backtracking"])
def test_scale_and_steepest_descent(name: str) -> None:
    plain = dlopt.minimize(himmelblau(), start(0.5, 0.4), METHODS[name])
    scaled = dlopt.minimize(lambda x: 2.0**40 * himmelblau()(x), start(0.5, 0.4), METHODS[name])
    assert plain.converged
    torch.testing.assert_close(scaled.points, plain.points)  # a power of two rounds nothing


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_single_precision(name: str) -> None:
    x0 = start(-1.2, 1.0, dtype=torch.float32)
    path = dlopt.minimize(rosenbrock(), x0, METHODS[name], grad_tol=1e-3)
    assert path.converged
    assert path.x.dtype is torch.float32
    torch.testing.assert_close(path.x, torch.ones(2), rtol=0, atol=1e-3 / 0.4)  # g over least λ


# --- Objectives that stop being finite ------------------------------------------------------------


def logarithm(x: Tensor) -> Tensor:
    return (4 * x - torch.log(x)).sum()  # NaN below 0; minimum at 1/4


def square_root(x: Tensor) -> Tensor:
    return (-torch.sqrt(1 - x)).sum() + 3 * (x * x).sum()  # NaN beyond 1


def exploding(x: Tensor) -> Tensor:
    return (torch.exp(x * x) - 30 * x).sum()  # overflows from |x| = 27 on


def infinite_wall(x: Tensor) -> Tensor:
    return torch.where(x > 2, math.inf, (x - 2) ** 2 + x).sum()


def edge_of_the_world(x: Tensor) -> Tensor:
    return torch.where(x < 1, math.nan, x).sum()  # falls until it is gone: no minimum


def nan_with_finite_gradient(x: Tensor) -> Tensor:
    return (x * x).sum() + (math.nan if float(x.detach().abs().max()) > 3.5 else 0.0)


def finite_with_nan_gradient(x: Tensor) -> Tensor:
    return torch.where(x > 0.5, x * x, 0.25 + 0 * torch.sqrt(x - 0.5)).sum()


TREACHEROUS: list[tuple[Callable[[Tensor], Tensor], Tensor]] = [
    (logarithm, start(0.001, 3.0)),
    (square_root, start(0.9, -3.0)),
    (exploding, start(3.0, -2.0)),
    (infinite_wall, start(-5.0, 1.9)),
    (edge_of_the_world, start(3.0)),
    (nan_with_finite_gradient, start(3.0, -3.4)),
    (finite_with_nan_gradient, start(0.7, 3.0)),
]


@each
@pytest.mark.parametrize(("f", "x0"), TREACHEROUS, ids=lambda v: getattr(v, "__name__", ""))
def test_what_is_not_finite_never_comes_back(name: str, f, x0: Tensor) -> None:
    path = dlopt.minimize(f, x0, METHODS[name], max_steps=200)
    assert path.reason in REASONS
    assert all(bool(s.value.isfinite()) and bool(s.grad.isfinite().all()) for s in path.states)
    assert bool(path.x.isfinite().all()) and bool(path.value.isfinite())
    assert float(path.value) <= float(f(x0)) or path.converged
    if name in SECOND_ORDER and f in (logarithm, square_root, exploding):
        assert path.converged
    if name in ROBUST and f is edge_of_the_world:
        assert float(path.x) == pytest.approx(1, abs=1e-3)
        assert path.reason in ("no_decrease", "line_search", "non_finite")


def test_a_diverging_run_returns_its_best_point() -> None:
    path = dlopt.minimize(rosenbrock(), start(-1.2, 1.0), dlopt.GradientDescent(0.1))
    assert path.reason == "non_finite"
    assert float(path.value) == min(path.values)


# --- Ends -----------------------------------------------------------------------------------------


def raising(state: State) -> None:
    raise StopIteration


@pytest.mark.parametrize(
    "wish",
    [
        lambda s: True,
        lambda s: s.value < math.inf,
        lambda s: np.float64(1.0) < 2,
        raising,
    ],
    ids=["True", "torch", "numpy", "StopIteration"],
)
def test_a_callback_ends_a_run(wish) -> None:
    path = dlopt.minimize(rosenbrock(), start(-1.2, 1.0), dlopt.Newton(), callback=wish)
    assert (path.reason, len(path.states)) == ("callback", 1)


@pytest.mark.parametrize(
    "answer", [None, False, 1, "seen", [1], torch.ones(3), np.ones(2)], ids=str
)
def test_what_a_callback_happens_to_return_ends_nothing(answer: object) -> None:
    newton = dlopt.Newton()
    path = dlopt.minimize(rosenbrock(), start(-1.2, 1.0), newton, callback=lambda s: answer)
    assert path.reason == "gradient"


def test_what_a_callback_raises_comes_out() -> None:
    def broken(state: State) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        dlopt.minimize(rosenbrock(), start(-1.2, 1.0), dlopt.Newton(), callback=broken)


def test_every_end_says_why() -> None:
    f, x0, newton = rosenbrock(), start(-1.2, 1.0), dlopt.Newton()
    assert dlopt.minimize(f, x0, newton).reason == "gradient"
    assert dlopt.minimize(f, x0, newton, max_steps=2).reason == "max_steps"
    assert len(dlopt.minimize(f, x0, newton, max_steps=2).states) == 3
    assert dlopt.minimize(f, x0, newton, max_steps=0).evaluations == 1
    stopped = dlopt.minimize(f, x0, newton, callback=lambda s: float(s.value) < 1)
    assert (stopped.reason, stopped.converged) == ("callback", False)
    flat = dlopt.minimize(lambda x: x[0] ** 2 + x[1], x0, dlopt.Newton(damping=0.0))
    assert flat.reason == "singular"
    upward = dlopt.SteepestDescent(lambda phi, first_step: None)
    assert dlopt.minimize(f, x0, upward).reason == "line_search"


def test_grad_tol_bounds_the_largest_entry() -> None:
    path = dlopt.minimize(himmelblau(), start(0.5, 0.4), dlopt.SteepestDescent(), grad_tol=1e-3)
    assert path.converged
    assert float(path.grad.abs().max()) <= 1e-3
    assert all(float(s.grad.abs().max()) > 1e-3 for s in path.states[:-1])


def test_a_start_at_the_minimum_is_recognised() -> None:
    path = dlopt.minimize(lambda x: (x * x).sum(), torch.zeros(3), dlopt.Newton())
    # A gradient of exactly 0 may be chance, as of a network that dropout has emptied: asked again.
    assert (path.converged, path.evaluations, len(path.states)) == (True, 2, 1)


@pytest.mark.parametrize("name", ["newton", "truncated_newton"])
def test_a_saddle_is_not_a_minimum(name: str) -> None:
    def saddle(x: Tensor) -> Tensor:
        return x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2

    for x0 in (start(0.0, 0.0), start(0.0, 1.0)):
        path = dlopt.minimize(saddle, x0, METHODS[name])
        assert path.converged or not x0.any()  # a first gradient of 0 measures no progress
        torch.testing.assert_close(path.x.abs(), start(1.0, 0.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_steps": -1}, "max_steps must be an integer >= 0, got -1"),
        ({"max_steps": 2.5}, "max_steps must be an integer >= 0, got 2.5"),
        ({"grad_tol": -1}, "grad_tol must be > 0, got -1"),
        ({"grad_tol": 0.0}, "grad_tol must be > 0, got 0.0"),
        ({"grad_tol": math.nan}, "grad_tol must be > 0, got nan"),
        ({"x0": torch.ones(2, 2)}, r"x0 must be 1-D and not empty, got shape \(2, 2\)"),
        ({"x0": torch.ones(0)}, r"x0 must be 1-D and not empty, got shape \(0,\)"),
        ({"x0": torch.ones(2, dtype=torch.int64)}, "float32 or float64, got torch.int64"),
        ({"x0": torch.ones(2, dtype=torch.complex64)}, "got torch.complex64"),
        ({"x0": [1.0, 2.0]}, "x0 must be a torch.Tensor, got list"),
        ({"x0": start(1.0, math.nan)}, "x0 must be finite, got an entry nan"),
        ({"f": lambda x: x.sum() * math.nan}, r"f\(x0\) must be finite, got nan"),
        ({"f": lambda x: x.sum() * math.inf}, r"f\(x0\) must be finite, got inf"),
        ({"f": lambda x: (x - 1).abs().sqrt().sum()}, "gradient at x0 must be finite"),
        ({"f": lambda x: x}, r"f must return a 0-d tensor, got shape \(2,\)"),
    ],
)
def test_bad_input_is_named(arguments: dict[str, object], message: str) -> None:
    call: dict[str, object] = {
        "f": lambda x: (x * x).sum(),
        "x0": torch.ones(2),
        "method": dlopt.Newton(),
        **arguments,
    }
    with pytest.raises(ValueError, match=message):
        dlopt.minimize(**call)


def test_whole_numbers_of_numpy_are_whole_numbers_and_halves_are_not() -> None:
    steps = np.int64(2)
    assert (
        len(dlopt.minimize(rosenbrock(), start(-1.2, 1.0), dlopt.Newton(), max_steps=steps).states)
        == 3
    )
    assert dlopt.LBFGS(history_size=np.int32(3)).history_size == 3
    for make, message in (
        (lambda: dlopt.LBFGS(history_size=5.0), "history_size must be an integer >= 1, got 5.0"),
        (lambda: dlopt.ConjugateGradient(restart_every=2.5), "restart_every must be an integer"),
        (lambda: dlopt.TruncatedNewton(max_products=True), "max_products must be an integer"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_a_method_without_parentheses_is_named() -> None:
    with pytest.raises(ValueError, match=r"must be an instance, such as BFGS\(\), got the class"):
        dlopt.minimize(rosenbrock(), start(-1.2, 1.0), dlopt.BFGS)


# Whose memory it is


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("name", ["gradient_descent", "newton", *LEARNED])
def test_what_a_callback_writes_stays_with_it(name: str, record: bool) -> None:
    def scribble(state: dlopt.State) -> None:
        for tensor in (state.x, state.value, state.grad):
            tensor.data.fill_(7.0)

    p = rosenbrock()
    calm = dlopt.minimize(p, p.x0, METHODS[name], max_steps=8, record=record)
    path = dlopt.minimize(p, p.x0, METHODS[name], max_steps=8, record=record, callback=scribble)
    assert float(path.value) == float(p(path.x))
    for state, expected in zip(path.states, calm.states, strict=True):
        assert torch.equal(state.x, expected.x)
        assert torch.equal(state.grad, expected.grad)
        assert torch.equal(state.value, expected.value)


# Rosenbrock's function of parameters whose units are 1e10 and 1e12 apart.
def in_units(s: float) -> Callable[[Tensor], Tensor]:
    def f(x: Tensor) -> Tensor:
        a, b = x[0] * s, x[1] / s
        return 1 + 100 * (b - a * a) ** 2 + (1 - a) ** 2

    return f


@pytest.mark.parametrize(
    ("name", "scale"),  # conjugate gradients spend 1e4 evaluations where units are 1e12 apart
    [*((name, 1e5) for name in LEARNED), ("bfgs", 1e6), ("lbfgs", 1e6)],
)
def test_a_run_without_a_way_down_goes_on_in_the_units_of_its_parameters(name, scale) -> None:
    """Along −g searches end in rounding, at 1 + 4e-14, where BFGS would stay, and at 3.99."""
    x0 = start(-1.2 / scale, scale)
    path = dlopt.minimize(in_units(scale), x0, METHODS[name])
    assert path.converged and float(path.value) - 1 < 1e-13 and path.evaluations < 400
    assert {state.reason for state in path.states[:-1]} == {""}


@pytest.mark.parametrize("bare", [dlopt.BFGS, dlopt.LBFGS, ConjugateMemory])
def test_the_bare_methods_have_no_units(bare) -> None:
    path = dlopt.minimize(in_units(1e6), start(-1.2e-6, 1e6), bare(safeguard=False))
    assert path.reason == "line_search"


@pytest.mark.parametrize("method", [dlopt.BFGS, dlopt.LBFGS, ConjugateMemory])
def test_in_its_own_units_a_method_walks_as_on_the_rescaled_objective(method) -> None:
    """With D the squares of units, θ = Du: the same points from the identity, of J(Du)."""
    exact = method(line_search=dlopt.exact_quadratic)
    n = 6
    q = quadratic(spectrum(n, 30.0), basis=random_rotation(n, torch.Generator().manual_seed(1)))
    units = 2.0 ** -torch.arange(n, dtype=torch.float64)
    f, u = Objective(q), Objective(lambda u: q(units * u))
    ours = exact.rescaled(exact.init(f, units.clone()))
    theirs = exact.init(u, torch.ones(n, dtype=torch.float64))
    for _ in range(n):
        ours, theirs = exact.step(f, ours), exact.step(u, theirs)
        torch.testing.assert_close(ours.x, units * theirs.x, rtol=1e-6, atol=1e-9)
    assert ours.reason == "" and float(ours.value) < 1e-6 * float(q(units))


@pytest.mark.parametrize("name", LEARNED)
def test_tensors_that_f_writes_again_are_copied(name: str) -> None:
    """A function, such as a simulator's, that returns its value and gradient in two buffers."""
    curvatures = torch.logspace(0, 3, 30, dtype=torch.float64)
    gradient, value = np.empty(30), torch.empty((), dtype=torch.float64)

    class Simulator(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            gradient[:] = (curvatures * x).numpy()
            return value.copy_((curvatures * x * x).sum() / 2).detach()

        @staticmethod
        def backward(ctx, g: Tensor) -> Tensor:
            return torch.from_numpy(gradient)

    x0 = torch.ones(30, dtype=torch.float64)
    path = dlopt.minimize(Simulator.apply, x0, METHODS[name])
    plain = dlopt.minimize(lambda x: (curvatures * x * x).sum() / 2, x0, METHODS[name])
    assert path.converged
    assert path.evaluations == plain.evaluations
    assert torch.equal(path.x, plain.x)
    assert [float(s.value) for s in path.states] == [float(s.value) for s in plain.states]
