"""Networks that learn from a stream are trained as each alone would be."""

import pytest
import torch
from torch.nn import functional as F

from dlopt.lesson.networks import Reader, mlp
from dlopt.training.replicas import Replicas
from dlopt.training.rules import SGD, Adam
from dlopt.training.streams import train_on_stream


def seeded(number):
    return torch.Generator().manual_seed(number)


def stream(R, seed=0, width=3):
    g = seeded(seed)

    def draw(share):
        return (
            torch.randn(R, 6, width, generator=g),
            torch.randint(0, 2, (R, 6), generator=g),
        )

    return draw


def parameters(nets):
    return nets.theta.clone()


def test_each_network_takes_the_steps_of_torch():
    modules = [mlp([3, 4, 2], seeded(s)) for s in range(3)]
    nets, rates = Replicas(modules), [0.1, 0.03, 0.3]
    train_on_stream(nets, SGD(0.9), stream(3), steps=5, learning_rates=rates, judge=parameters)
    draw = stream(3)
    optimizers = [
        torch.optim.SGD(m.parameters(), lr=r, momentum=0.9)
        for m, r in zip(modules, rates, strict=True)
    ]
    for _ in range(5):
        x, y = draw(0.0)
        for r, (module, optimizer) in enumerate(zip(modules, optimizers, strict=True)):
            optimizer.zero_grad()
            F.cross_entropy(module(x[r]), y[r]).backward()
            optimizer.step()
    for r, module in enumerate(modules):
        alone = torch.cat([p.detach().flatten() for p in module.parameters()])
        torch.testing.assert_close(nets.theta[r], alone)


def test_recurrent_networks_and_clipping_are_those_of_torch():
    module, nets = Reader(2, 4, 2, seeded(0)), Replicas([Reader(2, 4, 2, seeded(0))])

    def draw(share):
        x = torch.zeros(1, 6, 5, 3)
        x[..., :2] = torch.randn(1, 6, 5, 2, generator=seeded(1))
        x[:, :, 3, 2] = 1.0
        return x, torch.tensor([[0, 1, 1, 0, 1, 0]])

    train_on_stream(nets, SGD(), draw, steps=3, learning_rates=[1.0], judge=parameters, clip=0.05)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    for _ in range(3):
        x, y = draw(0.0)
        optimizer.zero_grad()
        F.cross_entropy(module(x[0]), y[0]).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 0.05)
        optimizer.step()
    alone = torch.cat([p.detach().flatten() for p in module.parameters()])
    torch.testing.assert_close(nets.theta[0], alone, rtol=1e-4, atol=1e-6)


def test_it_is_judged_at_the_start_now_and_then_and_at_the_end():
    nets, shares = Replicas([mlp([3, 2], seeded(s)) for s in range(2)]), []
    first, draw = nets.theta.clone(), stream(2)

    def noted(share):
        shares.append(share)
        return draw(share)

    course = train_on_stream(
        nets, Adam(), noted, steps=7, learning_rates=[0.1, 0.0], judge=parameters, judge_every=3
    )
    assert course.steps == [0, 3, 6, 7] and course.scores.shape == (4, *first.shape)
    assert torch.equal(course.scores[0], first)
    assert torch.equal(course.scores[-1], nets.theta)
    assert torch.equal(course.scores[:, 1], first[1].expand(4, -1))  # at the rate 0
    assert shares == pytest.approx([i / 7 for i in range(7)])


def test_one_that_runs_off_stays_and_the_others_go_on():
    def train(rates):
        nets = Replicas([mlp([1, 1], seeded(0)) for _ in rates])

        def draw(share):
            x = torch.ones(len(rates), 4, 1)
            return x, 2 * x

        course = train_on_stream(
            nets, SGD(), draw, steps=60, learning_rates=rates, judge=parameters, loss=F.mse_loss
        )
        return course, nets.theta

    course, theta = train([0.1, 1e30])
    assert course.alive.tolist() == [True, False] and theta.isfinite().all()
    torch.testing.assert_close(theta[0], train([0.1])[1][0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"judge_every": 0}, "judge_every must be >= 1, got 0"),
        ({"steps": 1.5}, "steps must be a whole number, got 1.5"),
        ({"learning_rates": [0.1]}, "as many as networks, got 2, 2 and 1 for 2"),
        ({"learning_rates": [0.1, -1.0]}, "learning rates must be finite and >= 0, got -1.0"),
    ],
)
def test_bad_arguments_are_named(settings, message):
    nets = Replicas([mlp([3, 2], seeded(s)) for s in range(2)])
    arguments = {"steps": 2, "learning_rates": [0.1, 0.1], "judge": parameters} | settings
    with pytest.raises(ValueError, match=message):
        train_on_stream(nets, SGD(), stream(2), **arguments)
