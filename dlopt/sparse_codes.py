"""Sparse codes for a fixed dictionary: many small convex problems, and their duality gaps."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softshrink

# The gap is looked at every so many iterations, and the support solved for every so many looks.
_LOOK, _SOLVE = 10, 10
# So many samples at once are solved for on their supports: their matrices fit the cache.
_CHUNK = 256
_RIDGE, _ROUNDING = 1e-13, 1e-14


class Codes(NamedTuple):
    r"""Codes, and how far from the best they can be.

    Attributes:
        H: The codes, shape (m, K).
        gap: For each sample the duality gap, a bound on what its objective is above the least
            one, as a share of :math:`\\tfrac12\\|x\\|^2`, shape (m,); 0 for a sample of zeros.
    """

    H: Tensor
    gap: Tensor


def sparse_codes(
    X: Tensor,
    W: Tensor,
    alpha: float,
    H0: Tensor | None = None,
    *,
    gap_tol: float = 1e-6,
    max_iterations: int = 10000,
) -> Codes:
    r"""Code each sample by few atoms: the block H of equation :eq:`eq-8-38` at a fixed W.

    .. math:: \min_h \; \tfrac12 \|x - hW\|^2 + \alpha \|h\|_1

    An accelerated proximal gradient method (FISTA: Beck & Teboulle, 2009), restarted for each
    sample where momentum leads uphill (O'Donoghue & Candès, 2015). Samples that are done drop out.
    For those that last, the linear system on the atoms in use is solved, which is exact once these
    are the right ones.

    Args:
        X: Samples, shape (m, d), float32 or float64. Computed in float64.
        W: The atoms, shape (K, d).
        alpha: The penalty α > 0; ½ makes the objective half that of :eq:`eq-8-38`.
        H0: Codes to start from, shape (m, K); default: zeros. None of them is made worse.
        gap_tol: The relative gap at which a sample is done, > 0.
        max_iterations: The most iterations, >= 0; what is left then has a larger gap.

    Returns:
        The codes and their gaps, in the dtype of X.

    Raises:
        ValueError: Shapes don't fit, an entry isn't finite, or a setting is out of range.

    Example:
        >>> import torch
        >>> X, W = torch.tensor([[3.0, 0.2], [0.0, 0.0]]), torch.eye(2)
        >>> sparse_codes(X, W, alpha=0.5)
        Codes(H=tensor([[2.5000, 0.0000],
                [0.0000, 0.0000]]), gap=tensor([0., 0.]))
    """
    _check(X, W, alpha, H0, gap_tol, max_iterations)
    problem = _Lasso(X.double(), W.double(), alpha)
    start = torch.zeros_like(problem.C) if H0 is None else H0.double()
    H, gap = start.clone(), problem.gap(start)
    rows = torch.nonzero(gap > gap_tol)[:, 0]
    part, best, momentum = problem.of(rows), H[rows], _Momentum(H[rows])
    for step in range(1, max_iterations + 1):
        if not len(rows):
            break
        momentum.step(part)
        if step % _LOOK and step < max_iterations:
            continue
        if step % (_LOOK * _SOLVE) == 0:
            momentum.jump(part)
        best = part.better(momentum.H, best)
        now = part.gap(best)
        H[rows], gap[rows] = best, now
        left = now > gap_tol
        if not bool(left.all()):
            rows, best = rows[left], best[left]
            part = problem.of(rows)
            momentum.keep(left)
    return Codes(H.to(X.dtype), gap.to(X.dtype))


class _Lasso:
    """The objectives of all samples, with what is computed once."""

    def __init__(self, X: Tensor, W: Tensor, alpha: float) -> None:
        self.W, self.alpha = W, alpha
        self.G = W @ W.T
        largest = float(torch.linalg.eigvalsh(self.G)[-1])
        self.rate = 1 / largest if largest > 0 else 1.0
        self._set(X, X @ W.T)

    def _set(self, X: Tensor, C: Tensor) -> None:
        self.X, self.C = X, C
        self.half_squares = 0.5 * X.square().sum(1)

    def of(self, rows: Tensor) -> _Lasso:
        """Return the problem of some of the samples."""
        part = object.__new__(_Lasso)
        part.W, part.alpha, part.G, part.rate = self.W, self.alpha, self.G, self.rate
        part._set(self.X[rows], self.C[rows])
        return part

    def value(self, H: Tensor) -> Tensor:
        """Return the objective of each sample."""
        residual = torch.addmm(self.X, H, self.W, alpha=-1)
        return 0.5 * residual.square().sum(1) + self.alpha * H.abs().sum(1)

    def gap(self, H: Tensor) -> Tensor:
        r"""Return the objective less the dual one, over ½‖x‖².

        The dual, ½‖x‖² − ½‖x − θ‖² over ‖Wθ‖_∞ ≤ α, at the residual r scaled to be feasible.
        """
        r = torch.addmm(self.X, H, self.W, alpha=-1)
        scale = (self.alpha / (r @ self.W.T).abs().amax(1)).clamp(max=1)
        primal = 0.5 * r.square().sum(1) + self.alpha * H.abs().sum(1)
        dual = scale * (self.X * r).sum(1) - 0.5 * scale.square() * r.square().sum(1)
        zero = self.half_squares == 0
        gap: Tensor = (primal - dual).clamp(min=0) / torch.where(zero, 1.0, self.half_squares)
        return gap

    def better(self, H: Tensor, other: Tensor) -> Tensor:
        """Return for each sample the codes of less value, or of less gap where that is rounding."""
        fall = self.value(other) - self.value(H)
        near = fall.abs() <= _ROUNDING * self.half_squares
        less = torch.where(near, self.gap(H) < self.gap(other), fall > 0)
        return torch.where(less[:, None], H, other)

    def on_support(self, H: Tensor) -> Tensor:
        """Return the stationary points with the atoms and signs in use, where they exist."""
        used = H != 0
        pairs = used[:, :, None] & used[:, None, :]
        # Copies of an atom make the system singular; this share of rounding decides between them.
        ridge = _RIDGE * self.G.diagonal().mean()
        matrices = self.G * pairs + torch.diag_embed(torch.where(used, ridge, 1.0))
        wanted = torch.where(used, self.C - self.alpha * H.sign(), 0.0)
        found: Tensor = torch.linalg.solve_ex(matrices, wanted).result
        return found


class _Momentum:
    """FISTA's iterates: the codes H, where momentum carries them, and its weight t."""

    def __init__(self, H: Tensor) -> None:
        self.H, self.Y, self.t = H, H, H.new_ones(len(H), 1)

    def step(self, lasso: _Lasso) -> None:
        """Take a gradient step from Y, shrink, and add momentum."""
        moved = torch.addmm(self.Y, self.Y, lasso.G, alpha=-lasso.rate)
        H = softshrink(moved.add_(lasso.C, alpha=lasso.rate), lasso.alpha * lasso.rate)
        change = H - self.H
        uphill = ((self.Y - H) * change).sum(1, keepdim=True) > 0
        t = torch.where(uphill, 1.0, self.t)
        self.t = 0.5 * (1 + (1 + 4 * t.square()).sqrt())
        self.H, self.Y = H, torch.addcmul(H, (t - 1) / self.t, change)

    def jump(self, lasso: _Lasso) -> None:
        """Go to the solution on the support where that lowers the objective."""
        for rows in torch.split(torch.arange(len(self.H), device=self.H.device), _CHUNK):
            part, H = lasso.of(rows), self.H[rows]
            found = part.on_support(H)
            chosen = part.better(found, H)
            lower = (chosen != H).any(1, keepdim=True)
            H = chosen
            self.H = self.H.index_copy(0, rows, H)
            self.Y = self.Y.index_copy(0, rows, torch.where(lower, H, self.Y[rows]))
            self.t = self.t.index_copy(0, rows, torch.where(lower, 1.0, self.t[rows]))

    def keep(self, left: Tensor) -> None:
        """Go on with some of the samples."""
        self.H, self.Y, self.t = self.H[left], self.Y[left], self.t[left]


def _check(
    X: Tensor, W: Tensor, alpha: float, H0: Tensor | None, gap_tol: float, max_iterations: int
) -> None:
    if X.dim() != 2 or W.dim() != 2 or X.shape[1] != W.shape[1] or not len(W):
        raise ValueError(
            f"X must be (m, d) and W (K, d) with K >= 1, got {tuple(X.shape)} and {tuple(W.shape)}"
        )
    if H0 is not None and H0.shape != (len(X), len(W)):
        raise ValueError(f"H0 must be {(len(X), len(W))}, got {tuple(H0.shape)}")
    for name, values in (("X", X), ("W", W), ("H0", H0)):
        if values is not None and not values.is_floating_point():
            raise ValueError(f"{name} must be real floating-point numbers, got {values.dtype}")
        if values is not None and not bool(values.isfinite().all()):
            bad = values[~values.isfinite()][0].item()
            raise ValueError(f"{name} must be finite, got an entry {bad}")
    if not (alpha > 0 and math.isfinite(alpha)):
        raise ValueError(f"alpha must be > 0 and finite, got {alpha}")
    if not gap_tol > 0:
        raise ValueError(f"gap_tol must be > 0, got {gap_tol}")
    if max_iterations < 0:
        raise ValueError(f"max_iterations must be >= 0, got {max_iterations}")
