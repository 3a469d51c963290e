"""Every verdict on a run, and the variants."""

import math
from types import SimpleNamespace

import pytest
import torch

import dlopt
from benchmarks import known_answers
from benchmarks.known_answers import METHODS, VARIANTS, VERDICTS, Run, near, run, runs, still_falls
from benchmarks.problem import Problem, farther, vector

BOWL = Problem("bowl", lambda x: 3 + x @ x, vector(2, 1), 3.0, (7.0,), vector(0, 0))
VALLEY = Problem("valley", lambda x: torch.stack((10 * (x[1] - x[0] ** 2), 1 - x[0])),
                 vector(-1.2, 1), 0.0, (), vector(1, 1))  # fmt: skip
WELLS = Problem("wells", lambda x: ((x**2 - 1) ** 2 + x / 10).sum(), vector(1.5), -0.1)
DOMAIN = Problem("domain", lambda x: torch.log(x).sum() ** 2, vector(-1), 0.0)


def ends(monkeypatch: pytest.MonkeyPatch, *x: float, converged: bool) -> None:
    """Make every run end at x."""
    path = SimpleNamespace(x=vector(*x), converged=converged, reason="why", evaluations=5)
    monkeypatch.setattr(known_answers.dlopt, "minimize", lambda *a, **k: path)


def test_near_is_on_both_sides_of_every_minimum() -> None:
    assert near(BOWL, 3 + 2.9e-6)
    assert near(BOWL, 3 - 2.9e-6)
    assert near(BOWL, 7.0000069)
    assert not near(BOWL, 3 + 3.1e-6)
    assert not near(BOWL, math.nan)
    assert near(VALLEY, 9e-7)


def test_a_saddle_that_is_listed_is_no_minimum() -> None:
    problem = next(p for p in known_answers.PROBLEMS if p.name == "biggs_exp6")
    (value,) = known_answers.SADDLES["biggs_exp6"]
    x = vector(1.7114159947, 17.683198183, 1.1631436609, 5.1865615523, 1.7114159947, 1.1631436609)
    assert float(problem(x)) == pytest.approx(value, rel=1e-12)
    assert problem.other_minima == (value,)
    gradient, H = torch.func.grad(problem)(x), torch.func.hessian(problem)(x)
    assert float(gradient.abs().max()) < 1e-8 and float(torch.linalg.eigvalsh(H)[0]) < -9e-3
    assert not near(problem, value) and near(problem, 0.0)


@pytest.mark.parametrize(
    ("problem", "x", "converged", "verdict"),
    [
        (BOWL, (0, 0), True, "true"),
        (BOWL, (0, 2), True, "true"),  # a listed one
        (BOWL, (0, 0), False, "false alarm"),
        (BOWL, (1, 1), False, "unsolved"),
        (BOWL, (1, 1), True, "violation"),
        (VALLEY, (0.5, 0.25), True, "violation"),
        (WELLS, (0.98709,), True, "elsewhere"),
    ],
)
def test_verdicts(monkeypatch, problem, x, converged, verdict) -> None:
    x = tuple(map(float, x))
    assert not still_falls(BOWL, vector(0, 0))
    ends(monkeypatch, *x, converged=converged)
    found = run(METHODS["dlopt BFGS"], problem)
    assert (found.verdict, found.reason, found.evaluations) == (verdict, "why", 5)
    assert found.value == float(problem(vector(*x)))
    assert verdict in VERDICTS


def test_a_run_without_a_start_or_with_an_exception_is_told() -> None:
    assert run(METHODS["dlopt BFGS"], DOMAIN).verdict == "no start"

    def broken(x):
        if x.requires_grad:
            raise RuntimeError("no graph")
        return x @ x

    found = run(METHODS["dlopt BFGS"], Problem("broken", broken, vector(1)))
    assert (found.verdict, found.reason) == ("raised", "no graph")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_easy_problems_are_true_in_every_variant(name: str, variant: str) -> None:
    problems = [VALLEY] if "Levenberg" in name else [BOWL, VALLEY]
    if variant == "farther":
        problems = [p for p in problems if p is BOWL]
    for found in runs(name, variant, problems):
        assert found.verdict == "true", found


def test_levenberg_marquardt_has_problems_with_residuals_only() -> None:
    assert [r.problem for r in runs("dlopt LevenbergMarquardt", problems=[BOWL, VALLEY])] == [
        "valley"
    ]


def test_a_factor_multiplies_the_value_and_not_the_verdict() -> None:
    for method in (METHODS["dlopt LevenbergMarquardt"], METHODS["dlopt BFGS"]):
        f = known_answers.objective(method, VALLEY, 1e6)
        y = f(VALLEY.x0)
        assert float(y @ y if y.ndim else y) == pytest.approx(1e6 * VALLEY.start_value)
    small = run(METHODS["dlopt BFGS"], BOWL, 1e-6)
    assert small.verdict == "true"
    assert small.value == pytest.approx(3.0)


def test_farther_is_a_multiple_of_the_start_or_of_ones() -> None:
    assert farther(BOWL, 10).x0.tolist() == [20, 10]
    zero = Problem("zero", BOWL.function, vector(0, 0))
    assert farther(zero, 100).x0.tolist() == [100, 100]


def test_warm_starts_where_the_first_run_ended() -> None:
    method = METHODS["dlopt Newton"]
    problem, factor = VARIANTS["warm"](method, VALLEY, torch.Generator())
    assert factor == 1
    end = dlopt.minimize(lambda x: VALLEY(x), VALLEY.x0, method).x
    assert torch.equal(problem.x0, end)


def test_the_table_counts_and_the_cases_are_named() -> None:
    found = {
        "a": [
            Run("rosenbrock", "true", "gradient", 0.0, 7),
            Run("wood", "false alarm", "max_steps", 1e-9, 10),
            Run("cliff", "violation", "gradient", 0.2072, 20),
            Run("meyer", "unsolved", "line_search", 1e5, 30),
            Run("bard", "no start", ""),
        ]
    }
    row = known_answers.table(found)[1].split()
    assert row == ["a", "4", "2", "1", "1", "0", "1", "67", "17"]
    assert known_answers.cases(found) == [
        "violation, a: cliff (gradient, 0.2072 for 0.19978661)",
        "false alarm, a: wood (max_steps, 1e-09 for 0)",
        "unsolved, a: meyer (line_search, 100000 for 87.945855)",
    ]
