"""What the explorable figures of these tests draw."""

import pytest
from matplotlib.figure import Figure

from dlopt.lesson import plotting
from dlopt.lesson.explore import Slider
from dlopt.lesson.plotting.picture import Draw


@pytest.fixture
def alpha() -> Slider:
    return Slider([0.0, 0.5, 1.0], label="damping α", format=".1f")


@pytest.fixture
def draw() -> Draw:
    def line(alpha: float, beta: float = 0.0) -> Figure:
        """A line at height α + β."""
        fig, ax = plotting.figure(2.4, 1.6)
        ax.plot([0, 1], [alpha + beta, alpha + beta])
        ax.set(xlim=(0, 1), ylim=(-1, 5))
        return fig

    return line


@pytest.fixture(autouse=True)
def every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have asked the notebooks for fewer frames."""
    monkeypatch.delenv("DLOPT_MAX_FRAMES", raising=False)
