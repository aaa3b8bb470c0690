from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from memory_owners import owners_of

from ott_middleware import ConfigurationError, MemoryBackend
from ott_middleware.backends import worker_check
from ott_middleware.errors import BackendFull, KeyTaken
from ott_middleware.testing import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


def put(
    backend: MemoryBackend,
    key: str,
    *,
    until: float = 2000.0,
    owner: str = "alice",
    limit: int | None = None,
) -> None:
    backend.put(key, key.encode(), expires_at=until, owner=owner, limit=limit)


def live(backend: MemoryBackend, *keys: str) -> list[str]:
    return [key for key in keys if backend.take(key) == key.encode()]


def test_what_is_put_is_taken_once(clock: Clock) -> None:
    backend = MemoryBackend(clock=clock)
    put(backend, "k")
    assert backend.take("k") == b"k"
    assert backend.take("k") is None
    assert backend.take("other") is None


def test_the_asynchronous_twins_are_the_same(clock: Clock) -> None:
    async def all_of_them() -> None:
        backend = MemoryBackend(clock=clock)
        for key in ("a", "b"):
            await backend.aput(key, b"v", expires_at=2000, owner="o", limit=None)
        assert await backend.atake("a") == b"v"
        assert await backend.atake("a") is None
        assert await backend.arevoke("o") == 1
        await backend.aclose()
        await backend.aclose()

    asyncio.run(all_of_them())


def test_a_live_key_is_never_overwritten(clock: Clock) -> None:
    backend = MemoryBackend(clock=clock)
    put(backend, "k")
    with pytest.raises(KeyTaken):
        backend.put("k", b"other", expires_at=3000, owner="bob", limit=1)
    assert backend.revoke("bob") == 0
    assert backend.take("k") == b"k"


def test_a_taken_or_expired_key_is_free_again(clock: Clock) -> None:
    backend = MemoryBackend(clock=clock)
    put(backend, "k")
    backend.take("k")
    put(backend, "k", until=1010, owner="bob")
    clock.now = 1010
    put(backend, "k", owner="carol")
    assert backend.revoke("bob") == 0
    assert backend.revoke("carol") == 1


def test_a_value_lives_until_its_expiry_and_not_longer(clock: Clock) -> None:
    backend = MemoryBackend(clock=clock)
    put(backend, "early", until=1010)
    put(backend, "late", until=1010)
    clock.now = 1009.999
    assert backend.take("early") == b"early"
    clock.now = 1010
    assert backend.take("late") is None


def test_expired_value_is_not_kept(clock: Clock) -> None:
    backend = MemoryBackend(maxsize=1, clock=clock)
    put(backend, "k", until=1000)
    put(backend, "l", until=10)
    assert len(backend) == 0


def test_a_clock_that_goes_back_revives_nothing_and_loses_nothing(clock: Clock) -> None:
    backend = MemoryBackend(clock=clock)
    put(backend, "k", until=1010)
    put(backend, "l", until=1500)
    clock.now = 1010
    assert backend.take("k") is None
    clock.now = 900
    assert backend.take("k") is None
    assert backend.take("l") == b"l"


def test_full_is_refused_and_nobody_is_evicted(clock: Clock) -> None:
    backend = MemoryBackend(maxsize=3, clock=clock)
    for key in "abc":
        put(backend, key)
    with pytest.raises(BackendFull, match="raise maxsize"):
        put(backend, "d", owner="bob")
    assert len(backend) == 3
    assert live(backend, *"abcd") == ["a", "b", "c"]


def test_what_has_expired_takes_no_room(clock: Clock) -> None:
    backend = MemoryBackend(maxsize=3, clock=clock)
    for key in "abc":
        put(backend, key, until=1010)
    clock.now = 1010
    for key in "def":
        put(backend, key)
    with pytest.raises(BackendFull):
        put(backend, "g")
    assert live(backend, *"abcdefg") == ["d", "e", "f"]


def test_the_limit_retires_the_owner_s_oldest_and_nobody_else_s(clock: Clock) -> None:
    backend = MemoryBackend(clock=clock)
    put(backend, "bobs", owner="bob", limit=2)
    for key in "abcd":
        put(backend, key, limit=2)
    assert live(backend, *"abcd", "bobs") == ["c", "d", "bobs"]


def test_one_who_is_at_the_limit_replaces_their_own_in_a_full_store(clock: Clock) -> None:
    backend = MemoryBackend(maxsize=2, clock=clock)
    put(backend, "a", limit=1)
    put(backend, "bobs", owner="bob")
    put(backend, "b", limit=1)
    assert live(backend, "a", "b", "bobs") == ["b", "bobs"]


def test_a_lower_limit_retires_as_many_as_it_takes(clock: Clock) -> None:
    backend = MemoryBackend(clock=clock)
    for key in "abcd":
        put(backend, key)
    put(backend, "e", limit=2)
    assert live(backend, *"abcde") == ["d", "e"]


def test_the_expired_and_the_taken_do_not_count(clock: Clock) -> None:
    backend = MemoryBackend(clock=clock)
    put(backend, "old", limit=3)
    put(backend, "gone", until=1010, limit=3)
    put(backend, "taken", limit=3)
    backend.take("taken")
    clock.now = 1010
    put(backend, "x", limit=3)
    put(backend, "y", limit=3)
    assert live(backend, "old", "gone", "x", "y") == ["old", "x", "y"]


def test_an_owner_whose_values_all_expired_starts_anew(clock: Clock) -> None:
    backend = MemoryBackend(clock=clock)
    put(backend, "a", until=1010, limit=1)
    clock.now = 1010
    put(backend, "b", limit=1)
    assert live(backend, "a", "b") == ["b"]


def test_a_refused_put_retires_nobody(clock: Clock) -> None:
    backend = MemoryBackend(clock=clock)
    put(backend, "a", limit=1)
    with pytest.raises(KeyTaken):
        put(backend, "a", limit=1)
    assert live(backend, "a") == ["a"]


def test_revoke_counts_the_live_ones(clock: Clock) -> None:
    backend = MemoryBackend(clock=clock)
    put(backend, "a", until=1010)
    put(backend, "b")
    put(backend, "c")
    put(backend, "bobs", owner="bob")
    clock.now = 1010
    assert backend.revoke("alice") == 2
    assert backend.revoke("alice") == 0
    assert backend.revoke("nobody") == 0
    assert live(backend, "a", "b", "c", "bobs") == ["bobs"]


def test_nothing_leaks_once_all_has_expired(clock: Clock) -> None:
    backend = MemoryBackend(clock=clock)
    value = bytes(1000)
    before = sys.getrefcount(value)
    for n in range(5000):
        owner = f"o{n % 700}"
        backend.put(f"k{n}", value, expires_at=1001 + n % 50, owner=owner, limit=5)
        if n % 3 == 0:
            backend.take(f"k{n}")
        if n % 100 == 0:
            backend.revoke(owner)
    assert len(backend) > 1000
    assert sys.getrefcount(value) - before == len(backend)
    clock.now = 1100
    for n in range(256):
        put(backend, f"after{n}", until=1200, owner="after", limit=1)
    assert len(backend) == 1
    assert list(owners_of(backend)) == ["after"]
    assert sys.getrefcount(value) == before


def test_the_count_is_what_is_held(clock: Clock) -> None:
    backend = MemoryBackend(clock=clock)
    for n in range(300):
        put(backend, f"k{n}", owner=f"o{n % 7}", limit=20)
    assert len(backend) == 7 * 20
    assert sum(map(len, owners_of(backend).values())) == 7 * 20
    assert sum(backend.revoke(f"o{n}") for n in range(7)) == 7 * 20
    assert len(backend) == 0


def test_a_mass_expiry_is_cleared_in_small_steps(clock: Clock) -> None:
    backend = MemoryBackend(clock=clock)
    for n in range(5120):
        put(backend, f"k{n}", until=1010, owner=f"o{n}")
    clock.now = 1010
    worst = 0
    for n in range(256):
        before = len(backend)
        put(backend, f"later{n}", owner="later", limit=1)
        worst = max(worst, before - len(backend))
    assert len(backend) == 1
    # A part holds 20 of them on average; two parts are cleared at a time.
    assert worst < 200


def test_an_empty_backend_is_still_a_backend() -> None:
    assert len(MemoryBackend()) == 0
    assert not MemoryBackend.blocks


@pytest.mark.parametrize("option", ["maxsize", "max_bytes"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5, "100", None])
def test_a_bound_is_a_positive_number(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{option}: .*; use a positive number of"):
        MemoryBackend(**{option: value})


# More than one process.


_NUMBERS = itertools.count()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], None]]]:
    """As if this process had used no backend yet; gives what is to be done when it ends."""
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(worker_check.WorkerCheck, "_warned", False)
    monkeypatch.setattr(worker_check.WorkerCheck, "_seen", {})
    monkeypatch.setattr(worker_check, "atexit", SimpleNamespace(register=at_exit.append))
    monkeypatch.setattr(sys, "argv", [f"a name of its own {next(_NUMBERS)}"])
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    yield at_exit
    for give_up in at_exit:
        give_up()


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if r.levelno >= logging.WARNING]


def test_several_announced_workers_are_warned_about_once(
    fresh: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    MemoryBackend()
    MemoryBackend()
    (line,) = warnings_in(caplog)
    assert "WEB_CONCURRENCY is 4" in line
    assert "backend=" in line


@pytest.mark.parametrize("workers", ["", "0", "1", "two", "-3"])
def test_one_worker_is_fine(
    fresh: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    workers: str,
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", workers)
    put(MemoryBackend(), "k")
    assert warnings_in(caplog) == []


def test_threads_that_come_at_once_are_not_taken_for_processes(
    fresh: list[Callable[[], None]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backends = [MemoryBackend() for _ in range(8)]
    start = threading.Barrier(8)

    class Gate(dict[int, object]):
        def __contains__(self, pid: object) -> bool:
            found = super().__contains__(pid)
            start.wait(10)  # all of them have looked before one goes on
            return found

    monkeypatch.setattr(worker_check.WorkerCheck, "_seen", Gate())
    threads = [threading.Thread(target=backend.take, args=("k",)) for backend in backends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert warnings_in(caplog) == []
    if sys.platform.startswith("linux"):
        assert len(fresh) == 1


@pytest.mark.parametrize("part", ["socket", "bind", "getcwd", "platform"])
def test_a_sandbox_that_forbids_the_check_changes_nothing_else(
    fresh: list[Callable[[], None]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError(errno.EPERM, "not here")

    class Unbound(socket.socket):
        def bind(self, address: Any) -> None:
            refuse()

    if part == "socket":
        monkeypatch.setattr(worker_check.socket, "socket", refuse)
    elif part == "bind":
        monkeypatch.setattr(worker_check.socket, "socket", Unbound)
    elif part == "getcwd":
        monkeypatch.setattr(worker_check.os, "getcwd", refuse)
    else:
        monkeypatch.setattr(worker_check.sys, "platform", "win32")
    backend = MemoryBackend()
    put(backend, "k", until=9e9)
    assert backend.take("k") == b"k"
    assert warnings_in(caplog) == []
    assert fresh == []


def test_another_process_id_than_at_construction_is_a_fork(
    fresh: None, caplog: pytest.LogCaptureFixture
) -> None:
    backend = MemoryBackend()
    backend._workers._pid -= 1
    for _ in range(3):
        backend.take("k")
    (line,) = warnings_in(caplog)
    assert "forked" in line


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="noticed on Linux only")
def test_a_name_that_is_taken_is_a_second_worker(
    fresh: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = MemoryBackend()
    backend.take("k")
    monkeypatch.setattr(worker_check.WorkerCheck, "_seen", {})
    for _ in range(3):
        backend.take("k")
    (line,) = warnings_in(caplog)
    assert "a second worker process" in line


PRELUDE = """
import logging, os, sys
logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
from ott_middleware import MemoryBackend
backend = MemoryBackend()
def use(n):
    for i in range(n):
        backend.put(f"k{i}", b"v", expires_at=9e9, owner="o", limit=None)
        backend.take(f"k{i}")
"""


def run(tmp_path: Path, program: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "app.py").write_text(PRELUDE + program)
    environment = {k: v for k, v in os.environ.items() if k != "WEB_CONCURRENCY"}
    return subprocess.run(
        [sys.executable, "-W", "error", "app.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_after_construction_is_warned_about_once(tmp_path: Path) -> None:
    program = """
use(2)
child = os.fork()
use(3)
if not child:
    sys.exit()
os.waitpid(child, 0)
"""
    done = run(tmp_path, program)
    (line,) = done.stderr.splitlines()
    assert line.startswith("WARNING MemoryBackend: the process was forked")
    assert "backend=" in line


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="noticed on Linux only")
def test_a_child_that_lives_on_is_no_worker(tmp_path: Path) -> None:
    program = """
import time
use(3)
child = os.fork()
if child:
    print(child)
else:
    os.closerange(0, 3)
    time.sleep(30)
"""
    first = run(tmp_path, program)
    try:
        assert (first.stderr, run(tmp_path, "use(3)").stderr) == ("", "")
    finally:
        os.kill(int(first.stdout), signal.SIGKILL)


def test_one_process_is_not_warned_about(tmp_path: Path) -> None:
    assert run(tmp_path, "use(3)\nMemoryBackend().take('k')\n").stderr == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="noticed on Linux only")
def test_a_second_worker_is_warned_about_once(tmp_path: Path) -> None:
    # Each says when it has used its backend, and stays until its input ends.
    (tmp_path / "app.py").write_text(
        PRELUDE + "use(3)\nprint('ready', flush=True)\nsys.stdin.read()\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "WEB_CONCURRENCY"}
    workers: list[subprocess.Popen[str]] = []
    told: list[str] = []
    try:
        for _ in range(2):
            worker = subprocess.Popen(
                [sys.executable, "app.py"],
                cwd=tmp_path,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            workers.append(worker)
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
    finally:
        for worker in workers:
            try:
                told.append(worker.communicate(timeout=10)[1])
            except subprocess.TimeoutExpired:
                worker.kill()
                told.append(worker.communicate()[1])
    assert told[0] == ""
    (line,) = told[1].splitlines()
    assert line.startswith("WARNING MemoryBackend: a second worker process")


@pytest.mark.parametrize("many", [4, 300])
def test_limit_counts_no_expired_tokens(clock: Clock, many: int) -> None:
    backend = MemoryBackend(clock=clock)
    put(backend, "oldest", until=clock() + 600, owner="ada")
    for n in range(many):
        put(backend, f"short {n}", until=clock() + 1, owner="ada")
    clock.forward(2)
    put(backend, "new", until=clock() + 600, owner="ada", limit=2)
    # Over the limit by number alone: the oldest is live, and all the others have expired.
    assert live(backend, "oldest", "new") == ["oldest", "new"]


class TestTruth:
    def test_empty_backend_counts_as_given(self) -> None:
        backend = MemoryBackend()
        assert len(backend) == 0
        assert (backend or MemoryBackend()) is backend
