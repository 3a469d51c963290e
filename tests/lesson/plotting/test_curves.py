"""Curves show the numbers they were given, and leave out what an axis cannot hold."""

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from dlopt.lesson import plotting
from dlopt.lesson.evidence import fit_exponent


def test_convergence_leaves_out_what_a_log_axis_cannot_hold(ax: Axes) -> None:
    plotting.convergence(ax, range(4), [1.0, 0.1, 0.0, float("nan")], "bfgs", ylabel="gap")
    assert ax.get_yscale() == "log"
    assert np.isnan(np.asarray(ax.lines[0].get_ydata())).tolist() == [False, False, True, True]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("evaluations", "gap")
    with pytest.raises(ValueError, match="same length"):
        plotting.convergence(ax, [1, 2], [1], "bfgs")


def test_a_matrix_has_one_scale_of_colours(ax: Axes) -> None:
    plotting.matrix(ax, torch.tensor([[3.0, 0.0], [0.0, -3.0]]), limit=6.0, title="M")
    image = ax.get_images()[0]
    assert image.get_clim() == (-6, 6)
    assert np.allclose(image.to_rgba(np.zeros(1))[0, :3], 0.97, atol=0.01)  # nothing is white
    positive, negative = image.to_rgba(np.array([6.0, -6.0]))
    assert positive[2] > positive[0] and negative[0] > negative[2]  # purple and brown
    assert ax.get_title() == "M" and len(ax.get_xticks()) == 0
    with pytest.raises(ValueError, match="shape"):
        plotting.matrix(ax, [1.0, 2.0], limit=1.0)
    with pytest.raises(ValueError, match="limit"):
        plotting.matrix(ax, [[1.0]], limit=0.0)


def test_the_spectrum_shows_signs(ax: Axes) -> None:
    plotting.spectrum(ax, [1.0, -2.0, 100.0, 0.0], label="H")
    positive, negative = ax.lines
    assert list(positive.get_ydata()) == [100, 1]
    assert list(negative.get_ydata()) == [2]
    assert negative.get_markerfacecolor() == "white"
    assert positive.get_label() == "H, λ positive"


@pytest.mark.parametrize("repeats", [1, 3])
def test_the_power_law_passes_through_the_data(ax: Axes, repeats: int) -> None:
    sizes = np.array([100.0, 200.0, 400.0])
    times = np.array([1e-9 * sizes**3] * repeats)
    plotting.power_law(ax, sizes, times, fit_exponent(sizes, times), label="solve")
    plotting.power_law(ax, sizes, times, 3.0)
    for line in ax.lines:
        assert np.asarray(line.get_ydata()) == pytest.approx(1e-9 * sizes**3)
    assert ax.lines[0].get_label() == "solve ($k^{3.00}$)"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["100", "200", "400"]


@pytest.mark.parametrize("upright", [False, True])
def test_the_strip_shows_each_seed_the_mean_and_who_diverged(ax: Axes, upright: bool) -> None:
    groups = {"newton": [1, 2, 3], "our arm": [4, float("nan")]}
    plotting.strip(ax, groups, **{"ylabel" if upright else "xlabel": "loss"})
    measured = [list(line.get_ydata() if upright else line.get_xdata()) for line in ax.lines]
    assert [1, 2, 3] in measured  # the dots
    assert [2] in measured  # their mean
    assert [4] in measured
    ticks = ax.get_xticklabels() if upright else ax.get_yticklabels()
    name = "our\narm\n(1 diverged)" if upright else "our arm\n(1 diverged)"
    assert [tick.get_text() for tick in ticks] == ["Newton", name]
    assert (ax.get_ylabel() if upright else ax.get_xlabel()) == "loss"


def test_a_logarithmic_strip_has_the_geometric_mean(ax: Axes) -> None:
    plotting.strip(ax, {"newton": [1e-6, 1e-2, 0.0]}, ylabel="loss", log=True)
    assert ax.get_yscale() == "log"
    assert [1e-6, 1e-2] in [list(line.get_ydata()) for line in ax.lines]
    low, high = ax.collections[0].get_segments()[0][:, 1]
    assert low * high == pytest.approx(1e-8)
    assert high / low == pytest.approx(np.exp(2 * np.std(np.log([1e-6, 1e-2]), ddof=1)))


def test_the_strip_needs_one_label(ax: Axes) -> None:
    with pytest.raises(ValueError, match="strip needs xlabel or ylabel, got '' and ''"):
        plotting.strip(ax, {"newton": [1]})
