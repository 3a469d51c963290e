r"""Designing models to aid optimization: everything that section 8.7.5 needs, from one place.

What a network is made of:

- :mod:`dlopt.activations`: ``Maxout``, ``Jagged``, and the ``mean_square`` that decides how large
  weights keep a signal's size;
- :mod:`dlopt.initialization`: ``initialize_`` by several rules, ``orthogonal`` matrices;
- :mod:`dlopt.skips`: ``Skip``, plain, scaled, or with a learned scalar that starts at 0;
- :mod:`dlopt.auxiliary_heads`: ``AuxiliaryHeads`` with their ``auxiliary_loss``;
- :mod:`dlopt.recurrent`: ``LastOutput`` over a cell, and starts that remember.

What is measured of it:

- :mod:`dlopt.jacobians`: of layers and of the network, with their ``singular_values``;
- :mod:`dlopt.layer_statistics`: activations and gradients by layer;
- :mod:`dlopt.gradient_statistics`: gradients along a line, and the angle to the solution;
- :mod:`dlopt.linear_residual`: a theorem about linear networks with skips, to be executed.

And the section's first sentence as a number: ``shares_of_variance`` says how much of a table of
results is explained by the network, and how much by the method that trains it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dlopt.activations import Jagged, Maxout, mean_square
from dlopt.auxiliary_heads import AuxiliaryHeads, auxiliary_loss
from dlopt.gradient_statistics import autocorrelation, cosine_to_solution, gradients_along_line
from dlopt.initialization import initialize_, orthogonal
from dlopt.jacobians import layer_jacobians, network_jacobian, products, singular_values
from dlopt.layer_statistics import LayerStatistics, layer_statistics
from dlopt.linear_residual import LinearResidual, PlainLinear
from dlopt.recurrent import LastOutput, set_forget_bias_, start_as_identity_
from dlopt.skips import Skip

__all__ = [
    "AuxiliaryHeads",
    "Jagged",
    "LastOutput",
    "LayerStatistics",
    "LinearResidual",
    "Maxout",
    "PlainLinear",
    "Shares",
    "Skip",
    "autocorrelation",
    "auxiliary_loss",
    "cosine_to_solution",
    "gradients_along_line",
    "initialize_",
    "layer_jacobians",
    "layer_statistics",
    "mean_square",
    "network_jacobian",
    "orthogonal",
    "products",
    "set_forget_bias_",
    "shares_of_variance",
    "singular_values",
    "start_as_identity_",
]


@dataclass(frozen=True)
class Shares:
    """What explains the differences in a table; the shares sum to 1.

    Attributes:
        rows: The rows' means.
        columns: The columns' means.
        together: What the pair of row and column adds to both.
        seeds: What is left within a cell.
    """

    rows: float
    columns: float
    together: float
    seeds: float


def shares_of_variance(table: Tensor) -> Shares:
    r"""Split the variance of a table of results between its rows and its columns.

    .. math:: \sum (y_{rcs} - \bar y)^2 = \sum (\bar y_{r} - \bar y)^2
              + \sum (\bar y_{c} - \bar y)^2
              + \sum (\bar y_{rc} - \bar y_{r} - \bar y_{c} + \bar y)^2
              + \sum (y_{rcs} - \bar y_{rc})^2

    The two-way analysis of variance of a balanced table. The shares say something of the rows and
    columns that were chosen, not of all networks and methods: another selection has others.

    Args:
        table: Results, shape (rows, columns) or (rows, columns, seeds).

    Raises:
        ValueError: It has other axes, is not finite, or all its entries are the same.

    Example:
        >>> import torch
        >>> shares_of_variance(torch.tensor([[0.1, 0.1], [0.9, 0.9]])).rows
        1.0
    """
    if table.dim() not in (2, 3):
        raise ValueError(f"table must have 2 or 3 axes, got shape {tuple(table.shape)}")
    if not bool(table.isfinite().all()):
        raise ValueError(
            "table must be finite, got NaN or infinity: give diverged runs the result of a guess"
        )
    y = table.double() if table.dim() == 3 else table.double().unsqueeze(-1)
    if bool((y == y.flatten()[0]).all()):
        raise ValueError(f"table must have different entries, got {float(y.flatten()[0])} only")
    cells = y.mean(2, keepdim=True)
    rows, columns = (cells.mean(axis, keepdim=True) - y.mean() for axis in (1, 0))
    together = cells - y.mean() - rows - columns
    parts = [float(p.expand_as(y).square().sum()) for p in (rows, columns, together, y - cells)]
    return Shares(*(part / sum(parts) for part in parts))
