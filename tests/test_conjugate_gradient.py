"""Conjugate gradients: conjugacy, termination in n steps, the rules, restarts, known minima."""

import itertools
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import dlopt
from benchmarks.more_garbow_hillstrom import INSTANCES, count_to_solve
from dlopt.conjugate_gradient import (
    ConjugateGradient,
    fletcher_reeves,
    hestenes_stiefel,
    linear_cg,
    polak_ribiere,
    polak_ribiere_plus,
)
from dlopt.conjugate_memory import ConjugateMemory
from dlopt.lesson.problems import Quadratic, quadratic, random_rotation, rosenbrock, spectrum
from dlopt.objective import Objective

RULES = [fletcher_reeves, polak_ribiere, polak_ribiere_plus, hestenes_stiefel]
each_rule = pytest.mark.parametrize("rule", RULES)
exact = partial(ConjugateGradient, line_search=dlopt.exact_quadratic)


def stretched(n: int, condition: float, distinct: int | None = None) -> Quadratic:
    basis = random_rotation(n, torch.Generator().manual_seed(n))
    return quadratic(spectrum(n, condition, distinct=distinct), basis=basis)


def first(states: int, f, x0: Tensor, method: ConjugateGradient):
    return list(itertools.islice(dlopt.iterate(f, x0, method), states))


def test_fletcher_reeves() -> None:
    g, before = torch.tensor([1.0, 2.0]), torch.tensor([2.0, -1.0])
    assert fletcher_reeves(g, before, -before) == 1
    assert fletcher_reeves(2 * g, before, -before) == 4


def test_polak_ribiere() -> None:
    g, before = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    assert polak_ribiere(g, before, -before) == pytest.approx((1 * -2 + 2 * -2) / 25)
    assert polak_ribiere_plus(g, before, -before) == 0
    positive = polak_ribiere(-g, before, -before)
    assert polak_ribiere_plus(-g, before, -before) == positive > 0


def test_hestenes_stiefel_solves_the_conjugacy_condition() -> None:
    q = stretched(5, 10.0)
    g_before, g = (q.A @ x for x in torch.eye(5, dtype=torch.float64)[:2])
    rho = torch.linalg.solve(q.A, g - g_before)  # the step between them
    new = -g + hestenes_stiefel(g, g_before, rho) * rho
    assert float(new @ q.A @ rho) == pytest.approx(0, abs=1e-12)


@each_rule
def test_a_vanished_gradient_asks_for_a_restart(rule) -> None:
    zero = torch.zeros(3)
    assert rule(torch.ones(3), zero, zero) in (0.0, pytest.approx(0))


@each_rule
@pytest.mark.parametrize("n", [2, 6, 10])
def test_directions_are_conjugate(n: int, rule) -> None:
    """d_iᵀ H d_j = 0 for every pair, equation (8.29) and what makes it worth having."""
    q = stretched(n, 20.0)
    d = torch.stack([s.direction for s in first(n + 1, q, q.x0, exact(rule))[1:]])
    products = d @ q.A @ d.T
    lengths = products.diagonal().sqrt()
    cosines = products / torch.outer(lengths, lengths)
    cosines -= torch.eye(n, dtype=torch.float64)
    assert float(cosines.abs().max()) < 1e-6
    assert float(cosines.diagonal(1).abs().max()) < 1e-10


@each_rule
@pytest.mark.parametrize("n", [2, 5, 9])
def test_a_quadratic_takes_n_steps(n: int, rule) -> None:
    q = stretched(n, 30.0)
    states = first(n + 1, q, q.x0, exact(rule))
    assert float(states[-1].grad.norm()) < 1e-9 * float(states[0].grad.norm())
    assert float(states[-2].grad.norm()) > 1e-9 * float(states[0].grad.norm())


@pytest.mark.parametrize("seed", range(5))
@each_rule
def test_exact_steps_end_where_the_gradient_is_rounding(rule, seed: int) -> None:
    """In numbers that round the last gradient is hardly ever exactly zero."""
    g = torch.Generator().manual_seed(seed)
    J = stretched(4, 10.0)
    x0 = torch.randn(4, generator=g, dtype=torch.float64)
    method = ConjugateGradient(rule, line_search=dlopt.exact_quadratic)
    path = dlopt.minimize(J, x0, method)
    assert path.converged and len(path.states) - 1 <= 5
    assert path.evaluations <= 20


def test_as_many_steps_as_distinct_eigenvalues() -> None:
    q = stretched(40, 100.0, distinct=3)
    norms = [float(s.grad.norm()) for s in first(4, q, q.x0, exact(polak_ribiere))]
    assert norms[3] < 1e-12 * norms[0] < norms[2]


def test_the_gradient_stays_orthogonal_to_earlier_directions() -> None:
    """Progress is not undone (C2); steepest descent undoes it."""
    q = stretched(10, 50.0)
    states = first(8, q, q.x0, exact(fletcher_reeves))
    for t, state in enumerate(states[2:], start=2):
        for earlier in states[1 : t + 1]:
            d = earlier.direction
            assert abs(float(state.grad.dot(d))) < 1e-9 * float(states[0].grad.norm() * d.norm())


def test_the_rules_agree_on_a_quadratic() -> None:
    q = stretched(12, 40.0)
    paths = [torch.stack([s.x for s in first(9, q, q.x0, exact(rule))]) for rule in RULES]
    for path in paths[1:]:
        torch.testing.assert_close(path, paths[0], rtol=0.0, atol=1e-10)


def test_algorithm_8_9() -> None:
    """The algorithm typed from the page, with β₁ = 0 and β set to 0 every 5 steps."""
    q = stretched(9, 60.0)
    theta, rho, g_before = q.x0.clone(), torch.zeros(9, dtype=torch.float64), None
    method = exact(polak_ribiere, restart_every=5, safeguard=False)
    for t, state in enumerate(first(13, q, q.x0, method)):
        torch.testing.assert_close(state.x, theta, rtol=1e-8, atol=1e-10)
        g = q.A @ (theta - q.minimizers[0])
        fresh = g_before is None or t % 5 == 0
        beta = 0.0 if fresh else (g - g_before) @ g / (g_before @ g_before)
        rho = -g + beta * rho
        theta = theta - (g @ rho) / (rho @ q.A @ rho) * rho
        g_before = g


def test_restarts_return_to_the_gradient() -> None:
    states = first(12, rosenbrock(4), rosenbrock(4).x0, ConjugateGradient(polak_ribiere, 3))
    assert [s.beta == 0 for s in states[::3]] == [True] * 4
    for before, after in zip(states[::3], states[1::3], strict=False):
        torch.testing.assert_close(after.direction, -before.grad)


def test_fletcher_reeves_jams_and_polak_ribiere_recovers() -> None:
    """From a first direction nearly orthogonal to the gradient (Powell 1977)."""
    q = stretched(50, 100.0)

    def steps(rule) -> int:
        f, method = Objective(q), exact(rule)
        state = method.init(f, q.x0)
        g, aside = state.grad, torch.ones(50, dtype=torch.float64)
        aside = aside - aside.dot(g) / g.dot(g) * g
        astray = 30 * g.norm() * aside / aside.norm()  # so that d = -g + astray: cosine 1/30
        state = replace(state, direction=astray, beta=1.0)
        size = float(g.norm())
        for t in range(1000):
            if float(state.grad.norm()) < 1e-6 * size:
                return t
            state = method.step(f, state)
        return 1000

    assert steps(polak_ribiere) < 100 < 3 * steps(polak_ribiere) < steps(fletcher_reeves)


def test_the_literal_algorithm_stops_where_the_safeguard_goes_on() -> None:
    f = rosenbrock(4)
    uphill = lambda g, before, rho: 50.0  # noqa: E731 - far too much of the old direction
    literal = dlopt.minimize(f, f.x0, ConjugateGradient(uphill, safeguard=False), max_steps=2000)
    guarded = dlopt.minimize(f, f.x0, ConjugateGradient(uphill), max_steps=2000)
    assert literal.reason == "line_search"
    assert float(guarded.value) < float(literal.value)


@pytest.mark.parametrize("rule", [None, *RULES[1:]])
def test_solves_rosenbrock(rule) -> None:
    f = rosenbrock(2)
    path = dlopt.minimize(f, f.x0, ConjugateGradient(rule))
    assert path.converged
    torch.testing.assert_close(path.x, f.minimizers[0], rtol=1e-5, atol=1e-5)


def test_solves_the_more_garbow_hillstrom_set() -> None:
    hard = ("meyer", "watson_9", "watson_12")  # conditions beyond 1e9
    missed = []
    for instance in INSTANCES:
        if instance.name not in hard:
            count = count_to_solve(
                lambda f, x0: dlopt.minimize(f, x0, ConjugateGradient(), grad_tol=1e-10),
                instance,
                budget=3000,
            )
            missed += [] if count.solved else [instance.name]
    assert missed == []


def test_gradients_are_all_it_needs() -> None:
    x0 = torch.linspace(-1, 1, 10_000, dtype=torch.float64)
    path = dlopt.minimize(lambda x: torch.cosh(x).sum(), x0, ConjugateGradient(), record=False)
    assert path.converged
    assert path.hessian_products == 0


def rational_system(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.random.default_rng(seed).integers(-9, 10, (n, n + 1))
    L = np.array([[Fraction(int(v)) for v in row[:n]] for row in numbers])
    A = L @ L.T + np.array([[Fraction(int(i == j)) for j in range(n)] for i in range(n)])
    return A, np.array([Fraction(int(v)) for v in numbers[:, n]])


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 7), st.integers(0, 10_000))
def test_in_exact_arithmetic_n_steps_are_exactly_enough(n: int, seed: int) -> None:
    A, b = rational_system(n, seed)
    path = linear_cg(A, b, 2 * n)
    assert len(path) <= n + 1
    assert all(r == 0 for r in A @ path[-1] - b)


def test_linear_cg_takes_the_steps_of_the_method() -> None:
    basis = random_rotation(8, torch.Generator().manual_seed(8))
    solution = torch.linspace(-1, 2, 8, dtype=torch.float64)
    q = quadratic(spectrum(8, 30.0), basis=basis, minimizer=solution)
    ours = first(6, q, torch.zeros(8, dtype=torch.float64), exact(fletcher_reeves))
    theirs = linear_cg(q.A.numpy(), (q.A @ solution).numpy(), 5)
    assert len(theirs) == 6
    for a, x in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.x, x, atol=1e-9)
    assert float((ours[-1].x - solution).norm()) < float(solution.norm()) / 2


@pytest.mark.parametrize("steps", [0, -1])
def test_a_restart_after_no_step_is_refused(steps: int) -> None:
    with pytest.raises(ValueError, match=f"restart_every must be an integer >= 1, got {steps}"):
        ConjugateGradient(polak_ribiere, restart_every=steps)
    with pytest.raises(ValueError, match=f"restart_every must be an integer >= 1, got {steps}"):
        ConjugateMemory(restart_every=steps)


def test_the_first_trial_expects_the_change_of_the_step_before() -> None:
    trials: list[tuple[float, float]] = []

    def spy(phi, first_step: float):
        trials.append((first_step, phi.slope))
        return dlopt.strong_wolfe(phi, first_step, c2=0.1)

    f = Objective(rosenbrock(6))
    method = ConjugateGradient(polak_ribiere, line_search=spy)
    state = method.init(f, rosenbrock(6).x0)
    for _ in range(6):
        before, state = state, method.step(f, state)
        step = state.x - before.x
        assert state.change == pytest.approx(float(before.grad.dot(step)))
        if before.change:
            first, slope = trials[-1]
            assert first * slope == pytest.approx(before.change)
