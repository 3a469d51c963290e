"""Batch normalization: standardise each feature over the batch, and differentiate through that."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as TorchBatchNorm
from torch.overrides import handle_torch_function, has_torch_function

from dlopt.pooling import pool_layer_by_layer
from dlopt.standardization import all_but_features, along_features, standardize, sum_of_products


def batch_norm(H: Tensor, gamma: Tensor, beta: Tensor, delta: float = 1e-8) -> Tensor:
    r"""Standardise each feature over the batch, then scale and shift it.

    .. math:: \gamma H' + \beta, \qquad H' = \frac{H - \mu}{\sigma}, \qquad
              \mu = \frac1m \sum_i H_{i,:}, \qquad
              \sigma = \sqrt{\delta + \frac1m \sum_i (H - \mu)_i^2}

    Equations 8.35 to 8.37, with what section 8.7.1 adds to them (Ioffe & Szegedy, 2015). The
    gradient is that of ``batch_norm_backward``; it may be differentiated again. With δ = 0 a
    constant feature becomes β, with gradient 0.

    Args:
        H: Rows are examples, shape (m, C), or (m, C, ...), where a feature has the same μ
            and σ at every position. float16 and bfloat16 are computed in float32.
        gamma: γ, shape (C,).
        beta: β, shape (C,).
        delta: δ, at least 0.

    Returns:
        The shape and dtype of H.

    Raises:
        ValueError: H has no values to take a variance of, or shapes, dtypes or δ don't fit.

    Example:
        >>> import torch
        >>> H = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
        >>> gamma, beta = torch.tensor([2.0, 2.0]), torch.tensor([0.0, 1.0])
        >>> batch_norm(H, gamma, beta).tolist()
        [[-2.0, 1.0], [2.0, 1.0]]
    """
    return _with_statistics(H, gamma, beta, delta)[0]


def batch_norm_backward(
    G: Tensor, H: Tensor, sigma: Tensor, gamma: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return the gradients of a loss in H, γ and β from that in the output.

    .. math:: \frac{\partial L}{\partial H} = \frac{\gamma}{\sigma} \Big(G - \frac1m \sum_i G_{i,:}
              - H' \frac1m \sum_i (G \circ H')_{i,:} \Big), \qquad
              \frac{\partial L}{\partial \gamma} = \sum_i (G \circ H')_{i,:}, \qquad
              \frac{\partial L}{\partial \beta} = \sum_i G_{i,:}

    The two means are what flows back through μ and through σ. Exact for every δ.

    Args:
        G: The gradient in the output :math:`\gamma H' + \beta`, shape (m, C, ...).
        H: The standardised batch H' (not H), of the same shape.
        sigma: σ, shape (C,).
        gamma: γ, shape (C,).

    Returns:
        The gradients in H, of its shape, in γ and in β, (C,) each.

    Example:
        >>> import torch
        >>> H = torch.tensor([[-1.0], [1.0], [-1.0], [1.0]])
        >>> G = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
        >>> [g.tolist() for g in batch_norm_backward(G, H, torch.tensor([2.0]), torch.ones(1))]
        [[[0.25], [0.0], [-0.25], [0.0]], [-1.0], [1.0]]
    """
    m = H.numel() / H.shape[1]
    sum_G, sum_GH = G.sum(all_but_features(H), keepdim=True), sum_of_products(G, H)
    scale = along_features(gamma / sigma, H)
    # In place: (G − mean G − H' ∘ mean(G ∘ H')) · γ/σ
    grad_H = torch.addcmul(-sum_G / m, -sum_GH / m, H).add_(G).mul_(scale)
    return grad_H, sum_GH.view(-1), sum_G.view(-1)


class _Normalize(torch.autograd.Function):
    """The output, H', σ, μ and the variance; the first three are differentiable.

    The backward pass computes with H' and σ. They are outputs, so that a second derivative finds
    how they depend on H.
    """

    @staticmethod
    def forward(H: Tensor, gamma: Tensor, beta: Tensor, delta: float) -> tuple[Tensor, ...]:
        """Compute the outputs from H, γ, β and δ."""
        H, mean, variance, sigma = standardize(H, delta)
        output = torch.addcmul(along_features(beta, H), H, along_features(gamma, H))
        return output, H, sigma, mean, variance

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep H', σ and γ."""
        _, H, sigma, mean, variance = output
        ctx.save_for_backward(H, sigma, inputs[1])
        ctx.mark_non_differentiable(mean, variance)
        ctx.set_materialize_grads(False)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *inputs: Any
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """Treat R batches of C features as one batch of RC features."""
        R = info.batch_size
        H, gamma, beta = (
            v.expand(R, *v.shape) if at is None else v.movedim(at, 0)
            for v, at in zip(inputs[:3], in_dims[:3], strict=True)
        )
        found = _Normalize.apply(  # type: ignore[no-untyped-call]
            H.transpose(0, 1).flatten(1, 2), gamma.flatten(), beta.flatten(), inputs[3]
        )
        C = gamma.shape[1]
        both = [v.unflatten(1, (R, C)) for v in found[:2]]
        return (*both, *(v.unflatten(0, (R, C)) for v in found[2:])), (1, 1, 0, 0, 0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients in H, γ and β; those in H' and σ come with second derivatives."""
        (H, sigma, gamma), (G, grad_standard, grad_sigma, *_) = ctx.saved_tensors, grads
        grad_H = grad_gamma = grad_beta = None
        if G is not None:
            grad_H, grad_gamma, grad_beta = batch_norm_backward(G, H, sigma, gamma)
        if grad_standard is not None:
            more = batch_norm_backward(grad_standard, H, sigma, torch.ones_like(gamma))[0]
            grad_H = more if grad_H is None else grad_H + more
        if grad_sigma is not None:  # ∂σ/∂H = H'/m
            more = along_features(grad_sigma / (H.numel() / H.shape[1]), H) * H
            grad_H = more if grad_H is None else grad_H + more
        return grad_H, grad_gamma, grad_beta, None


def _with_statistics(
    H: Tensor, gamma: Tensor, beta: Tensor, delta: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Check the input; return the output, the mean and the variance."""
    _check(H, gamma, beta, delta)
    if H.numel() < 2 * H.shape[1]:
        raise ValueError(
            f"the variance of a batch needs two values of each feature, got H of shape "
            f"{tuple(H.shape)}: use more examples, or evaluation mode, module.eval()"
        )
    wide = torch.promote_types(H.dtype, torch.float32)
    if wide != H.dtype:
        out, mean, variance = _with_statistics(H.to(wide), gamma.to(wide), beta.to(wide), delta)
        return out.to(H.dtype), mean, variance
    return normalize(H, gamma, beta, delta)


def normalize(
    H: Tensor, gamma: Tensor, beta: Tensor, delta: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output, the mean and the variance, unchecked; replicas put a form in its place.

    Args:
        H: Shape (m, C), or (m, C, and positions).
        gamma: γ, shape (C,).
        beta: β, shape (C,).
        delta: δ.
    """
    if has_torch_function((H, gamma, beta)):
        found: tuple[Tensor, Tensor, Tensor]
        found = handle_torch_function(normalize, (H, gamma, beta), H, gamma, beta, delta)
        return found
    out, _, _, mean, variance = _Normalize.apply(H, gamma, beta, delta)  # type: ignore[no-untyped-call]
    return out, mean, variance


def _check(H: Tensor, gamma: Tensor, beta: Tensor, delta: float) -> None:
    """Raise ``ValueError`` unless these fit together."""
    if H.dim() < 2:
        raise ValueError(f"H must have shape (m, C) or (m, C, *positions), got {tuple(H.shape)}")
    if not H.is_floating_point():
        raise ValueError(f"H must be of a floating-point dtype, got {H.dtype}")
    for name, v in (("gamma", gamma), ("beta", beta)):
        if v.shape != (H.shape[1],):
            raise ValueError(
                f"{name} must have the shape of a value for each of the {H.shape[1]} features of "
                f"H, ({H.shape[1]},), got {tuple(v.shape)}"
            )
        if v.dtype not in (H.dtype, torch.promote_types(H.dtype, torch.float32)):
            raise ValueError(f"{name} must be of the dtype of H, {H.dtype}, got {v.dtype}")
    _check_delta(delta)


def _check_delta(delta: float) -> None:
    if not 0 <= delta < math.inf:
        raise ValueError(f"delta must be a finite number of at least 0, got {delta}")


class BatchNorm(nn.Module):
    r"""A layer that normalises each feature over the batch, and has γ and β to learn.

    In training mode it uses mean and variance of the batch, and running averages of them follow:
    decay times the old, and 1 − decay times the new. In evaluation mode it uses these averages, so
    that one example can be evaluated alone. Only ``train()`` and ``eval()`` decide which.

    ``torch.nn.BatchNorm1d`` and its like call 1 − decay ``momentum`` and δ ``eps``, and let the
    running variance follow the unbiased one; here it is the biased one of equation 8.37.

    Args:
        num_features: C; input has shape (m, C) or (m, C, ...).
        delta: δ, at least 0, added to the variance.
        decay: Of the running averages, in [0, 1).
        device: Of parameters and buffers.
        dtype: Of parameters and buffers.

    Attributes:
        gamma: γ, (C,), starts at 1.
        beta: β, (C,), starts at 0.
        running_mean: (C,), starts at 0.
        running_var: (C,), starts at 1.

    Raises:
        ValueError: A setting is out of its range; when called: as ``batch_norm``.

    Example:
        >>> import torch
        >>> layer = BatchNorm(1, decay=0.5)
        >>> layer(torch.tensor([[1.0], [3.0]])).tolist()
        [[-1.0], [1.0]]
        >>> layer.running_mean, layer.running_var
        (tensor([1.]), tensor([1.]))
        >>> layer.eval()(torch.tensor([[3.0]])).tolist()
        [[2.0]]
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        num_features: int,
        delta: float = 1e-8,
        decay: float = 0.9,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if num_features < 1:
            raise ValueError(f"num_features must be at least 1, got {num_features}")
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        _check_delta(delta)
        self.num_features, self.delta, self.decay = num_features, delta, decay
        zeros = torch.zeros(num_features, device=device, dtype=dtype)
        self.gamma, self.beta = nn.Parameter(torch.ones_like(zeros)), nn.Parameter(zeros.clone())
        self.register_buffer("running_mean", zeros)
        self.register_buffer("running_var", torch.ones_like(zeros))

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input, of the same shape and dtype."""
        if not self.training:
            return self._evaluated(input)
        out, mean, variance = _with_statistics(input, self.gamma, self.beta, self.delta)
        with torch.no_grad():
            for running, batch in ((self.running_mean, mean), (self.running_var, variance)):
                running.mul_(self.decay).add_((1 - self.decay) * batch)
        return out

    def _evaluated(self, H: Tensor) -> Tensor:
        """Normalise by the running averages."""
        _check(H, self.gamma, self.beta, self.delta)
        wide = torch.promote_types(H.dtype, torch.float32)
        sigma = (self.running_var.to(wide) + self.delta).sqrt()
        scale = self.gamma.to(wide) / sigma.masked_fill(sigma == 0, math.inf)
        mean, scale, beta = (
            along_features(v.to(wide), H) for v in (self.running_mean, scale, self.beta)
        )
        return torch.addcmul(beta, H.to(wide) - mean, scale).to(H.dtype)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"{self.num_features}, delta={self.delta}, decay={self.decay}"


def recompute_statistics(module: nn.Module, batches: Iterable[Any]) -> None:
    """Set each layer's running averages to mean and biased variance of all that passes through it.

    They are pooled exactly (Chan, Golub & LeVeque, 1983), so that the split into batches and their
    order don't matter; averages of the batches' variances would lack the variance between them.
    Layer after layer in the order in which they are called, everything in evaluation mode: what
    reaches a layer comes from layers that have their new statistics. This is what the whole data,
    as one batch in training mode, would be normalised by. It costs one pass through ``batches``
    for each layer. A layer that feeds its own input uses there the averages that it had.

    Args:
        module: Has layers ``BatchNorm``, or PyTorch's, whose running variance becomes the biased
            one, too; modes are left as they were. Without such a layer nothing happens.
        batches: Inputs of the module, or tuples that start with them, such as (x, y). What can be
            iterated only once is kept in memory.

    Raises:
        ValueError: There is no batch, or none reaches a layer.

    Example:
        >>> import torch
        >>> layer = BatchNorm(1)
        >>> recompute_statistics(layer, [torch.tensor([[1.0]]), torch.tensor([[3.0], [5.0]])])
        >>> layer.running_mean, layer.running_var.round(decimals=4)
        (tensor([3.]), tensor([2.6667]))
    """
    if isinstance(batches, Tensor):
        raise ValueError(f"batches must yield inputs, such as [x], got x, {tuple(batches.shape)}")
    module = getattr(module, "_orig_mod", module)  # a compiled module may not call its hooks
    found = [m for m in module.modules() if isinstance(m, BatchNorm | TorchBatchNorm)]
    layers = [m for m in found if m.running_mean is not None]
    pool_layer_by_layer(module, layers, batches)
