"""L-BFGS: dense BFGS as its oracle, conjugate gradients as its twin, and known minima."""

import itertools
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import dlopt
from benchmarks.more_garbow_hillstrom import INSTANCES, Problem, count_to_solve
from dlopt.bfgs import bfgs_update
from dlopt.lbfgs import LBFGS, inverse_hessian_product, two_loop
from dlopt.lesson.problems import quadratic, random_rotation, rosenbrock, spectrum
from dlopt.secant import SecantPair, curvature_scale, secant_pair


def random_pairs(n: int, m: int, seed: int) -> tuple[Tensor, list[SecantPair]]:
    g = torch.Generator().manual_seed(seed)
    A = torch.randn(n, n, generator=g, dtype=torch.float64)
    H = A @ A.T / n + 0.1 * torch.eye(n, dtype=torch.float64)
    steps = torch.randn(m, n, generator=g, dtype=torch.float64)
    pairs = [(s, H @ s, float(s @ H @ s)) for s in steps]
    return torch.randn(n, generator=g, dtype=torch.float64), pairs


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10), st.integers(0, 8), st.integers(0, 10_000), st.floats(0.01, 100))
def test_two_loop_is_dense_bfgs(n: int, m: int, seed: int, scale: float) -> None:
    """The recursion gives M g for the matrix that the same updates make of γI, or of γD."""
    g, pairs = random_pairs(n, m, seed)
    for D in (None, 2.0 ** torch.arange(n, dtype=torch.float64)):
        M = scale * torch.diag(torch.ones_like(g) if D is None else D)
        for s, y, _ in pairs:
            M = bfgs_update(M, s, y)
        product = inverse_hessian_product(g, pairs, scale, D)
        size = float(M.abs().max() * g.abs().max())
        torch.testing.assert_close(product, M @ g, rtol=1e-7, atol=1e-9 * size)


def test_two_loop_changes_nothing_it_is_given() -> None:
    g, pairs = random_pairs(4, 3, 0)
    copies = [g.clone(), *(t.clone() for s, y, _ in pairs for t in (s, y))]
    two_loop(g, pairs, 2.0)
    originals = [g, *(t for s, y, _ in pairs for t in (s, y))]
    assert all(torch.equal(a, b) for a, b in zip(originals, copies, strict=True))


def stretched(n: int, condition: float) -> dlopt.lesson.problems.Quadratic:
    basis = random_rotation(n, torch.Generator().manual_seed(n))
    return quadratic(spectrum(n, condition), basis=basis)


@pytest.mark.parametrize("m", [1, 2, 5, 30])
@pytest.mark.parametrize("scale", [False, True])
def test_on_a_quadratic_the_iterates_are_those_of_conjugate_gradients(m: int, scale: bool) -> None:
    q, exact = stretched(30, 50.0), dlopt.exact_quadratic
    twin = dlopt.ConjugateGradient(dlopt.fletcher_reeves, line_search=exact)
    ours = dlopt.iterate(q, q.x0, LBFGS(m, exact, scale=scale))
    theirs = dlopt.iterate(q, q.x0, twin)
    for a, b in itertools.islice(zip(ours, theirs, strict=False), 13):
        torch.testing.assert_close(a.x, b.x, rtol=0.0, atol=1e-11 * float(q.x0.norm()))


@pytest.mark.parametrize("m", [1, 3])
def test_its_directions_are_conjugate_under_exact_search(m: int) -> None:
    q = stretched(20, 30.0)
    method = LBFGS(m, dlopt.exact_quadratic)
    points = torch.stack([s.x for s in itertools.islice(dlopt.iterate(q, q.x0, method), 11)])
    steps = points.diff(dim=0)
    products = steps @ q.A @ steps.T
    lengths = products.diagonal().sqrt()
    cosines = products / torch.outer(lengths, lengths) - torch.eye(10, dtype=torch.float64)
    assert float(cosines.abs().max()) < 1e-10


def test_one_pair_is_polak_ribiere_off_a_quadratic() -> None:
    """Memoryless BFGS from M = I under an accurate search (Nocedal & Wright, section 7.2)."""
    search = partial(dlopt.strong_wolfe, c1=1e-12, c2=1e-11, max_evaluations=100)
    f, x0 = rosenbrock(4), torch.tensor([-1.2, 1.0, -0.5, 0.8], dtype=torch.float64)
    memoryless = LBFGS(1, search, scale=False, safeguard=False)

    def after(method: dlopt.Method, steps: int) -> Tensor:
        return next(itertools.islice(dlopt.iterate(f, x0, method), steps, None)).x

    def cg(rule) -> dlopt.ConjugateGradient:
        return dlopt.ConjugateGradient(rule, line_search=search)

    reached = after(memoryless, 3)
    torch.testing.assert_close(reached, after(cg(dlopt.polak_ribiere), 3), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(reached, after(cg(dlopt.hestenes_stiefel), 3), rtol=1e-5, atol=1e-6)
    assert float((reached - after(cg(dlopt.fletcher_reeves), 3)).norm()) > 1e-3


def test_with_the_whole_history_it_is_bfgs() -> None:
    f, search = rosenbrock(6), dlopt.strong_wolfe
    dense = dlopt.iterate(f, f.x0, dlopt.BFGS(search, scale_first=False))
    limited = dlopt.iterate(f, f.x0, LBFGS(100, search, scale=False))
    for a, b in itertools.islice(zip(dense, limited, strict=False), 20):
        torch.testing.assert_close(a.x, b.x, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("m", [1, 4])
def test_memory_is_two_vectors_a_pair(m: int) -> None:
    q = stretched(50, 1e3)
    for state in itertools.islice(dlopt.iterate(q, q.x0, LBFGS(m)), 12):
        assert len(state.pairs) <= m
    assert sum(t.numel() for s, y, _ in state.pairs for t in (s, y)) == 2 * m * 50


@pytest.mark.parametrize("instance", INSTANCES, ids=lambda i: i.name)
def test_solves_the_more_garbow_hillstrom_set(instance: Problem) -> None:
    if instance.name == "watson_12":
        pytest.skip("its minimum is too flat for first derivatives in double precision")
    count = count_to_solve(
        lambda f, x0: dlopt.minimize(f, x0, LBFGS(), grad_tol=1e-10), instance, budget=2000
    )
    assert count.solved


def test_a_hundred_thousand_parameters() -> None:
    q = quadratic(torch.logspace(-3, 0, 100_000, dtype=torch.float64))
    path = dlopt.minimize(q, q.x0, LBFGS(), max_steps=60, record=False)
    assert float(path.value) < 1e-2 * path.values[0]
    assert path.evaluations <= 1.3 * len(path.counts)


@pytest.mark.parametrize("size", [0, -3])
def test_a_history_that_holds_nothing_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"history_size must be an integer >= 1, got {size}"):
        LBFGS(size)


def test_the_direction_comes_from_the_last_pairs_scaled_by_the_newest() -> None:
    f = rosenbrock(6)
    states = list(itertools.islice(dlopt.iterate(f, f.x0, LBFGS(3)), 9))
    taught = [secant_pair(a, b) for a, b in itertools.pairwise(states)]
    for t, (before, after) in enumerate(itertools.pairwise(states)):
        kept = taught[max(0, t - 3) : t]
        assert len(before.pairs) == len(kept)
        assert all(torch.equal(a[0], b[0]) for a, b in zip(before.pairs, kept, strict=True))
        rho = -two_loop(before.grad, kept, curvature_scale(kept[-1]) if kept else 1.0)
        step = after.x - before.x
        assert float(rho.dot(step) / rho.norm() / step.norm()) == pytest.approx(1, abs=1e-9)
