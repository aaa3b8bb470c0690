"""Run only when asked for, `pytest -m apps`: environments are made for these tests."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "apps" in config.option.markexpr or any("system/apps" in each for each in config.args):
        return
    marked = [item for item in items if item.get_closest_marker("apps")]
    config.hook.pytest_deselected(items=marked)
    items[:] = [item for item in items if item not in marked]
