r"""Continuation: minimise easier versions of an objective first, each from where the last ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from dlopt.blurring import Blur, Estimator, blur, check_samples, checked_sigma
from dlopt.evaluation import largest_entry
from dlopt.method import Method, State
from dlopt.minimization import Path, minimize
from dlopt.stopping import default_share

__all__ = ["Blur", "Continuation", "Stage", "blur", "continuation", "geometric"]


@dataclass(frozen=True, eq=False)
class Stage:
    """The minimisation of one of the objectives.

    Attributes:
        sigma: The standard deviation of its blur; 0 is the objective itself.
        path: What ``minimize`` found.
        evaluations: Of the objective that was blurred: samples times those of the path.
    """

    sigma: float
    path: Path
    evaluations: int


@dataclass(frozen=True, eq=False)
class Continuation:
    """The path through all stages.

    Attributes:
        x: Where the last stage ended, shape (n,).
        value: Of the last stage's objective there, 0-d.
        stages: From the first to the last.
    """

    x: Tensor
    value: Tensor
    stages: tuple[Stage, ...]

    @property
    def evaluations(self) -> int:
        """Evaluations of the objective in all stages, those for its blurs included."""
        return sum(stage.evaluations for stage in self.stages)

    @property
    def points(self) -> Tensor:
        """The points of all stages one after the other, shape (states, n)."""
        return torch.cat([stage.path.points for stage in self.stages])


def continuation(
    f: Callable[[Tensor], Tensor],
    x0: Tensor,
    sigmas: Sequence[float],
    method: Method[Any],
    *,
    blurred: Callable[[float], Callable[[Tensor], Tensor]] | None = None,
    n_samples: int = 64,
    estimator: Estimator = "reparametrised",
    generator: torch.Generator | None = None,
    max_steps: int = 1000,
    grad_tol: float | None = None,
    callback: Callable[[float, State], object] | None = None,
    record: bool = True,
) -> Continuation:
    r"""Minimise less and less blurred versions of an objective, each from the last one's minimum.

    .. math:: \theta^{(i)} = \text{local minimum of } J^{(i)} \text{ from } \theta^{(i - 1)}, \quad
              J^{(i)}(\theta) = E_{\theta' \sim N(\theta, {\sigma^{(i)}}^2)} J(\theta')

    Section 8.7.6, equation 8.40; graduated non-convexity (Blake & Zisserman, 1987). It is a
    template: ``method`` is any method of this library. Nothing promises that the last value is
    below the first, as a path over a blurred landscape may lead uphill in J.

    Args:
        f: The objective J: maps a tensor of shape (n,) to a 0-d tensor.
        x0: The start, shape (n,), float32 or float64; it is never changed.
        sigmas: The standard deviations of the stages, none above the one before it; the last
            should be 0, J itself.
        method: What minimises each stage.
        blurred: Maps σ > 0 to the objective of that stage, where its blur is known, such as
            ``f.blurred``, or to any other easier objective; by default ``blur`` samples it.
        n_samples: Samples a point, as for ``blur``; so are the next two.
        estimator: "reparametrised", "score" or "antithetic".
        generator: Where the samples come from; each stage draws its own.
        max_steps: The most iterations a stage, as for ``minimize``; so is what follows.
        grad_tol: Bound on the largest absolute entry of the gradient, for each stage; by default a
            share of the largest one that a stage has begun with so far. (A later stage begins
            near its minimum: what it begins with is no measure.)
        callback: Called with σ and every state; True or ``StopIteration`` ends the stage.
        record: Keep every state.

    Returns:
        The path through all stages.

    Raises:
        ValueError: ``sigmas`` is empty, rises, or holds a negative number; or what ``minimize``
            and ``blur`` refuse.

    Example:
        >>> import dlopt
        >>> from dlopt.exact_blurs import rastrigin
        >>> f, x0 = rastrigin(2), torch.tensor([3.2, -4.1], dtype=torch.float64)
        >>> alone = dlopt.minimize(f, x0, dlopt.BFGS())
        >>> found = continuation(f, x0, [1.0, 0.5, 0.25, 0.0], dlopt.BFGS(), blurred=f.blurred)
        >>> bool(alone.value > 1), bool(found.value < 1e-9)
        (True, True)
    """
    sigmas = [checked_sigma(sigma) for sigma in sigmas]
    if not sigmas:
        raise ValueError("sigmas must hold at least one standard deviation, got none")
    rising = [b for a, b in pairwise(sigmas) if b > a]
    if rising:
        raise ValueError(f"sigmas must not rise, got {rising[0]} in {sigmas}")
    check_samples(n_samples, estimator)
    x, stages, steepest = x0, [], 0.0
    for sigma in sigmas:
        if not sigma:
            objective = f
        elif blurred is not None:
            objective = blurred(sigma)
        else:
            objective = blur(
                f,
                sigma,
                n_samples,
                estimator=estimator,
                generator=generator,
            )
        path = minimize(
            objective,
            x,
            method,
            max_steps=max_steps,
            grad_tol=grad_tol or (default_share(x.dtype) * steepest or None),
            callback=None if callback is None else _of_stage(callback, sigma),
            record=record,
        )
        each = getattr(objective, "samples", 1)
        stages.append(Stage(sigma, path, each * path.evaluations))
        x, steepest = path.x, max(steepest, largest_entry(path.states[0].grad))
    return Continuation(path.x, path.value, tuple(stages))


def geometric(first: float, last: float, stages: int) -> list[float]:
    r"""Return standard deviations that fall by a constant factor, and 0 after them.

    Args:
        first: The first one, > 0.
        last: The last one that isn't 0, > 0.
        stages: How many there are, the 0 not counted; >= 1.

    Returns:
        ``stages`` + 1 numbers.

    Raises:
        ValueError: One of them isn't positive and finite, or ``last`` is above ``first``.

    Example:
        >>> geometric(4.0, 1.0, 3)
        [4.0, 2.0, 1.0, 0.0]
    """
    for name, sigma in (("first", first), ("last", last)):
        if not 0 < sigma < math.inf:
            raise ValueError(f"{name} must be > 0 and finite, got {sigma}")
    if last > first:
        raise ValueError(f"last must be <= first, got {last} > {first}")
    if stages < 1:
        raise ValueError(f"stages must be >= 1, got {stages}")
    if stages == 1:
        return [float(first), 0.0]
    factor = (last / first) ** (1 / (stages - 1))
    return [first * factor**i for i in range(stages)] + [0.0]


def _of_stage(
    callback: Callable[[float, State], object], sigma: float
) -> Callable[[State], object]:
    """Return the callback that a stage's minimisation calls."""
    return lambda state: callback(sigma, state)
