"""`MethodOptimizer` while its surroundings change: thawed layers, moved modules, exceptions."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import dlopt
from tests.small_network import METHODS, flat, task

D = torch.float64
FIRST = ["gradient_descent", "steepest_descent", "conjugate_gradient", "bfgs", "lbfgs"]
each = pytest.mark.parametrize("name", [n for n in METHODS if n != "layer_after_layer"])


def closure_of(net: nn.Module, x: Tensor, y: Tensor, backward: bool):
    def closure() -> Tensor:
        net.zero_grad()
        loss = mse_loss(net(x), y)
        if backward:
            loss.backward()
        return loss

    return closure


# Which parameters are trained


@each
@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("full_batch", [True, False])
def test_freezing_and_thawing_count_from_the_next_step(name, backward, full_batch) -> None:
    if backward and name not in FIRST:
        pytest.skip("needs curvature")
    net, x, y = task()
    first, last = net[0].weight, net[2].weight
    first.requires_grad_(False)
    optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name], full_batch=full_batch)
    closure = closure_of(net, x, y, backward)

    def moved(steps: int) -> list[bool]:
        before = [p.detach().clone() for p in (first, last)]
        for _ in range(steps):
            optimizer.step(closure)
        return [not torch.equal(p, old) for p, old in zip((first, last), before, strict=True)]

    assert moved(20) == [False, True]
    first.requires_grad_(True)
    last.requires_grad_(False)
    assert moved(20) == [True, False]


def test_new_parameters_start_the_method_afresh() -> None:
    """The step after is that of an optimiser made on the spot."""
    steps = []
    for made_anew in (True, False):
        net, x, y = task()
        net[0].bias.requires_grad_(False)
        optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.BFGS())
        closure = closure_of(net, x, y, False)
        for _ in range(3):
            optimizer.step(closure)
        net[0].bias.requires_grad_(True)
        if made_anew:
            optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.BFGS())
        optimizer.step(closure)
        steps.append(flat(net))
    assert torch.equal(*steps)


@pytest.mark.parametrize("full_batch", [True, False])
def test_a_module_is_moved_and_trained_on(full_batch: bool) -> None:
    net, x, y = task(torch.float32)
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.LBFGS(), full_batch=full_batch)
    optimizer.step(closure_of(net, x, y, True))
    net.to(D)
    closure = closure_of(net, x.to(D), y.to(D), True)
    losses = [optimizer.step(closure) for _ in range(10)]
    assert {loss.dtype for loss in losses} == {D}
    assert losses[-1] < 0.5 * losses[0]
    net[0].float()
    with pytest.raises(ValueError, match="share one dtype and device"):
        optimizer.step(closure)


def test_all_frozen_is_an_error() -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.LBFGS())
    net.requires_grad_(False)
    with pytest.raises(ValueError, match="at least one parameter that requires grad"):
        optimizer.step(lambda: mse_loss(net(x), y))


# The usual reset


@pytest.mark.parametrize("name", ["gradient_descent", "lbfgs", "bfgs"])
@pytest.mark.parametrize("full_batch", [True, False])
def test_clearing_the_state_starts_the_method_afresh(name: str, full_batch: bool) -> None:
    steps = []
    for made_anew in (True, False):
        net, x, y = task()
        optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name], full_batch=full_batch)
        for _ in range(4):
            optimizer.step(lambda: mse_loss(net(x), y))
        if made_anew:
            optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name])
        optimizer.state.clear()
        optimizer.step(lambda: mse_loss(net(x), y))
        steps.append(flat(net))
    assert torch.equal(*steps)


def test_a_state_changed_by_hand_counts() -> None:
    p = nn.Parameter(torch.ones(1, dtype=D))
    method = dlopt.GradientDescent(0.1, momentum=0.9)
    optimizer = dlopt.MethodOptimizer([p], method, full_batch=True)
    optimizer.step(lambda: (p**2).sum())
    optimizer.state[p]["velocity"] = torch.zeros(1, dtype=D)
    before = p.detach().clone()
    optimizer.step(lambda: (p**2).sum())
    torch.testing.assert_close(p.detach(), before - 0.1 * 2 * before)


# Exceptions


@each
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, StopIteration])
@pytest.mark.parametrize("full_batch", [True, False])
def test_a_closure_that_raises_leaves_the_model_where_the_step_began(
    name: str, error: type[BaseException], full_batch: bool
) -> None:
    net, x, y = task()
    twin, _, _ = task()
    ours, calm = (
        dlopt.MethodOptimizer(n.parameters(), METHODS[name], full_batch=full_batch)
        for n in (net, twin)
    )
    fails_at = 0

    def closure() -> Tensor:
        nonlocal fails_at
        fails_at -= 1
        if fails_at == 0:
            raise error("from the closure")
        return mse_loss(net(x), y)

    for _ in range(6):
        before, (fails_at, raised) = flat(net), (2, False)
        try:
            ours.step(closure)
        except error:
            raised = True
            assert torch.equal(flat(net), before)
            ours.step(closure)
        assert raised or full_batch
        calm.step(lambda: mse_loss(twin(x), y))
        assert torch.equal(flat(net), flat(twin))


def test_a_method_that_raises_leaves_the_model_where_the_step_began() -> None:
    def broken(phi, first):
        phi(first)
        raise ArithmeticError

    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.LBFGS(line_search=broken))
    before = flat(net)
    with pytest.raises(ArithmeticError):
        optimizer.step(lambda: mse_loss(net(x), y))
    assert torch.equal(flat(net), before)


def test_an_interrupt_amid_the_copying_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.LBFGS())
    before, writes = flat(net), []

    def interrupt() -> None:
        writes.append(flat(net))
        if len(writes) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(torch, "clear_autocast_cache", interrupt)
    with pytest.raises(KeyboardInterrupt):
        optimizer.step(lambda: mse_loss(net(x), y))
    assert not torch.equal(writes[1], before)
    assert torch.equal(flat(net), before)
