"""Replicas compute what the networks compute alone."""

import pytest
import torch
from torch import nn

from dlopt.training.replicas import ReplicatedLinear, extract, replicate


class Skip(nn.Module):
    """A network whose forward pass is no mere sequence."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.outer = nn.Linear(4, 2, bias=False)

    def forward(self, x):
        return self.outer(x + self.inner(x))


BUILD = {
    "sequence": lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)),
    "one layer": lambda: nn.Linear(4, 2),
    "no bias": lambda: nn.Sequential(nn.Linear(4, 2, bias=False)),
    "skip": Skip,
    "one activation twice": lambda: (
        lambda f: nn.Sequential(nn.Linear(4, 3), f, nn.Linear(3, 3), f, nn.Linear(3, 2))
    )(nn.Sigmoid()),
}


@pytest.mark.parametrize("build", BUILD.values(), ids=BUILD)
def test_replicas_compute_what_the_networks_compute_alone(build):
    modules = [build().double() for _ in range(3)]
    together = replicate(modules)
    x = torch.randn(3, 5, 4).double()
    outputs = together(x)
    assert outputs.shape == (3, 5, 2)
    for r, module in enumerate(modules):
        torch.testing.assert_close(outputs[r], module(x[r]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("build", BUILD.values(), ids=BUILD)
def test_gradients_of_the_sum_are_those_of_each_alone(build):
    modules = [build().double() for _ in range(3)]
    together = replicate(modules)
    x = torch.randn(3, 5, 4).double()
    together(x).square().mean(dim=(1, 2)).sum().backward()
    for r, module in enumerate(modules):
        module(x[r]).square().mean().backward()
    stacked = [torch.stack(ps) for ps in zip(*(gradients(m) for m in modules), strict=True)]
    for p, expected in zip(together.parameters(), stacked, strict=True):
        torch.testing.assert_close(p.grad, expected, rtol=1e-11, atol=1e-14)


def gradients(module):
    """The gradients in the layout of the replicas: weights transposed, biases as rows."""
    return [p.grad.T if p.dim() == 2 else p.grad[None] for p in module.parameters()]


@pytest.mark.parametrize("build", BUILD.values(), ids=BUILD)
def test_extract_undoes_replicate_and_shares_no_memory(build):
    modules = [build() for _ in range(3)]
    together = replicate(modules)
    for r, module in enumerate(modules):
        alone = extract(together, r)
        assert repr(alone) == repr(module)
        assert alone.state_dict().keys() == module.state_dict().keys()
        for name, value in alone.state_dict().items():
            assert torch.equal(value, module.state_dict()[name])
        for p in alone.parameters():
            p.data.zero_()
            assert p.requires_grad
    for p, kept in zip(modules[0].parameters(), extract(together, 0).parameters(), strict=True):
        assert torch.equal(p, kept)
        p.data.zero_()
        assert kept.abs().max() > 0


def test_the_layers_are_stacked_as_fan_in_by_fan_out():
    layer = replicate([nn.Linear(4, 3) for _ in range(5)])
    assert isinstance(layer, ReplicatedLinear)
    assert layer.weight.shape == (5, 4, 3)
    assert layer.bias.shape == (5, 1, 3)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([], r"one architecture, got \[\]"),
        ([nn.Linear(4, 3), nn.Linear(4, 2)], "one architecture, got .*out_features=2"),
        ([nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))], "BatchNorm1d with .*weight"),
        ([nn.Conv1d(1, 1, 3)], "Conv1d with"),
    ],
)
def test_what_has_no_replicas_is_rejected(modules, message):
    with pytest.raises(ValueError, match=message):
        replicate(modules)
