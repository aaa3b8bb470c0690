from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import BaseMemcachedCache
from django.test import override_settings
from django_project import configure

from ott_middleware import Backend, ConfigurationError
from ott_middleware.backends import DjangoCacheBackend
from ott_middleware.errors import BackendUnavailable, KeyTaken, NotSupported
from ott_middleware.testing import BackendContract, Clock

from .redis_servers import URL, Server, free_port, shared_prefix
from .sync_async import ROUNDS, AppCaller, Loop

CACHES = "django.core.cache.backends"


def cache(backend: str, location: Any = "", **more: Any) -> AbstractContextManager[None]:
    """Django with one cache beside the default one, `ott`."""
    configure()
    default = {"BACKEND": f"{CACHES}.dummy.DummyCache"}
    backend = backend if "." in backend else f"{CACHES}.{_MODULES[backend]}.{backend}"
    one = {"BACKEND": backend, "LOCATION": location, **more}
    return override_settings(CACHES={"default": default, "ott": one})


_MODULES = {
    "DatabaseCache": "db",
    "DummyCache": "dummy",
    "FileBasedCache": "filebased",
    "LocMemCache": "locmem",
    "PyMemcacheCache": "memcached",
    "RedisCache": "redis",
}


def local(**more: Any) -> AbstractContextManager[None]:
    return cache("LocMemCache", uuid.uuid4().hex, OPTIONS={"MAX_ENTRIES": 10_000}, **more)


class TestContractInLocalMemory(BackendContract):
    limits_owners = revokes = False
    rounds = ROUNDS

    @pytest.fixture(autouse=True)
    def _cache(self) -> Iterator[None]:
        with local():
            yield

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return DjangoCacheBackend("ott", clock=clock)


def connect_to_redis(url: str, prefix: str) -> Backend:
    """For other processes, which have no settings yet."""
    cache("RedisCache", url, KEY_PREFIX=prefix).__enter__()
    return DjangoCacheBackend("ott")


class TestContractInRedis(BackendContract):
    limits_owners = revokes = False
    rounds = ROUNDS

    @pytest.fixture(autouse=True)
    def _cache(self) -> Iterator[None]:
        with shared_prefix() as self.prefix, cache("RedisCache", URL, KEY_PREFIX=self.prefix):
            yield
            with redis.Redis.from_url(URL) as store:
                for key in store.scan_iter(match=f"{self.prefix}:*", count=1000):
                    store.delete(key)

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return DjangoCacheBackend("ott", clock=clock)

    def connect(self) -> Callable[[], Backend]:
        return partial(connect_to_redis, URL, self.prefix)


@pytest.fixture(scope="module")
def memcached() -> Iterator[str]:
    if shutil.which("memcached") is None:
        pytest.skip("no memcached to start")
    port = free_port()
    command = ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody"]
    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.02)
    yield f"127.0.0.1:{port}"
    process.kill()
    process.wait(10)


class TestContractInMemcached(BackendContract):
    limits_owners = revokes = False
    rounds = ROUNDS

    @pytest.fixture(autouse=True)
    def _cache(self, memcached: str) -> Iterator[None]:
        with cache("PyMemcacheCache", memcached):
            yield
            caches["ott"].close()

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return DjangoCacheBackend("ott", clock=clock)


# Which caches.


@pytest.mark.parametrize(
    ("backend", "options", "cure"),
    [
        ("DatabaseCache", {}, "use SQLAlchemyBackend"),
        ("FileBasedCache", {}, "use SQLiteBackend"),
        ("DummyCache", {}, "keeps nothing"),
        ("PyMemcacheCache", {"default_noreply": True}, "take the noreply out"),
        (f"{__name__}.Memcached", {"behaviors": {"_noreply": True}}, "take the noreply out"),
        (f"{__name__}.Unknown", {}, "pass delete_is_atomic=True"),
    ],
)
def test_caches_that_can_not_decide_are_refused(
    tmp_path: Path, backend: str, options: dict[str, Any], cure: str
) -> None:
    location = str(tmp_path / "cache")
    with (
        cache(backend, location, OPTIONS=options),
        pytest.raises(ConfigurationError, match=rf"^alias: 'ott' is a \w+: .*{cure}"),
    ):
        DjangoCacheBackend("ott")


@pytest.mark.parametrize("backend", ["RedisCache", "PyMemcacheCache"])
def test_caches_that_can_decide_are_taken(backend: str) -> None:
    with cache(backend, "127.0.0.1:1"):  # and not connected to
        DjangoCacheBackend("ott")


class Memcached(BaseMemcachedCache):  # type: ignore[misc]  # its base has no types
    """As Django has it over pylibmc."""

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        library = SimpleNamespace(Client=None)
        super().__init__(server, params, library=library, value_not_found_exception=KeyError)

    def close(self, **keywords: Any) -> None: ...


class Unknown(BaseCache):  # type: ignore[misc]  # its base has no types
    """A cache of somebody else's making, over one of Django's."""

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        inner = LocMemCache(name, params)
        self.add, self.get, self.delete = inner.add, inner.get, inner.delete


def test_another_cache_is_taken_at_the_user_s_word() -> None:
    with cache(f"{__name__}.Unknown", uuid.uuid4().hex):
        backend = DjangoCacheBackend("ott", delete_is_atomic=True, clock=lambda: 1000.0)
        backend.put("key", b"value", expires_at=1060, owner="o", limit=None)
        assert [backend.take("key"), backend.take("key")] == [b"value", None]


def test_alias_that_is_not_there_is_refused() -> None:
    with local(), pytest.raises(ConfigurationError, match=r"^alias: 'nosuch'; .*CACHES"):
        DjangoCacheBackend("nosuch")


def test_django_that_is_not_set_up_is_refused() -> None:
    program = """
from ott_middleware import ConfigurationError
from ott_middleware.backends import DjangoCacheBackend
try:
    DjangoCacheBackend()
except ConfigurationError as error:
    assert "ImproperlyConfigured" in str(error) and "set up" in str(error)
else:
    raise SystemExit("it was made")
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_missing_django_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "django.core.cache", None)
    with pytest.raises(ConfigurationError, match="pip install django"):
        DjangoCacheBackend()


@pytest.mark.parametrize("one_process", [True, False])
def test_log_line_says_what_it_can_not_do(
    caplog: pytest.LogCaptureFixture, one_process: bool
) -> None:
    with local() if one_process else cache("RedisCache", "redis://127.0.0.1:1"):
        DjangoCacheBackend("ott")
    (record,) = [r for r in caplog.records if "DjangoCacheBackend" in r.getMessage()]
    assert "can't be revoked" in record.getMessage()
    assert ("serves one process" in record.getMessage()) is one_process


# How it answers.


def test_revoke_is_not_supported(loop: Loop) -> None:
    with local():
        backend = DjangoCacheBackend("ott")
        with pytest.raises(NotSupported):
            backend.revoke("owner")
        with pytest.raises(NotSupported):
            loop.run(backend.arevoke("owner"))


def test_deletion_decides_the_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two have read the value before the first of them deletes it.
    with local():
        backend = DjangoCacheBackend("ott", clock=lambda: 1000.0)
        backend.put("key", b"value", expires_at=1060, owner="o", limit=None)
        get, taken = LocMemCache.get, []

        def slowly(cache: LocMemCache, name: str) -> Any:
            held = get(cache, name)
            monkeypatch.setattr(LocMemCache, "get", get)
            taken.append(backend.take("key"))
            return held

        monkeypatch.setattr(LocMemCache, "get", slowly)
        taken.append(backend.take("key"))
        assert taken == [b"value", None]


def test_token_that_expired_by_the_given_clock_makes_way() -> None:
    clock = Clock()
    with local():
        backend = DjangoCacheBackend("ott", clock=clock)
        backend.put("key", b"old", expires_at=clock() + 30, owner="o", limit=None)
        clock.now += 30
        backend.put("key", b"new", expires_at=clock() + 30, owner="o", limit=None)
        with pytest.raises(KeyTaken):
            backend.put("key", b"newer", expires_at=clock() + 30, owner="o", limit=None)
        assert backend.take("key") == b"new"


def test_cache_that_will_not_store_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with local():
        backend = DjangoCacheBackend("ott", clock=lambda: 1000.0)
        monkeypatch.setattr(LocMemCache, "add", lambda *_, **__: False)
        with pytest.raises(BackendUnavailable):
            backend.put("key", b"value", expires_at=1060, owner="o", limit=None)


def test_connections_are_used_again_and_not_across_a_fork(
    memcached: str, world: AppCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connections() -> int:
        host, port = memcached.split(":")
        with socket.create_connection((host, int(port))) as asking, asking.makefile("rwb") as lines:
            lines.write(b"stats\r\n")
            lines.flush()
            found = dict(line.split()[1:] for line in iter(lines.readline, b"END\r\n"))
        return int(found[b"curr_connections"])

    with cache("PyMemcacheCache", memcached):
        before = connections()
        backend = DjangoCacheBackend("ott")
        app = world.wrap(backend=backend)
        for _ in range(20):
            assert world.verify(app, world.generate(app).json["token"]).status == 200
        assert connections() == before + 1
        assert len(backend._idle) == 1
        used = backend._idle[0]
        with monkeypatch.context() as patched:
            patched.setattr("os.getpid", lambda: 1)  # as a child has another
            backend.take("key")
            assert backend._idle[0] is not used
            backend.close()
        used.close()
        assert backend._idle == []
        backend.close()


def test_client_of_the_parent_is_not_used_after_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    with local():
        backend = DjangoCacheBackend("ott")
        backend.take("key")
        (used,) = backend._idle
        with monkeypatch.context() as patched:
            patched.setattr("os.getpid", lambda: 1)  # as a child has another
            backend.take("key")
            assert len(backend._idle) == 1
            assert backend._idle[0] is not used


def test_client_that_failed_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with local():
        backend = DjangoCacheBackend("ott", clock=lambda: 1000.0)
        backend.put("key", b"value", expires_at=1060, owner="o", limit=None)
        used = backend._idle[0]
        with pytest.raises(KeyTaken):
            backend.put("key", b"value", expires_at=1060, owner="o", limit=None)
        assert backend._idle == [used]
        with monkeypatch.context() as patched:
            patched.setattr(used, "get", lambda _: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                backend.take("key")
        assert backend._idle == []
        assert backend.take("key") == b"value"


def test_middleware_over_it(world: AppCaller) -> None:
    with local():
        app = world.wrap(backend=DjangoCacheBackend("ott"))
        token = world.generate(app).json["token"]
        assert [world.verify(app, token).status for _ in range(2)] == [200, 400]


def test_cache_that_is_down_is_503(
    server: Server, world: AppCaller, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.url.replace("//", "//:sesame@")
    server.ask("ACL", "SETUSER", "default", "on", ">sesame")
    with cache("RedisCache", url, OPTIONS={"socket_timeout": 2, "socket_connect_timeout": 2}):
        app = world.wrap(backend=DjangoCacheBackend("ott"))
        token = world.generate(app).json["token"]
        server.stop()
        caplog.clear()
        for answer in (world.generate(app), world.verify(app, token)):
            assert (answer.status, answer.json["code"]) == (503, "BACKEND_UNAVAILABLE")
            assert answer.headers["retry-after"]
        assert len([r for r in caplog.records if r.name == "ott_middleware"]) == 2
        assert token not in caplog.text
        assert "sesame" not in caplog.text
        assert world.ask(app, "/").body == b"Hello, world!"
        server.start()
        server.ask("ACL", "SETUSER", "default", "on", ">sesame")
        assert world.verify(app, world.generate(app).json["token"]).status == 200
