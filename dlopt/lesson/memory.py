"""How much memory the tensors of a computation take at the worst moment."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(work: Callable[[], object]) -> int:
    """Run ``work`` and return the most bytes that tensors made by it held at one moment.

    Every operation of PyTorch inside, those of autograd too, reports what it returns, and each
    storage reports its end. What existed before counts nothing, nor does what an operation uses
    inside and never returns. The same on every device.

    Args:
        work: What to measure; called once, without arguments.

    Returns:
        The bytes.

    Example:
        >>> import torch
        >>> a = torch.zeros(1000, dtype=torch.float64)
        >>> peak_bytes(lambda: a.add_(1)), peak_bytes(lambda: (a + 1) + 1)
        (0, 16000)
    """
    meter = _Meter()
    with meter:
        work()
    return meter.peak


class _Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        before = {_key(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and _key(tensor) not in self.seen | before:
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self.seen.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._remove, key, size).atexit = False

    def _remove(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.live -= size


def _key(tensor: Tensor) -> int:
    """Name the storage of a tensor: views share one."""
    return int(tensor.untyped_storage()._cdata)
