from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import examples_of_hypothesis  # noqa: F401 - its number of examples is that of all tests
import log_watch
import pytest
import services
import token_watch
from harness import World
from log_watch import (  # noqa: F401 - hooks of every test
    pytest_runtest_setup,
    pytest_runtest_teardown,
)
from quiet_workers import (  # noqa: F401 - hooks of the run
    pytest_configure,
    pytest_xdist_auto_num_workers,
    pytest_xdist_make_scheduler,
)
from token_watch import (  # noqa: F401 - hooks of the run
    pytest_runtest_makereport,
    pytest_sessionfinish,
    pytest_terminal_summary,
)

from ott_middleware.backends.worker_check import WorkerCheck

# Also where the environment says otherwise: the tests start hundreds of programs, and without
# bytecode on the disk each of them would compile the package and these files again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# For eventlet, in this process and in servers: its DNS client imports trio in a way that fails on
# Python 3.10 where all libraries of the tests are installed.
os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")

# The helper that starts servers.
sys.path.insert(0, str(Path(__file__).parent / "system" / "servers"))


log_watch.install()
token_watch.install()
# The workers of a run look like those of one app: the second would warn in the first of its tests.
WorkerCheck._warned = True


# How long runs take on two cores that do nothing else: measured, as the README's time is.
ALL, FAST = "about two minutes", "twenty seconds"


def pytest_report_header() -> list[str]:
    """Say what is used, and that a run of everything takes a while."""
    return [
        f"all tests take {ALL} on two cores; tests/unit and tests/flow {FAST}",
        *services.report(),
    ]


# Files that take longest: the others are what all processes share evenly to the end of the run.
LONG = ("test_forks.py", "test_poolers.py", "test_sqlalchemy.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # A run of everything leaves out the slow tests. `-m slow` has them, and so has their folder.
    here = Path(__file__).parent
    places = {Path(each.partition("::")[0]).resolve() for each in config.args}
    if "slow" not in config.option.markexpr and not places.isdisjoint({here, here.parent}):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
    # The backends last, which have many files of a few seconds each.
    items.sort(key=lambda i: ("backends" in i.path.parts, i.path.name not in LONG))


def pytest_collection_finish() -> None:
    # Thousands of tests are for ever: no collection need look at them again.
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["asgi", "wsgi"])
def world(request: pytest.FixtureRequest) -> World:
    """Either of the two worlds: what a test says of a site holds in both."""
    return World(request.param)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Undo what a library does to the root logger: Litestar sets its level and its handlers."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    result = yield
    # Each change of a level takes long: it goes through all loggers.
    if root.level != level:
        root.setLevel(level)
    root.handlers[:] = handlers
    return result


@pytest.fixture
def untraced() -> Iterator[None]:
    """Count no lines: that makes a race four times as slow, and falsifies every time."""
    here, in_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    yield
    sys.settrace(here)
    threading.settrace(in_threads)
