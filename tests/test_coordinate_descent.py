"""Coordinate descent: exact blocks, the rate of the coupled valley, honest ends."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import dlopt
from dlopt.coordinate_descent import coordinate_descent
from dlopt.objective import Objective

float64 = {"dtype": torch.float64}
BLOCKS = [[0, 3], [1, 2, 4]]


def vector(*entries: float) -> Tensor:
    return torch.tensor(entries, **float64)


def valley(alpha: float, scale: float = 1.0, offset: float = 0.0):
    """The coupled valley of CD4."""
    return lambda x: scale * ((x[0] - x[1]) ** 2 + alpha * x.square().sum()) + offset


def quadratic(seed: int, n: int = 5) -> tuple[Tensor, Tensor]:
    """A positive definite H and a b of ½xᵀHx − bᵀx."""
    g = torch.Generator().manual_seed(seed)
    A = torch.randn(n, n, generator=g, **float64)
    return A @ A.T + 0.1 * torch.eye(n, **float64), torch.randn(n, generator=g, **float64)


# Theorems


@pytest.mark.parametrize("alpha", [1.0, 0.1, 0.01])
def test_each_sweep_of_the_coupled_valley_contracts_as_derived(alpha: float) -> None:
    path = coordinate_descent(valley(alpha), torch.ones(2, **float64), max_sweeps=12)
    ends = path.points[2::2, 1]
    rates = ends[1:] / ends[:-1]
    assert (rates * (1 + alpha) ** 2 - 1).abs().max() <= 1e-12


@pytest.mark.parametrize("method", [None, dlopt.BFGS(), dlopt.LBFGS()], ids=["newton", "b", "l"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_block_is_minimised_as_linear_algebra_does_it(
    method: dlopt.Method | None, seed: int
) -> None:
    H, b = quadratic(seed)
    x0 = torch.ones(5, **float64)
    path = coordinate_descent(
        lambda x: 0.5 * x @ H @ x - b @ x, x0, BLOCKS, method=method, max_sweeps=3
    )
    x = x0.clone()
    for found, block in zip(path.states[1:], itertools.cycle(BLOCKS), strict=False):
        x[block] = torch.linalg.solve(
            H[block][:, block], (b - H @ x + H[:, block] @ x[block])[block]
        )
        torch.testing.assert_close(found.x, x, rtol=1e-7, atol=1e-7)


def test_a_quadratic_takes_one_evaluation_a_coordinate_from_the_second_sweep_on() -> None:
    H, b = quadratic(2)
    path = coordinate_descent(
        lambda x: 0.5 * x @ H @ x - b @ x, torch.ones(5, **float64), max_sweeps=20
    )
    spent = np.diff(path.counts)
    assert spent[:5].max() <= 3
    assert np.median(spent[5:]) == 1
    assert spent[5:].mean() < 1.2


def test_one_block_of_everything_is_newton_and_lands_in_one_step() -> None:
    H, b = quadratic(3)
    path = coordinate_descent(
        lambda x: 0.5 * x @ H @ x - b @ x, torch.zeros(5, **float64), [range(5)]
    )
    assert (path.reason, len(path.states)) == ("gradient", 2)
    torch.testing.assert_close(path.x, torch.linalg.solve(H, b))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_values_never_rise_and_one_coordinate_moves_at_a_time(seed: int) -> None:
    H, b = quadratic(seed, 3)
    x0 = torch.ones(3, **float64)
    path = coordinate_descent(lambda x: 0.5 * x @ H @ x - b @ x + x.cosh().sum(), x0, max_sweeps=4)
    assert torch.equal(path.states[0].x, torch.ones(3, **float64))
    assert torch.equal(x0, path.states[0].x)
    for k, (before, after) in enumerate(itertools.pairwise(path.states)):
        moved = torch.nonzero(before.x != after.x).flatten().tolist()
        assert moved in ([], [k % 3])
        assert float(after.grad[k % 3].abs()) <= 1e-6 * float(path.states[0].grad.norm())
    assert all(b <= a + 1e-12 * abs(a) for a, b in itertools.pairwise(path.values))


def test_it_goes_through_blocks_by_iterate_and_minimize_alike() -> None:
    method = dlopt.CoordinateDescent([(1,), (0,)])
    states = itertools.islice(dlopt.iterate(valley(0.5), vector(1, 2), method), 4)
    path = dlopt.minimize(valley(0.5), vector(1, 2), method, max_steps=3)
    assert [s.x.tolist() for s in states] == path.points.tolist()
    assert path.points[1, 0] == 1  # the first block is x₂


# A closed form


def test_a_closed_form_takes_one_evaluation_a_block() -> None:
    H, b = quadratic(4)

    def solve(x: Tensor, block: Tensor) -> Tensor:
        rest = b - H @ x + H[:, block] @ x[block]
        return torch.linalg.solve(H[block][:, block], rest[block])

    def f(x: Tensor) -> Tensor:
        return 0.5 * x @ H @ x - b @ x

    path = coordinate_descent(f, torch.ones(5, **float64), BLOCKS, solve=solve)
    assert path.reason == "gradient"
    assert path.evaluations == len(path.states)
    torch.testing.assert_close(path.x, torch.linalg.solve(H, b), rtol=1e-7, atol=1e-8)
    searched = coordinate_descent(f, torch.ones(5, **float64), BLOCKS)
    torch.testing.assert_close(path.points[:6], searched.points[:6], rtol=1e-7, atol=1e-7)


def test_a_closed_form_that_does_not_minimise_is_refused() -> None:
    with pytest.raises(ValueError, match=r"over block \[0\], got values that raise f from 0.5 to"):
        coordinate_descent(valley(1.0), vector(0.5, 0), solve=lambda x, block: x[block] + 9)
    with pytest.raises(ValueError, match=r"shape \(1,\), got \(2,\)"):
        coordinate_descent(valley(1.0), vector(1, 1), solve=lambda x, block: x)
    with pytest.raises(ValueError, match="shape \\(1,\\), got float"):
        coordinate_descent(valley(1.0), vector(1, 1), solve=lambda x, block: 0.0)
    whole = coordinate_descent(valley(1.0), vector(0, 0.5), solve=lambda x, b: (x[b] * 0).long())
    assert whole.x.tolist() == [0.0, 0.0]
    path = coordinate_descent(valley(1.0), vector(1, 1), solve=lambda x, b: x[b] * math.nan)
    assert (path.reason, path.x.tolist()) == ("non_finite", [1.0, 1.0])


# Runs


def test_budget_callback_and_record() -> None:
    f, x0 = valley(0.01), vector(1, 1)
    path = coordinate_descent(f, x0, max_sweeps=3)
    assert (path.reason, len(path.states)) == ("max_steps", 7)
    assert coordinate_descent(f, x0, max_sweeps=0).points.tolist() == [[1.0, 1.0]]
    assert len(coordinate_descent(f, x0, [[0], [1], [0]], max_sweeps=2).states) == 7
    seen: list[float] = []
    path = coordinate_descent(
        f, x0, callback=lambda s: seen.append(float(s.value)) or len(seen) > 4
    )
    assert (path.reason, len(seen)) == ("callback", 5)
    bare = coordinate_descent(f, x0, max_sweeps=3, record=False)
    assert bare.points.tolist() == coordinate_descent(f, x0, max_sweeps=3).points[[0, -1]].tolist()
    rough = coordinate_descent(f, x0, grad_tol=0.01)
    assert 1e-3 < float(rough.grad.abs().max()) <= 0.01


def test_float32_stays_and_arrives() -> None:
    path = coordinate_descent(valley(0.5), torch.ones(2))
    assert (path.reason, path.x.dtype) == ("gradient", torch.float32)
    block = coordinate_descent(lambda x: x.cosh().sum() + x[0] * x[2], torch.ones(3), [[0, 2], [1]])
    assert block.reason == "gradient"


# Scale and offset


@pytest.mark.parametrize("scale", [1e-200, 1e-100, 1e-8, 1e8, 1e100, 1e200])
def test_minimising_c_times_f_instead_of_f_changes_nothing(scale: float) -> None:
    here = coordinate_descent(valley(0.5), vector(1.2, 1))
    there = coordinate_descent(valley(0.5, scale), vector(1.2, 1))
    assert (there.reason, there.evaluations) == (here.reason, here.evaluations)
    torch.testing.assert_close(there.points, here.points, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("offset", [1e6, -1e6, 1e12])
def test_an_offset_hides_no_minimum_from_the_slopes(offset: float) -> None:
    path = coordinate_descent(valley(0.5, offset=offset), vector(1.2, 1))
    assert path.reason == "gradient"
    assert path.x.abs().max() < 1e-9


def test_coordinates_of_any_size_are_found() -> None:
    sizes = vector(1e-4, 1.0, 1e4)
    path = coordinate_descent(lambda x: (x / sizes - 1).square().sum(), torch.zeros(3, **float64))
    torch.testing.assert_close(path.x, sizes, rtol=1e-6, atol=0.0)


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": [[0]]}, r"every entry 0 to 1 of x0, got blocks: none has 1"),
        ({"blocks": [[0, 1, 2]]}, r"got blocks: one has 2"),
        ({"blocks": [[0, 0], [1]]}, r"hold an entry once, got \[0, 0\]"),
        ({"blocks": [[], [0, 1]]}, r"at least one whole number >= 0, got \[\]"),
        ({"blocks": [[-1], [0, 1]]}, r"whole number >= 0, got \[-1\]"),
        ({"blocks": [[0.5], [0, 1]]}, r"whole number >= 0, got \[0.5\]"),
        ({"blocks": [0, 1]}, "a block must hold whole numbers, got 0"),
        ({"blocks": 7}, "a sequence of blocks, got 7"),
        ({"max_sweeps": -1}, "max_sweeps must be an integer >= 0, got -1"),
        ({"max_sweeps": 2.5}, "max_sweeps must be an integer >= 0, got 2.5"),
        ({"grad_tol": 0.0}, "grad_tol must be > 0, got 0.0"),
    ],
)
def test_bad_settings_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coordinate_descent(valley(1.0), vector(1, 1), **options)


def test_bad_starts_are_named() -> None:
    with pytest.raises(ValueError, match="finite, got an entry nan"):
        coordinate_descent(valley(1.0), vector(1, math.nan))
    with pytest.raises(ValueError, match=r"f\(x0\) must be finite, got inf"):
        coordinate_descent(lambda x: x.sum() + math.inf, vector(1, 1))
    with pytest.raises(ValueError, match="got list"):
        coordinate_descent(valley(1.0), [1.0, 1.0])


def test_blocks_may_be_ranges_arrays_and_generators_and_overlap() -> None:
    f, x0 = valley(0.5), vector(1, 1)
    expected = coordinate_descent(f, x0, [[0], [1]]).points
    for blocks in (
        (range(1), range(1, 2)),
        [np.array([0]), np.array([1])],
        [torch.tensor([0]), torch.tensor([1])],
        ((i for i in (k,)) for k in (0, 1)),
    ):
        assert torch.equal(coordinate_descent(f, x0, blocks).points, expected)
    assert coordinate_descent(f, x0, [[0], [0, 1]]).reason == "gradient"


# Imports

WITHOUT_SKLEARN = """
import sys
sys.modules["sklearn"] = None
import dlopt, dlopt.coordinate_descent as module
dlopt.CoordinateDescent()
try:
    module.SparseCoding
except ModuleNotFoundError as error:
    print(error.name.split(".")[0])
"""


def test_scikit_learn_is_needed_for_sparse_coding_alone() -> None:
    command = [sys.executable, "-c", WITHOUT_SKLEARN]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("sklearn\n", "")


def test_sparse_coding_is_found_here_too() -> None:
    import dlopt.coordinate_descent as module
    from dlopt.sparse_coding import SparseCoding

    assert module.SparseCoding is SparseCoding
    with pytest.raises(AttributeError, match="no attribute 'sparse'"):
        _ = module.sparse


def test_every_evaluation_is_counted() -> None:
    f = Objective(valley(0.5))
    for _ in itertools.islice(dlopt.iterate(f, vector(1, 1), dlopt.CoordinateDescent()), 5):
        pass
    path = coordinate_descent(valley(0.5), vector(1, 1), max_sweeps=2)
    assert f.evaluations == path.evaluations
