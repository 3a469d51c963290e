"""Sparse coding: codes for a fixed dictionary, a dictionary for fixed codes, in turns."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from dlopt.minimization import asks_to_stop
from dlopt.sparse_codes import sparse_codes

# Rounds through the atoms for one set of codes: codes cost more than these.
_ROUNDS = 3
# While codes and atoms still change, codes need no smaller gap than this.
_ROUGH_GAP = 1e-3


def update_atoms(W: Tensor, H: Tensor, X: Tensor, rounds: int = 1) -> Tensor:
    r"""Improve a dictionary for fixed codes: the block W of equation :eq:`eq-8-38`.

    .. math:: w_k \leftarrow \Pi\big(w_k + (B_k - A_k W) / A_{kk}\big), \qquad
              A = H^\top H, \quad B = H^\top X

    Least squares over one atom at a time, with Π the projection onto :math:`\|w\| \le 1`, which
    for one atom is the exact minimum (Mairal et al., 2010, algorithm 2).

    Args:
        W: The atoms, shape (K, d).
        H: The codes, shape (m, K).
        X: The samples, shape (m, d).
        rounds: How often each atom is updated, >= 0.

    Returns:
        The atoms, shape (K, d): those that no code uses as they were.

    Example:
        >>> import torch
        >>> update_atoms(torch.eye(2), torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
        tensor([[0.0000, 0.5000],
                [0.0000, 1.0000]])
    """
    W = W.clone()
    A, B = H.T @ H, H.T @ X
    used = torch.nonzero(A.diagonal() > 0)[:, 0].tolist()
    for _ in range(rounds):
        for k in used:
            w = W[k] + (B[k] - A[k] @ W) / A[k, k]
            W[k] = w / torch.linalg.vector_norm(w).clamp(min=1)
    return W


class SparseCoding(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    r"""Learn a dictionary in which each sample needs few atoms: equation :eq:`eq-8-38`.

    .. math:: \min_{H, W} \; \tfrac12 \|X - HW\|^2 + \alpha \sum_{ij} |H_{ij}|, \qquad
              \|W_{k,:}\| \le 1

    Block coordinate descent: ``sparse_codes`` for H, ``update_atoms`` for W, in turns. The
    objective is not convex in both together, but in each alone, and never rises. An atom that no
    code uses is replaced by the sample that is explained worst, which changes no code.
    Estimators of scikit-learn work alike: ``Pipeline`` and ``GridSearchCV`` take it.

    Args:
        n_atoms: How many atoms, K; None: as many as features.
        alpha: The penalty α > 0; ½ makes the objective half that of :eq:`eq-8-38`.
        random_state: Seed or ``numpy.random.RandomState`` for the first atoms.
        max_iter: The most turns, >= 1.
        tol: The relative decrease of the objective in a turn that ends the fit, >= 0.
        gap_tol: The relative duality gap of the codes at the end and of ``transform``, > 0.
        callback: Called after each turn with its number and the objective; True or
            ``StopIteration`` ends the fit.

    Attributes:
        components_: The atoms, one in each row, shape (n_atoms, n_features), of norm <= 1.
        objective_: The objective after each turn, the last after the final codes.
        n_iter_: How many turns there were.
        gap_: The largest relative duality gap of the final codes.
        n_resampled_: How many atoms were replaced in all.

    Raises:
        ValueError: A parameter is out of range, or X is not 2-D, finite and real.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(30, 6))
        >>> model = SparseCoding(n_atoms=4, alpha=0.5, random_state=0).fit(X)
        >>> model.components_.shape, model.transform(X).shape, model.gap_ <= 1e-6
        ((4, 6), (30, 4), True)
    """

    def __init__(
        self,
        n_atoms: int | None = None,
        alpha: float = 0.5,
        random_state: int | np.random.RandomState | None = None,
        *,
        max_iter: int = 300,
        tol: float = 1e-8,
        gap_tol: float = 1e-6,
        callback: Callable[[int, float], object] | None = None,
    ) -> None:
        self.n_atoms = n_atoms
        self.alpha = alpha
        self.random_state = random_state
        self.max_iter = max_iter
        self.tol = tol
        self.gap_tol = gap_tol
        self.callback = callback

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn the atoms from samples, shape (n_samples, n_features); ``y`` is not used."""
        self._learn(X)
        return self

    def fit_transform(self, X: ArrayLike, y: object = None, **parameters: object) -> NDArray[Any]:
        """Learn the atoms, and return the codes of the samples, shape (n_samples, n_atoms)."""
        values, H = self._learn(X)
        codes: NDArray[Any] = H.numpy().astype(values.dtype, copy=False)
        return codes

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return the codes of samples, shape (n_samples, n_atoms), at the learned atoms.

        A ``ConvergenceWarning`` names the gap where it stays above ``gap_tol``.
        """
        check_is_fitted(self)
        values = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        H, gap = self._codes(_tensor(values), _tensor(self.components_))
        self._warn(gap)
        codes: NDArray[Any] = H.numpy().astype(values.dtype, copy=False)
        return codes

    def _learn(self, X: ArrayLike) -> tuple[NDArray[Any], Tensor]:
        """Set the fitted attributes; return the samples as they were taken, and their codes."""
        self._check()
        values: NDArray[Any] = validate_data(self, X, dtype=[np.float64, np.float32])
        x = _tensor(values)
        K = values.shape[1] if self.n_atoms is None else int(self.n_atoms)
        random = check_random_state(self.random_state)
        W = torch.from_numpy(random.standard_normal((K, values.shape[1])))
        W = W / torch.linalg.vector_norm(W, dim=1, keepdim=True)
        H = x.new_zeros(len(x), K)
        history = [self._value(x, H, W)]
        replaced, turn, stop = 0, 0, False
        while turn < self.max_iter and not stop:
            turn += 1
            fall = (history[-2] - history[-1]) / history[-2] if turn > 2 else 1.0
            H, _ = self._codes(x, W, H, max(self.gap_tol, min(fall, _ROUGH_GAP)))
            W = update_atoms(W, H, x, _ROUNDS)
            history.append(self._value(x, H, W))
            asked = self.callback is not None and asks_to_stop(self.callback, turn, history[-1])
            unused = torch.nonzero((H == 0).all(0))[:, 0]
            stop = asked or history[-2] - history[-1] <= self.tol * history[-2]
            if len(unused) and not asked:
                W, new = _resampled(W, H, x, unused)
                replaced += new
        H, gap = self._codes(x, W, H)
        self._warn(gap)
        self.objective_ = [*history[1:-1], self._value(x, H, W)]
        self.components_: NDArray[Any] = W.numpy().astype(values.dtype, copy=False)
        self.n_iter_, self.n_resampled_, self.gap_ = turn, replaced, float(gap.max())
        return values, H

    def _value(self, X: Tensor, H: Tensor, W: Tensor) -> float:
        return float(0.5 * (X - H @ W).square().sum() + self.alpha * H.abs().sum())

    def _codes(
        self, X: Tensor, W: Tensor, H0: Tensor | None = None, gap_tol: float | None = None
    ) -> tuple[Tensor, Tensor]:
        return sparse_codes(X, W, self.alpha, H0, gap_tol=gap_tol or self.gap_tol)

    def _warn(self, gap: Tensor) -> None:
        if float(gap.max()) > self.gap_tol:
            message = f"the relative duality gap of the codes is {float(gap.max()):.1e}"
            warnings.warn(message, ConvergenceWarning, stacklevel=3)

    def _check(self) -> None:
        """Raise ``ValueError`` unless every parameter is in its range."""
        whole = {"n_atoms": self.n_atoms, "max_iter": self.max_iter}
        for name, value in whole.items():
            if name == "n_atoms" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
        for name, least in (("alpha", "> 0"), ("gap_tol", "> 0"), ("tol", ">= 0")):
            number = getattr(self, name)
            real = isinstance(number, float | int | np.number) and math.isfinite(number)
            if not (real and (number > 0 or (number == 0 and least == ">= 0"))):
                raise ValueError(f"{name} must be {least} and finite, got {number!r}")

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    def __sklearn_tags__(self) -> Any:
        """Say that float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))


def _resampled(W: Tensor, H: Tensor, X: Tensor, unused: Tensor) -> tuple[Tensor, int]:
    """Put the samples that are explained worst in the place of unused atoms, at length 1."""
    error = (X - H @ W).square().sum(1)
    worst = error.topk(min(len(unused), len(X))).indices
    worst = worst[error[worst] > 0]
    lengths = torch.linalg.vector_norm(X[worst], dim=1, keepdim=True)
    places = unused[: len(worst)]
    return W.index_copy(0, places, X[worst] / lengths), len(worst)
