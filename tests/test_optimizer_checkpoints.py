"""`MethodOptimizer` saved, loaded and copied: what is remembered, and what must be forgotten."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import dlopt
from tests.small_network import METHODS, flat, task

each = pytest.mark.parametrize("name", METHODS)


@each
def test_a_deep_copy_goes_its_own_way(name: str) -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name])
    optimizer.step(lambda: mse_loss(net(x), y))
    twin, twin_optimizer = copy.deepcopy((net, optimizer))
    twin_optimizer.step(lambda: mse_loss(twin(x), y))
    assert not torch.equal(flat(twin), flat(net))
    optimizer.step(lambda: mse_loss(net(x), y))
    assert torch.equal(flat(twin), flat(net))


@each
def test_resumes_identically_from_a_checkpoint(name: str) -> None:
    def run(steps: int, optimizer: dlopt.MethodOptimizer, net: nn.Module) -> None:
        _, x, y = task()
        for _ in range(steps):
            optimizer.step(lambda: mse_loss(net(x), y))

    net, _, _ = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name])
    run(4, optimizer, net)
    file = io.BytesIO()
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    run(5, optimizer, net)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other, _, _ = task()
    other.load_state_dict(saved["net"])
    resumed = dlopt.MethodOptimizer(other.parameters(), METHODS[name])
    resumed.load_state_dict(saved["optimizer"])
    before = resumed.state_dict()["state"][0]
    for key, value in saved["optimizer"]["state"][0].items():
        torch.testing.assert_close(before[key], value, rtol=0.0, atol=0.0)
    run(5, resumed, other)
    assert torch.equal(flat(other), flat(net))


@each
def test_a_checkpoint_holds_what_a_method_remembers_and_nothing_else(name: str) -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name])
    optimizer.step(lambda: mse_loss(net(x), y))
    held = set(optimizer.state_dict()["state"].get(0, {}))
    assert held & {"x", "value", "grad", "reason"} == set()


def test_loading_forgets_the_last_state() -> None:
    """With the same parameters and a full batch the old velocity must not go on."""
    weights = nn.Parameter(torch.ones(1, dtype=torch.float64))
    method = dlopt.GradientDescent(learning_rate=0.1, momentum=0.9)
    optimizer = dlopt.MethodOptimizer([weights], method, full_batch=True)
    for _ in range(3):
        optimizer.step(lambda: (weights**2).sum())
    saved = optimizer.state_dict()
    saved["state"][0]["velocity"] = torch.zeros(1, dtype=torch.float64)
    optimizer.load_state_dict(saved)
    before = weights.detach().clone()
    optimizer.step(lambda: (weights**2).sum())
    torch.testing.assert_close(weights.detach(), before - 0.1 * 2 * before)


def test_a_checkpoint_with_more_than_is_remembered_restores_what_is() -> None:
    """Values and gradients belong to the loss of the step to come, not to the one that is over."""
    weights = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = dlopt.MethodOptimizer([weights], dlopt.GradientDescent(0.1, momentum=0.9))
    optimizer.step(lambda: (weights**2).sum())
    saved, velocity = optimizer.state_dict(), optimizer.state[weights]["velocity"]
    other = torch.full((1,), 7.0, dtype=torch.float64)
    saved["state"][0] |= {"x": other, "value": other.sum(), "grad": other, "unheard_of": 1}
    optimizer.load_state_dict(saved)
    before = weights.detach().clone()
    assert float(optimizer.step(lambda: (weights**2).sum())) == pytest.approx(float(before**2))
    torch.testing.assert_close(weights.detach(), before + 0.9 * velocity - 0.1 * 2 * before)
