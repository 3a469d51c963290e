"""How hard each example is, found by short trainings."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def held_out_losses(
    fit: Callable[[Tensor, Tensor, int], Callable[[Tensor], Tensor]],
    inputs: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    folds: int = 4,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return how hard each example is: its loss under a model that was not trained on it.

    The examples are cut at random into parts, and a model is fitted to all but each of them.

    Args:
        fit: Takes inputs, targets and the number of the fit, from 0; returns the model, a function
            of inputs. A short training will do.
        inputs: One example a row, shape (m, ...).
        targets: Shape (m, ...).
        loss: Maps what a model returns, and targets, to the losses, shape (m,), such as
            ``functools.partial(F.cross_entropy, reduction="none")``.
        folds: The number of parts, in 2..m.
        generator: Decides the parts, on the CPU; None for PyTorch's own.

    Returns:
        One score an example, shape (m,), float64: a ``difficulty``.

    Raises:
        ValueError: ``folds`` is out of its range, numbers of inputs and targets differ, or the
            losses are not one an example and numbers.

    Example:
        >>> x, y = torch.arange(8.0), torch.tensor([0.0, 0, 0, 0, 9, 0, 0, 0])
        >>> def mean(x, y, number):
        ...     return lambda x: y.mean().expand(len(x))
        >>> scores = held_out_losses(mean, x, y, lambda a, b: (a - b) ** 2)
        >>> int(scores.argmax())
        4
    """
    m = len(inputs)
    if len(targets) != m:
        raise ValueError(f"inputs and targets must be as many, got {m} and {len(targets)}")
    if not 2 <= folds <= m:
        raise ValueError(f"folds must be in 2..{m}, got {folds}")
    fold = torch.empty(m, dtype=torch.long)
    fold[torch.randperm(m, generator=generator)] = torch.arange(m) % folds
    scores = torch.empty(m, dtype=torch.float64)
    for number in range(folds):
        out = (fold == number).to(inputs.device)
        model = fit(inputs[~out], targets[~out], number)
        with torch.no_grad():
            losses = loss(model(inputs[out]), targets[out])
        if losses.shape != (int(out.sum()),) or bool(losses.isnan().any()):
            raise ValueError(
                f"losses must be {int(out.sum())} numbers, got shape {tuple(losses.shape)}"
                f" with {int(losses.isnan().sum())} NaN"
            )
        scores[fold == number] = losses.double().cpu()
    return scores
