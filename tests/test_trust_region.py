"""The trust-region subproblem against its optimality conditions, and the radius rule's ends."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from dlopt.evaluation import Evaluation
from dlopt.objective import Objective
from dlopt.trust_region import (
    EigenModel,
    ModelStep,
    TrustState,
    is_semidefinite,
    judge,
    trust_region_step,
)


def model_value(g: Tensor, B: Tensor, s: Tensor) -> float:
    return float(g.dot(s) + 0.5 * s.dot(B @ s))


def eigen_model(grad: Tensor, B: Tensor) -> EigenModel:
    """All parameters in one unit."""
    return EigenModel.of(grad, B, torch.ones_like(grad))


def symmetric(eigenvalues: list[float], seed: int) -> tuple[Tensor, Tensor]:
    """A matrix of these eigenvalues, and its eigenvectors as columns."""
    g = torch.Generator().manual_seed(seed)
    n = len(eigenvalues)
    Q, _ = torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.float64))
    return Q @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ Q.T, Q


def more_sorensen(g: Tensor, B: Tensor, s: Tensor, radius: float) -> None:
    """Assert the conditions that make s a minimiser: there is an α >= 0 with (B + αI)s = −g,
    B + αI positive semidefinite, and α = 0 unless s reaches the boundary."""
    length = float(s.norm())
    assert length <= 1.0011 * radius
    size = float(torch.linalg.matrix_norm(B, 2)) + float(g.norm()) / radius
    lowest = float(torch.linalg.eigvalsh(B)[0])
    alpha = -float(s.dot(B @ s + g)) / length**2 if length else max(0.0, -lowest)
    rounding = 1e-13 * size
    assert float((B @ s + alpha * s + g).norm()) <= 1e-9 * size * max(length, radius)
    assert alpha >= -rounding
    assert lowest + alpha >= -rounding
    assert length >= 0.9989 * radius or alpha <= max(0.0, -lowest) + rounding
    if length < 0.9989 * radius:  # inside: an unconstrained minimiser
        assert lowest >= -rounding


@settings(max_examples=300, deadline=None)
@example([73.3, 96.5, 0, 0.0627, 0, 96.5], 4060.0, 0.001, 316)
@example([-1.0], 1.0, 1e-3, 0)
@example([0.0, 0.0], 1e4, 1e3, 1)
@given(
    st.lists(st.floats(-100, 100), min_size=1, max_size=6),
    st.floats(1e-4, 1e4),
    st.floats(1e-3, 1e3),
    st.integers(0, 1000),
)
def test_the_step_is_the_minimiser_within_the_radius(
    eigenvalues: list[float], radius: float, size: float, seed: int
) -> None:
    """Moré & Sorensen 1983; and the promised decrease is the model's."""
    B, _ = symmetric(eigenvalues, seed)
    g = torch.Generator().manual_seed(seed + 1)
    grad = size * torch.randn(len(eigenvalues), generator=g, dtype=torch.float64)
    step = eigen_model(grad, B)(radius)
    more_sorensen(grad, B, step.s, radius)
    value = model_value(grad, B, step.s)
    scale = size * radius + max(abs(e) for e in eigenvalues) * radius**2
    assert step.decrease == pytest.approx(-value, rel=1e-6, abs=1e-12 * scale)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_near_the_hard_case_the_step_still_goes_downhill(side: float) -> None:
    """The gradient's part along negative curvature is tiny; its sign chooses the side."""
    B, Q = symmetric([-1.0, 2.0, 3.0], 0)
    grad = Q @ torch.tensor([side * 1e-12, 1.0, 1.0], dtype=torch.float64)
    step = eigen_model(grad, B)(10.0)
    more_sorensen(grad, B, step.s, 10.0)
    assert side * float(step.s.dot(Q[:, 0])) < -9


def test_the_hard_case_goes_to_the_boundary_along_negative_curvature() -> None:
    """The gradient has no part along the only direction of negative curvature."""
    B, Q = symmetric([-1.0, 2.0, 3.0], 0)
    step = eigen_model(Q @ torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64), B)(10.0)
    assert float(step.s.norm()) == pytest.approx(10.0, rel=1e-6)
    assert abs(float(step.s.dot(Q[:, 0]))) > 9
    assert step.decrease > 45


def test_no_gradient_and_no_negative_curvature_is_no_step() -> None:
    B, _ = symmetric([0.0, 2.0, 3.0], 0)
    step = eigen_model(torch.zeros(3, dtype=torch.float64), B)(1.0)
    assert float(step.s.norm()) == 0


def test_a_linear_model_goes_straight_down_to_the_boundary() -> None:
    grad = torch.tensor([3.0, -4.0], dtype=torch.float64)
    step = eigen_model(grad, torch.zeros(2, 2, dtype=torch.float64))(2.0)
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


# --- The radius -----------------------------------------------------------------------------------


def one_step(promise: float, length: float, radius: float = 8.0) -> TrustState:
    """The state after a step of this length down |x| from 100 that promised so much."""
    f = Objective(lambda x: x.abs().sum())
    state = state_of(f, torch.tensor([100.0], dtype=torch.float64), radius)

    def model(r: float) -> ModelStep:
        return ModelStep(-min(r, length) * state.grad, promise)

    return trust_region_step(state, model, f.curvature)


@pytest.mark.parametrize(
    ("promise", "length", "radius"),
    [
        (8.0, 8.0, 24.0),  # kept, at the boundary: three times as far
        (2.0, 2.0, 8.0),  # kept, inside: as before
        (16.0, 8.0, 8.0),  # half of it kept: as before
        (20.0, 2.0, 0.5),  # a tenth of it kept: a quarter of the step
    ],
)
def test_the_next_radius_follows_the_agreement(
    promise: float, length: float, radius: float
) -> None:
    after = one_step(promise, length)
    assert after.reason == ""
    assert float(after.value) == 100 - length
    assert after.radius == radius


@pytest.mark.parametrize(
    ("beyond", "longest", "tried", "value"),
    [
        (lambda x: x.abs(), 6.0, [8.0, 1.5], 0.5),  # a rise is not taken
        (lambda x: torch.where(x > 0.5, x, math.nan), 1.0, [8.0, 0.25], 0.75),  # nor a NaN
    ],
    ids=["rise", "nan"],
)
def test_after_a_refused_trial_the_next_is_a_quarter_of_the_step(
    beyond, longest: float, tried: list[float], value: float
) -> None:
    f = Objective(lambda x: beyond(x).sum())
    state = state_of(f, torch.tensor([1.0], dtype=torch.float64), 8.0)
    radii: list[float] = []

    def model(r: float) -> ModelStep:
        radii.append(r)
        return ModelStep(-min(r, longest) * state.grad, r)

    after = trust_region_step(state, model, f.curvature)
    assert radii == tried
    assert float(after.value) == value


def test_a_step_below_the_resolution_of_the_point_is_not_tried() -> None:
    f = Objective(lambda x: x.sum())
    state = state_of(f, torch.full((2,), 1e10, dtype=torch.float64), 1.0)
    spent = f.evaluations
    after = trust_region_step(state, lambda r: ModelStep(-1e-7 * state.grad, 1e-7), f.curvature)
    assert (after.reason, f.evaluations) == ("no_decrease", spent)


# --- Rounding -------------------------------------------------------------------------------------


def judged(before: float, after: float, g_before: float, g_after: float):
    """The judgement of a step of −1 between these values and slopes, which promised 1e-20."""
    ends = [
        TrustState(
            x=torch.tensor([x], dtype=torch.float64),
            value=torch.tensor(value, dtype=torch.float64),
            grad=torch.tensor([slope], dtype=torch.float64),
            radius=1.0,
        )
        for x, value, slope in ((0.0, before, g_before), (-1.0, after, g_after))
    ]
    at = Evaluation(ends[1].x, ends[1].value, ends[1].grad, after, True)
    return judge(ends[0], ModelStep(ends[1].x, 1e-20), at)


def test_where_values_are_rounding_the_gradients_decide() -> None:
    ulp = torch.finfo(torch.float64).eps
    assert judged(1.0, 1.0 + ulp, 2e-20, 0.0).drowned
    assert judged(1.0, 1.0 + ulp, 2e-20, 0.0).agreement == pytest.approx(1.0)
    assert judged(1.0, 1.0 + ulp, 2e-20, 0.0).gained
    assert not judged(1.0, 1.0 + ulp, 2e-20, 1.9e-20).gained  # no clear progress
    assert not judged(1.0, 1.0 - ulp, 2e-20, -2e-20).gained


def test_where_values_tell_they_decide() -> None:
    risen = judged(1.0, 1.0 + 1e-12, 2e-20, 0.0)
    assert (risen.drowned, risen.agreement < 0) == (False, True)


def test_semidefinite_up_to_rounding() -> None:
    assert is_semidefinite(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert is_semidefinite(torch.tensor([-1e-15, 1.0], dtype=torch.float64))
    assert not is_semidefinite(torch.tensor([-1e-9, 1.0], dtype=torch.float64))
