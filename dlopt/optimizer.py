"""Any method trains any module: the bridge to ``torch.optim``."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from dlopt.evaluation import largest_entry
from dlopt.method import Method, State
from dlopt.module_objective import Closure, ModuleObjective
from dlopt.parameter_group import (
    ParameterGroup,
    check_apart,
    check_label,
    check_settings,
    configured,
    kinds,
    label_of,
    replace_settings,
    settings_of,
    trained,
)
from dlopt.stopping import drowns


class MethodOptimizer(torch.optim.Optimizer):
    r"""Train the parameters of a module with a method of this library.

    One ``step(closure)`` is one iteration of the method. The closure computes the loss, with or
    without ``backward()``, and returns it, so that code written for ``torch.optim.LBFGS`` runs
    with another constructor; there one ``step`` hides up to 20 iterations, here it is one. A
    method that uses the Hessian (``Newton``, ``TruncatedNewton``) needs a closure that does not
    call ``backward()``, or calls ``backward(create_graph=True)``; for ``LevenbergMarquardt`` it
    returns the vector of residuals. Parameters may have any shape. Which of them are trained, those
    that require a gradient, is looked up at every step; where that changes, the memory is dropped.

    A method calls the closure twice or more in a step. Layers that change as they are evaluated
    (batch normalisation's running statistics, dropout) change each time: put them into ``eval()``
    mode for the fit, or fix their random numbers within the closure. A closure may clamp or mask
    parameters at its start. To keep them at unit length, compute the loss of ``w / w.norm()``.

    ``GradientDescent`` reads ``lr`` and ``momentum`` of the parameter group at each step, so that
    schedulers work. The other methods choose their steps themselves, and refuse a scheduler.

    On several processes (``torchrun``) wrap the model in ``DistributedDataParallel`` and return
    each process's own mean loss over its share of the data. Losses are averaged as gradients are,
    so that all processes take the same steps, those of one process on all data. Methods with
    second derivatives refuse: nothing averages these.

    ``torch.autocast`` may stand in the closure or around the step; a ``GradScaler`` belongs in
    the closure, with ``scale``, ``unscale_`` and ``update``.

    Args:
        params: The parameters. Those to train are all float32 or all float64, on one device.
        method: What to run, for example ``Newton()``.
        full_batch: Say that every closure computes the same loss. Then a step reuses the last
            gradient. By default each step evaluates anew, since a new minibatch has its own.

    Attributes:
        reason: Why the last step left the parameters as they are, "" if it moved them.

    Raises:
        ValueError: ``params`` is empty or not of these, or has several groups or unread settings.

    Example:
        >>> import torch, dlopt
        >>> layer = torch.nn.Linear(1, 1)
        >>> optimizer = dlopt.MethodOptimizer(layer.parameters(), dlopt.Newton())
        >>> x = torch.linspace(0, 1, 5).unsqueeze(1)
        >>> for _ in range(10):
        ...     loss = optimizer.step(lambda: ((layer(x) - 3 * x) ** 2).mean())
        >>> round(layer.weight.item(), 3)
        3.0
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        method: Method[Any],
        *,
        full_batch: bool = False,
    ) -> None:
        """Check the parameters; nothing is evaluated yet."""
        self._method = method
        self.full_batch, self.reason = full_batch, ""
        super().__init__(params, settings_of(method))
        self._last: State | None = None  # after the last step: its gradient may be used again
        self._stuck: tuple[Method[Any], State] | None = None  # where the last step found nothing
        # Trained so far, and of what kind they were. The memory is in `state` of the first one.
        self._owners: list[Tensor] = []
        self._kind: list[tuple[Any, ...]] = []
        self._looked_up()
        configured(method, self.param_groups[0])

    @property
    def method(self) -> Method[Any]:
        """As given; the group's settings override its own. Another one assigned starts afresh."""
        return self._method

    @method.setter
    def method(self, method: Method[Any]) -> None:
        self.defaults = settings_of(method)
        replace_settings(self.param_groups[0], self.defaults)
        self._method = method
        self._forget()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters; they join the one group that there is.

        Raises:
            ValueError: The group has a setting that nobody reads, or one that differs.
        """
        if not self.param_groups:
            check_settings(self.method, param_group)
            super().add_param_group(ParameterGroup(param_group))
            return
        if "_owners" not in self.__dict__:  # while the optimizer is made
            raise ValueError("MethodOptimizer takes one parameter group, got a second one")
        first = self.param_groups[0]
        check_settings(self.method, param_group, joined=first)
        super().add_param_group(param_group)  # which checks it
        joining = self.param_groups.pop()
        for key in joining.keys() & {"params", "param_names"}:
            first[key] = [*first[key], *joining[key]]

    @torch._disable_dynamo  # type: ignore[attr-defined]  # closures may be compiled, this is not
    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Run one iteration of the method.

        Args:
            closure: Returns the loss, 0-d or of one element, or residuals, shape (m,).

        Returns:
            The loss before the iteration, 0-d, detached. Where it or its gradient is not finite,
            nothing changes, and ``reason`` is "non_finite". Where the method finds no step, its
            memory is dropped, and ``reason`` is "no_decrease" (what is left is rounding),
            "line_search" (it isn't) or another; where nothing is new, the next costs one call.

        Raises:
            ValueError: No closure was given, or it returned no loss, or one without any gradient.
            BaseException: What the closure raised; the parameters are back where they were.
        """
        self.reason = ""
        f = ModuleObjective(closure, self._looked_up())
        method, state = configured(self.method, self.param_groups[0]), self._reusable(f)
        start = f.point() if state is None else state.x
        try:
            if state is None:
                state = self._evaluated(method, f, start)
                if not (bool(state.value.isfinite()) and math.isfinite(largest_entry(state.grad))):
                    self.reason = "non_finite"
                    f.restore(start)
                    return state.value
                if self._is_stuck(method, state):
                    return state.value
            # Where a method failed without a memory, it fails again; with one, it may have misled.
            loss, afresh = state.value, not self.state.get(self._owners[0])
            with f.full_precision():
                state = method.step(f, state)
                if state.reason in ("line_search", "no_decrease"):  # is it rounding or not?
                    state = state.ended("no_decrease" if drowns(f, state) else "line_search")
            f.write(state.x)
        except BaseException:
            f.restore(start)
            raise
        finally:
            f.release()
        self.reason = state.reason
        stuck = state.reason == "no_decrease" or (state.reason and afresh)
        self._stuck = (method, state.plain) if stuck else None
        self._last = state if self.full_batch and not state.reason else None
        self.state[self._owners[0]] = {} if state.reason else state.memory
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return what the method remembers, and whose memory that is."""
        return {"method": self._label(), **super().state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state of ``state_dict()``; the next step continues from it.

        Raises:
            ValueError: It is of another optimiser, method, or list of parameters, or of another
                setting that the memory depends on.
        """
        trained_there = check_label(state_dict.get("method"), self._label())
        super().load_state_dict(state_dict)
        self._owners = [self.param_groups[0]["params"][i] for i in trained_there]
        self._kind = kinds(self._owners)

    def __getstate__(self) -> dict[str, Any]:
        """Return what PyTorch's own would leave out: a copy has its method, too."""
        names = ("_method", "full_batch", "reason", "_last", "_stuck", "_owners", "_kind")
        return {**super().__getstate__(), **{name: self.__dict__[name] for name in names}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up a state; groups that were loaded become those of this class."""
        super().__setstate__(state)
        self.param_groups = [ParameterGroup(group) for group in self.param_groups]

    def _label(self) -> dict[str, Any]:
        if not set(map(id, self._owners)) <= set(map(id, self.param_groups[0]["params"])):
            self._looked_up()  # others took their places
        return label_of(self.method, self.param_groups[0], self._owners)

    def _looked_up(self) -> list[Tensor]:
        """Return the parameters to train; where they are others than before, forget."""
        now = trained(self.param_groups)
        same = len(now) == len(self._owners) and all(map(operator.is_, now, self._owners))
        if not same or kinds(now) != self._kind:
            check_apart(now)
            self._owners, self._kind = now, kinds(now)
            self._forget()
        return now

    def _forget(self) -> None:
        self._last = self._stuck = None
        self.state.clear()

    def _reusable(self, f: ModuleObjective) -> State | None:
        """Return the last state if the loss, the point and the memory still are the same."""
        last, memory = self._last, self.state.get(self._owners[0])
        if last is None or memory is None or not self.full_batch:
            return None
        if any(memory.get(name) is not value for name, value in last.memory.items()):
            return None
        return last if f.holds(last.x) else None

    def _is_stuck(self, method: Method[Any], state: State) -> bool:
        """Return whether here, of the same loss, the method has just found no step; say why."""
        if self._stuck is None or self._stuck[0] != method:
            return False
        there, names = self._stuck[1], ("value", "grad", "x")
        same = all(torch.equal(getattr(there, name), getattr(state, name)) for name in names)
        self.reason = there.reason if same else ""
        return same

    def _evaluated(self, method: Method[Any], f: ModuleObjective, x: Tensor) -> State:
        """Return the state to step from: the parameters as they are, the memory as it was."""
        with f.full_precision():
            here: State = method.init(f, x)
        return here.remembering(self.state.get(self._owners[0], {}))
