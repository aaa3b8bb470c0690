"""How many workers a run has; and keeps what they and its controller tell each other short.

Of thousands of tests that pass, xdist sends six messages each, and counts all tests that are done
at each message: a fourth of the time that `tests/unit` and `tests/flow` take. What is left out is
shown nowhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling


def pytest_configure(config: pytest.Config) -> None:
    """In a worker, send no more than a run without further options shows."""
    option = config.option
    shows_all = option.verbose > 0 or option.durations is not None or option.xmlpath
    if shows_all or not hasattr(config, "workerinput"):
        return
    for plugin in config.pluginmanager.get_plugins():
        if hasattr(plugin, "sendevent"):
            plugin.sendevent = _without_noise(plugin.sendevent)


def _without_noise(send: Any) -> Any:
    def send_event(name: str, **content: Any) -> None:
        if name in ("logstart", "logfinish"):
            return
        if name == "testreport" and content["data"]["outcome"] == "passed":
            report = content["data"]
            if report["when"] != "call" and not report["sections"]:
                return
            report["keywords"] = {}
        send(name, **content)

    return send_event


class QuickScheduling(LoadFileScheduling):
    """Hands out files as `--dist loadfile` does; a file that is done is counted no more."""

    def add_node_collection(self, node: Any, collection: Any) -> None:
        super().add_node_collection(node, collection)
        if node in self.registered_collections:
            self.registered_collections[node] = _Indexed(self.registered_collections[node])

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        file = self._split_scope(self.registered_collections[node][item_index])
        if all(self.assigned_work[node][file].values()):
            del self.assigned_work[node][file]


class _Indexed(list[str]):
    """A list that finds its items quickly."""

    def __init__(self, items: list[str]) -> None:
        super().__init__(items)
        self._places = {item: place for place, item in enumerate(items)}

    def index(self, item: str, *_: Any) -> int:
        return self._places[item]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes `-n auto` starts, for two cores.

    The tests that wait for servers and databases leave a fourth of two cores to a third process.
    """
    folders = {Path(each.partition("::")[0]).resolve() for each in config.args}
    here = Path(__file__).parent
    quick = (here / "unit", here / "flow")
    computes = all(any(f.is_relative_to(q) for q in quick) for f in folders)
    return 2 if computes else 3


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> QuickScheduling | None:
    return QuickScheduling(config, log) if config.getvalue("dist") == "loadfile" else None
