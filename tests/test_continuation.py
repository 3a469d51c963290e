"""Each stage begins where the last one ended, and what it costs is counted."""

import math

import pytest
import torch

from dlopt import BFGS, GradientDescent, Newton, minimize
from dlopt.continuation import continuation, geometric
from dlopt.exact_blurs import GaussianMixture, Polynomial, rastrigin


def point(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def wells(width: float) -> GaussianMixture:
    """A deep narrow well at 2 and a broad, shallower one at -2."""
    centres = torch.tensor([[2.0], [-2.0]], dtype=torch.float64)
    return GaussianMixture(point(-1.5, -1.0), centres, point(width, 1.5))


def test_it_finds_the_least_value_where_descent_does_not():
    f = rastrigin(3)
    g = torch.Generator().manual_seed(0)
    for _ in range(5):
        x0 = 8 * torch.rand(3, generator=g, dtype=torch.float64) - 4
        assert minimize(f, x0, BFGS()).value > 0.5
        found = continuation(f, x0, geometric(1.0, 0.1, 6), BFGS(), blurred=f.blurred)
        assert found.value < 1e-10 and found.x.abs().max() < 1e-6


def test_by_samples_too_with_a_method_that_wants_second_derivatives():
    f, x0 = rastrigin(2), point(2.2, -3.1)
    for method in (BFGS(), Newton()):
        generator = torch.Generator().manual_seed(0)
        found = continuation(
            f, x0, geometric(1.0, 0.2, 5), method, n_samples=200, generator=generator
        )
        assert found.value < 1e-10


def test_a_narrow_well_is_lost_and_a_wide_one_found():
    for width, side in ((0.2, -1), (1.2, 1)):
        f = wells(width)
        found = continuation(f, point(0.0), geometric(4.0, 0.1, 20), BFGS(), blurred=f.blurred)
        assert math.copysign(1, float(found.x)) == side, width


def test_stages_follow_one_another():
    f, x0 = rastrigin(2), point(3.0, 1.0)
    found = continuation(f, x0, [1.0, 0.5, 0.0], BFGS(), blurred=f.blurred)
    assert [stage.sigma for stage in found.stages] == [1.0, 0.5, 0.0]
    assert torch.equal(found.stages[0].path.states[0].x, x0)
    for before, after in zip(found.stages, found.stages[1:], strict=False):
        assert torch.equal(after.path.states[0].x, before.path.x)
    assert torch.equal(found.x, found.stages[-1].path.x)
    assert found.value == f(found.x)
    assert len(found.points) == sum(len(stage.path.states) for stage in found.stages)
    assert torch.equal(x0, point(3.0, 1.0))


def test_evaluations_are_those_of_the_objective():
    calls = []

    def f(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        float(x.detach().sum())  # vmap refuses, so that each sample is a call
        return (x - 1).square().sum()

    found = continuation(f, point(3.0), [1.0, 0.0], GradientDescent(learning_rate=0.1),
                         n_samples=7, max_steps=5)  # fmt: skip
    tried = 1  # a call that vmap refuses
    per_call = (len(calls) - found.stages[1].evaluations) / found.stages[0].path.evaluations
    assert found.stages[0].evaluations == 7 * found.stages[0].path.evaluations
    assert per_call == 7 + tried
    assert found.evaluations == sum(stage.evaluations for stage in found.stages)
    exact = continuation(Polynomial((0, 0, 1)), point(3.0), [1.0], BFGS(),
                         blurred=Polynomial((0, 0, 1)).blurred)  # fmt: skip
    assert exact.evaluations == exact.stages[0].path.evaluations


def test_the_last_stage_is_the_objective_itself_whatever_the_family():
    f = rastrigin(1)

    def family(sigma: float):
        assert sigma > 0
        return f.blurred(sigma)

    assert continuation(f, point(2.3), [0.5, 0.0], BFGS(), blurred=family).value < 1e-10


def test_the_same_generator_gives_the_same_path_and_stages_draw_their_own():
    f = Polynomial((0, 0, -1, 0, 0.1))

    def run():
        generator = torch.Generator().manual_seed(1)
        return continuation(
            f, point(0.4), [1.0, 1.0, 0.0], BFGS(), n_samples=10, generator=generator
        )

    first, second = run(), run()
    assert torch.equal(first.points, second.points)
    assert not torch.equal(first.stages[0].path.x, first.stages[1].path.x)


def test_the_callback_hears_of_each_state_and_can_end_a_stage():
    heard = []
    f = rastrigin(1)
    found = continuation(
        f, point(2.3), [0.5, 0.0], GradientDescent(learning_rate=1e-3), blurred=f.blurred,
        max_steps=9, callback=lambda sigma, state: heard.append(sigma) or len(heard) == 2,
    )  # fmt: skip
    assert heard.count(0.5) == 2 and found.stages[0].path.reason == "callback"
    assert heard.count(0.0) == len(found.stages[1].path.states)


def test_a_stage_that_begins_at_its_minimum_ends_there():
    """Its own first gradient is no measure of what is small."""
    f = wells(0.2)
    found = continuation(f, point(0.0), geometric(4.0, 0.1, 20), BFGS(), blurred=f.blurred)
    assert all(stage.path.converged for stage in found.stages)
    assert max(stage.path.evaluations for stage in found.stages) < 20
    scaled = continuation(
        lambda x: 2.0**-30 * f(x), point(0.0), geometric(4.0, 0.1, 20), BFGS(),
        blurred=lambda sigma: lambda x: 2.0**-30 * f.blurred(sigma)(x),
    )  # fmt: skip
    assert scaled.evaluations == found.evaluations


def test_settings_reach_each_stage():
    f = rastrigin(1)
    found = continuation(f, point(2.3), [1.0, 0.0], BFGS(), blurred=f.blurred, max_steps=1,
                         record=False)  # fmt: skip
    assert all(len(stage.path.counts) <= 2 for stage in found.stages)
    loose = continuation(f, point(2.3), [0.0], BFGS(), grad_tol=1e9)
    assert loose.stages[0].path.converged and torch.equal(loose.x, point(2.3))


def test_standard_deviations_that_fall_by_a_factor():
    sigmas = geometric(8.0, 0.5, 5)
    assert sigmas == pytest.approx([8, 4, 2, 1, 0.5, 0])
    assert geometric(3.0, 3.0, 1) == [3.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0, 2), "first must be > 0 and finite, got 0"),
        ((1.0, -1.0, 2), "last must be > 0 and finite, got -1"),
        ((1.0, 2.0, 2), "last must be <= first, got 2.0 > 1.0"),
        ((1.0, 0.5, 0), "stages must be >= 1, got 0"),
    ],
)
def test_bad_ladders_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        geometric(*arguments)


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        ([], "got none"),
        ([0.5, 1.0], "sigmas must not rise, got 1.0"),
        ([1.0, -1.0], "sigma must be >= 0 and finite, got -1"),
        ([1.0, math.nan], "got nan"),
    ],
)
def test_bad_stages_are_named_before_anything_runs(sigmas, message):
    def never(x):
        raise AssertionError

    with pytest.raises(ValueError, match=message):
        continuation(never, point(1.0), sigmas, BFGS())


def test_bad_samples_are_named_before_anything_runs():
    with pytest.raises(ValueError, match="even for antithetic pairs, got 5"):
        continuation(rastrigin(1), point(1.0), [0.0], BFGS(), n_samples=5, estimator="antithetic")
