"""What RedisBackend does when the server does not: it fails closed, in time, and comes back."""

from __future__ import annotations

import asyncio
import datetime
import gc
import ipaddress
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
import redis.asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from ott_middleware import ConfigurationError, RedisBackend
from ott_middleware.errors import BackendFull, BackendUnavailable, KeyTaken

from .redis_servers import Proxy, Server, free_port
from .sync_async import AppCaller, Colour, Loop

SECRET = "sesame"


@pytest.fixture
def backend(server: Server) -> Iterator[RedisBackend]:
    backend = RedisBackend(server.url, timeout=0.4, clock=lambda: 1000.0)
    yield backend
    backend.close()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


def text_of(error: BaseException) -> str:
    """Whatever a log could show of an error and of those behind it."""
    texts = []
    each: BaseException | None = error
    while each is not None:
        texts.append(f"{each!r} {each}")
        each = each.__cause__ or each.__context__
    return " ".join(texts)


# No command is sent twice.


def test_take_whose_reply_is_lost_stays_taken(server: Server, proxy: Proxy, colour: Colour) -> None:
    backend = RedisBackend(proxy.url, timeout=5, clock=lambda: 1000.0)
    colour.put(backend, "key")
    proxy.commands.clear()
    proxy.loses = b"GETDEL"
    with pytest.raises(BackendUnavailable):
        colour.take(backend, "key")
    assert proxy.commands == [b"GETDEL"]
    assert colour.take(backend, "key") is None  # and there was no need to make it anew
    colour.close(backend)


@pytest.mark.parametrize("lost", ["put", "revoke"])
def test_commands_are_never_repeated(proxy: Proxy, colour: Colour, lost: str) -> None:
    backend = RedisBackend(proxy.url, timeout=5, clock=lambda: 1000.0)
    colour.put(backend, "first")
    colour.revoke(backend)
    proxy.commands.clear()
    proxy.loses = b"EVALSHA"
    with pytest.raises(BackendUnavailable):
        colour.put(backend, "key") if lost == "put" else colour.revoke(backend)
    assert proxy.commands == [b"EVALSHA"]
    colour.close(backend)


def test_retries_of_a_client_are_not_used(proxy: Proxy, colour: Colour, loop: Loop) -> None:
    options: dict[str, Any] = {"port": proxy.port, "protocol": 2, "socket_timeout": 5}
    client = redis.Redis(retry=Retry(NoBackoff(), 5), **options)
    acient = redis.asyncio.Redis(retry=AsyncRetry(NoBackoff(), 5), **options)
    backend = RedisBackend(client, acient, clock=lambda: 1000.0)
    colour.put(backend, "key")
    proxy.commands.clear()
    proxy.loses = b"GETDEL"
    with pytest.raises(BackendUnavailable):
        colour.take(backend, "key")
    assert proxy.commands.count(b"GETDEL") == 1
    client.close()
    loop.run(acient.aclose())


class Interrupted(redis.Connection):
    """Is interrupted where it has asked and not read the answer."""

    armed = False

    def send_command(self, *arguments: Any, **options: Any) -> Any:
        super().send_command(*arguments, **options)
        if Interrupted.armed:
            Interrupted.armed = False
            raise KeyboardInterrupt


class AsyncInterrupted(redis.asyncio.Connection):
    async def send_command(self, *arguments: Any, **options: Any) -> Any:
        await super().send_command(*arguments, **options)
        if Interrupted.armed:
            Interrupted.armed = False
            raise asyncio.CancelledError


def test_reply_that_was_not_read_does_not_reach_the_next_caller(
    server: Server, colour: Colour, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"host": "127.0.0.1", "port": server.port, "socket_timeout": 10}
    pool = redis.ConnectionPool(Interrupted, **options)
    apool = redis.asyncio.ConnectionPool(AsyncInterrupted, **options)
    backend = RedisBackend(
        redis.Redis(connection_pool=pool),
        redis.asyncio.Redis(connection_pool=apool),
        clock=lambda: 1000.0,
    )
    colour.put(backend, "a", b"first")
    colour.put(backend, "b", b"second")
    server.pause()
    monkeypatch.setattr(Interrupted, "armed", True)
    with pytest.raises((KeyboardInterrupt, asyncio.CancelledError)):
        colour.take(backend, "a")
    # The answer is not there yet when the next command is sent.
    threading.Timer(0.2, server.resume).start()
    assert colour.take(backend, "b") == b"second"
    pool.disconnect()
    loop.run(apool.disconnect())


def test_cancelled_take_leaves_no_reply_to_the_next_caller(
    server: Server, backend: RedisBackend, loop: Loop
) -> None:
    async def cancelled() -> bytes | None:
        await backend.aput("a", b"first", expires_at=1060, owner="o", limit=None)
        await backend.aput("b", b"second", expires_at=1060, owner="o", limit=None)
        server.pause()
        task = asyncio.create_task(backend.atake("a"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.resume()
        return await backend.atake("b")

    assert loop.run(cancelled()) == b"second"
    loop.run(backend.aclose())


# Down, slow, restarted.


def test_connection_that_died_while_idle_is_replaced(
    server: Server, backend: RedisBackend, colour: Colour, loop: Loop
) -> None:
    colour.put(backend, "key")
    server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    loop.run(asyncio.sleep(0.05))  # a loop that runs hears of it
    assert colour.take(backend, "key") == b"value"
    colour.close(backend)


def test_server_down_and_up_again(server: Server, backend: RedisBackend, colour: Colour) -> None:
    colour.put(backend, "key")
    server.stop()
    for _ in range(3):
        with pytest.raises(BackendUnavailable, match=r"^redis failed with ConnectionError at "):
            colour.take(backend, "key")
    server.start()
    assert colour.take(backend, "key") is None
    colour.put(backend, "key")
    assert colour.take(backend, "key") == b"value"
    colour.close(backend)


def test_token_not_yet_presented_survives_a_restart(
    serve: Callable[..., Server], colour: Colour
) -> None:
    server = serve("--appendonly", "yes", "--appendfsync", "always")
    backend = RedisBackend(server.url, clock=lambda: 1000.0)
    colour.put(backend, "kept")
    colour.put(backend, "taken")
    colour.take(backend, "taken")
    server.stop()  # by SIGKILL
    server.start()
    # It loads its file first.
    assert until_served(lambda: colour.take(backend, "taken")) is None
    assert colour.take(backend, "kept") == b"value"
    colour.close(backend)


def test_slow_server_is_unavailable_in_time(
    server: Server, backend: RedisBackend, colour: Colour
) -> None:
    colour.put(backend, "key")
    server.pause()
    began = time.monotonic()
    with pytest.raises(BackendUnavailable, match=r"^redis failed with TimeoutError at "):
        colour.take(backend, "key")
    assert 0.3 < time.monotonic() - began < 3
    server.resume()
    colour.put(backend, "another")
    assert colour.take(backend, "another") == b"value"
    colour.close(backend)


def test_connections_run_out(server: Server, loop: Loop) -> None:
    backend = RedisBackend(f"{server.url}?max_connections=2&timeout=0.4", clock=lambda: 1000.0)

    async def crowd() -> list[Any]:
        return await asyncio.gather(
            *(backend.atake("key") for _ in range(50)), return_exceptions=True
        )

    assert loop.run(crowd()) == [None] * 50  # they wait for one another
    server.pause()
    began = time.monotonic()
    refused = loop.run(crowd())
    assert {type(error) for error in refused} == {BackendUnavailable}
    assert time.monotonic() - began < 5
    server.resume()
    assert loop.run(crowd()) == [None] * 50
    loop.run(backend.aclose())


def test_server_without_room_for_clients(server: Server, colour: Colour) -> None:
    backend = RedisBackend(server.url, clock=lambda: 1000.0)
    client = server.client()
    client.ping()
    client.config_set("maxclients", 1)
    with pytest.raises(BackendUnavailable):
        colour.take(backend, "key")
    client.config_set("maxclients", 100)
    assert colour.take(backend, "key") is None
    client.close()
    colour.close(backend)


# Up, and unwilling.


def test_server_read_only_until_it_is_not(
    server: Server, backend: RedisBackend, colour: Colour
) -> None:
    colour.put(backend, "key")
    server.ask("REPLICAOF", "127.0.0.1", str(free_port()))
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="read-only"):
            colour.take(backend, "key")
        with pytest.raises(BackendUnavailable, match="read-only"):
            colour.put(backend, "other")
    server.ask("REPLICAOF", "NO", "ONE")
    assert colour.take(backend, "key") == b"value"
    colour.close(backend)


def test_full_server_drops_no_token(server: Server, backend: RedisBackend, colour: Colour) -> None:
    for key in "abc":
        colour.put(backend, key, limit=3)
    server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(BackendFull, match="maxmemory"):
        colour.put(backend, "d", limit=3)
    with pytest.raises(BackendFull):
        colour.put(backend, "e", owner="another")
    assert colour.take(backend, "a") == b"value"  # the oldest: nothing had to go for what failed
    server.ask("CONFIG", "SET", "maxmemory", "0")
    colour.put(backend, "d", limit=3)
    assert colour.revoke(backend) == 3
    colour.close(backend)


def test_name_that_led_to_a_replica_is_looked_up_again(
    serve: Callable[..., Server], server: Server, proxy: Proxy, colour: Colour
) -> None:
    backend = RedisBackend(proxy.url, clock=lambda: 1000.0)
    server.ask("REPLICAOF", "127.0.0.1", str(free_port()))
    with pytest.raises(BackendUnavailable, match="read-only"):
        colour.put(backend, "key")
    proxy.target = serve().port
    colour.put(backend, "key")
    assert colour.take(backend, "key") == b"value"
    colour.close(backend)


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        (f"wrong:{SECRET}", "refuses the credentials"),
        (f"limited:{SECRET}", "may not use"),
        ("", "refuses the credentials"),
    ],
)
def test_bad_credentials(server: Server, colour: Colour, user: str, reason: str) -> None:
    server.ask("ACL", "SETUSER", "limited", "on", f">{SECRET}", "~*", "+ping")
    server.ask("ACL", "SETUSER", "root", "on", ">root", "~*", "+@all")
    server.ask("ACL", "SETUSER", "default", "off")
    url = f"redis://{user}@127.0.0.1:{server.port}/0" if user else server.url
    backend = RedisBackend(url, clock=lambda: 1000.0)
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match=reason) as refused:
            colour.take(backend, f"token-{SECRET}")
        assert SECRET not in text_of(refused.value)
    colour.close(backend)


def test_error_texts_that_quote_keys_are_not_repeated(
    serve: Callable[..., Server], colour: Colour
) -> None:
    server = serve("--rename-command", "GETDEL", "")
    backend = RedisBackend(server.url, clock=lambda: 1000.0)
    with pytest.raises(BackendUnavailable, match=r"too old: it takes 6\.2") as refused:
        colour.take(backend, f"token-{SECRET}")
    assert SECRET not in text_of(refused.value)
    server.ask("SET", "{ott}:owner:owner", "no sorted set")
    with pytest.raises(BackendUnavailable, match=r"^redis failed with ResponseError$"):
        colour.revoke(backend)
    colour.close(backend)


def test_cluster_wants_its_own_client(clusters: Clusters, colour: Colour) -> None:
    backend = RedisBackend(clusters.without_slots.url, clock=lambda: 1000.0)
    with pytest.raises(BackendUnavailable, match="pass a RedisCluster client"):
        colour.take(backend, "key")
    colour.close(backend)


def wait_for_cluster(server: Server) -> None:
    deadline = time.monotonic() + 20
    while "cluster_state:ok" not in str(server.ask("CLUSTER", "INFO")):
        assert time.monotonic() < deadline
        time.sleep(0.02)


# Other ways to a server.


class Clusters(NamedTuple):
    alone: Server
    #: One of another cluster, whose slots are all on its other node.
    without_slots: Server


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    # Both at once: a cluster serves nobody for its first two seconds.
    buses = [free_port() for _ in range(3)]
    alone, asked, holding = servers = [
        Server(
            tmp_path_factory.mktemp("node"), "--cluster-enabled", "yes", "--cluster-port", str(bus)
        )
        for bus in buses
    ]
    try:
        for server in servers:
            server.start()
        asked.ask("CLUSTER", "MEET", "127.0.0.1", holding.port, buses[2])
        for server in (alone, holding):
            server.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        for server in servers:
            wait_for_cluster(server)
        yield Clusters(alone, asked)
    finally:
        for server in servers:
            server.stop()


@pytest.fixture
def cluster(clusters: Clusters) -> Server:
    clusters.alone.ask("FLUSHALL")
    return clusters.alone


@pytest.mark.parametrize("decode", [False, True])
def test_cluster(cluster: Server, colour: Colour, loop: Loop, decode: bool) -> None:
    options: dict[str, Any] = {"host": "127.0.0.1", "port": cluster.port, "socket_timeout": 5}
    client = redis.RedisCluster(decode_responses=decode, **options)
    acient = redis.asyncio.RedisCluster(decode_responses=decode, **options)
    backend = RedisBackend(client, acient, clock=lambda: 1000.0)
    colour.put(backend, "key", b"\xff\x00")
    with pytest.raises(KeyTaken):
        colour.put(backend, "key")
    for key in "abcd":
        colour.put(backend, key, limit=2)
    assert colour.take(backend, "key") is None
    assert colour.revoke(backend) == 2
    colour.put(backend, "key", b"\xff\x00")
    assert colour.take(backend, "key") == b"\xff\x00"
    colour.close(backend)
    client.close()
    loop.run(acient.aclose())


def until_served(call: Callable[[], Any]) -> Any:
    for _ in range(100):
        try:
            return call()
        except BackendUnavailable:
            time.sleep(0.02)
    return call()


@pytest.fixture
def collected(loop: Loop) -> Iterator[None]:
    yield
    gc.collect()  # while this test's warnings are ignored


# Older asyncio clients of redis-py lose track of a cluster's node that failed them.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.usefixtures("collected")
def test_retries_of_a_cluster_s_client_are_not_used(
    cluster: Server, colour: Colour, loop: Loop
) -> None:
    proxy = Proxy(cluster.port)
    try:

        def through(address: tuple[str, int]) -> tuple[str, int]:
            return "127.0.0.1", proxy.port

        options: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": proxy.port,
            "socket_timeout": 5,
            "address_remap": through,
        }
        client = redis.RedisCluster(**options)
        acient = redis.asyncio.RedisCluster(**options)
        backend = RedisBackend(client, acient, clock=lambda: 1000.0)
        colour.put(backend, "key")
        proxy.commands.clear()
        proxy.loses = b"GETDEL"
        with pytest.raises(BackendUnavailable):
            colour.take(backend, "key")
        assert proxy.commands.count(b"GETDEL") == 1
        if colour.name == "sync" or int(redis.__version__.split(".")[0]) >= 8:
            # (Older asyncio clients forget the only node of a cluster when it fails them.)
            assert until_served(lambda: colour.take(backend, "key")) is None
        client.close()
        loop.run(acient.aclose())
    finally:
        proxy.close()


def test_sentinel(server: Server, tmp_path: Path, colour: Colour, loop: Loop) -> None:
    home = tmp_path / "sentinel"
    home.mkdir()
    port = free_port()
    (home / "sentinel.conf").write_text(
        f"port {port}\nbind 127.0.0.1\ndir {home}\n"
        f"sentinel monitor ours 127.0.0.1 {server.port} 1\n"
    )
    process = subprocess.Popen(
        ["redis-server", str(home / "sentinel.conf"), "--sentinel"],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        addresses = [("127.0.0.1", port)]
        sentinel = redis.Sentinel(addresses, socket_timeout=5)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                sentinel.discover_master("ours")
                break
            except redis.RedisError:
                time.sleep(0.05)
        client = sentinel.master_for("ours", socket_timeout=5)
        asentinel = redis.asyncio.Sentinel(addresses, socket_timeout=5)
        acient = asentinel.master_for("ours", socket_timeout=5)
        backend = RedisBackend(client, acient, clock=lambda: 1000.0)
        colour.put(backend, "key")
        assert colour.take(backend, "key") == b"value"
        client.close()
        loop.run(acient.aclose())
        for each in sentinel.sentinels:
            each.close()
        for each in asentinel.sentinels:
            loop.run(each.aclose())
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return public, private


def test_tls(serve: Callable[..., Server], certificate: tuple[Path, Path], colour: Colour) -> None:
    public, private = certificate
    port = free_port()
    serve(
        *("--tls-port", str(port), "--tls-auth-clients", "no", "--requirepass", SECRET),
        *("--tls-cert-file", str(public), "--tls-key-file", str(private)),
        *("--tls-ca-cert-file", str(public)),
    )
    url = f"rediss://:{SECRET}@127.0.0.1:{port}/0"
    backend = RedisBackend(f"{url}?ssl_ca_certs={public}", clock=lambda: 1000.0)
    colour.put(backend, "key")
    assert colour.take(backend, "key") == b"value"
    colour.close(backend)
    distrusting = RedisBackend(url, clock=lambda: 1000.0)
    with pytest.raises(BackendUnavailable):
        colour.take(distrusting, "key")
    colour.close(distrusting)


# Behind the middleware.


def test_server_that_is_down_is_503_and_serves_afterwards(
    serve: Callable[..., Server], world: AppCaller, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve("--requirepass", SECRET)
    url = f"redis://:{SECRET}@127.0.0.1:{server.port}/0?timeout=0.4"
    app = world.wrap(backend=url, store_token="hashed")
    for fail, mend in ((server.pause, server.resume), (server.stop, server.start)):
        token = world.generate(app).json["token"]
        fail()
        caplog.clear()
        for answer in (world.generate(app), world.verify(app, token)):
            assert answer.status == 503
            assert answer.json["code"] == "BACKEND_UNAVAILABLE"
            assert int(answer.headers["retry-after"]) > 0
        records = [record for record in caplog.records if record.name == "ott_middleware"]
        assert len(records) == 2
        assert all(record.exc_info is None for record in records)
        for hidden in (token, SECRET, "abc"):
            assert hidden not in caplog.text
        assert world.ask(app, "/").body == b"Hello, world!"
        mend()
    assert world.verify(app, world.generate(app).json["token"]).status == 200


def test_middleware_over_a_full_server(server: Server, world: AppCaller) -> None:
    app = world.wrap(backend=server.url)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    answer = world.generate(app)
    assert (answer.status, answer.json["code"]) == (503, "BACKEND_FULL")
    server.ask("CONFIG", "SET", "maxmemory", "0")
    assert world.generate(app).status == 200


def test_asynchronous_client_alone_can_not_serve_wsgi(loop: Loop) -> None:
    client = redis.asyncio.Redis(port=free_port(), socket_timeout=1)
    backend = RedisBackend(client)
    with pytest.raises(ConfigurationError, match="RedisBackend is asynchronous only"):
        AppCaller("wsgi", loop).wrap(backend=backend)
    AppCaller("asgi", loop).wrap(backend=backend)
    loop.run(client.aclose())
