"""Starts have the statistics that their rules promise, and orthogonal matrices are uniform."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from dlopt.activations import Jagged, Maxout, mean_square
from dlopt.initialization import initialize_, orthogonal
from dlopt.lesson.networks import mlp


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1), (6, 6), (7, 3), (3, 7), (1, 5)])
def test_all_singular_values_are_1_as_pytorchs(shape, dtype):
    ours = orthogonal(*shape, seeded(0), dtype=dtype)
    torch.manual_seed(0)
    theirs = nn.init.orthogonal_(torch.empty(shape, dtype=dtype))
    assert ours.dtype == dtype and ours.shape == theirs.shape and ours.is_contiguous()
    one = torch.ones(min(shape), dtype=dtype)
    close = {"rtol": 0, "atol": 20 * torch.finfo(dtype).eps}
    for Q in (ours, theirs):
        torch.testing.assert_close(torch.linalg.svdvals(Q), one, **close)


def test_fewer_digits_than_single_precision():
    Q = orthogonal(4, 4, seeded(0), determinant_sign=1, dtype=torch.bfloat16)
    assert Q.dtype == torch.bfloat16
    assert abs(float(torch.linalg.det(Q.float())) - 1) < 0.05


@pytest.mark.parametrize("size", [1, 2, 5, 6])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_of_the_determinant_is_chosen(size, sign):
    g = seeded(0)
    for _ in range(20):
        Q = orthogonal(size, size, g, determinant_sign=sign, dtype=torch.float64)
        assert float(torch.linalg.det(Q)) == pytest.approx(sign, abs=1e-12)


@pytest.mark.parametrize("sign", [None, 1, -1])
def test_orthogonal_matrices_are_uniform(sign):
    """Entries have mean 0 and variance 1/n; rotations of the plane have uniform angles."""
    g, n = seeded(1), 4000
    Q = torch.stack([orthogonal(3, 3, g, determinant_sign=sign) for _ in range(n)])
    error = 1 / math.sqrt(3 * n)
    assert Q.mean(0).abs().max() < 4.5 * error
    torch.testing.assert_close(Q.square().mean(0), torch.full((3, 3), 1 / 3), rtol=0, atol=0.025)
    if sign is None:
        assert abs((torch.linalg.det(Q) > 0).double().mean() - 0.5) < 4.5 / math.sqrt(4 * n)
    plane = torch.stack([orthogonal(2, 2, g, determinant_sign=1) for _ in range(n)])
    angles = torch.atan2(plane[:, 1, 0], plane[:, 0, 0])
    for k in (1, 2, 4):  # what is uniform has no Fourier coefficients; QR alone fails here
        assert float((k * angles).cos().mean()) == pytest.approx(0, abs=4.5 / math.sqrt(2 * n))
        assert float((k * angles).sin().mean()) == pytest.approx(0, abs=4.5 / math.sqrt(2 * n))


def test_a_wrong_sign_of_the_determinant_never_arrives():
    """Descent on a deep linear network moves the product to a rotation, and not to a reflection."""
    arrived = {}
    for sign in (1, -1):
        g = seeded(0)
        layers = [orthogonal(4, 4, g, determinant_sign=1, dtype=torch.float64) for _ in range(4)]
        target = orthogonal(4, 4, g, determinant_sign=sign, dtype=torch.float64)
        theta = torch.stack(layers).requires_grad_()
        for _ in range(400):
            error = theta[3] @ theta[2] @ theta[1] @ theta[0] - target
            (slope,) = torch.autograd.grad(error.square().sum(), theta)
            theta = (theta - 0.02 * slope).detach().requires_grad_()
        arrived[sign] = float(error.detach().square().sum())
    assert arrived[1] < 1e-6 and arrived[-1] > 0.5


@pytest.mark.parametrize(
    "activation",
    [nn.Tanh, nn.ReLU, nn.Sigmoid, partial(Maxout, 2), partial(Maxout, 3), partial(Jagged, 0.4)],
)
def test_variance_keeps_the_size_of_a_signal(activation):
    """Pre-activations of all layers have mean square 1, at any depth."""
    net = mlp([300] * 12, seeded(0), activation=activation, init="variance")
    x = torch.randn(200, 300, generator=seeded(1))
    sizes = []
    for layer in net:
        x = layer(x)
        if isinstance(layer, nn.Linear):
            sizes.append(float(x.detach().square().mean()))
    assert min(sizes) > 0.6 and max(sizes) < 1.6


def test_the_rule_for_relu_is_twice_too_much_for_maxout():
    net = mlp([300] * 12, seeded(0), activation=partial(Maxout, 2), init="he")
    size = float(net(torch.randn(200, 300, generator=seeded(1))).detach().square().mean())
    assert 2**10 < size < 2**13


@pytest.mark.parametrize(
    ("rule", "variance"),
    [
        ("he", lambda n, m: 2 / n),
        ("glorot", lambda n, m: 2 / (n + m)),
        ("torch", lambda n, m: 1 / (3 * n)),
        (0.3, lambda n, m: 0.09),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_variances_by_rule(rule, variance, scale):
    net = nn.Sequential(nn.Linear(80, 150), nn.ReLU(), nn.Conv1d(40, 60, 5, groups=2))
    initialize_(net, rule, seeded(0), scale)
    for layer, n, m in ((net[0], 80, 150), (net[2], 100, 300)):
        found = float(layer.weight.detach().square().mean())
        assert found == pytest.approx(scale**2 * variance(n, m), rel=0.06)
        bound = 1 / math.sqrt(n)
        assert float(layer.bias.detach().abs().max()) <= (bound if rule == "torch" else 0)
        assert bool(layer.bias.any()) == (rule == "torch")


def test_pytorchs_rules_have_the_same_spread():
    ours, theirs = nn.Conv2d(8, 64, 5), nn.Conv2d(8, 64, 5)
    torch.manual_seed(0)
    for rule, init in (
        ("glorot", nn.init.xavier_normal_),
        ("he", partial(nn.init.kaiming_normal_, nonlinearity="relu")),
        ("torch", lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5))),
    ):
        initialize_(ours, rule, seeded(0))
        init(theirs.weight)
        spread = float(theirs.weight.detach().std())
        assert float(ours.weight.detach().std()) == pytest.approx(spread, rel=0.03)


def test_orthogonal_layers():
    net = nn.Sequential(
        nn.Linear(5, 9), nn.Tanh(), nn.Conv2d(2, 4, 3), nn.Conv2d(1, 20, 3)
    ).double()
    initialize_(net, "orthogonal", seeded(0), scale=1.5)
    for weight in (net[0].weight, net[2].weight.flatten(1), net[3].weight.flatten(1)):
        values = torch.linalg.svdvals(weight.detach())
        torch.testing.assert_close(values, torch.full_like(values, 1.5))


def test_the_first_layer_has_inputs_and_the_others_activations():
    net = mlp([400, 400, 400], seeded(0), init="variance", activation=nn.Sigmoid)
    first, second = (m.weight.detach().square().mean() * 400 for m in net if hasattr(m, "weight"))
    assert float(first) == pytest.approx(1, rel=0.02)
    assert float(second) == pytest.approx(1 / mean_square(nn.Sigmoid()), rel=0.02)


def test_an_activation_can_be_named():
    nets = [nn.Sequential(nn.Linear(9, 9), *between, nn.Linear(9, 9)) for between in
            ([nn.Tanh()], [nn.Tanh(), nn.ReLU()])]  # fmt: skip
    initialize_(nets[0], "variance", seeded(0))
    initialize_(nets[1], "variance", seeded(0), activation=torch.tanh)
    assert torch.equal(nets[0][2].weight, nets[1][3].weight)


def test_randomness_comes_from_the_generator_alone():
    before = torch.get_rng_state()
    twice = [mlp([4, 6, 3], seeded(5), init="orthogonal") for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(twice[0][0].weight, twice[1][0].weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_default_is_pytorchs_to_the_bit(dtype):
    """Stored lessons rely on it: the order of the draws, and how a bound is rounded."""
    module, g = mlp([7, 8, 3], seeded(3), dtype=dtype), seeded(3)
    for layer in (module[0], module[2]):
        bound = 1 / math.sqrt(layer.in_features)
        for p in (layer.weight, layer.bias):
            expected = torch.empty(p.shape, dtype=dtype)
            assert torch.equal(p, expected.uniform_(-bound, bound, generator=g))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: orthogonal(0, 3, g), "at least 1, got 0 and 3"),
        (lambda g: orthogonal(3, 3, g, determinant_sign=0), "None, 1 or -1, got 0"),
        (lambda g: orthogonal(3, 2, g, determinant_sign=1), "square matrix, got 1 for 3 x 2"),
        (lambda g: initialize_(nn.Linear(2, 2), "xavier", g), "rule must be .* got 'xavier'"),
        (lambda g: initialize_(nn.Linear(2, 2), -1.0, g), "at least 0, got -1.0"),
        (lambda g: initialize_(nn.Linear(2, 2), "he", g, math.inf), "scale must be finite, got"),
        (lambda g: initialize_(nn.Tanh(), "he", g), "linear or convolutional layer, got none"),
        (
            lambda g: initialize_(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "variance", g),
            r"one kind, got \[\]",
        ),
        (
            lambda g: initialize_(
                nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Tanh(), nn.Linear(2, 2)), "variance", g
            ),
            r"got \['ReLU\(\)', 'Tanh\(\)'\]",
        ),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(seeded(0))
