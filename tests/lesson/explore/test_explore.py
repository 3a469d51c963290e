"""One call, two deliveries, and what it refuses."""

from typing import Any

import ipywidgets
import pytest

from dlopt.lesson import explore as module
from dlopt.lesson.display import Card
from dlopt.lesson.explore import Slider, explore
from dlopt.lesson.plotting.picture import Draw


@pytest.mark.parametrize(("live", "delivered"), [(True, ipywidgets.VBox), (False, Card)])
def test_widgets_at_a_kernel_and_frames_in_the_book(
    monkeypatch: pytest.MonkeyPatch, draw: Draw, alpha: Slider, live: bool, delivered: type
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(module, "display", shown.append)
    monkeypatch.setattr(module, "is_live", lambda: live)
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
