"""Schedule-free descent lies between two averages, and keeps what it evaluates apart."""

import copy
import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dlopt.averaging import PolyakAverage
from dlopt.schedule_free import ScheduleFreeSGD

A = torch.diag(torch.tensor([1.0, 0.2, 5.0]).double())
NOISE = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)).double()
START = torch.tensor([1.0, -2.0, 0.5]).double()


def module():
    return nn.ParameterList([START.clone()])


def descend(net, optimizer, steps=60, after=lambda: None):
    """Steps on a noisy quadratic; the parameters after each."""
    visited = []
    for noise in NOISE[:steps]:
        net[0].grad = A @ net[0].detach() + noise
        optimizer.step()
        after()
        visited.append(net[0].detach().clone())
    return visited


def averaged(optimizer, net):
    with optimizer.applied():
        return net[0].detach().clone()


def test_beta_0_is_the_polyak_average_of_plain_descent():
    net, plain = module(), module()
    mean = PolyakAverage(plain)
    free, sgd = ScheduleFreeSGD(net, 0.1, beta=0), torch.optim.SGD(plain.parameters(), 0.1)
    visited, theirs = descend(net, free), descend(plain, sgd, after=mean.update)
    torch.testing.assert_close(visited, theirs, rtol=1e-14, atol=1e-14)
    with mean.applied():
        torch.testing.assert_close(averaged(free, net), plain[0].detach(), rtol=1e-12, atol=1e-12)


def test_beta_1_is_primal_averaging():
    net = module()
    free = ScheduleFreeSGD(net, 0.1, beta=1)
    visited = descend(net, free)
    x, z = START.clone(), START.clone()
    for t, noise in enumerate(NOISE, start=1):
        z = z - 0.1 * (A @ x + noise)
        x = (1 - 1 / t) * x + z / t
        torch.testing.assert_close(visited[t - 1], x, rtol=1e-12, atol=1e-12)
    assert torch.equal(averaged(free, net), net[0])


@given(beta=st.floats(0, 1), rate=st.floats(0, 0.3))
def test_the_parameters_lie_between_the_iterate_and_the_mean_of_all(beta, rate):
    net, z, all_z = module(), START.clone(), []
    y, x = z, z
    optimizer = ScheduleFreeSGD(net, rate, beta)
    for found, noise in zip(descend(net, optimizer, 20), NOISE, strict=False):
        z = z - rate * (A @ y + noise)
        all_z.append(z)
        x = torch.stack(all_z).mean(0)
        y = (1 - beta) * z + beta * x
        torch.testing.assert_close(found, y, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(averaged(optimizer, net), x, rtol=1e-10, atol=1e-10)


def test_a_checkpoint_and_a_copy_go_on_alike():
    net = module()
    optimizer = ScheduleFreeSGD(net, 0.1)
    descend(net, optimizer, 10)
    file = io.BytesIO()
    torch.save([net.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    twin, twin_optimizer = copy.deepcopy((net, optimizer))
    other = module()
    resumed = ScheduleFreeSGD(other, 0.1)
    for holder, state in zip((other, resumed), torch.load(file), strict=True):
        holder.load_state_dict(state)
    expected = descend(net, optimizer, 5)[-1]
    for again, its_optimizer in ((twin, twin_optimizer), (other, resumed)):
        assert torch.equal(descend(again, its_optimizer, 5)[-1], expected)
        assert torch.equal(averaged(its_optimizer, again), averaged(optimizer, net))


def test_a_step_inside_the_block_is_refused_and_parameters_without_gradient_stay():
    net = nn.ParameterList([START.clone(), torch.ones(2)])
    optimizer = ScheduleFreeSGD(net, 0.1)
    with optimizer.applied():  # before the first step
        pass
    descend(net, optimizer, 3)
    trained = net[0].detach().clone()
    with pytest.raises(RuntimeError, match="inside"), optimizer.applied():
        optimizer.step()
    with pytest.raises(RuntimeError, match="inside"), optimizer.applied(), optimizer.applied():
        pass
    assert torch.equal(net[0], trained) and torch.equal(net[1], torch.ones(2))
    assert optimizer.step(lambda: 7.0) == 7.0


@pytest.mark.parametrize("bad", [{"lr": -1}, {"lr": torch.inf}, {"beta": 1.5}, {"beta": -0.1}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must be"):
        ScheduleFreeSGD(module(), **({"lr": 0.1} | bad))
    with pytest.raises(ValueError, match="bfloat16"):
        ScheduleFreeSGD(module().bfloat16(), 0.1)
