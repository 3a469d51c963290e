"""Every method has its look, and a reader can tell it apart."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from dlopt.lesson import plotting


def contrast(color: str) -> float:
    """WCAG's contrast with white."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 1.05 / (sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05)


# What three kinds of colour-blindness make of red, green and blue (Machado, Oliveira & Fernandes,
# IEEE Trans. Vis. Comput. Graph. 15, 2009): nothing, no red, no green, no blue.
SIGHTS = np.array(
    [
        np.eye(3),
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    ]
)
TO_XYZ = np.array([[0.434, 0.376, 0.190], [0.213, 0.715, 0.072], [0.018, 0.109, 0.873]])


def perceived(color: str) -> np.ndarray:
    """CIE's L*a*b* of a colour as the four sights see it, shape (4, 3)."""
    parts = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(SIGHTS @ linear, 0, 1) @ TO_XYZ.T
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


@pytest.mark.parametrize("pair", list(itertools.combinations(plotting.METHODS, 2)), ids="-".join)
def test_two_methods_are_told_apart_by_colour_or_by_dash(pair: tuple[str, str]) -> None:
    one, other = map(plotting.method_style, pair)
    assert {one["linestyle"], other["linestyle"]} <= {"-", "--", ":"}
    apart = np.linalg.norm(perceived(one["color"]) - perceived(other["color"]), axis=1).min()
    if one["color"] == other["color"]:
        assert one["linestyle"] != other["linestyle"]
    else:
        assert apart > 15


@pytest.mark.parametrize(
    "family",
    [
        ("newton", "truncated_newton", "damped_newton", "levenberg_marquardt"),
        ("conjugate_gradient", "fletcher_reeves", "polak_ribiere", "polak_ribiere_plus"),
        ("bfgs", "lbfgs", "newton", "conjugate_gradient", "gradient_descent", "truncated_newton"),
    ],
)
def test_methods_that_often_meet_have_colours_of_their_own(family: tuple[str, ...]) -> None:
    assert len({plotting.method_style(name)["color"] for name in family}) == len(family)


def test_markers_and_names_are_their_own() -> None:
    styles = [plotting.method_style(name) for name in plotting.METHODS]
    assert len({(s["color"], s["marker"]) for s in styles}) == len(styles)
    assert len({s["label"] for s in styles}) == len(styles)
    assert not any(s["marker"] == "*" for s in styles)  # the star is the minimum


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
