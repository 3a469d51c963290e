"""The two loops on coefficients: the loops on vectors and dense BFGS as oracles, and its waits."""

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.overrides import TorchFunctionMode

import dlopt
from benchmarks.more_garbow_hillstrom import INSTANCES, count_to_solve
from dlopt.bfgs import bfgs_update
from dlopt.compact_lbfgs import LARGEST, compact_is_faster, compact_two_loop
from dlopt.lbfgs import LBFGS, inverse_hessian_product, two_loop
from dlopt.lesson.problems import rosenbrock
from dlopt.secant import SecantPair, curvature_scale

CPU = torch.device("cpu")


def taught(n: int, m: int, seed: int) -> tuple[Tensor, list[SecantPair]]:
    """A vector, and m pairs of a quadratic whose condition number is 10."""
    g = torch.Generator().manual_seed(seed)
    h = torch.logspace(-1, 0, n, dtype=torch.float64)
    steps = torch.randn(m, n, generator=g, dtype=torch.float64)
    pairs = [(s, h * s, float(s @ (h * s))) for s in steps]
    return torch.randn(n, generator=g, dtype=torch.float64), pairs


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10), st.integers(0, 8), st.integers(0, 10_000), st.floats(0.01, 100))
def test_it_is_the_two_loops_and_dense_bfgs(n: int, m: int, seed: int, scale: float) -> None:
    g, pairs = taught(n, m, seed)
    M = scale * torch.eye(n, dtype=torch.float64)
    for s, y, _ in pairs:
        M = bfgs_update(M, s, y)
    product = compact_two_loop(g, pairs, scale)
    size = float(M.abs().max() * g.abs().max())
    torch.testing.assert_close(product, M @ g, rtol=1e-7, atol=1e-9 * size)
    torch.testing.assert_close(product, two_loop(g, pairs, scale), rtol=1e-7, atol=1e-9 * size)


def test_without_pairs_it_scales_and_changes_nothing_it_is_given() -> None:
    g, pairs = taught(4, 3, 0)
    assert torch.equal(compact_two_loop(g, (), 2.0), 2 * g)
    copies = [t.clone() for t in (g, *(t for s, y, _ in pairs for t in (s, y)))]
    compact_two_loop(g, pairs, 2.0)
    originals = [g, *(t for s, y, _ in pairs for t in (s, y))]
    assert all(torch.equal(a, b) for a, b in zip(originals, copies, strict=True))


def singular(x: Tensor) -> Tensor:
    """Powell's singular function: at its minimum the Hessian has rank 2."""
    a, b, c, d = x
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4


def test_in_single_precision_it_rounds_once() -> None:
    """Where the loops on vectors lose hundreds of roundings: their sums cancel."""
    x0 = torch.tensor([3.0, -1.0, 0.0, 1.0])
    errors = []
    for state in islice(dlopt.iterate(singular, x0, LBFGS()), 1, 40):
        g, pairs, gamma = state.grad, state.pairs, curvature_scale(state.pairs[-1])
        true = two_loop(g.double(), [(s.double(), y.double(), sy) for s, y, sy in pairs], gamma)
        products = compact_two_loop(g, pairs, gamma), two_loop(g, pairs, gamma)
        assert products[0].dtype == torch.float32
        errors.append([float((p.double() - true).norm() / true.norm()) for p in products])
    ours, theirs = (max(column) for column in zip(*errors, strict=True))
    assert ours < torch.finfo(torch.float32).eps
    assert theirs > 100 * torch.finfo(torch.float32).eps


def test_autocast_leaves_it_alone() -> None:
    g, pairs = taught(50, 4, 0)
    g, pairs = g.float(), [(s.float(), y.float(), sy) for s, y, sy in pairs]
    with torch.autocast("cpu", torch.bfloat16):
        inside = compact_two_loop(g, pairs)
    assert torch.equal(inside, compact_two_loop(g, pairs))


class Waits(TorchFunctionMode):
    """Counts the calls for which the host has to wait for the device."""

    names = ("cpu", "item", "tolist", "__float__", "__int__", "__bool__", "__array__")

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.number += getattr(func, "__name__", "") in self.names
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("m", [0, 1, 10])
def test_it_waits_once_for_the_device(m: int) -> None:
    g, pairs = taught(20, m, 0)
    with Waits() as compact:
        compact_two_loop(g, pairs)
    with Waits() as loops:
        two_loop(g, pairs)
    assert (compact.number, loops.number) == (1, 2 * m)


def test_the_form_is_chosen_by_device_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda", 1)
    assert compact_is_faster(cuda, 10) and compact_is_faster(cuda, LARGEST)
    assert not compact_is_faster(cuda, LARGEST + 1)
    # PyTorch has no double precision on "mps".
    assert not any(compact_is_faster(torch.device(d), 10) for d in ("cpu", "mps", "meta"))
    g, pairs = taught(20, 5, 0)
    assert torch.equal(inverse_hessian_product(g, pairs, 0.5), two_loop(g, pairs, 0.5))
    asked = []
    monkeypatch.setattr("dlopt.lbfgs.compact_is_faster", lambda *where: asked.append(where) or True)
    assert torch.equal(inverse_hessian_product(g, pairs, 0.5), compact_two_loop(g, pairs, 0.5))
    assert asked == [(CPU, 20)]
    D = torch.rand(20, dtype=g.dtype)  # then M g isn't made of the pairs and g alone
    assert torch.equal(inverse_hessian_product(g, pairs, 0.5, D), two_loop(g, pairs, 0.5, D))


def test_lbfgs_takes_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    f = rosenbrock(6)
    usual = list(islice(dlopt.iterate(f, f.x0, LBFGS(5)), 25))
    monkeypatch.setattr("dlopt.lbfgs.compact_is_faster", lambda *_: True)
    calls = []
    monkeypatch.setattr(
        "dlopt.lbfgs.compact_two_loop", lambda *a: calls.append(1) or compact_two_loop(*a)
    )
    compact = list(islice(dlopt.iterate(f, f.x0, LBFGS(5)), 25))
    assert len(calls) >= 24
    for a, b in zip(usual, compact, strict=True):
        torch.testing.assert_close(a.x, b.x, rtol=1e-6, atol=1e-8)


def test_lbfgs_spends_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without those whose counts hang on the last digits, whatever the form.
    problems = [p for p in INSTANCES if not p.name.startswith(("watson", "meyer", "penalty_2"))]

    def spent() -> int:
        counts = [
            count_to_solve(lambda f, x0: dlopt.minimize(f, x0, LBFGS(), grad_tol=1e-10), p)
            for p in problems
        ]
        assert all(count.solved for count in counts)
        return sum(count.evaluations for count in counts)

    usual = spent()
    monkeypatch.setattr("dlopt.lbfgs.compact_is_faster", lambda *_: True)
    assert abs(spent() - usual) <= 0.05 * usual
