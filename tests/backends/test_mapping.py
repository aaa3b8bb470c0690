from __future__ import annotations

import dbm.dumb
import multiprocessing
import shelve
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ott_middleware import Backend, ConfigurationError
from ott_middleware.backends import MappingBackend
from ott_middleware.testing import BackendContract, Clock, assert_single_use

from .sync_async import ROUNDS, AppCaller


class TestContractOverADict(BackendContract):
    rounds = ROUNDS

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return MappingBackend({}, threading.Lock(), clock=clock)

    def before_fork(self) -> Callable[[], Backend]:
        return _over_a_dict


def _over_a_dict() -> Backend:
    return MappingBackend({}, threading.Lock())


class TestContractOverAShelf(BackendContract):
    rounds = ROUNDS

    @pytest.fixture(autouse=True)
    def _shelf(self, tmp_path: Path) -> Iterator[None]:
        # Of the kinds of dbm, one that any thread may use.
        with shelve.Shelf(dbm.dumb.open(str(tmp_path / "shelf"))) as self.shelf:
            yield

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return MappingBackend(self.shelf, threading.Lock(), clock=clock)


@pytest.fixture(scope="class")
def _manager_of_class(request: pytest.FixtureRequest) -> Iterator[None]:
    with multiprocessing.get_context("spawn").Manager() as manager:
        request.cls.mapping, request.cls.lock = manager.dict(), manager.Lock()
        yield


@pytest.mark.usefixtures("_manager_of_class")
class TestContractOverProcesses(BackendContract):
    """Over a dict that a manager's process holds, with a lock that keeps out all of them."""

    rounds = ROUNDS

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return MappingBackend(self.mapping, self.lock, clock=clock)

    def connect(self) -> Callable[[], Backend]:
        return partial(MappingBackend, self.mapping, self.lock)


class NoLock:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_race_is_lost_without_a_lock() -> None:
    # That the tests above could fail.
    with pytest.raises(AssertionError):
        assert_single_use(MappingBackend({}, NoLock()), rounds=500)


def test_expired_tokens_leave_the_mapping_bit_by_bit() -> None:
    clock, mapping = Clock(), {"theirs": b"beside"}
    backend = MappingBackend(mapping, threading.Lock(), clock=clock)
    for number in range(100):
        backend.put(str(number), b"v", expires_at=clock() + 10, owner=f"o{number}", limit=None)
    backend.put("kept", b"v", expires_at=clock() + 90, owner="o0", limit=None)
    clock.now += 10
    sizes = []
    for number in range(30):
        backend.put(f"n{number}", b"v", expires_at=clock() + 60, owner="one", limit=None)
        sizes.append(len(mapping))
    # A put looks at eight of what has expired, and adds a token. (The first of these eight is the
    # list of an owner with a live token, which stays; the first put also adds a list.)
    assert sizes[:3] == [202 - 7 + 2, 197 - 8 + 1, 190 - 8 + 1]
    assert len(mapping) == 1 + 2 + 30 + 1
    assert backend.take("kept") == b"v"
    assert mapping["theirs"] == b"beside"


def test_key_that_was_put_again_outlives_the_first() -> None:
    clock = Clock()
    backend = MappingBackend({}, threading.Lock(), clock=clock)
    backend.put("key", b"first", expires_at=clock() + 10, owner="o", limit=None)
    backend.take("key")
    backend.put("key", b"second", expires_at=clock() + 60, owner="o", limit=None)
    clock.now += 20
    backend.put("other", b"v", expires_at=clock() + 60, owner="o", limit=None)
    assert backend.take("key") == b"second"


def test_key_that_went_to_another_owner_is_theirs() -> None:
    clock = Clock()
    backend = MappingBackend({}, threading.Lock(), clock=clock)
    backend.put("key", b"v", expires_at=clock() + 60, owner="first", limit=None)
    backend.take("key")
    backend.put("key", b"theirs", expires_at=clock() + 60, owner="second", limit=None)
    backend.put("other", b"v", expires_at=clock() + 60, owner="first", limit=1)
    assert backend.revoke("first") == 1
    assert backend.take("key") == b"theirs"


def test_leftovers_of_another_process_are_cleaned_up_on_request() -> None:
    clock = Clock()
    mapping: dict[str, bytes] = {"theirs": b"beside"}
    gone = MappingBackend(mapping, threading.Lock(), clock=clock)
    for number in range(20):
        gone.put(str(number), b"v", expires_at=clock() + 10, owner=f"o{number}", limit=None)
    gone.put("live", b"v", expires_at=clock() + 60, owner="live", limit=None)
    clock.now += 10
    backend = MappingBackend(mapping, threading.Lock(), clock=clock)
    assert backend.clean_up() == 20
    assert sorted(mapping) == ["owner:live", "theirs", "token:live"]
    assert backend.clean_up() == 0


@pytest.mark.parametrize(
    ("mapping", "lock", "named"),
    [
        ([], threading.Lock(), "mapping: a list"),
        (dict, threading.Lock(), "mapping: a type"),
        (None, threading.Lock(), "mapping: a NoneType"),
        ({}, None, "lock: a NoneType"),
        ({}, threading.Condition, "lock: a type"),
    ],
)
def test_object_that_is_no_mapping_or_no_lock_is_refused(
    mapping: Any, lock: Any, named: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{named}"):
        MappingBackend(mapping, lock)


def test_middleware_over_it(world: AppCaller) -> None:
    app = world.wrap(backend=MappingBackend({}, threading.Lock()))
    token = world.generate(app).json["token"]
    assert [world.verify(app, token).status for _ in range(2)] == [200, 400]


def test_client_libraries_are_not_imported() -> None:
    program = """
import sys
from ott_middleware import backends
for name in backends.__all__:
    assert name in dir(backends)
libraries = {"redis", "django", "sqlalchemy"}
assert not libraries & set(sys.modules)
backends.MappingBackend, backends.RedisBackend, backends.DjangoCacheBackend
assert not libraries & set(sys.modules)
assert "MappingBackend" in vars(backends)
try:
    backends.NoBackend
except AttributeError as error:
    assert "NoBackend" in str(error)
else:
    raise SystemExit("that name should not be there")
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
