"""An average wraps any module, keeps nothing but itself, and leaves no trace."""

import copy
import gc
import io

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import swa_utils

import dlopt
from dlopt import ExponentialAverage, PolyakAverage
from dlopt.batch_norm import BatchNorm, recompute_statistics

AVERAGES = {
    "mean": PolyakAverage,
    "tail": lambda m, **options: PolyakAverage(m, start=2, power=1.0, **options),
    "exponential": lambda m, **options: ExponentialAverage(m, 0.9, **options),
    "corrected": lambda m, **options: ExponentialAverage(m, 0.9, True, **options),
}
each = pytest.mark.parametrize("name", AVERAGES)
X = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 3


def network(norm=BatchNorm):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), norm(8), nn.Tanh(), nn.Linear(8, 3))


def trained(net, average, steps=5, optimizer=None):
    """Steps of any optimiser, each taken in."""
    optimizer = optimizer or torch.optim.SGD(net.parameters(), 0.5, momentum=0.9)
    for step in range(steps):
        optimizer.zero_grad()
        loss = cross_entropy(net(X[step % 4 :: 4]), Y[step % 4 :: 4])
        loss.backward()
        optimizer.step()
        average.update()
    return average


def values(net):
    return [t.detach().clone() for t in (*net.parameters(), *net.buffers())]


def parameters_inside(average):
    with average.applied():
        return [p.detach().clone() for p in average.module.parameters()]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@each
def test_evaluation_leaves_no_trace_in_the_training(name):
    nets = [network(), network()]
    for net, looked_at in zip(nets, (False, True), strict=True):
        average = AVERAGES[name](net)
        optimizer = torch.optim.Adam(net.parameters(), 0.1)
        for _ in range(6):
            trained(net, average, 2, optimizer)
            if looked_at:
                with average.applied():
                    recompute_statistics(net, [X])
                    net(X)  # in training mode, by mistake
    assert equal(values(nets[0]), values(nets[1]))


def test_averages_around_the_librarys_own_optimiser():
    net = network(nn.LayerNorm)
    average = PolyakAverage(net)
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.LBFGS(), full_batch=True)
    seen = []
    for _ in range(4):
        optimizer.step(lambda: cross_entropy(net(X), Y))
        average.update()
        seen.append([p.detach().clone() for p in net.parameters()])
        with average.applied():
            pass
    means = [torch.stack(ps).mean(0) for ps in zip(*seen, strict=True)]
    torch.testing.assert_close(parameters_inside(average), means)


def test_integer_buffers_are_copied_where_pytorchs_are_truncated():
    net = network(nn.BatchNorm1d)
    theirs = swa_utils.AveragedModel(net, use_buffers=True)
    ours = {flag: PolyakAverage(net, average_buffers=flag) for flag in (False, True)}
    means = []
    for _ in range(30):
        net(X)
        means.append(net[1].running_mean.clone())
        theirs.update_parameters(net)
        for average in ours.values():
            average.update()
    with ours[False].applied():
        assert net[1].num_batches_tracked == 30 and torch.equal(net[1].running_mean, means[-1])
    with ours[True].applied():
        assert net[1].num_batches_tracked == 30
        torch.testing.assert_close(net[1].running_mean, torch.stack(means).mean(0))
    assert net[1].num_batches_tracked == 30 and torch.equal(net[1].running_mean, means[-1])
    assert theirs.module[1].num_batches_tracked < 30  # the control


def test_a_step_that_is_too_small_for_half_precision_still_counts():
    for dtype in (torch.float16, torch.bfloat16):
        net = nn.Linear(2, 2).to(dtype)
        average = ExponentialAverage(net, 0.9999)
        naive = net.weight.detach().clone().fill_(0)
        with torch.no_grad():
            net.weight.fill_(0)
            average.update()
            net.weight.fill_(1)
        for _ in range(20_000):
            average.update()
            naive.lerp_(net.weight.detach(), 1e-4)
        before = net.weight.detach().clone()
        found = average.state_dict()["averages"][0]
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, torch.full((2, 2), 1 - 0.9999**20_000), rtol=1e-3, atol=0)
        with average.applied():
            assert net.weight.dtype == dtype and torch.equal(net.weight, found.to(dtype))
        assert torch.equal(net.weight, before) and naive.max() < 0.5  # the control


@pytest.mark.filterwarnings("ignore:<class 'torch.autograd.function.Function'>")  # the compiler's
@pytest.mark.parametrize("wrap", ["compiled before", "compiled after", "data parallel"])
def test_compiled_and_wrapped_modules_have_the_same_parameters(wrap):
    torch._dynamo.reset()
    plain, net = network(), network()
    expected = parameters_inside(trained(plain, PolyakAverage(plain)))
    if wrap == "data parallel":
        wrapped = nn.DataParallel(net)
        average = PolyakAverage(wrapped)
    else:
        average = PolyakAverage(net)
        wrapped = torch.compile(net, backend="eager")
        if wrap == "compiled before":
            average = PolyakAverage(wrapped)
    trained(wrapped, average)
    torch.testing.assert_close(parameters_inside(average), expected)
    with average.applied():
        torch.testing.assert_close([*wrapped.parameters()], expected)
        torch.testing.assert_close(wrapped(X), net(X))
    other = PolyakAverage(network())
    other.load_state_dict(average.state_dict())
    assert equal(parameters_inside(other), parameters_inside(average))


def test_shared_parameters_are_averaged_once_and_stay_shared():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    average = PolyakAverage(net)
    average.update()
    assert len(average.state_dict()["averages"]) == 3
    with average.applied():
        assert net[1].weight is net[0].weight
    assert net[1].weight is net[0].weight


@each
@pytest.mark.parametrize("buffers", [False, True])
def test_a_resumed_average_goes_on_to_the_bit(name, buffers):
    net = network()
    average = trained(net, AVERAGES[name](net, average_buffers=buffers))
    file = io.BytesIO()
    torch.save([net.state_dict(), average.state_dict()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    other = network()
    resumed = AVERAGES[name](other, average_buffers=buffers)
    other.load_state_dict(states[0])
    resumed.load_state_dict(states[1])
    twin = copy.deepcopy(average)
    assert resumed.steps == average.steps == 5
    for one in (average, resumed, twin):
        trained(one.module, one, 4)
    for one in (resumed, twin):
        assert equal(parameters_inside(one), parameters_inside(average))
        assert equal(values(one.module), values(net))


def test_a_foreign_state_is_refused_and_changes_nothing():
    net = network()
    average = trained(net, ExponentialAverage(net, 0.9))
    before = parameters_inside(average)
    others = [
        PolyakAverage(net),
        ExponentialAverage(net, 0.99),
        ExponentialAverage(net, 0.9, bias_correction=True),
        ExponentialAverage(nn.Linear(4, 8), 0.9),
        ExponentialAverage(network().double(), 0.9),
    ]
    for foreign in [other.state_dict() for other in others] + [{}]:
        with pytest.raises(ValueError, match="the state must be that of ExponentialAverage with"):
            average.load_state_dict(foreign)
    assert average.steps == 5 and equal(parameters_inside(average), before)


def test_new_parameters_are_refused_by_name():
    for change in (
        lambda net: net.append(nn.Linear(3, 3)),
        lambda net: setattr(net[0], "weight", nn.Parameter(torch.zeros(8, 4))),
    ):
        net = network()
        average = trained(net, PolyakAverage(net))
        change(net)
        for call in (average.update, average.applied().__enter__):
            with pytest.raises(ValueError, match=r"new ones: \['(4|0).weight'"):
                call()
        assert average.steps == 5
    net = network()
    average = PolyakAverage(net)
    del net[3]
    with pytest.raises(ValueError, match="must keep the parameters"):
        average.update()


def test_calls_at_the_wrong_moment_are_refused():
    net = network()
    average = trained(net, PolyakAverage(net))
    state, before = average.state_dict(), values(net)
    for call in (
        average.update,
        average.state_dict,
        lambda: average.load_state_dict(state),
        average.applied().__enter__,
    ):
        with pytest.raises(RuntimeError, match="must come after the block"), average.applied():
            call()
        assert equal(values(net), before)
    with pytest.raises(RuntimeError, match="must not be changed"), average.applied():
        torch.optim.SGD(net.parameters(), 0.1).step(lambda: cross_entropy(net(X), Y).backward())
    assert equal([*net.parameters()], before[:6])
    average.update()  # and it goes on


@each
def test_what_is_not_finite_is_said_and_leaves_the_training_alone(name):
    net = network()
    average = trained(net, AVERAGES[name](net))
    with torch.no_grad():
        net[0].weight[0, 0] = torch.nan
    average.update()
    before = values(net)
    with pytest.raises(ValueError, match="must be finite"), average.applied():
        raise AssertionError
    torch.testing.assert_close(values(net), before, rtol=0, atol=0, equal_nan=True)


def test_what_comes_before_the_start_of_a_tail_may_be_not_finite():
    net = network()
    average = PolyakAverage(net, start=3)
    weight = net[0].weight.detach().clone()
    for value in (torch.nan, torch.inf, -torch.inf, 1.0):
        with torch.no_grad():
            net[0].weight.copy_(weight * value)
        average.update()
    with average.applied():
        assert torch.equal(net[0].weight, weight)


def test_frozen_and_integer_parameters_and_modes_stay():
    net = network().eval()
    net[0].requires_grad_(False)
    net.register_parameter("count", nn.Parameter(torch.tensor([3]), requires_grad=False))
    average = PolyakAverage(net)
    for _ in range(3):
        average.update()
    with average.applied():
        assert not net[0].weight.requires_grad and net.count == 3 and not net.training
    assert all(not a.requires_grad for a in average.state_dict()["averages"])
    assert len(average.state_dict()["averages"]) == 6


@each
def test_before_the_first_update_it_is_what_the_module_had(name):
    net = network()
    first = [p.detach().clone() for p in net.parameters()]
    average = AVERAGES[name](net)
    torch.optim.SGD(net.parameters(), 0.1).step(lambda: cross_entropy(net(X), Y).backward())
    assert equal(parameters_inside(average), first)


def test_one_copy_is_held_and_memory_does_not_grow():
    net = nn.Linear(30, 20)
    average = PolyakAverage(net)

    def held():
        gc.collect()
        tensors = [
            o for o in gc.get_objects() if type(o) is torch.Tensor and o.numel() in (600, 20)
        ]
        return len({t.data_ptr() for t in tensors})

    optimizer = torch.optim.SGD(net.parameters(), 0.01)

    def step():
        optimizer.zero_grad()
        net(torch.ones(1, 30)).sum().backward()
        optimizer.step()
        average.update()

    step()
    before = held()
    for _ in range(1000):
        step()
    assert held() == before
    with average.applied():
        assert held() == before
    assert all(a.grad_fn is None for a in average.state_dict()["averages"])


def test_batch_statistics_of_an_averaged_network_are_recomputed():
    net = network()
    average = trained(net, PolyakAverage(net), 20)
    with average.applied():
        wanted = X @ net[0].weight.T + net[0].bias
        recompute_statistics(net, X.split(7))
        torch.testing.assert_close(net[1].running_mean, wanted.mean(0).detach())
        variance = wanted.var(0, correction=0).detach()
        torch.testing.assert_close(net[1].running_var, variance, rtol=1e-4, atol=1e-5)
