"""Sparse codes for a fixed dictionary: many small convex problems, and their duality gaps."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from dlopt.evaluation import rounding

# The gap is looked at every so many iterations, and the support solved for every so many looks.
_LOOK, _SOLVE = 10, 10
# So many samples at once are solved for on their supports: their matrices fit the cache.
_CHUNK = 256
_LARGE = 1e300
# Codes, with the objective and the relative gap of each sample.
_Judged = tuple[Tensor, Tensor, Tensor]


class Codes(NamedTuple):
    r"""Codes, and how far from the best they can be.

    Attributes:
        H: The codes, shape (m, K).
        gap: For each sample the duality gap, a bound on what its objective is above the least
            one, as a share of :math:`\tfrac12\|x\|^2`, shape (m,); 0 for a sample of zeros.
    """

    H: Tensor
    gap: Tensor


@torch.no_grad()
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
    # In units of the data, a power of two, squares neither overflow nor vanish.
    size = 2.0 ** (math.frexp(float(X.abs().max()))[1] - 1) if X.count_nonzero() else 1.0
    problem = _Lasso(X.double() / size, W.double(), min(alpha / size, _LARGE))
    start = torch.zeros_like(problem.C) if H0 is None else H0.double() / size
    H, (value, gap) = start.clone(), problem.judge(start)
    rows = torch.nonzero(gap > gap_tol)[:, 0]
    part, momentum = problem.of(rows), _Momentum(H[rows])
    best = (H[rows], value[rows], gap[rows])
    for step in range(1, max_iterations + 1):
        if not len(rows):
            break
        momentum.step(part)
        if step % _LOOK and step < max_iterations:
            continue
        if step % (_LOOK * _SOLVE) == 0:
            momentum.jump(part)
        best = _better((momentum.H, *part.judge(momentum.H)), best)
        H[rows], gap[rows] = best[0], best[2]
        left = best[2] > gap_tol
        if not bool(left.all()):
            rows, best = rows[left], (best[0][left], best[1][left], best[2][left])
            part = problem.of(rows)
            momentum.keep(left)
    return Codes((H * size).to(X.dtype), gap.to(X.dtype))


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

    def judge(self, H: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return the objective of each sample, and what it is above the dual one, over ½‖x‖².

        The dual, ½‖x‖² − ½‖x − θ‖² over ‖Wθ‖_∞ ≤ α, at the residual r scaled to be feasible.
        """
        r = torch.addmm(self.X, H, self.W, alpha=-1)
        scale = (self.alpha / (r @ self.W.T).abs().amax(1)).clamp(max=1)
        squares = r.square().sum(1)
        primal = 0.5 * squares + self.alpha * H.abs().sum(1)
        dual = scale * (self.X * r).sum(1) - 0.5 * scale.square() * squares
        half = torch.where(self.half_squares == 0, 1.0, self.half_squares)
        return primal, (primal - dual).clamp(min=0) / half

    def on_support(self, H: Tensor) -> Tensor:
        """Return the stationary points with the atoms and signs in use, where they exist."""
        used = H != 0
        pairs = used[:, :, None] & used[:, None, :]
        matrices = self.G * pairs + torch.diag_embed((~used).to(H))
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
        """Go to the solution on the support where that is better."""
        for rows in torch.split(torch.arange(len(self.H), device=self.H.device), _CHUNK):
            part, H = lasso.of(rows), self.H[rows]
            found = part.on_support(H)
            landed, *_ = _better((found, *part.judge(found)), (H, *part.judge(H)))
            moved = (landed != H).any(1, keepdim=True)
            self.H = self.H.index_copy(0, rows, landed)
            self.Y = self.Y.index_copy(0, rows, torch.where(moved, landed, self.Y[rows]))
            self.t = self.t.index_copy(0, rows, torch.where(moved, 1.0, self.t[rows]))

    def keep(self, left: Tensor) -> None:
        """Go on with some of the samples."""
        self.H, self.Y, self.t = self.H[left], self.Y[left], self.t[left]


def _better(new: _Judged, old: _Judged) -> _Judged:
    """Return for each sample the codes of lower objective; within rounding, of smaller gap."""
    noise = rounding(1.0, torch.finfo(torch.float64).eps) * old[1]
    take = (new[1] < old[1] - noise) | ((new[1] <= old[1] + noise) & (new[2] < old[2]))
    H = torch.where(take[:, None], new[0], old[0])
    return H, torch.where(take, new[1], old[1]), torch.where(take, new[2], old[2])


def _check(
    X: Tensor, W: Tensor, alpha: float, H0: Tensor | None, gap_tol: float, max_iterations: int
) -> None:
    for name, values in (("X", X), ("W", W), ("H0", H0)):
        if not isinstance(values, Tensor | None):
            raise ValueError(f"{name} must be a torch.Tensor, got {type(values).__name__}")
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
