"""Many descents at once are what each is alone."""

import math

import pytest
import torch

from dlopt import GradientDescent
from dlopt.continuation import continuation
from dlopt.exact_blurs import Polynomial, rastrigin
from dlopt.training.many_starts import continuation_from_many
from dlopt.training.rules import SGD, Adam


def starts(R: int, n: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return 8 * torch.rand(R, n, generator=g, dtype=torch.float64) - 4


def test_each_descent_is_gradient_descent_through_the_stages():
    f, x0, rate = rastrigin(2, amplitude=1.0), starts(3, 2), 0.01
    run = continuation_from_many(
        f, x0, [1.0, 0.3, 0.0], SGD(), learning_rate=rate, steps=40, blurred=f.blurred
    )
    for r in range(3):
        alone = continuation(
            f, x0[r], [1.0, 0.3, 0.0], GradientDescent(learning_rate=rate), blurred=f.blurred,
            max_steps=40, grad_tol=1e-300,
        )  # fmt: skip
        torch.testing.assert_close(run.x[r], alone.stages[-1].path.states[-1].x)
        torch.testing.assert_close(run.stages[0, r], alone.stages[0].path.states[-1].x)
    torch.testing.assert_close(run.values, torch.vmap(f)(run.x))
    assert run.evaluations == 120 and run.stages.shape == (3, 3, 2)


def test_a_rule_with_a_memory_counts_its_steps_anew_in_each_stage():
    f, x0 = rastrigin(2), starts(1, 2)
    run = continuation_from_many(
        f, x0, [1.0, 0.0], Adam(), learning_rate=0.05, steps=25, blurred=f.blurred
    )
    x = x0[0].clone().requires_grad_()
    for objective in (f.blurred(1.0), f):
        optimizer = torch.optim.Adam([x], lr=0.05)
        for _ in range(25):
            optimizer.zero_grad()
            objective(x).backward()
            optimizer.step()
    torch.testing.assert_close(run.x[0], x.detach())


def test_starts_do_not_see_each_other():
    f, x0 = rastrigin(2), starts(4, 2)
    settings = {"learning_rate": 0.05, "steps": 30, "blurred": f.blurred}
    together = continuation_from_many(f, x0, [1.0, 0.0], Adam(), **settings)
    apart = [continuation_from_many(f, row[None], [1.0, 0.0], Adam(), **settings) for row in x0]
    torch.testing.assert_close(together.x, torch.cat([run.x for run in apart]))


@pytest.mark.parametrize("estimator", ["reparametrised", "score", "antithetic"])
def test_sampled_steps_are_the_exact_ones_on_average(estimator):
    f = Polynomial((0, 0, 1, 0.1))
    same = torch.full((4000, 1), 0.7, dtype=torch.float64)
    settings = {"learning_rate": 0.1, "steps": 1}
    found = continuation_from_many(
        f, same, [0.5], SGD(), n_samples=10, estimator=estimator,
        generator=torch.Generator().manual_seed(0), **settings,
    )  # fmt: skip
    exact = continuation_from_many(f, same[:1], [0.5], SGD(), blurred=f.blurred, **settings)
    error = found.x.mean() - exact.x[0, 0]
    assert abs(error) < 4 * found.x.std() / math.sqrt(4000)
    assert len(found.x.unique()) == 4000 and found.evaluations == 10


def test_stages_have_their_own_rates_and_steps():
    f, x0 = Polynomial((0, 0, 1)), starts(2, 1)
    run = continuation_from_many(
        f, x0, [1.0, 0.0], SGD(), learning_rate=[0.25, 0.5], steps=[1, 1], blurred=f.blurred
    )
    torch.testing.assert_close(run.stages[0], x0 / 2)
    torch.testing.assert_close(run.x, torch.zeros_like(x0))


def test_one_that_runs_off_stays_where_it_last_was_and_the_others_go_on():
    f = Polynomial((0, 0, 1, 0, -1))
    x0 = torch.tensor([[0.1], [5.0]], dtype=torch.float64)
    run = continuation_from_many(f, x0, [0.0], SGD(), learning_rate=0.1, steps=200)
    assert run.x.isfinite().all() and not run.values.isnan().any()
    assert abs(run.x[0]) < 1e-6 < 1e6 < abs(run.x[1])
    assert torch.equal(x0, torch.tensor([[0.1], [5.0]], dtype=torch.float64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"starts": torch.zeros(2)}, r"got \(2,\)"),
        ({"starts": torch.zeros(0, 2)}, r"got \(0, 2\)"),
        ({"starts": torch.zeros(1, 2, dtype=torch.long)}, "starts must be floats"),
        ({"starts": torch.full((1, 1), math.nan)}, "starts must be finite, got nan"),
        ({"sigmas": []}, "got none"),
        ({"sigmas": [-1.0]}, "got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0, got 0"),
        ({"learning_rate": [0.1, 0.1]}, "one for each of 1 stages, got 2"),
        ({"steps": 0}, "steps must be > 0, got 0"),
        ({"steps": 1.5}, "steps must be a whole number, got 1.5"),
        ({"n_samples": 3, "estimator": "antithetic"}, "got 3"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    settings = {"starts": torch.zeros(1, 1), "sigmas": [0.0], "learning_rate": 0.1, "steps": 1}
    settings |= arguments
    with pytest.raises(ValueError, match=message):
        continuation_from_many(
            Polynomial((0, 0, 1)), settings.pop("starts"), settings.pop("sigmas"), SGD(), **settings
        )
