"""Coroutine functions as hooks of a WSGI app, under workers that share a thread by greenlets."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from running import Answer, Server, running
from services import absent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn")

AT_ONCE, BOUND = 8, 0.6


GUNICORN = ("gunicorn", "--bind=127.0.0.1:{port}", "--threads=16", "greenlet_served:wsgi")
COMMANDS = {
    "gevent": (*GUNICORN, "--worker-class=gevent"),
    "gevent-preload": (*GUNICORN, "--worker-class=gevent", "--preload"),
    "eventlet": ("eventlet_server", "{port}"),
    "gthread": (*GUNICORN, "--worker-class=gthread"),
}


@pytest.fixture(scope="module", params=COMMANDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Server]:
    name: str = request.param
    library = name.partition("-")[0]
    if library != "gthread" and importlib.util.find_spec(library) is None:
        absent(f"{library} is not installed")
    log: Path = tmp_path_factory.mktemp(name) / "log"
    with running(name, COMMANDS[name], log) as started:
        yield started


def generate(server: Server, name: str = "slow") -> Answer:
    return server.ask("GET", "/one-time-token/generate", {"Cookie": f"sid={name}"})


class TestAsyncHooks:
    def test_hooks_of_many_requests_wait_at_once(self, server: Server) -> None:
        generate(server)  # imports, threads and hubs, once
        for _ in range(5):
            began = time.monotonic()
            with ThreadPoolExecutor(AT_ONCE + 2) as threads:
                asked = [threads.submit(generate, server) for _ in range(AT_ONCE)]
                pages = [threads.submit(server.ask, "GET", "/page") for _ in range(AT_ONCE)]
                statuses = [each.result().status for each in asked]
                took = time.monotonic() - began
                bodies = {each.result().body for each in pages}
            assert statuses == [200] * AT_ONCE
            # Requests of the app itself see no loop: Django's database would refuse each query.
            assert bodies == {b"no loop"}
            # A busy machine is slow now and then; one after the other they take two seconds always.
            if took < BOUND:
                break
        assert took < BOUND

    def test_token_is_redeemed_once(self, server: Server) -> None:
        body = json.dumps(json.loads(generate(server, "bob").body)).encode()
        headers = {"Content-Type": "application/json"}
        with ThreadPoolExecutor(AT_ONCE) as threads:
            answers = list(
                threads.map(
                    lambda _: server.ask("POST", "/one-time-token/verify", headers, body),
                    range(AT_ONCE),
                )
            )
        assert sorted(each.status for each in answers) == [200] + [400] * (AT_ONCE - 1)

    def test_view_reads_the_session(self, server: Server) -> None:
        assert server.ask("GET", "/session", {"Cookie": "sid=bob"}).body == b"u-bob"
        assert server.ask("GET", "/session").body == b"None"
