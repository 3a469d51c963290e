"""BFGS: the secant equation, positive definiteness, the superlinear end, and known minima."""

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import dlopt
from benchmarks.more_garbow_hillstrom import INSTANCES, Problem, count_to_solve
from dlopt.bfgs import BFGS, bfgs_update
from dlopt.lesson.problems import quadratic, random_rotation, rosenbrock, spectrum
from dlopt.newton import newton_step
from dlopt.objective import Objective
from dlopt.secant import curvature_scale, secant_pair

exact = partial(BFGS, line_search=dlopt.exact_quadratic)


def vectors(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A positive definite M and a step with a positive curvature."""
    g = torch.Generator().manual_seed(seed)
    A, s, y = (
        torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((n, n), (n,), (n,))
    )
    y = y if s.dot(y) > 0 else -y
    return A @ A.T + 1e-2 * torch.eye(n, dtype=torch.float64), s, y


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10_000))
def test_secant_equation(n: int, seed: int) -> None:
    """After the update M y = s, and M is symmetric."""
    M, s, y = vectors(n, seed)
    new = bfgs_update(M, s, y)
    size = float(new.abs().max() * y.abs().max())
    torch.testing.assert_close(new @ y, s, rtol=1e-9, atol=1e-12 * size + 1e-12)
    size = float(new.abs().max())
    torch.testing.assert_close(new, new.T, rtol=1e-12, atol=1e-13 * size)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10_000))
def test_positive_definiteness_is_kept(n: int, seed: int) -> None:
    M, s, y = vectors(n, seed)
    if float(s.dot(y)) < 1e-2 * float(s.norm() * y.norm()):
        return  # nearly no curvature: rounding decides
    assert float(torch.linalg.eigvalsh(bfgs_update(M, s, y))[0]) > 0


def test_the_update_is_the_product_form() -> None:
    M, s, y = vectors(7, 1)
    left = torch.eye(7, dtype=torch.float64) - torch.outer(s, y) / s.dot(y)
    expected = left @ M @ left.T + torch.outer(s, s) / s.dot(y)
    torch.testing.assert_close(bfgs_update(M, s, y), expected)


def test_without_positive_curvature_the_update_loses_positive_definiteness() -> None:
    M, s, y = vectors(5, 2)
    assert float(torch.linalg.eigvalsh(bfgs_update(M, s, -y))[0]) < 0


def test_the_true_inverse_gives_newtons_step() -> None:
    """Where M is H⁻¹ the full step is (8.32), and lands on a quadratic's minimum."""
    basis = random_rotation(5, torch.Generator().manual_seed(0))
    q = quadratic(spectrum(5, 100.0), basis=basis)
    f = Objective(q)
    H = f.curvature(q.x0).hessian()
    known = replace(BFGS().init(f, q.x0), M=torch.linalg.inv(H), updates=1)
    after = BFGS().step(f, known)
    torch.testing.assert_close(after.x, q.x0 + newton_step(known.grad, H))
    torch.testing.assert_close(after.x, q.minimizers[0])


def test_the_step_follows_the_equation() -> None:
    """Each step goes along −M g, equation (8.33)."""
    f = rosenbrock()
    states = list(itertools.islice(dlopt.iterate(f, f.x0, BFGS()), 12))
    for before, after in itertools.pairwise(states):
        rho, step = -before.M @ before.grad, after.x - before.x
        cosine = rho.dot(step) / rho.norm() / step.norm()
        assert float(cosine) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("n", [2, 5, 10])
def test_on_a_quadratic_m_becomes_the_inverse_hessian_in_n_steps(n: int) -> None:
    q = quadratic(spectrum(n, 50.0), basis=random_rotation(n, torch.Generator().manual_seed(n)))
    x0 = torch.linspace(1, 2, n, dtype=torch.float64)
    *_, last = itertools.islice(dlopt.iterate(q, x0, exact()), n + 1)
    torch.testing.assert_close(last.M, torch.linalg.inv(q.A), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(last.x, q.minimizers[0], rtol=0.0, atol=1e-8)


def test_it_ends_superlinearly() -> None:
    """The ratio of successive errors goes to zero; Newton's would be squared at every step."""
    path = dlopt.minimize(
        lambda x: (torch.exp(x) - x).sum() + (x[0] - x[1]) ** 2,
        torch.tensor([1.0, -0.7, 0.4], dtype=torch.float64),
        BFGS(),
    )
    errors = [e for p in path.points if (e := float(p.norm())) > 1e-12]
    ratios = [b / a for a, b in itertools.pairwise(errors)]
    assert ratios[-1] < 0.05
    assert max(ratios[-2:]) < 0.3 * max(ratios[:3])


def test_without_safeguard_it_is_the_plain_method() -> None:
    """Iterates of a transcription of the algorithm: exact line search, M from the identity."""
    q = quadratic(spectrum(6, 20.0), basis=random_rotation(6, torch.Generator().manual_seed(0)))
    x, M = torch.ones(6, dtype=torch.float64), torch.eye(6, dtype=torch.float64)
    method = exact(scale_first=False, safeguard=False)
    for state in itertools.islice(dlopt.iterate(q, x, method), 6):
        torch.testing.assert_close(state.x, x, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(state.M, M, rtol=1e-7, atol=1e-9)
        rho = -M @ (q.A @ x)
        s = -(rho @ q.A @ x) / (rho @ q.A @ rho) * rho
        x, y = x + s, q.A @ s
        M = bfgs_update(M, s, y)


@pytest.mark.parametrize("instance", INSTANCES, ids=lambda i: i.name)
def test_solves_the_more_garbow_hillstrom_set(instance: Problem) -> None:
    if instance.name == "watson_12":
        pytest.skip("its minimum is too flat for first derivatives in double precision")
    count = count_to_solve(
        lambda f, x0: dlopt.minimize(f, x0, BFGS(), grad_tol=1e-10), instance, budget=1000
    )
    assert count.solved


def test_it_needs_no_more_evaluations_than_scipy() -> None:
    f = rosenbrock(10)

    def numpy_f(x: np.ndarray) -> tuple[float, np.ndarray]:
        at = Objective(f).evaluate(torch.from_numpy(x.copy()))
        return at.J, at.grad.numpy()

    peer = scipy.optimize.minimize(numpy_f, f.x0.numpy(), jac=True, method="BFGS")
    path = dlopt.minimize(f, f.x0, BFGS(), grad_tol=1e-5)
    assert path.converged
    assert path.evaluations <= peer.nfev
    np.testing.assert_allclose(path.x, 1, atol=1e-4)


def test_a_thousand_parameters() -> None:
    q = quadratic(spectrum(1000, 1e3))
    path = dlopt.minimize(q, q.x0, BFGS(), grad_tol=1e-5, record=False)
    assert path.converged
    assert path.evaluations < 400


def test_the_last_state_keeps_what_was_learned() -> None:
    q = quadratic(spectrum(4, 10.0), basis=random_rotation(4, torch.Generator().manual_seed(0)))
    *_, last = itertools.islice(dlopt.iterate(q, q.x0, exact(scale_first=False)), 100)
    assert last.reason
    torch.testing.assert_close(last.M, torch.linalg.inv(q.A), rtol=1e-6, atol=1e-8)


def test_the_first_update_starts_from_the_scaled_identity() -> None:
    """Multiplied by sᵀy / yᵀy before the first update, and by nothing after it."""
    f = rosenbrock(5)
    for scaled in (True, False):
        states = list(itertools.islice(dlopt.iterate(f, f.x0, BFGS(scale_first=scaled)), 4))
        M = states[0].M
        assert torch.equal(M, torch.eye(5, dtype=torch.float64))
        for t, (before, after) in enumerate(itertools.pairwise(states)):
            pair = secant_pair(before, after)
            if t == 0 and scaled:
                M = curvature_scale(pair) * M
            M = bfgs_update(M, *pair[:2])
            torch.testing.assert_close(after.M, M)
            assert after.updates == t + 1


def test_a_full_step_is_tried_first_once_there_is_an_update() -> None:
    first: list[float] = []

    def spy(phi, first_step: float):
        first.append(first_step)
        return dlopt.weak_wolfe(phi, first_step)

    f = rosenbrock(5)
    dlopt.minimize(f, f.x0, BFGS(line_search=spy), max_steps=4)
    assert first[0] != 1
    assert first[1:] == [1.0, 1.0, 1.0]
