"""How commands travel to Redis: one attempt each, over pooled connections, sync and async.

A command is sent once. redis-py's clients send it again when its reply does not come: a `take`
would then find what its first attempt had consumed gone, and call a good token invalid. So the
commands go over the pool's connections themselves: whatever the client's policy says, it can only
repeat the attempt to connect. A connection that died while it was idle is noticed by the pool
before anything is sent.

Nor does a connection go through a fork: two processes at one end of it would each read what the
other has asked for. redis-py's synchronous pools see to that themselves, its asyncio ones do not.

One module, though it is long: the sync and the async wire follow the same steps, side by side.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any, Protocol

from ...errors import BackendFull, BackendUnavailable, ConfigurationError, full_name
from ...forks import renew_in_children

logger = logging.getLogger("ott_middleware")


class Wire(Protocol):
    """Sends commands to a server.

    The coroutines of a synchronous client's wire never suspend: sync callers `drive` them.

    :ivar place: where the server is, for messages.
    """

    place: str = "the server"

    async def send(self, key: bytes, *command: Any) -> Any:
        """Send one command, once, where `key` lives; return the reply, undecoded."""
        ...

    async def close(self) -> None:
        """Close what this package opened: of a client of the app, nothing."""
        return


class PoolWire(Wire):
    """Over the connections of a pool, which sees to threads and forks.

    :param make: makes such a pool anew, if it is this package's own.
    :ivar pool: the pool of this process.
    """

    def __init__(self, pool: Any, make: Callable[[], Any] | None = None) -> None:
        self.pool = pool
        self.place = _place_of(pool)
        self._connection = _getter(pool)
        self._make = make
        renew_in_children(self)

    def renew_after_fork(self) -> None:
        """Have a pool of the child's own. Called in a forked child."""
        # redis-py renews its pools itself, but their locks may be those of a thread that is not
        # there. What is open of the parent's, redis-py's connections only close on this side.
        if self._make is not None:
            self.pool = self._make()
            self._connection = _getter(self.pool)
        else:
            _renew_locks(self.pool)

    async def send(self, key: bytes, *command: Any) -> Any:
        pool, connection = self.pool, self._connection()
        try:
            connection.send_command(*command)
            return connection.read_response(disable_decoding=True)
        except BaseException as error:
            if not _is_reusable(error):
                connection.disconnect()  # the rest of a reply must not reach the next caller
            raise
        finally:
            pool.release(connection)

    async def close(self) -> None:
        if self._make is not None:
            self.pool.disconnect()


def _renew_locks(pool: Any) -> None:
    """Give a pool of the app new locks, in a forked child."""
    # Failure: a thread of the parent holds a lock of the pool at the moment of the fork. redis-py
    # renews the connections of the child under that very lock. Without this line, the child's first
    # command would wait for a thread that it does not have, for ever.
    for owner in (pool, getattr(pool, "_event_dispatcher", None)):
        for name in {"_lock", "_fork_lock"} & getattr(owner, "__dict__", {}).keys():
            setattr(owner, name, threading.RLock())


class _OneProcess:
    """Remembers the first process that used a client which must not be used by another."""

    _pid: int | None = None

    def check_process(self) -> None:
        pid = os.getpid()
        if self._pid is None:
            self._pid = pid
        elif self._pid != pid:
            # Both would have the same sockets, and each read replies to the other's commands: one
            # user could be signed in by the token of another. Asyncio clients do not notice.
            raise BackendUnavailable(
                "redis: the process was forked after the asyncio client was first used; make the "
                "client in each process, or pass a URL"
            )


class AsyncPoolWire(_OneProcess, Wire):
    """Over the connections of an asyncio pool."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.place = _place_of(pool)
        self._connection = _getter(pool)

    async def send(self, key: bytes, *command: Any) -> Any:
        self.check_process()
        connection = await self._connection()
        try:
            await connection.send_command(*command)
            return await connection.read_response(disable_decoding=True)
        except BaseException as error:
            if not _is_reusable(error):
                await connection.disconnect(nowait=True)
            raise
        finally:
            await self._pool.release(connection)


class LoopWire(Wire):
    """Over one pool for each event loop, since a connection belongs to the loop that opened it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._held: dict[Any, tuple[AsyncPoolWire, AsyncGenerator[AsyncPoolWire, None]]] = {}
        self._inherited: list[object] = []
        self._pid = os.getpid()
        renew_in_children(self)

    def renew_after_fork(self) -> None:
        """Leave the connections to the parent. Called in a forked child."""
        # Kept: a connection that is forgotten is taken out of its loop's selector, which is the
        # parent's as well, and the parent would wait for its replies in vain.
        self._inherited.append(self._held)
        self._held = {}
        self._pid = os.getpid()

    async def send(self, key: bytes, *command: Any) -> Any:
        if self._pid != os.getpid():
            self.renew_after_fork()  # a fork that Python knows nothing of
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            for gone in [other for other in self._held if other.is_closed()]:
                del self._held[gone]
            # A generator, because a loop that ends in good order closes those that it began, and
            # with it the connections.
            generator = self._hold(loop)
            held = self._held[loop] = (await generator.__anext__(), generator)
        return await held[0].send(key, *command)

    async def _hold(self, loop: Any) -> AsyncGenerator[AsyncPoolWire, None]:
        pool = self._make()
        try:
            yield AsyncPoolWire(pool)
        finally:
            self._held.pop(loop, None)
            await pool.disconnect()

    async def close(self) -> None:
        held = self._held.get(asyncio.get_running_loop())
        if held is not None and self._pid == os.getpid():
            await held[1].aclose()


# A cluster's client repeats commands as well, unless it is told on which node to run them.


class ClusterWire(Wire):
    """Through the client of a cluster, which knows the nodes."""

    place = "the cluster"

    def __init__(self, client: Any) -> None:
        self._client = client

    async def send(self, key: bytes, *command: Any) -> Any:
        node = self._client.get_node_from_key(key)
        return self._client.execute_command(*command, target_nodes=node, NEVER_DECODE=[])


class AsyncClusterWire(_OneProcess, ClusterWire):
    """Through the asyncio client of a cluster."""

    async def send(self, key: bytes, *command: Any) -> Any:
        self.check_process()
        await self._client.initialize()
        node = self._client.get_node_from_key(key)
        return await self._client.execute_command(*command, target_nodes=node, NEVER_DECODE=[])


def wires_of_client(client: object) -> tuple[Wire | None, Wire | None]:
    """Make the sync or the async wire for a client of redis-py.

    :raises ConfigurationError: it is no such client.
    """
    import redis.asyncio

    if isinstance(client, redis.RedisCluster):
        return ClusterWire(client), None
    if isinstance(client, redis.asyncio.RedisCluster):
        return None, AsyncClusterWire(client)
    if isinstance(client, (redis.Redis, redis.asyncio.Redis)):
        pool: Any = client.connection_pool
        if pool.connection_class(**pool.connection_kwargs).socket_timeout is None:
            logger.warning(
                "RedisBackend: the client has no socket_timeout, so that a request waits as long "
                "as the server is silent: make it with socket_timeout=2"
            )
        if isinstance(client, redis.Redis):
            return PoolWire(pool), None
        return None, AsyncPoolWire(pool)
    raise ConfigurationError(
        f"redis: {full_name(client)}; pass a URL, or a client of redis-py: Redis, "
        "RedisCluster, or one of redis.asyncio"
    )


def _getter(pool: Any) -> Callable[[], Any]:
    # Until 5.3 redis-py wanted a command's name here; since then it warns of one.
    first = next(iter(inspect.signature(pool.get_connection).parameters.values()))
    return (
        partial(pool.get_connection, "_") if first.default is first.empty else pool.get_connection
    )


def _is_reusable(error: BaseException) -> bool:
    """Whether the connection is good for the next command."""
    from redis import exceptions

    # One that leads to a replica is not: the name may stand for another server by now.
    return isinstance(error, exceptions.ResponseError) and not isinstance(
        error, exceptions.ReadOnlyError
    )


class UnknownScript(Exception):
    """The server has not been given that script."""


def _place_of(pool: Any) -> str:
    """Return the host and port, or the socket's path, that a pool of redis-py connects to."""
    said = pool.connection_kwargs
    host = f"{said.get('host', 'localhost')}:{said.get('port', 6379)}"
    # Pools of Sentinel know a service instead, and ask for its host.
    return str(said.get("path") or getattr(pool, "service_name", host))


_NO_PASSWORD = ("NOAUTH", "Authentication required", "already authenticated")


def failure(error: Exception, place: str) -> Exception:
    """What an error of redis-py means. Its text is not shown: servers quote keys and arguments.

    :param place: where the server is.
    """
    from redis import exceptions

    name = type(error).__name__
    text = str(error)
    if isinstance(error, exceptions.NoScriptError):
        return UnknownScript()
    # From within a script, servers before 7 say so in the text alone.
    if isinstance(error, exceptions.OutOfMemoryError) or "OOM command not allowed" in text:
        return BackendFull("redis is at its maxmemory: raise it, or wait for tokens to expire")
    if isinstance(error, exceptions.AskError) or text.startswith("MOVED "):
        return BackendUnavailable("redis runs as a cluster: pass a RedisCluster client")
    if isinstance(error, exceptions.ReadOnlyError) or "READONLY" in text:
        return BackendUnavailable("redis is read-only: is it a replica?")
    # (redis-py cuts "NOAUTH" off, and not all of its errors for it are of that class.)
    no_password = any(words in text for words in _NO_PASSWORD)
    if isinstance(error, exceptions.AuthenticationError) or no_password:
        return BackendUnavailable(
            f"redis at {place} refuses the credentials ({name}): put them into the URL, as "
            "redis://user:password@host"
        )
    if "DB index" in text:
        return BackendUnavailable(f"redis at {place} has no database of that number: use 0")
    if isinstance(error, exceptions.NoPermissionError):
        return BackendUnavailable("redis: that user may not use EVALSHA, EVAL, GETDEL and the keys")
    if "unknown command" in text:
        return BackendUnavailable("redis is too old: it takes 6.2 or later, or Valkey")
    if isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError, OSError)):
        name += f" at {place}: is it running, and reachable from this host?"
    return BackendUnavailable(f"redis failed with {name}")
