"""The load tests run when they are asked for: `pytest -m load`."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # A path that was given names them too; that of the working directory may hold any word.
    if "load" in config.option.markexpr or any("tests/load" in word for word in config.args):
        return
    marked = [item for item in items if item.get_closest_marker("load") is not None]
    config.hook.pytest_deselected(items=marked)
    items[:] = [item for item in items if item not in marked]
