"""The further problems are tested as those of Moré, Garbow and Hillstrom are: starts, derivatives,
minima."""

import math

import pytest
import torch
from scipy import optimize
from torch import Tensor

from benchmarks.further import PROBLEMS
from benchmarks.more_garbow_hillstrom import INSTANCES
from benchmarks.nist_strd import PROBLEMS as NIST
from benchmarks.problem import Problem, vector
from benchmarks.solvers import LastPoint

BY_NAME = {problem.name: problem for problem in PROBLEMS}

# CUTEst's values at the start: its SIF files, translated and evaluated by S2MPJ.
CUTEST_STARTS = {
    "cliff": 485165194.41069025,
    "cube": 749.0384,
    "himmelblau_exponential": 0.4598493014643029,
    "himmelblau_fit": 29053.002356628876,
    "sine_valley": 5.55165252183025,
    "snail": 17.15234673198885,
    "zangwill": -16.6,
    "bracken_mccormick": 5.99,
    "dennis_schnabel_a": 7.952492442012559,
    "dennis_schnabel_b": 6.0,
    "dennis_schnabel_c": 889.3031475218829,
    "dennis_schnabel_d": 83210000.0,
    "dennis_schnabel_e": 148.99932918727936,
    "dennis_schnabel_f": 416.0,
    "engvall": 629.0,
    "exponential_fit": 24.0625,
    "log_rosenbrock": 7.5713912561676935,
    "maratos": 48401.1,
    "mexican_hat": 1475481.7048,
    "schittkowski_308": 87.68604814559544,
    "all_initial": 13.0,
    "hatfield_d": 25.243032319830704,
    "heart": 181.619936,
    "camera": 2340.4195868458514,
    "scaled_rosenbrock": 1501.28,
    "erroneous_rosenbrock": 21892.4976,
    "generalized_rosenbrock": 113.52909024531954,
    "inseparable_rosenbrock": 3604.0,
    "oscillating_path": 1.0,
    "nondiagonal": 7604.0,
    "liarwhd": 21060.0,
    "chained_freudenstein_roth": 8656.5,
    "quartic": 53651865.0,
    "power": 44100.0,
    "sparse_square": 358.59375,
    "nondiagonal_quartic": 26.0,
    "sine_quadratic": 0.6561,
    "chained_cragg_levy_10": 3303.566516699874,
    "arwhead": 297.0,
    "engval": 2891.0,
    "bdqrtic": 21696.0,
    "edensch": 128851.0,
    "curly_30": -0.0017734312127819425,
    "hilbert": 60.18942628578852,
    "hilbert_shifted": 510.1894262857885,
    "tridiagonal": 209.0,
    "cosine": 7.898243057013355,
    "fletcher_boundary_value": -0.6072698679464721,
    "toint_gaussians": 82.0,
    "eigen": 7.0,
    "square_root_of_a_matrix": 3.1974989045983513,
}
# The others by hand.
STARTS = {
    "sisser": 3 - 0.02 + 0.0003,
    "trust_region_scaling": 2e20,
    "six_hump_camel": (4 - 2.1 * 1.21 + 1.21**2 / 3) * 1.21 + 1.21 + 4 * 0.21 * 1.21,
    "three_exponentials": 5 * (math.exp(0.3) + math.exp(-0.3) + math.exp(-0.2)),
    "hyperbola": 1e6 + 1e-6,
    "rosenbrock_far": 100 * 110**2 + 81,
    "chained_rosenbrock": 10 * 24.2 + 9 * 484,
    "fletcher_chain": 1900.0,
    "chained_powell_singular": 5 * 215 + 4 * 815.0,
    "chained_cragg_levy_4": (math.e - 2) ** 4 + 1 + 1,
    "tridiagonal_quartic": 20.0,
    "overlapping_tridiagonal_quartic": 38.0,
    "broyden_power": 3 ** (7 / 3) * 0 + 2 * 3 ** (7 / 3) + 18 * 2 ** (7 / 3),
    "dixon_maany_a": 286.0,  # 1 + 4 n + n/8 · 4 · 16 · 2/3 + n/8 · 4 · 1/3
    "dqdrtic": 8 * 201 * 9.0,
    "perturbed_quadratic": 210 / 4 + 1,
    "biggs_b1": 2.0,
    "raydan_1": 21 * (math.e - 1),
    "raydan_2": 20 * (math.e - 1),
    "diagonal_1": 20 * math.exp(0.05) - 10.5,
    "quadratic_exponential": 16.0,
    "extended_himmelblau": 5 * 106.0,
}
# Points close to listed local minima, in the order of the list.
_one = torch.ones(36, dtype=torch.float64)


def _flipped(n: int, *places: int) -> Tensor:
    """Ones, and minus one at some places."""
    x = _one[:n].clone()
    x[list(places)] = -1
    return x


NEAR_LOCAL = {
    "six_hump_camel": (vector(1.7, -0.8), vector(1.6, 0.57)),
    "chained_rosenbrock": (_flipped(20, 0),),
    "chained_wood": (_flipped(20, 0), _flipped(20, 8), _flipped(20, 4, 6)),
    "erroneous_rosenbrock": (_flipped(10, 2),),
    "nondiagonal": (0 * _one[:20],),
    "liarwhd": (_flipped(36, 2), _flipped(36, 3, 4)),
    "chained_cragg_levy_4": (
        vector(0.729, 2.546, 2.78, 0.789),
        vector(-0.683, -0.145, -0.429, 1.55),
    ),
    "chained_cragg_levy_10": (
        vector(-0.526, 0.255, 0.064, 0.341, 0.045, 0.259, -0.082, 1.868, 1.605, 1.38),
        vector(-0.799, -0.524, -0.885, 1.059, 0.657, 0.939, 0.606, 0.947, 0.989, 1.0),
    ),
}


def gradient(problem: Problem, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(problem(x), x)[0]


def test_there_are_enough_and_none_twice() -> None:
    assert len(PROBLEMS) >= 80
    names = [p.name for p in (*INSTANCES, *NIST, *PROBLEMS)]
    assert len(set(names)) == len(names)
    for p in PROBLEMS:
        assert p.x0.dtype == torch.float64
        assert 1 <= p.x0.numel() <= 100
        assert p.source or p.note
        assert p.start_value > p.minimum
        assert list(p.other_minima) == sorted(m for m in p.other_minima if m > p.minimum)


def test_start_values_are_the_published_ones() -> None:
    assert not CUTEST_STARTS.keys() & STARTS.keys()
    for name, value in (CUTEST_STARTS | STARTS).items():
        assert BY_NAME[name].start_value == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize("problem", (*NIST, *PROBLEMS), ids=lambda p: p.name)
def test_gradient_at_the_start_and_beside_it(problem: Problem) -> None:
    generator = torch.Generator().manual_seed(1)
    scale = 2e-4 * (problem.x0.abs() + 0.1 * (problem.x0 == 0))
    for k in range(2):
        wobble = torch.randn(problem.x0.shape, generator=generator, dtype=torch.float64)
        x = problem.x0 + k * 100 * scale * wobble
        g = gradient(problem, x)
        for i in range(0, len(x), max(1, len(x) // 8)):
            h = float(scale[i])
            e = torch.zeros_like(x)
            e[i] = h
            near = float(problem(x + e) - problem(x - e))
            far = float(problem(x + 2 * e) - problem(x - 2 * e))
            noise = 1e-14 * abs(float(problem(x))) / h + 1e-9
            quotient = (8 * near - far) / 12 / h
            assert float(g[i]) == pytest.approx(quotient, rel=1e-5, abs=noise)


# --- Minima ---------------------------------------------------------------------------------------


def polished(problem: Problem, x: Tensor) -> Tensor:
    """A stationary point near x by Newton's method."""
    best = x
    for _ in range(30):
        at = LastPoint(problem)
        _, g = at.value_and_gradient(x.numpy())
        values, axes = torch.linalg.eigh(torch.as_tensor(at.hessian(x.numpy())))
        kept = values.abs() > 1e-13 * values.abs().max()
        axes = axes[:, kept]
        x = x - axes @ ((axes.T @ torch.as_tensor(g)) / values[kept])
        if not float(problem(x)) < float(problem(best)):
            break
        best = x
    return best


def solved_from(problem: Problem, x: Tensor, radius: float = 1.0) -> Tensor:
    at = LastPoint(problem)
    found = optimize.minimize(
        at.value_and_gradient,
        x.numpy(),
        jac=True,
        hess=at.hessian,
        method="trust-exact",
        options={"gtol": 1e-8, "maxiter": 400, "initial_trust_radius": radius},
    )
    return polished(problem, torch.tensor(found.x))


@pytest.mark.parametrize("problem", [p for p in PROBLEMS if p.minimizer is not None],
                         ids=lambda p: p.name)  # fmt: skip
def test_known_minimizer_attains_the_minimum(problem: Problem) -> None:
    x = problem.minimizer
    assert float(problem(x)) == pytest.approx(problem.minimum, rel=1e-10, abs=1e-20)
    # A step as long as x would gain next to nothing: the gradient is zero to rounding.
    size = float((gradient(problem, x) * x.abs()).abs().max())
    assert size <= 1e-6 * max(1e-6, abs(problem.minimum))


@pytest.mark.filterwarnings("ignore")  # SciPy's remarks about rounding
@pytest.mark.parametrize("problem", [p for p in PROBLEMS if p.minimizer is None],
                         ids=lambda p: p.name)  # fmt: skip
def test_minimum_is_found_by_another_method(problem: Problem) -> None:
    if problem.name == "snail":  # no derivatives at its minimum
        assert float(problem(1e-8 * problem.x0)) < 1e-13
        return
    if problem.name == "cosine":  # many minimisers, and saddles in between
        x = vector(*10 * [0.0])
        for k in range(8, -1, -1):
            x[k] = math.sqrt(math.pi + 0.5 * float(x[k + 1]))
        assert float(problem(x)) == pytest.approx(-9)
        return
    # From the far side of the circle, whose width would allow a thousand steps only.
    x = solved_from(problem, vector(-1, 0.01) if problem.name == "maratos" else problem.x0)
    # Where rounding decides: the residuals are 1e-7, the data 35.
    digits = 1e-6 if problem.name == "camera" else 1e-10
    assert float(problem(x)) == pytest.approx(problem.minimum, rel=digits, abs=1e-15)
    assert float(gradient(problem, x).norm()) <= 1e-6 * max(1.0, abs(problem.minimum))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NEAR_LOCAL)
def test_local_minimum_is_one(name: str) -> None:
    problem = BY_NAME[name]
    for near in NEAR_LOCAL[name]:
        x = solved_from(problem, near, 0.05)
        value = float(problem(x))
        assert any(value == pytest.approx(m, rel=1e-10) for m in problem.other_minima), value
        hessian = torch.as_tensor(LastPoint(problem).hessian(x.numpy()))
        values = torch.linalg.eigvalsh(hessian)
        assert float(values[0]) >= -1e-12 * float(values[-1])


def test_curly_has_a_minimum_for_each_choice_of_wells() -> None:
    problem = BY_NAME["curly_4"]
    assert len(problem.other_minima) == 4
    for wells, minimum in ((0, problem.minimum), (3, problem.other_minima[2])):
        q = vector(*[-3.1610281] * wells, *[3.1635281] * (4 - wells))  # sums of the last, two, …
        x = q - torch.cat((q[1:], vector(0)))
        x = polished(problem, x)
        assert float(problem(x)) == pytest.approx(minimum, rel=1e-13)
