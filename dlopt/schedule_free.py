"""Schedule-free learning: the gradient is taken between the iterate and its average."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from dlopt.exchange import exchanged


class ScheduleFreeSGD(torch.optim.Optimizer):
    r"""Stochastic gradient descent without a schedule (Defazio et al., 2024).

    .. math:: y &= (1 - \beta) z + \beta x \\
              z &\leftarrow z - \varepsilon \nabla J(y) \\
              x &\leftarrow (1 - 1/t)\, x + z/t

    The parameters are y, where the gradient is taken; x, the mean of all z, is what to evaluate,
    inside ``applied()``. With β = 0, y is z: plain descent, and x is its Polyak average. With
    β = 1, y is x: the gradient is taken at the average itself, primal averaging.

    Args:
        params: The parameters, float32 or float64; groups may have settings of their own.
        lr: The learning rate ε, at least 0; constant.
        beta: β, in [0, 1].

    Raises:
        ValueError: A setting is out of its range, or parameters have fewer digits than float32.

    Example:
        >>> theta = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = ScheduleFreeSGD([theta], lr=0.5, beta=0.9)
        >>> for _ in range(200):
        ...     optimizer.zero_grad()
        ...     (theta**2).sum().backward()
        ...     optimizer.step()
        >>> with optimizer.applied():
        ...     print(bool(theta.abs() < 0.01))
        True
    """

    _applied = False

    def __init__(self, params: Iterable[Any], lr: float, beta: float = 0.9) -> None:
        if not 0 <= lr < math.inf:
            raise ValueError(f"lr must be a finite number of at least 0, got {lr}")
        if not 0 <= beta <= 1:
            raise ValueError(f"beta must be in [0, 1], got {beta}")
        super().__init__(params, {"lr": lr, "beta": beta})
        kinds = {p.dtype for group in self.param_groups for p in group["params"]}
        if not kinds <= {torch.float32, torch.float64}:
            raise ValueError(f"params must be of float32 or float64, got {sorted(map(str, kinds))}")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make a step.

        Args:
            closure: Computes the loss and its gradient; None if the gradient is there.

        Returns:
            What the closure returned.

        Raises:
            RuntimeError: The average stands in the parameters' places.
        """
        if self._applied:
            raise RuntimeError("step() must come after the block of applied(), got it inside")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for y in (p for p in group["params"] if p.grad is not None):
                memory = self.state[y]
                if not memory:
                    memory.update(t=0, z=y.detach().clone(), x=y.detach().clone())
                memory["t"] += 1
                _move(
                    y, y.grad, memory["z"], memory["x"], 1 / memory["t"], group["lr"], group["beta"]
                )
        return loss

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages x in the parameters' places, and restore them afterwards.

        Raises:
            ValueError: An average isn't finite.
            RuntimeError: They stand there already, or parameters were changed inside.
        """
        if self._applied:
            raise RuntimeError("applied() must come after the block of applied(), got it inside")
        stepped = [p for g in self.param_groups for p in g["params"] if p in self.state]
        averages: list[Tensor] = [self.state[p]["x"] for p in stepped]
        with exchanged(stepped, averages):
            self._applied = True
            try:
                yield
            finally:
                self._applied = False


def _move(
    y: Tensor, grad: Tensor, z: Tensor, x: Tensor, share: float, lr: float, beta: float
) -> None:
    """Move z along the gradient at y, x towards the mean of all z, and y between them; in place."""
    z.sub_(lr * grad)
    x.lerp_(z, share)  # share = 1/t: x + (z − x)/t
    y.copy_(z.lerp(x, beta))  # (1 − β) z + β x
