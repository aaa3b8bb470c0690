"""Run only when asked for, `pytest -m javascript`: an npm package is downloaded for these tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The helper that starts servers.
sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = [config.option.markexpr, *config.args]
    if any("javascript" in str(word) for word in asked):
        return
    marked = [item for item in items if item.get_closest_marker("javascript")]
    config.hook.pytest_deselected(items=marked)
    items[:] = [item for item in items if item not in marked]
