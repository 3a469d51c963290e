"""A device that isn't there: tensors that say they are on it, and are held to it.

::

    python tests/pretended.py                # run all lessons with it, at scale "smoke"
    python tests/pretended.py lbfgs newton   # some of them

It is PyTorch's slot for foreign devices, and the CPU does the work. What CUDA refuses is refused:
a tensor of the CPU beside one of the device, but for a single number or for positions; NumPy on a
tensor of the device; a generator of the CPU for such a tensor. So what would fail on a GPU fails on
any machine. The slot, once taken, changes PyTorch for the whole process: give it one of its own.
Exit status 1 if a lesson fails. Speed, rounding and memory are not those of a GPU.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "pretended"
CPU = torch.device("cpu")
aten = torch.ops.aten
# What may read from one device and write to the other.
MOVES = {aten._to_copy.default, aten.copy_.default}
# Positions, the second argument, may be on the CPU; what they pick from and what is put there not.
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}


class OnDevice(Tensor):
    """A tensor of the device. It shares its storage with ``held``, the same numbers on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:
        made: OnDevice = Tensor._make_subclass(
            cls, held, False, dispatch_device=True, device_for_backend_keys=torch.device(NAME, 0)
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})

    @property
    def data(self) -> Tensor:
        return Tensor.data.__get__(self)

    @data.setter
    def data(self, value: OnDevice) -> None:
        Tensor.data.__set__(self, value)
        self.held = value.held

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = self.detach().clone().requires_grad_(self.requires_grad)
        if getattr(self, "_is_param", False):
            copied._is_param = True
        memo[id(self)] = copied
        return copied

    def new_tensor(self, values: Any, **kwargs: Any) -> Any:
        return torch.tensor(values, **{"dtype": self.dtype, "device": self.device, **kwargs})

    def tolist(self) -> Any:  # these three need no more than a copy, but ask for a plain tensor
        return self.cpu().tolist()

    def __repr__(self, **_: Any) -> str:
        return f"{self.cpu()!r} on {NAME}"

    def __format__(self, spec: str) -> str:
        return format(self.item() if self.dim() == 0 else self.cpu(), spec)


@functools.cache
def is_inplace_view(func: Any) -> bool:
    return torch.Tag.inplace_view in func.tags


def dispatch(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """Run one operation of PyTorch on the CPU; its result is where the real one's would be."""
    if func is torch.ops.prim.device.default:
        return torch.device(NAME, 0)
    known: dict[int, OnDevice] = {}  # by what they hold
    strangers: list[Tensor] = []
    generators: list[torch.Generator] = []

    def bare(x: Any) -> Any:
        if isinstance(x, OnDevice):
            known[id(x.held)] = x
            return x.held
        if isinstance(x, Tensor):
            strangers.append(x)
        elif isinstance(x, torch.Generator):
            generators.append(x)
        elif isinstance(x, (list, tuple)):
            return [bare(y) for y in x]
        return x

    bare_args = [bare(x) for x in args]
    bare_kwargs = {k: bare(x) for k, x in kwargs.items()}
    asked = kwargs.get("device")
    if func is aten.copy_.default:
        here = isinstance(args[0], OnDevice)
    else:
        here = bool(known) if asked is None else torch.device(asked).type == NAME
    if not (known or here):
        return func(*args, **kwargs)
    if known and func not in MOVES:
        free = [*args[1]] if func in INDEXED else []
        for x in strangers:
            if x.dim() and not any(x is y for y in free):
                raise RuntimeError(
                    f"{func}: all tensors must be on one device, got {NAME} and, of shape "
                    f"{tuple(x.shape)}, {x.device}"
                )
    if here and generators:
        raise RuntimeError(f"{func}: a generator of the CPU for a tensor on {NAME}")
    if asked is not None and here:
        bare_kwargs["device"] = CPU
    result = func(*bare_args, **bare_kwargs)
    if not here:
        return result
    if is_inplace_view(func):  # the shape of the tensor itself changes
        with no_dispatch():
            func(*args, **kwargs)

    def placed(x: Any) -> Any:
        if isinstance(x, Tensor):  # what works in place returns what it was given
            return known[id(x)] if id(x) in known else OnDevice(x)
        return type(x)(map(placed, x)) if isinstance(x, (list, tuple)) else x

    return placed(result)


class Everywhere(TorchDispatchMode):
    """Sees what makes tensors, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


class Backend:
    """What PyTorch asks a device's module for."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.empty(0, dtype=torch.uint8)

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        pass

    def synchronize(self, device: Any = None) -> None:
        pass


def lstm_cell(x: Tensor, state: Any, w_x: Tensor, w_h: Tensor, b_x: Any, b_h: Any) -> Any:
    """Stand in for the kernel that PyTorch has for GPUs alone."""
    h, c = state
    gates = torch.nn.functional.linear(x, w_x, b_x) + torch.nn.functional.linear(h, w_h, b_h)
    i, f, g, o = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_cell(x: Tensor, h: Tensor, w_x: Tensor, w_h: Tensor, b_x: Any, b_h: Any) -> Any:
    """The same."""
    a, b = torch.nn.functional.linear(x, w_x, b_x), torch.nn.functional.linear(h, w_h, b_h)
    (r, z, n), (r_, z_, n_) = a.chunk(3, dim=1), b.chunk(3, dim=1)
    z = (z + z_).sigmoid()
    return (n + (r + r_).sigmoid() * n_).tanh() * (1 - z) + z * h


@functools.cache
def register() -> torch.library.Library:
    """Take PyTorch's slot for a foreign device, with what its C++ asks for behind our back."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME, Backend())
    library = torch.library.Library("aten", "IMPL", "PrivateUse1")

    def empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> Tensor:
        return OnDevice(torch.empty_strided(size, stride, dtype=dtype))

    def copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
        plain = [x.held if isinstance(x, OnDevice) else x for x in (target, source)]
        plain[0].copy_(plain[1])
        return target

    library.impl("empty_strided", empty_strided)
    library.impl("_copy_from", copy_from)
    return library


@contextlib.contextmanager
def pretended() -> Iterator[str]:
    """Make the device; yield its name."""
    register()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch._VF, "lstm_cell", lstm_cell))
        stack.enter_context(mock.patch.object(torch._VF, "gru_cell", gru_cell))
        for module in (torch.cuda, torch.accelerator):
            stack.enter_context(mock.patch.object(module, "synchronize", lambda: None))
        # This one is for GPUs, and has to work where they are.
        here = lambda device, n: device.type == NAME  # noqa: E731
        stack.enter_context(mock.patch("dlopt.lbfgs.compact_is_faster", here))
        # PyTorch dies where forward differentiation inside vmap meets such a tensor.
        twice = lambda f: torch.func.jacrev(torch.func.jacrev(f))  # noqa: E731
        stack.enter_context(mock.patch.object(torch.func, "hessian", twice))
        # A thread of the device's own doesn't carry the nested transforms of torch.func.
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        stack.enter_context(Everywhere())
        yield NAME


def run(notebook: Path, **parameters: Any) -> str:
    """Execute the cells of a notebook with these parameters; return what went wrong."""
    from IPython.display import display

    names: dict[str, Any] = {"__name__": "__main__", "display": display}
    for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] != "code" or "colab" in tags:
            continue
        source = "".join(cell["source"])
        try:
            exec(compile(source, f"{notebook.stem}, cell {number}", "exec"), names)
        except Exception:
            return f"{traceback.format_exc()}\nThe cell:\n{source}"
        if "parameters" in tags:
            names |= parameters
    return ""


def main(stems: list[str]) -> int:
    """Run lessons; report those that fail."""
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("agg")
    os.environ["DLOPT_STATIC"] = "1"
    warnings.simplefilter("ignore")
    folder = Path(__file__).resolve().parents[1] / "notebooks"
    failed = []
    with pretended() as device:
        for stem in stems or sorted(path.stem for path in folder.glob("*.ipynb")):
            began = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                error = run(folder / f"{stem}.ipynb", scale="smoke", device=device)
            plt.close("all")
            failed += [stem] if error else []
            seconds = time.perf_counter() - began
            print(f"{stem:24}{seconds:8.1f} s  {'FAILED' if error else 'ok'}", flush=True)
            if error:
                print(error, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main(sys.argv[1:]))
