"""The contract itself: it catches what is broken, and passes what keeps it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import queue
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ott_middleware import Backend, MemoryBackend
from ott_middleware.errors import BackendFull, BackendUnavailable, KeyTaken, NotSupported
from ott_middleware.testing import (
    BackendContract,
    Clock,
    aassert_single_use,
    assert_fork_safe,
    assert_single_use,
    assert_single_use_across,
    races,
)
from ott_middleware.testing.races import _take_all


class GetThenDelete(Backend):
    """Looks, then deletes: two callers can look before either deletes."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.held: dict[str, tuple[bytes, float]] = {}

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        if key in self.held and self.held[key][1] > self.clock():
            raise KeyTaken
        self.held[key] = value, expires_at

    def take(self, key: str) -> bytes | None:
        value, expires_at = self.held.get(key, (None, 0))
        self.held.pop(key, None)
        return value if expires_at > self.clock() else None


class AwaitedGetThenDelete(Backend):
    """The same for coroutines, which other tasks come between."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.store = GetThenDelete(clock)
        self.closed = 0

    async def aput(self, key: str, value: bytes, **keywords: Any) -> None:
        self.store.put(key, value, **keywords)

    async def atake(self, key: str) -> bytes | None:
        value, _ = self.store.held.get(key, (None, 0))
        await asyncio.sleep(0)
        self.store.held.pop(key, None)
        return value

    async def aclose(self) -> None:
        self.closed += 1


class FileGetThenDelete(Backend):
    """A file for each token: read it, then delete it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        self._file(key).write_bytes(value)

    def take(self, key: str) -> bytes | None:
        try:
            value = self._file(key).read_bytes()
        except FileNotFoundError:
            return None
        self._file(key).unlink(missing_ok=True)
        return value

    def _file(self, key: str) -> Path:
        return self.folder / key.encode().hex()


class FileRenamed(FileGetThenDelete):
    """As it should be: only one can rename a file."""

    def take(self, key: str) -> bytes | None:
        mine = self.folder / f"{os.getpid()}-{threading.get_ident()}"
        try:
            self._file(key).rename(mine)
        except FileNotFoundError:
            return None
        return mine.read_bytes()


# The broken ones are caught: each time.


@pytest.mark.parametrize("run", range(20))
def test_threads_catch_get_then_delete(run: int) -> None:
    with pytest.raises(AssertionError, match="got the value of one token"):
        assert_single_use(GetThenDelete())


@pytest.mark.parametrize("run", range(20))
def test_tests_of_the_contract_catch_get_then_delete(run: int) -> None:
    class Contract(BackendContract):
        def make_backend(self, clock: Callable[[], float]) -> Backend:
            return GetThenDelete(clock)

    for colour in ("sync", "async"):
        with pytest.raises(AssertionError, match="got the value of one token"):
            Contract().test_of_many_takers_one_wins(colour)


@pytest.mark.parametrize("run", range(20))
def test_tasks_catch_get_then_delete(run: int) -> None:
    backend = AwaitedGetThenDelete()
    with pytest.raises(AssertionError, match="got the value of one token"):
        assert_single_use(backend)
    assert backend.closed == 1
    for store in (AwaitedGetThenDelete(), GetThenDelete()):
        with pytest.raises(AssertionError, match="got the value of one token"):
            asyncio.run(aassert_single_use(store))


@pytest.mark.parametrize("run", range(5))
def test_processes_catch_get_then_delete(run: int, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="got the value of one token"):
        assert_single_use_across(functools.partial(FileGetThenDelete, tmp_path))


def test_value_that_a_process_took_is_told(tmp_path: Path) -> None:
    store = FileRenamed(tmp_path)
    store.put("key", b"value", expires_at=0, owner="", limit=None)
    answers: queue.Queue[Any] = queue.Queue()
    _take_all(lambda: store, ["key", "other"], threading.Barrier(1), answers)
    assert answers.get_nowait() == [b"value", None]


def test_double_takes_are_caught() -> None:
    class Contract(BackendContract):
        def make_backend(self, clock: Callable[[], float]) -> Backend:
            return GetThenDelete(clock)

    with pytest.raises(AssertionError):
        Contract().test_of_many_puts_one_wins("sync")


class Forkless(MemoryBackend):
    """As a store in memory that a fork copies."""

    def __init__(self) -> None:
        super().__init__()
        self.mine = super()._tokens()

    def _tokens(self) -> Any:
        return self.mine


class Hangs(Backend):
    """Has a lock that the thread of the parent holds for most of the time."""

    def __init__(self) -> None:
        self.store, self.lock = MemoryBackend(), threading.Lock()

    def put(self, key: str, value: bytes, **keywords: Any) -> None:
        self.store.put(key, value, **keywords)

    def take(self, key: str) -> bytes | None:
        with self.lock:
            if threading.current_thread() is not threading.main_thread():
                time.sleep(0.05)
            return self.store.take(key)


class RaisesAfterAFork(MemoryBackend):
    def __init__(self) -> None:
        super().__init__()
        self.pid = os.getpid()

    def take(self, key: str) -> bytes | None:
        if os.getpid() != self.pid:
            raise KeyTaken
        return super().take(key)


class RefusesAfterAFork(RaisesAfterAFork):
    def take(self, key: str) -> bytes | None:
        try:
            return super().take(key)
        except KeyTaken:
            raise BackendUnavailable from None

    def put(self, key: str, value: bytes, **keywords: Any) -> None:
        if os.getpid() != self.pid:
            raise BackendUnavailable
        super().put(key, value, **keywords)


class ForgetsAfterAFork(RaisesAfterAFork):
    def take(self, key: str) -> bytes | None:
        return None if os.getpid() != self.pid else super().take(key)


def _forkless() -> Backend:
    races._HUNG = 1.0
    return Forkless()


def _hangs() -> Backend:
    # In the process that is forked, which hangs for ever.
    races._HUNG = 0.6
    return Hangs()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("connect", "reason"),
    [
        (_forkless, "got the value of one token|has hung"),
        (_hangs, "has hung for 1 seconds"),
        (RaisesAfterAFork, "failed with KeyTaken"),
        (ForgetsAfterAFork, "put a value and then got None"),
    ],
)
def test_forks_catch_what_goes_through_them(connect: Callable[[], Backend], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        assert_fork_safe(connect)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_child_may_be_refused() -> None:
    assert_fork_safe(RefusesAfterAFork, rounds=1)


class LosesReplies(BackendContract):
    """A client that repeats takes, or not, before a store whose reply is lost once."""

    def __init__(self, kind: type[Losing]) -> None:
        self.kind = kind

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return self.kind(clock=clock)

    @contextlib.contextmanager
    def lose_reply(self, backend: Backend) -> Iterator[Callable[[], int]]:
        assert isinstance(backend, Losing)
        before, backend.losing = backend.takes, True
        yield lambda: backend.takes - before
        backend.losing = False


class Losing(MemoryBackend):
    losing = False
    takes = 0

    def send(self, key: str) -> bytes | None:
        self.takes += 1
        value = super().take(key)
        if self.losing:
            self.losing = False
            raise ConnectionResetError
        return value

    def take(self, key: str) -> bytes | None:
        try:
            return self.send(key)
        except ConnectionResetError:
            raise BackendUnavailable from None


class Raw(Losing):
    take = Losing.send


class Repeats(Losing):
    def take(self, key: str) -> bytes | None:
        try:
            return self.send(key)
        except ConnectionResetError:
            return self.send(key)


class PutsBack(Losing):
    def take(self, key: str) -> bytes | None:
        try:
            return self.send(key)
        except ConnectionResetError:
            self.put(key, b"value", expires_at=self.clock() + 60, owner="o", limit=None)
            raise BackendUnavailable from None


class InventsReplies(Losing):
    def take(self, key: str) -> bytes | None:
        try:
            return self.send(key)
        except ConnectionResetError:
            return b"value"


class SendsNothing(Losing):
    def take(self, key: str) -> bytes | None:
        return None if self.losing else self.send(key)


class CallsItTaken(Losing):
    def take(self, key: str) -> bytes | None:
        try:
            return self.send(key)
        except ConnectionResetError:
            raise KeyTaken from None


@pytest.mark.parametrize("colour", ["sync", "async"])
class TestLostReply:
    @pytest.mark.parametrize("kind", [Losing, Raw])
    def test_sent_once_passes(self, kind: type[Losing], colour: str) -> None:
        LosesReplies(kind).test_a_take_is_never_sent_twice(colour)

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            (Repeats, "one take was sent 2 times"),
            (PutsBack, "it was not taken"),
            (InventsReplies, "no reply had brought"),
            (SendsNothing, "no take has reached the store"),
        ],
    )
    def test_anything_else_is_noticed(self, kind: type[Losing], reason: str, colour: str) -> None:
        with pytest.raises(AssertionError, match=reason):
            LosesReplies(kind).test_a_take_is_never_sent_twice(colour)

    def test_another_error_is_not_taken_for_it(self, colour: str) -> None:
        with pytest.raises(KeyTaken):
            LosesReplies(CallsItTaken).test_a_take_is_never_sent_twice(colour)


# Those that keep the contract pass.


def test_sound_backend_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As for users; the other tests have quicker processes.
    monkeypatch.setattr(races, "_START", "spawn")
    backend = MemoryBackend()
    assert_single_use(backend)
    asyncio.run(aassert_single_use(backend))
    assert len(backend) == 0
    assert_single_use(FileRenamed(tmp_path))
    assert_single_use_across(functools.partial(FileRenamed, tmp_path))


# Each test can fail.

FAULTS: list[tuple[str, dict[str, Any]]] = []


def fault(*tests: str) -> Callable[[type[Backend]], type[Backend]]:
    """Name the tests that must notice what is wrong with a backend."""

    def note(kind: type[Backend]) -> type[Backend]:
        FAULTS.extend((test, {"kind": kind}) for test in tests)
        return kind

    return note


@fault("test_a_value_is_given_once", "test_revoke_drops_what_an_owner_has")
class Keeps(MemoryBackend):
    def take(self, key: str) -> bytes | None:
        value = super().take(key)
        if value is not None:
            super().put(key, value, expires_at=self.clock() + 60, owner="owner", limit=None)
        return value


@fault("test_any_bytes_come_back")
class Strips(MemoryBackend):
    def take(self, key: str) -> bytes | None:
        value = super().take(key)
        return value and value.rstrip(b"\0")


@fault("test_any_bytes_come_back")
class GivesBuffers(MemoryBackend):
    def take(self, key: str) -> Any:
        value = super().take(key)
        return value and bytearray(value)


@fault("test_an_unknown_key_gives_nothing")
class Invents(MemoryBackend):
    def take(self, key: str) -> bytes | None:
        return super().take(key) or b"something"


def with_key(change: Callable[[str], str]) -> type[Backend]:
    class Changed(MemoryBackend):
        def put(self, key: str, value: bytes, **keywords: Any) -> None:
            super().put(change(key), value, **keywords)

        def take(self, key: str) -> bytes | None:
            return super().take(change(key))

    return Changed


for change in (str.lower, str.rstrip, lambda key: key.replace("_", "%")):
    fault("test_keys_are_told_apart")(with_key(change))
fault("test_long_keys_are_told_apart")(with_key(lambda key: key[:255]))
fault("test_long_keys_are_told_apart")(with_key(str.lower))


@fault("test_a_live_value_is_not_overwritten", "test_of_many_puts_one_wins")
class Overwrites(MemoryBackend):
    def put(self, key: str, value: bytes, **keywords: Any) -> None:
        self.take(key)
        super().put(key, value, **keywords)


@fault("test_a_live_value_is_not_overwritten", "test_of_many_puts_one_wins")
class RefusesInSilence(MemoryBackend):
    def put(self, key: str, value: bytes, **keywords: Any) -> None:
        try:
            super().put(key, value, **keywords)
        except KeyTaken:
            return


@fault("test_a_live_value_is_not_overwritten")
class RetiresFirst(MemoryBackend):
    def put(self, key: str, value: bytes, **keywords: Any) -> None:
        if keywords["limit"] == 1:
            self.revoke(keywords["owner"])
        super().put(key, value, **keywords)


@fault("test_a_key_is_free_after_it_was_taken")
class RemembersKeys(MemoryBackend):
    def put(self, key: str, value: bytes, **keywords: Any) -> None:
        seen = self.__dict__.setdefault("seen", set())
        if key in seen:
            raise KeyTaken
        seen.add(key)
        super().put(key, value, **keywords)


@fault("test_nobody_is_evicted", "test_full_is_full")
class Evicts(MemoryBackend):
    def put(self, key: str, value: bytes, **keywords: Any) -> None:
        keys = self.__dict__.setdefault("keys", [])
        if len(keys) >= 9:
            self.take(keys.pop(0))
        keys.append(key)
        super().put(key, value, **keywords)


@fault("test_full_is_full")
class AlwaysFull(MemoryBackend):
    def put(self, key: str, value: bytes, **keywords: Any) -> None:
        raise BackendFull


@fault(
    "test_a_value_is_gone_when_it_expires",
    "test_an_expired_value_makes_way",
    "test_the_dead_do_not_count",
    "test_what_has_expired_already_can_not_be_taken",
)
class NeverExpires(MemoryBackend):
    def put(self, key: str, value: bytes, *, expires_at: float, **keywords: Any) -> None:
        super().put(key, value, expires_at=expires_at + 1e6, **keywords)


@fault("test_a_value_is_gone_when_it_expires")
class ExpiresEarly(MemoryBackend):
    def put(self, key: str, value: bytes, *, expires_at: float, **keywords: Any) -> None:
        super().put(key, value, expires_at=expires_at - 1, **keywords)


@fault(
    "test_the_oldest_beyond_the_limit_go",
    "test_the_newest_supersedes",
    "test_an_owner_that_puts_at_once_keeps_to_the_limit",
)
class Unlimited(MemoryBackend):
    def put(self, key: str, value: bytes, *, limit: int | None, **keywords: Any) -> None:
        super().put(key, value, limit=None, **keywords)


@fault("test_the_oldest_beyond_the_limit_go")
class SharesTheLimit(MemoryBackend):
    def put(self, key: str, value: bytes, *, owner: str, **keywords: Any) -> None:
        super().put(key, value, owner="everybody", **keywords)


@fault("test_revoke_drops_what_an_owner_has")
class RevokesNothing(MemoryBackend):
    def revoke(self, owner: str) -> int:
        return 0


@fault("test_closing_twice_is_allowed")
class ClosesOnce(MemoryBackend):
    def close(self) -> None:
        if self.__dict__.setdefault("closed", False):
            raise RuntimeError("closed already")
        self.closed = True


@fault("test_of_many_takers_one_wins")
class TimesOut(MemoryBackend):
    def take(self, key: str) -> bytes | None:
        raise BackendUnavailable


@fault("test_of_many_takers_one_wins")
class GivesAnother(MemoryBackend):
    def take(self, key: str) -> bytes | None:
        return super().take(key) and b"another's"


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(
    ("test", "options"), FAULTS, ids=[f"{test}-{o['kind'].__name__}" for test, o in FAULTS]
)
def test_wrong_backend_is_noticed(test: str, options: dict[str, Any], colour: str) -> None:
    kind = options["kind"]

    class Contract(BackendContract):
        def make_backend(self, clock: Callable[[], float]) -> Backend:
            return kind(clock=clock)

        def make_small_backend(self, clock: Callable[[], float]) -> Backend:
            return kind(10, clock=clock)

    with pytest.raises((AssertionError, KeyTaken, RuntimeError)):
        getattr(Contract(), test)(colour)


class Breakable(MemoryBackend):
    """Fails a number of times after its connection broke, and may have taken by then."""

    failures = 0
    error: type[Exception] = BackendUnavailable
    loses = False

    def take(self, key: str) -> bytes | None:
        if self.failures:
            self.failures -= 1
            if self.loses:
                super().take(key)
            raise self.error
        return super().take(key)


class BreakableContract(BackendContract):
    def __init__(self, **attributes: Any) -> None:
        self.attributes = attributes

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return Breakable(clock=clock)

    def break_connection(self, backend: Backend) -> None:
        vars(backend).update(self.attributes)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_broken_connection_may_fail_and_fails_closed(
    colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ott_middleware.testing.store._PAUSE", 0)

    def attempt(**attributes: Any) -> None:
        BreakableContract(**attributes).test_a_broken_connection_is_replaced(colour)

    attempt(failures=0)
    attempt(failures=2)
    attempt(failures=1, error=ConnectionResetError)
    attempt(failures=1, loses=True)
    with pytest.raises(AssertionError, match="no response"):
        attempt(failures=1000)
    with pytest.raises(unittest.SkipTest):
        attempt(failures=1, error=NotSupported)
    with pytest.raises(AssertionError):  # lost, and no call failed
        attempt(take=lambda key: None, atake=lambda key: asyncio.sleep(0))
    with pytest.raises(KeyTaken):
        attempt(failures=1, error=KeyTaken)


# What is not there is not tested.


def test_tests_are_made_only_where_they_apply() -> None:
    class PutAndTake:
        def __init__(self, clock: Callable[[], float]) -> None:
            self.store = MemoryBackend(clock=clock)

        def put(self, key: str, value: bytes, *, expires_at: float) -> None:
            self.store.put(key, value, expires_at=expires_at, owner="nobody", limit=None)

        def take(self, key: str) -> bytes | None:
            return self.store.take(key)

    class Contract(BackendContract):
        limits_owners = revokes = False

        def make_backend(self, clock: Callable[[], float]) -> PutAndTake:
            return PutAndTake(clock)

    contract = Contract()
    contract.test_a_value_is_given_once("sync")
    contract.test_of_many_takers_one_wins("async")
    for test, reason in (
        (contract.test_the_oldest_beyond_the_limit_go, "limits_owners"),
        (contract.test_the_newest_supersedes, "limits_owners"),
        (contract.test_the_dead_do_not_count, "limits_owners"),
        (contract.test_an_owner_that_puts_at_once_keeps_to_the_limit, "limits_owners"),
        (contract.test_revoke_drops_what_an_owner_has, "revokes"),
        (contract.test_full_is_full, "make_small_backend"),
        (contract.test_a_broken_connection_is_replaced, "break_connection"),
        (contract.test_a_take_is_never_sent_twice, "lose_reply"),
        (contract.test_of_many_processes_one_wins, "connect"),
        (contract.test_of_parent_and_forked_children_one_wins, "before_fork or connect"),
    ):
        assert test == f"needs {reason}"  # no function: no test runner collects it

    class Undeclared(Contract):
        revokes = True

    with pytest.raises(unittest.SkipTest, match="no revoke"):
        Undeclared().test_revoke_drops_what_an_owner_has("sync")

    class Shared(Contract):
        def connect(self) -> Callable[[], Backend]:
            return MemoryBackend

    assert Shared.test_of_many_processes_one_wins is BackendContract.test_of_many_processes_one_wins
    assert "connect" in Contract.test_of_parent_and_forked_children_one_wins
    assert callable(Shared.test_of_parent_and_forked_children_one_wins)

    class Left(Shared):
        test_of_many_processes_one_wins = None

    class LeftAsWell(Left):
        pass

    assert LeftAsWell.test_of_many_processes_one_wins is None


def test_backend_of_one_kind_is_enough() -> None:
    class Contract(BackendContract):
        def make_backend(self, clock: Callable[[], float]) -> Backend:
            return AwaitedGetThenDelete(clock)

    Contract().test_a_value_is_given_once("async")
    with pytest.raises(unittest.SkipTest, match="async only: set modes"):
        Contract().test_a_value_is_given_once("sync")


def test_contract_without_a_backend_says_what_to_define() -> None:
    with pytest.raises(NotImplementedError, match=r"define make_backend\(self, clock\)"):
        BackendContract().test_a_value_is_given_once("sync")


def test_hook_that_is_not_defined_is_not_to_be_called() -> None:
    contract, backend = BackendContract(), MemoryBackend()
    with pytest.raises(NotImplementedError):
        contract.before_fork()
    with pytest.raises(NotImplementedError):
        contract.make_small_backend(Clock())
    with pytest.raises(NotImplementedError):
        contract.break_connection(backend)
    with pytest.raises(NotImplementedError):
        contract.lose_reply(backend)


def test_threads_of_a_race_are_traced_no_longer_than_the_race() -> None:
    # Else Python 3.12 runs all that follows at a fifth of its speed.
    left: list[object] = []

    class Ends:
        def __del__(self) -> None:
            left.append(sys.gettrace())

    class Local(MemoryBackend):
        def take(self, key: str) -> bytes | None:
            # Dropped with the thread's own variables, after its last function has returned.
            own.end = Ends()
            return super().take(key)

    own = threading.local()
    assert_single_use(Local(), rounds=1, callers=3)
    assert left == [None] * 3


def test_hung_race_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    class Hangs(MemoryBackend):
        def take(self, key: str) -> bytes | None:
            released.wait(10)
            return super().take(key)

    monkeypatch.setattr("ott_middleware.testing.sync_async.SECONDS", 0.1)
    try:
        with pytest.raises(AssertionError, match="hung"):
            assert_single_use(Hangs())
    finally:
        released.set()


def test_clock_stands_still() -> None:
    clock = Clock()
    assert clock() == clock()
    clock.now += 30
    assert clock() == clock.now


def test_author_needs_three_lines(tmp_path: Path) -> None:
    # The only place where pytest collects the class as an author's pytest does.
    test = tmp_path / "test_mine.py"
    test.write_text(
        "from ott_middleware import MemoryBackend\n"
        "from ott_middleware.testing import BackendContract\n"
        "class TestMine(BackendContract):\n"
        "    def make_backend(self, clock):\n"
        "        return MemoryBackend(clock=clock)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",  # what this run is given may need a plugin
    }
    done = subprocess.run(
        [*command, str(test)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "38 passed" in done.stdout
    assert "skipped" not in done.stdout


def test_suite_imports_without_pytest() -> None:
    code = (
        "import sys, ott_middleware.testing\n"
        "print(sorted({'pytest', 'hypothesis', 'multiprocessing.pool'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n", done.stderr
