"""Numbers from anywhere, such as tensors of any device and precision, as NumPy's float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

Array = npt.NDArray[np.float64]


def as_array(values: Any) -> Array:
    """Return numbers as a float64 array.

    Args:
        values: A number, an array, a tensor (one that requires gradients or lives on an
            accelerator, too), or a list or tuple of any of these; of any shape.

    Returns:
        The numbers, in the same shape.

    Raises:
        TypeError: If they are no numbers.
        ValueError: The same, or if a list is ragged.

    Example:
        >>> import torch
        >>> as_array([torch.tensor(1.5, requires_grad=True), 2])
        array([1.5, 2. ])
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    elif isinstance(values, (list, tuple)):
        values = [as_array(value) for value in values]
    return np.asarray(values, dtype=np.float64)
