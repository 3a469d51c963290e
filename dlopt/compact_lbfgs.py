"""The two loops of L-BFGS on 2m + 1 coefficients: for a GPU, where small operations are slow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dlopt.secant import SecantPair

# Up to here it was measured to be faster; beyond, making the copy of the pairs takes what the
# fewer operations save.
LARGEST = 1_000_000


def compact_is_faster(device: torch.device, n: int) -> bool:
    """Return whether ``compact_two_loop`` is the faster form for vectors, shape (n,), there.

    On a CPU it isn't. On CUDA devices it is up to a million numbers: there each of the two loops'
    4m operations costs a launch, and each scalar product a wait. Others were not measured.
    """
    return device.type == "cuda" and n <= LARGEST


def compact_two_loop(g: Tensor, pairs: Sequence[SecantPair], scale: float = 1.0) -> Tensor:
    r"""Return what ``two_loop`` returns, with two products of matrices and one wait for the device.

    All that the two loops ever make lies in the span of the s, the y and g. So they can run on the
    2m + 1 coefficients, on the host, once the scalar products of these vectors are there (Chen,
    Wang & Zhou, NIPS 2014). In double precision whatever the vectors are: sums that nearly cancel
    show in the scalar products, and neither autocast nor TF32 rounds them.

    Args:
        g: The vector to multiply, shape (n,).
        pairs: The pairs (s, y, sᵀy), oldest first, s and y of shape (n,).
        scale: The γ of the matrix γI that the updates start from.

    Returns:
        The product, shape (n,). The pairs are copied for the time of the call.

    Example:
        >>> import torch
        >>> s, y = torch.tensor([1.0, 0.0]), torch.tensor([4.0, 0.0])
        >>> compact_two_loop(torch.tensor([8.0, 8.0]), [(s, y, 4.0)]).tolist()
        [2.0, 8.0]
    """
    m = len(pairs)
    vectors = [*(s for s, _, _ in pairs), *(y for _, y, _ in pairs), g]
    basis = torch.stack(vectors).to(torch.float64)
    products = (basis[m:] @ basis.T).cpu().numpy()  # of the y and g with all: no sᵀs is needed
    q = np.zeros(2 * m + 1)  # coefficients of the s, then of the y, then of g
    q[-1] = 1.0
    alphas = np.zeros(m)
    for i in reversed(range(m)):
        alphas[i] = products[:, i].dot(q[m:]) / pairs[i][2]  # sᵢᵀq; no s is in q yet
        q[m + i] = -alphas[i]
    q *= scale
    for i in range(m):
        beta = products[i].dot(q) / pairs[i][2]  # yᵢᵀq
        q[i] = alphas[i] - beta
    # A copy of so few numbers is made before the call returns: nobody waits for the device.
    coefficients = torch.from_numpy(q).to(g.device, non_blocking=True)
    return (coefficients @ basis).to(g.dtype)
