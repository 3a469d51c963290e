"""Second derivatives at a point: products with the Hessian, the Hessian, the Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from dlopt.evaluation import Evaluation, norm, split

# Rows of the Hessian asked for in one batched backward pass: up to here a pass for all of them
# costs less than one pass each; beyond, the batch no longer fits the cache and a loop wins.
_BATCHED_ROWS = 1024
# Rows in one pass: more share no more overhead, and with many examples they overflow the cache.
_CHUNK = 128


class Graph:
    """What autograd kept of one evaluation, so that further derivatives can be asked for.

    Args:
        at: The evaluation.
        output: The objective (0-d) or a residual vector (1-D).
        inputs: The tensors that the graph starts from; together they hold the entries of x.
        slopes: The gradient by each input; None where value or gradient is not finite.
    """

    def __init__(
        self,
        at: Evaluation,
        output: Tensor,
        inputs: Sequence[Tensor],
        slopes: Sequence[Tensor] | None,
    ) -> None:
        self.at, self.output, self.inputs, self.slopes = at, output, inputs, slopes
        self._versions = [t._version for t in inputs]

    @property
    def fresh(self) -> bool:
        """Whether the inputs still hold what they held."""
        return all(t._version == v for t, v in zip(self.inputs, self._versions, strict=True))


class Curvature:
    """Second derivatives at one point; made by ``Objective.curvature``.

    A module's parameters are overwritten when the objective is evaluated elsewhere. Then the next
    product evaluates here anew, so that whoever holds a curvature need not know.

    Args:
        evaluate: Evaluates at this point, keeping the graph.
        count: Called with the number of Hessian products that were spent.

    Attributes:
        at: Value and gradient there.
    """

    def __init__(self, evaluate: Callable[[], Graph], count: Callable[[int], None]) -> None:
        self._evaluate, self._count = evaluate, count
        self._graph = evaluate()
        self.at = self._graph.at

    @property
    def fresh(self) -> bool:
        """Whether the next product costs no evaluation."""
        return self._graph.fresh

    def product(self, v: Tensor) -> Tensor:
        r"""Return :math:`\nabla^2 J(\theta)\,v`, shape (n,), for ``v`` of shape (n,)."""
        self._count(1)
        inputs, slopes = self._slopes()
        return _pull_back(slopes, inputs, v)

    def hessian(self) -> Tensor:
        """Return the Hessian matrix, shape (n, n), from n products; symmetric to the last bit."""
        self._count(self.at.x.numel())
        inputs, slopes = self._slopes()
        rows = _rows(slopes, inputs, self.at.x)
        return (rows + rows.T) / 2

    def jacobian(self) -> tuple[Tensor, Tensor]:
        """Return the residual vector, shape (m,), and its Jacobian matrix, shape (m, n).

        Rows come from m backward passes; where n < m, columns come from n passes back through
        the backward pass, whose transpose is the forward derivative. Functions that can't be
        differentiated twice don't allow that: then rows, too.
        """
        inputs, _ = self._slopes()
        r = self._graph.output
        if r.dim() != 1:
            raise ValueError("a Jacobian needs Objective.residuals, got an objective of one number")
        columns = self._columns(r, inputs) if r.numel() > self.at.x.numel() else None
        return r.detach(), _rows([r], inputs, r.detach()) if columns is None else columns

    def _columns(self, r: Tensor, inputs: Sequence[Tensor]) -> Tensor | None:
        """Return the Jacobian by columns, None where it isn't that of the gradient 2 Jᵀr."""
        u = torch.zeros_like(r, requires_grad=True)
        try:
            pulled = torch.autograd.grad(r, inputs, u, create_graph=True, materialize_grads=True)
            columns = _rows(pulled, [u], self.at.x).T
        except RuntimeError as error:
            if _is_out_of_memory(error):
                raise
            return None
        # A backward pass that is no function of u, such as a simulator's, gives columns of zeros.
        gradient = 2 * columns.T @ r.detach()
        bound = torch.finfo(r.dtype).eps ** 0.5 * norm(columns.reshape(-1)) * norm(r.detach())
        return columns if norm(gradient - self.at.grad) <= bound else None

    def _slopes(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return the inputs and the gradient by each, with a graph that still holds."""
        if not self._graph.fresh:
            self._graph = self._evaluate()
        if self._graph.slopes is None:
            raise ValueError(
                "more derivatives were asked for where value or gradient is not finite"
            )
        return self._graph.inputs, self._graph.slopes


class HasProducts(Protocol):
    """What multiplies vectors by the Hessian at a point."""

    @property
    def at(self) -> Evaluation:
        """The objective there."""
        ...

    def product(self, v: Tensor) -> Tensor:
        """Return Hv, shape (n,)."""
        ...


def lanczos(
    H: HasProducts, steps: int = 20, known: Sequence[tuple[Tensor, Tensor]] = ()
) -> tuple[Tensor, Tensor]:
    """Return the Ritz values of H, ascending, and the vector of the least, from few products.

    Args:
        H: What is asked for products, ``steps`` at most.
        steps: The most products.
        known: Vectors and their products, whose span is searched as well.
    """
    x = H.at.x
    basis: list[Tensor] = []
    products: list[Tensor] = []

    def add(v: Tensor, Hv: Tensor | None = None) -> bool:
        # What is left of a known product beside the others loses digits with its length.
        least = (1e-10 if Hv is None else 1e-3) * norm(v)
        for b, Hb in [*zip(basis, products, strict=True)] * 2:  # twice, against rounding
            share = b.dot(v)
            v = v - share * b
            Hv = None if Hv is None else Hv - share * Hb
        length = norm(v)
        if not length > least:
            return False
        basis.append(v / length)
        products.append(H.product(basis[-1]) if Hv is None else Hv / length)
        return True

    for v, Hv in list(known):
        add(v, Hv)
    # Any start will do that is not orthogonal to what is sought; a fixed one keeps runs equal.
    v = torch.cos(torch.arange(1, len(x) + 1, dtype=x.dtype, device=x.device))
    for _ in range(min(steps, len(x) - len(basis))):
        if not add(v):
            break
        v = products[-1]
    V, HV = torch.stack(basis), torch.stack(products)
    T = V @ HV.T
    if not bool(T.isfinite().all()):
        return v.new_zeros(1), basis[0]
    values, vectors = torch.linalg.eigh((T + T.T) / 2)
    return values, V.T @ vectors[:, 0]


def _pull_back(outputs: Sequence[Tensor], inputs: Sequence[Tensor], v: Tensor) -> Tensor:
    """Return vᵀ ∂outputs/∂inputs, for one vector v or for each row of v in one batched pass."""
    kept = [(o, w) for o, w in zip(outputs, split(v, outputs), strict=True) if o.requires_grad]
    if not kept:  # outputs that do not depend on the inputs: a linear objective's gradient
        return v.new_zeros(*v.shape[:-1], sum(t.numel() for t in inputs))
    pulled = torch.autograd.grad(
        [o for o, _ in kept],
        inputs,
        [w for _, w in kept],
        retain_graph=True,
        allow_unused=True,
        is_grads_batched=v.dim() == 2,
    )
    flat = [
        v.new_zeros(*v.shape[:-1], t.numel())
        if p is None
        else (p.to_dense() if p.is_sparse else p).reshape(*v.shape[:-1], t.numel())
        for p, t in zip(pulled, inputs, strict=True)
    ]
    return flat[0] if len(flat) == 1 else torch.cat(flat, dim=-1)


def _rows(outputs: Sequence[Tensor], inputs: Sequence[Tensor], like: Tensor) -> Tensor:
    """Return the matrix ∂outputs/∂inputs, a row for each entry of ``like``."""
    rows = like.numel()
    if rows <= _BATCHED_ROWS:
        try:
            units = torch.eye(rows, dtype=like.dtype, device=like.device)
            parts = torch.split(units, _CHUNK)
            return torch.cat([_pull_back(outputs, inputs, part) for part in parts])
        except RuntimeError as error:
            # Some backward passes cannot be batched (in-place or custom operations): then a loop.
            if _is_out_of_memory(error):
                raise
    matrix = like.new_empty(rows, sum(t.numel() for t in inputs))
    unit = torch.zeros_like(like)
    for i in range(rows):
        unit[i] = 1
        matrix[i] = _pull_back(outputs, inputs, unit)
        unit[i] = 0
    return matrix


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an allocator says so, in the words of either: the user has to know."""
    return "out of memory" in str(error) or "DefaultCPUAllocator" in str(error)
