"""What J's second derivatives promise, for methods that know first derivatives only."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dlopt.curvature import lanczos
from dlopt.evaluation import Evaluation, inner, largest_entry, norm, rounding
from dlopt.method import State
from dlopt.objective import Objective

_SMALL = 1e-3  # of the largest entry, what is as good as 0
_FLAT = 1e-12  # of J and of its fall, a slope times the entry's size


class Differences:
    r"""Products with the Hessian by differences of gradients: one evaluation each.

    :math:`Hv \approx (\nabla J(\theta + hv) - g)/h`, where h moves entries of θ by the leading half
    of their digits, or as far as the last step moved them.

    Args:
        f: The objective J.
        state: Where to look.
        before: The state before.
        start: The first state.

    Attributes:
        f: The objective.
        unit: ‖g‖∞. Of J over it squares neither overflow nor vanish.
        at: J over the unit, and its gradient.
        root: The error of a product, relative to the stiffest direction.
        known: The vectors multiplied so far, and their products.
        size: Of each entry of θ now, shape (n,).
        declared: The same, but entries that began at 0 count as large as the largest: they have
            told no unit.
        by_slope: The same, but they are as large as would have changed J alike there.
        extent: The largest of each entry at the start, the step before and now: what is near 0 now
            may have come from afar.
    """

    def __init__(
        self, f: Objective, state: State, before: State | None = None, start: State | None = None
    ) -> None:
        x, x_before = state.x, before.x if before else state.x
        self.f, self.root = f, math.sqrt(torch.finfo(x.dtype).eps)
        self.unit = largest_entry(state.grad) or 1.0
        J = float(state.value) / self.unit
        self.at = Evaluation(x, state.value / self.unit, state.grad / self.unit, J, finite=True)
        self.known: list[tuple[Tensor, Tensor]] = []
        self._step = (x - x_before).abs()
        size = x.abs().maximum(x_before.abs())
        self.size = self.declared = self.by_slope = self.extent = _size_of(size)
        if start:
            self.declared = _size_of(size.where(start.x != 0, 0.0))
            self.by_slope = _by_slope(self.declared, start)
            self.extent = _size_of(size.maximum(start.x.abs()))

    def product(self, v: Tensor, size: Tensor) -> Tensor:
        """Return Hv, shape (n,), for ``v`` of shape (n,); NaN where J isn't finite nearby.

        ``size`` tells how large entries are, shape (n,).
        """
        fastest = largest_entry(v / (self.root * size).maximum(self._step))
        if not fastest > 0:
            return torch.full_like(v, math.nan)
        moved = self.f.evaluate(self.at.x.add(v, alpha=1 / fastest))
        self.known.append((v, (moved.grad / self.unit - self.at.grad) * fastest))
        return self.known[-1][1]


class InUnits:
    """The Hessian by u = θ / size, each entry in a unit of its own: compare PCG and Jacobi.

    Of parameters in volts and in nanometres the stiffer one would hide the other in the error of a
    product.

    Args:
        H: Its products.
        size: The units, shape (n,); their common factor changes nothing.

    Attributes:
        size: The units relative to the largest.
        known: The vectors u multiplied so far, and their products.
        at: J and its gradient by u.
    """

    def __init__(self, H: Differences, size: Tensor) -> None:
        self._H, self._whole = H, size
        smallest = math.sqrt(torch.finfo(size.dtype).tiny)  # its square is still a number
        self.size = (size / largest_entry(size)).clamp(min=smallest)
        self.known = [(v / self.size, Hv * self.size) for v, Hv in H.known]
        self.at = H.at._replace(grad=self.size * H.at.grad)

    def product(self, u: Tensor) -> Tensor:
        """Return the product with ``u``, shape (n,)."""
        return self.size * self._H.product(self.size * u, self._whole)


def _size_of(x: Tensor) -> Tensor:
    """Return ``x`` >= 0, shape (n,), with its largest entry, or 1, in place of zeros."""
    return x.where(x > 0, largest_entry(x) or 1.0)


def _by_slope(size: Tensor, start: State) -> Tensor:
    """Return the sizes; those of entries that began at 0 by how steep J was along them.

    The least steep counts as large as the largest of the others, one without any slope, too.
    """
    slope = start.grad.abs().where(start.x == 0, 0.0)
    least = slope.where(slope > 0, math.inf).min()
    return size.where(slope == 0, size * (least / slope))


def way_down(H: Differences, noise: float, most: int = 19) -> Tensor | None:
    """Return a direction that leads down from a gradient of zero, None where none was found.

    First derivatives alone see nothing of the way down from a saddle; so it is looked for, and
    tried: two evaluations beside the products.

    Args:
        H: The Hessian where to look; what it knows already is used.
        noise: How much of J is rounding, in its units.
        most: The most products, those that are known included: up to 19 parameters nothing of the
            Hessian stays unseen.
    """
    scaled = InUnits(H, H.extent)
    values, u = lanczos(scaled, most - len(H.known), scaled.known)
    curvature = float(values[0])
    if not curvature < 0:
        return None
    # Far enough to be seen, and to move more than the trailing digits; but no farther than that.
    J, down = float(H.at.value) * H.unit, scaled.size * u
    whole = 1 / largest_entry(down / H.extent)  # changes some entry by all of its size
    step = min(math.sqrt(4 * noise / (-curvature * H.unit)), 0.1 * whole)
    step = max(step, math.sqrt(H.root) * whole)
    falls = any(J - noise > H.f.evaluate(H.at.x + s * down).J for s in (step, -step))
    return down if falls else None


def is_plateau(H: Differences, start: State, used: Tensor) -> bool:
    r"""Return whether J no longer depends on some entry of θ: at most three evaluations.

    A gradient of 0 by that entry says nothing then. Where a peak of a model has left the data, a
    sigmoid is saturated or a weight grows without end, the slope by the entry is so small that the
    entry's own size times it is less than 1e-12 of J, and of how far J fell. That is asked here,
    very near, and where all entries are shaken by a hundredth, to either side.

    Args:
        H: Knows the point, and how large entries are now and were.
        start: The first state.
        used: Whether the gradient by an entry was ever anything but 0, shape (n,): where it wasn't,
            the entry may be in no use.
    """
    J, first = float(H.at.value), float(start.value) / H.unit
    eps, fell = torch.finfo(start.x.dtype).eps, abs(first - J)
    if J == 0:
        return False  # nothing is left of it
    falls = fell > rounding(J, eps)  # a run that starts on a plateau doesn't
    most = _FLAT * min(abs(J), fell if falls else abs(J))
    own = H.extent.where(start.x != 0, H.extent.maximum(H.declared))
    if not falls and largest_entry(own) <= _SMALL:
        own = torch.ones_like(own)  # a start next to a minimum at 0 has told no unit
    # Some are near 0 by chance, beside others that have not run away.
    whole = own.clamp(min=_SMALL * min(largest_entry(own), largest_entry(start.x) or math.inf))
    i = torch.arange(1, len(whole) + 1, dtype=whole.dtype, device=whole.device)
    unlike = 1 + 0.5 * torch.cos(i)

    def stays(grad: Tensor) -> Tensor:
        return grad.abs() * whole <= most  # false for NaN

    def found() -> bool:
        return bool(flat.all() or (flat & used).any())

    flat = stays(H.at.grad)
    if found() and not H.known:
        H.product(own * unlike, H.size)  # a hundredth may be farther than a sharp minimum is wide
    for v, Hv in H.known:
        flat &= stays(Hv / largest_entry(v / whole))
    # Near 0 by symmetry, sizes now show too little. What is small in a unit of its own is moved by
    # no more than that: a larger step might bring a peak back to the data.
    for step, times in ((0.01 * H.size, 1.0), (-0.01 * own, whole / own)):
        if not found():
            return False
        flat &= stays(times * H.f.evaluate(H.at.x + step * unlike).grad / H.unit)
    return found()


def left_to_gain(H: Differences, enough: float, most: int = 10) -> float:
    r"""Estimate how much J can still fall, by a few steps of conjugate gradients on its model.

    It serves methods that know no second derivatives; a model along −g alone would see nothing in a
    narrow valley. Curvature below what the differences can resolve counts as that.

    An entry that began at 0 has told no unit. It may be near its end, or have hardly set out: then
    its own size shows what is left, in one step, or how steep J was along it.

    Args:
        H: The Hessian where to look, and the gradient.
        enough: Stop as soon as so much is found, in the units of J.
        most: The most products.

    Returns:
        The decrease of the model, in the units of J; infinity where J can't be evaluated nearby.
    """
    for guess in (H.size, H.by_slope):
        if not torch.equal(H.declared, guess):
            gain = _left_to_gain(H, InUnits(H, guess), enough, most=1)
            most -= 1
            if gain > enough or most == 0:
                return gain
    return _left_to_gain(H, InUnits(H, H.declared), enough, most)


def _left_to_gain(H: Differences, scaled: InUnits, enough: float, most: int) -> float:
    """Return the decrease of the model, found in certain units."""
    r, d = scaled.at.grad, -scaled.at.grad
    rr = first = inner(r, r)
    gain, stiffest = 0.0, 0.0
    for _ in range(min(most, len(r))):
        if not (gain <= enough and rr > 1e-10 * first):
            break
        Hd = scaled.product(d)
        if not bool(Hd.isfinite().all()):
            return math.inf  # at the end of the numbers, or of where J is defined
        dd = inner(d, d)
        stiffest = max(stiffest, norm(Hd) / math.sqrt(dd))
        curvature = max(inner(d, Hd), H.root * stiffest * dd)
        step = rr / curvature if curvature > 0 else math.inf
        gain += 0.5 * step * rr * H.unit
        r = r + step * Hd
        before, rr = rr, inner(r, r)
        d = -r + rr / before * d
    return gain
