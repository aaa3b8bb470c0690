"""Single use under load: real servers, several workers and hosts on one store, and sudden death.

The sizes are a tenth of the full ones unless `OTT_LOAD_SCALE=1`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import harness
from .engines import SCALE, URLS, need_redis_server, url_of
from .harness import CLIENT, generate, gunicorn, redeem, redeem_all, uvicorns

pytestmark = pytest.mark.load

TOKENS = int(1000 * SCALE)


@pytest.fixture(params=["sqlite", *URLS])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A way to start the servers of one engine, on a store that is ready."""
    url = url_of(request.param, tmp_path)
    start = gunicorn if request.param == "sqlite" else uvicorns
    return lambda: start(url)


def test_token_is_redeemed_by_one_of_eight_clients(fleet: Any) -> None:
    with fleet() as (ports, _):
        tokens = generate(ports, TOKENS)
        began = time.monotonic()
        for answers in redeem_all(ports, tokens):
            statuses = sorted(answer.status for answer in answers)
            assert statuses == [200] + [400] * 7
        print(f"{8 * TOKENS / (time.monotonic() - began):.0f} redemptions a second")


def test_token_is_used_once_though_workers_are_killed(fleet: Any) -> None:
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


class _Redis:
    """A Redis of this test's own, which can be gone in two ways."""

    def __init__(self, folder: Path) -> None:
        need_redis_server()
        self.port = harness.free_port()
        self._command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        harness.wait_for(self.port)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Redis]:
    server = _Redis(tmp_path)
    yield server
    server.thaw()
    server.kill()


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_redis_outage_means_503_only(how: str, server: _Redis) -> None:
    # Shorter than the timeout of two seconds, a server that is frozen is only slow.
    away = max(5 * SCALE, 3.0 if how == "frozen" else 0.5)
    fail, mend = {
        "killed": (server.kill, server.start),
        "frozen": (server.freeze, server.thaw),
    }[how]
    asked: list[tuple[float, harness.Answer]] = []
    passed: list[harness.Answer] = []
    stop = threading.Event()

    def load(ports: list[int], number: int) -> None:
        while not stop.is_set():
            port = ports[number % len(ports)]
            answer = CLIENT.ask(port, "GET", "/one-time-token/generate", cookie=harness.COOKIE)
            asked.append((time.monotonic(), answer))
            if answer.status == 200:
                answer = redeem(port, json.loads(answer.body)["token"])
                asked.append((time.monotonic(), answer))
            time.sleep(0.01)

    def pass_through(ports: list[int]) -> None:
        while not stop.is_set():
            for port in ports:
                passed.append(CLIENT.ask(port, "GET", "/page?x=1"))
                time.sleep(0.01)

    with uvicorns(f"redis://127.0.0.1:{server.port}/0") as (ports, _):
        workers = [threading.Thread(target=load, args=(ports, number)) for number in range(4)]
        workers += [threading.Thread(target=pass_through, args=(ports,)) for _ in range(2)]
        for worker in workers:
            worker.start()
        try:
            time.sleep(1)
            fail()
            gone = time.monotonic()
            time.sleep(away)
            back = time.monotonic()
            mend()
            time.sleep(3)
        finally:
            stop.set()
            for worker in workers:
                worker.join(30)

    statuses = {answer.status for _, answer in asked}
    assert statuses == {200, 503}
    # What was asked while it was gone: nothing but 503, and more of it the faster it is known.
    during = [answer.status for at, answer in asked if gone + 0.1 < at < back]
    assert during
    assert set(during) == {503}
    # Back by itself, within a second of the longest wait that may have begun before.
    settled = [answer.status for at, answer in asked if at > back + 2.5]
    assert len(settled) > 10
    assert set(settled) == {200}
    # Nobody waited for longer than the timeouts of the backend: two seconds to connect, two for an
    # answer.
    slowest = max(answer.seconds for _, answer in asked)
    assert slowest < 4.5
    # Pass-through requests never noticed.
    assert {answer.status for answer in passed} == {200}
    worst = max(answer.seconds for answer in passed)
    assert worst < 1
    print(
        f"{how} for {away} s: {len(during)} answers of 503 meanwhile, the slowest after "
        f"{slowest:.2f} s; the slowest of {len(passed)} passed through {worst:.3f} s"
    )
