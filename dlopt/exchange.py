"""Other values in the places of tensors for a while, and the old ones back whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def exchanged(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> Iterator[None]:
    """Put values in the places of tensors; afterwards both are again what they were, to the bit.

    In place, so that optimisers and compiled or wrapped modules notice nothing. A value of its
    tensor's dtype holds the tensor's entries meanwhile, so that no memory is needed. A wider one
    can't, without losing digits of its own: then the tensor is copied.

    Args:
        tensors: Such as parameters.
        values: One for each, of its shape.

    Raises:
        ValueError: A value isn't finite, or not of its tensor's shape; the tensors stay as they
            are.
        RuntimeError: The tensors were changed meanwhile. They are restored, but the values aren't.

    Example:
        >>> import torch
        >>> theta, average = torch.tensor([1.0]), torch.tensor([2.0])
        >>> with exchanged([theta], [average]):
        ...     print(theta, average)
        tensor([2.]) tensor([1.])
        >>> theta, average
        (tensor([1.]), tensor([2.]))
    """
    if not all(bool(v.isfinite().all()) for v in values):
        raise ValueError(
            "the average must be finite, got NaN or infinity: a step of the training has led to "
            "them, and they stay in an average for good"
        )
    for tensor, value in zip(tensors, values, strict=True):
        if tensor.shape != value.shape:
            expected, got = tuple(tensor.shape), tuple(value.shape)
            raise ValueError(f"a value must have its tensor's shape {expected}, got {got}")
    undo: list[tuple[Tensor, Tensor]] = []
    try:
        for tensor, value in zip(tensors, values, strict=True):
            undo.append((tensor, _exchange(tensor, value)))
        before = _fingerprints(tensors)
        yield
        changed = before != _fingerprints(tensors)
    finally:
        for tensor, held in undo:
            _exchange(tensor, held)
    if changed:
        raise RuntimeError(
            "parameters must not be changed while the average stands in their places: they are "
            "restored, but the average now holds the change"
        )


@contextmanager
def buffers_held(module: nn.Module) -> Iterator[None]:
    """Bring back all buffers of a module, values and objects, after what happens inside."""
    held = [
        (m._buffers, name, buffer, buffer.clone())
        for m in module.modules()
        for name, buffer in m._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for holder, name, buffer, value in held:
                buffer.copy_(value)
                holder[name] = buffer


@torch.no_grad()
def _exchange(tensor: Tensor, value: Tensor) -> Tensor:
    """Give the tensor the value; return what now holds its old entries."""
    old = tensor.detach().clone()
    tensor.copy_(value)
    return value.copy_(old) if value.dtype == tensor.dtype else old


@torch.no_grad()
def _fingerprints(tensors: Sequence[Tensor]) -> list[float]:
    """Return sums with weights: a change is noticed, one of signs or places, too, and no copy kept.

    A version counter would also count what was undone, such as an exchange within this one.
    """
    found = []
    for t in tensors:
        weights = torch.arange(1, t.numel() + 1, dtype=torch.float64, device=t.device).cos_()
        found.append(float(t.double().flatten().mul(weights).sum()))
    return found
