"""Coordinate descent: minimise along one coordinate, or one block of them, then the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from numbers import Integral
from typing import Any, ClassVar

import torch
from torch import Tensor

from dlopt.descent import LineFunction
from dlopt.evaluation import Evaluation, check_whole, largest_entry, rounding
from dlopt.exact_search import exact_search
from dlopt.kinks import look_around
from dlopt.method import Method, State, check_start, iterate
from dlopt.minimization import Path, minimize
from dlopt.newton import Newton
from dlopt.objective import Objective
from dlopt.restriction import Restriction

Solve = Callable[[Tensor, Tensor], Tensor]

# A block is minimised when a step gains no more than rounding; this many steps are for the rest.
_INNER_STEPS = 100
# A block that goes further, in units of the point, has no lower bound.
_LONGEST = 1e30
# A cycle returns to where it began; this many sweeps back are remembered.
_REMEMBERED = 8
_RETURNED = 1e-7
# Where values differ by rounding, a minimum is told by a slope that falls below this share.
_FLATTER = 1e-3


@dataclass(frozen=True, eq=False, kw_only=True)
class CoordinateState(State):
    """A state with what decides whose turn it is and whether the run is over.

    Attributes:
        turn: The block that is minimised next.
        idle: How many blocks in a row did not move.
        trail: Where the last sweeps began, and how far the path has gone since.
        strides: For each entry its last step as a multiple of the slope, shape (n,): the first
            guess of the next one, which on a quadratic is the minimum. 0 before the first.
    """

    strides: Tensor

    turn: int = 0
    idle: int = 0
    trail: tuple[tuple[Tensor, float], ...] = ()

    @property
    def here(self) -> Evaluation:
        """The objective at the point."""
        return Evaluation(self.x, self.value, self.grad, float(self.value), True)

    def after(self, at: Evaluation, block: Tensor, blocks: int) -> CoordinateState:
        """Return the state after one of so many blocks; ended where the path is a closed one."""
        at = self.here if self._creeps(at, block) else at
        moved = largest_entry(at.x - self.x)
        still = moved <= 4 * torch.finfo(self.x.dtype).eps * largest_entry(self.x)
        slopes = self.grad[block].abs()
        stride = (at.x - self.x)[block].abs() / torch.where(slopes > 0, slopes, 1.0)
        after = self.moved(
            at,
            turn=(self.turn + 1) % blocks,
            idle=self.idle + 1 if still else 0,
            trail=tuple((start, length + moved) for start, length in self.trail),
            strides=self.strides.index_copy(0, block, stride),
        )
        return after if after.turn else after.sweep_ended()

    def _creeps(self, at: Evaluation, block: Tensor) -> bool:
        """Return whether a block moves by rounding alone, from one side of a kink to the other."""
        before, after = largest_entry(self.grad[block]), largest_entry(at.grad[block])
        promised = before * largest_entry(at.x - self.x)
        noise = rounding(float(self.value), torch.finfo(self.x.dtype).eps)
        return promised <= noise and after > _FLATTER * before

    def sweep_ended(self) -> CoordinateState:
        """Return the state before the next sweep, or ended where the path is a closed one."""
        scale = torch.finfo(self.x.dtype).eps ** 0.5 * max(1.0, largest_entry(self.x))
        for start, length in self.trail:
            if length > scale and largest_entry(self.x - start) <= _RETURNED * length:
                return self.ended("cycle")
        return replace(self, trail=(*self.trail[1 - _REMEMBERED :], (self.x, 0.0)))


@dataclass(frozen=True)
class CoordinateDescent:
    r"""Minimise over one block of coordinates at a time, in cycles (section 8.7.2).

    .. math:: \theta_b \leftarrow \arg\min_z J(\theta_1, \ldots, \theta_{b-1}, z,
              \theta_{b+1}, \ldots)

    One step is one block. A run ends by itself where no block moves: as "gradient" if that is a
    stationary point, a kink included at which a mean of the gradients around is 0; as "kink" if a
    joint step would lower the value, as "no_decrease" if neither is seen. It ends as "cycle" where
    it comes back to where an earlier sweep began. A stationary point need not be a minimum.

    Args:
        blocks: For each block the entries of θ in it; by default every entry is a block.
        solve: The minimum over a block in closed form: takes θ, shape (n,), and the entries of
            the block, shape (k,), and returns their new values, shape (k,).
        method: Minimises over a block where no closed form is given; by default ``exact_search``
            along a single coordinate and ``Newton()`` over more.

    Raises:
        ValueError: A block is empty or holds anything but different whole numbers >= 0.

    Example:
        >>> import torch, dlopt
        >>> valley = lambda x: (x[0] - x[1]) ** 2 + 0.5 * (x * x).sum()
        >>> x0 = torch.tensor([1.0, 1.0], dtype=torch.float64)
        >>> states = dlopt.iterate(valley, x0, CoordinateDescent())
        >>> [[round(v, 3) for v in next(states).x.tolist()] for _ in range(3)]
        [[1.0, 1.0], [0.667, 1.0], [0.667, 0.444]]
    """

    blocks: Sequence[Iterable[int]] | None = None
    solve: Solve | None = None
    method: Method[Any] | None = None
    ends_itself: ClassVar[bool] = True
    remembers_by: ClassVar[tuple[str, ...]] = ("blocks",)

    def __post_init__(self) -> None:
        if self.blocks is not None:
            if not isinstance(self.blocks, Iterable):
                raise ValueError(f"blocks must be a sequence of blocks, got {self.blocks!r}")
            object.__setattr__(self, "blocks", tuple(_entries(block) for block in self.blocks))

    def init(self, f: Objective, x: Tensor) -> CoordinateState:
        """Return the state at ``x``, shape (n,), before the first block."""
        self._check(len(x))
        return CoordinateState.begin(f.evaluate(x), strides=torch.zeros_like(x), trail=((x, 0.0),))

    def step(self, f: Objective, state: CoordinateState) -> CoordinateState:
        """Return the state after the minimisation over one block."""
        blocks = self._blocks(len(state.x))
        block = torch.tensor(blocks[state.turn], device=state.x.device)
        at = (
            self._closed(f, state, block, self.solve)
            if self.solve
            else self._minimized(f, state, block)
        )
        if at is None:
            return state.ended("non_finite")
        after = state.after(at, block, len(blocks))
        return after.ended(look_around(f, after)) if after.idle == len(blocks) else after

    def _blocks(self, n: int) -> Sequence[Any]:
        return [(i,) for i in range(n)] if self.blocks is None else self.blocks

    def _check(self, n: int) -> None:
        """Raise ``ValueError`` unless the blocks hold each entry of θ, and nothing else."""
        held = {i for block in self._blocks(n) for i in block}
        if held != set(range(n)):
            odd = sorted(held ^ set(range(n)))[0]
            what = f"none has {odd}" if odd < n else f"one has {odd}"
            raise ValueError(f"blocks must hold every entry 0 to {n - 1} of x0, got blocks: {what}")

    def _closed(
        self, f: Objective, state: CoordinateState, block: Tensor, solve: Solve
    ) -> Evaluation | None:
        """Return the evaluation at the minimum over the block that ``solve`` names."""
        z = solve(state.x, block)
        if not isinstance(z, Tensor) or z.shape != block.shape:
            came = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
            raise ValueError(
                f"solve must return a tensor of shape {tuple(block.shape)}, got {came}"
            )
        at = f.evaluate(state.x.index_copy(0, block, z.to(state.x)))
        if at.finite and float(state.value) + rounding(at.J, torch.finfo(at.x.dtype).eps) < at.J:
            raise ValueError(
                f"solve must minimise over block {block.tolist()}, got values that raise f "
                f"from {float(state.value):.6g} to {at.J:.6g}"
            )
        return at if at.finite else None

    def _minimized(self, f: Objective, state: CoordinateState, block: Tensor) -> Evaluation | None:
        """Return the evaluation at the minimum over the block, None if there is none."""
        if self.method is None and len(block) == 1:
            return self._along(f, state, block)
        part = Restriction(f, state.x, block)
        before = math.inf
        for inner in islice(iterate(part, state.x[block], self.method or Newton()), _INNER_STEPS):
            J = float(inner.value)
            if before - J <= rounding(J, torch.finfo(inner.x.dtype).eps):
                break
            before = J
        far = part.best and largest_entry(part.best.x) > _LONGEST * max(1, largest_entry(state.x))
        return None if far or inner.reason == "non_finite" else part.best

    def _along(self, f: Objective, state: CoordinateState, block: Tensor) -> Evaluation | None:
        """Return the evaluation at the minimum along one coordinate, None if there is none."""
        slope, here = state.grad[block], state.here
        steepness = float(slope.abs())
        if not steepness:
            return here
        line = torch.zeros_like(state.x).index_copy(0, block, -slope.sign())
        first = steepness * float(state.strides[block])
        if not 0 < first < math.inf:  # no longer than the point, no further than to J = 0
            drop = 2 * abs(here.J) / steepness
            first = min(max(1.0, largest_entry(state.x)), drop or math.inf)
        found = exact_search(LineFunction(f, state, line), first)
        if found is None:
            return here
        return found.at if found.finite else None


def coordinate_descent(
    f: Callable[[Tensor], Tensor],
    x0: Tensor,
    blocks: Sequence[Iterable[int]] | None = None,
    *,
    solve: Solve | None = None,
    method: Method[Any] | None = None,
    max_sweeps: int = 1000,
    grad_tol: float | None = None,
    callback: Callable[[State], object] | None = None,
    record: bool = True,
) -> Path:
    """Minimise ``f`` from ``x0`` by ``CoordinateDescent``: ``minimize``, counted in sweeps.

    Args:
        f: Maps a tensor of shape (n,) to a 0-d tensor; autograd differentiates it.
        x0: The start, shape (n,), float32 or float64; it is never changed.
        blocks: For each block the entries of θ in it; by default every entry is a block.
        solve: The minimum over a block in closed form, see ``CoordinateDescent``.
        method: Minimises over a block where no closed form is given; by default ``exact_search``
            along a single coordinate and ``Newton()`` over more.
        max_sweeps: The most rounds through all blocks, >= 0.
        grad_tol: Bound on the largest absolute entry of the gradient, as in ``minimize``.
        callback: Called with every state, one a block, as for ``minimize``.
        record: Keep every state; otherwise only the first and the last.

    Returns:
        The path, a state for each block that was minimised. Its ``reason`` is one of those of
        ``minimize``.

    Raises:
        ValueError: The blocks don't fit, ``solve`` doesn't minimise, or as in ``minimize``.

    Example:
        >>> import torch
        >>> x0 = torch.tensor([3.0, 1.0], dtype=torch.float64)
        >>> stall = coordinate_descent(lambda x: (x[0] - x[1]).abs() + x.square().sum() / 9, x0)
        >>> stall.x.tolist(), stall.converged, stall.reason
        ([1.0, 1.0], False, 'kink')
    """
    check_start(x0)
    check_whole("max_sweeps", max_sweeps, 0)
    descent = CoordinateDescent(blocks, solve, method)
    turns = len(x0) if descent.blocks is None else len(descent.blocks)
    return minimize(
        f,
        x0,
        descent,
        max_steps=max_sweeps * turns,
        grad_tol=grad_tol,
        callback=callback,
        record=record,
    )


def __getattr__(name: str) -> Any:
    """Find ``SparseCoding`` here too: it needs scikit-learn, which nothing else here does."""
    if name == "SparseCoding":
        from dlopt.sparse_coding import SparseCoding

        return SparseCoding
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _entries(block: Iterable[int]) -> tuple[int, ...]:
    """Return a block as whole numbers, or raise ``ValueError``."""
    if not isinstance(block, Iterable):
        raise ValueError(f"a block must hold whole numbers, got {block!r}")
    found = block.tolist() if isinstance(block, Tensor) else list(block)
    if not found or any(isinstance(i, bool) or not isinstance(i, Integral) or i < 0 for i in found):
        raise ValueError(f"a block must hold at least one whole number >= 0, got {found}")
    if len(set(found)) < len(found):
        raise ValueError(f"a block must hold an entry once, got {found}")
    return tuple(int(i) for i in found)
