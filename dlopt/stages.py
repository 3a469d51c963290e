"""A training in stages, each of which trains a part of what the next starts from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dlopt.frozen import Frozen


@dataclass(frozen=True, eq=False)
class Stage:
    """What is to be trained now, in place.

    Only what has ``requires_grad`` is trained, by a new optimiser: one that was made for another
    stage holds that stage's parameters. Where methods are compared, their stages together have one
    budget, and one schedule: after a share s of this stage, (index + s)/count of the whole is over
    if all stages get the same number of steps.

    Attributes:
        name: "layer 2", "fine-tuning 2", "hint" or "task".
        module: Shares no memory with what the caller gave, and is left alone in later stages.
        target: None, and the module learns the labels; or what gives the values on which the
            module's outputs are regressed, a frozen part of a teacher.
        index: How many stages come before it.
        count: How many there are.
    """

    name: str
    module: nn.Sequential
    target: nn.Module | None = None
    index: int = 0
    count: int = 1

    @torch.no_grad()
    def targets(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return what the module has to learn for some inputs.

        Args:
            inputs: Shape (m, ...).
            labels: One a row, returned where the stage has no target.

        Returns:
            The labels; or the target's outputs, shape (m, ...).

        Raises:
            ValueError: The module's outputs have another shape.

        Example:
            >>> module, target = nn.Sequential(nn.Linear(2, 3)), nn.Linear(2, 3)
            >>> x, y = torch.zeros(5, 2), torch.zeros(5)
            >>> Stage("hint", module, target).targets(x, y).shape
            torch.Size([5, 3])
        """
        if self.target is None:
            return labels
        hints: Tensor = self.target(inputs)
        outputs = copy.deepcopy(self.module).eval()(inputs[:1])
        if outputs.shape[1:] != hints.shape[1:]:
            raise ValueError(
                f"the regressor must return what the teacher's layer does, {tuple(hints.shape)}, "
                f"got {(len(hints), *outputs.shape[1:])}"
            )
        return hints


Stages = Generator[Stage, None, nn.Sequential]
"""Stages in their order; what the generator returns at its end is the network they lead to."""

Fit = Callable[[Stage], Any]
"""Trains the module of a stage in place; what it returns is ignored."""


def start(*parts: nn.Module) -> nn.Sequential:
    """Return copies of parts as one network, in training mode.

    Args:
        parts: What is ``Frozen`` stays so.

    Example:
        >>> start(nn.Tanh().eval())[0].training
        True
    """
    return copy.deepcopy(nn.Sequential(*parts)).train()


def run_stages(
    stages: Stages, fit: Fit, callback: Callable[[Stage], Any] | None = None
) -> nn.Sequential:
    """Train stage after stage, and return the network they lead to.

    Args:
        stages: In their order.
        fit: Trains the module of a stage in place.
        callback: Called with each stage after its training.

    Raises:
        ValueError: ``fit`` changed what is frozen, or nothing else.

    Example:
        >>> def stages():
        ...     network = start(nn.Linear(2, 1))
        ...     yield Stage("all", network)
        ...     return network
        >>> def fit(stage):
        ...     torch.nn.init.ones_(stage.module[0].weight)
        >>> run_stages(stages(), fit)[0].weight.tolist()
        [[1.0, 1.0]]
    """
    while True:
        try:
            stage = next(stages)
        except StopIteration as end:
            network: nn.Sequential = end.value
            return network
        before = copy.deepcopy(stage.module)
        fit(stage)
        _check_trained(stage, before)
        if callback is not None:
            callback(stage)


def _check_trained(stage: Stage, before: nn.Sequential) -> None:
    """Raise ``ValueError`` if what is frozen has changed, or if nothing else has."""
    now = _tensors(stage.module)
    changed = {name for name, old in _tensors(before).items() if not _same(old, now.get(name))}
    parts = [(path, part) for path, part in before.named_modules() if isinstance(part, Frozen)]
    moved = changed & {f"{path}.{name}" for path, part in parts for name in _tensors(part)}
    if moved:
        raise ValueError(
            f'fit must leave what is frozen in stage "{stage.name}" as it is, '
            f"got changes of {sorted(moved)}"
        )
    if not changed & dict(before.named_parameters()).keys():
        raise ValueError(
            f'fit must train the module of stage "{stage.name}" in place, got all its parameters '
            "unchanged: the optimiser may hold those of another stage, or no step was finite"
        )


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Name parameters and buffers."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _same(old: Tensor, new: Tensor | None) -> bool:
    """Return whether entries and dtype are the same, wherever they are; NaN is NaN."""
    if new is None or (old.shape, old.dtype) != (new.shape, new.dtype):
        return False
    new = new.to(old.device)
    return bool(((old == new) | ((old != old) & (new != new))).all())
