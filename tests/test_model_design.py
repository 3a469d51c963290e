"""The section's names are gathered in one place, and its table is split as statistics do it."""

import dataclasses
import importlib
import math

import pytest
import torch

from dlopt import model_design
from dlopt.model_design import shares_of_variance


def shares(table):
    return dataclasses.astuple(shares_of_variance(table))


PARTS = (
    "activations", "initialization", "skips", "auxiliary_heads", "recurrent", "jacobians",
    "layer_statistics", "gradient_statistics", "linear_residual",
)  # fmt: skip
NOT_TAUGHT = {"is_activation", "require_separate"}


@pytest.mark.parametrize("name", PARTS)
def test_all_that_the_section_teaches_is_found_here(name):
    module = importlib.import_module(f"dlopt.{name}")
    own = {
        key
        for key, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and not key.startswith("_")
    }
    assert own - NOT_TAUGHT <= set(model_design.__all__) and own
    assert f"dlopt.{name}" in model_design.__doc__


def test_names_are_those_of_their_modules():
    for name in model_design.__all__:
        value = getattr(model_design, name)
        assert getattr(importlib.import_module(value.__module__), name) is value


def test_rows_alone_columns_alone_and_neither():
    rows = torch.tensor([[1.0], [2.0], [4.0]]).expand(3, 5)
    assert shares(rows) == pytest.approx((1, 0, 0, 0))
    assert shares(rows.T) == pytest.approx((0, 1, 0, 0))
    assert shares(torch.tensor([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx((0, 0, 1, 0))
    noise = torch.tensor([1.0, -1.0]).expand(3, 4, 2)
    assert shares(noise) == pytest.approx((0, 0, 0, 1))


def test_the_shares_are_those_of_an_analysis_of_variance():
    """By projections of the table onto what rows, columns and cells can explain."""
    y = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = y + torch.arange(4.0).view(4, 1, 1) - torch.arange(3.0).view(1, 3, 1) ** 2
    r, c, _ = torch.meshgrid(*map(torch.arange, y.shape), indexing="ij")
    r, c = (torch.nn.functional.one_hot(i.reshape(-1)).double() for i in (r, c))
    cells = (r.unsqueeze(2) * c.unsqueeze(1)).flatten(1)
    flat = (y - y.mean()).reshape(-1, 1)

    def explained(*designs):
        design = torch.cat([torch.ones_like(flat), *designs], dim=1)
        return float((design @ torch.linalg.pinv(design) @ flat).square().sum())

    whole = float(flat.square().sum())
    rows, columns, all_cells = explained(r), explained(c), explained(cells)
    expected = (rows, columns, all_cells - explained(r, c), whole - all_cells)
    found = shares(y)
    assert found == pytest.approx([e / whole for e in expected], rel=1e-9)
    assert sum(found) == pytest.approx(1, rel=1e-12)
    torch.testing.assert_close(
        torch.tensor(shares(10 - 3 * y)), torch.tensor(found)
    )  # whatever the units


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (torch.zeros(4), r"2 or 3 axes, got shape \(4,\)"),
        (torch.tensor([[1.0, math.nan]]), "must be finite"),
        (torch.full((2, 2), 3.0), "different entries, got 3.0 only"),
    ],
)
def test_wrong_tables_are_named(table, message):
    with pytest.raises(ValueError, match=message):
        shares_of_variance(table)
