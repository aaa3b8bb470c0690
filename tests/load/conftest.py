"""The load tests run when they are asked for: `pytest -m load`."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = [config.option.markexpr, *config.args]
    if any("load" in str(word) for word in asked):
        return
    marked = [item for item in items if item.get_closest_marker("load") is not None]
    config.hook.pytest_deselected(items=marked)
    items[:] = [item for item in items if item not in marked]
