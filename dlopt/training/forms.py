"""Functions in a form that ``torch.vmap`` runs fast, or runs at all.

``vmap`` turns a function of one network into one of R networks, operation by operation. Most
operations have a good rule. Recurrent cells have none, the gradient of an embedding with a padding
index is wrong, cross-entropy is slow, and refused where labels are smoothed, and linear layers and
batch norm take a tenth more time than they have to. Each function here computes what its namesake
does from operations with good rules. ``with FastForms():`` puts them in the place of their
namesakes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from dlopt import batch_norm as plain


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute what ``torch.nn.functional.linear`` does."""
    y = input @ weight.mT
    return y if bias is None else y + bias


def batch_norm(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Compute what ``torch.nn.functional.batch_norm`` does."""
    if input.dim() != 2:
        return F.batch_norm(input, *args, **kwargs)
    # As one sequence: the same means, over an axis that lies in memory in a row.
    return F.batch_norm(input.mT.unsqueeze(0), *args, **kwargs)[0].mT


def normalize(
    H: Tensor, gamma: Tensor, beta: Tensor, delta: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute what ``dlopt.batch_norm.normalize`` does, rounded as PyTorch's kernel rounds."""
    if H.dim() != 2 or delta == 0:  # where that kernel is slow, or divides by 0
        return plain.normalize(H, gamma, beta, delta)
    # The kernel's own statistics, as averages that forget at once: to take them again is slow.
    mean, unbiased = torch.zeros_like(H[0].detach()), torch.zeros_like(H[0].detach())
    out = batch_norm(H, mean, unbiased, gamma, beta, training=True, momentum=1.0, eps=delta)
    return out, mean, unbiased * ((len(H) - 1) / len(H))


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """Compute what ``torch.nn.functional.embedding`` does; ``max_norm`` is refused."""
    if max_norm is not None:
        raise ValueError(f"an embedding of replicas must have max_norm=None, got {max_norm}")
    rows = F.embedding(input, weight)
    if padding_idx is None:
        return rows
    # Under vmap PyTorch leaves out this row for the first network alone.
    constant = (input == padding_idx % len(weight)).unsqueeze(-1)
    return torch.where(constant, rows.detach(), rows)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute what ``torch.nn.functional.cross_entropy`` does."""
    old_words = size_average is not None or reduce is not None
    if old_words or target.is_floating_point() or input.dim() == 1:
        return F.cross_entropy(
            input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing
        )
    # The classes first: sums over ten numbers in a row are ten times as slow.
    logs = input.movedim(1, 0).log_softmax(dim=0)
    counted = target != ignore_index
    target = torch.where(counted, target, 0)
    losses = -torch.where(counted, logs.gather(0, target.unsqueeze(0))[0], 0)
    shares = counted if weight is None else torch.where(counted, weight[target], 0)
    if weight is not None:
        losses = losses * shares
    if label_smoothing:
        each = logs if weight is None else logs * weight.view(-1, *[1] * (logs.dim() - 1))
        even = -torch.where(counted, each.mean(dim=0), 0)
        losses = torch.lerp(losses, even, label_smoothing)
    if reduction == "none":
        return losses
    return losses.sum() / shares.sum() if reduction == "mean" else losses.sum()


def gru_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """Compute what ``torch.gru_cell`` does."""
    r_in, z_in, new_in = linear(input, w_ih, b_ih).chunk(3, dim=-1)
    r_old, z_old, new_old = linear(hx, w_hh, b_hh).chunk(3, dim=-1)
    r, z = (r_in + r_old).sigmoid(), (z_in + z_old).sigmoid()
    return torch.lerp((new_in + r * new_old).tanh(), hx, z)


def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute what ``torch.lstm_cell`` does."""
    h, c = hx
    gates = linear(input, w_ih, b_ih) + linear(h, w_hh, b_hh)
    i, f, g, o = gates.chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def rnn_cell(activation: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """Return what computes ``torch.rnn_tanh_cell`` or its like with another activation."""

    def cell(
        input: Tensor,
        hx: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Tensor:
        return activation(linear(input, w_ih, b_ih) + linear(hx, w_hh, b_hh))

    return cell


FORMS: Mapping[Callable[..., Any], Callable[..., Any]] = MappingProxyType(
    {
        F.linear: linear,
        F.batch_norm: batch_norm,
        plain.normalize: normalize,
        F.embedding: embedding,
        F.cross_entropy: cross_entropy,
        torch.gru_cell: gru_cell,
        torch.lstm_cell: lstm_cell,
        torch.rnn_tanh_cell: rnn_cell(torch.tanh),
        torch.rnn_relu_cell: rnn_cell(torch.relu),
    }
)
"""Each function of PyTorch or ``dlopt`` that has a form of its own, and the form."""


class FastForms(TorchFunctionMode):
    """While it is entered, functions that have a form of their own are computed in that form."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the form, or the function itself where it has none."""
        return FORMS.get(func, func)(*args, **(kwargs or {}))
