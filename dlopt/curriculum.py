r"""Curriculum learning: which examples a network meets when, as a sampler or as weights.

A schedule says how likely each example is to be drawn when a share of the training is over. Drawn
by these probabilities, or drawn alike and weighted by them, examples have the same mean gradient:
the two forms of a curriculum are one continuation of the training objective,

.. math:: J^{(s)}(\theta) = \sum_{i=1}^m p_i(s)\, L(f(x^{(i)}; \theta), y^{(i)})
          = E_{i \sim p(s)}\, L_i = \frac1m \sum_{i=1}^m m\, p_i(s)\, L_i ,

which ends at the objective itself where :math:`p_i(1) = 1/m` (section 8.7.6; Bengio et al., 2009).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from dlopt.difficulty import held_out_losses
from dlopt.pacing import LinearPacing, Pacing, paced

__all__ = [
    "CurrentLevel",
    "CurriculumSampler",
    "EachLevel",
    "Growing",
    "LinearPacing",
    "Mixture",
    "NoCurriculum",
    "Pacing",
    "Schedule",
    "held_out_losses",
]


class Schedule:
    """The probability of each example when a share of the training is over.

    Args:
        difficulty: One score an example, larger for harder, shape (m,); a length, a noise level,
            a loss (see ``held_out_losses``). Examples with the same score come together.

    Raises:
        ValueError: The scores aren't 1-D, there is none, or one is NaN.
    """

    def __init__(self, difficulty: Tensor) -> None:
        if difficulty.dim() != 1 or not len(difficulty):
            raise ValueError(f"difficulty must be 1-D, got shape {tuple(difficulty.shape)}")
        scores = difficulty.double()
        if bool(scores.isnan().any()):
            raise ValueError("difficulty must hold numbers, got a NaN")
        self.difficulty = scores

    def __len__(self) -> int:
        """Return the number m of examples."""
        return len(self.difficulty)

    def probabilities(self, share: float) -> Tensor:
        """Return how likely each example is, shape (m,), float64; they add up to 1.

        Args:
            share: How much of the training is over, in [0, 1].
        """
        raise NotImplementedError

    def weights(self, share: float) -> Tensor:
        """Return what multiplies each example's loss instead, shape (m,): m times as much."""
        return len(self) * self.probabilities(share)

    def _alike(self, chosen: Tensor) -> Tensor:
        """Return the probabilities that draw alike among some examples, (m,) truth values."""
        return chosen.double() / chosen.sum()

    def _easiest(self, share: float) -> Tensor:
        """Return which examples belong to the easiest ones: so many, and who scores alike."""
        count = min(max(math.ceil(share * len(self) - 1e-9), 1), len(self))
        return self.difficulty <= self.difficulty.kthvalue(count).values


class NoCurriculum(Schedule):
    """All examples alike, always.

    Example:
        >>> NoCurriculum(torch.tensor([1.0, 2.0])).probabilities(0.0)
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """

    def probabilities(self, share: float) -> Tensor:
        """Return 1/m for each example."""
        return self._alike(torch.ones_like(self.difficulty))


class Growing(Schedule):
    """The easiest examples alike, more and more of them: a deterministic curriculum.

    Args:
        difficulty: One score an example, shape (m,). Minus the scores is the reversed curriculum,
            and random numbers are the control: the same pacing in an order without meaning.
        pacing: Which share of the examples is let in when.

    Raises:
        ValueError: The scores are bad, or the pacing leaves [0, 1].

    Example:
        >>> levels = torch.tensor([3.0, 1.0, 2.0, 1.0])
        >>> Growing(levels, LinearPacing(0.5, until=1.0)).probabilities(0.0)
        tensor([0.0000, 0.5000, 0.0000, 0.5000], dtype=torch.float64)
    """

    def __init__(self, difficulty: Tensor, pacing: Pacing) -> None:
        super().__init__(difficulty)
        self.pacing = pacing

    def probabilities(self, share: float) -> Tensor:
        """Return the same for each of the easiest ones, and 0 for the others."""
        return self._alike(self._easiest(paced(self.pacing, share)))


class CurrentLevel(Growing):
    """Only the hardest level that has been let in: a curriculum that leaves the easy ones behind.

    The "naive" strategy of Zaremba & Sutskever (2014); a level is what has the same score.

    Example:
        >>> levels = torch.tensor([1.0, 1.0, 2.0, 2.0])
        >>> CurrentLevel(levels, LinearPacing(0.5)).probabilities(1.0)
        tensor([0.0000, 0.0000, 0.5000, 0.5000], dtype=torch.float64)
    """

    def probabilities(self, share: float) -> Tensor:
        """Return the same for each example of the level, and 0 for the others."""
        let_in = self._easiest(paced(self.pacing, share))
        return self._alike(self.difficulty == self.difficulty[let_in].max())


class EachLevel(Schedule):
    """All levels alike, however many examples they have, and no growth.

    The "mix" strategy of Zaremba & Sutskever (2014).

    Example:
        >>> EachLevel(torch.tensor([1.0, 1.0, 2.0])).probabilities(0.0)
        tensor([0.2500, 0.2500, 0.5000], dtype=torch.float64)
    """

    def probabilities(self, share: float) -> Tensor:
        """Return for each example one over its level's size times the number of levels."""
        _, level, sizes = torch.unique(self.difficulty, return_inverse=True, return_counts=True)
        p: Tensor = 1 / (sizes[level] * len(sizes)).double()
        return p


class Mixture(Schedule):
    """Two schedules at once: always a random mix, of which a share that may grow is the second's.

    A stochastic curriculum, as of ``Growing`` and ``NoCurriculum`` with a growing share of the
    second; and the "combined" strategy of Zaremba & Sutskever (2014), a fifth of ``EachLevel``
    and the rest of ``CurrentLevel``.

    Args:
        first: A schedule.
        second: Another one, for the same examples.
        pacing: The share of the second, from the share of the training that is over.

    Raises:
        ValueError: They are for different numbers of examples.

    Example:
        >>> levels = torch.tensor([1.0, 2.0])
        >>> easy = Growing(levels, lambda share: 0.5)
        >>> Mixture(easy, NoCurriculum(levels), lambda share: share).probabilities(0.5)
        tensor([0.7500, 0.2500], dtype=torch.float64)
    """

    def __init__(self, first: Schedule, second: Schedule, pacing: Pacing) -> None:
        if len(first) != len(second):
            raise ValueError(
                f"schedules must be for the same examples, got {len(first)} and {len(second)}"
            )
        super().__init__(first.difficulty)
        self.first, self.second, self.pacing = first, second, pacing

    def probabilities(self, share: float) -> Tensor:
        """Return the mix of both."""
        part = paced(self.pacing, share)
        first, second = self.first.probabilities(share), self.second.probabilities(share)
        return torch.lerp(first, second, part)


class CurriculumSampler(Sampler[int]):
    """Draws examples by a schedule, for any ``DataLoader``: its ``sampler``, without ``shuffle``.

    It counts what it has drawn over all epochs, so that the curriculum goes on where a new epoch,
    a new ``DataLoader`` or a resumed training begins. A loader that fetches ahead makes it run
    ahead by as much. Examples are drawn with replacement.

    Args:
        schedule: How likely each example is when.
        draws: How many are drawn in the whole training, >= 1: epochs times examples an epoch.
            Those drawn after that are drawn as at the end.
        epoch: How many are drawn an epoch, >= 1; None for the number of examples.
        generator: Where the randomness comes from, on the CPU; None for PyTorch's own.
        refresh: After how many draws the probabilities are computed anew, >= 1.

    Attributes:
        drawn: How many have been drawn.

    Raises:
        ValueError: A number is out of its range.

    Example:
        >>> levels = torch.arange(10.0)
        >>> schedule = Growing(levels, LinearPacing(0.2, until=1.0))
        >>> sampler = CurriculumSampler(schedule, 1000, epoch=100,
        ...     generator=torch.Generator().manual_seed(0))
        >>> max(list(sampler)[:16])  # the first ones are among the easiest fifth
        1
        >>> sampler.share
        0.1
    """

    def __init__(
        self,
        schedule: Schedule,
        draws: int,
        *,
        epoch: int | None = None,
        generator: torch.Generator | None = None,
        refresh: int = 16,
    ) -> None:
        epoch = len(schedule) if epoch is None else epoch
        for name, count in (("draws", draws), ("epoch", epoch), ("refresh", refresh)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ValueError(f"{name} must be a whole number >= 1, got {count!r}")
        self.schedule, self.draws, self.generator = schedule, draws, generator
        self.drawn, self._epoch, self._refresh = 0, epoch, refresh

    @property
    def share(self) -> float:
        """The share of the training that is over, in [0, 1]."""
        return min(self.drawn / self.draws, 1.0)

    def __len__(self) -> int:
        """Return how many are drawn an epoch."""
        return self._epoch

    def __iter__(self) -> Iterator[int]:
        """Draw the positions of an epoch's examples."""
        left = self._epoch
        while left:
            count = min(left, self._refresh)
            p = self.schedule.probabilities(self.share)
            for position in _draw(p, count, self.generator):
                self.drawn += 1
                yield position
            left -= count

    def state_dict(self) -> dict[str, Any]:
        """Return how far it is; the generator's state is its owner's to save."""
        return {"drawn": self.drawn, "draws": self.draws, "examples": len(self.schedule)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where another one was.

        Raises:
            ValueError: That one was for another number of draws or examples.
        """
        own = self.state_dict()
        for name in ("draws", "examples"):
            if state[name] != own[name]:
                raise ValueError(f"{name} must be {own[name]} as here, got {state[name]}")
        self.drawn = int(state["drawn"])


def _draw(p: Tensor, count: int, generator: torch.Generator | None) -> list[int]:
    """Draw positions, with replacement."""
    # ``torch.multinomial`` takes no more than 2²⁴ examples.
    edges = p.cpu().cumsum(0)
    drawn = torch.rand(count, generator=generator, dtype=torch.float64) * edges[-1]
    last = int(p.nonzero()[-1])  # a product may round up to the last edge
    positions: list[int] = torch.searchsorted(edges, drawn, right=True).clamp(max=last).tolist()
    return positions
