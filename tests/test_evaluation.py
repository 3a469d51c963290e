"""Flat vectors, their largest entry, and what counts as rounding."""

import math

import pytest
import torch

from dlopt.evaluation import flatten, inner, inners, is_finite, largest_entry, norm, rounding, split


def test_rounding_covers_a_sum_of_many_terms_and_no_more() -> None:
    """Sums in another order differ by less; a change of a million millionth is a change."""
    eps = torch.finfo(torch.float64).eps
    g = torch.Generator().manual_seed(0)
    for _ in range(100):
        terms = torch.rand(1000, generator=g, dtype=torch.float64)
        there, back = float(terms.sum()), float(terms.flip(0).sum())
        assert abs(there - back) <= rounding(there, eps)
    assert rounding(1.0, eps) < 1e-14
    assert rounding(-3.0, eps) == rounding(3.0, eps) == 3 * rounding(1.0, eps)


@pytest.mark.parametrize(
    ("entries", "largest"), [([1.0, -3.0], 3.0), ([2.0, -1.0], 2.0), ([0.0], 0.0)]
)
def test_largest_entry(entries: list[float], largest: float) -> None:
    assert largest_entry(torch.tensor(entries)) == largest


def test_a_nan_is_the_largest_entry() -> None:
    assert math.isnan(largest_entry(torch.tensor([1.0, math.nan, 2.0])))


def test_finite_is_what_has_neither_nan_nor_infinity() -> None:
    huge = torch.finfo(torch.float32).max
    assert is_finite(torch.tensor([1.0, -2.0]))
    assert is_finite(torch.tensor([huge, huge]))  # whose sum is infinite
    for bad in ([math.inf, 1.0], [-math.inf, math.inf], [1.0, math.nan], [-math.inf, 1.0]):
        assert not is_finite(torch.tensor(bad))


@pytest.mark.parametrize("scale", [1e-30, 1e-24, 1.0, 1e24, 1e30])
def test_products_of_vectors_whose_squares_they_cannot_hold(scale: float) -> None:
    v = torch.tensor([3.0, 4.0, 0.0]) * scale
    w = torch.tensor([-2.0, 1.0, 5.0]) * scale
    assert inner(v, w) == pytest.approx(-2 * scale**2, rel=1e-6)
    assert norm(v) == pytest.approx(5 * scale, rel=1e-6)
    assert inner(v, torch.zeros(3)) == norm(torch.zeros(3)) == 0.0
    assert inners((v, w), (w, v), (v, v)) == [inner(v, w), inner(w, v), inner(v, v)]


def test_a_product_with_what_is_no_number_is_none() -> None:
    v = torch.tensor([1.0, math.inf])
    assert norm(v) == math.inf
    assert math.isnan(inner(v, torch.tensor([1.0, 0.0])))
    assert math.isnan(norm(torch.tensor([math.nan])))


def test_split_undoes_flatten() -> None:
    parts = [torch.arange(6.0).reshape(2, 3), torch.tensor([7.0]), torch.arange(4.0).reshape(4, 1)]
    flat = flatten(parts)
    assert flat.shape == (11,)
    for part, back in zip(parts, split(flat, parts), strict=True):
        assert torch.equal(part, back)
    rows = split(torch.stack([flat, 2 * flat]), parts)
    assert torch.equal(rows[0][1], 2 * parts[0])


def test_a_joined_vector_has_memory_of_its_own() -> None:
    v = torch.ones(3)
    flatten([v]).zero_()
    assert v.tolist() == [1.0, 1.0, 1.0]


def test_numbers_without_axes_and_empty_tensors_are_joined_and_split() -> None:
    parts = [torch.tensor(2.0), torch.empty(2, 0), torch.tensor([[3.0]])]
    flat = flatten(parts)
    assert flat.tolist() == [2.0, 3.0]
    for leading in ((), (5,)):
        back = split(flat.expand(*leading, 2), parts)
        assert [p.shape for p in back] == [(*leading, *p.shape) for p in parts]
