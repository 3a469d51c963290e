"""An objective over a block: its value, its derivatives, and whose evaluations they are."""

import pytest
import torch

from dlopt.objective import Objective
from dlopt.restriction import Restriction

x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
block = torch.tensor([2, 0])
z = torch.tensor([5.0, -1.0], dtype=torch.float64)


def part() -> tuple[Objective, Restriction]:
    whole = Objective(lambda v: (v**3).sum() + v[0] * v[2] * v[1])
    return whole, Restriction(whole, x, block)


def test_value_and_gradient_are_those_of_the_entries() -> None:
    whole, phi = part()
    at = phi.evaluate(z)
    assert float(at.value) == -1 + 8 + 125 - 10
    assert at.grad.tolist() == pytest.approx([75 - 2, 3 + 10])
    assert whole.evaluations == 1
    assert phi.best is not None
    assert phi.best.x.tolist() == [-1, 2, 5]


def test_the_hessian_is_the_block_of_the_whole_one() -> None:
    whole, phi = part()
    assert phi.curvature(z).hessian().tolist() == [[30, 2], [2, -6]]
    assert whole.hessian_products == 2


def test_the_lowest_point_seen_is_kept() -> None:
    _, phi = part()
    for value in (2.0, 0.5, 1.0):
        phi.evaluate(torch.tensor([value, 1.0], dtype=torch.float64))
    assert phi.best is not None
    assert phi.best.x.tolist() == [1, 2, 0.5]


def test_residuals_are_refused() -> None:
    with pytest.raises(ValueError, match="a block is minimised by a method that takes J"):
        part()[1].residuals(z)
