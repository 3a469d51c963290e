"""Gradients along a line, their autocorrelation, and the angle to the solution."""

import numpy as np
import pytest
import torch
from torch import nn

from dlopt.batch_norm import BatchNorm, recompute_statistics
from dlopt.gradient_statistics import autocorrelation, cosine_to_solution, gradients_along_line
from dlopt.lesson.networks import mlp


def seeded(seed):
    return torch.Generator().manual_seed(seed)


LINE = torch.linspace(-2, 2, 257, dtype=torch.float64)[:-1, None]


@pytest.mark.parametrize("skip", [None, 0.5, "learned"])
def test_gradients_are_differences_of_the_output(skip):
    net = mlp([1, 20, 20, 20, 1], seeded(0), skip=skip, dtype=torch.float64)
    h = 1e-6
    with torch.no_grad():
        differences = (net(LINE + h) - net(LINE - h)) / (2 * h)
    found = gradients_along_line(net, LINE)
    assert found.shape == LINE.shape and not found.requires_grad
    torch.testing.assert_close(found, differences, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_line_in_several_dimensions(dtype):
    net = mlp([5, 8, 1], seeded(0), dtype=dtype)
    line = torch.randn(6, 5, generator=seeded(1), dtype=dtype).requires_grad_()
    (expected,) = torch.autograd.grad(net(line).sum(), line)
    torch.testing.assert_close(gradients_along_line(net, line.detach()), expected)


@pytest.mark.parametrize("center", [True, False])
def test_autocorrelation_is_numpys(center):
    g = torch.randn(64, generator=seeded(0), dtype=torch.float64).cumsum(0) + 3
    series = g.numpy() - (g.numpy().mean() if center else 0)
    both_sides = np.correlate(series, series, mode="full")
    expected = torch.from_numpy(both_sides[63:] / both_sides[63])
    found = autocorrelation(g, range(64), center)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    as_vectors = torch.stack([g, g], 1) / 2
    torch.testing.assert_close(autocorrelation(as_vectors, range(64), center), expected)


def test_white_and_brown_noise():
    white = torch.randn(4000, generator=seeded(0), dtype=torch.float64)
    assert autocorrelation(white, [1, 4, 16]).abs().max() < 4 / 4000**0.5
    assert autocorrelation(white.cumsum(0), [1, 4, 16]).min() > 0.97
    assert torch.isnan(autocorrelation(torch.ones(5), [1])).all()


def test_batch_norm_shatters_and_a_net_that_is_linear_does_not():
    """Balduzzi et al. (2017), and why a start whose signal vanishes can't show it."""
    found = {}
    for name, init, norm in (("normed", "he", BatchNorm), ("vanishing", 0.01, None)):
        g, normed = seeded(0), None if norm is None else (lambda k: BatchNorm(k).double())
        net = mlp([1] + [100] * 30 + [1], g, activation=nn.ReLU, init=init, norm=normed,
                  dtype=torch.float64)  # fmt: skip
        with torch.no_grad():
            for m in net.modules():
                if isinstance(m, nn.Linear) and m.bias is not None:
                    m.bias.normal_(0, 0.1, generator=g)
        recompute_statistics(net, [LINE])
        found[name] = autocorrelation(gradients_along_line(net.eval(), LINE), [1, 4])
    assert found["normed"].abs().max() < 0.2
    assert found["vanishing"].min() > 0.8


def test_cosines_on_a_quadratic():
    """Descent on a bowl points home, on a valley only when it is almost there."""
    for curvature, least in ((torch.tensor([1.0, 1.0]), 1 - 1e-6), (torch.tensor([1.0, 0.01]), 0)):
        theta, path = torch.tensor([1.0, 1.0]), []
        for _ in range(50):
            path.append(theta)
            theta = theta - 0.5 * curvature * theta
        thetas = torch.stack(path)
        cosines = cosine_to_solution(thetas, thetas * curvature, torch.zeros(2))
        way = -thetas / thetas.norm(dim=1, keepdim=True)
        slopes = thetas * curvature
        expected = -(slopes * way).sum(1) / slopes.norm(dim=1)
        torch.testing.assert_close(cosines, expected)
        assert cosines.min() >= least
    assert cosines[0] < 0.75


def test_several_runs_and_the_last_point_as_the_solution():
    thetas = torch.randn(7, 3, 4, 10, generator=seeded(0))
    gradients = torch.randn(7, 3, 4, 10, generator=seeded(1))
    together = cosine_to_solution(thetas, gradients)
    assert together.shape == (6, 3, 4)
    alone = cosine_to_solution(thetas[:, 1, 2], gradients[:, 1, 2])
    torch.testing.assert_close(together[:, 1, 2], alone)
    with_solution = cosine_to_solution(thetas, gradients, thetas[-1])
    torch.testing.assert_close(with_solution[:-1], together)
    expected = nn.functional.cosine_similarity(-gradients[0], thetas[-1] - thetas[0], dim=-1)
    torch.testing.assert_close(together[0], expected)


def test_vmap_computes_what_each_alone_does():
    thetas, gradients = (torch.randn(3, 7, 10, generator=seeded(k)) for k in range(2))
    together = torch.vmap(cosine_to_solution)(thetas, gradients)
    torch.testing.assert_close(together[1], cosine_to_solution(thetas[1], gradients[1]))
    together = torch.vmap(lambda g: autocorrelation(g, [1, 2]))(gradients)
    torch.testing.assert_close(together[1], autocorrelation(gradients[1], [1, 2]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: gradients_along_line(nn.Linear(2, 3), torch.zeros(4, 2)),
            r"one number for each input, got shape \(3,\)",
        ),
        (
            lambda: gradients_along_line(nn.Sequential(BatchNorm(1)), torch.zeros(4, 1)),
            "norms must",
        ),
        (lambda: autocorrelation(torch.zeros(4), [0, 4]), r"0 to 3 for 4 gradients, got \[4\]"),
        (lambda: autocorrelation(torch.zeros(4), [-1]), r"got \[-1\]"),
        (
            lambda: cosine_to_solution(torch.zeros(3, 2), torch.zeros(2, 2)),
            r"shape of thetas \(3, 2\), got \(2, 2\)",
        ),
        (
            lambda: cosine_to_solution(torch.zeros(1, 2), torch.zeros(1, 2)),
            "two points at least, got 1",
        ),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
