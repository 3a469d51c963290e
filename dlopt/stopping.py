r"""When is a run done? Where the gradient is small and nothing that matters is left to gain.

A small gradient alone promises nothing: beside a first gradient of 1e26 every other one is small.
So a second question is asked, in units of J: how much is there to gain? By the method's own model,
and where it knows no second derivatives also by a few steps of conjugate gradients from here
(``differences``). That counts as nothing below ten times the rounding of J (enough). Where J falls
to 0, so that J itself is left, larger bounds serve, too: the rounding of J some steps ago (early);
of √(J₀J), if J is below the rounding of J₀ and the gradient is rounding (hidden). Then no way may
lead down, as from a saddle; J has to be the same once more, and still to depend on all entries.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dlopt.differences import Differences, is_plateau, left_to_gain, way_down
from dlopt.evaluation import inner, largest_entry, norm, rounding
from dlopt.method import Method, State
from dlopt.noise import VISIBLE, noise_of, rounding_of, seen_around, shaken
from dlopt.objective import Objective

_EARLY = 4  # steps: before, values are of the size of the start
_STEEP = 1e-6  # of J, for a change of the entries by themselves


class StoppingRule:
    r"""Decide after each state whether a run has converged.

    Args:
        f: The objective that is minimised.
        method: The method; its ``expected_decrease(f, state)``, if it has one, is asked.
        grad_tol: The bound on the largest absolute entry of the gradient that is small enough, or
            None: ``default_share`` of the first gradient, and nothing left to gain.

    Attributes:
        stalls: Whether the last state is the sixth in a row that was tested, with much left to gain
            each time, while J hardly fell.
    """

    def __init__(self, f: Objective, method: Method[Any], grad_tol: float | None) -> None:
        self._f, self._grad_tol = f, grad_tol
        self._expected = getattr(method, "expected_decrease", lambda f, state: 0.0)
        self._ends_itself = getattr(method, "ends_itself", False)
        self._values: list[float] = []
        self._largest: list[float] = []
        self._wait = 0
        self._refused: list[float] = []  # J at each test that found something left
        self._used: Any = False  # which entries of the gradient were not 0
        self._down: Tensor | None = None  # the way down from the last saddle
        self._lengths: list[float] = []  # ‖θ‖₂

    def __call__(self, state: State) -> str:
        """Return "gradient" or "no_decrease" where the run has converged, else "plateau" or ""."""
        self.stalls = False
        largest = largest_entry(state.grad)
        self._values.append(float(state.value))
        self._largest.append(largest)
        self._lengths.append(norm(state.x))
        self._used = self._used | (state.grad != 0)
        if len(self._values) == 1:
            self._before = self._start = state
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
            H = Differences(self._f, state, self._before, self._start)
            if self._nothing_left(state, small, H) and self._is_repeated(state, small):
                if is_plateau(H, self._start, self._used):
                    return "plateau"
                return "gradient" if small else "no_decrease"
            # A test costs an evaluation: the more have failed, the longer until the next one.
            self._refused.append(self._values[-1])
            self._wait = len(self._refused)
            self.stalls = self._has_stalled()
        self._before = state
        return ""

    def _has_stalled(self) -> bool:
        """Return whether J has hardly fallen over the last six tests."""
        eps, tests = torch.finfo(self._start.x.dtype).eps, self._refused[-6:]
        return len(tests) == 6 and tests[0] - tests[-1] <= VISIBLE * rounding(tests[-1], eps)

    def _stands(self, state: State) -> bool:
        """Return whether the last step changed J by no more than rounding."""
        if len(self._values) == 1:
            return False
        fell = abs(self._values[-2] - self._values[-1])
        return self._may_stand(state, fell) and fell <= noise_of(self._before, state)

    def _may_stand(self, state: State, fell: float) -> bool:
        """Return whether bounds on the noise, from one pass over the point, leave the question."""
        eps, (before, now) = torch.finfo(state.x.dtype).eps, self._lengths[-2:]
        steep = math.sqrt(len(state.x)) * self._largest[-1]  # >= ‖g‖₂
        most = rounding(self._values[-1], eps) + eps * steep * (before + now)
        return fell <= 1.01 * most or abs(now - before) <= 2 * eps**0.45 * (before + now)

    def _earlier_noise(self, k: int, eps: float) -> float:
        """Return the rounding of J a few steps ago, or half-way's, where J falls to 0."""
        now, before, recent, halfway = (
            abs(self._values[i]) for i in (k, k - 1, k - min(k // 4, 20), k // 2)
        )
        J = now / (halfway or math.inf)
        g = self._largest[k] / (self._largest[k // 2] or math.inf)  # 0 at a saddle, then on
        # Near a minimum of value 0 J falls as a power of the gradient, as its square where there is
        # curvature. Down a wall it may fall as the gradient does, or in one step, through any
        # number of decades, and then hardly any more.
        order = math.log(J) / math.log(g) if 0 < J < 1 and 0 < g < 1 else 0.0
        if order < 1.1 or now > 0.9 * before:
            return 0.0
        share = 1.0 if order >= 1.8 else VISIBLE * rounding(1.0, eps)
        return max(rounding(recent, eps), share * rounding(halfway, eps))

    def _is_repeated(self, state: State, small: bool) -> bool:
        """Return whether J is the same once more at the same point, as rounding is.

        Dropout's noise and that of random minibatches aren't, except by chance. Of a sum that a GPU
        adds up in another order the last digits differ.
        """
        if small and self._largest[-1] > 0 and not self._measured:
            return True  # nothing that rests on more than the usual rounding
        again = self._f.evaluate(state.x)
        if small:
            return largest_entry(again.grad) <= self._tolerance
        return abs(again.J - float(state.value)) <= VISIBLE * rounding_of(state, state)

    def _nothing_left(self, state: State, small: bool, H: Differences) -> bool:
        """Return whether what is left to gain drowns in rounding, and no way leads down."""
        k, eps, J = len(self._values) - 1, torch.finfo(state.x.dtype).eps, abs(self._values[-1])
        failed = state.reason == "line_search" and self._largest[-1] > 0
        noise = noise_of(self._before, state)
        if state.reason:  # the method gave up: rounding may be larger than it ought to be
            noise = max(noise, seen_around(self._f, state))
        self._measured = noise > rounding_of(self._before, state)
        enough, early, hidden = VISIBLE * noise, 0.0, 0.0
        if small and k >= _EARLY:
            early = VISIBLE * self._earlier_noise(k, eps)
        if eps * abs(self._values[0]) > J:  # its digits are lost, and half of those in between
            hidden = VISIBLE * rounding(math.sqrt(abs(self._values[0])) * math.sqrt(J), eps)
        most = max(enough, early, hidden)
        # A step that has failed belies what first derivatives promised.
        belied = failed or (bool(state.reason) and self._f.hessian_products == 0)
        gain = 0.0 if belied else self._expected(self._f, state)
        informed = self._is_informed(state, gain)
        if gain <= most and not informed:
            gain = max(gain, left_to_gain(H, most))
        # More than the rounding of J is nothing only where what is left is J itself.
        all_left = gain >= 0.01 * J
        falls_to_0 = (all_left and gain <= early) or (
            gain <= hidden and (is_rounding(H, state) or (failed and all_left))
        )
        if not (gain <= enough or falls_to_0):
            return False
        # A start of 1e100 says nothing of how far down J goes, except to the end of the numbers.
        too_far = eps**5 * abs(self._values[0]) > J >= torch.finfo(state.x.dtype).tiny
        if all_left and too_far and not is_rounding(H, state):
            return False
        fell = abs(self._values[0] - self._values[-1])
        # On a wall, where the last digits of θ make a part of J, lower ground may be beside it.
        if not small and 1e-3 * J < enough < min(J, fell):
            return False
        # A search that failed after a fall has seen a gradient: that is no run into a saddle.
        if informed or (failed and self._down is None and fell > enough):
            return True
        if self._down is not None:
            H.product(self._down, H.extent)
        self._down = way_down(H, max(gain, enough))
        return self._down is None

    def _is_informed(self, state: State, gain: float) -> bool:
        """Return whether second derivatives have told how much is left to gain."""
        J, largest = abs(self._values[-1]), self._largest[-1]
        # A promise of 0 while the gradient isn't 0 has lost its digits. So may have one below J/100
        # where |g|·|θ| > 1e-6 J: a change of the entries by themselves would change J still.
        steep = inner(state.grad.abs(), state.x.abs()) > _STEEP * J
        told = gain > 0 or largest == 0
        return self._f.hessian_products > 0 and told and not (steep and gain < 0.01 * J)


def drowns(f: Objective, state: State) -> bool:
    """Return whether what a step down the gradient can gain is rounding: one evaluation.

    A search that finds nothing may be at the floor; or at a kink, or misled by a wrong gradient.
    Where the gradient is exactly zero, a few more look for a way down, as from a hilltop.
    """
    noise, H = VISIBLE * noise_of(state, state), Differences(f, state)
    if not bool(state.grad.any()):
        return way_down(H, noise, most=6) is None
    return left_to_gain(H, 0.0, most=1) <= noise


def is_rounding(H: Differences, state: State) -> bool:
    """Return whether the gradient, in units of θ, is what θ's last digits make of it: 1 evaluation.

    The steepest entry by itself would hide the others, as the stiffest one does.
    """
    moved = shaken(H.f, state, 1, 4 * torch.finfo(state.x.dtype).eps)
    size = H.size / H.unit
    return norm(size * (moved.grad - state.grad)) >= norm(size * state.grad)


def default_share(dtype: torch.dtype) -> float:
    """Return the default tolerance as a share of the first gradient: 1e-10 for float64 points."""
    return float(torch.finfo(dtype).eps ** 0.64)
