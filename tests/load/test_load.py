"""Single use under load: real servers, several workers and hosts on one store, and sudden death.

The sizes are a tenth of the full ones unless `OTT_LOAD_SCALE=1`.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import harness
from .harness import CLIENT, generate, gunicorn, redeem, redeem_all, uvicorns

pytestmark = pytest.mark.load

SCALE = float(os.environ.get("OTT_LOAD_SCALE", "0.1"))
TOKENS = int(1000 * SCALE)
ENGINES = {
    "redis": os.environ.get("OTT_TEST_REDIS_URL", "redis://127.0.0.1:6379/0"),
    "postgresql": os.environ.get(
        "OTT_TEST_POSTGRES_URL", "postgresql+psycopg://root@127.0.0.1:5432/test"
    ),
    "mysql": os.environ.get("OTT_TEST_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/test"),
}


@pytest.fixture(params=["sqlite", *ENGINES])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A way to start the servers of one engine, on a store that is ready."""
    if request.param == "sqlite":
        return lambda: gunicorn(f"sqlite:///{tmp_path}/tokens.db")
    url = ENGINES[request.param]
    _ready(request.param, url)
    return lambda: uvicorns(url)


def _ready(engine: str, url: str) -> None:
    try:
        if engine == "redis":
            import redis

            redis.Redis.from_url(url, socket_connect_timeout=2).ping()
        else:
            from ott_middleware import SQLAlchemyBackend

            backend = SQLAlchemyBackend(url)
            backend.create_table()
            backend.close()
    except Exception as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no {engine} to test with: {type(error).__name__}")


def test_of_eight_clients_on_any_worker_exactly_one_redeems_each_token(fleet: Any) -> None:
    with fleet() as (ports, _):
        tokens = generate(ports, TOKENS)
        began = time.monotonic()
        for answers in redeem_all(ports, tokens):
            statuses = sorted(answer.status for answer in answers)
            assert statuses == [200] + [400] * 7
        print(f"{8 * TOKENS / (time.monotonic() - began):.0f} redemptions a second")


def test_killed_workers_never_let_a_token_be_used_twice(fleet: Any) -> None:
    kill_for = max(2.0, 20 * SCALE)
    with fleet() as (ports, masters):
        tokens = generate(ports, TOKENS)
        untouched = generate(ports, 20)
        stop = threading.Event()
        killed = 0

        def kill() -> None:
            nonlocal killed
            chance = random.Random(8)
            while not stop.wait(chance.uniform(0.05, 0.4)):
                workers = harness.children(chance.choice(masters))
                if workers:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(chance.choice(workers), signal.SIGKILL)
                        killed += 1

        killer = threading.Thread(target=kill)
        killer.start()
        began = time.monotonic()
        lost = 0
        try:
            # Round after round on fresh tokens, until workers have died for long enough.
            while True:
                for answers in redeem_all(ports, tokens):
                    statuses = [answer.status for answer in answers]
                    assert statuses.count(200) <= 1, statuses
                    assert set(statuses) <= {0, 200, 400, 503}, statuses
                    # A token may get lost only with a connection that broke while it was presented.
                    if 200 not in statuses:
                        assert 0 in statuses or 503 in statuses, statuses
                        lost += 1
                if time.monotonic() - began > kill_for:
                    break
                tokens = generate(ports, max(10, TOKENS // 10))
        finally:
            stop.set()
            killer.join()
        assert killed >= 3
        # What nobody had presented yet outlived them all.
        for token in untouched:
            assert _until(lambda token=token: redeem(ports[0], token)) == 200
        print(f"{killed} workers killed, {lost} tokens lost")


def _until(ask: Callable[[], harness.Answer]) -> int:
    for _ in range(100):
        answer = ask()
        if answer.status != 0:
            return answer.status
        time.sleep(0.05)
    return 0


@contextlib.contextmanager
def _redis_server(port: int, directory: Path) -> Iterator[None]:
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--appendonly", "no", "--dir", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            harness.wait_for(port)
            yield
        finally:
            process.kill()


@pytest.mark.skipif(
    shutil.which("redis-server") is None and os.environ.get("CI") != "true",
    reason="redis-server is not installed",
)
def test_redis_gone_for_a_while_means_503_and_nothing_worse(tmp_path: Path) -> None:
    away = 5.0
    port = harness.free_port()
    seen: list[harness.Answer] = []
    passed: list[harness.Answer] = []
    stop = threading.Event()

    def load(ports: list[int]) -> None:
        while not stop.is_set():
            for served in ports:
                path = "/one-time-token/generate"
                seen.append(CLIENT.ask(served, "GET", path, cookie=harness.COOKIE))
                time.sleep(0.01)

    def pass_through(ports: list[int]) -> None:
        while not stop.is_set():
            for served in ports:
                passed.append(CLIENT.ask(served, "GET", "/page?x=1"))
                time.sleep(0.01)

    with contextlib.ExitStack() as stack:
        with _redis_server(port, tmp_path):
            ports, _ = stack.enter_context(uvicorns(f"redis://127.0.0.1:{port}/0"))
            workers = [threading.Thread(target=load, args=(ports,)) for _ in range(4)]
            workers.append(threading.Thread(target=pass_through, args=(ports,)))
            for worker in workers:
                worker.start()
            time.sleep(1)
        gone = len(seen)
        time.sleep(away)
        back = len(seen)
        with _redis_server(port, tmp_path):
            time.sleep(2)
            stop.set()
            for worker in workers:
                worker.join(30)
            recovered = len(seen)
            assert redeem(ports[0], generate(ports, 1)[0]).status == 200
    assert {answer.status for answer in seen} == {200, 503}
    assert {answer.status for answer in seen[gone + 8 : back]} == {503}
    assert [answer.status for answer in seen[recovered - 20 :]] == [200] * 20
    # Nobody waited for longer than the timeouts of the backend.
    assert max(answer.seconds for answer in seen) < 5
    assert {answer.status for answer in passed} == {200}
    assert max(answer.seconds for answer in passed) < 1
