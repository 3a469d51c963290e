"""Which examples stand in which minibatch: a seed decides, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


class Minibatches:
    """The order of m examples for each of R seeds, drawn anew in every epoch.

    Args:
        m: The number of examples.
        size: Examples a minibatch (the last one of an epoch may have fewer); None for all.
        seeds: R seeds. Equal ones see equal minibatches.
        device: Where the positions are needed.

    Example:
        >>> minibatches = Minibatches(5, 2, seeds=[0, 1, 0])
        >>> [batch.shape for batch in minibatches.epoch()]
        [torch.Size([3, 2]), torch.Size([3, 2]), torch.Size([3, 1])]
    """

    def __init__(
        self,
        m: int,
        size: int | None,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        self.m = m
        self._size, self._device = m if size is None else size, device
        self._streams = {seed: _stream(seed) for seed in seeds}
        self._row = torch.tensor([list(self._streams).index(seed) for seed in seeds])

    def epoch(self) -> Iterator[Tensor]:
        """Yield the positions of one epoch's examples, (R, batch) at a time."""
        drawn = torch.stack([torch.randperm(self.m, generator=g) for g in self._streams.values()])
        yield from torch.split(drawn[self._row].to(self._device), self._size, dim=1)


def _stream(seed: int) -> torch.Generator:
    """Return the stream that shuffles the examples: another one than that of the start."""
    first = torch.Generator().manual_seed(seed)
    return torch.Generator().manual_seed(int(torch.randint(2**31, (), generator=first)))
