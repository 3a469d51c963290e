"""Every method has its look, and a reader can tell it apart."""

import pytest
from matplotlib.figure import Figure

from dlopt.lesson import plotting


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
