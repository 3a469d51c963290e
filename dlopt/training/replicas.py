r"""Many small networks as one: a function of one network becomes a function of R of them.

A small network leaves the processor waiting for Python most of the time. So the parameters of R
networks of one architecture become the rows of one tensor Θ, (R, n), and ``torch.vmap`` makes of
:math:`J(\theta)`, a number, :math:`(J_1(\theta_1), …, J_R(\theta_R))`. Their sum has the gradient
that holds in row r what network r would get alone, since no other network's objective depends on
:math:`\theta_r`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dlopt.training.forms import FastForms

State = dict[str, Tensor]
"""What a network holds besides its trained parameters, by name; of R networks, (R, ...) each."""


class Replicas:
    """R networks of one architecture.

    They may have linear and convolutional layers, norms with their buffers, embeddings, recurrent
    cells, skips, several outputs, and a forward method of any kind that ``torch.vmap`` takes: no
    ``if`` on a tensor's entries, nothing drawn at random, buffers changed in place.

    Args:
        modules: The R networks; their values are copied, and they stay as they are. One that
            occurs twice gives two replicas with the same start.

    Attributes:
        theta: The trained parameters, (R, n), one network a row.
        state: Buffers, and parameters that are not trained.

    Raises:
        ValueError: There is none, they differ in architecture, or they have layers that can't be
            replicated.

    Example:
        >>> modules = [nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)) for _ in range(5)]
        >>> replicas = Replicas(modules)
        >>> replicas.theta.shape
        torch.Size([5, 21])
        >>> replicas.state["1.running_var"].shape
        torch.Size([5, 3])
        >>> replicas.network(2)[0]
        Linear(in_features=4, out_features=3, bias=True)
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        kinds = {_architecture(m) for m in modules}
        if len(kinds) != 1:
            raise ValueError(f"modules must be of one architecture, got {sorted(kinds)}")
        self._modules = list(modules)  # as patterns of what a replica is, apart from its values
        for module in modules[0].modules():
            if isinstance(module, nn.RNNBase):
                name = type(module).__name__
                raise ValueError(f"nn.{name} has no replicas: write its loop with nn.{name}Cell")
        trained = _trained(modules[0])
        if len({p.dtype for p in trained.values()}) != 1:
            got = sorted({str(p.dtype) for p in trained.values()})
            raise ValueError(f"trained parameters must be of one dtype, at least one, got {got}")
        self._shapes = [p.shape for p in trained.values()]
        self._sizes = [p.numel() for p in trained.values()]
        self.theta = torch.stack([_flat(_trained(m).values()) for m in modules])
        states = [_state(m) for m in modules]
        self.state = {k: torch.stack([s[k].detach() for s in states]) for k in states[0]}
        self._learning, self._judged = _Form(modules[0]), _Form(modules[0])
        self._judged.module.eval()

    def __len__(self) -> int:
        """Return R."""
        return len(self.theta)

    def to(self, device: torch.device | str) -> Replicas:
        """Move the networks to a device."""
        self.theta = self.theta.to(device)
        self.state = {k: v.to(device) for k, v in self.state.items()}
        return self

    def network(self, replica: int) -> nn.Module:
        """Return one of them as an ordinary network, which shares no memory.

        Args:
            replica: Its number, from 0.
        """
        alone = copy.deepcopy(self._modules[replica]).to(self.theta.device)
        pieces = torch.split(self.theta[replica], self._sizes)
        with torch.no_grad():
            for parameter, piece in zip(_trained(alone).values(), pieces, strict=True):
                parameter.copy_(piece.view(parameter.shape))
            for name, tensor in _state(alone).items():
                tensor.copy_(self.state[name][replica])
        return alone

    def each(
        self,
        function: Callable[..., Any],
        theta: Tensor,
        state: State,
        *inputs: Tensor,
        training: bool,
    ) -> Any:
        """Return what a function makes of each network and its own inputs.

        Args:
            function: Maps a network, its parameters θ (n,) and its inputs to one or more tensors.
            theta: The parameters, (R, n), in which the results are differentiable.
            state: What else the networks hold. Those that learn change their buffers in it.
            inputs: Each (R, ...).
            training: Whether the networks are as they were built, or in evaluation mode.

        Returns:
            The function's results, each (R, ...).
        """
        form = self._learning if training else self._judged

        def one(theta: Tensor, state: State, *inputs: Tensor) -> Any:
            pieces = zip(torch.split(theta, self._sizes), self._shapes, strict=True)
            form.fill([piece.view(shape) for piece, shape in pieces], state)
            result = function(form.module, theta, *inputs)
            form.check(state)
            return result

        try:
            with FastForms():
                return torch.vmap(one)(theta, state, *inputs)
        finally:
            form.empty()


class _Form:
    """A copy of a network, into which parameters and state are filled by reference.

    ``torch.func.functional_call`` does the same, and takes as long as a small network.
    """

    def __init__(self, pattern: nn.Module) -> None:
        self.module = copy.deepcopy(pattern)
        holders: list[dict[str, Any]] = []
        for m in self.module.modules():
            holders += [m._parameters, m._buffers]
        self._own = [(h, key, t) for h in holders for key, t in h.items() if t is not None]
        # A tensor that stands in several places, as tied weights do, is filled into all of them.
        self._trained = [self._places(p) for p in _trained(self.module).values()]
        self._state = {name: self._places(t) for name, t in _state(self.module).items()}

    def _places(self, tensor: Tensor) -> list[tuple[dict[str, Any], str]]:
        return [(holder, key) for holder, key, t in self._own if t is tensor]

    def fill(self, trained: list[Tensor], state: State) -> None:
        """Let the module hold these."""
        for places, tensor in zip(self._trained, trained, strict=True):
            for holder, key in places:
                holder[key] = tensor
        for name, tensor in state.items():
            for holder, key in self._state[name]:
                holder[key] = tensor

    def check(self, state: State) -> None:
        """Raise ``ValueError`` if the module holds another buffer than was filled in."""
        for name, tensor in state.items():
            for holder, key in self._state[name]:
                if holder[key] is not tensor:
                    raise ValueError(f"the buffer {name} must be changed in place, got a new one")

    def empty(self) -> None:
        """Let the module hold its own tensors again."""
        for holder, key, tensor in self._own:
            holder[key] = tensor


def _trained(module: nn.Module) -> dict[str, Tensor]:
    """Name the trained parameters."""
    return {k: p for k, p in module.named_parameters() if p.requires_grad}


def _state(module: nn.Module) -> State:
    """Name buffers and constant parameters."""
    constant = {k: p for k, p in module.named_parameters() if not p.requires_grad}
    return constant | dict(module.named_buffers())


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    """Return a copy of tensors one after the other, 1-D."""
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def _architecture(module: nn.Module) -> str:
    """Say what two networks must have in common."""
    tensors = _trained(module) | _state(module)
    shapes = {k: (tuple(t.shape), t.dtype, t.requires_grad) for k, t in tensors.items()}
    return f"{module} with {shapes}"
