"""Any method trains any module: the bridge to ``torch.optim``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from dlopt.evaluation import flatten, largest_entry, split
from dlopt.method import Method, State
from dlopt.objective import Objective

Closure = Callable[[], Tensor]


class MethodOptimizer(torch.optim.Optimizer):
    r"""Train the parameters of a module with a method of this library.

    One ``step(closure)`` is one iteration of the method. The closure computes the loss, with or
    without ``backward()``, and returns it, so that code written for ``torch.optim.LBFGS`` runs
    with another constructor; there one ``step`` hides up to 20 iterations, here it is one. A
    method that uses the Hessian (``Newton``, ``TruncatedNewton``) needs a closure that does not
    call ``backward()``, or calls ``backward(create_graph=True)``; for ``LevenbergMarquardt`` it
    returns the vector of residuals.

    A method evaluates the closure several times in a step. Layers that change as they are
    evaluated (batch normalisation's running statistics, dropout) change each time: put them into
    ``eval()`` mode for the fit, or fix their random numbers within the closure.

    Args:
        params: The parameters, real floating-point tensors of one dtype on one device.
        method: What to run, for example ``Newton()``.
        full_batch: Say that every closure computes the same loss. Then a step reuses the last
            gradient. By default each step evaluates anew, since a new minibatch has its own.

    Raises:
        ValueError: ``params`` is empty, holds more than one group, or tensors that are not real
            floating-point numbers of one dtype on one device.

    Example:
        >>> import torch, dlopt
        >>> layer = torch.nn.Linear(1, 1)
        >>> optimizer = dlopt.MethodOptimizer(layer.parameters(), dlopt.Newton())
        >>> x = torch.linspace(0, 1, 5).unsqueeze(1)
        >>> for _ in range(10):
        ...     loss = optimizer.step(lambda: ((layer(x) - 3 * x) ** 2).mean())
        >>> round(layer.weight.item(), 3)
        3.0
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        method: Method[Any],
        *,
        full_batch: bool = False,
    ) -> None:
        """Check the parameters; nothing is evaluated yet."""
        super().__init__(params, {})
        self.method = method
        self.full_batch = full_batch
        self.reason = ""
        self._last: State | None = None
        self._parameters = _checked(self.param_groups)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add the one group that there is; a second raises ``ValueError``."""
        if self.param_groups:
            raise ValueError("MethodOptimizer takes one parameter group, got a second one")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Run one iteration of the method.

        Args:
            closure: Computes the loss (0-d) and returns it.

        Returns:
            The loss before the iteration, 0-d, detached. Where it is not finite, the parameters
            stay as they are. ``reason`` tells why an iteration made no step; the next one starts
            the method afresh.

        Raises:
            ValueError: No closure was given, or it did not return a 0-d tensor with a graph.
        """
        if closure is None:
            raise ValueError("closure must compute and return the loss, got None")
        f = _ModuleObjective(closure, self._parameters)
        state = self._reusable()
        if state is None:
            state = self._evaluated(f)
            if not (bool(state.value.isfinite()) and math.isfinite(largest_entry(state.grad))):
                self.reason = "non_finite"
                return state.value
        loss = state.value
        state = self.method.step(f, state)
        f.write(state.x)
        self.reason = state.reason
        self._remember(None if state.reason else state)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state of ``state_dict()``; the next step continues from it."""
        super().load_state_dict(state_dict)
        self._last = None

    def __getstate__(self) -> dict[str, Any]:
        """Return everything, where PyTorch's own would leave a copy without its method."""
        return {**self.__dict__, **super().__getstate__()}

    def _reusable(self) -> State | None:
        """Return the last state if the loss and the parameters are still what they were."""
        last = self._last
        if last is None or not self.full_batch:
            return None
        parts = zip(self._parameters, split(last.x, self._parameters), strict=True)
        return last if all(torch.equal(p, part) for p, part in parts) else None

    def _evaluated(self, f: _ModuleObjective) -> State:
        """Return the state to step from: the parameters as they are, the memory as it was."""
        here: State = self.method.init(f, flatten([p.detach() for p in self._parameters]).clone())
        memory = self.state.get(self._parameters[0])
        if not memory:
            return here
        return replace(here, **{name: memory[name] for name in _memory(here) if name in memory})

    def _remember(self, state: State | None) -> None:
        self._last = state
        memory = self.state[self._parameters[0]]
        memory.clear()
        if state is not None:
            memory.update({name: getattr(state, name) for name in _memory(state)})


def _memory(state: State) -> list[str]:
    """Return the names of what a method adds to a plain state."""
    of_every_state = {field.name for field in fields(State)}
    return [field.name for field in fields(state) if field.name not in of_every_state]


class _ModuleObjective(Objective):
    """A closure over a module's parameters, as a function of one flat vector."""

    def __init__(self, closure: Closure, parameters: Sequence[Tensor]) -> None:
        super().__init__(closure)
        self._parameters = parameters
        self._written: Tensor | None = None

    def write(self, x: Tensor) -> None:
        """Copy the entries of ``x``, shape (n,), into the parameters."""
        if x is self._written:
            return
        self._written = x
        for p, value in zip(self._parameters, split(x, self._parameters), strict=True):
            p.detach().copy_(value)

    def _forward(
        self, x: Tensor, keep: bool
    ) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor] | None]:
        self.write(x)
        for p in self._parameters:
            p.grad = None
        loss = self._f()
        if all(p.grad is None for p in self._parameters):
            return loss, self._parameters, None
        if isinstance(loss, float) or (isinstance(loss, Tensor) and loss.numel() == 1):
            loss = torch.as_tensor(loss, device=x.device).reshape(())  # what torch's LBFGS takes
        slopes = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        slopes = [g.to_dense() if g.is_sparse else g for g in slopes]
        if len(slopes) == 1:  # joining several copies them; one would stay the parameter's own
            slopes = [slopes[0].clone()]
        if keep and not any(g.requires_grad for g in slopes):
            raise ValueError(
                "this method needs the Hessian: the closure must return the loss without calling "
                "backward(), or call backward(create_graph=True)"
            )
        return loss, self._parameters, slopes


def _checked(groups: list[dict[str, Any]]) -> list[Tensor]:
    """Return the parameters of the one group, or raise ``ValueError``."""
    parameters: list[Tensor] = [p for p in groups[0]["params"] if p.requires_grad]
    if not parameters:
        raise ValueError("params must hold at least one parameter that requires grad, got none")
    for p in groups[0]["params"]:
        if not p.is_floating_point():
            raise ValueError(f"params must be real floating-point tensors, got {p.dtype}")
    kinds = {(str(p.dtype), str(p.device)) for p in parameters}
    if len(kinds) > 1:
        raise ValueError(f"params must share one dtype and device, got {sorted(kinds)}")
    return parameters
