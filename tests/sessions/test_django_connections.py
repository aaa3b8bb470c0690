"""Django under ASGI: the adapter's threads, and the database connections that they open."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from services import POSTGRES, absent, listens

from ott_middleware import DjangoSession, SessionAdapter
from ott_middleware.concurrency import in_own_thread, on_loop

HERE = Path(__file__).parent
# A thousand take half a minute: `.ci/run --full` opens as many.
LINKS = int(os.environ.get("OTT_TEST_DJANGO_LINKS", "80"))


def run_links(url: str, links: int) -> dict[str, Any]:
    """Run `django_links.py` in a process of its own."""
    path = os.pathsep.join(map(str, (HERE, HERE.parent, HERE.parent.parent)))
    done = subprocess.run(
        [sys.executable, str(HERE / "django_links.py"), url, str(links)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_links_leave_no_connection_open_and_wait_at_once(engine: str, tmp_path: Path) -> None:
    if engine == "postgresql" and not listens("PostgreSQL"):
        absent("no PostgreSQL server")
    url = f"sqlite:///{tmp_path}/project.db" if engine == "sqlite" else POSTGRES
    found = run_links(url, LINKS)
    assert found["statuses"] == [303]
    assert found["left"] == 0
    # Eight requests, each of which waits a quarter of a second for its session.
    assert found["seconds"] < 0.6


class TestOwnThread:
    def test_calls_of_one_request_share_a_thread_that_is_left_last(self) -> None:
        left: list[int] = []

        class Sensitive(SessionAdapter):
            thread_sensitive = True

            def current(self, request: Any) -> Any:
                return threading.get_ident()

        async def whole() -> list[int]:
            current = on_loop(Sensitive().current)
            return [await current(None), await current(None)]

        async def several() -> list[list[int]]:
            call = in_own_thread(whole, lambda: left.append(threading.get_ident()))
            return [await call(), await call()]

        first, second = asyncio.run(several())
        assert [len(set(first)), len(set(second))] == [1, 1]
        assert left == [first[0], second[0]]

    def test_thread_of_a_request_that_goes_on_is_not_left(self) -> None:
        left: list[int] = []

        async def outer() -> bool:
            ask = sync_to_async(threading.get_ident)
            async with ThreadSensitiveContext():
                before = await ask()
                inside: int = await in_own_thread(ask, lambda: left.append(1))()
                return before == inside == await ask()

        assert asyncio.run(outer())
        assert left == []

    def test_no_thread_is_made_for_nothing(self) -> None:
        left: list[int] = []

        async def nothing() -> str:
            return "done"

        assert asyncio.run(in_own_thread(nothing, lambda: left.append(1))()) == "done"
        assert left == []


def test_leave_thread_closes_connections_of_django_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Connections:
        closed = 0

        def close_all(self) -> None:
            self.closed += 1

    class Module:
        connections = Connections()

    monkeypatch.setitem(sys.modules, "django.db", Module)  # type: ignore[arg-type]  # no module
    SessionAdapter().leave_thread()
    assert Module.connections.closed == 1
    monkeypatch.delitem(sys.modules, "django.db")
    SessionAdapter().leave_thread()
    assert Module.connections.closed == 1
    assert DjangoSession.leave_thread is SessionAdapter.leave_thread
