"""A recurrent cell over a sequence, and starts from which it remembers for long."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class LastOutput(nn.Module):
    r"""A recurrent cell that reads a sequence, and a head that is asked at its end.

    .. math:: h_t = \operatorname{cell}(x_t, h_{t-1}), \qquad h_0 = 0, \qquad
              \hat y = \operatorname{head}(h_T)

    The loop is written out, so that there are ``Replicas`` of it.

    Args:
        cell: ``nn.RNNCell``, ``nn.LSTMCell``, whose memory also starts at 0, or ``nn.GRUCell``.
        head: Makes the output of the last state, shape (m, units).

    Raises:
        ValueError: ``cell`` is none of these, or the input is no sequence of its features.

    Example:
        >>> network = LastOutput(nn.LSTMCell(2, 8), nn.Linear(8, 3))
        >>> network(torch.zeros(5, 20, 2)).shape
        torch.Size([5, 3])
    """

    def __init__(self, cell: nn.RNNCellBase, head: nn.Module) -> None:
        super().__init__()
        if not isinstance(cell, nn.RNNCell | nn.LSTMCell | nn.GRUCell):
            raise ValueError(
                f"cell must be an RNNCell, LSTMCell or GRUCell, got {type(cell).__name__}"
            )
        self.cell, self.head = cell, head

    def forward(self, x: Tensor) -> Tensor:
        """Return the output after the last step.

        Args:
            x: Sequences, shape (m, T, features), T at least 1.
        """
        if x.dim() != 3 or x.shape[1] < 1 or x.shape[2] != self.cell.input_size:
            raise ValueError(
                f"x must have shape (m, T, {self.cell.input_size}), T at least 1, "
                f"got {tuple(x.shape)}"
            )
        h = x.new_zeros(len(x), self.cell.hidden_size)
        if isinstance(self.cell, nn.LSTMCell):
            memory = h
            for x_t in x.unbind(1):
                h, memory = self.cell(x_t, (h, memory))
        else:
            for x_t in x.unbind(1):
                h = self.cell(x_t, h)
        out: Tensor = self.head(h)
        return out


@torch.no_grad()
def set_forget_bias_(cell: nn.LSTMCell, bias: float) -> None:
    r"""Let the forget gate of an LSTM start with a bias, in place.

    .. math:: f_t = \sigma(W x_t + U h_{t-1} + b), \qquad
              c_t = f_t \odot c_{t-1} + i_t \odot g_t

    With b = 0 the memory halves at each step; a start at 1 or more is what makes it long
    (Jozefowicz et al., 2015). PyTorch adds up two biases: the other one becomes 0.

    Args:
        cell: Has biases.
        bias: b.

    Raises:
        ValueError: The cell is no LSTM or has no biases, or ``bias`` isn't finite.

    Example:
        >>> cell = nn.LSTMCell(2, 3)
        >>> set_forget_bias_(cell, 1.0)
        >>> (cell.bias_ih + cell.bias_hh).detach()[3:6]
        tensor([1., 1., 1.])
    """
    if not isinstance(cell, nn.LSTMCell) or not cell.bias:
        raise ValueError(f"cell must be an LSTMCell with biases, got {cell}")
    if not math.isfinite(bias):
        raise ValueError(f"bias must be finite, got {bias}")
    forget = slice(cell.hidden_size, 2 * cell.hidden_size)  # of the gates i, f, g, o
    cell.bias_ih[forget] = bias
    cell.bias_hh[forget] = 0


@torch.no_grad()
def start_as_identity_(cell: nn.RNNCell, scale: float = 1.0) -> None:
    r"""Let a plain recurrent cell start by keeping its state, in place.

    .. math:: h_t = \phi(W x_t + s \, h_{t-1})

    Its recurrent weights become s times the identity, its biases 0. With
    ``nonlinearity="relu"`` and s = 1 this is the start of Le et al. (2015).

    Args:
        cell: Plain.
        scale: s.

    Raises:
        ValueError: The cell is another one, or ``scale`` isn't finite.

    Example:
        >>> cell = nn.RNNCell(1, 2, nonlinearity="relu")
        >>> start_as_identity_(cell)
        >>> cell(torch.zeros(1, 1), torch.tensor([[2.0, 3.0]])).detach()
        tensor([[2., 3.]])
    """
    if not isinstance(cell, nn.RNNCell):
        raise ValueError(f"cell must be an RNNCell, got {cell}")
    if not math.isfinite(scale):
        raise ValueError(f"scale must be finite, got {scale}")
    cell.weight_hh.copy_(scale * torch.eye(cell.hidden_size, dtype=torch.float64))
    if cell.bias:
        cell.bias_ih.zero_()
        cell.bias_hh.zero_()
