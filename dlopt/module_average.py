"""An average of a module's parameters: how it is kept up, applied and saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import is_not
from typing import Any

import torch
from torch import Tensor, nn

from dlopt.exchange import buffers_held, exchanged


class ModuleAverage:
    """What all averages of a module's parameters have in common; ``kept`` makes the difference.

    Args:
        module: Its parameters are averaged.
        average_buffers: Whether its floating-point buffers are as well.
        settings: Those of the subclass.

    Attributes:
        steps: Those that the optimiser has made.

    Raises:
        ValueError: The module has nothing to average.
    """

    def __init__(self, module: nn.Module, average_buffers: bool, **settings: float) -> None:
        self.module, self.steps = module, 0
        self.settings = {**settings, "average_buffers": average_buffers}
        self._parameters = list(module.parameters())
        self._averages: list[Tensor] = []
        self._averages = [
            t.detach().to(torch.promote_types(t.dtype, torch.float32), copy=True)
            for t in self._tensors()
        ]
        if not self._averages:
            raise ValueError("module must have parameters to average, got none")
        self._applied = False

    def kept(self, t: int, steps: int) -> float:
        """Return which share of the average the last few of t steps leave; 0 if there was none.

        Args:
            t: All steps of the optimiser, these included.
            steps: Those since the last update.
        """
        raise NotImplementedError

    @torch.no_grad()
    def update(self, steps: int = 1) -> None:
        """Take in the parameters as they now are; to be called after a step of the optimiser.

        Args:
            steps: How many steps the optimiser has made since the last call.

        Raises:
            ValueError: ``steps`` is below 1, or the module has got other parameters.
            RuntimeError: The average stands in the parameters' places.
        """
        self._require_not_applied("update()")
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        tensors = self._tensors()
        self.steps += steps
        kept = self.kept(self.steps, steps)
        alike = [(a, t) for a, t in zip(self._averages, tensors, strict=True) if a.dtype == t.dtype]
        if alike:
            _move([a for a, _ in alike], [t for _, t in alike], kept)
        for a, t in zip(self._averages, tensors, strict=True):
            if a.dtype != t.dtype:  # one at a time: together they would be a copy of the module
                _move([a], [t.to(a.dtype)], kept)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average in the parameters' places, for evaluation, and restore them afterwards.

        Buffers are restored, too. So ``recompute_statistics(module, batches)`` inside gives layers
        of batch normalization the statistics of the averaged network, and the training keeps its
        own. Before the first update the average is the parameters with which it was made. What is
        to outlast the block has to be saved or copied inside: ``state_dict()`` of a module refers
        to its tensors.

        Raises:
            ValueError: The average isn't finite, or the module has got other parameters.
            RuntimeError: It stands there already, or parameters were changed inside.
        """
        self._require_not_applied("applied()")
        tensors = self._tensors()
        n = sum(p.is_floating_point() for p in self._parameters)  # buffers follow
        with buffers_held(self.module), exchanged(tensors[:n], self._averages[:n]):
            with torch.no_grad():
                for buffer, average in zip(tensors[n:], self._averages[n:], strict=True):
                    buffer.copy_(average)
            self._applied = True
            try:
                yield
            finally:
                self._applied = False

    def state_dict(self) -> dict[str, Any]:
        """Return kind, settings, number of steps and averages; tensors are referred to.

        Raises:
            RuntimeError: The average stands in the parameters' places.
        """
        self._require_not_applied("state_dict()")
        return {
            "kind": type(self).__name__,
            "settings": dict(self.settings),
            "steps": self.steps,
            "averages": list(self._averages),
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state of ``state_dict()``, on the devices of the parameters.

        Args:
            state_dict: Of an average of the same kind and settings, of parameters of the same
                shapes; a module that was wrapped or compiled meanwhile has the same.

        Raises:
            ValueError: It is another's; nothing is changed.
            RuntimeError: The average stands in the parameters' places.
        """
        self._require_not_applied("load_state_dict()")
        own, given = self._signature(self.state_dict()), self._signature(state_dict)
        if own != given:
            raise ValueError(f"the state must be that of {own}, got that of {given}")
        self.steps = int(state_dict["steps"])
        for average, loaded in zip(self._averages, state_dict["averages"], strict=True):
            average.copy_(loaded)

    @staticmethod
    def _signature(state: dict[str, Any]) -> str:
        """Say what two states must have in common."""
        shapes = [f"{tuple(a.shape)} {a.dtype}" for a in state.get("averages", [])]
        return f"{state.get('kind')} with {state.get('settings')} of {len(shapes)}: {shapes}"

    def _tensors(self) -> list[Tensor]:
        """Return what is averaged: parameters, then buffers; the averages follow them."""
        now = list(self.module.parameters())
        if len(now) != len(self._parameters) or any(map(is_not, now, self._parameters)):
            known = set(map(id, self._parameters))
            new = [name for name, p in self.module.named_parameters() if id(p) not in known]
            raise ValueError(
                "the module must keep the parameters that it had when the average was made, got "
                f"{len(now)} for {len(self._parameters)}, new ones: {new}"
            )
        tensors: list[Tensor] = [p for p in now if p.is_floating_point()]
        if self.settings["average_buffers"]:
            tensors += [b for b in self.module.buffers() if b.is_floating_point()]
        for i, (average, tensor) in enumerate(zip(self._averages, tensors, strict=False)):
            if average.device != tensor.device:  # the module has moved
                self._averages[i] = average.to(tensor.device)
        return tensors

    def _require_not_applied(self, call: str) -> None:
        if self._applied:
            raise RuntimeError(f"{call} must come after the block of applied(), got it inside")


def _move(averages: list[Tensor], tensors: list[Tensor], kept: float) -> None:
    """Move averages towards tensors, in place: all the way if nothing is kept."""
    if kept == 0:  # also away from what isn't finite
        torch._foreach_copy_(averages, tensors)
    else:
        torch._foreach_lerp_(averages, tensors, 1 - kept)
