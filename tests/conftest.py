"""What all tests share: one thread, and notebooks executed as for the book."""

import os

import pytest
from execute import ENVIRONMENT

os.environ.update(ENVIRONMENT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest file first: in two processes it runs beside all the others."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")
