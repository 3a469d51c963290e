"""The trust-region subproblem against its optimality conditions, and the radius rule's ends."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dlopt.objective import Objective
from dlopt.trust_region import EigenModel, ModelStep, TrustState, trust_region_step


def model_value(g: Tensor, B: Tensor, s: Tensor) -> float:
    return float(g.dot(s) + 0.5 * s.dot(B @ s))


def symmetric(eigenvalues: list[float], seed: int) -> tuple[Tensor, Tensor]:
    """A matrix of these eigenvalues, and its eigenvectors as columns."""
    g = torch.Generator().manual_seed(seed)
    n = len(eigenvalues)
    Q, _ = torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.float64))
    return Q @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ Q.T, Q


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.floats(-100, 100), min_size=1, max_size=6),
    st.floats(1e-4, 1e4),
    st.floats(1e-3, 1e3),
    st.integers(0, 1000),
)
def test_the_step_is_the_minimiser_within_the_radius(
    eigenvalues: list[float], radius: float, size: float, seed: int
) -> None:
    """More & Sorensen: within the radius, and no point on a fine sample promises more."""
    B, _ = symmetric(eigenvalues, seed)
    g = torch.Generator().manual_seed(seed + 1)
    n = len(eigenvalues)
    grad = size * torch.randn(n, generator=g, dtype=torch.float64)
    step = EigenModel.of(grad, B)(radius)
    length = float(step.s.norm())
    assert length <= 1.01 * radius
    value = model_value(grad, B, step.s)
    assert step.decrease == pytest.approx(-value, rel=1e-6, abs=1e-9 * size * radius)
    others = torch.randn(200, n, generator=g, dtype=torch.float64)
    others = others / others.norm(dim=1, keepdim=True) * radius
    others = torch.cat([others, 0.9 * step.s[None], 0.3 * others])
    best = min(model_value(grad, B, s) for s in others)
    scale = size * radius + max(abs(e) for e in eigenvalues) * radius**2
    assert value <= best + 5e-3 * scale


def test_the_hard_case_goes_to_the_boundary_along_negative_curvature() -> None:
    """The gradient has no part along the only direction of negative curvature."""
    B, Q = symmetric([-1.0, 2.0, 3.0], 0)
    step = EigenModel.of(Q @ torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64), B)(10.0)
    assert float(step.s.norm()) == pytest.approx(10.0, rel=1e-6)
    assert abs(float(step.s.dot(Q[:, 0]))) > 9
    assert step.decrease > 45


def test_no_gradient_and_no_negative_curvature_is_no_step() -> None:
    B, _ = symmetric([0.0, 2.0, 3.0], 0)
    step = EigenModel.of(torch.zeros(3, dtype=torch.float64), B)(1.0)
    assert float(step.s.norm()) == 0


def test_a_linear_model_goes_straight_down_to_the_boundary() -> None:
    grad = torch.tensor([3.0, -4.0], dtype=torch.float64)
    step = EigenModel.of(grad, torch.zeros(2, 2, dtype=torch.float64))(2.0)
    torch.testing.assert_close(step.s, -2 * grad / 5, rtol=1e-2, atol=0.0)


def state_of(f: Objective, x: Tensor, radius: float) -> TrustState:
    return TrustState.begin(f.evaluate(x), radius=radius)


def downhill(state: TrustState) -> ModelStep:
    return ModelStep(-state.grad, float(state.grad.dot(state.grad)))


def test_a_promise_that_is_not_kept_shrinks_the_radius() -> None:
    f = Objective(lambda x: x.abs().sum())
    x = torch.tensor([1.0], dtype=torch.float64)
    state = state_of(f, x, 8.0)

    def model(radius: float) -> ModelStep:
        return ModelStep(-radius * state.grad, radius)

    after = trust_region_step(state, model, f.curvature)
    assert after.reason == ""
    assert float(after.value) < 1
    assert after.radius < 8


def test_ends_are_named() -> None:
    x = torch.tensor([1.0], dtype=torch.float64)
    flat = Objective(lambda x: 1 + 0 * x.sum())
    still = trust_region_step(
        state_of(flat, x, 1.0), lambda r: ModelStep(torch.zeros(1), 0.0), flat.curvature
    )
    assert still.reason == "no_decrease"
    lonely = Objective(lambda x: x.sum() * (1.0 if float(x.detach()) == 1 else torch.nan))
    state = state_of(lonely, x, 1.0)
    alone = trust_region_step(state, lambda r: ModelStep(-r * state.grad, r), lonely.curvature)
    assert alone.reason == "non_finite"
    assert torch.equal(alone.x, x)
