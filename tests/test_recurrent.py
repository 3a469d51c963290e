"""The loop over a cell is PyTorch's recurrent layer, and has replicas; starts that remember."""

import math

import pytest
import torch
from torch import nn

from dlopt.recurrent import LastOutput, set_forget_bias_, start_as_identity_
from dlopt.training.replicas import Replicas

CELLS = {
    "tanh": (nn.RNNCell, nn.RNN, {}),
    "relu": (nn.RNNCell, nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (nn.LSTMCell, nn.LSTM, {}),
    "gru": (nn.GRUCell, nn.GRU, {}),
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CELLS)
def test_the_loop_is_pytorchs_layer(name, dtype):
    make_cell, make_layer, options = CELLS[name]
    torch.manual_seed(0)
    cell = make_cell(3, 5, **options, dtype=dtype)
    layer = make_layer(3, 5, batch_first=True, **options, dtype=dtype)
    layer.load_state_dict({f"{k}_l0": v for k, v in cell.state_dict().items()})
    x = torch.randn(4, 7, 3, generator=seeded(0), dtype=dtype)
    head = nn.Linear(5, 2, dtype=dtype)
    torch.testing.assert_close(LastOutput(cell, head)(x), head(layer(x)[0][:, -1]))


@pytest.mark.parametrize("name", CELLS)
def test_replicas_compute_what_each_alone_does(name):
    make_cell, _, options = CELLS[name]
    torch.manual_seed(0)
    nets = [LastOutput(make_cell(3, 5, **options), nn.Linear(5, 2)) for _ in range(3)]
    replicas, x = Replicas(nets), torch.randn(3, 4, 7, 3, generator=seeded(0))
    theta = replicas.theta.requires_grad_()
    together = replicas.each(lambda net, theta, x: net(x), theta, replicas.state, x, training=True)
    (slopes,) = torch.autograd.grad(together.square().sum(), theta)
    for k, net in enumerate(nets):
        alone = net(x[k])
        torch.testing.assert_close(together[k], alone)
        alone.square().sum().backward()
        slope = torch.cat([p.grad.reshape(-1) for p in net.parameters()])
        torch.testing.assert_close(slopes[k], slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bias", [0.0, 1.0, 5.0])
def test_the_forget_gate_decides_how_long_the_memory_is(bias):
    """With nothing coming in, the memory shrinks by the gate at each step."""
    cell = nn.LSTMCell(2, 4)
    with torch.no_grad():
        for p in cell.parameters():
            p.normal_(generator=seeded(0))
    before = cell.bias_ih.detach().clone()
    set_forget_bias_(cell, bias)
    changed = (cell.bias_ih != before).nonzero().flatten().tolist()
    assert changed == [4, 5, 6, 7]
    with torch.no_grad():
        for p in (cell.weight_ih, cell.weight_hh):
            p.zero_()
        cell.bias_ih[8:12] = cell.bias_hh[8:12] = 0  # nothing new to be written
        memory = torch.ones(1, 4)
        _, after = cell(torch.zeros(1, 2), (torch.zeros(1, 4), memory))
    torch.testing.assert_close(after, torch.full((1, 4), bias).sigmoid())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_identity_start_keeps_the_state(dtype):
    cell = nn.RNNCell(2, 4, nonlinearity="relu", dtype=dtype)
    inputs = cell.weight_ih.detach().clone()
    start_as_identity_(cell)
    h = start = torch.rand(3, 4, generator=seeded(0), dtype=dtype)
    for _ in range(100):
        h = cell(torch.zeros(3, 2, dtype=dtype), h)
    assert torch.equal(h, start) and torch.equal(cell.weight_ih, inputs)
    start_as_identity_(cell, 0.1)
    assert torch.equal(cell.weight_hh, 0.1 * torch.eye(4, dtype=dtype))


def test_a_cell_without_biases_starts_as_the_identity():
    cell = nn.RNNCell(2, 4, bias=False)
    start_as_identity_(cell)
    assert torch.equal(cell.weight_hh, torch.eye(4))


NET = LastOutput(nn.GRUCell(3, 4), nn.Linear(4, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LastOutput(nn.Linear(2, 2), nn.Tanh()), "RNNCell, LSTMCell or GRUCell, got Lin"),
        (lambda: LastOutput(nn.LSTM(2, 2), nn.Tanh()), "got LSTM"),
        (lambda: NET(torch.zeros(5, 3)), r"shape \(m, T, 3\), .* got \(5, 3\)"),
        (lambda: NET(torch.zeros(5, 0, 3)), r"got \(5, 0, 3\)"),
        (lambda: NET(torch.zeros(5, 2, 4)), r"got \(5, 2, 4\)"),
        (lambda: set_forget_bias_(nn.GRUCell(2, 2), 1.0), r"LSTMCell with biases, got GRUCell"),
        (lambda: set_forget_bias_(nn.LSTMCell(2, 2, bias=False), 1.0), "LSTMCell with biases"),
        (lambda: set_forget_bias_(nn.LSTMCell(2, 2), math.nan), "bias must be finite, got nan"),
        (lambda: start_as_identity_(nn.LSTMCell(2, 2)), "must be an RNNCell, got LSTMCell"),
        (lambda: start_as_identity_(nn.RNNCell(2, 2), math.inf), "scale must be finite, got inf"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
