"""What a gradient says of its neighbourhood: how soon it changes, and whether it points home."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dlopt.jacobians import require_separate


@torch.no_grad()
def gradients_along_line(network: nn.Module, line: Tensor) -> Tensor:
    r"""Return the gradient of a network's output in its input at points in a row.

    .. math:: g_t = \frac{\partial \hat y(x_t)}{\partial x_t}

    Balduzzi et al. (2017) look at it along 256 numbers between −2 and 2: where it changes from one
    to the next as if it were drawn anew, it is called shattered.

    Args:
        network: Makes one number of each input; batch normalization is in evaluation mode, with
            the statistics of the line: ``recompute_statistics(network, [line])``.
        line: The points, in order, shape (m, ...).

    Returns:
        Of the same shape.

    Raises:
        ValueError: The network returns several numbers for an input, or what it returns depends on
            the other inputs.

    Example:
        >>> gradients_along_line(nn.ReLU(), torch.tensor([[-1.0], [1.0]]))
        tensor([[0.],
                [1.]])
    """
    require_separate(network)

    def output(x: Tensor) -> Tensor:
        y: Tensor = network(x.unsqueeze(0))
        if y.numel() != 1:
            raise ValueError(
                f"network must return one number for each input, got shape {tuple(y.shape[1:])}"
            )
        return y.reshape(())

    gradients: Tensor = torch.vmap(torch.func.grad(output))(line)
    return gradients


def autocorrelation(gradients: Tensor, lags: Sequence[int], center: bool = True) -> Tensor:
    r"""Return how alike gradients are that lie a number of steps apart.

    .. math:: C_k = \frac{\sum_{t=1}^{m-k} (g_t - \bar g)^\top (g_{t+k} - \bar g)}
                         {\sum_{t=1}^m \lVert g_t - \bar g \rVert^2}

    The sample autocorrelation of time series; at lag 0 it is 1. White noise has about 0 at all
    other lags, and for brown noise it falls slowly. A sum of m − k terms is divided by one of m,
    so that even what hardly changes falls to 1 − k/m.

    Args:
        gradients: Those of points in a row, shape (m,) or (m, n).
        lags: k, each in 0, …, m − 1.
        center: Whether the mean :math:`\bar g` is subtracted. Without that a gradient that is
            nearly the same everywhere counts as correlated, and with it as whatever the rest is.

    Returns:
        One for each lag; NaN if the gradients are all the same.

    Raises:
        ValueError: A lag is out of range.

    Example:
        >>> autocorrelation(torch.tensor([1.0, -1.0, 1.0, -1.0]), [0, 1])
        tensor([ 1.0000, -0.7500])
    """
    m = len(gradients)
    if wrong := [k for k in lags if not 0 <= k < m]:
        raise ValueError(f"lags must be in 0 to {m - 1} for {m} gradients, got {wrong}")
    g = gradients.reshape(m, -1)
    g = g - g.mean(0) if center else g
    return torch.stack([(g[: m - k] * g[k:]).sum() for k in lags]) / g.square().sum()


def cosine_to_solution(thetas: Tensor, gradients: Tensor, solution: Tensor | None = None) -> Tensor:
    r"""Return whether descent points to where the training ended.

    .. math:: \cos_t = \frac{-g_t^\top (\theta_* - \theta_t)}
                            {\lVert g_t \rVert \lVert \theta_* - \theta_t \rVert}

    Between two random directions of :math:`\mathbb R^n` it is about :math:`1/\sqrt n`. The last
    steps lead to the end by construction, so that early ones tell more.

    Args:
        thetas: The points of a run, shape (T, ..., n); axes between are for several runs.
        gradients: Those of the objective at these points, of the same shape.
        solution: θ*, shape (..., n); None for the last point, which itself has no direction to it
            and is left out.

    Returns:
        Shape (T, ...), or (T − 1, ...) without ``solution``; NaN where a gradient is 0.

    Raises:
        ValueError: The shapes differ, or one point alone is given without a solution.

    Example:
        >>> thetas = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
        >>> cosine_to_solution(thetas, torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]))
        tensor([1.0000, 0.7071])
    """
    if thetas.shape != gradients.shape:
        raise ValueError(
            f"gradients must have the shape of thetas {tuple(thetas.shape)}, "
            f"got {tuple(gradients.shape)}"
        )
    if solution is None:
        if len(thetas) < 2:
            raise ValueError(f"thetas must be two points at least, got {len(thetas)}")
        solution, thetas, gradients = thetas[-1], thetas[:-1], gradients[:-1]
    way = solution - thetas
    lengths: Tensor = torch.linalg.vector_norm(way, dim=-1) * torch.linalg.vector_norm(
        gradients, dim=-1
    )
    return -(gradients * way).sum(-1) / lengths
