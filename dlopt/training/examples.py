"""The examples that replicas learn from: one data set for all, or one for each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dlopt.training.task import Data


class Examples:
    """The data sets of R replicas, of which several may share one.

    Args:
        sets: Inputs and targets for each replica, all of one shape. What occurs twice is held once.

    Attributes:
        m: The number of examples in each set.

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> data = torch.eye(3), torch.arange(3)
        >>> x, y = Examples([data] * 2).at(torch.tensor([[0, 1], [2, 0]]))
        >>> y
        tensor([[0, 1],
                [2, 0]])
    """

    def __init__(self, sets: Sequence[Data]) -> None:
        distinct = list({id(data): data for data in sets}.values())
        shapes = [(tuple(x.shape), tuple(y.shape)) for x, y in distinct]
        if len(set(shapes)) != 1:
            raise ValueError(f"data sets must be of one shape, got inputs and targets of {shapes}")
        columns = zip(*distinct, strict=True)
        self._tensors = [c[0][None] if len(distinct) == 1 else torch.stack(c) for c in columns]
        ids = [id(data) for data in distinct]
        which = [ids.index(id(data)) for data in sets]
        self._which = torch.tensor(which, device=self._tensors[0].device)
        self.m = self._tensors[0].shape[1]

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets at positions (R, batch), each (R, batch, ...)."""
        rows = (positions + self.m * self._which.unsqueeze(1)).reshape(-1)
        # Five times as fast as ``tensor[positions]`` where a row is more than a number.
        x, y = (
            t.flatten(0, 1).index_select(0, rows).reshape(*positions.shape, *t.shape[2:])
            for t in self._tensors
        )
        return x, y

    def whole(self, replicas: slice) -> tuple[Tensor, Tensor]:
        """Return all inputs and targets of some of the replicas, each (replicas, m, ...)."""
        which = self._which[replicas]
        x, y = (
            t.expand(len(which), *t.shape[1:]) if len(t) == 1 else t[which] for t in self._tensors
        )
        return x, y
