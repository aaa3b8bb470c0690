from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from ott_middleware import Backend, ConfigurationError, RedisBackend
from ott_middleware.errors import KeyTaken, NotSupported
from ott_middleware.testing import BackendContract, Clock

from .redis_servers import URL, Server, free_port
from .sync_async import ROUNDS, Colour, Loop


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def backend(prefix: str, clock: Clock) -> Iterator[RedisBackend]:
    backend = RedisBackend(URL, prefix=prefix, clock=clock)
    yield backend
    backend.close()


@pytest.fixture
def store() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(URL) as store:
        yield store


def keys(store: redis.Redis, prefix: str) -> list[bytes]:
    return sorted(store.scan_iter(match=f"{{{prefix}}}:*", count=1000))


class TestContract(BackendContract):
    """Over connections of its own, made of a URL."""

    rounds = ROUNDS

    @pytest.fixture(autouse=True)
    def _prefix(self, prefix: str) -> None:
        self.prefix = prefix

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return RedisBackend(f"{URL}?client_name={self.prefix}", prefix=self.prefix, clock=clock)

    def connect(self) -> Callable[[], Backend]:
        return partial(RedisBackend, URL, prefix=self.prefix)

    def break_connection(self, backend: Backend) -> None:
        with redis.Redis.from_url(URL) as admin:
            broken = [c["id"] for c in admin.client_list() if c["name"] == self.prefix]
            assert broken
            for connection in broken:
                admin.client_kill_filter(_id=connection)


class TestContractOfAClient(BackendContract):
    """Over a user's client, which is sync and decodes what it reads."""

    rounds = ROUNDS

    @pytest.fixture(autouse=True)
    def _client(self, prefix: str) -> Iterator[None]:
        self.prefix = prefix
        with redis.Redis.from_url(URL, socket_timeout=5, decode_responses=True) as self.client:
            yield

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return RedisBackend(self.client, prefix=self.prefix, clock=clock)


# What it keeps, and for how long.


def test_value_is_given_once(backend: RedisBackend, colour: Colour) -> None:
    colour.put(backend, "key", bytes(range(256)))
    assert colour.take(backend, "key") == bytes(range(256))
    assert colour.take(backend, "key") is None


def test_live_value_is_not_overwritten(backend: RedisBackend, colour: Colour) -> None:
    colour.put(backend, "key", b"first", owner="a")
    with pytest.raises(KeyTaken):
        colour.put(backend, "key", b"second", owner="b")
    assert colour.revoke(backend, "b") == 0
    assert colour.take(backend, "key") == b"first"


def test_expiry_is_judged_by_the_clock_that_was_given(
    backend: RedisBackend, colour: Colour, clock: Clock
) -> None:
    colour.put(backend, "early", expires_at=1030)
    colour.put(backend, "late", expires_at=1060)
    clock.now = 1029.999
    assert colour.take(backend, "early") == b"value"
    colour.put(backend, "early", b"again", expires_at=1030)
    clock.now = 1030.0
    assert colour.take(backend, "early") is None
    clock.now = 1060.0
    assert colour.revoke(backend) == 0
    assert colour.take(backend, "late") is None


def test_expired_value_makes_way(backend: RedisBackend, colour: Colour, clock: Clock) -> None:
    colour.put(backend, "key", b"old", expires_at=1030)
    clock.now = 1030.0
    colour.put(backend, "key", b"new", expires_at=1090, owner="another")
    assert colour.revoke(backend, "owner") == 0
    assert colour.take(backend, "key") == b"new"


def test_expired_value_is_not_kept(
    backend: RedisBackend, colour: Colour, store: redis.Redis, prefix: str
) -> None:
    colour.put(backend, "key", expires_at=1000)
    assert keys(store, prefix) == []


def test_oldest_beyond_the_limit_go(backend: RedisBackend, colour: Colour) -> None:
    # In the order of the puts: neither the clock, which stands still, nor the expiry decides.
    for key, expires_at in (("9", 1090.0), ("5", 1020.0), ("7", 1050.0), ("1", 1030.0)):
        colour.put(backend, key, expires_at=expires_at, limit=None)
    colour.put(backend, "another's", owner="another")
    colour.put(backend, "3", expires_at=1040.0, limit=3)
    assert [colour.take(backend, key) is not None for key in "95713"] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert colour.take(backend, "another's") == b"value"


def test_taken_and_expired_tokens_do_not_count(
    backend: RedisBackend, colour: Colour, clock: Clock
) -> None:
    colour.put(backend, "kept", expires_at=1900, limit=3)
    colour.put(backend, "expired", expires_at=1010, limit=3)
    for number in range(5):
        colour.put(backend, f"taken {number}", limit=3)
        colour.take(backend, f"taken {number}")
    colour.put(backend, "second", limit=3)
    clock.now = 1020
    colour.put(backend, "third", limit=3)
    assert colour.revoke(backend) == 3


def test_limit_of_one_supersedes(backend: RedisBackend, colour: Colour) -> None:
    colour.put(backend, "a", limit=1)
    colour.put(backend, "b", limit=1)
    assert colour.take(backend, "a") is None
    assert colour.take(backend, "b") == b"value"


def test_revoke_drops_what_an_owner_has(backend: RedisBackend, colour: Colour) -> None:
    for key in "abc":
        colour.put(backend, key)
    colour.put(backend, "d", owner="another")
    colour.take(backend, "a")
    assert colour.revoke(backend) == 2
    assert colour.revoke(backend) == 0
    assert [colour.take(backend, key) for key in "abcd"] == [None, None, None, b"value"]


@pytest.mark.parametrize("limit", [1, None])
def test_key_that_went_to_another_owner_is_theirs(
    backend: RedisBackend, colour: Colour, limit: int | None
) -> None:
    colour.put(backend, "key", owner="first", limit=limit)
    colour.take(backend, "key")
    colour.put(backend, "key", b"theirs", owner="second")
    colour.put(backend, "other", owner="first", limit=limit)
    assert colour.revoke(backend, "first") == 1
    assert colour.take(backend, "key") == b"theirs"


def test_keys_are_not_left_behind(
    backend: RedisBackend, colour: Colour, store: redis.Redis, prefix: str
) -> None:
    colour.put(backend, "long", expires_at=1090.5)
    colour.put(backend, "short", expires_at=1010)
    lives = {key.rpartition(b":")[2]: store.pttl(key) for key in keys(store, prefix)}
    assert set(lives) == {b"long", b"short", b"owner"}
    assert 85_000 < lives[b"long"] <= 90_500
    assert 5_000 < lives[b"short"] <= 10_000
    assert 85_000 < lives[b"owner"] <= 90_500


def test_index_of_an_owner_is_pruned(
    backend: RedisBackend, store: redis.Redis, prefix: str, clock: Clock
) -> None:
    for number in range(30):
        backend.put(str(number), b"v", expires_at=1060, owner="capped", limit=3)
        backend.take(str(number))
    for number in range(150):
        backend.put(str(number), b"v", expires_at=1060, owner="free", limit=None)
    # Beside the tokens there is the member that counts.
    assert store.zcard(f"{{{prefix}}}:owner:capped") <= 4
    assert store.zcard(f"{{{prefix}}}:owner:free") == 151
    clock.now = 1060
    backend.put("x", b"v", expires_at=1090, owner="free", limit=None)
    assert store.zcard(f"{{{prefix}}}:owner:free") == 52  # a hundred at a time
    backend.put("y", b"v", expires_at=1090, owner="free", limit=None)
    assert store.zcard(f"{{{prefix}}}:owner:free") == 3


def test_prefixes_keep_apart(backend: RedisBackend, prefix: str, clock: Clock) -> None:
    other = RedisBackend(f"{URL}?prefix={prefix}-other", clock=clock)
    backend.put("key", b"one", expires_at=1060, owner="owner", limit=1)
    other.put("key", b"two", expires_at=1060, owner="owner", limit=1)
    assert (other.take("key"), backend.take("key")) == (b"two", b"one")
    other.close()


def test_foreign_value_is_none_of_ours(
    backend: RedisBackend, colour: Colour, store: redis.Redis, prefix: str
) -> None:
    store.set(f"{{{prefix}}}:token:key", b"short", px=60_000)
    assert colour.take(backend, "key") is None


def test_threads_race_one_wins(backend: RedisBackend) -> None:
    for round_ in range(20):
        backend.put(str(round_), b"v", expires_at=1060, owner="o", limit=None)
        barrier = threading.Barrier(16)
        won: list[bytes] = []

        def take(key: str = str(round_), barrier: Any = barrier, won: Any = won) -> None:
            barrier.wait()
            if (value := backend.take(key)) is not None:
                won.append(value)

        threads = [threading.Thread(target=take) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [b"v"]


def test_tasks_race_one_wins(backend: RedisBackend, loop: Loop) -> None:
    async def race() -> list[bytes | None]:
        await backend.aput("key", b"v", expires_at=1060, owner="o", limit=None)
        # Many more than there are connections.
        return await asyncio.gather(*(backend.atake("key") for _ in range(300)))

    assert [value for value in loop.run(race()) if value] == [b"v"]


# Connections.


def test_loop_that_ends_takes_its_connections_along(server: Server) -> None:
    backend = RedisBackend(server.url)

    def connections() -> int:
        return str(server.ask("CLIENT", "LIST", "TYPE", "normal")).count("cmd=getdel")

    for _ in range(2):
        loop = Loop()
        loop.run(backend.atake("key"))
        assert connections() == 1
        loop.close()
        assert connections() == 0


def test_aclose_closes_sync_and_async_and_they_open_again(server: Server, loop: Loop) -> None:
    backend = RedisBackend(server.url)
    backend.take("key")
    loop.run(backend.aclose())  # before anything was opened here
    for _ in range(2):
        backend.take("key")
        loop.run(backend.atake("key"))
        loop.run(backend.aclose())
        assert "cmd=getdel" not in str(server.ask("CLIENT", "LIST"))


def test_loop_that_was_merely_closed_is_forgotten(backend: RedisBackend, loop: Loop) -> None:
    rough = asyncio.new_event_loop()
    rough.run_until_complete(backend.atake("key"))
    wire: Any = backend._async
    rough.run_until_complete(wire._held[rough][0]._pool.disconnect())
    rough.close()
    loop.run(backend.atake("key"))
    assert list(wire._held) == [loop.loop]
    gc.collect()


def test_fork_is_safe(prefix: str) -> None:
    # Parent and child use what was made, and connected, before the fork.
    program = f"""
import os, time
from ott_middleware import RedisBackend
backend = RedisBackend({URL!r}, prefix={prefix!r})
def use(who):
    for number in range(300):
        value = f"{{who}} {{number}}".encode()
        backend.put(f"{{who}}{{number}}", value, expires_at=time.time() + 60, owner=who, limit=None)
        assert backend.take(f"{{who}}{{number}}") == value
use("before")
child = os.fork()
use("child" if child == 0 else "parent")
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
backend.close()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    "options", [{}, {"decode_responses": True}, {"protocol": 3}, {"protocol": 2}]
)
def test_clients_serve_sync_or_async(
    prefix: str, clock: Clock, loop: Loop, options: dict[str, Any]
) -> None:
    client = redis.Redis.from_url(URL, socket_timeout=5, **options)
    acient = redis.asyncio.Redis.from_url(URL, socket_timeout=5, **options)
    for backend in (
        RedisBackend(client, acient, prefix=prefix, clock=clock),
        RedisBackend(acient, client, prefix=prefix, clock=clock),
    ):
        assert not backend.async_only
        for colour in (Colour("sync", loop), Colour("async", loop)):
            colour.put(backend, "key", b"\xff\x00binary")
            assert colour.take(backend, "key") == b"\xff\x00binary"
            assert colour.revoke(backend) == 0
            colour.close(backend)
    client.ping()  # theirs, and open still
    loop.run(acient.ping())
    client.close()
    loop.run(acient.aclose())


def test_synchronous_client_serves_asynchronous_callers_in_a_thread(
    prefix: str, clock: Clock, loop: Loop
) -> None:
    with redis.Redis.from_url(URL, socket_timeout=5) as client:
        backend = RedisBackend(client, prefix=prefix, clock=clock)
        colour = Colour("async", loop)
        colour.put(backend, "key")
        with pytest.raises(KeyTaken):
            colour.put(backend, "key")
        assert colour.take(backend, "key") == b"value"
        assert colour.revoke(backend) == 0
        colour.close(backend)


def test_synchronous_client_and_a_subclass_s_own_methods(
    prefix: str, clock: Clock, loop: Loop
) -> None:
    called: list[str] = []

    class Counted(RedisBackend):
        def put(self, key: str, value: bytes, **keywords: Any) -> None:
            called.append("put")
            super().put(key, value, **keywords)

        def take(self, key: str) -> bytes | None:
            called.append("take")
            return super().take(key)

        def revoke(self, owner: str) -> int:
            called.append("revoke")
            return super().revoke(owner)

    with redis.Redis.from_url(URL, socket_timeout=5) as client:
        backend, colour = Counted(client, prefix=prefix, clock=clock), Colour("async", loop)
        colour.put(backend, "key")
        assert colour.take(backend, "key") == b"value"
        assert colour.revoke(backend) == 0
    assert called == ["put", "take", "revoke"]


def test_asynchronous_client_alone_is_asynchronous_only(
    prefix: str, clock: Clock, loop: Loop
) -> None:
    client = redis.asyncio.Redis.from_url(URL, socket_timeout=5)
    backend = RedisBackend(client, prefix=prefix, clock=clock)
    assert backend.async_only
    with pytest.raises(NotSupported, match="pass a synchronous client as well"):
        backend.take("key")
    colour = Colour("async", loop)
    colour.put(backend, "key")
    assert colour.take(backend, "key") == b"value"
    colour.close(backend)
    backend.close()
    loop.run(client.aclose())


@pytest.mark.parametrize("kind", [redis.Redis, redis.asyncio.Redis])
@pytest.mark.parametrize(("timeout", "warned"), [(None, True), (2.0, False)])
def test_client_that_waits_for_ever_is_warned_of(
    kind: Any, timeout: float | None, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ott_middleware"):
        RedisBackend(kind(port=free_port(), socket_timeout=timeout))
    assert ("no socket_timeout" in caplog.text) is warned


_OLD = int(redis.__version__.split(".")[0]) < 6  # redis-py before it did without the name


def test_pool_that_wants_a_command_s_name_is_given_one(prefix: str, clock: Clock) -> None:
    class Pool(redis.ConnectionPool):
        # As it was before 5.3.
        def get_connection(self, command_name: str, *keys: Any, **options: Any) -> Any:  # type: ignore[override]  # as every version calls it
            return super().get_connection(*([command_name] if _OLD else []))

    pool = Pool.from_url(URL, socket_timeout=5)
    backend = RedisBackend(redis.Redis(connection_pool=pool), prefix=prefix, clock=clock)
    backend.put("key", b"v", expires_at=1060, owner="o", limit=1)
    assert backend.take("key") == b"v"
    pool.disconnect()


def test_unix_socket_will_do(
    serve: Callable[..., Server], tmp_path: Path, colour: Colour, clock: Clock
) -> None:
    server = serve("--unixsocket", str(tmp_path / "socket"))
    backend = RedisBackend(f"unix://{tmp_path}/socket?db=2&client_name=ott", clock=clock)
    colour.put(backend, "key")
    assert "db=2" in str(server.ask("CLIENT", "LIST"))
    assert colour.take(backend, "key") == b"value"
    colour.close(backend)


def test_credentials_in_a_url(server: Server, colour: Colour, clock: Clock) -> None:
    server.ask(
        "ACL",
        "SETUSER",
        "ott",
        "on",
        ">p/w@1?#",
        "~{ott}:*",
        "+evalsha",
        "+eval",
        "+@write",
        "+@read",
    )
    backend = RedisBackend(f"redis://ott:p%2Fw%401%3F%23@127.0.0.1:{server.port}/0", clock=clock)
    colour.put(backend, "key")
    assert colour.take(backend, "key") == b"value"
    assert colour.revoke(backend) == 0
    colour.close(backend)


# One command each.


def test_operation_is_one_round_trip(server: Server, colour: Colour, clock: Clock) -> None:
    from .redis_servers import Proxy

    proxy = Proxy(server.port)
    try:
        backend = RedisBackend(proxy.url, clock=clock)
        colour.put(backend, "key")
        # Once for each server, its first time.
        assert proxy.commands.count(b"EVALSHA") == proxy.commands.count(b"EVAL") == 1
        proxy.commands.clear()
        colour.put(backend, "other")
        colour.take(backend, "key")
        assert proxy.commands == [b"EVALSHA", b"GETDEL"]
        colour.revoke(backend)
        proxy.commands.clear()
        assert colour.revoke(backend) == 0
        assert proxy.commands == [b"EVALSHA"]
        colour.close(backend)
    finally:
        proxy.close()


def test_scripts_that_the_server_forgot_are_sent_again(
    server: Server, colour: Colour, clock: Clock
) -> None:
    backend = RedisBackend(server.url, clock=clock)
    colour.put(backend, "a")
    server.ask("SCRIPT", "FLUSH")
    colour.put(backend, "b")
    server.ask("SCRIPT", "FLUSH")
    assert colour.revoke(backend) == 2
    colour.close(backend)


# Configuration.


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:sesame@host/notanumber",
        "redis://:se/same@host/0",
        "redis://:sesame@host:1/0?sesame=1",
        "redis://:pa?sesame@host/0",
        "redis://:12#sesame@host/0",
        "redis://host:sesame/0",
        "redis://host/0?timeout=sesame",
        "redis://host/0?ssl_check_hostname=sesame",
        "rediss://host/0?ssl_cert_reqs=sesame",
        "redis://host/0?client_name=a&ssl_ca_certs=sesame",
        "http://user:sesame@host",
        "redis://:sesame[@host",
        "redis://:sesame\u2100@host",
    ],
)
def test_bad_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        RedisBackend(url)
    shown = f"{refused.value} {refused.value.__cause__}"
    assert "sesame" not in shown
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"prefix": ""}, "prefix"),
        ({"prefix": "{brace}"}, "prefix"),
        ({"prefix": None}, "prefix"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"connect_timeout": float("inf")}, "connect_timeout"),
        ({"max_connections": True}, "max_connections"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}: "):
        RedisBackend("redis://127.0.0.1/0", **arguments)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("prefix=%7B%7D", "prefix"),
        ("timeout=0", "timeout"),
        ("timeout=nan", "timeout"),
        ("connect_timeout=-1", "connect_timeout"),
        ("connect_timeout=", "connect_timeout"),
        ("max_connections=0", "max_connections"),
        ("max_connections=1.5", "max_connections"),
        ("db=1.5", "db"),
    ],
)
def test_bad_options_in_the_url_are_named(query: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^(redis: the URL's )?{name}( has a bad|: )"):
        RedisBackend(f"redis://127.0.0.1/0?{query}")


def test_object_that_is_no_client_is_refused() -> None:
    port = free_port()
    client = redis.Redis(port=port, socket_timeout=1)
    with pytest.raises(ConfigurationError, match="a dict; pass a URL, or a client"):
        RedisBackend({})  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ConfigurationError, match="one kind"):
        RedisBackend(client, client)
    with pytest.raises(ConfigurationError, match="a URL serves sync and async"):
        RedisBackend("redis://127.0.0.1/0", client)


def test_options_in_the_url_win() -> None:
    url = (
        "rediss://host/3?prefix=mine&timeout=0.5&connect_timeout=0.25&max_connections=7"
        "&ssl_check_hostname=false&ssl_cert_reqs=none"
    )
    backend = RedisBackend(url, prefix="other", timeout=9)
    pool: Any = backend._sync.pool  # type: ignore[union-attr]  # it is there
    settings = pool.connection_kwargs
    assert (settings["socket_timeout"], settings["socket_connect_timeout"]) == (0.5, 0.25)
    assert (pool.timeout, pool.max_connections, settings["db"]) == (0.5, 7, 3)
    assert settings["ssl_check_hostname"] is False
    assert backend._token_key("k") == b"{mine}:token:k"


def test_repr_holds_no_password() -> None:
    backend = RedisBackend("redis://user:sesame@127.0.0.1/0")
    wires: list[Any] = [backend._sync, backend._async]
    shown = repr(backend) + repr(vars(backend)) + "".join(repr(vars(wire)) for wire in wires)
    assert "sesame" not in shown


def test_missing_redis_py_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'ott_middleware\[redis\]'"):
        RedisBackend("redis://127.0.0.1/0")
