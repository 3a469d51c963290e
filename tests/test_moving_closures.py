"""A closure that clamps or masks the parameters, or says that they are outside its domain."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

import dlopt
from dlopt.module_objective import ModuleObjective
from tests.small_network import METHODS, task

D = torch.float64
SEARCHING = [
    "steepest_descent",
    "conjugate_gradient",
    "bfgs",
    "lbfgs",
    "newton",
    "coordinate_descent",
]


def test_the_point_is_where_a_closure_has_clamped_it_to() -> None:
    w, b = torch.ones(2, dtype=D, requires_grad=True), torch.ones((), dtype=D, requires_grad=True)

    def closure() -> Tensor:
        w.data.clamp_(0, 1)
        return (w**3).sum() + b

    f = ModuleObjective(closure, [w, b])
    at = f.evaluate(torch.tensor([2.0, -1.0, 5.0], dtype=D))
    assert at.x.tolist() == [1.0, 0.0, 5.0]
    assert at.grad.tolist() == [3.0, 0.0, 1.0]
    assert at.J == 6
    inside = torch.tensor([0.5, 0.0, 5.0], dtype=D)
    assert f.evaluate(inside).x is inside
    back = torch.tensor([2.0, -1.0, 5.0], dtype=D)
    f.evaluate(back)
    f.write(back)
    assert w.tolist() == [2.0, -1.0]


@pytest.mark.parametrize("full_batch", [False, True])
@pytest.mark.parametrize("name", SEARCHING)
def test_a_closure_that_clamps_is_minimised_within_its_bounds(name: str, full_batch: bool) -> None:
    """Of Σ h (x − c)² the minimum within [0, 1] is the nearest point to c, exactly."""
    c = torch.tensor([-1.0, 2.0, 0.3, 0.7, 1.5, -0.2], dtype=D)
    h = torch.tensor([1.0, 4.0, 2.0, 1.0, 0.5, 3.0], dtype=D)
    x = torch.full((6,), 0.5, dtype=D, requires_grad=True)
    optimizer = dlopt.MethodOptimizer([x], METHODS[name], full_batch=full_batch)
    calls = 0

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        x.data.clamp_(0, 1)
        return (h * (x - c) ** 2).sum()

    for _ in range(60):
        optimizer.step(closure)
        assert 0 <= x.min() <= x.max() <= 1
    torch.testing.assert_close(x.detach(), c.clamp(0, 1), rtol=0.0, atol=1e-6)
    assert optimizer.reason
    if name in ("conjugate_gradient", "bfgs", "lbfgs"):
        assert calls < 90


@pytest.mark.parametrize("name", ["conjugate_gradient", "bfgs", "lbfgs"])
def test_pruned_weights_stay_out_and_the_others_are_fitted(name: str) -> None:
    net, x, y = task()
    mask = torch.arange(12, dtype=D).reshape(4, 3) % 2
    calls, optimizer = 0, dlopt.MethodOptimizer(net.parameters(), METHODS[name], full_batch=True)

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        net[0].weight.data.mul_(mask)
        return mse_loss(net(x), y)

    losses = [float(optimizer.step(closure)) for _ in range(40)]
    assert not net[0].weight[mask == 0].any()
    assert losses[-1] < 0.1 * losses[0]
    assert losses[-1] == pytest.approx(min(losses), rel=1e-9)
    assert calls < 120


@pytest.mark.parametrize("seed", range(6))
def test_unit_length_is_kept_better_within_the_loss_than_by_rescaling(seed: int) -> None:
    """The largest eigenvalue as the largest wᵀAw of all w of unit length, in 40 calls."""
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(20, 20, generator=g, dtype=D)
    A, start = root @ root.T, torch.randn(20, generator=g, dtype=D)
    shares = []
    for within in (True, False):
        w, seen = start.clone().requires_grad_(True), []
        optimizer = dlopt.MethodOptimizer([w], dlopt.LBFGS(), full_batch=True)

        def closure(w=w, seen=seen, within=within) -> Tensor:
            if not within:
                w.data.div_(w.data.norm())
            unit = w / w.norm() if within else w
            loss = -(unit @ A @ unit)
            seen.append(loss.item())
            return loss

        while len(seen) < 40:
            optimizer.step(closure)
        shares.append(-min(seen[:40]) / float(torch.linalg.eigvalsh(A)[-1]))
    assert shares[0] == pytest.approx(1.0, abs=1e-7)
    assert 0.95 < shares[1] < 1.0 - 1e-4


def test_a_closure_that_clamps_and_raises_leaves_the_parameters_as_they_were() -> None:
    x = torch.tensor([2.0, 0.5], dtype=D, requires_grad=True)
    optimizer = dlopt.MethodOptimizer([x], dlopt.LBFGS())

    def closure() -> Tensor:
        x.data.clamp_(0, 1)
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        optimizer.step(closure)
    assert x.tolist() == [2.0, 0.5]


# Outside the domain of the loss


@pytest.mark.parametrize("outside", [math.inf, math.nan, torch.tensor(math.inf, dtype=D)])
@pytest.mark.parametrize("name", [*SEARCHING, "truncated_newton"])
def test_a_loss_without_a_graph_may_say_that_it_is_not_finite(name: str, outside: object) -> None:
    x = torch.tensor([3.0], dtype=D, requires_grad=True)
    optimizer = dlopt.MethodOptimizer([x], METHODS[name])
    losses = [optimizer.step(lambda: outside)]
    assert not losses[0].isfinite()
    assert (optimizer.reason, x.item()) == ("non_finite", 3.0)
    for _ in range(30):
        optimizer.step(lambda: (x - x.log()).sum() if x.item() > 0.5 else outside)
    assert x.item() == pytest.approx(1.0, abs=0.05)
