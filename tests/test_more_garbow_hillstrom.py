"""The test problems are tested: derivatives, published start values, minima."""

import math

import pytest
import torch
from scipy import optimize
from torch import Tensor

from benchmarks.more_garbow_hillstrom import INSTANCES, Problem, perturbed, solved, tolerance

BY_NAME = {instance.name: instance for instance in INSTANCES}
every_instance = pytest.mark.parametrize("instance", INSTANCES, ids=list(BY_NAME))

# Norm of the residuals at the start, as printed in the logs of MINPACK's own test drivers.
START_NORMS = {
    "rosenbrock": 4.919350,
    "freudenstein_roth": 20.01250,
    "powell_badly_scaled": 1.065487,
    "jennrich_sampson": 64.58565,
    "helical_valley": 50.00000,
    "bard": 6.456136,
    "meyer": 41153.47,
    "box": 32.11158,
    "powell_singular": 14.66288,
    "kowalik_osborne": 0.07289151,
    "brown_dennis": 2815.438,
    "osborne_1": 0.9375640,
    "osborne_2": 1.446865,
    "watson_6": 5.477226,
    "watson_9": 5.477226,
    "watson_12": 5.477226,
    "trigonometric": 0.08411753,
    "brown_almost_linear": 16.53022,
    "discrete_boundary_value": 0.02808058,
    "discrete_integral_equation": 0.2518270,
    "broyden_tridiagonal": 4.582576,
    "broyden_banded": 18.97367,
    "chebyquad_8": 0.1965139,
    "chebyquad_10": 0.1837478,
}
# The others: exact arithmetic, or the values another library pins in its tests.
START_VALUES = {
    "brown_badly_scaled": 999998000002.999996,
    "beale": 14.203125,
    "gaussian": 3.88810699116688e-6,
    "gulf": 12.11070582556949,
    "wood": 19192.0,
    "biggs_exp6": 0.77907007565597,
    "extended_rosenbrock": 242.0,
    "extended_powell_singular": 1075.0,
    "penalty_1_4": 885.06264,
    "penalty_1_10": 148032.56535,
    "penalty_2_4": 2.34000880546302,
    "penalty_2_10": 162.65277656596712,
    "variably_dimensioned": 2198551.1625,
    "linear_full_rank": 50.0,
    "linear_rank_1": 8658670.0,
    "linear_rank_1_zeros": 4067996.0,
}
# The minima other than zero, with the digits of the paper; "..." there means that it cuts them off.
PAPER_MINIMA = {
    "freudenstein_roth": ["48.9842"],
    "jennrich_sampson": ["124.362"],
    "bard": ["8.21487e-3", "17.4286"],
    "gaussian": ["1.12793e-8"],
    "meyer": ["87.9458"],
    "kowalik_osborne": ["3.07505e-4", "1.02734e-3"],
    "brown_dennis": ["85822.2"],
    "osborne_1": ["5.46489e-5"],
    "biggs_exp6": ["5.65565e-3"],
    "osborne_2": ["4.01377e-2"],
    "watson_6": ["2.28767e-3"],
    "watson_9": ["1.39976e-6"],
    "watson_12": ["4.72238e-10"],
    "penalty_1_4": ["2.24997e-5"],
    "penalty_1_10": ["7.08765e-5"],
    "penalty_2_4": ["9.37629e-6"],
    "penalty_2_10": ["2.93660e-4"],
    "trigonometric": ["2.79506e-5"],
    "brown_almost_linear": ["1.00000"],
    "linear_full_rank": ["10.0000"],  # m - n
    "linear_rank_1": ["4.63414"],  # m (m - 1) / (2 (2m + 1))
    "linear_rank_1_zeros": ["6.13513"],  # (m^2 + 3m - 6) / (2 (2m - 3))
    "chebyquad_8": ["3.51687e-3"],
    "chebyquad_10": ["4.77271e-3", "6.50395e-3"],  # the first is not in the paper
}


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# Points near the minima that least squares does not find from the standard start.
NEAR = {
    ("freudenstein_roth", 0): vector(5.1, 4.1),
    ("freudenstein_roth", 1): vector(11.4, -0.9),
    ("biggs_exp6", 0): vector(1.1, 9, 1.2, 4.5, 3.8, 3.2),  # from x0 the last bits decide
    ("biggs_exp6", 1): vector(1.711, 17.68, 1.163, 5.187, 1.711, 1.163),
    ("trigonometric", 0): torch.full((10,), 0.01, dtype=torch.float64),
    ("trigonometric", 1): vector(0.06, 0.06, 0.06, 0.06, 0.06, 0.07, 0.21, 0.16, 0.09, 0.09),
    ("chebyquad_10", 0): vector(0.03, 0.16, 0.2, 0.38, 0.39, 0.53, 0.64, 0.71, 0.83, 0.93),
    ("chebyquad_10", 1): vector(0.06, 0.17, 0.24, 0.399, 0.399, 0.601, 0.601, 0.76, 0.83, 0.94),
    ("brown_almost_linear", 1): vector(*9 * [0.0], 11),
}
# Points on the way to the minima that are limits at infinity.
TOWARDS_INFINITY = {
    ("bard", 1): vector(12.61 / 15, -1e12, -1e12),
    ("kowalik_osborne", 1): vector(1e9, -14.07588324, -4.525719106e10, -2.82314966e10),
}
MINIMA = [
    (instance, which, value)
    for instance in INSTANCES
    for which, value in enumerate((instance.minimum, *instance.other_minima))
]


def gradient(instance: Problem, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(instance(x), x)[0]


def jacobian(instance: Problem, x: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(instance.function, x, vectorize=True)


def differences(function, x: Tensor, scale: Tensor) -> Tensor:
    """Fourth-order central differences, column by column, steps in proportion to the scale."""
    columns = []
    for j, h in enumerate((1e-3 * scale).tolist()):
        step = torch.zeros_like(x)
        step[j] = h
        near = function(x + step) - function(x - step)
        far = function(x + 2 * step) - function(x - 2 * step)
        columns.append((8 * near - far) / (12 * h))
    return torch.stack(columns, 1)


def assert_close_in_each_column(actual: Tensor, expected: Tensor, scale: Tensor) -> None:
    assert actual.isfinite().all()
    error, size = ((a * scale).norm(dim=0) for a in (actual - expected, expected))
    assert (error <= 1e-6 * size + 1e-8 * size.max()).all(), error / size


def test_there_are_forty_instances_of_the_agreed_sizes():
    assert len(BY_NAME) == len(INSTANCES) == 40
    assert {p.x0.numel() for p in INSTANCES if p.name.startswith("watson")} == {6, 9, 12}
    assert all(p.x0.dtype == torch.float64 and p.function(p.x0).ndim == 1 for p in INSTANCES)
    sizes = {"gulf": 99, "box": 10, "biggs_exp6": 13, "jennrich_sampson": 10, "brown_dennis": 20}
    assert {name: BY_NAME[name].function(BY_NAME[name].x0).numel() for name in sizes} == sizes


def test_start_values_are_the_published_ones():
    assert START_NORMS.keys() | START_VALUES.keys() == BY_NAME.keys()
    for name, norm in START_NORMS.items():
        assert math.sqrt(BY_NAME[name].start_value) == pytest.approx(norm, rel=5e-7), name
    for name, value in START_VALUES.items():
        assert BY_NAME[name].start_value == pytest.approx(value, rel=1e-13), name


@every_instance
def test_first_and_second_derivatives(instance: Problem):
    generator = torch.Generator().manual_seed(0)
    points = [instance.x0, perturbed(instance, generator).x0]
    if instance.minimizer is not None:
        points.append(instance.minimizer)
    if (instance.name, 1) in NEAR:
        points.append(NEAR[instance.name, 1])
    for x in points:
        scale = x.abs().clamp(min=0.01)
        numeric = differences(instance.function, x, scale)
        assert_close_in_each_column(jacobian(instance, x), numeric, torch.ones(()))
        hessian = torch.autograd.functional.hessian(instance, x)
        numeric = differences(lambda z: gradient(instance, z), x, scale)
        assert_close_in_each_column(hessian, numeric, scale[:, None])


def test_helical_valley_has_derivatives_where_the_angle_is_a_quarter():
    instance = BY_NAME["helical_valley"]
    x = vector(0, 2, 1)
    assert_close_in_each_column(
        jacobian(instance, x), differences(instance.function, x, vector(1, 1, 1)), torch.ones(())
    )
    quarter, three_quarters = instance.function(vector(0, 1, 0)), vector(-1e-9, -1, 0)
    assert quarter[0] == -25
    assert instance.function(three_quarters)[0] == pytest.approx(-75)


def test_values_are_not_guarded_outside_the_domain():
    assert not BY_NAME["meyer"](vector(0.02, 4000, -50)).isfinite()
    assert not BY_NAME["jennrich_sampson"](vector(100, 100)).isfinite()


def test_minima_agree_with_the_paper():
    for name, printed in PAPER_MINIMA.items():
        values = [v for p, _, v in MINIMA if p.name == name and v != 0]
        assert len(values) == len(printed)
        for value, digits in zip(values, printed, strict=True):
            last_place = 10.0 ** (math.floor(math.log10(float(digits))) - 5)
            assert abs(value - float(digits)) <= 1.000001 * last_place, name
    assert {p.name for p, _, value in MINIMA if value} == PAPER_MINIMA.keys()


def least_squares(instance: Problem, x: Tensor) -> Tensor:
    fit = optimize.least_squares(
        lambda x: instance.function(torch.tensor(x)).numpy().copy(),  # not torch's memory
        x.numpy(),
        lambda x: jacobian(instance, torch.tensor(x)).numpy().copy(),
        method="lm",
        x_scale="jac",
        **dict.fromkeys(("xtol", "ftol", "gtol"), 1e-15),
    )
    return torch.tensor(fit.x)


def stationary_point(instance: Problem, x: Tensor) -> Tensor:
    """Newton's method for a zero of the gradient; the Hessian may be singular or indefinite."""
    for _ in range(8):
        hessian = torch.autograd.functional.hessian(instance, x)
        x = x - torch.linalg.lstsq(hessian, gradient(instance, x), driver="gelsd").solution
    assert float(gradient(instance, x).norm()) <= 1e-9 * float(hessian.norm())
    return x


@pytest.mark.parametrize(
    ("instance", "which", "value"), MINIMA, ids=[f"{p.name}-{which}" for p, which, _ in MINIMA]
)
def test_minimum_is_found_numerically(instance: Problem, which: int, value: float):
    near = NEAR.get((instance.name, which), instance.x0)
    if (instance.name, which) in TOWARDS_INFINITY:
        x = TOWARDS_INFINITY[instance.name, which]
    elif which == 0:
        x = least_squares(instance, near)
    else:
        x = stationary_point(instance, near)
    window = tolerance(value, instance.start_value)
    assert abs(float(instance(x)) - value) <= 1e-3 * window
    assert solved(instance, float(instance(x)))


@pytest.mark.parametrize("name", [p.name for p in INSTANCES if p.minimizer is not None])
def test_known_minimizers_attain_the_minimum(name: str):
    instance = BY_NAME[name]
    x = instance.minimizer
    assert float(instance(x)) == pytest.approx(instance.minimum, rel=1e-14, abs=1e-28)
    assert float(gradient(instance, x).norm()) <= 1e-12
