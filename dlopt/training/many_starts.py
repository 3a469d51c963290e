r"""Continuation from many starts at once: R descents as the rows of one tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dlopt.blurring import Estimator, check_samples, checked_sigma, draw, estimate
from dlopt.training.plan import whole
from dlopt.training.rules import Memory, Rule

Objective = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Descents:
    """Where R descents ended.

    Attributes:
        x: The points, shape (R, n).
        values: The objective itself there, shape (R,).
        stages: The points at the end of each stage, shape (stages, R, n).
        evaluations: Of the objective for each descent, those for its blurs included.
    """

    x: Tensor
    values: Tensor
    stages: Tensor
    evaluations: int


def continuation_from_many(
    f: Objective,
    starts: Tensor,
    sigmas: Sequence[float],
    rule: Rule,
    *,
    learning_rate: float | Sequence[float],
    steps: int | Sequence[int],
    blurred: Callable[[float], Objective] | None = None,
    n_samples: int = 64,
    estimator: Estimator = "reparametrised",
    generator: torch.Generator | None = None,
) -> Descents:
    r"""Run continuation from many starts at once, by a rule of descent with fixed learning rates.

    What ``continuation`` does for one start and any method. Here each descent draws new samples at
    each step, none shares them, and none sees another. One that would leave the finite numbers
    stays where it last was.

    Args:
        f: The objective J: maps a tensor of shape (n,) to a 0-d tensor; ``torch.vmap`` runs it.
        starts: One a row, shape (R, n); never changed.
        sigmas: The standard deviations of the stages; a plain descent has the one stage 0.
        rule: ``SGD`` or ``Adam`` of ``dlopt.training.rules``; its memory starts anew each stage.
        learning_rate: Of all stages, or one for each; > 0.
        steps: Of each stage, or one number for each; >= 1.
        blurred: Maps σ > 0 to an objective whose blur is known; by default it is sampled.
        n_samples: Samples a step and descent, as for ``dlopt.continuation.blur``.
        estimator: "reparametrised", "score" or "antithetic".
        generator: Where the samples come from, on the CPU.

    Returns:
        Where the descents ended.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> from dlopt.exact_blurs import rastrigin
        >>> from dlopt.training.rules import Adam
        >>> starts = 8 * torch.rand(50, 2, dtype=torch.float64) - 4
        >>> f = rastrigin(2)
        >>> run = continuation_from_many(f, starts, [1.0, 0.5, 0.0], Adam(),
        ...     learning_rate=0.05, steps=200, blurred=f.blurred)
        >>> bool((run.values < 1e-3).all())
        True
    """
    if starts.dim() != 2 or not starts.numel() or not starts.is_floating_point():
        raise ValueError(f"starts must be floats of shape (R, n), got {tuple(starts.shape)}")
    if not bool(starts.isfinite().all()):
        raise ValueError(f"starts must be finite, got {float(starts[~starts.isfinite()][0])}")
    sigmas = [checked_sigma(sigma) for sigma in sigmas]
    if not sigmas:
        raise ValueError("sigmas must hold at least one standard deviation, got none")
    rates = _for_each("learning_rate", learning_rate, sigmas)
    counts = [whole("steps", count) for count in _for_each("steps", steps, sigmas)]
    check_samples(n_samples, estimator)
    x, stages, evaluations = starts.detach().clone(), [], 0
    for sigma, rate, count in zip(sigmas, rates, counts, strict=True):
        sampled = bool(sigma) and blurred is None
        objective = f if not sigma or blurred is None else blurred(sigma)
        memory: Memory = rule.init(x)
        alive = torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        for t in range(1, count + 1):
            if sampled:
                noise = draw(n_samples, x, estimator, generator)
                g = _gradients(lambda x, e: estimate(f, x, sigma, e, estimator), x, noise)  # noqa: B023
            else:
                g = _gradients(objective, x)
            u, memory = rule.direction(g, memory, t)
            new = x - rate * u
            alive &= new.isfinite().all(1, keepdim=True)
            x = torch.where(alive, new, x)
        stages.append(x)
        evaluations += count * (n_samples if sampled else 1)
    values = torch.vmap(f)(x)
    return Descents(x, values, torch.stack(stages), evaluations)


def _gradients(f: Callable[..., Tensor], x: Tensor, *inputs: Tensor) -> Tensor:
    """Return the gradient of each row's objective, shape (R, n)."""
    variable = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(torch.vmap(f)(variable, *inputs).sum(), variable)
    return g


def _for_each(name: str, value: float | Sequence[float], sigmas: Sequence[float]) -> list[float]:
    """Return one positive number for each stage."""
    values = [value] * len(sigmas) if isinstance(value, (int, float)) else list(value)
    if len(values) != len(sigmas):
        raise ValueError(f"{name} must be one for each of {len(sigmas)} stages, got {len(values)}")
    bad = [v for v in values if not v > 0]
    if bad:
        raise ValueError(f"{name} must be > 0, got {bad[0]}")
    return values
