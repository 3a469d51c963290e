"""The visual language: what each function draws, and that a reader can tell it apart."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from dlopt.lesson import plotting
from dlopt.lesson.evidence import fit_exponent


@pytest.fixture
def ax() -> Axes:
    """Empty axes."""
    made: Axes = plotting.figure()[1]
    return made


@pytest.fixture(autouse=True)
def no_global_state() -> Iterator[None]:
    """No test may change the style or leave a figure to pyplot."""
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before


def bowl(x: torch.Tensor) -> torch.Tensor:
    return x[0] ** 2 + 4 * x[1] ** 2


def contrast(color: str) -> float:
    """WCAG's contrast with white."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 1.05 / (sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05)


def test_no_two_methods_look_alike() -> None:
    looks = [
        tuple(plotting.method_style(m)[k] for k in ("color", "marker")) for m in plotting.METHODS
    ]
    assert len(set(looks)) == len(looks)
    names = {plotting.method_style(m)["label"] for m in plotting.METHODS}
    assert len(names) == len(plotting.METHODS)
    assert not any(marker == "*" for _, marker in looks)  # the star is the minimum


@pytest.mark.parametrize("method", plotting.METHODS)
def test_every_method_stands_out_from_the_white_card(method: str) -> None:
    style = plotting.method_style(method)
    assert contrast(style["color"]) >= 3 or "path_effects" in style


def test_arms_differ_and_are_readable() -> None:
    styles = [plotting.arm_style(i, f"arm {i}") for i in range(5)]
    assert len({style["color"] for style in styles}) == 5
    assert all(contrast(style["color"]) >= 3 for style in styles)
    with pytest.raises(ValueError, match="index must be between 0 and 4, got 5"):
        plotting.arm_style(5, "too many")


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ValueError, match="got 'newtn'"):
        plotting.method_style("newtn")


def test_a_figure_is_unknown_to_pyplot() -> None:
    import matplotlib.pyplot as plt

    fig, axes = plotting.figure(rows=1, columns=2, sharey=True)
    assert isinstance(fig, Figure)
    assert axes.shape == (2,)
    assert plt.get_fignums() == []


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
    log = np.asarray(ax.collections[0].levels)  # type: ignore[attr-defined]
    assert np.diff(np.log(log)) == pytest.approx(np.diff(np.log(log))[0] * np.ones(5))
    plotting.contours(ax, lambda x: x[0] * x[1], (-2, 2), (-1, 1), levels=3, spacing="linear")
    assert ax.collections[1].levels == pytest.approx([-1, 0, 1])  # type: ignore[attr-defined]


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
    assert (quiver.U[0], quiver.V[0]) == (0.5, -1)  # type: ignore[attr-defined]
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
    low, high = ax.collections[0].get_segments()[0][:, 1]  # type: ignore[attr-defined]
    assert low * high == pytest.approx(1e-8)
    assert high / low == pytest.approx(np.exp(2 * np.std(np.log([1e-6, 1e-2]), ddof=1)))


def test_the_strip_needs_one_label(ax: Axes) -> None:
    with pytest.raises(ValueError, match="strip needs xlabel or ylabel, got '' and ''"):
        plotting.strip(ax, {"newton": [1]})


def test_pixels_are_opaque_and_the_same_every_time() -> None:
    first, second = (plotting.pixels(plotting.figure(2, 1)[0]) for _ in range(2))
    assert first.shape == (plotting.DPI, 2 * plotting.DPI, 3)
    assert first[0, 0].tolist() == [255, 255, 255]
    assert np.array_equal(first, second)
    with pytest.raises(ValueError, match="fig must be a matplotlib Figure, got Axes"):
        plotting.pixels(plotting.figure()[1])


def test_pixels_close_what_pyplot_holds() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    fig = plt.figure()
    plotting.pixels(fig)
    assert plt.get_fignums() == []


def test_a_kept_layout_does_not_jump() -> None:
    layout: list[Any] = []
    positions = []
    for label in ("short", "a\nlabel\nof many\nlines"):
        fig, ax = plotting.figure(3, 2)
        ax.set_ylabel(label)
        plotting.pixels(fig, layout)
        positions.append(ax.get_position().bounds)
    assert positions[0] == positions[1]


def test_show_gives_alt_text_and_caption(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(plotting, "display", shown.append)
    for _ in range(2):
        plotting.show(plotting.figure(2, 1)[0], alt='A "bowl" & a path', caption="See: x < y")
    markup = shown[0]._repr_html_()
    assert 'alt="A &quot;bowl&quot; &amp; a path"' in markup
    assert "See: x &lt; y</figcaption>" in markup
    assert markup == shown[1]._repr_html_()
    assert repr(shown[0]) == 'Figure: A "bowl" & a path'
    data = markup.split("base64,")[1].split('"')[0]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (280, 140)
    with pytest.raises(ValueError, match="alt must be a non-empty string"):
        plotting.show(plotting.figure()[0], alt="", caption="x")
