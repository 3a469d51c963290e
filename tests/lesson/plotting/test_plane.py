"""What is drawn in the plane, and where."""

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from dlopt.lesson import plotting


def bowl(x: torch.Tensor) -> torch.Tensor:
    return x[0] ** 2 + 4 * x[1] ** 2


def test_contours_of_a_bowl_surround_its_minimum(ax: Axes) -> None:
    assert plotting.contours(ax, bowl, (-2, 2), (-1, 1), levels=[1.0]) is ax
    points = np.concatenate(ax.collections[0].get_paths()[0].to_polygons())
    assert points[:, 0] ** 2 + 4 * points[:, 1] ** 2 == pytest.approx(
        np.ones(len(points)), abs=0.01
    )
    assert (ax.get_xlim(), ax.get_ylim()) == ((-2, 2), (-1, 1))


def test_contours_of_an_f_that_branches_equal_the_vectorised_ones() -> None:
    def branching(x: torch.Tensor) -> torch.Tensor:
        return bowl(x) if x[0] > 0 else bowl(-x)

    vertices = []
    for f in (bowl, branching):
        _, ax = plotting.figure()
        plotting.contours(ax, f, (-2, 2), (-1, 1), resolution=21)
        vertices.append(np.concatenate([p.vertices for p in ax.collections[0].get_paths()]))
    assert np.array_equal(*vertices)


def test_log_levels_crowd_at_the_minimum_and_linear_ones_do_not(ax: Axes) -> None:
    plotting.contours(ax, bowl, (-2, 2), (-1, 1), levels=6)
    log = np.asarray(ax.collections[0].levels)
    assert np.diff(np.log(log)) == pytest.approx(np.diff(np.log(log))[0] * np.ones(5))
    plotting.contours(ax, lambda x: x[0] * x[1], (-2, 2), (-1, 1), levels=3, spacing="linear")
    assert ax.collections[1].levels == pytest.approx([-1, 0, 1])


def test_contours_mask_what_is_not_finite_and_say_when_nothing_is(ax: Axes) -> None:
    plotting.contours(ax, lambda x: torch.log(x[0]) + x[1] ** 2, (-1, 1), (-1, 1))
    with pytest.raises(ValueError, match="finite somewhere"):
        plotting.contours(ax, lambda x: torch.log(-x @ x), (1, 2), (1, 2))
    with pytest.raises(ValueError, match="got 'cubic'"):
        plotting.contours(ax, bowl, (-1, 1), (-1, 1), spacing="cubic")


def test_a_constant_has_no_contours(ax: Axes) -> None:
    plotting.contours(ax, lambda x: 0 * x[0], (-1, 1), (-1, 1))
    assert not ax.collections


@pytest.mark.parametrize(
    "points",
    [
        [[0.0, 0.0], [1.0, 0.5], [5.0, 5.0]],
        torch.tensor([[0.0, 0.0], [1.0, 0.5], [5.0, 5.0]], requires_grad=True),
        [torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.5]), torch.tensor([5.0, 5.0])],
    ],
)
def test_a_trajectory_keeps_the_limits_of_the_contours(ax: Axes, points: Any) -> None:
    plotting.contours(ax, bowl, (-2, 2), (-1, 1), resolution=11)
    assert plotting.trajectory(ax, points, "newton") is ax
    assert ax.get_xlim() == (-2, 2)
    assert ax.lines[0].get_xydata().tolist() == [[0, 0], [1, 0.5], [5, 5]]
    assert ax.lines[0].get_label() == "Newton"


def test_a_trajectory_ends_where_it_leaves_the_numbers(ax: Axes) -> None:
    wild = [[0, 0], [1, 1], [1e30, 1], [float("nan"), 0], [0, 0]]
    plotting.trajectory(ax, wild, plotting.arm_style(1, "plain"), label="")
    assert ax.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]
    assert ax.get_legend_handles_labels()[1] == []
    with pytest.raises(ValueError, match=r"points must have shape \(steps \+ 1, 2\), got \(3,\)"):
        plotting.trajectory(ax, [1, 2, 3], "newton")


def test_an_arrow_ends_at_its_vector_and_is_in_the_legend_once(ax: Axes) -> None:
    plotting.arrow(ax, [1, 2], torch.tensor([0.5, -1.0]), "damped_newton", label="step")
    quiver = ax.collections[0]
    assert (quiver.U[0], quiver.V[0]) == (0.5, -1)
    plotting.arrow(ax, [1, 2], [0, 1], "damped_newton", label="step")
    plotting.legend(ax)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["step"]


def test_the_marks(ax: Axes) -> None:
    plotting.start(ax, [0, 1])
    plotting.minimum(ax, torch.zeros(2))
    plotting.saddle_point(ax, (1, 1))
    assert [line.get_marker() for line in ax.lines] == ["o", "*", "X"]
    assert [line.get_label() for line in ax.lines] == ["start", "minimum", "saddle"]
