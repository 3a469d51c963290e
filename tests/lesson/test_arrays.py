"""Numbers become float64 arrays, wherever they come from."""

import numpy as np
import pytest
import torch

from dlopt.lesson.arrays import as_array

NUMBERS = torch.tensor([[0.0, 1.5], [-2.0, 3.25]])


@pytest.mark.parametrize(
    "values",
    [
        NUMBERS,
        NUMBERS.clone().requires_grad_(),
        NUMBERS.numpy(),
        NUMBERS.tolist(),
        list(NUMBERS),
        tuple(NUMBERS.clone().requires_grad_()),
        [[torch.tensor(0.0), 1.5], (np.float32(-2.0), torch.tensor(3.25, requires_grad=True))],
    ],
)
def test_the_same_numbers_from_anywhere(values):
    made = as_array(values)
    assert made.dtype == np.float64
    assert np.array_equal(made, NUMBERS.numpy())


def test_a_number_has_no_axes():
    assert as_array(2).shape == as_array(torch.tensor(2.0)).shape == ()
    assert as_array(range(3)).tolist() == [0, 1, 2]
    assert as_array([]).shape == (0,)


@pytest.mark.parametrize("values", [{}, "left", [[1.0], [1.0, 2.0]], [None, object()]])
def test_what_is_no_number_is_refused(values):
    with pytest.raises((TypeError, ValueError)):
        as_array(values)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_from_an_accelerator():
    assert np.array_equal(as_array([NUMBERS.cuda()[0], NUMBERS[1]]), NUMBERS.numpy())
