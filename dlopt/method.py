"""The one abstraction: frozen settings, a frozen state, a pure step, and the loop that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor

from dlopt.evaluation import Evaluation
from dlopt.objective import Objective


@dataclass(frozen=True, eq=False, kw_only=True)
class State:
    """Where a method stands. A method adds what it remembers in a subclass.

    Attributes:
        x: The point θ, shape (n,).
        value: The objective J(θ), 0-d.
        grad: Its gradient g, shape (n,).
        reason: Empty, or why no further step is possible: this state is the last.
    """

    x: Tensor
    value: Tensor
    grad: Tensor
    reason: str = ""

    @classmethod
    def begin(cls, at: Evaluation, **memory: Any) -> Self:
        """Return the first state, at an evaluation."""
        return cls(x=at.x, value=at.value, grad=at.grad, **memory)

    def moved(self, at: Evaluation, **memory: Any) -> Self:
        """Return the state at another point; of the memory, what isn't given stays."""
        return replace(self, x=at.x, value=at.value, grad=at.grad, reason="", **memory)

    def ended(self, reason: str) -> Self:
        """Return the same state, marked as the last one."""
        return replace(self, reason=reason)

    @property
    def memory(self) -> dict[str, Any]:
        """What a method added, by name."""
        return {name: value for name, value in vars(self).items() if name not in _PLAIN}

    def remembering(self, memory: Mapping[str, Any]) -> Self:
        """Return the state with a memory by name, whole or not at all.

        What is None at first may be lacking, as in a checkpoint older than it.
        """
        first = self.memory
        if any(name not in memory and value is not None for name, value in first.items()):
            return self
        return replace(self, **{name: memory[name] for name in first.keys() & memory.keys()})

    @property
    def plain(self) -> State:
        """The same point without a method's memory."""
        if type(self) is State:
            return self
        return State(x=self.x, value=self.value, grad=self.grad, reason=self.reason)


_PLAIN = {field.name for field in fields(State)}
S = TypeVar("S", bound=State)


class Method(Protocol[S]):
    """An iterative method: ``init`` evaluates the start, ``step`` maps a state to the next one.

    ``step`` is pure: it changes neither its settings nor the state. Where no step is possible it
    returns the state with ``reason`` set. It may have ``expected_decrease(f, state) -> float``, how
    much it hopes to gain, in the units of J (infinity at a saddle): ``minimize`` asks before it
    stops. And ``rescaled(state) -> state``, where to go on from if no step leads to what is left.
    One whose steps end by themselves, and know why, sets ``ends_itself``. ``remembers_by`` names
    settings without which its memory means nothing: a checkpoint is then loaded only where they are
    the same.
    """

    def init(self, f: Objective, x: Tensor) -> S:
        """Return the first state, at ``x``, shape (n,)."""
        ...

    def step(self, f: Objective, state: S) -> S:
        """Return the state after one iteration."""
        ...


def iterate(
    f: Callable[[Tensor], Tensor] | Objective, x0: Tensor, method: Method[S]
) -> Iterator[S]:
    r"""Yield the states of ``method`` from ``x0`` on, for ever.

    The iteration is :math:`s_{t+1} = \mathrm{step}(f, s_t)`. It ends by itself only where a state
    says that it is the last (``state.reason``).

    Args:
        f: Maps a tensor of shape (n,) to a 0-d tensor (to shape (m,) for least squares).
        x0: The start, shape (n,), float32 or float64; it is never changed.
        method: What to run.

    Yields:
        The states, the first one at ``x0``.

    Raises:
        ValueError: ``x0`` is no finite 1-D float tensor, or f is not finite there.

    Example:
        >>> import itertools, torch, dlopt
        >>> halve = dlopt.GradientDescent(learning_rate=0.25)
        >>> states = dlopt.iterate(lambda x: (x * x).sum(), torch.tensor([8.0]), halve)
        >>> [float(s.x) for s in itertools.islice(states, 4)]
        [8.0, 4.0, 2.0, 1.0]
    """
    if isinstance(method, type):
        raise ValueError(f"method must be an instance, such as {method.__name__}(), got the class")
    check_start(x0)
    objective = f if isinstance(f, Objective) else Objective(f)
    state = method.init(objective, x0.detach().clone())
    if not (bool(state.value.isfinite()) and bool(state.grad.isfinite().all())):
        what = "f(x0)" if not bool(state.value.isfinite()) else "the gradient at x0"
        raise ValueError(f"{what} must be finite, got {_first_bad(state)}")
    yield state
    while not state.reason:
        state = method.step(objective, state)
        yield state


def check_start(x0: Tensor) -> None:
    """Raise ``ValueError`` unless ``x0`` is a finite, non-empty, 1-D, real float tensor."""
    if not isinstance(x0, Tensor):
        raise ValueError(f"x0 must be a torch.Tensor, got {type(x0).__name__}")
    if x0.dim() != 1 or x0.numel() == 0:
        raise ValueError(f"x0 must be 1-D and not empty, got shape {tuple(x0.shape)}")
    if x0.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"x0 must be float32 or float64, got {x0.dtype}")
    if not bool(x0.isfinite().all()):
        bad = x0.detach()[~x0.isfinite()][0].item()
        raise ValueError(f"x0 must be finite, got an entry {bad}")


def _first_bad(state: State) -> float:
    if not bool(state.value.isfinite()):
        return float(state.value)
    return float(state.grad[~state.grad.isfinite()][0])
