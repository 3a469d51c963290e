"""Batch normalization: the equations, their gradients, PyTorch's layers, and every mode."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from dlopt.batch_norm import batch_norm


def drawn(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("delta", [0.0, 1e-8, 0.1])
@pytest.mark.parametrize("shape", [(2, 3), (5, 3), (4, 3, 2), (2, 3, 2, 2)])
def test_first_and_second_derivatives_are_right(shape, delta):
    arguments = [v.requires_grad_() for v in (drawn(*shape), drawn(3, seed=1), drawn(3, seed=2))]
    assert gradcheck(lambda *v: batch_norm(*v, delta), arguments, check_batched_grad=True)
    assert gradgradcheck(lambda *v: batch_norm(*v, delta), arguments, check_batched_grad=True)
