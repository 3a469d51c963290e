"""Axes to draw on, and a watch over what plotting must leave alone."""

from collections.abc import Iterator

import matplotlib as mpl
import pytest
from matplotlib.axes import Axes

from dlopt.lesson import plotting


@pytest.fixture
def ax() -> Axes:
    """Empty axes."""
    made: Axes = plotting.figure()[1]
    return made


@pytest.fixture(autouse=True)
def no_global_state() -> Iterator[None]:
    """No test may change the style."""
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
