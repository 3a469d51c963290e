"""One call, two deliveries, and what it refuses."""

from typing import Any

import pytest

from dlopt.lesson import explore as module
from dlopt.lesson.display import Card
from dlopt.lesson.explore import Slider, explore
from dlopt.lesson.explore.figure import Explorable
from dlopt.lesson.plotting.picture import Draw


@pytest.mark.parametrize(
    ("live", "missing", "delivered"),
    [(True, (), Explorable), (False, (), Card), (True, ("ipywidgets",), Card)],
)
def test_widgets_at_a_kernel_that_has_them_and_frames_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
    draw: Draw,
    alpha: Slider,
    live: bool,
    missing: tuple[str, ...],
    delivered: type,
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(module, "display", shown.append)
    monkeypatch.setattr(module, "show_live", shown.append)
    monkeypatch.setattr(module, "is_live", lambda: live)
    monkeypatch.setattr(module, "find_spec", lambda name: name not in missing)
    explore(draw, alt="A line", caption="The line rises.", alpha=alpha)
    assert [type(value) for value in shown] == [delivered]


@pytest.mark.parametrize(
    ("names", "texts", "message"),
    [
        ("", {}, "one to three sliders, got 0"),
        ("abcd", {}, "one to three sliders, got 4"),
        ("a", {"caption": ""}, "caption must be"),
        ("a", {"alt": " "}, "alt must be"),
    ],
)
def test_refused(
    draw: Draw, alpha: Slider, names: str, texts: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        explore(draw, **{"alt": "A", "caption": "B"} | texts, **dict.fromkeys(names, alpha))
