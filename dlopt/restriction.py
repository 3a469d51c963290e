"""An objective as a function of some of its coordinates, the others held."""

from __future__ import annotations

import torch
from torch import Tensor

from dlopt.curvature import Curvature
from dlopt.evaluation import Evaluation, largest_entry, rounding
from dlopt.objective import Objective


class Restriction(Objective):
    r"""The objective :math:`\varphi(z) = J(\theta)`, where z takes the place of some entries of θ.

    What is spent on it is counted by the whole objective.

    Args:
        whole: The objective J.
        x: The point θ, shape (n,).
        block: Which entries vary, whole numbers, shape (k,).

    Attributes:
        best: The evaluation of J at the best point seen: the least value, or the least gradient
            over the block where values differ by rounding; None before the first.

    Example:
        >>> import torch
        >>> whole = Objective(lambda x: (x * x).sum() + x[0] * x[2])
        >>> phi = Restriction(whole, torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2]))
        >>> float(phi.evaluate(torch.tensor([5.0])).grad), phi.best.x.tolist()
        (11.0, [1.0, 2.0, 5.0])
    """

    def __init__(self, whole: Objective, x: Tensor, block: Tensor) -> None:
        self._whole, self._x, self._block = whole, x, block
        self.best: Evaluation | None = None

    def evaluate(self, x: Tensor) -> Evaluation:
        """Return value and gradient at z, shape (k,)."""
        return self._narrow(x, self._whole.evaluate(self._filled(x)))

    def curvature(self, x: Tensor) -> Curvature:
        """Return value, gradient and second derivatives at z, shape (k,)."""
        curvature = self._whole.curvature(self._filled(x))
        return _Narrow(self._narrow(x, curvature.at), curvature, self._block)

    def residuals(self, x: Tensor) -> Curvature:
        """Refuse: a block of a least-squares problem is minimised by its closed form."""
        raise ValueError("a block is minimised by a method that takes J, got one for residuals")

    def _filled(self, z: Tensor) -> Tensor:
        return self._x.index_copy(0, self._block, z)

    def _narrow(self, z: Tensor, at: Evaluation) -> Evaluation:
        """Keep the evaluation of J if it is the best; return it with the block's gradient."""
        grad, best = at.grad[self._block], self.best
        noise = rounding(at.J, torch.finfo(z.dtype).eps)
        if best is None or (at.finite and best.J - noise > at.J):
            self.best = at
        elif at.finite and best.J + noise >= at.J:
            least = largest_entry(best.grad[self._block])
            self.best = at if largest_entry(grad) < least else best
        return Evaluation(z, at.value, grad, at.J, at.finite)


class _Narrow(Curvature):
    """The entries of second derivatives that belong to a block."""

    def __init__(self, at: Evaluation, whole: Curvature, block: Tensor) -> None:
        self.at, self._whole, self._block = at, whole, block

    @property
    def fresh(self) -> bool:
        """Whether the next product costs no evaluation."""
        return self._whole.fresh

    def product(self, v: Tensor) -> Tensor:
        """Return the Hessian of φ times ``v``, shape (k,)."""
        padded = torch.zeros_like(self._whole.at.x).index_copy(0, self._block, v)
        return self._whole.product(padded)[self._block]

    def hessian(self) -> Tensor:
        """Return the Hessian of φ, shape (k, k), from k products."""
        units = torch.eye(len(self._block), dtype=self.at.x.dtype, device=self.at.x.device)
        rows = torch.stack([self.product(unit) for unit in units])
        return (rows + rows.T) / 2
