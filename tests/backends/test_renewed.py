"""What is called in a forked child, called here: each object is usable, or refuses, afterwards."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
import threading
import time
import unittest
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from sqlalchemy import create_engine

from ott_middleware import (
    CookieSession,
    MemoryBackend,
    OTTMiddleware,
    RedisBackend,
    SQLAlchemyBackend,
    SQLiteBackend,
    forks,
)
from ott_middleware import concurrency as calls
from ott_middleware.backends import MappingBackend
from ott_middleware.backends.redis.wire import PoolWire, _OneProcess
from ott_middleware.backends.sqlite import file as sqlite_file
from ott_middleware.errors import BackendUnavailable, KeyTaken
from ott_middleware.testing import BackendContract, races

from .redis_servers import URL

LATER: dict[str, Any] = {"expires_at": time.time() + 3_600, "owner": "owner", "limit": None}


class Thing:
    renewed = prepared = 0

    def renew_after_fork(self) -> None:
        self.renewed += 1


class Prepared(Thing):
    resumed = 0

    def prepare_for_fork(self, deadline: float) -> None:
        self.prepared += 1

    def resume_after_fork(self) -> None:
        self.resumed += 1


def test_registered_object_is_told_as_long_as_it_is_referenced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for registry in ("_renewed", "_prepared"):
        monkeypatch.setattr(forks, registry, type(forks._renewed)())
    things = [Thing(), Prepared()]
    forks.renew_in_children(things[0])
    forks.prepare_for_forks(things[1])
    forks.renew_in_children(Thing())
    forks.prepare_for_forks(Prepared())
    forks._prepare()
    forks._renew()
    assert [(each.prepared, each.renewed) for each in things] == [(0, 1), (1, 1)]
    forks._renew()  # as servers do that call nothing before they fork
    forks._prepare()
    forks._resume()
    assert [(each.prepared, each.renewed) for each in things] == [(0, 2), (2, 2)]
    assert vars(things[1])["resumed"] == 1


def test_memory() -> None:
    backend = MemoryBackend()
    backend.put("key", b"value", **LATER)
    backend._by_process[-1] = backend._tokens()
    backend.renew_after_fork()
    assert backend.take("key") is None


def test_memory_after_a_fork_that_python_does_not_know_of() -> None:
    backend = MemoryBackend()
    backend.put("key", b"value", **LATER)
    backend._by_process[-1] = backend._by_process.pop(os.getpid())
    assert backend.take("key") is None
    assert list(backend._by_process) == [os.getpid()]


@pytest.mark.parametrize("lock", [threading.Lock(), multiprocessing.Lock()])
def test_mapping(lock: Any) -> None:
    held: dict[str, bytes] = {"theirs": b"beside"}
    backend = MappingBackend(held, lock)
    backend.put("key", b"value", **LATER)
    backend._pid = -1
    assert backend.take("key") is None
    assert list(held) == ["theirs"]

    class Shared(dict[str, bytes]):
        pass

    backend = MappingBackend(Shared(), lock)
    backend.put("key", b"value", **LATER)
    backend.renew_after_fork()
    if isinstance(lock, type(threading.Lock())):
        with pytest.raises(BackendUnavailable, match="pass a multiprocessing"):
            backend.take("key")
    else:
        assert backend.take("key") == b"value"


def test_redis() -> None:
    backend = RedisBackend(URL)
    wire: Any = backend._sync
    pool = wire.pool
    wire.renew_after_fork()
    assert wire.pool is not pool
    loops: Any = backend._async
    loops._held["loop"] = "held"
    loops._pid = -1

    async def main() -> None:
        await loops.close()  # not its own: nothing is closed
        loops.renew_after_fork()
        assert (loops._held, loops._inherited) == ({}, [{"loop": "held"}])

    asyncio.run(main())

    async def after_an_unknown_fork() -> None:
        loops._pid = -1
        with pytest.raises(ZeroDivisionError):
            await loops.send(b"key", "PING")

    loops._held = {"loop": "held"}
    loops._make = lambda: 1 // 0
    asyncio.run(after_an_unknown_fork())
    assert (loops._held, loops._pid) == ({}, os.getpid())
    given = PoolWire(pool)
    locks = pool._lock, pool._event_dispatcher._lock
    given.renew_after_fork()
    assert given.pool is pool  # the client's own, which redis-py renews, but for its locks
    assert not {*map(id, locks)} & {id(pool._lock), id(pool._event_dispatcher._lock)}
    used = _OneProcess()
    used.check_process()
    used.check_process()
    used._pid = -1
    with pytest.raises(BackendUnavailable, match="asyncio client was first used"):
        used.check_process()


def test_sqlalchemy(tmp_path: Path) -> None:
    backend = SQLAlchemyBackend(f"sqlite:///{tmp_path / 'tokens.db'}")
    backend.create_table()
    backend.prepare_for_fork(time.monotonic())
    backend.renew_after_fork()
    assert backend.take("key") is None
    backend._at_work.add("a thread")
    backend.prepare_for_fork(time.monotonic())
    backend.renew_after_fork()
    with pytest.raises(BackendUnavailable, match="use SQLiteBackend"):
        backend.take("key")
    for engine in backend._inherited[::2]:
        engine.dispose()  # type: ignore[attr-defined]  # kept as objects


def test_sqlalchemy_engine_of_the_app() -> None:
    engine = create_engine("postgresql+psycopg://user@127.0.0.1:1/none")
    pool = engine.pool
    backend = SQLAlchemyBackend(engine)
    used = backend._engine
    backend.renew_after_fork()
    assert backend._engine is used
    assert engine.pool is not pool
    backend.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[sqlite_file.File]:
    backend = SQLiteBackend(tmp_path / "tokens.db")
    backend.take("key")
    yield backend._file
    backend.close()


def test_sqlite_file(file: sqlite_file.File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "_refused", [])
    for registry in ("_renewed", "_prepared"):
        monkeypatch.setattr(forks, registry, type(forks._renewed)())
    forks.prepare_for_forks(file)
    connection = file._connection
    file._holder = threading.get_ident()
    file.prepare_for_fork(time.monotonic() + 60)
    assert not file._lock.locked()
    file._holder = None
    forks._prepare()
    assert file._lock.locked()
    file.prepare_for_fork(time.monotonic() + 60)  # by a signal handler, amid the fork
    assert file._lock.locked()
    forks._renew()
    file.renew_after_fork()  # it is closed: nothing to refuse
    assert not file._refused
    file.run(lambda connection: None, "NORMAL")
    file._lock.acquire()
    monkeypatch.setattr(forks, "_WAIT", 0.01)
    forks._prepare()
    forks._resume()
    assert file._lock.locked()  # as it was
    forks._prepare()
    forks._renew()
    assert sqlite_file._refused == [file]
    with pytest.raises(BackendUnavailable, match="amid an operation"):
        file.run(lambda connection: None, "NORMAL")
    file._refused = False
    assert file._connection is not connection


def test_probes_and_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    app: Any = OTTMiddleware(
        lambda environ, start_response: [], session=CookieSession("sid"), interface="wsgi"
    )
    probes = app._probe._places
    app._probe.renew_after_fork()
    assert app._probe._places is not probes
    before = SyncToAsync.single_thread_executor
    monkeypatch.setattr(SyncToAsync, "single_thread_executor", before)
    calls._renew_executor()
    assert SyncToAsync.single_thread_executor is not before


class Outcomes(MemoryBackend):
    outcome: Any = b"redeemed"

    def take(self, key: str) -> bytes | None:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome and super().take(key)


def test_child_of_the_contract_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([None, "has hung"])
    monkeypatch.setattr(races, "_in_child", lambda backend, key: next(told))
    answers: queue.Queue[Any] = queue.Queue()
    races._fork_all(Outcomes, 1, 1, answers)
    assert answers.get_nowait() == [[None, "redeemed"]]
    races._fork_all(Outcomes, 3, 1, answers)
    assert answers.get_nowait() == [["has hung", "redeemed"]]
    backend = Outcomes()
    caller = races.caller_of(backend)
    assert races._uses_own(caller) is None
    backend.outcome = None
    assert races._uses_own(caller) == "put a value and then got None"
    backend.outcome = BackendUnavailable()
    assert races._outcome(caller, "key") is None
    backend.put = lambda *_, **__: (_ for _ in ()).throw(BackendUnavailable())  # type: ignore[method-assign]  # as a child that is refused
    assert races._uses_own(caller) is None
    backend.outcome = KeyTaken()
    assert races._outcome(caller, "key") == "failed with KeyTaken"


def test_contract_hears_of_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its threads are not there in the child, which only uses the backend.
    monkeypatch.setattr(warnings, "filters", [("ignore", None, DeprecationWarning, None, 0)])
    backend = Outcomes()
    assert races._in_child(backend, "key") is None
    backend.outcome = KeyTaken()
    assert races._in_child(backend, "key") == "failed with KeyTaken"
    monkeypatch.setattr(races, "_HUNG", 0.05)
    monkeypatch.setattr(races, "_outcome", lambda caller, key: time.sleep(60))
    assert races._in_child(backend, "key") == "has hung for 0 seconds"


def test_contract_where_there_is_no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    class Contract(BackendContract):
        def before_fork(self) -> Any:
            return Outcomes

    monkeypatch.delattr(os, "fork")
    with pytest.raises(unittest.SkipTest, match="no fork"):
        Contract().test_of_parent_and_forked_children_one_wins()


def test_parent_asks_a_busy_engine_again(monkeypatch: pytest.MonkeyPatch) -> None:
    caller: Any = None
    monkeypatch.setattr(races, "_PAUSE", 0)
    outcomes = iter([None, None, "redeemed"])
    monkeypatch.setattr(races, "_outcome", lambda caller, key: next(outcomes))
    assert races._insist(caller, "key") == "redeemed"
    monkeypatch.setattr(races, "_outcome", lambda caller, key: None)
    assert races._insist(caller, "key") is None
