"""A skip adds its input; learned ones start as if the layers were not there."""

import math

import pytest
import torch
from torch import nn

from dlopt.skips import Skip
from dlopt.training.replicas import Replicas


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def layers(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Linear(4, 4, dtype=dtype), nn.Tanh(), nn.Linear(4, 4, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 0.5, 0.0, -2.0])
def test_a_skip_is_its_formula(scale, dtype):
    parts = layers(dtype)
    x = torch.randn(5, 4, generator=seeded(0), dtype=dtype)
    assert torch.equal(Skip(*parts, scale=scale)(x), x + scale * nn.Sequential(*parts)(x))
    assert torch.equal(Skip(*parts)(x), x + nn.Sequential(*parts)(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_learned_skip_starts_as_the_identity_and_learns(dtype):
    block = Skip(*layers(dtype), scale="learned")
    x = torch.randn(5, 4, generator=seeded(0), dtype=dtype)
    assert torch.equal(block(x), x)
    block(x).square().sum().backward()
    assert block.scale.dtype == dtype and block.scale.shape == ()
    assert block.scale.grad != 0
    assert not block[0].weight.grad.any()  # until the scale has moved
    torch.optim.SGD(block.parameters(), lr=0.1).step()
    expected = x + block.scale * nn.Sequential(*block)(x)
    torch.testing.assert_close(block(x), expected)
    assert not torch.equal(block(x), x)


def test_a_learned_skip_without_parameters():
    block = Skip(nn.Tanh(), scale="learned")
    assert [name for name, _ in block.named_parameters()] == ["scale"]


@pytest.mark.parametrize("scale", [1.0, 0.3, "learned"])
def test_replicas_compute_what_each_alone_does(scale):
    nets = [nn.Sequential(nn.Linear(3, 4), Skip(*layers(), scale=scale)) for _ in range(3)]
    with torch.no_grad():
        for k, net in enumerate(nets):
            for p in net.parameters():
                p.add_(0.1 * (k + 1))
    replicas, x = Replicas(nets), torch.randn(3, 5, 3, generator=seeded(0))
    together = replicas.each(
        lambda net, theta, x: net(x), replicas.theta, replicas.state, x, training=True
    )
    torch.testing.assert_close(
        together, torch.stack([n(one) for n, one in zip(nets, x, strict=True)])
    )


def test_replicas_tell_scales_apart():
    with pytest.raises(ValueError, match="one architecture"):
        Replicas([Skip(*layers()), Skip(*layers(), scale=0.5)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Skip(), "at least one, got none"),
        (lambda: Skip(nn.Tanh(), scale="scalar"), "got 'scalar'"),
        (lambda: Skip(nn.Tanh(), scale=math.inf), "scale must be finite, got inf"),
        (lambda: Skip(nn.Tanh(), scale=math.nan), "scale must be finite, got nan"),
        (lambda: Skip(nn.Linear(3, 1))(torch.zeros(2, 3)), r"shape \(2, 3\), got \(2, 1\)"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
