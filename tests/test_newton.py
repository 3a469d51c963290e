"""Newton's method: theorems of the lesson, and the problems of Moré, Garbow and Hillstrom."""

import itertools
import math

import pytest
import torch
from torch import Tensor

import dlopt
from benchmarks.more_garbow_hillstrom import INSTANCES, Problem, count_to_solve, solved
from dlopt.lesson.problems import pseudo_huber, quadratic, random_rotation, saddle, spectrum
from dlopt.method import State
from dlopt.newton import Newton, newton_step, quadratic_model
from dlopt.objective import Objective


def stretched(n: int, condition: float, seed: int) -> dlopt.lesson.problems.Quadratic:
    g = torch.Generator().manual_seed(seed)
    return quadratic(
        spectrum(n, condition),
        basis=random_rotation(n, g),
        minimizer=torch.randn(n, generator=g, dtype=torch.float64),
    )


def test_quadratic_model() -> None:
    """On a quadratic the second-order model (8.26) is the function itself."""
    q = stretched(6, 100.0, 0)
    H = Objective(q).curvature(q.x0)
    step = torch.linspace(-1, 1, 6, dtype=torch.float64)
    promised = quadratic_model(H.at.value, H.at.grad, H.hessian(), step)
    torch.testing.assert_close(promised, q(q.x0 + step))


@pytest.mark.parametrize("n", [2, 10, 200])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e6])
def test_one_step_solves_a_quadratic(n: int, condition: float) -> None:
    q = stretched(n, condition, n)
    start, end = itertools.islice(dlopt.iterate(q, q.x0, Newton(damping=0.0)), 2)
    before, after = (float((s.x - q.minimizers[0]).norm()) for s in (start, end))
    assert after / before <= 1e-14 * condition * math.sqrt(n) + 1e-14


def test_damped_step() -> None:
    """The step (8.28) solves its system, and becomes the gradient over α as α grows."""
    g = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    H = torch.diag(torch.tensor([3.0, -1.0, 0.0], dtype=torch.float64))
    for alpha in (2.0, 1e3):
        step = newton_step(g, H, alpha)
        torch.testing.assert_close(H @ step + alpha * step, -g)
    torch.testing.assert_close(1e9 * newton_step(g, H, 1e9), -g, rtol=1e-8, atol=0.0)


def test_algorithm_8_8() -> None:
    """Each state of the literal method is the one before, plus −H⁻¹g there."""

    def f(x: Tensor) -> Tensor:
        return torch.cosh(x).sum() + x[0] * x[1] / 4

    x0 = torch.tensor([0.7, -0.4], dtype=torch.float64)
    states = list(itertools.islice(dlopt.iterate(f, x0, Newton(damping=0.0)), 4))
    for before, after in itertools.pairwise(states):
        H = torch.autograd.functional.hessian(f, before.x)
        expected = before.x - torch.linalg.inv(H) @ before.grad
        torch.testing.assert_close(after.x, expected)


def test_quadratic_convergence_order() -> None:
    path = dlopt.minimize(
        lambda x: (torch.exp(x) - x).sum() + (x[0] - x[1]) ** 2,
        torch.tensor([1.0, -0.7], dtype=torch.float64),
        Newton(damping=0.0),
    )
    errors = [float(torch.linalg.vector_norm(p)) for p in path.points]
    usable = [e for e in errors if e > 1e-13]
    orders = [
        math.log(c / b) / math.log(b / a)
        for a, b, c in zip(usable[:-2], usable[1:-1], usable[2:], strict=True)
    ]
    assert orders[-1] == pytest.approx(2, abs=0.2)


def test_literal_newton_leaves_a_convex_valley_where_the_trust_region_does_not() -> None:
    f = pseudo_huber(2)  # a literal step maps x to −x³
    x0 = torch.tensor([1.5, -1.2], dtype=torch.float64)
    literal = dlopt.minimize(f, x0, Newton(damping=0.0))
    assert not literal.converged
    assert literal.values[1] > literal.values[0]
    assert dlopt.minimize(f, x0, Newton()).converged


def test_the_literal_step_climbs_near_a_saddle_and_damping_cures_it() -> None:
    f, x0 = saddle(), torch.tensor([0.3, 0.5], dtype=torch.float64)
    literal, damped = (dlopt.minimize(f, x0, Newton(damping=a)) for a in (0.0, 2.0))
    assert abs(float(literal.states[1].x[0])) < 0.3  # towards the saddle, uphill along x
    torch.testing.assert_close(literal.states[-1].x, torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(damped.x[0].abs(), torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize("method", [dlopt.Newton(), dlopt.TruncatedNewton()], ids=["full", "cg"])
@pytest.mark.parametrize("instance", INSTANCES, ids=lambda i: i.name)
def test_solves_the_more_garbow_hillstrom_set(instance: Problem, method: dlopt.Newton) -> None:
    count = count_to_solve(
        lambda f, x0: dlopt.minimize(f, x0, method, grad_tol=1e-10), instance, budget=1000
    )
    assert count.solved


def test_at_its_default_tolerance_newton_returns_the_solution() -> None:
    missed = [
        i.name
        for i in INSTANCES
        if not solved(i, float(i(dlopt.minimize(i, i.x0, Newton(), record=False).x)))
    ]
    assert len(missed) <= 2


@pytest.mark.parametrize("method", [dlopt.Newton(), dlopt.TruncatedNewton()], ids=["full", "cg"])
def test_the_units_of_the_objective_do_not_matter(method: dlopt.Newton) -> None:
    """Minimising c·f solves the same instances, with as many evaluations up to a tenth."""
    units, spent, found = 1e6, {}, {}
    for c in (1.0, 1 / units, units):
        paths = [
            dlopt.minimize(lambda x, f=i, c=c: c * f(x), i.x0, method, max_steps=100)
            for i in INSTANCES
        ]
        found[c] = [solved(i, float(i(p.x))) for i, p in zip(INSTANCES, paths, strict=True)]
        spent[c] = sum(min(p.evaluations, 100) for p in paths)
    assert found[1 / units] == found[units] == found[1.0]
    assert spent[1 / units] == pytest.approx(spent[1.0], rel=0.1)
    assert spent[units] == pytest.approx(spent[1.0], rel=0.1)


def test_a_hessian_that_is_not_finite_does_not_stop_the_trust_region() -> None:
    """|x|^1.5 has a finite gradient and an infinite second derivative at 0."""

    def f(x: Tensor) -> Tensor:
        return (x[0].abs() ** 1.5) + (x[1] - 1) ** 2 + x[0]

    path = dlopt.minimize(f, torch.zeros(2, dtype=torch.float64), Newton())
    assert float(path.value) < float(path.values[0]) - 1
    literal = dlopt.minimize(f, torch.zeros(2, dtype=torch.float64), Newton(damping=0.0))
    assert literal.reason == "non_finite"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"damping": -1.0}, "damping must be >= 0 and finite, or None, got -1.0"),
        ({"damping": math.nan}, "damping must be >= 0 and finite, or None, got nan"),
        ({"initial_radius": 0.0}, "initial_radius must be > 0 and finite, or None, got 0.0"),
    ],
)
def test_settings_are_checked(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Newton(**settings)
    with pytest.raises(ValueError, match=message):
        dlopt.LevenbergMarquardt(**settings)


def test_the_first_state_is_plain_enough_to_build_by_hand() -> None:
    """A state carries what a step needs, so a single step can be tested by itself."""
    f = Objective(lambda x: (x * x).sum())
    x = torch.tensor([3.0, -1.0], dtype=torch.float64)
    state = Newton(damping=0.0).init(f, x)
    assert isinstance(state, State)
    torch.testing.assert_close(Newton(damping=0.0).step(f, state).x, torch.zeros_like(x))
