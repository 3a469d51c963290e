"""Recomputed statistics are those of the whole data, whatever the split."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from dlopt.batch_norm import BatchNorm, recompute_statistics
from dlopt.pooling import Pool

TIGHT = {"rtol": 1e-12, "atol": 1e-12}
LABELS = torch.arange(60) % 6
X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)).double() + LABELS[:, None]
SPLITS = {
    "one by one": X.split(1),
    "sevens": X.split(7),
    "all": [X],
    "by class": X[LABELS.argsort(stable=True)].split(10),
    "uneven": X.split([1, 40, 2, 17]),
}


def network(norm=BatchNorm):
    layers = [nn.Linear(4, 5), norm(5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3), norm(3)]
    net = nn.Sequential(*layers).double()
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(i)))
    return net


def whole(net, x=X):
    """Mean and biased variance of what reaches each layer, all data being one batch."""
    found = []
    with torch.no_grad():
        for layer in net:
            if hasattr(layer, "running_mean"):
                variance, mean = torch.var_mean(x, 0, correction=0)
                found += [mean, variance]
                weight, bias = [*layer.parameters()]
                eps = layer.delta if isinstance(layer, BatchNorm) else layer.eps
                x = weight * (x - mean) / (variance + eps).sqrt() + bias
            elif not isinstance(layer, nn.Dropout):
                x = layer(x)
    return found


def statistics(net):
    return [b for layer in net if hasattr(layer, "running_mean")
            for b in (layer.running_mean, layer.running_var)]  # fmt: skip


@pytest.mark.parametrize("norm", [BatchNorm, nn.BatchNorm1d])
@pytest.mark.parametrize("split", SPLITS)
def test_statistics_are_those_of_the_whole_for_any_split(split, norm):
    net = network(norm)
    recompute_statistics(net, SPLITS[split])
    torch.testing.assert_close(statistics(net), whole(net), **TIGHT)


def test_averages_of_the_batches_variances_are_not():
    """What PyTorch's own function makes of classes one after the other: the controls."""
    net = network(nn.BatchNorm1d).train()
    first = whole(net)[1]
    update_bn(SPLITS["by class"], net)
    assert (net[1].running_var / first).min() < 0.2
    update_bn([X], net)
    torch.testing.assert_close(net[1].running_var, first * 60 / 59, **TIGHT)


def test_batches_come_in_every_form():
    expected = network()
    recompute_statistics(expected, [X])
    pairs = [(x, y) for x, y in zip(X.split(9), LABELS.split(9), strict=True)]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, LABELS), 11, True)
    for batches in (pairs, iter(pairs), (x for x in X.split(9)), loader, [*X.split(9), X[:0]]):
        net = network()
        recompute_statistics(net, batches)
        torch.testing.assert_close(statistics(net), statistics(expected), **TIGHT)


def test_modes_and_parameters_stay_as_they_are():
    net = network()
    net[1].eval().requires_grad_(False)
    modes = [m.training for m in net.modules()]
    parameters = copy.deepcopy([*net.parameters()])
    recompute_statistics(net, SPLITS["sevens"])
    assert [m.training for m in net.modules()] == modes
    for p, q in zip(net.parameters(), parameters, strict=True):
        assert torch.equal(p, q) and p.requires_grad == q.requires_grad and p.grad is None
    assert not any(m._forward_pre_hooks for m in net.modules())
    torch.testing.assert_close(statistics(net), whole(net), **TIGHT)


def test_images_branches_and_a_layer_that_is_used_twice():
    class Twins(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.shared = BatchNorm(2), BatchNorm(2)  # not in the order of the calls

        def forward(self, x):
            return self.last(self.shared(x[:, :2]) * self.shared(x[:, 2:]))

    net, x = Twins().double(), X.view(15, 4, 2, 2)
    recompute_statistics(net, x.split(4))
    both = torch.cat([x[:, :2], x[:, 2:]])
    variance, mean = torch.var_mean(both, (0, 2, 3), correction=0)
    torch.testing.assert_close(net.shared.running_mean, mean, **TIGHT)
    torch.testing.assert_close(net.shared.running_var, variance, **TIGHT)
    net.shared.eval()
    made = net.shared(x[:, :2]) * net.shared(x[:, 2:])
    variance, mean = torch.var_mean(made, (0, 2, 3), correction=0)
    torch.testing.assert_close(net.last.running_mean, mean, **TIGHT)
    torch.testing.assert_close(net.last.running_var, variance, **TIGHT)


@pytest.mark.filterwarnings("ignore:<class 'torch.autograd.function.Function'>")  # the compiler's
def test_a_compiled_module_and_one_without_statistics_are_taken():
    torch._dynamo.reset()
    net = network()
    compiled = torch.compile(net, backend="eager")
    compiled(X)
    recompute_statistics(compiled, SPLITS["sevens"])
    torch.testing.assert_close(statistics(net), whole(net), **TIGHT)
    recompute_statistics(nn.Linear(4, 2), [])
    recompute_statistics(nn.BatchNorm1d(4, track_running_stats=False), [])


def test_what_goes_wrong_leaves_the_statistics_as_they_were():
    net = network()
    net(X)
    before = [b.clone() for b in statistics(net)]
    with pytest.raises(ValueError, match=r"one of the 2 layers, got no batch that does"):
        recompute_statistics(net, [])
    with pytest.raises(ValueError, match=r"such as \[x\], got x, \(60, 4\)"):
        recompute_statistics(net, X)

    def fail_once_the_first_layer_is_done(*_):
        if net[1].running_mean[0] != before[0][0]:
            raise ZeroDivisionError

    net[4].register_forward_pre_hook(fail_once_the_first_layer_is_done)
    with pytest.raises(ZeroDivisionError):
        recompute_statistics(net, [X])
    torch.testing.assert_close(statistics(net), before, rtol=0, atol=0)
    assert all(m.training for m in net.modules())


def test_joined_pools_are_the_pool_of_all():
    H = torch.randn(30, 4, 2, generator=torch.Generator().manual_seed(0)).double() + 5
    parts = [Pool.of(part) for part in H.sort(0).values.split([1, 12, 17])]
    all_of_it, joined = Pool.of(H), parts[0].joined(parts[1]).joined(parts[2])
    assert joined.count == all_of_it.count == 60
    torch.testing.assert_close(joined.mean, all_of_it.mean, rtol=1e-13, atol=0)
    torch.testing.assert_close(joined.variance, all_of_it.variance, rtol=1e-13, atol=0)
