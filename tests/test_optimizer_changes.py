"""`MethodOptimizer` while its surroundings change: thawed layers, moved modules, exceptions."""

import copy

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


# Another method

SUCCESSORS = {**METHODS, "lbfgs_5": dlopt.LBFGS(history_size=5)}
del SUCCESSORS["layer_after_layer"]  # as the coordinate descent before it, and slow


@pytest.mark.parametrize("full_batch", [True, False])
@pytest.mark.parametrize("name", SUCCESSORS)
def test_another_method_starts_afresh_in_the_middle_of_a_run(name: str, full_batch: bool) -> None:
    for successor in SUCCESSORS:
        net, x, y = task()
        optimizer = dlopt.MethodOptimizer(net.parameters(), SUCCESSORS[name], full_batch=full_batch)
        for _ in range(3):
            optimizer.step(lambda net=net, x=x, y=y: mse_loss(net(x), y))
        made_anew = copy.deepcopy(net)
        new = dlopt.MethodOptimizer(made_anew.parameters(), SUCCESSORS[successor])
        optimizer.method = SUCCESSORS[successor]
        assert optimizer.param_groups[0].keys() == new.param_groups[0].keys()
        for n, o in ((net, optimizer), (made_anew, new)):
            for _ in range(2):
                o.step(lambda n=n, x=x, y=y: mse_loss(n(x), y))
        assert torch.equal(flat(net), flat(made_anew)), successor


def test_another_method_brings_its_settings_and_leaves_those_of_a_schedule() -> None:
    p = nn.Parameter(torch.ones(2, dtype=D))
    optimizer = dlopt.MethodOptimizer([p], dlopt.GradientDescent(0.1))
    torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.method = dlopt.GradientDescent(0.2, momentum=0.5)
    assert {**optimizer.param_groups[0], "params": 1} == {"params": 1, "lr": 0.2, "momentum": 0.5}
    optimizer.method = dlopt.LBFGS()
    assert optimizer.param_groups[0].keys() == {"params"}
    optimizer.method = dlopt.GradientDescent(0.3)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1, dtype=D))], "lr": 0.3})
    with pytest.raises(ValueError, match=r"method must be an instance, such as BFGS\(\)"):
        optimizer.method = dlopt.BFGS
    assert optimizer.method == dlopt.GradientDescent(0.3)


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


# What is said at the end


@pytest.mark.parametrize("name", ["newton", "lbfgs", "bfgs", "conjugate_gradient"])
def test_a_kink_is_no_floor(name: str) -> None:
    """Along an edge of the larger of two bowls the slope breaks, and nothing is rounding."""
    p = nn.Parameter(torch.tensor([3.0, 2.0], dtype=D))
    optimizer = dlopt.MethodOptimizer([p], METHODS[name])
    for _ in range(60):
        loss = optimizer.step(lambda: torch.maximum((p[0] - 1) ** 2, (p[0] + 1) ** 2) + p[1] ** 2)
        if optimizer.reason:
            break
    assert optimizer.reason == "line_search" or float(loss) == 1.0


@pytest.mark.parametrize("name", ["lbfgs", "bfgs", "conjugate_gradient", "steepest_descent"])
def test_a_hilltop_is_no_floor_and_the_bottom_is_one(name: str) -> None:
    for start, reason in ((0.0, "line_search"), (torch.pi, "no_decrease")):
        p = nn.Parameter(torch.full((2,), start, dtype=D))
        optimizer = dlopt.MethodOptimizer([p], METHODS[name])
        for _ in range(3):
            optimizer.step(lambda p=p: torch.cos(p).sum())
        assert optimizer.reason == reason


def test_what_a_closure_did_before_it_raised_or_gave_no_number_is_undone() -> None:
    p = nn.Parameter(torch.tensor([1.0, 2.0], dtype=D))
    optimizer = dlopt.MethodOptimizer([p], dlopt.LBFGS(), full_batch=True)

    def closure() -> Tensor:
        if fault:
            with torch.no_grad():
                p.add_(1.0)
        if fault == "interrupt":
            raise KeyboardInterrupt
        return (p**2).sum() * (float("nan") if fault else 1.0)

    fault = ""
    optimizer.step(closure)
    before = p.detach().clone()
    for fault in ("interrupt", "nan"):
        if fault == "interrupt":
            with pytest.raises(KeyboardInterrupt):
                optimizer.step(closure)
        else:
            optimizer.full_batch = False
            assert bool(optimizer.step(closure).isnan())
        assert torch.equal(p, before)


def test_a_reason_is_that_of_the_last_step() -> None:
    p = nn.Parameter(torch.ones(2, dtype=D))
    optimizer = dlopt.MethodOptimizer([p], dlopt.LBFGS())
    reasons = []
    for factor in (1.0, 1.0, 1.0, 1.0, float("nan"), 1.0, 1.0):
        optimizer.step(lambda factor=factor: factor * (p**2).sum())
        reasons.append(optimizer.reason)
    assert reasons[2:] == ["no_decrease"] * 2 + ["non_finite"] + ["no_decrease"] * 2


def test_a_loss_returned_as_a_number_keeps_its_digits() -> None:
    p = nn.Parameter(torch.tensor([1e25], dtype=D))

    def closure() -> float:
        p.grad = None
        loss = (p**2).sum()
        loss.backward()
        return loss.item()

    optimizer = dlopt.MethodOptimizer([p], dlopt.LBFGS())
    assert float(optimizer.step(closure)) == 1e25**2
    assert optimizer.reason == ""
    with torch.inference_mode(), pytest.raises(ValueError, match="inference_mode"):
        optimizer.step(closure)


def test_a_loss_that_becomes_the_same_for_all_steps_is_evaluated_first() -> None:
    w = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = dlopt.MethodOptimizer([w], dlopt.GradientDescent(0.1))
    optimizer.step(lambda: (w - 1).square().sum())
    optimizer.full_batch = True
    assert float(optimizer.step(lambda: (w - 2.2).square().sum())) == pytest.approx(4.0)
    assert w.item() == pytest.approx(0.6)


def test_others_in_the_places_of_parameters_have_no_memory() -> None:
    w, other = (nn.Parameter(torch.full((2,), 3.0)) for _ in range(2))
    optimizer = dlopt.MethodOptimizer([w], dlopt.LBFGS())
    for _ in range(3):
        optimizer.step(lambda: torch.cosh(w).sum())
    optimizer.param_groups[0]["params"] = [other]
    assert optimizer.state_dict()["state"] == {}
    optimizer.load_state_dict(optimizer.state_dict())
    before = float(optimizer.step(lambda: torch.cosh(other).sum()))
    assert float(torch.cosh(other.detach()).sum()) < before


def test_a_group_lacks_what_no_scheduler_asks_for_as_any_dict_does() -> None:
    group = dlopt.MethodOptimizer([nn.Parameter(torch.ones(2))], dlopt.LBFGS()).param_groups[0]
    with pytest.raises(KeyError, match="weight_decay"):
        group["weight_decay"]
    with pytest.raises(ValueError, match="'lr': its method chooses its steps itself"):
        group["lr"]
