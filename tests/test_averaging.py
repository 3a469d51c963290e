"""The averages are the formula's, the library's, and those that theorems speak of."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import swa_utils

from dlopt import ExponentialAverage, PolyakAverage
from dlopt.averaging import equivalent_length, exponential_averages, polyak_averages

decays = st.sampled_from([0.0, 0.5, 0.9, 0.999])
intervals = st.lists(st.integers(1, 5), min_size=1, max_size=12)


def scalars(*values):
    return nn.ParameterList([torch.zeros(n, dtype=torch.float64) for n in values])


def fed(average, iterates, steps=None):
    """What an average of these iterates is, (n,)."""
    for theta, k in zip(iterates, steps or [1] * len(iterates), strict=True):
        with torch.no_grad():
            average.module[0].copy_(theta)
        average.update(k)
    with average.applied():
        return average.module[0].detach().clone()


def weights(make, intervals):
    """The weight of each iterate: the average of unit vectors, of which each comes once."""
    module = scalars(len(intervals))
    with torch.no_grad():
        module[0].fill_(1e3)  # what the module starts with has no weight
    return fed(make(module), torch.eye(len(intervals)), intervals)


@given(intervals, st.integers(0, 8), st.sampled_from([0.0, 0.5, 1.0, 3.0]), decays, st.booleans())
def test_the_weights_of_all_iterates_sum_to_1(intervals, start, power, decay, correct):
    for make in (
        lambda m: PolyakAverage(m, start, power),
        lambda m: ExponentialAverage(m, decay, correct),
    ):
        w = weights(make, intervals)
        assert w.min() >= 0 and math.isclose(float(w.sum()), 1, rel_tol=1e-12)


def test_the_weights_are_those_of_the_formulas():
    n, i = 12, torch.arange(1, 13).double()
    for decay in (0.0, 0.5, 0.99):
        plain = (1 - decay) * decay ** (n - i)
        plain[0] = decay ** (n - 1)
        corrected = (1 - decay) * decay ** (n - i) / (1 - decay**n)
        for correct, expected in ((False, plain), (True, corrected)):
            make = partial(ExponentialAverage, decay=decay, bias_correction=correct)
            found = weights(make, [1] * n)
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    tail = weights(lambda m: PolyakAverage(m, start=5), [1] * n)
    torch.testing.assert_close(tail, (i > 5).double() / 7, rtol=1e-12, atol=0)
    rising = weights(lambda m: PolyakAverage(m, power=1.0), [1] * n)
    torch.testing.assert_close(rising, i / i.sum(), rtol=1e-12, atol=0)


@given(intervals, decays, st.booleans())
def test_the_decay_is_per_step_whatever_the_interval(intervals, decay, correct):
    """An iterate that is seen after k steps weighs what k steps would that all lead to it."""
    units = torch.eye(len(intervals)).double()
    every = torch.repeat_interleave(units, torch.tensor(intervals), dim=0)
    seldom, often = (ExponentialAverage(scalars(len(units)), decay, correct) for _ in range(2))
    found, expected = fed(seldom, units, intervals), fed(often, every)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert seldom.steps == often.steps
    polyak = fed(PolyakAverage(scalars(len(units))), units, intervals)
    torch.testing.assert_close(polyak, every.mean(0), rtol=1e-12, atol=0)


@pytest.mark.parametrize("steps", [1, 2, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_pytorchs_average_to_rounding(steps, dtype):
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).to(dtype)
    ours = {"mean": PolyakAverage(net), "exponential": ExponentialAverage(net, 0.9)}
    theirs = {
        "mean": [
            swa_utils.AveragedModel(net),
            swa_utils.AveragedModel(net, avg_fn=swa_utils.get_swa_avg_fn()),
            swa_utils.AveragedModel(net, multi_avg_fn=swa_utils.get_swa_multi_avg_fn()),
        ],
        "exponential": [
            swa_utils.AveragedModel(net, avg_fn=swa_utils.get_ema_avg_fn(0.9)),
            swa_utils.AveragedModel(net, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9)),
        ],
    }
    for _ in range(steps):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn(p.shape, generator=generator, dtype=dtype))
        for name, average in ours.items():
            average.update()
            for model in theirs[name]:
                model.update_parameters(net)
    # PyTorch's mean has float32's 1/t in float64, too.
    digits = {"mean": 1e-6, "exponential": 1e-13 if dtype == torch.float64 else 1e-6}
    for name, average in ours.items():
        for model in theirs[name]:
            with average.applied():
                found, expected = [*net.parameters()], [*model.parameters()]
                torch.testing.assert_close(found, expected, rtol=0, atol=10 * digits[name])


def test_functions_of_a_sequence_are_what_the_wrappers_compute():
    iterates = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)).double()
    close = {"rtol": 1e-12, "atol": 1e-14}
    mean = fed(PolyakAverage(scalars(4)), iterates)
    torch.testing.assert_close(mean, polyak_averages(iterates)[-1], **close)
    torch.testing.assert_close(mean, iterates.mean(0), **close)
    plain = fed(ExponentialAverage(scalars(4), 0.8), iterates)
    torch.testing.assert_close(plain, exponential_averages(iterates, 0.8)[-1], **close)
    corrected = fed(ExponentialAverage(scalars(4), 0.8, bias_correction=True), iterates)
    from_zero = exponential_averages(iterates, 0.8, start=torch.zeros(4).double())[-1]
    torch.testing.assert_close(corrected, from_zero / (1 - 0.8**30), **close)
    assert polyak_averages(iterates[:, 0]).shape == (30,)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.99])
def test_an_exponential_average_varies_as_a_tail_of_equivalent_length(decay):
    """The squares of the weights sum to 1/n: an identity, and then a measurement of it."""
    squares = sum(((1 - decay) * decay**j) ** 2 for j in range(5000))
    assert math.isclose(squares, 1 / equivalent_length(decay), rel_tol=1e-12)
    noise = torch.randn(1500, 4000, generator=torch.Generator().manual_seed(0))
    late = exponential_averages(noise, decay)[-1]
    tail = noise[-round(equivalent_length(decay)) :].mean(0)
    assert abs(float(late.var() / tail.var()) - 1) < 0.12


@pytest.mark.parametrize("kappa", [2, 4, 8])
def test_a_larger_batch_at_a_larger_rate_needs_the_power_of_the_decay(kappa):
    """Descent on x²/2 without noise: κ times fewer steps of κ times the rate (Busbridge 2023)."""

    def path(rate, steps):
        return (1 - rate) ** torch.arange(1, steps + 1).double()

    decay, rate, steps = 0.99, 1e-4, 1600
    expected = exponential_averages(path(rate, steps), decay)[-1]
    many = exponential_averages(path(rate * kappa, steps // kappa), decay**kappa)[-1]
    naive = exponential_averages(path(rate * kappa, steps // kappa), decay)[-1]
    assert abs(many / expected - 1) < 1e-3 < 5e-3 < abs(naive / expected - 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: ExponentialAverage(m, 1.0), r"decay must be in \[0, 1\), got 1.0"),
        (lambda m: ExponentialAverage(m, -0.1), "decay must be"),
        (lambda m: ExponentialAverage(m, math.nan), "decay must be"),
        (lambda m: PolyakAverage(m, start=-1), "start must be at least 0, got -1"),
        (lambda m: PolyakAverage(m, power=-1), "power must be"),
        (lambda m: PolyakAverage(m, power=math.inf), "power must be"),
        (lambda m: PolyakAverage(nn.Tanh()), "must have parameters"),
        (lambda m: PolyakAverage(m).update(0), "steps must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(scalars(2))
