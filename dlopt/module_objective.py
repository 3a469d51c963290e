"""A closure over a module's parameters, as an objective of one flat vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from numbers import Real

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parallel import DistributedDataParallel

from dlopt.evaluation import Evaluation, dense, flatten, split
from dlopt.objective import Objective

Closure = Callable[[], Tensor]


class ModuleObjective(Objective):
    r"""The loss that a closure returns, as a function of the parameters in one vector.

    A closure that did not call ``backward()`` is differentiated by ``loss.backward()``, so that
    hooks on parameters and gradients run either way. Second derivatives need ``autograd.grad``
    instead: no hook of an accumulated gradient sees them.

    Under ``DistributedDataParallel`` gradients are means over the processes, and so are the values
    here: all processes see one objective, the mean of theirs, and take the same decisions.

    A closure may move the parameters before it computes the loss, as one that clamps an image does.
    The point of an evaluation, its ``x``, then is where value and gradient were taken. Where it
    brings weights back to unit length, say, that gradient knows nothing of the way back and leads
    off the sphere: methods then creep. Computed of ``w / w.norm()`` the loss has the right one.

    Args:
        closure: Computes the loss, 0-d or of one element, and returns it; where it has called
            ``backward()``, or where the loss is inf or NaN, it may be a number.
        parameters: The tensors that hold the point, of one dtype on one device, n numbers in all.

    Example:
        >>> import torch
        >>> a, b = torch.ones(2, requires_grad=True), torch.tensor(3.0, requires_grad=True)
        >>> f = ModuleObjective(lambda: b * a.sum(), [a, b])
        >>> f.point(), f.evaluate(f.point()).grad
        (tensor([1., 1., 3.]), tensor([3., 3., 2.]))
    """

    _name = "closure"
    _function = "the loss that closure returns must depend on the parameters"

    def __init__(self, closure: Closure | None, parameters: Sequence[Tensor]) -> None:
        if not callable(closure):
            raise ValueError(f"closure must compute and return the loss, got {closure!r}")
        if torch.is_inference_mode_enabled():
            raise ValueError("a step needs gradients, which torch.inference_mode() doesn't allow")
        super().__init__(closure)
        self._parameters = parameters
        self._written: Tensor | None = None
        self._group: dist.ProcessGroup | None = None  # over which gradients are averaged
        self._device = parameters[0].device.type
        self._half = torch.is_autocast_enabled(self._device)

    def full_precision(self) -> AbstractContextManager[object]:
        """Return a context for the method: an autocast around it is for the closure alone."""
        return self._autocast(False)

    def _autocast(self, enabled: bool) -> AbstractContextManager[object]:
        return torch.autocast(self._device, enabled=enabled) if self._half else nullcontext()

    def point(self) -> Tensor:
        """Return the parameters as they are, in a vector of its own, shape (n,)."""
        return flatten([p.detach() for p in self._parameters])

    def holds(self, x: Tensor) -> bool:
        """Return whether the parameters have the entries of ``x``, shape (n,)."""
        own = [p.detach().flatten() for p in self._parameters]
        return torch.equal(own[0] if len(own) == 1 else torch.cat(own), x)

    def write(self, x: Tensor) -> None:
        """Copy the entries of ``x``, shape (n,), into the parameters."""
        if x is self._written:
            return
        self._written = None  # an interrupt may come before all are copied
        for p, value in zip(self._parameters, split(x, self._parameters), strict=True):
            p.detach().copy_(value)
        torch.clear_autocast_cache()  # it holds copies of the old numbers in half precision
        self._written = x

    def restore(self, x: Tensor) -> None:
        """Copy ``x`` into the parameters, whatever a closure or an interrupt has made of them."""
        self._written = None
        self.write(x)

    def release(self) -> None:
        """Let go of all graphs; a gradient with a graph and its parameter hold each other."""
        super().release()
        for p in self._parameters:
            if p.grad is not None and p.grad.requires_grad:
                p.grad = None

    def _differentiate(
        self, x: Tensor, dim: int, *, keep: bool
    ) -> tuple[Evaluation, Tensor, Sequence[Tensor], Sequence[Tensor] | None]:
        """Evaluate, and see where the closure did so."""
        at, output, inputs, slopes = super()._differentiate(x, dim, keep=keep)
        self._written = x if self.holds(x) else self.point()
        return at._replace(x=self._written), output, inputs, slopes

    def _forward(
        self, x: Tensor, keep: bool
    ) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor] | None]:
        self.write(x)
        self._written = None  # the closure may move them
        for p in self._parameters:
            p.grad = None
        with _replicas() as replicas, self._autocast(True):
            output = self._f()
        self._group = self._averaged_by(replicas)
        if keep and self._group is not None:
            raise ValueError(
                "this method needs the Hessian, which DistributedDataParallel does not average "
                "over the processes: take one that needs gradients only, such as LBFGS()"
            )
        slopes = None if all(p.grad is None for p in self._parameters) else self._gradients()
        if isinstance(output, Real) and (slopes is not None or not math.isfinite(output)):
            # What torch's LBFGS takes.
            output = torch.as_tensor(output, dtype=torch.float64, device=x.device)
        if self._dim == 0 and isinstance(output, Tensor) and output.dim() and output.numel() == 1:
            output = output.reshape(())
        if keep and slopes is not None and not any(g.requires_grad for g in slopes):
            raise ValueError(
                "this method needs the Hessian: the closure must return the loss without calling "
                "backward(), or call backward(create_graph=True)"
            )
        return output, self._parameters, slopes

    def _value(self, loss: Tensor) -> Tensor:
        """Return the loss, or its mean over the processes whose gradients are averaged."""
        value = super()._value(loss)
        if self._group is not None:
            dist.all_reduce(value, group=self._group)
            value /= dist.get_world_size(self._group)
        return value

    def _differentiated(
        self, loss: Tensor, inputs: Sequence[Tensor], keep: bool
    ) -> Sequence[Tensor]:
        """Return the gradient, by ``backward()`` wherever it can be, for the sake of hooks."""
        if keep:
            return super()._differentiated(loss, inputs, keep)
        try:
            loss.backward()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            if "second time" not in str(error):
                raise
            raise ValueError(
                f"{self._function}, by a graph that each call builds anew, got one that backward() "
                "has freed: a part is older than the call, or the parameters were replaced since "
                "the optimizer was made"
            ) from error
        self._check_reached([p.grad for p in self._parameters])
        return self._gradients()

    def _gradients(self) -> list[Tensor]:
        """Return what ``backward()`` left in the parameters, dense."""
        return dense([torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters])

    def _averaged_by(self, replicas: Sequence[DistributedDataParallel]) -> dist.ProcessGroup | None:
        """Return the processes over which the parameters' gradients are averaged, if any are."""
        for replica in replicas:
            inside = {id(p) for p in replica.parameters()}
            found = [id(p) in inside for p in self._parameters]
            if any(found):
                if not all(found):
                    raise ValueError(
                        "params must all belong to the DistributedDataParallel module, got "
                        f"{found.count(False)} outside, whose gradients would not be averaged"
                    )
                group: dist.ProcessGroup = replica.process_group
                return group
        return None


@contextmanager
def _replicas() -> Iterator[list[DistributedDataParallel]]:
    """Collect the modules that average gradients over processes, as they are called."""
    found: list[DistributedDataParallel] = []
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        yield found
        return

    def see(module: nn.Module, inputs: object) -> None:
        if isinstance(module, DistributedDataParallel):
            found.append(module)

    handle = register_module_forward_pre_hook(see)
    try:
        yield found
    finally:
        handle.remove()
