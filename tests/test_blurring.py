"""A sampled blur is the exact one up to its standard error, in value and in all derivatives."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import hessian

from dlopt import Newton, minimize
from dlopt.blurring import baselines, blur, draw, estimate
from dlopt.exact_blurs import GaussianMixture, Polynomial, Sinusoids, Total

ESTIMATORS = ("reparametrised", "score", "antithetic")
CASES, N = 1000, 1000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def random_case(g: torch.Generator):
    """Return an objective that knows its blur, a point and σ."""
    n = int(torch.randint(1, 4, (1,), generator=g))
    kinds = (
        Polynomial(tuple(normal(5, generator=g).tolist())),
        Sinusoids(*(normal(*s, generator=g) for s in ((3,), (3, n), (3,)))),
        GaussianMixture(
            normal(3, generator=g), normal(3, n, generator=g), 0.5 + normal(3, generator=g).abs()
        ),
    )
    which = int(torch.randint(0, 4, (1,), generator=g))
    f = Total(kinds) if which == 3 else kinds[which]
    sigma = float(0.1 + torch.rand(1, generator=g))
    return f, normal(n, generator=g), sigma


def gradient(f, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(f(x), x)
    return g


def deviations(estimator: str, cases: int, wrong: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return by how many standard errors value and gradient differ from the exact ones."""
    g, values, slopes = seeded(), [], []
    for _ in range(cases):
        f, x, sigma = random_case(g)
        noise = draw(N, x, estimator, g)
        exact = f.blurred(wrong * sigma)
        at = torch.vmap(f)(x + sigma * noise)
        direction = torch.nn.functional.normalize(normal(len(x), generator=g), dim=0)
        if estimator == "reparametrised":
            each = torch.vmap(torch.func.grad(f))(x + sigma * noise) @ direction
        else:
            others = baselines(at, pairs=estimator == "antithetic")
            each = (at - others) * (noise @ direction) / sigma
        if estimator == "antithetic":  # a pair is one independent sample
            at, each = (0.5 * (t[: N // 2] + t[N // 2 :]) for t in (at, each))
        estimated = gradient(lambda x: estimate(f, x, sigma, noise, estimator), x) @ direction
        torch.testing.assert_close(estimated, each.mean())
        value = estimate(f, x, sigma, noise, estimator)
        values.append((value - exact(x)) / (at.std() / math.sqrt(len(at)) + 1e-12))
        slopes.append(
            (estimated - gradient(exact, x) @ direction)
            / (each.std() / math.sqrt(len(each)) + 1e-12)
        )
    return torch.stack(values), torch.stack(slopes)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_second_derivatives_are_without_bias(estimator):
    f, x, sigma = Polynomial((0, 0.5, -1, 0.3, 0.2)), torch.tensor([0.3, -0.7]).double(), 0.8
    exact = hessian(f.blurred(sigma), x)
    found = torch.stack(
        [
            hessian(lambda x: estimate(f, x, sigma, e, estimator), x)
            for e in draw(40, x.expand(400, -1), estimator, seeded())
        ]
    )
    error = (found.mean(0) - exact) / (found.std(0) / 20 + 1e-9)
    assert error.abs().max() < 4


def test_a_single_antithetic_pair_has_no_baseline():
    assert baselines(torch.tensor([1.0, 3.0]), pairs=True).tolist() == [0, 0]
    x, ends = torch.tensor([0.5], dtype=torch.float64), []
    f = Polynomial((7, 0, 1))
    for seed in range(400):
        pair = blur(f, 1.0, 2, estimator="antithetic", generator=seeded(seed))
        ends.append(hessian(pair, x).squeeze())
    ends = torch.stack(ends)
    assert abs(ends.mean() - 2) < 4 * ends.std() / 20


def test_baselines_are_means_of_the_others():
    values = torch.tensor([1.0, 2.0, 4.0, 9.0])
    assert baselines(values, pairs=False).tolist() == [
        5,
        pytest.approx(14 / 3),
        4,
        pytest.approx(7 / 3),
    ]
    assert baselines(values, pairs=True).tolist() == [5.5, 2.5, 5.5, 2.5]


def test_baseline_and_pairs_remove_what_is_constant():
    x = torch.zeros(3, dtype=torch.float64)
    for estimator in ("score", "antithetic"):
        g = gradient(
            blur(lambda x: 1e6 + x.sum(), 0.1, 2000, estimator=estimator, generator=seeded()), x
        )
        assert (g - 1).abs().max() < 0.3


def test_values_alone_see_a_step_that_gradients_do_not():
    def step(x: Tensor) -> Tensor:
        return (x > 0).to(x.dtype).sum() + 0 * x.sum()

    x = torch.zeros(1, dtype=torch.float64)
    slopes = {
        e: float(gradient(blur(step, 1.0, 4000, estimator=e, generator=seeded()), x))
        for e in ESTIMATORS
    }
    density = 1 / math.sqrt(2 * math.pi)
    assert slopes["reparametrised"] == 0
    assert math.isclose(slopes["score"], density, rel_tol=0.1)
    assert math.isclose(slopes["antithetic"], density, rel_tol=0.1)


def test_the_samples_are_common_unless_fresh():
    x = torch.ones(2, dtype=torch.float64)
    f = Polynomial((0, 0, 0, 1))
    common, fresh = (blur(f, 1.0, 8, generator=seeded(), fresh=fresh) for fresh in (False, True))
    assert common(x) == common(x) and fresh(x) != fresh(x)
    assert minimize(blur(Polynomial((0, 0, 1)), 1.0, 8, generator=seeded()), x, Newton()).converged


def test_pairs_are_mirrored():
    noise = draw(6, torch.zeros(2), "antithetic", seeded())
    assert torch.equal(noise[:3], -noise[3:])


def test_without_blur_it_is_the_objective():
    x = torch.tensor([1.0, 2.0])
    plain = blur(Polynomial((0, 0, 1)), 0.0, 100)
    assert plain(x) == 5 and plain.samples == 1


def test_an_objective_that_vmap_refuses_is_called_one_by_one():
    def branching(x: Tensor) -> Tensor:
        return x.square().sum() if float(x.sum()) > 0 else x.abs().sum()

    x = torch.tensor([0.1, 0.2], dtype=torch.float64)
    expected = torch.stack([branching(x + e) for e in draw(50, x, "reparametrised", seeded())])
    assert blur(branching, 1.0, 50, generator=seeded())(x) == expected.mean()


def test_an_error_of_the_objective_stays_as_it_is():
    calls = []

    def broken(x: Tensor) -> Tensor:
        calls.append(1)
        raise RuntimeError("no such file")

    with pytest.raises(RuntimeError, match="no such file"):
        blur(broken, 1.0)(torch.zeros(1))
    assert len(calls) == 1  # not tried again, one by one


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": -1.0}, "sigma must be >= 0 and finite, got -1"),
        ({"sigma": math.nan}, "got nan"),
        ({"sigma": math.inf}, "got inf"),
        ({"n_samples": 0}, "n_samples must be a whole number >= 1, got 0"),
        ({"n_samples": 2.5}, "got 2.5"),
        ({"n_samples": True}, "got True"),
        ({"n_samples": 1, "estimator": "score"}, ">= 2, got 1"),
        ({"n_samples": 3, "estimator": "antithetic"}, "even for antithetic pairs, got 3"),
        ({"estimator": "magic"}, "got 'magic'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        blur(lambda x: x.sum(), **({"sigma": 1.0} | arguments))


def test_bad_points_and_values_are_named():
    with pytest.raises(ValueError, match=r"f must return a 0-d tensor, got \(2,\)"):
        blur(lambda x: x, 1.0)(torch.zeros(2))
    smooth = blur(lambda x: x.sum(), 1.0)
    with pytest.raises(ValueError, match=r"x must be 1-D, got shape \(1, 2\)"):
        smooth(torch.zeros(1, 2))
    smooth(torch.zeros(2))
    with pytest.raises(ValueError, match="x must have 2 entries, got 3"):
        smooth(torch.zeros(3))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_value_and_gradient_are_within_three_standard_errors(estimator):
    for deviation in deviations(estimator, CASES):
        assert (deviation.abs() <= 3).double().mean() >= 0.99
        assert deviation.mean().abs() <= 4 / math.sqrt(CASES)  # and on no side


def test_sigma_is_the_standard_deviation():
    """With a variance in its place, or with a factor √2, it is far off."""
    for wrong in (math.sqrt(2), math.sqrt(0.5)):
        values, slopes = deviations("reparametrised", 100, wrong)
        assert (values.abs() <= 3).double().mean() < 0.8
        assert (slopes.abs() <= 3).double().mean() < 0.9
    x, square = torch.zeros(1, dtype=torch.float64), Polynomial((0, 0, 1))
    assert float(square.blurred(3.0)(x)) == 9.0
    sampled = blur(square, 3.0, 100_000, generator=seeded())
    assert math.isclose(float(sampled(x)), 9.0, rel_tol=0.02)
