"""Deep linear networks with and without skips, and a bound that only those with skips have."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PlainLinear:
    r"""A product of matrices that is to become another matrix.

    .. math:: f(A) = \operatorname{E} \lVert A_L \cdots A_1 x - R x \rVert^2
                   = \operatorname{tr} E \Sigma E^\top, \qquad E = A_L \cdots A_1 - R

    At A = 0 with two layers or more its gradient is 0, however large the objective is.

    Args:
        target: R, shape (d, d).
        covariance: :math:`\Sigma = \operatorname{E} x x^\top`, shape (d, d).

    Raises:
        ValueError: The shapes don't fit.

    Example:
        >>> plain = PlainLinear(torch.eye(2), torch.eye(2))
        >>> A = torch.zeros(3, 2, 2)
        >>> float(plain.value(A)), float(plain.gradient(A).norm())
        (2.0, 0.0)
    """

    target: Tensor
    covariance: Tensor

    def __post_init__(self) -> None:
        """Check the shapes."""
        d = len(self.target)
        for name, matrix in (("target", self.target), ("covariance", self.covariance)):
            if matrix.shape != (d, d):
                raise ValueError(f"{name} must have shape {(d, d)}, got {tuple(matrix.shape)}")

    def product(self, A: Tensor) -> Tensor:
        """Return the matrix that the network is, (d, d).

        Args:
            A: The layers from the input up, shape (L, d, d).
        """
        return self._below(self._factors(A))[-1]

    def value(self, A: Tensor) -> Tensor:
        """Return f, 0-d; its minimum over all matrices is 0.

        Args:
            A: The layers from the input up, shape (L, d, d).
        """
        E = self.product(A) - self.target
        return ((E @ self.covariance) * E).sum()

    def gradient(self, A: Tensor) -> Tensor:
        r"""Return the gradient of f in each layer, (L, d, d).

        .. math:: \nabla_i f = 2 (F_L \cdots F_{i+1})^\top E \Sigma (F_{i-1} \cdots F_1)^\top

        Args:
            A: The layers from the input up, shape (L, d, d).
        """
        F = self._factors(A)
        below = self._below(F)
        above = self._below(F.mT.flip(0))  # products from the output down, transposed
        pull = 2 * (below[-1] - self.target) @ self.covariance
        pairs = zip(below[:-1], reversed(above[:-1]), strict=True)
        return torch.stack([a @ pull @ b.mT for b, a in pairs])

    def _factors(self, A: Tensor) -> Tensor:
        """Return the matrices that are multiplied."""
        d = len(self.target)
        if A.dim() != 3 or len(A) < 1 or A.shape[1:] != (d, d):
            raise ValueError(f"A must have shape (L, {d}, {d}), L at least 1, got {tuple(A.shape)}")
        return A

    def _below(self, F: Tensor) -> list[Tensor]:
        r"""Return :math:`I, F_1, F_2 F_1, \dots`, L + 1 products."""
        identity = torch.eye(F.shape[-1], dtype=F.dtype, device=F.device)
        return list(itertools.accumulate(F, lambda product, f: f @ product, initial=identity))


class LinearResidual(PlainLinear):
    r"""The same with a skip around each layer: the factors are :math:`I + A_i`.

    .. math:: f(A) = \operatorname{E} \lVert (I + A_L) \cdots (I + A_1) x - R x \rVert^2

    Hardt & Ma (2017) prove that no point at which all :math:`\lVert A_i \rVert_2 < 1` is
    stationary unless it is a global minimum; see ``bound``.

    Args:
        target: R, shape (d, d).
        covariance: :math:`\Sigma = \operatorname{E} x x^\top`, shape (d, d).

    Raises:
        ValueError: The shapes don't fit.

    Example:
        >>> residual = LinearResidual(2 * torch.eye(2), torch.eye(2))
        >>> A = torch.zeros(3, 2, 2)
        >>> float(residual.gradient(A).square().sum()), float(residual.bound(A))
        (24.0, 24.0)
    """

    def bound(self, A: Tensor) -> Tensor:
        r"""Return what the squared norm of the gradient is at least, 0-d.

        .. math:: \lVert \nabla f \rVert^2
                  \ge 4 L (1 - \tau)^{2L - 2} \sigma_{\min}(\Sigma) (f - f^*),
                  \qquad \tau = \max_i \lVert A_i \rVert_2

        Hardt & Ma (2017), theorem 2.2; f* = 0. No factor shrinks a matrix below 1 − τ of its size,
        so that :math:`\lVert \nabla_i f \rVert \ge 2 (1 - \tau)^{L - 1} \lVert E \Sigma \rVert`
        for each of L layers. It is sharp: with :math:`\Sigma = \sigma I` and
        :math:`A_i = -\tau I` both sides are equal. From τ = 1 on it says nothing, and is 0 for
        L > 1.

        Args:
            A: The layers from the input up, shape (L, d, d).
        """
        tau = torch.linalg.matrix_norm(A, 2).amax()
        shrunk = (1 - tau).clamp(min=0) ** (2 * len(A) - 2)
        narrowest = torch.linalg.svdvals(self.covariance)[-1]
        bound: Tensor = 4 * len(A) * shrunk * narrowest * self.value(A)
        return bound

    def _factors(self, A: Tensor) -> Tensor:
        """Return the matrices that are multiplied."""
        return super()._factors(A) + torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
