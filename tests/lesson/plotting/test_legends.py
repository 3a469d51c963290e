"""No legend hides what was drawn, and no two lines under it look alike."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from dlopt.lesson import plotting


def corner(ax: Axes) -> None:
    """A line in the lower left corner of the unit square."""
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.plot([0, 0.1], [0, 0.1], label="a line")


DRAWN: dict[str, Callable[[Axes], Any]] = {
    "the line 'through'": lambda ax: ax.plot([0, 5], [0.9, 0.9], label="through"),
    "a line": lambda ax: ax.plot([0.5, 0.95], [0.95, 0.95], "o", label="_"),
    "a step": lambda ax: ax.step([0.5, 1.0], [0.2, 0.95], where="pre"),
    "a level": lambda ax: ax.axhline(0.9),
    "points": lambda ax: ax.scatter([0.9], [0.9]),
    "a band": lambda ax: ax.fill_between([0.5, 1], [0.2, 0.2], [2, 2]),
    "error bars": lambda ax: ax.errorbar([0.9], [0.5], [0.45]),
    "vertical lines": lambda ax: ax.vlines([0.9], [0.2], [1]),
    "bars": lambda ax: ax.bar([0.9], [0.95]),
    "an arrow": lambda ax: plotting.arrow(ax, [0.2, 0.2], [0.75, 0.75], "newton", label=""),
    "the text 'here'": lambda ax: ax.text(0.9, 0.9, "here"),
    "an image": lambda ax: ax.imshow([[1.0]], extent=(0, 1, 0, 1)),
    "a mesh": lambda ax: ax.pcolormesh([0, 1], [0, 1], [[1.0]]),
    "the axes inside": lambda ax: ax.inset_axes((0.8, 0.8, 0.2, 0.2)),
}


@pytest.mark.parametrize("what", DRAWN)
def test_a_legend_in_the_way_is_refused_and_one_that_is_free_is_not(ax: Axes, what: str) -> None:
    DRAWN[what](ax)
    corner(ax)
    ax.legend(loc="upper right")
    said = what if what.startswith("the ") else ""
    with pytest.raises(ValueError, match=f"the legend covers {said}"):
        plotting.render(ax.get_figure(root=True))
    _, free = plotting.figure()
    DRAWN[what](free)
    corner(free)
    plotting.legend(free)
    plotting.render(free.get_figure(root=True))  # elsewhere in the axes, or below them


def test_what_may_be_covered(ax: Axes) -> None:
    plotting.contours(ax, lambda x: x @ x, (0, 1), (0, 1))
    ax.axvspan(0.5, 1, color="0.9")
    corner(ax)
    ax.legend(loc="upper right")
    plotting.render(ax.get_figure(root=True))


def test_a_legend_that_finds_no_place_stands_below_and_the_figure_grows() -> None:
    fig, (left, right) = plotting.figure(columns=2)
    for ax in (left, right):
        ax.plot(np.linspace(0, 1, 400), np.sin(99 * np.arange(400)), label="everywhere")
        plotting.legend(ax)
    height = plotting.render(fig).pixels.shape[0]
    assert height > 3.4 * plotting.DPI + 10
    assert [ax.get_legend() for ax in fig.axes] == [None, None]
    (below,) = fig.legends
    assert [text.get_text() for text in below.get_texts()] == ["everywhere"]
    for ax in fig.axes:
        box = ax.get_tightbbox()
        assert box is not None and box.y0 >= below.get_window_extent().y1


def test_a_legend_of_a_figure_has_each_entry_once_and_is_no_wider() -> None:
    fig, axes = plotting.figure(4.8, 3.4, columns=2)
    for ax in axes:
        for method in plotting.METHODS[:7]:
            ax.plot([0, 1], [0, 1], **plotting.method_style(method))
    assert plotting.legend(fig) is fig
    plotting.render(fig)
    (below,) = fig.legends
    assert len(below.get_texts()) == 7
    assert below.get_window_extent().width <= fig.bbox.width


def test_a_series_keeps_its_legend_below() -> None:
    layout: list[Any] = []
    places = []
    for height in (0.1, 0.9):
        fig, ax = plotting.figure()
        ax.set(ylim=(0, 1))
        ax.plot([0, 1], [height, height], label="level")
        plotting.legend(ax)
        plotting.render(fig, layout)
        places.append(fig.legends[0].get_window_extent().bounds)
    assert places[0] == places[1]


def test_a_legend_below_that_grows_into_the_axes_is_refused() -> None:
    layout: list[Any] = []
    with pytest.raises(ValueError, match="reaches into it"):
        for names in ("a", "abcdefghijklmnopq"):
            fig, ax = plotting.figure(1.5, 2)
            for k, name in enumerate(names):
                ax.plot([0, 1], [0, k], label=3 * name, color=(0, 0, k / 20))
            plotting.legend(fig)
            plotting.render(fig, layout)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"color": "C0"}, {"color": "C0", "marker": "o"}),
        ({"color": "#0072b2", "linestyle": "--"}, {"color": "#0072B2", "linestyle": "--"}),
        ({"linestyle": "", "marker": "o", "color": "k"}, {"ls": "", "marker": "o", "color": "k"}),
    ],
)
def test_lines_that_look_alike_are_refused(ax: Axes, one: Any, other: Any) -> None:
    ax.plot([0, 1], label="this one", **one)
    ax.plot([1, 2], label="that one", **other)
    with pytest.raises(ValueError, match="'this one' and 'that one' must differ in colour or dash"):
        plotting.render(ax.get_figure(root=True))


def test_lines_that_can_be_told_apart_are_not(ax: Axes) -> None:
    for i, dash in enumerate(("-", "--", ":")):
        ax.plot([0, i], color="k", linestyle=dash, label=dash)
    ax.plot([0, 1], color="k", label="-")  # the same arm once more
    ax.plot([0, 1], color="k", label="_")  # and without an entry
    for marker in "os":
        ax.plot([0, 1], "k", linestyle="", marker=marker, label=marker)
    ax.plot([0, 1], "ok", markerfacecolor="white", label="open")
    ax.errorbar([0, 1], [0, 1], [0.1, 0.1], color="r", label="measured")
    plotting.render(ax.get_figure(root=True))


def test_two_labels_with_error_bars_that_look_alike_are_refused(ax: Axes) -> None:
    for label in ("one", "two"):
        ax.errorbar([0, 1], [0, 1], [0.1, 0.1], color="r", label=label)
    with pytest.raises(ValueError, match="'one' and 'two'"):
        plotting.render(ax.get_figure(root=True))


def test_the_place_one_asks_for_is_tried_first(ax: Axes) -> None:
    found = []
    for place in ("center left", "lower left"):
        corner(ax)
        plotting.legend(ax, loc=place)
        plotting.render(ax.get_figure(root=True))
        legend = ax.get_legend()
        assert legend is not None
        found.append(legend.get_window_extent().bounds)
    assert found[0][0] < found[1][0] and found[0][1] < found[1][1]  # left; upper right
