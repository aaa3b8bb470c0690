"""Tokens in Redis or Valkey: for many workers on many hosts.

Each operation is one command, and so one round trip: `take` is a `GETDEL`, `put` and `revoke` are
scripts. A command whose reply is lost is not sent again: where the server had consumed the token,
it stays consumed, and the client is told that the backend is unavailable.

What the server must be set to: `maxmemory-policy noeviction`, since any other drops live tokens
when memory is short; `appendonly yes`, if tokens are to outlive a restart of the server (with
`appendfsync everysec` a crash may lose the last second: a token put in it is lost, and one taken in
it could come back; `always` rules that out, as does running without any persistence). A replica
that is promoted may have missed the last takes in the same way: `min-replicas-to-write` and
`min-replicas-max-lag` bound that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...clock import system_clock
from ...concurrency import Bound, drive, in_thread
from ...errors import (
    ConfigurationError,
    KeyTaken,
    NotSupported,
    missing_library,
)
from ..base import CoroutineBackend, Token, mark_of
from . import wire as wire
from .scripts import HEADER, PUT, REVOKE, Script
from .url import options_of, wires_of_url

if TYPE_CHECKING:
    import redis.asyncio

    Client = redis.Redis | redis.RedisCluster | redis.asyncio.Redis | redis.asyncio.RedisCluster


class RedisBackend(CoroutineBackend):
    """Tokens in Redis 6.2 and later, or Valkey, by redis-py (the extra `redis`).

    Made of a URL it serves sync and async callers; its connections are opened when they are first
    needed, for each process and each event loop, and are its own. A client of redis-py is either
    sync or async; pass one of each to serve both. With a sync client alone, async callers wait in a
    thread; an async client alone serves ASGI apps only, and in the event loop that it belongs to.
    For Sentinel pass `Sentinel(...).master_for(...)`, for a cluster a `RedisCluster`. A client
    stays open: close it yourself. Its own retries of commands are not used, its timeouts are.

    All keys begin with `{prefix}:`, and so live in one shard of a cluster. Each has a TTL.

    :param store: `redis://[[user]:password@]host[:port][/db]`, `rediss://...` for TLS,
        `unix:///path`, or a client. In a URL's query may stand `prefix`, `timeout`,
        `connect_timeout`, `max_connections` (they win over the arguments), `db`, `client_name`,
        `ssl_ca_certs`, `ssl_ca_path`, `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs` and
        `ssl_check_hostname`.
    :param other: a second client: async if the first is sync, and the other way round.
    :param prefix: what this backend's keys begin with: 1 to 64 of A-Z a-z 0-9 - _ . : /.
    :param timeout: how many seconds to wait for a reply, and for a free connection. With a URL.
    :param connect_timeout: how many seconds to wait for a connection to open. With a URL.
    :param max_connections: of one process or event loop. With a URL.
    :param clock: tells the time in Unix seconds.
    :ivar key_prefix: what all keys begin with.
    :raises ConfigurationError: a bad argument, or redis-py is not installed.
    """

    def __init__(
        self,
        store: str | Client,
        other: Client | None = None,
        *,
        prefix: str = "ott",
        timeout: float = 2.0,
        connect_timeout: float = 2.0,
        max_connections: int = 50,
        clock: Callable[[], float] = system_clock,
    ) -> None:
        try:
            import redis.asyncio
        except ImportError as error:
            raise missing_library("RedisBackend", error, "'ott_middleware[redis]'") from None
        self._errors = (redis.RedisError, redis.exceptions.RedisClusterException, OSError)
        self._sync: wire.Wire | None
        self._async: wire.Wire | None
        if isinstance(store, str):
            if other is not None:
                raise ConfigurationError(
                    "redis: a URL serves sync and async callers; leave out the client"
                )
            options = {
                "prefix": prefix,
                "timeout": timeout,
                "connect_timeout": connect_timeout,
                "max_connections": max_connections,
                **options_of(store),
            }
            prefix = options.pop("prefix")
            self._sync, self._async = wires_of_url(store, **options)
        else:
            self._sync, self._async = wire.wires_of_client(store)
            if other is not None:
                sync, asynchronous = wire.wires_of_client(other)
                if (self._sync is None) == (sync is None):
                    raise ConfigurationError(
                        "redis: two clients of one kind; pass a sync and an async one"
                    )
                self._sync, self._async = self._sync or sync, self._async or asynchronous
        if not isinstance(prefix, str) or not re.fullmatch(r"[A-Za-z0-9_.:/-]{1,64}", prefix):
            raise ConfigurationError(f"prefix: {prefix!r}; use 1 to 64 of A-Z a-z 0-9 - _ . : /")
        self.clock = clock
        self._inline = self._refuse if self._sync is None else self._sync.send
        self._awaited = None if self._async is None else self._async.send
        wires = (self._sync, self._async)
        self._place = next(each.place for each in wires if each is not None)
        # In braces: a cluster keeps all keys with one such tag together, as scripts need them.
        self.key_prefix = f"{{{prefix}}}"

    @property
    def async_only(self) -> bool:
        return self._sync is None

    @property
    def pool(self) -> Any:
        """The pool of redis-py for sync callers; None for a cluster, and for async clients."""
        return self._sync.pool if isinstance(self._sync, wire.PoolWire) else None

    def close(self) -> None:
        """Close the connections that sync callers opened, if they are this backend's own."""
        if self._sync is not None:
            drive(self._sync.close())

    async def aclose(self) -> None:
        """Close also those of the event loop that runs. Those of others close with their loop."""
        if self._async is not None:
            await self._async.close()
        self.close()

    async def ask_server(self) -> dict[str, Any]:
        key, send = self._token_key(""), self._awaited or self._send_in_thread
        seconds, micro = await self._translate(send, key, "TIME")
        # Users of hosted servers may not use CONFIG GET.
        memory = await self._translate(send, key, "INFO", "memory")
        facts: dict[str, Any] = {"time": float(seconds) + float(micro) / 1e6}
        # The client of a cluster parses the reply.
        text = memory.decode() if isinstance(memory, bytes) else ""
        if found := re.search(r"maxmemory_policy:(\S+)", text):
            facts["policy"] = found[1]
        return facts

    async def _put(self, send: Bound, token: Token) -> None:
        key, value, expires_at, owner, limit = token
        now = self.clock()
        if expires_at <= now:
            return
        milliseconds = math.ceil((expires_at - now) * 1000)
        keys = (self._token_key(key), self._owner_key(owner))
        put = (repr(expires_at), mark_of(owner), value, repr(now), milliseconds, limit or 0)
        if not await self._run(send, PUT, keys, put):
            raise KeyTaken("a live token has that key")

    async def _take(self, send: Bound, key: str) -> bytes | None:
        # Atomic: the server runs one command after the other, and this one reads and deletes.
        token_key = self._token_key(key)
        held: bytes | None = await self._translate(send, token_key, "GETDEL", token_key)
        if held is None or len(held) < HEADER.size:
            return None
        _, expires_at, _ = HEADER.unpack_from(held)
        return held[HEADER.size :] if expires_at > self.clock() else None

    async def _revoke(self, send: Bound, owner: str) -> int:
        arguments = (mark_of(owner), repr(self.clock()))
        return int(await self._run(send, REVOKE, (self._owner_key(owner),), arguments))

    def _token_key(self, key: str) -> bytes:
        return f"{self.key_prefix}:token:{key}".encode()

    def _owner_key(self, owner: str) -> bytes:
        return f"{self.key_prefix}:owner:{owner}".encode()

    async def _run(
        self, send: Bound, script: Script, keys: tuple[bytes, ...], arguments: tuple[Any, ...]
    ) -> Any:
        rest = (len(keys), *keys, *arguments)
        try:
            return await self._translate(send, keys[0], *script.by_digest, *rest)
        except wire.UnknownScript:
            # The server has not seen it yet, and did nothing.
            return await self._translate(send, keys[0], *script.in_full, *rest)

    async def _translate(self, send: Bound, key: bytes, *command: Any) -> Any:
        """Send a command; raise the driver's errors as this package's own."""
        try:
            return await send(key, *command)
        except self._errors as error:
            failure = wire.failure(error, self._place)
        raise failure  # outside, so that the driver's text does not go with it

    async def _refuse(self, key: bytes, *command: Any) -> Any:
        raise NotSupported(
            "RedisBackend has an asynchronous client alone: await the asynchronous twin, or pass a "
            "synchronous client as well"
        )

    async def _send_in_thread(self, key: bytes, *command: Any) -> Any:
        return await in_thread(lambda: drive(self._inline(key, *command)))
