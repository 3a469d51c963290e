"""Jacobians of layers multiply to that of the network, which is PyTorch's."""

import numpy as np
import pytest
import torch
from torch import nn

from dlopt.activations import Jagged, Maxout
from dlopt.batch_norm import BatchNorm, recompute_statistics
from dlopt.jacobians import layer_jacobians, network_jacobian, products, singular_values
from dlopt.lesson.networks import mlp
from dlopt.skips import Skip


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def convolutional(g):
    torch.manual_seed(0)
    inner = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Tanh()
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), Skip(*inner, scale=0.5), nn.Conv2d(3, 4, 2),
        Maxout(2, axis=1), nn.Flatten(), nn.Linear(18, 5), nn.LayerNorm(5), nn.GELU(),
    ).double()  # fmt: skip


def normed(g):
    def norm(k):
        return BatchNorm(k).double()

    return mlp([6, 9, 9, 4], g, norm=norm, skip=1.0, dtype=torch.float64)


NETWORKS = {
    "tanh": lambda g: mlp([6, 9, 9, 4], g, dtype=torch.float64),
    "maxout": lambda g: mlp([6, 9, 4], g, activation=lambda: Maxout(3), dtype=torch.float64),
    "jagged": lambda g: mlp([6, 9, 4], g, activation=lambda: Jagged(0.3), dtype=torch.float64),
    "deep": lambda g: mlp([6] * 30, g, activation=nn.ReLU, init="he", dtype=torch.float64),
    "skips": lambda g: mlp([6] * 9, g, skip=0.3, init="he", dtype=torch.float64),
    "normed": normed,
    "convolutional": convolutional,
}


def case(name):
    """A network, in evaluation mode with the statistics of its inputs, and three inputs."""
    net = NETWORKS[name](seeded(0))
    shape = (3, 2, 4, 4) if name == "convolutional" else (3, 6)
    x = torch.randn(shape, generator=seeded(1), dtype=torch.float64)
    with torch.no_grad():
        for module in net.modules():
            if hasattr(module, "running_mean"):
                module.running_mean.normal_(generator=seeded(2))
                module.running_var.uniform_(0.5, 2, generator=seeded(3))
    return net.eval(), x


def error(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", NETWORKS)
def test_products_of_layers_are_the_jacobian_of_the_network(name):
    net, x = case(name)
    by_layers = layer_jacobians(net, x)
    assert len(by_layers) == len(net)
    found, whole = products(by_layers)[-1], network_jacobian(net, x)
    assert found.shape == whole.shape == (3, net(x).shape[1], x[0].numel())
    assert error(found, whole) < 1e-10
    for k in range(3):
        expected = torch.autograd.functional.jacobian(net, x[k : k + 1])
        assert error(whole[k], expected.reshape(whole[k].shape)) < 1e-10


@pytest.mark.parametrize("name", NETWORKS)
def test_each_layer_is_pytorchs(name):
    net, x = case(name)
    h = x[:1]
    for layer, J in zip(net, layer_jacobians(net, x[:1]), strict=True):
        expected = torch.autograd.functional.jacobian(layer, h)
        assert error(J[0], expected.reshape(J[0].shape)) < 1e-10
        h = layer(h)


def test_products_up_to_each_layer():
    net, x = case("tanh")
    for depth, J in enumerate(products(layer_jacobians(net, x)), start=1):
        assert error(J, network_jacobian(net[:depth], x)) < 1e-10


def test_what_layers_are():
    net, x = case("tanh")
    linear, tanh, *_ = layer_jacobians(net, x[0])
    assert torch.equal(linear, net[0].weight.detach())
    z = net[0](x[0]).detach()
    torch.testing.assert_close(tanh, torch.diag(1 - z.tanh().square()))
    block = Skip(nn.Linear(6, 6).double(), scale=0.5)
    (J,) = layer_jacobians(nn.Sequential(block), x[0])
    torch.testing.assert_close(J, torch.eye(6).double() + 0.5 * block[0].weight.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_input_and_several(dtype):
    net = mlp([5, 7, 2], seeded(0), dtype=dtype)
    x = torch.randn(4, 5, generator=seeded(1), dtype=dtype)
    one, several = layer_jacobians(net, x[2]), layer_jacobians(net, x)
    for J, all_of_them in zip(one, several, strict=True):
        assert J.dtype == dtype and not J.requires_grad
        torch.testing.assert_close(J, all_of_them[2])
    torch.testing.assert_close(network_jacobian(net, x[2]), network_jacobian(net, x)[2])


def test_singular_values_are_numpys():
    matrices = [torch.randn(3, 4, 6, generator=seeded(k), dtype=torch.float64) for k in range(2)]
    for found, matrix in zip(singular_values(matrices), matrices, strict=True):
        expected = torch.from_numpy(np.linalg.svd(matrix.numpy(), compute_uv=False))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_an_orthogonal_linear_network_has_singular_values_of_1_at_any_depth():
    net = mlp([8] * 20, seeded(0), activation=nn.Identity, init="orthogonal", dtype=torch.float64)
    for values in singular_values(products(layer_jacobians(net, torch.ones(8).double()))):
        torch.testing.assert_close(values, torch.ones(8).double(), rtol=1e-10, atol=0)


def test_vmap_computes_what_each_alone_does():
    net, x = case("tanh")
    together = torch.vmap(lambda one: network_jacobian(net, one))(x)
    torch.testing.assert_close(together, network_jacobian(net, x))


def test_the_network_is_left_alone():
    net, x = case("normed")
    before = {k: v.clone() for k, v in net.state_dict().items()}
    layer_jacobians(net, x), network_jacobian(net, x)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_batch_norm_wants_the_statistics_first():
    net = normed(seeded(0))
    x = torch.randn(50, 6, generator=seeded(1), dtype=torch.float64)
    with pytest.raises(ValueError, match=r"1, BatchNorm: call recompute_statistics"):
        layer_jacobians(net, x)
    recompute_statistics(net, [x])
    assert len(layer_jacobians(net.eval(), x)) == len(net)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.ReLU(inplace=True)), "inplace=True in 0, ReLU"),
        (nn.Sequential(nn.Dropout(0.5)), "dropout must be in evaluation mode, got 0, Dropout"),
        (nn.Sequential(nn.BatchNorm1d(3)), "norms must .* got 0, BatchNorm1d"),
        (nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)).eval(), "norms must"),
        (nn.Linear(3, 3), "must be an nn.Sequential, got Linear"),
    ],
)
def test_wrong_networks_are_named(network, message):
    with pytest.raises(ValueError, match=message):
        layer_jacobians(network, torch.ones(2, 3))
