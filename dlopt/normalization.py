"""Other ways to normalise units: by a penalty, after each step, and relations between them, too."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlopt.standardization import all_but_features, standardize


def statistics_penalty(H: Tensor) -> Tensor:
    r"""Penalise how far the statistics of each feature are from mean 0 and variance 1.

    .. math:: \frac1C \sum_j \mu_j^2 + (\sigma_j^2 - 1)^2

    Added to the loss it encourages normalised units, and gives up some of that for a smaller loss.

    Args:
        H: Rows are examples, shape (m, C) or (m, C, ...).

    Returns:
        The penalty, 0-d, differentiable; 0 only where every feature is standardised.

    Example:
        >>> import torch
        >>> statistics_penalty(torch.tensor([[1.0], [3.0]]))
        tensor(4.)
    """
    variance, mean = torch.var_mean(H, all_but_features(H), correction=0)
    return (mean.square() + (variance - 1).square()).mean()


@torch.no_grad()
def renormalize_(layer: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d, inputs: Tensor) -> None:
    r"""Change a layer in place so that its outputs on these inputs are standardised.

    .. math:: W_{:,j} \leftarrow W_{:,j} / \sigma_j, \qquad
              b_j \leftarrow (b_j - \mu_j) / \sigma_j

    Done after each step, it takes back what the step changed in the statistics.

    Args:
        layer: With a bias; its outputs have shape (m, C) or (m, C, ...).
        inputs: Of the layer; rows are examples.

    Raises:
        ValueError: The layer has no bias, or an output is constant on the inputs.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(3, 2)
        >>> x = torch.randn(50, 3)
        >>> renormalize_(layer, x)
        >>> torch.var_mean(layer(x), 0, correction=0)[0].round(decimals=4)
        tensor([1., 1.], grad_fn=<RoundBackward1>)
    """
    if layer.bias is None:
        raise ValueError(f"layer must have a bias, which moves the mean, got {layer}")
    _, mean, variance, sigma = standardize(layer(inputs), delta=0.0)
    if not bool((variance > 0).all()):
        constant = (variance == 0).nonzero().flatten().tolist()
        raise ValueError(f"outputs must vary over the inputs, got constant outputs {constant}")
    layer.weight.div_(sigma.view(-1, *[1] * (layer.weight.dim() - 1)))
    layer.bias.sub_(mean).div_(sigma)


def whiten(H: Tensor, delta: float = 1e-8) -> Tensor:
    r"""Remove all linear relations between features, not only their means and variances.

    .. math:: (H - \mu) \Big(\delta I + \frac1m (H - \mu)^\top (H - \mu)\Big)^{-1/2}

    Of all ways to whiten this one (ZCA) stays closest to H − μ. It needs the C × C matrix of
    covariances, O(mC²) work, and its eigenvalues, O(C³), where batch normalization needs O(mC).

    Args:
        H: Rows are examples, shape (m, C).
        delta: δ, at least 0, added to each variance. With δ = 0 directions without variance are 0.

    Returns:
        Shape (m, C): uncorrelated features of variance 1.

    Raises:
        ValueError: H is no matrix, or δ is negative.

    Example:
        >>> import torch
        >>> x = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [-2.0, 2.0], [2.0, -2.0]])
        >>> (whiten(x, delta=0.0).T.cov(correction=0)).round(decimals=4).abs().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    if H.dim() != 2:
        raise ValueError(f"H must have shape (m, C), got {tuple(H.shape)}")
    if not delta >= 0:
        raise ValueError(f"delta must be at least 0, got {delta}")
    centred = H - H.mean(dim=0)
    variances, directions = torch.linalg.eigh(centred.mT @ centred / len(H))
    # Of what rounding leaves of no variance, the root would make variance 1.
    none = variances <= len(variances) * torch.finfo(H.dtype).eps * variances[-1]
    scale = (variances.clamp(min=0) + delta).rsqrt()
    scale = scale.masked_fill(none, 0) if delta == 0 else scale
    whitened: Tensor = centred @ (directions * scale @ directions.mT)
    return whitened
