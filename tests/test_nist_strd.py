"""NIST's regressions: data that give the certified sums of squares; who finds the parameters."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import dlopt
from benchmarks import nist
from benchmarks.known_answers import least_squares
from benchmarks.nist_strd import DATA, MODELS, OTHER_MINIMA, PROBLEMS, observations
from benchmarks.problem import Problem

OBSERVATIONS = {"Nelson": 128, "Gauss1": 250, "Hahn1": 236, "Rat42": 9, "Bennett5": 154}
FIRST = PROBLEMS[::2]


def test_all_27_are_there_from_both_starts() -> None:
    assert len(MODELS) == 27
    assert set(MODELS) == set(DATA)
    assert [p.name for p in PROBLEMS] == [f"{name}_{k}" for name in MODELS for k in (1, 2)]
    sizes = {p.name[:-2]: len(p.function(p.x0)) for p in FIRST}
    assert {name: sizes[name] for name in OBSERVATIONS} == OBSERVATIONS
    assert sum(sizes.values()) == sum(len(d["y"]) for d in DATA.values())
    assert all(p.least_squares and p.x0.shape == p.minimizer.shape for p in PROBLEMS)
    levels = [DATA[name]["level"] for name in MODELS]
    assert {each: levels.count(each) for each in levels} == {"lower": 8, "average": 11, "higher": 8}


@pytest.mark.parametrize("problem", FIRST, ids=lambda p: p.name[:-2])
def test_sum_of_squares_at_the_certified_parameters(problem) -> None:
    b = problem.minimizer
    if problem.name == "Lanczos1_1":  # data without noise: the eleven digits of b leave 1e-21
        assert float(problem(b)) < 1e-20
        b = vector_of(0.0951, 1, 0.8607, 3, 1.5576, 5)  # what the data were made with
        assert float(problem(b)) == pytest.approx(problem.minimum, rel=0.05)
        return
    assert float(problem(b)) == pytest.approx(problem.minimum, rel=2e-10)


def vector_of(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("problem", FIRST, ids=lambda p: p.name[:-2])
def test_the_certified_parameters_are_stationary(problem) -> None:
    """The Gauss-Newton step from there changes no parameter by more than their last digits."""
    b = problem.minimizer
    jacobian = torch.func.jacrev(problem.function)(b) * b  # per relative change
    step = torch.linalg.lstsq(jacobian, problem.function(b)[:, None], driver="gelsd").solution
    assert float(step.abs().max()) < 1e-9


def test_digits_are_those_of_the_worst_parameter() -> None:
    problem = PROBLEMS[0]
    b = problem.minimizer.clone()
    assert nist.digits(problem, b) == 11
    b[1] *= 1 + 1e-5
    assert nist.digits(problem, b) == pytest.approx(5, abs=1e-6)
    assert nist.digits(problem, 3 * b) == 0
    assert nist.digits(problem, b * float("nan")) == 0


@pytest.mark.parametrize("name", nist.FITS)
def test_everybody_fits_an_easy_one(name: str) -> None:
    problem = next(p for p in PROBLEMS if p.name == "DanWood_2")
    x, converged = nist.FITS[name](problem)
    assert nist.digits(problem, x) >= 4
    assert converged


def test_a_line_counts_and_names() -> None:
    found = [(7.0, True)] * 50 + [(5.0, True), (4.0, False), (3.9, True), (0.0, False)]
    assert nist.line("x", found).split() == ["x", "50", "52", "Thurber_1*,", "Thurber_2"]


def test_levenberg_marquardt_finds_nearly_all_parameters() -> None:
    easy = [p for p in PROBLEMS if DATA[p.name[:-2]]["level"] == "lower"]
    fit = nist.from_dlopt(dlopt.LevenbergMarquardt())
    assert min(nist.digits(p, fit(p)[0]) for p in easy) >= 4


def fitted(residuals: Callable[[Tensor], Tensor], *start: float) -> tuple[Tensor, float]:
    problem = Problem("", residuals, vector_of(*start), 0.0)
    b = least_squares(problem, problem.x0, None)
    return b, float(problem(b))


@pytest.mark.parametrize(
    "start",
    [
        (10.3313, -0.99686, 0.0250764, -3.15752e-5, 0.0223355, 0.00109755, -1.499886e-6),
        (12.7095, -1.26659, 0.0337665, -9.59601e-5, 0.0327206, 0.00127801, -4.4921434e-6),
    ],
)
def test_hahn_has_minima_of_which_nist_tells_nothing(start: tuple[float, ...]) -> None:
    problem = next(p for p in PROBLEMS if p.name == "Hahn1_1")
    b, value = fitted(problem.function, *start)
    assert any(value == pytest.approx(m, rel=1e-10) for m in OTHER_MINIMA["Hahn1"][:2])
    hessian = torch.func.hessian(lambda t: problem(t * b))(torch.ones_like(b))
    assert float(torch.linalg.eigvalsh(hessian)[0]) > 0.1  # a relative change of 1 is visible


def test_models_at_the_edge_of_their_parameters_have_minima() -> None:
    x, y = observations("Hahn1")
    powers = torch.stack([x**k for k in range(4)])
    b = (-1.09e5, 1.68e4, -8.388e2, 13.95, 4.13, 0.656)
    at_infinity = fitted(  # without the 1 in the denominator: all parameters are infinite
        lambda b: b[:4] @ powers / (x + b[4] * x**2 + b[5] * x**3) - y, *b
    )
    assert at_infinity[1] == pytest.approx(OTHER_MINIMA["Hahn1"][2], rel=1e-9)
    for name in ("Lanczos1", "Lanczos2", "Lanczos3"):
        x, y = observations(name)
        two = fitted(lambda b, x=x, y=y: MODELS[name](b, x) - y, 2.09, 4.64, 0.42, 1.87)
        assert two[1] == pytest.approx(OTHER_MINIMA[name][0], rel=1e-9)
    _, y = observations("Rat43")
    assert float((y - y.mean()).square().sum()) == pytest.approx(OTHER_MINIMA["Rat43"][0])
