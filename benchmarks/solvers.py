"""The optimisers that are compared, each as ``solver(f, x0, tol)``.

``f`` maps a tensor of shape (n,) to a 0-d tensor. ``tol`` bounds the largest absolute entry of the
gradient (in the two Newton-CG, which have no such bound, the step) and is the only reason to stop:
every other criterion that a library lets one switch off is switched off. With ``tol=None`` a method
runs on its own defaults. What comes back is the point.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import scipy.optimize
import torch
import torchmin
from torch import Tensor

import dlopt

Objective = Callable[[Tensor], Tensor]
Solver = Callable[[Objective, Tensor, float | None], Tensor]
HISTORY = 10  # pairs that every L-BFGS may keep
ENDLESS = 10**7  # iterations: what counts are evaluations, and they are bounded elsewhere


class LastPoint:
    """The derivatives that SciPy asks for one by one, from one evaluation a point."""

    def __init__(self, f: Objective, *, curvature: bool = True) -> None:
        """Wrap the objective; without ``curvature`` no graph is kept for the Hessian."""
        self.f = f
        self.curvature = curvature
        self.x = torch.empty(0)

    def at(self, x: object) -> None:
        """Evaluate at a point unless it is the last one."""
        new = torch.as_tensor(x)
        if not torch.equal(new, self.x):
            self.x = new.clone().requires_grad_()
            self.y = self.f(self.x)
            (self.g,) = torch.autograd.grad(self.y, self.x, create_graph=self.curvature)

    def value_and_gradient(self, x: object) -> tuple[float, object]:
        """The value as a float, the gradient as an array."""
        self.at(x)
        return float(self.y.detach()), self.g.detach().numpy()

    def hessian(self, x: object) -> object:
        """The Hessian as an array."""
        self.at(x)
        if not self.g.requires_grad:  # linear in x
            return torch.zeros(len(self.x), len(self.x)).double().numpy()
        rows = [torch.autograd.grad(g, self.x, retain_graph=True)[0] for g in self.g]
        return torch.stack(rows).numpy()


def from_dlopt(method: dlopt.Method[Any]) -> Solver:
    """A method of ours."""

    def solve(f: Objective, x0: Tensor, tol: float | None) -> Tensor:
        run = partial(dlopt.minimize, f, x0, method, record=False)
        return (run() if tol is None else run(grad_tol=tol, max_steps=ENDLESS)).x

    return solve


# What SciPy calls the bound on the gradient, and the criteria beside it, switched off.
_SCIPY: dict[str, tuple[str, dict[str, float]]] = {
    "CG": ("gtol", {"maxiter": ENDLESS}),
    "BFGS": ("gtol", {"maxiter": ENDLESS}),
    "L-BFGS-B": ("gtol", {"ftol": 0.0, "maxiter": ENDLESS, "maxfun": ENDLESS}),
    "Newton-CG": ("xtol", {"maxiter": ENDLESS}),
    "trust-exact": ("gtol", {"maxiter": ENDLESS}),
}


def from_scipy(name: str, **options: object) -> Solver:
    """A method of SciPy's, with exact derivatives."""
    second_order = name in ("Newton-CG", "trust-exact")

    def solve(f: Objective, x0: Tensor, tol: float | None) -> Tensor:
        at = LastPoint(f, curvature=second_order)
        given = dict(options)
        if tol is not None:
            tolerance, endless = _SCIPY[name]
            given |= {tolerance: tol, **endless}
        result = scipy.optimize.minimize(
            at.value_and_gradient,
            x0.numpy(),
            jac=True,
            hess=at.hessian if second_order else None,
            method=name,
            options=given,
        )
        return torch.as_tensor(result.x)

    return solve


_TORCHMIN: dict[str, tuple[str, dict[str, float]]] = {
    "cg": ("gtol", {}),
    "bfgs": ("gtol", {"xtol": 0.0, "gtd_tol": 0.0}),
    "l-bfgs": ("gtol", {"xtol": 0.0, "gtd_tol": 0.0}),
    "newton-cg": ("xtol", {}),
}


def from_torchmin(name: str, **options: object) -> Solver:
    """A method of pytorch-minimize's."""

    def solve(f: Objective, x0: Tensor, tol: float | None) -> Tensor:
        given = dict(options)
        if tol is not None:
            tolerance, off = _TORCHMIN[name]
            given |= {tolerance: tol, "max_iter": ENDLESS, **off}
        x: Tensor = torchmin.minimize(f, x0, method=name, options=given).x
        return x

    return solve


def torch_lbfgs(f: Objective, x0: Tensor, tol: float | None) -> Tensor:
    """PyTorch's L-BFGS with its only line search, all iterations in one step.

    Without ``tol`` its tolerances are the defaults; its default of 20 iterations is no criterion
    of convergence, so it may have 1000, as ``dlopt.minimize`` has.
    """
    x = x0.clone().requires_grad_()
    limits: dict[str, Any] = {"max_iter": 1000, "max_eval": ENDLESS}
    if tol is not None:
        limits = {"max_iter": ENDLESS, "tolerance_grad": tol, "tolerance_change": 0.0,
                  "max_eval": ENDLESS}  # fmt: skip
    optimizer = torch.optim.LBFGS(
        [x], history_size=HISTORY, line_search_fn="strong_wolfe", **limits
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = f(x)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return x.detach()


SOLVERS: dict[str, Solver] = {
    "dlopt Newton": from_dlopt(dlopt.Newton()),
    "SciPy trust-exact": from_scipy("trust-exact"),
    "dlopt TruncatedNewton": from_dlopt(dlopt.TruncatedNewton()),
    "SciPy Newton-CG": from_scipy("Newton-CG"),
    "pytorch-minimize newton-cg": from_torchmin("newton-cg"),
    "dlopt ConjugateGradient": from_dlopt(dlopt.ConjugateGradient()),
    "SciPy CG": from_scipy("CG"),
    "pytorch-minimize cg": from_torchmin("cg"),
    "dlopt BFGS": from_dlopt(dlopt.BFGS()),
    "SciPy BFGS": from_scipy("BFGS"),
    "pytorch-minimize bfgs": from_torchmin("bfgs"),
    "dlopt LBFGS": from_dlopt(dlopt.LBFGS(history_size=HISTORY)),
    "SciPy L-BFGS-B": from_scipy("L-BFGS-B", maxcor=HISTORY),
    "torch.optim.LBFGS": torch_lbfgs,
    "pytorch-minimize l-bfgs": from_torchmin("l-bfgs", history_size=HISTORY),
}
