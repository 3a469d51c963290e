r"""When is a run done? Where the gradient is small and nothing that matters is left to gain.

A small gradient alone promises nothing: beside a first gradient of 1e26 every other one is small.
So a second question is asked, in units of J: how much is there to gain? By the method's own model,
and where it knows no second derivatives also by a few steps of conjugate gradients from here. That
counts as nothing where it drowns in rounding: in that of J here; while J still falls towards zero,
in that of J a little earlier in the run; at the end of the numbers, in that of the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dlopt.curvature import lanczos
from dlopt.evaluation import Evaluation, largest_entry, norm, rounding
from dlopt.method import Method, State
from dlopt.objective import Objective

_EARLY = 4  # steps: before, values are of the size of the start
_VISIBLE = 10.0  # times the rounding: what has to be gained to be seen


class StoppingRule:
    r"""Decide after each state whether a run has converged.

    Args:
        f: The objective that is minimised.
        method: The method; its ``expected_decrease(f, state)``, if it has one, is asked.
        grad_tol: The bound on the largest absolute entry of the gradient that is small enough, or
            None: ``default_share`` of the first gradient, and nothing left to gain.
    """

    def __init__(self, f: Objective, method: Method[Any], grad_tol: float | None) -> None:
        self._f, self._grad_tol = f, grad_tol
        self._expected = getattr(method, "expected_decrease", lambda f, state: 0.0)
        self._ends_itself = getattr(method, "ends_itself", False)
        self._values: list[float] = []
        self._largest: list[float] = []
        self._refuted = self._wait = 0
        self._down: Tensor | None = None  # the way down from the last saddle
        self._lengths: list[float] = []  # ‖θ‖₁

    def __call__(self, state: State) -> str:
        """Return "gradient" or "no_decrease" where the run has converged, and else ""."""
        largest = largest_entry(state.grad)
        self._values.append(float(state.value))
        self._largest.append(largest)
        self._lengths.append(float(torch.linalg.vector_norm(state.x, 1)))
        if len(self._values) == 1:
            self._before = state
            self._tolerance = self._grad_tol or default_share(state.x.dtype) * largest
        small = largest <= self._tolerance
        if self._ends_itself:
            return "gradient" if small else ""
        if small and self._grad_tol is not None:
            if self._expected(self._f, state) < math.inf:
                return "gradient"
        elif self._wait > 0 and not state.reason:
            self._wait -= 1
        elif small or state.reason in ("line_search", "no_decrease") or self._stands(state):
            if self._nothing_left(state, small):
                return "gradient" if small else "no_decrease"
            # A test costs an evaluation: the more have failed, the longer until the next one.
            self._refuted += 1
            self._wait = self._refuted
        self._before = state
        return ""

    def _stands(self, state: State) -> bool:
        """Return whether the last step changed J by no more than rounding."""
        if len(self._values) == 1:
            return False
        fell = abs(self._values[-2] - self._values[-1])
        return self._may_stand(state, fell) and fell <= noise_of(self._before, state)

    def _may_stand(self, state: State, fell: float) -> bool:
        """Return whether bounds on the noise, from one pass over the point, leave the question."""
        eps, (before, now) = torch.finfo(state.x.dtype).eps, self._lengths[-2:]
        most = rounding(self._values[-1], eps) + eps * self._largest[-1] * (before + now)
        return fell <= 1.01 * most or abs(now - before) <= 2 * eps**0.45 * (before + now)

    def _earlier_noise(self, k: int, eps: float) -> float:
        """Return the rounding of J a few steps ago, or half-way's, where J falls as it should."""
        recent, halfway = self._values[k - min(k // 4, 20)], self._values[k // 2]
        # Near a minimum of value 0 J falls as the square of the gradient: what is left is J itself.
        # Elsewhere J may fall through many decades to a minimum of any value.
        J = abs(self._values[-1]) / (abs(halfway) or math.inf)
        g = self._largest[-1] / (self._largest[k // 2] or math.inf)  # 0 at a saddle, then on
        to_zero = 0 < J < 1 and 0 < g < 1 and math.log(J) <= 1.8 * math.log(g)
        share = 1.0 if to_zero else _VISIBLE * rounding(1.0, eps)
        return max(rounding(recent, eps), share * rounding(halfway, eps))

    def _nothing_left(self, state: State, small: bool) -> bool:
        """Return whether what is left to gain drowns in rounding."""
        k, eps = len(self._values) - 1, torch.finfo(state.x.dtype).eps
        noise = noise_of(self._before, state)
        if small and k >= _EARLY:
            noise += self._earlier_noise(k, eps)
        if state.reason:  # the method gave up: rounding may be larger than it ought to be
            around = shaken(self._f, state, math.sqrt(eps))
            noise = max([noise, *(disagreement(state, at) for at in around if at.finite)])
        enough = hidden = _VISIBLE * noise
        first, last = abs(self._values[0]), abs(self._values[-1])
        if last < eps * first:
            # J has lost all its digits on the way to 0. Where the gradient is rounding, too, no
            # method finds more; then what is left may be as large as the digits in between allow.
            hidden = max(enough, _VISIBLE * rounding(math.sqrt(first) * math.sqrt(last), eps))
        # A search that has failed belies what a method promised, if that was learned.
        failed = state.reason == "line_search" and not self._f.hessian_products
        gain = 0.0 if failed else self._expected(self._f, state)
        # A promise of 0 beside a gradient is none, or one whose digits are lost.
        informed = self._f.hessian_products and (gain > 0 or self._largest[-1] == 0)
        H = Differences(self._f, state, self._before)
        if gain <= hidden and not informed:
            gain = max(gain, left_to_gain(H, hidden))
        if not (gain <= enough or (gain <= hidden and is_rounding(self._f, state))):
            return False
        # A search that failed along a gradient has seen one: no run straight into a saddle.
        failed = state.reason == "line_search" and self._largest[-1] > 0
        if informed or (failed and self._down is None):
            return True
        if self._down is not None:
            H.product(self._down)
        self._down = way_down(H, enough, max(self._lengths) / len(state.x))
        return self._down is None


class Differences:
    r"""Products with the Hessian by differences of gradients: one evaluation each.

    :math:`Hv \approx (\nabla J(\theta + hv) - g)/h`, where h moves some entry of θ by the leading
    half of its digits.

    Args:
        f: The objective J.
        state: Where to look.

    Attributes:
        unit: ‖g‖∞. Of J over it squares neither overflow nor vanish.
        at: J over the unit, and its gradient.
        root: The error of a product, relative to the stiffest direction.
        known: The vectors multiplied so far, and their products.
    """

    def __init__(self, f: Objective, state: State, before: State | None = None) -> None:
        self.f, x = f, state.x
        self.unit = largest_entry(state.grad) or 1.0
        J = float(state.value) / self.unit
        self.at = Evaluation(x, state.value / self.unit, state.grad / self.unit, J, finite=True)
        self.root = math.sqrt(torch.finfo(x.dtype).eps)
        self.known: list[tuple[Tensor, Tensor]] = []
        size = x.abs()
        if before is not None:
            size = size.maximum((x - before.x).abs() / self.root)
        self._size = size.clamp(min=self.root * largest_entry(x) or self.root)

    def product(self, v: Tensor) -> Tensor:
        """Return Hv for ``v`` of shape (n,), shape (n,); NaN where J isn't finite nearby."""
        fastest = largest_entry(v.abs() / self._size)
        if not fastest > 0:
            return torch.full_like(v, math.nan)
        moved = self.f.evaluate(self.at.x.add(v, alpha=self.root / fastest))
        self.known.append((v, (moved.grad / self.unit - self.at.grad) * (fastest / self.root)))
        return self.known[-1][1]


def way_down(H: Differences, noise: float, size: float = 0.0, most: int = 16) -> Tensor | None:
    """Return a direction that leads down from a gradient of zero, None where none was found.

    First derivatives alone see nothing of the way down from a saddle; so it is looked for, and
    tried: two evaluations beside the products.

    Args:
        H: The Hessian where to look; what it knows already is used.
        noise: How much of J is rounding, in its units.
        size: Of the entries of θ, where it has been larger than it is.
        most: The most products, those that are known included.
    """
    values, v = lanczos(H, most - len(H.known), H.known)
    curvature = float(values[0])
    if not curvature < 0:
        return None
    # Far enough to be seen, and to move more than the trailing digits; but no farther than that.
    J, size = float(H.at.value) * H.unit, max(size, largest_entry(H.at.x)) or 1.0
    step = min(math.sqrt(4 * noise / (-curvature * H.unit)), 0.1 * size)
    step = max(step, math.sqrt(H.root) * size)
    falls = any(J - noise > H.f.evaluate(H.at.x + s * v).J for s in (step, -step))
    return v if falls else None


def left_to_gain(H: Differences, enough: float, most: int = 10) -> float:
    r"""Estimate how much J can still fall, by a few steps of conjugate gradients on its model.

    Each product :math:`Hd \approx (\nabla J(\theta + hd) - g)/h` takes one evaluation, so that it
    serves methods that know no second derivatives; a model along −g alone would see nothing in a
    narrow valley. Curvature below what the difference can resolve counts as that.

    Args:
        H: The Hessian where to look, and the gradient.
        enough: Stop as soon as so much is found, in the units of J.
        most: The most products.

    Returns:
        The decrease of the model, in the units of J; infinity where J can't be evaluated nearby.
    """
    g, root = H.at.grad, H.root
    if not bool(g.any()):
        return 0.0
    r, d = g, -g
    rr, gain, stiffest = float(g.dot(g)), 0.0, 0.0
    for _ in range(min(most, len(g))):
        Hd = H.product(d)
        if not bool(Hd.isfinite().all()):
            return math.inf  # at the end of the numbers, or of where J is defined
        dd = float(d.dot(d))
        stiffest = max(stiffest, norm(Hd) / math.sqrt(dd))
        curvature = max(float(d.dot(Hd)), root * stiffest * dd)
        step = rr / curvature if curvature > 0 else math.inf
        gain += 0.5 * step * rr * H.unit
        r = r + step * Hd
        before, rr = rr, float(r.dot(r))
        if not (gain <= enough and rr > 1e-10):
            break
        d = -r + rr / before * d
    return gain


def noise_of(before: State, state: State) -> float:
    """Return how much of J is rounding: of its value, of the point, and what the step shows."""
    eps = torch.finfo(state.x.dtype).eps
    size = (state.x.abs() + before.x.abs()).double()
    point = eps * float(state.grad.abs().double().dot(size))
    return max(rounding(float(state.value), eps) + point, disagreement(before, state))


def drowns(f: Objective, state: State) -> bool:
    """Return whether what a step down the gradient can gain is rounding: one evaluation.

    A search that finds nothing may be at the floor; or at a kink, or misled by a wrong gradient.
    Where the gradient is exactly zero, a few more look for a way down, as from a hilltop.
    """
    noise, H = _VISIBLE * noise_of(state, state), Differences(f, state)
    if not bool(state.grad.any()):
        return way_down(H, noise, most=6) is None
    return left_to_gain(H, 0.0, most=1) <= noise


def disagreement(before: State, after: State | Evaluation) -> float:
    """Return by how much J changed where slopes say it hardly should: its rounding, in its units.

    Between two points as near as the leading half of all digits, J changes by no more than twice
    what the steeper of the two slopes says.
    """
    step = (after.x - before.x).double()
    size = before.x.abs().double() + after.x.abs().double()
    if not bool((step.abs() <= torch.finfo(before.x.dtype).eps ** 0.45 * size).all()):
        return 0.0
    steepest = max(abs(float(at.grad.double().dot(step))) for at in (before, after))
    change = abs(float(after.value) - float(before.value))
    return change if change > 2 * steepest else 0.0


def shaken(f: Objective, state: State, share: float) -> Iterator[Evaluation]:
    r"""Evaluate six points around θ, each entry moved by at most a ``share`` of itself.

    Each point lies four times nearer than the one before: what changes J there is less and less its
    slope. In the spirit of ECnoise (Moré & Wild, SIAM J. Sci. Comput. 33, 2011).
    """
    i = torch.arange(1, len(state.x) + 1, dtype=state.x.dtype, device=state.x.device)
    for k in range(1, 7):
        yield f.evaluate(state.x + share / 4 ** (k - 1) * state.x.abs() * torch.cos(k * i))


def is_rounding(f: Objective, state: State) -> bool:
    """Return whether the gradient is what the last digits of θ make of it: one evaluation."""
    moved = next(shaken(f, state, 4 * torch.finfo(state.x.dtype).eps))
    return norm(moved.grad - state.grad) >= norm(state.grad)


def default_share(dtype: torch.dtype) -> float:
    """Return the default tolerance as a share of the first gradient: 1e-10 in double precision.

    Args:
        dtype: Of the point.
    """
    return float(torch.finfo(dtype).eps ** 0.64)
