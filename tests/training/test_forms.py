"""Each form computes what its namesake does, alone and for many networks at once."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlopt.batch_norm import normalize
from dlopt.training.forms import FORMS, FastForms


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def classes(*shape, ignored=None):
    drawn = torch.randint(5, shape, generator=torch.Generator().manual_seed(1))
    if ignored is not None:
        drawn.view(-1)[::3] = ignored
    return drawn


WEIGHT = torch.tensor([0.5, 2.0, 1.0, 0.0, 3.0]).double()
CELL = (numbers(4, 7, 3), numbers(4, 7, 6, seed=1))


def cell(gates, bias=True):
    """Parameters of 4 recurrent cells, as they stand after input and state."""
    weights = numbers(4, gates * 6, 3, seed=2), numbers(4, gates * 6, 6, seed=3)
    biases = numbers(4, gates * 6, seed=4), numbers(4, gates * 6, seed=5)
    return (*weights, *biases) if bias else weights


# A function of one network, and the arguments of four of them.
CASES = {
    "linear": (F.linear, (numbers(4, 7, 3), numbers(4, 2, 3), numbers(4, 2))),
    "linear, no bias": (F.linear, (numbers(4, 7, 3), numbers(4, 2, 3))),
    "linear, one example": (F.linear, (numbers(4, 3), numbers(4, 2, 3), numbers(4, 2))),
    "linear, sequences": (F.linear, (numbers(4, 7, 5, 3), numbers(4, 2, 3), numbers(4, 2))),
    "batch norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        (numbers(4, 7, 3), numbers(4, 3), numbers(4, 3)),
    ),
    "batch norm of images": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        (numbers(4, 7, 3, 2, 2), numbers(4, 3), numbers(4, 3)),
    ),
    "batch norm, evaluation": (
        lambda x, m, v: F.batch_norm(x, m.detach(), v.detach().exp()),
        (numbers(4, 7, 3), numbers(4, 3), numbers(4, 3)),
    ),
    **{
        f"batch norm of dlopt, {len(shape)}, {delta}": (
            lambda x, w, b, delta=delta: torch.cat(
                [part.flatten() for part in normalize(x, w, b, delta)]
            ),
            (numbers(*shape), numbers(4, 3), numbers(4, 3)),
        )
        for shape in ((4, 7, 3), (4, 7, 3, 2, 2))
        for delta in (0.0, 1e-8)
    },
    "embedding": (lambda w, i: F.embedding(i, w), (numbers(4, 5, 3), classes(4, 7, 2))),
    "embedding with padding": (
        lambda w, i: F.embedding(i, w, padding_idx=-2).square(),
        (numbers(4, 5, 3), classes(4, 7, 2)),
    ),
    "cross-entropy": (F.cross_entropy, (numbers(4, 7, 5), classes(4, 7))),
    "cross-entropy, ignored": (F.cross_entropy, (numbers(4, 7, 5), classes(4, 7, ignored=-100))),
    "cross-entropy of images": (F.cross_entropy, (numbers(4, 7, 5, 2), classes(4, 7, 2))),
    "cross-entropy of shares": (F.cross_entropy, (numbers(4, 7, 5), numbers(4, 7, 5).softmax(-1))),
    "cross-entropy, one example": (F.cross_entropy, (numbers(4, 5), classes(4))),
    "cross-entropy, old words": (
        lambda x, y: F.cross_entropy(x, y, weight=WEIGHT, size_average=False),
        (numbers(4, 7, 5), classes(4, 7)),
    ),
    **{
        f"cross-entropy, {reduction}, {smoothing}, {weight is not None}": (
            lambda x, y, r=reduction, s=smoothing, w=weight: F.cross_entropy(
                x, y, weight=w, ignore_index=2, reduction=r, label_smoothing=s
            ),
            (numbers(4, 7, 5), classes(4, 7, ignored=2)),
        )
        for reduction in ("mean", "sum", "none")
        for smoothing in (0.0, 0.2)
        for weight in (None, WEIGHT)
    },
    "GRU cell": (torch.gru_cell, (*CELL, *cell(3))),
    "GRU cell, no bias": (torch.gru_cell, (*CELL, *cell(3, bias=False))),
    "LSTM cell": (
        lambda x, h, *p: torch.cat(torch.lstm_cell(x, (h, h.sin()), *p)),
        (*CELL, *cell(4)),
    ),
    "tanh cell": (torch.rnn_tanh_cell, (*CELL, *cell(1))),
    "ReLU cell": (torch.rnn_relu_cell, (*CELL, *cell(1))),
}


def with_gradients(function, arguments):
    """Values and gradients of their squares' sum in all that is differentiable."""
    arguments = [a.clone().requires_grad_() if a.is_floating_point() else a for a in arguments]
    values = function(*arguments)
    wanted = [a for a in arguments if a.requires_grad]
    return values, *torch.autograd.grad(values.square().sum(), wanted, materialize_grads=True)


@pytest.mark.filterwarnings("ignore:size_average and reduce")
@pytest.mark.parametrize(("function", "arguments"), CASES.values(), ids=CASES)
def test_a_form_computes_what_its_namesake_does(function, arguments):
    for i in range(4):
        one = [a[i] for a in arguments]
        expected = with_gradients(function, one)
        with FastForms():
            values = with_gradients(function, one)
        torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:size_average and reduce")
@pytest.mark.parametrize(("function", "arguments"), CASES.values(), ids=CASES)
def test_many_at_once_are_computed_as_each_alone(function, arguments):
    with FastForms():
        together = with_gradients(torch.vmap(function), arguments)
    alone = [with_gradients(function, [a[i] for a in arguments]) for i in range(4)]
    for values, expected in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(values, torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_a_form_stands_in_for_its_namesake_inside_modules():
    layer = nn.Embedding(5, 3, max_norm=1.0)
    with pytest.raises(ValueError, match=r"max_norm=None, got 1\.0"), FastForms():
        layer(torch.tensor([0]))
    layer(torch.tensor([0]))
    assert all(form is not function for function, form in FORMS.items())
