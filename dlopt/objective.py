"""The objective as a method sees it: value, gradient, curvature, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from dlopt.curvature import Curvature, Graph
from dlopt.evaluation import Evaluation, dense, flatten, is_finite, norm


class Objective:
    """A function of one flat vector, with its derivatives by autograd and a count of their cost.

    Args:
        f: Takes a tensor of shape (n,) and returns a 0-d tensor that autograd can differentiate
            (a residual vector, shape (m,), where ``residuals`` is asked for).

    Attributes:
        evaluations: What was spent so far: one is one forward pass with at most one gradient.
        hessian_products: Products with the Hessian so far, n for a whole Hessian.

    Example:
        >>> import torch
        >>> f = Objective(lambda x: (x**3).sum())
        >>> x = torch.tensor([1.0, 2.0])
        >>> f.evaluate(x).grad, f.curvature(x).product(torch.ones(2))
        (tensor([ 3., 12.]), tensor([ 6., 12.]))
        >>> f.evaluations, f.hessian_products
        (2, 1)
    """

    _name = "f"  # what errors call the function, and what they ask of it
    _function = "f(x) must depend on x"

    def __init__(self, f: Callable[..., Tensor]) -> None:
        self._f = f
        self._latest: Curvature | None = None
        self._constant: Tensor | None = None  # a gradient that had no graph
        self._dim = 0  # axes of what f returns: 1 once residuals were asked for
        self.evaluations = 0
        self.hessian_products = 0

    def evaluate(self, x: Tensor) -> Evaluation:
        """Return value and gradient at ``x``, shape (n,): one evaluation.

        Raises:
            ValueError: ``f`` returned anything but a 0-d tensor that depends on ``x``.
        """
        self._latest = None  # frees the old graph before the new one is built
        return self._differentiate(x, self._dim, keep=False)[0]

    def curvature(self, x: Tensor) -> Curvature:
        """Return value, gradient and the graph for second derivatives at ``x``, shape (n,).

        One evaluation; asking again at the very same tensor is free of charge.

        Raises:
            ValueError: ``f`` returned anything but a 0-d tensor that depends on ``x``.
        """
        return self._with_graph(x)

    def residuals(self, x: Tensor) -> Curvature:
        r"""Return the same for :math:`J = \sum_i r_i^2` of a residual vector, with its Jacobian.

        Raises:
            ValueError: ``f`` returned anything but a 1-D tensor that depends on ``x``.
        """
        self._dim = 1
        return self._with_graph(x)

    def release(self) -> None:
        """Let go of the latest graph, which would live on until Python looks for cycles."""
        self._latest = None

    def _with_graph(self, x: Tensor) -> Curvature:
        latest = self._latest
        if latest is None or latest.at.x is not x or not latest.fresh:
            self._latest = None
            graph = partial(self._graph, x)
            self._latest = latest = Curvature(graph, self._count_products)
        return latest

    def _graph(self, x: Tensor) -> Graph:
        at, output, inputs, slopes = self._differentiate(x, self._dim, keep=True)
        if self._dim == 0 and at.finite and slopes and not any(s.requires_grad for s in slopes):
            self._check_linear(at.grad)
        return Graph(at, output, inputs, slopes if at.finite else None)

    def _check_linear(self, grad: Tensor) -> None:
        """Raise ``ValueError`` where gradients without a graph differ: f is linear, or hides H."""
        first = self._constant if self._constant is not None else grad
        self._constant = first
        bound = torch.finfo(grad.dtype).eps ** 0.5 * norm(first)
        if not norm(grad - first) <= bound:
            raise ValueError(
                f"this method needs second derivatives, and autograd differentiates {self._name} "
                "only once: its gradient changes from point to point, but has no graph"
            )

    def _differentiate(
        self, x: Tensor, dim: int, *, keep: bool
    ) -> tuple[Evaluation, Tensor, Sequence[Tensor], Sequence[Tensor] | None]:
        """Evaluate at ``x``: an output of ``dim`` axes, with the graph kept or not."""
        self.evaluations += 1
        with torch.enable_grad():
            output, inputs, slopes = self._forward(x, keep)
            self._check_output(output, dim, needs_graph=slopes is None)
            loss = output if dim == 0 else output.square().sum()
            value = self._value(loss)
            J = value.item()
            if not math.isfinite(J):
                slopes = None
            elif slopes is None:
                slopes = self._differentiated(loss, inputs, keep)
        grad = torch.full_like(x, math.nan) if slopes is None else flatten(slopes).detach()
        finite = slopes is not None and is_finite(grad)
        return Evaluation(x, value, grad, J, finite), output, inputs, slopes

    def _forward(
        self, x: Tensor, keep: bool
    ) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor] | None]:
        """Return the output, the tensors to differentiate by, and gradients if known already."""
        leaf = x.detach().requires_grad_(True)
        return self._f(leaf), [leaf], None

    def _value(self, loss: Tensor) -> Tensor:
        """Return the value in a tensor of its own: f may use the one that it returned again."""
        return loss.detach().clone()

    def _differentiated(
        self, loss: Tensor, inputs: Sequence[Tensor], keep: bool
    ) -> Sequence[Tensor]:
        """Return the gradient by each input."""
        found = torch.autograd.grad(
            loss, inputs, retain_graph=keep, create_graph=keep, allow_unused=True
        )
        self._check_reached(found)
        pairs = zip(found, inputs, strict=True)
        known = [torch.zeros_like(p, requires_grad=keep) if g is None else g for g, p in pairs]
        return dense(known)

    def _check_reached(self, gradients: Sequence[Tensor | None]) -> None:
        """Raise ``ValueError`` where no input has a gradient: a result of anything else."""
        if all(g is None for g in gradients):
            raise ValueError(f"{self._function}, got a result that depends on other tensors only")

    def _count_products(self, products: int) -> None:
        self.hessian_products += products

    def _check_output(self, output: object, dim: int, *, needs_graph: bool) -> None:
        """Reject what no method could work with, naming what came."""
        must = f"{self._name} must return"
        wanted = "a 0-d tensor" if dim == 0 else "a 1-D tensor of residuals"
        if not isinstance(output, Tensor):
            raise ValueError(f"{must} {wanted}, got {type(output).__name__}")
        if output.dim() != dim or not output.numel():
            raise ValueError(f"{must} {wanted}, got shape {tuple(output.shape)}")
        if not output.is_floating_point():
            raise ValueError(f"{must} a real floating-point tensor, got {output.dtype}")
        # Outside its domain a loss may be a constant: inf, to say that it has no value there.
        if needs_graph and not output.requires_grad and bool(output.isfinite().all()):
            raise ValueError(f"{self._function} through autograd, got a result without a graph")
