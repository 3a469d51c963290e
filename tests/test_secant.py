"""Secant pairs: the correction by function values, refused curvature, the scale."""

import pytest
import torch
from torch import Tensor

from dlopt.lesson.problems import quadratic, spectrum
from dlopt.method import State
from dlopt.objective import Objective
from dlopt.secant import curvature_scale, secant_pair


def pair_of(f, x0: Tensor, x1: Tensor, **settings: bool):
    """The secant pair of a step between two points."""
    objective = Objective(f)
    state = State.begin(objective.evaluate(x0))
    return secant_pair(state, objective.evaluate(x1), **settings)


def test_function_values_correct_the_curvature() -> None:
    """Nothing on a quadratic; on a quartic the corrected pair is nearer to the curvature ahead."""
    bowl = quadratic(spectrum(4, 10.0))
    x0, x1 = (torch.linspace(a, 1, 4, dtype=torch.float64) for a in (2, -1))
    plain, corrected = (pair_of(bowl, x0, x1, safeguard=c) for c in (False, True))
    torch.testing.assert_close(corrected[1], plain[1])

    def quartic(x: Tensor) -> Tensor:
        return (x**4).sum()

    a, b = torch.tensor([2.0], dtype=torch.float64), torch.tensor([1.5], dtype=torch.float64)
    plain, corrected = (pair_of(quartic, a, b, safeguard=c) for c in (False, True))
    second = [float(p[2] / p[0].dot(p[0])) for p in (plain, corrected)]
    truth = 12 * 1.5**2
    assert abs(second[1] - truth) < abs(second[0] - truth)
    assert corrected[2] == pytest.approx(float(corrected[0].dot(corrected[1])))


def test_curvature_that_is_not_positive_is_refused() -> None:
    def hill(x: Tensor) -> Tensor:
        return -(x * x).sum()

    x0 = torch.ones(2, dtype=torch.float64)
    assert pair_of(hill, x0, 2 * x0) is None
    assert pair_of(hill, x0, 2 * x0, safeguard=False)[2] < 0


def test_the_scale_is_the_inverse_curvature_along_the_step() -> None:
    s = torch.tensor([1.0, 2.0])
    assert curvature_scale((s, 4 * s, 20.0)) == pytest.approx(0.25)
    assert curvature_scale((s, 4 * s, 20.0), torch.tensor([1.0, 0.25])) == pytest.approx(0.625)
    assert curvature_scale((s, 0 * s, 0.0)) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_too_short_for_its_curvature_to_be_a_number_is_refused(dtype: torch.dtype) -> None:
    """Its inverse would be infinite, and the next approximation NaN."""
    tiny = torch.finfo(dtype).tiny ** 0.5
    x = torch.ones(2, dtype=dtype)
    start = State(x=0 * x, value=x[0], grad=0 * x)
    ends = [State(x=c * tiny * x, value=x[0], grad=c * tiny * x) for c in (0.1, 10.0)]
    assert secant_pair(start, ends[0]) is None
    assert secant_pair(start, ends[1]) is not None


def ends(s: list[float], y: list[float], before: float, after: float) -> tuple[State, State]:
    """Two states with this step, this change of the gradient, and these values."""

    def state(x: list[float], grad: list[float], value: float) -> State:
        x, grad, value = (torch.tensor(v, dtype=torch.float64) for v in (x, grad, value))
        return State(x=x, grad=grad, value=value)

    return state([0.0] * len(s), [0.0] * len(y), before), state(s, y, after)


def test_values_that_differ_by_rounding_correct_nothing() -> None:
    pair = secant_pair(*ends([1.0], [2.0], 1.0, 1.0 - 1e-14))
    assert pair is not None
    assert (float(pair[1]), pair[2]) == (2.0, 2.0)
    corrected = secant_pair(*ends([1.0], [2.0], 1.0, 1.0 - 1e-9))
    assert corrected is not None
    assert float(corrected[1]) != 2.0


@pytest.mark.parametrize(("before", "after", "factor"), [(1e3, 0.0, 11.0), (0.0, 1e3, 0.5)])
def test_the_correction_is_bounded(before: float, after: float, factor: float) -> None:
    pair = secant_pair(*ends([1.0], [2.0], before, after))
    assert pair is not None
    assert float(pair[1]) == pytest.approx(2 * factor)
    assert pair[2] == pytest.approx(2 * factor)


def test_curvature_lost_in_the_length_of_the_vectors_is_refused() -> None:
    assert secant_pair(*ends([1.0, 0.0], [1e-13, 1.0], 0.0, 0.0)) is None
    assert secant_pair(*ends([1.0, 0.0], [1e-11, 1.0], 0.0, 0.0)) is not None
