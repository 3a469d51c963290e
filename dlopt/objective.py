"""The objective as a method sees it: value, gradient, curvature, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Rows of the Hessian asked for in one batched backward pass: up to here a pass for all of them
# costs less than one pass each; beyond, the batch no longer fits the cache and a loop wins.
_BATCHED_ROWS = 1024
# Rows in one pass: more share no more overhead, and with many examples they overflow the cache.
_CHUNK = 128


class Evaluation:
    """The objective at one point: one forward pass and at most one gradient.

    Attributes:
        x: The point, shape (n,).
        value: The objective, 0-d, detached.
        grad: Its gradient, shape (n,), detached; NaN where ``finite`` is false.
        number: ``value`` as a Python float.
        finite: Whether value and gradient hold neither NaN nor infinity.
    """

    __slots__ = (
        "_count", "_output", "_slopes", "_versions",
        "finite", "grad", "inputs", "number", "value", "x",
    )  # fmt: skip

    def __init__(
        self,
        x: Tensor,
        output: Tensor,
        inputs: Sequence[Tensor],
        count: Callable[[int], None],
        *,
        slopes: Sequence[Tensor] | None = None,
        curvature: bool = False,
    ) -> None:
        """Differentiate ``output`` by ``inputs``, which hold the entries of ``x`` in order.

        Args:
            x: The point, shape (n,).
            output: The objective (0-d) or a residual vector (1-D), with its graph.
            inputs: The tensors the graph starts from; together n entries.
            count: Called with the number of Hessian products that were spent.
            slopes: The gradient by each input where the caller has it already.
            curvature: Keep the graph, for products with the Hessian or the Jacobian.
        """
        loss = output if output.dim() == 0 else output.square().sum()
        self.x = x
        self.inputs = inputs
        self.value = loss.detach()
        self.number = float(self.value)
        self.finite = math.isfinite(self.number)
        self._count = count
        self._versions = [t._version for t in inputs]
        if self.finite and slopes is None:
            slopes = torch.autograd.grad(
                loss, inputs, retain_graph=curvature, create_graph=curvature, materialize_grads=True
            )
        if self.finite and slopes is not None:
            self.grad = _flatten(slopes).detach()
            self.finite = math.isfinite(largest_entry(self.grad))
        else:
            self.grad = torch.full_like(x, math.nan)
        self._slopes = slopes if curvature and self.finite else None
        self._output = output if curvature and self.finite else None

    @property
    def fresh(self) -> bool:
        """Whether the tensors that the graph starts from still hold what they held."""
        return all(t._version == v for t, v in zip(self.inputs, self._versions, strict=True))

    def hessian_product(self, v: Tensor) -> Tensor:
        r"""Return :math:`\nabla^2 J(\theta)\,v`, one product for a vector, one a row for a matrix.

        Args:
            v: Shape (n,), or (rows, n) for all rows in one batched pass.

        Returns:
            The product, of the shape of ``v``.
        """
        self._count(1 if v.dim() == 1 else len(v))
        return _pull_back(self._graph(), self.inputs, v)

    def hessian(self) -> Tensor:
        """Return the Hessian matrix, shape (n, n), from n products; symmetric to the last bit."""
        self._count(self.x.numel())
        rows = _rows(self._graph(), self.inputs, self.x)
        return (rows + rows.T) / 2

    def jacobian(self) -> tuple[Tensor, Tensor]:
        """Return the residual vector, shape (m,), and its Jacobian matrix, shape (m, n).

        Rows come from m backward passes; where n < m, columns come from n passes back through
        the backward pass, whose transpose is the forward derivative.
        """
        if self._output is None:
            raise ValueError("the Jacobian needs an evaluation with curvature=True")
        r = self._output
        if r.numel() <= self.x.numel():
            return r.detach(), _rows([r], self.inputs, r.detach())
        u = torch.zeros_like(r, requires_grad=True)
        pulled = torch.autograd.grad(r, self.inputs, u, create_graph=True, materialize_grads=True)
        return r.detach(), _rows(pulled, [u], self.x).T

    def _graph(self) -> Sequence[Tensor]:
        if self._slopes is None:
            raise ValueError("Hessian products need an evaluation with curvature=True")
        return self._slopes


class Objective:
    """A function of one flat vector, with its derivatives by autograd and a count of their cost.

    Args:
        f: Takes a tensor of shape (n,) and returns a 0-d tensor that autograd can differentiate
            (a residual vector, shape (m,), where ``residuals`` is asked for).
    """

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        """Wrap ``f``; nothing is evaluated yet."""
        self._f = f
        self._latest: Evaluation | None = None
        self.evaluations = 0
        self.hessian_products = 0

    def evaluate(self, x: Tensor, *, curvature: bool = False) -> Evaluation:
        """Evaluate value and gradient at ``x``: one evaluation.

        With ``curvature`` the graph is kept for Hessian products, and asking again at the very
        same tensor returns the same evaluation free of charge.

        Args:
            x: The point, shape (n,).
            curvature: Whether products with the Hessian will be wanted here.

        Returns:
            The evaluation, with ``finite`` false where value or gradient is not finite.

        Raises:
            ValueError: ``f`` returned anything but a 0-d tensor that depends on ``x``.
        """
        return self._evaluate(x, 0, curvature)

    def with_curvature(self, x: Tensor) -> Evaluation:
        """Evaluate at ``x``, shape (n,), with the graph that Hessian products need."""
        return self.evaluate(x, curvature=True)

    def residuals(self, x: Tensor) -> Evaluation:
        r"""Evaluate :math:`J = \sum_i r_i^2` of a residual vector at ``x``, keeping its graph.

        Args:
            x: The point, shape (n,).

        Returns:
            The evaluation; its ``jacobian`` gives r and its derivative.

        Raises:
            ValueError: ``f`` returned anything but a 1-D tensor that depends on ``x``.
        """
        return self._evaluate(x, 1, True)

    def _evaluate(self, x: Tensor, dim: int, curvature: bool) -> Evaluation:
        latest = self._latest
        if curvature and latest is not None and latest.x is x and latest.fresh:
            return latest
        self._latest = None  # frees the old graph before the new one is built
        self.evaluations += 1
        with torch.enable_grad():
            output, inputs, slopes = self._forward(x, curvature)
            _check_output(output, dim, needs_graph=slopes is None)
            at = Evaluation(
                x, output, inputs, self._count_products, slopes=slopes, curvature=curvature
            )
        if curvature:
            self._latest = at
        return at

    def _forward(
        self, x: Tensor, curvature: bool
    ) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor] | None]:
        """Return the output, the tensors to differentiate by, and gradients if known already."""
        leaf = x.detach().requires_grad_(True)
        return self._f(leaf), [leaf], None

    def _count_products(self, products: int) -> None:
        self.hessian_products += products


def largest_entry(v: Tensor) -> float:
    r"""Return :math:`\|v\|_\infty`, NaN if ``v``, shape (n,), holds one."""
    low, high = torch.aminmax(v)  # an order of magnitude faster than the norm
    return max(-float(low), float(high))


def _check_output(output: object, dim: int, *, needs_graph: bool) -> None:
    """Reject what no method could work with, naming what came."""
    wanted = "a 0-d tensor" if dim == 0 else "a 1-D tensor of residuals"
    if not isinstance(output, Tensor):
        raise ValueError(f"f must return {wanted}, got {type(output).__name__}")
    if output.dim() != dim:
        raise ValueError(f"f must return {wanted}, got shape {tuple(output.shape)}")
    if not output.is_floating_point():
        raise ValueError(f"f must return a real floating-point tensor, got {output.dtype}")
    if needs_graph and not output.requires_grad:
        raise ValueError("f(x) must depend on x through autograd, got a result without a graph")


def _flatten(tensors: Sequence[Tensor]) -> Tensor:
    """Join the entries of all tensors in one vector."""
    if len(tensors) == 1 and tensors[0].dim() == 1:
        return tensors[0]
    return torch.cat([t.reshape(-1) for t in tensors])


def _split(v: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Cut the last axis of ``v`` into the shapes of ``like``; a leading axis stays."""
    parts = v.split_with_sizes([t.numel() for t in like], dim=-1)
    return [p.reshape(*v.shape[:-1], *t.shape) for p, t in zip(parts, like, strict=True)]


def _pull_back(outputs: Sequence[Tensor], inputs: Sequence[Tensor], v: Tensor) -> Tensor:
    """Return vᵀ ∂outputs/∂inputs, for one vector v or for each row of v in one batched pass."""
    kept = [(o, w) for o, w in zip(outputs, _split(v, outputs), strict=True) if o.requires_grad]
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
        v.new_zeros(*v.shape[:-1], t.numel()) if p is None else p.reshape(*v.shape[:-1], -1)
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
        except RuntimeError:
            pass  # some backward passes cannot be batched (in-place or custom operations)
    matrix = like.new_empty(rows, sum(t.numel() for t in inputs))
    unit = torch.zeros_like(like)
    for i in range(rows):
        unit[i] = 1
        matrix[i] = _pull_back(outputs, inputs, unit)
        unit[i] = 0
    return matrix
