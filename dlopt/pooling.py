"""Mean and variance of many batches as one, and of all that reaches the layers of a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dlopt.standardization import all_but_features


@dataclass(frozen=True, eq=False)
class Pool:
    """How many values of each feature there were, their mean and biased variance, (C,) each.

    Example:
        >>> import torch
        >>> one = Pool.of(torch.tensor([[1.0]]))
        >>> one.joined(Pool.of(torch.tensor([[3.0], [5.0]]))).mean
        tensor([3.], dtype=torch.float64)
    """

    count: int
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, H: Tensor) -> Pool:
        """Return that of a batch, shape (m, C, ...), in float64."""
        variance, mean = torch.var_mean(H.double(), all_but_features(H), correction=0)
        return cls(H.numel() // H.shape[1], mean, variance)

    def joined(self, other: Pool) -> Pool:
        r"""Return that of all values together (Chan, Golub & LeVeque, 1983).

        .. math:: v = (1 - s) v_a + s v_b + s (1 - s) (\mu_b - \mu_a)^2,
                  \qquad s = n_b / (n_a + n_b)

        The last term, which the averaged variances of batches lack, is the variance between them.
        """
        count, gap = self.count + other.count, other.mean - self.mean
        share = other.count / count
        within = self.variance + share * (other.variance - self.variance)
        return Pool(count, self.mean + share * gap, within + share * (1 - share) * gap.square())


def pool_layer_by_layer(module: nn.Module, layers: Sequence[Any], batches: Iterable[Any]) -> None:
    """Fill running averages with the statistics of all that passes, in evaluation mode.

    Args:
        module: Called with each batch, once for each layer.
        layers: Its layers that have ``running_mean`` and ``running_var``. That which is called
            first comes first, so that the others see its new averages.
        batches: Inputs, or tuples and lists that start with them.

    Raises:
        ValueError: There are layers, and no batch reaches any; the averages stay as they were, as
            they do when the module raises.
    """
    batches = list(batches) if isinstance(batches, Iterator) else batches
    left = list(layers)
    before = [(b, b.clone()) for m in layers for b in (m.running_mean, m.running_var)]
    with _evaluating(module), torch.no_grad():
        try:
            while left and (found := _pool_first_called(module, left, batches)) is not None:
                layer, pool = found
                layer.running_mean.copy_(pool.mean)
                layer.running_var.copy_(pool.variance)
                left.remove(layer)
            if layers and len(left) == len(layers):
                raise ValueError(
                    f"batches must reach one of the {len(left)} layers, got no batch that does"
                )
        except BaseException:
            for buffer, value in before:
                buffer.copy_(value)
            raise


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put every part into evaluation mode, and each back into its own."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode


def _pool_first_called(
    module: nn.Module, layers: Sequence[nn.Module], batches: Iterable[Any]
) -> tuple[Any, Pool] | None:
    """Run the module on all batches; return the layer called first and the pool of its inputs."""
    first: nn.Module | None = None
    pool: Pool | None = None

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal first, pool
        first = layer if first is None else first
        if layer is first and len(inputs[0]):
            new = Pool.of(inputs[0])
            pool = new if pool is None else pool.joined(new)

    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        for batch in batches:
            module(batch[0] if isinstance(batch, tuple | list) else batch)
    finally:
        for hook in hooks:
            hook.remove()
    return None if first is None or pool is None else (first, pool)
