"""Conjugate gradients with a memory: what is kept, when it is renewed, its twin with β."""

import itertools

import pytest
import torch

import dlopt
from dlopt.conjugate_memory import ConjugateMemory
from dlopt.lbfgs import two_loop
from dlopt.lesson.problems import quadratic, random_rotation, rosenbrock, spectrum
from dlopt.secant import curvature_scale, secant_pair


def visited(method: dlopt.Method, steps: int, n: int = 10) -> list:
    f = rosenbrock(n)
    return list(itertools.islice(dlopt.iterate(f, f.x0, method), steps + 1))


def test_it_is_the_default_of_conjugate_gradient() -> None:
    for ours, default in zip(
        visited(ConjugateMemory(), 30), visited(dlopt.ConjugateGradient(), 30), strict=True
    ):
        assert torch.equal(ours.x, default.x)


def test_it_keeps_the_first_two_pairs_and_the_latest() -> None:
    states = visited(ConjugateMemory(), 6)
    taught = [secant_pair(a, b) for a, b in itertools.pairwise(states)]
    for t, state in enumerate(states):
        expected = taught[:t] if t < 3 else [*taught[:2], taught[t - 1]]
        assert len(state.pairs) == len(expected)
        for (s, y, _), (s_, y_, _) in zip(state.pairs, expected, strict=True):
            assert torch.equal(s, s_)
            assert torch.equal(y, y_)


def test_the_direction_comes_from_the_pairs_scaled_by_the_latest() -> None:
    for before, after in itertools.pairwise(visited(ConjugateMemory(), 8)[1:]):
        rho = -two_loop(before.grad, before.pairs, curvature_scale(before.pairs[-1]))
        step = after.x - before.x
        assert float(rho.dot(step) / rho.norm() / step.norm()) == pytest.approx(1, abs=1e-9)


def test_restart_every_forgets_all() -> None:
    states = visited(dlopt.ConjugateGradient(restart_every=4), 12)
    assert [t for t, state in enumerate(states) if not state.pairs] == [0, 4, 8, 12]
    assert [state.since_restart for state in states[:6]] == [0, 1, 2, 3, 0, 1]
    steepest = states[5].x - states[4].x
    cosine = -steepest.dot(states[4].grad) / steepest.norm() / states[4].grad.norm()
    assert float(cosine) == pytest.approx(1)


def test_after_3n_steps_it_starts_anew_from_the_latest_pair() -> None:
    states = visited(ConjugateMemory(), 14, n=4)
    ends = [t for t in range(1, 14) if states[t].since_restart == 0]
    assert ends == [12]
    (only,) = states[12].pairs
    assert torch.equal(only[0], states[12].x - states[11].x)


def test_with_exact_searches_on_a_quadratic_it_visits_the_points_of_fletcher_and_reeves() -> None:
    q = quadratic(spectrum(12, 30.0), basis=random_rotation(12, torch.Generator().manual_seed(1)))
    exact = dlopt.exact_quadratic
    ours = dlopt.iterate(q, q.x0, ConjugateMemory(line_search=exact))
    theirs = dlopt.iterate(
        q, q.x0, dlopt.ConjugateGradient(dlopt.fletcher_reeves, line_search=exact)
    )
    for a, b in itertools.islice(zip(ours, theirs, strict=False), 9):
        torch.testing.assert_close(a.x, b.x, rtol=0.0, atol=1e-10)
