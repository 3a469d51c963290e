"""The empirical risk, equation (8.25): a network and its data as a function of one flat vector."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps outputs and targets to the mean loss, a 0-d tensor, as PyTorch's losses do by default."""


@dataclass(frozen=True, eq=False)
class EmpiricalRisk:
    r"""The mean loss of a network on given examples, :eq:`eq-8-25`, with weight decay if asked for.

    .. math:: J(\theta) = \frac1m \sum_{i=1}^m L(f(x^{(i)}; \theta), y^{(i)})
              + \frac{\lambda}{2} \lVert\theta\rVert^2

    θ holds the network's trainable parameters one after the other (those that do not require a
    gradient stay as they are). Calling the risk changes nothing in the network: parameters come
    from θ, and batch norm updates copies of its running statistics. The network's mode is left
    alone as well. With dropout at work J would be a new function at each call, which no line
    search survives: call ``module.eval()`` first.

    Attributes:
        module: The network f.
        inputs: The examples x, one a row, shape (m, ...).
        targets: What should come out, y, shape (m, ...).
        loss: Maps outputs and targets to the mean of L over the examples, such as
            ``torch.nn.functional.cross_entropy`` or ``torch.nn.MSELoss()``.
        weight_decay: The coefficient λ >= 0, as in ``torch.optim``: its gradient is λθ.
        dtype: The precision of θ; default: the parameters' own. Data are converted to it.
        device: Where θ lives; default: where the parameters are. Data are moved there.

    Raises:
        ValueError: Inputs and targets do not match, there is no example or no trainable
            parameter, ``weight_decay`` is negative, or the loss does not average.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [2.0]])
        >>> risk = EmpiricalRisk(nn.Linear(1, 1), x, 2 * x + 1, nn.MSELoss())
        >>> risk(torch.tensor([2.0, 1.0]))
        tensor(0.)
        >>> risk(torch.tensor([2.0, 0.0]))
        tensor(1.)
    """

    module: nn.Module
    inputs: Tensor
    targets: Tensor
    loss: Loss
    weight_decay: float = 0.0
    dtype: torch.dtype | None = None
    device: torch.device | str | None = None
    _shapes: dict[str, torch.Size] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the parts and bring the data to θ's dtype and device."""
        parameters = list(self._parameters().values())
        if not parameters:
            raise ValueError("module must have a parameter that requires a gradient, got none")
        if len(self.inputs) != len(self.targets) or not len(self.inputs):
            raise ValueError(
                "inputs and targets must hold the same number of examples, at least one, "
                f"got {len(self.inputs)} and {len(self.targets)}"
            )
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must be >= 0, got {self.weight_decay}")
        if getattr(self.loss, "reduction", "mean") != "mean":
            raise ValueError(f'loss must have reduction="mean", got {self.loss}')
        settle = object.__setattr__  # the one moment at which a frozen dataclass is not frozen
        settle(self, "dtype", self.dtype or parameters[0].dtype)
        settle(self, "device", self.device or parameters[0].device)
        settle(self, "inputs", self._convert(self.inputs))
        settle(self, "targets", self._convert(self.targets))
        settle(self, "device", self.inputs.device)  # "cuda" has become "cuda:0"
        settle(self, "_shapes", {k: p.shape for k, p in self._parameters().items()})

    def __call__(self, theta: Tensor) -> Tensor:
        """Return J(θ), 0-d, for θ of shape (n,)."""
        outputs = self.outputs(theta)
        if self._is_squared:
            self._check_shape(outputs)
        value = self.loss(outputs, self.targets)
        if value.dim() != 0:
            raise ValueError(
                f"loss must return a 0-d tensor, the mean, got shape {tuple(value.shape)}"
            )
        if self.weight_decay:
            value = value + self.weight_decay / 2 * theta.dot(theta)
        return value

    @property
    def m(self) -> int:
        """The number of examples."""
        return len(self.inputs)

    @property
    def n(self) -> int:
        """The number of parameters, the length of θ."""
        return sum(shape.numel() for shape in self._shapes.values())

    @property
    def initial(self) -> Tensor:
        """The network's present parameters as θ, shape (n,): a copy that shares no memory."""
        return self._convert(
            torch.cat([p.detach().reshape(-1) for p in self._parameters().values()])
        )

    def outputs(self, theta: Tensor, inputs: Tensor | None = None) -> Tensor:
        """Return what the network with parameters θ makes of ``inputs``.

        Args:
            theta: Parameters, shape (n,).
            inputs: Examples, one a row; default: those of the risk.

        Returns:
            The outputs, one a row.

        Raises:
            ValueError: θ has another shape, dtype or device than ``initial``.
        """
        self._check(theta)
        x = self.inputs if inputs is None else self._convert(inputs)
        values = {**self._unflatten(theta), **self._constants()}
        out: Tensor = functional_call(self.module, values, (x,))
        return out

    def residuals(self, theta: Tensor) -> Tensor:
        r"""Return r with :math:`\sum_i r_i^2 = J(\theta)`, the form Levenberg-Marquardt works on.

        Weight decay is a residual like any other, :math:`\sqrt{\lambda/2}\,\theta`.

        Args:
            theta: Parameters, shape (n,).

        Returns:
            One residual for each entry of the outputs, then one for each parameter if
            ``weight_decay`` > 0; 1-D.

        Raises:
            ValueError: The loss is not the mean squared error, or the outputs do not have the
                targets' shape.
        """
        if not self._is_squared:
            raise ValueError(f"residuals need the mean squared error as loss, got {self.loss}")
        outputs = self.outputs(theta)
        self._check_shape(outputs)
        r = (outputs - self.targets).reshape(-1) / math.sqrt(outputs.numel())
        if self.weight_decay:
            r = torch.cat([r, math.sqrt(self.weight_decay / 2) * theta])
        return r

    def subset(self, indices: Tensor | slice | list[int]) -> EmpiricalRisk:
        """Return the same risk on some of the examples, such as a minibatch.

        Args:
            indices: Which ones: positions (1-D), a Boolean mask (m,), or a slice.
        """
        return replace(self, inputs=self.inputs[indices], targets=self.targets[indices])

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> EmpiricalRisk:
        """Return the same risk in another precision or on another device; the network stays.

        Args:
            dtype: The new dtype of θ and of floating-point data; default: unchanged.
            device: The new device; default: unchanged.
        """
        return replace(self, dtype=dtype or self.dtype, device=device or self.device)

    def load(self, theta: Tensor) -> None:
        """Copy θ, shape (n,), into the network, in the network's own dtype and device."""
        self._check(theta)
        values = self._unflatten(theta.detach())
        with torch.no_grad():
            for name, parameter in self._parameters().items():
                parameter.copy_(values[name])

    def _parameters(self) -> dict[str, nn.Parameter]:
        return {k: p for k, p in self.module.named_parameters() if p.requires_grad}

    def _unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """Name the pieces of θ, as views."""
        pieces = torch.split(theta, [shape.numel() for shape in self._shapes.values()])
        return {
            name: piece.view(shape)
            for (name, shape), piece in zip(self._shapes.items(), pieces, strict=True)
        }

    def _constants(self) -> dict[str, Tensor]:
        """Name what the network holds besides θ, as it is at this moment."""
        held = {k: p.detach() for k, p in self.module.named_parameters() if k not in self._shapes}
        # Clones, because a forward pass may update buffers in place (batch norm does).
        held |= {k: b.clone() for k, b in self.module.named_buffers()}
        return {k: self._convert(v) for k, v in held.items()}

    def _convert(self, x: Tensor) -> Tensor:
        """Move to θ's device, and to its dtype unless the tensor holds whole numbers."""
        return x.to(self.device, self.dtype) if x.is_floating_point() else x.to(self.device)

    @property
    def _is_squared(self) -> bool:
        return isinstance(self.loss, nn.MSELoss) or self.loss is F.mse_loss

    def _check_shape(self, outputs: Tensor) -> None:
        """Reject differences that would broadcast, (m, 1) against (m,), to m times m of them."""
        if outputs.shape != self.targets.shape:
            raise ValueError(
                f"outputs must have the targets' shape {tuple(self.targets.shape)}, "
                f"got {tuple(outputs.shape)}"
            )

    def _check(self, theta: Tensor) -> None:
        wanted = (self.n,), self.dtype, self.device
        if (theta.shape, theta.dtype, theta.device) != wanted:
            raise ValueError(
                f"theta must have shape {wanted[0]}, dtype {wanted[1]} and be on {wanted[2]}, "
                f"got {tuple(theta.shape)}, {theta.dtype} and {theta.device}"
            )
