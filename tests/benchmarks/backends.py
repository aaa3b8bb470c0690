"""What the backends cost on top of their drivers.

A put and a take through a backend against the bare driver doing the same statements with the same
settings; sealing is no part of either. The two sides take turns every few pairs, each with a store
of its own on the same engine, and a round's ratio is of the time that passed: what else the machine
does meanwhile slows down both. `--check` fails where the median of the ratios is over its bound.

The same again for the async methods: beside the async client of redis-py and psycopg's, and for
SQLite beside the bare calls in threads. The last row is of four processes on one SQLite file: see
`sqlite_workers.py`. An engine that is not there is left out, and is an error with `CI=true`.
`OTT_TEST_REDIS_URL` and `OTT_TEST_POSTGRES_URL` say where they are; `TMPDIR`, on which disk the
SQLite files lie. `--tiny` runs each once or twice, to see that the script works.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import itertools
import math
import os
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import sqlite_workers

from ott_middleware import Backend, RedisBackend, SQLAlchemyBackend, SQLiteBackend
from ott_middleware.backends.redis.scripts import HEADER, PUT
from ott_middleware.backends.sqlalchemy.one_trip import PostgresPut
from ott_middleware.backends.sqlite import backend as statements

REDIS = os.environ.get("OTT_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
POSTGRES = os.environ.get("OTT_TEST_POSTGRES_URL", "postgresql+psycopg://root@127.0.0.1:5432/test")

TINY = "--tiny" in sys.argv[1:]
ROUNDS = 1 if TINY else 15
TURNS = 2 if TINY else 10
PAIRS = 10  # in one turn
LIMIT = 10
WORKERS_BOUND = 0.6
VALUE = secrets.token_bytes(400)  # about what a session is, sealed


class Absent(Exception):
    """An engine is not there."""


Pair = Callable[[str, str, float], "bytes | None"]
AsyncPair = Callable[[str, str, float], Awaitable["bytes | None"]]


class Sides(NamedTuple):
    """One engine: the bare driver's pair and the backends, both sync and async."""

    name: str
    bound: float
    bare: Pair
    ours: Backend
    async_bound: float
    async_bare: Callable[[], AbstractAsyncContextManager[AsyncPair]]
    asynchronous: Backend


def names() -> tuple[str, str]:
    """A key and an owner as a token service makes them; each session has its own."""
    return f"one-time-token:handoff:{secrets.token_urlsafe(32)}", secrets.token_urlsafe(32)


@contextmanager
def sqlite_sides() -> Iterator[Sides]:
    with tempfile.TemporaryDirectory() as folder:
        backend = SQLiteBackend(Path(folder, "ours.db"))
        connection = sqlite3.connect(
            Path(folder, "bare.db"), timeout=5, isolation_level=None, check_same_thread=False
        )
        with closing(backend), closing(connection):
            execute = connection.execute
            execute("PRAGMA journal_mode = WAL")
            execute("PRAGMA fullfsync = ON")
            for statement in statements._SCHEMA:
                execute(statement)

            def bare(key: str, owner: str, expires_at: float) -> bytes | None:
                now = time.time()
                execute("PRAGMA synchronous = NORMAL")
                execute("BEGIN IMMEDIATE")
                execute(statements._DROP_EXPIRED, (now, statements._SWEEP))
                execute(statements._INSERT, (key, VALUE, owner, expires_at))
                execute(statements._RETIRE, (owner, owner, now, LIMIT))
                execute("COMMIT")
                execute("PRAGMA synchronous = FULL")
                rows: list[tuple[bytes, float]]
                if statements._RETURNING:
                    rows = execute(statements._TAKE, (key,)).fetchall()
                else:
                    execute("BEGIN IMMEDIATE")
                    rows = execute(statements._LOOK, (key,)).fetchall()
                    execute(statements._DELETE, (key,))
                    execute("COMMIT")
                return rows[0][0]

            @asynccontextmanager
            async def async_bare() -> AsyncIterator[AsyncPair]:
                def in_threads(key: str, owner: str, expires_at: float) -> Awaitable[bytes | None]:
                    return asyncio.to_thread(bare, key, owner, expires_at)

                yield in_threads

            yield Sides("SQLite", 1.5, bare, backend, 1.6, async_bare, backend)


@contextmanager
def redis_sides() -> Iterator[Sides]:
    try:
        import redis.asyncio
    except ModuleNotFoundError:
        raise Absent("redis-py is not installed") from None
    pool = redis.BlockingConnectionPool.from_url(
        REDIS, protocol=2, timeout=2, socket_timeout=2, socket_connect_timeout=2, max_connections=50
    )
    run = secrets.token_hex(8)
    prefix = f"ott-bare-{run}"
    with closing(pool), closing(redis.Redis(connection_pool=pool)) as client:
        try:
            script = client.script_load(PUT.in_full[1])
        except redis.RedisError as error:
            raise Absent(f"no Redis to be reached ({type(error).__name__})") from None
        backend = RedisBackend(REDIS, prefix=f"ott-ours-{run}")

        def put(key: str, owner: str, expires_at: float) -> tuple[Any, ...]:
            now = time.time()
            mark = hashlib.sha256(owner.encode()).digest()[:16]
            return (
                *(script, 2, f"{{{prefix}}}:token:{key}", f"{{{prefix}}}:owner:{owner}"),
                *(repr(expires_at), mark, VALUE, repr(now)),
                *(math.ceil((expires_at - now) * 1000), LIMIT),
            )

        def bare(key: str, owner: str, expires_at: float) -> bytes | None:
            client.evalsha(*put(key, owner, expires_at))
            held: Any = client.getdel(f"{{{prefix}}}:token:{key}")
            return bytes(held[HEADER.size :])

        @asynccontextmanager
        async def async_bare() -> AsyncIterator[AsyncPair]:
            async with redis.asyncio.Redis.from_url(REDIS, protocol=2, socket_timeout=2) as client:

                async def pair(key: str, owner: str, expires_at: float) -> bytes | None:
                    await client.evalsha(*put(key, owner, expires_at))
                    held: Any = await client.getdel(f"{{{prefix}}}:token:{key}")
                    return bytes(held[HEADER.size :])

                yield pair

        try:
            with closing(backend):
                yield Sides("Redis", 1.3, bare, backend, 1.4, async_bare, backend)
        finally:
            for key in client.scan_iter(match=f"{{ott-????-{run}}}:*", count=1000):
                client.delete(key)


@contextmanager
def postgres_sides() -> Iterator[Sides]:
    try:
        import psycopg
        import sqlalchemy
    except ModuleNotFoundError as error:
        raise Absent(f"{error.name} is not installed") from None
    url = sqlalchemy.make_url(POSTGRES).set(drivername="postgresql+psycopg")
    run = secrets.token_hex(6)
    ours, bares = f"ott_ours_{run}", f"ott_bare_{run}"
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    settings: dict[str, Any] = {
        "autocommit": True,
        "prepare_threshold": None,
        "connect_timeout": 5,
        "tcp_user_timeout": 5000,
        "options": "-c statement_timeout=5000",
    }
    try:
        connection = psycopg.connect(plain, **settings)
    except psycopg.OperationalError as error:
        raise Absent(f"no PostgreSQL to be reached ({type(error).__name__})") from None
    with closing(connection), closing(SQLAlchemyBackend(url, table=ours)) as backend:
        try:
            backend.create_table()
            with closing(SQLAlchemyBackend(url, table=bares)) as model:
                model.create_table()
            script, turns = PostgresPut(bares).script, itertools.count()
            take = f"DELETE FROM {bares} WHERE key_hash = %s RETURNING value, expires_at, key_hash"

            def put(key: bytes, owner: str, expires_at: float) -> str:
                row = {"key": key, "owner": hashlib.sha256(owner.encode()).digest()}
                row |= {"value_": VALUE, "expiry": expires_at, "now": time.time()}
                return script(row, LIMIT, next(turns) % 16 == 0)

            def bare(key: str, owner: str, expires_at: float) -> bytes | None:
                name = hashlib.sha256(key.encode()).digest()
                connection.execute(put(name, owner, expires_at))
                return bytes(connection.execute(take, (name,)).fetchall()[0][0])

            @asynccontextmanager
            async def async_bare() -> AsyncIterator[AsyncPair]:
                opened = await psycopg.AsyncConnection.connect(plain, **settings)
                async with opened:

                    async def pair(key: str, owner: str, expires_at: float) -> bytes | None:
                        name = hashlib.sha256(key.encode()).digest()
                        await opened.execute(put(name, owner, expires_at))
                        cursor = await opened.execute(take, (name,))
                        return bytes((await cursor.fetchall())[0][0])

                    yield pair

            asynchronous = SQLAlchemyBackend(
                url.set(drivername="postgresql+psycopg_async"), table=ours
            )
            yield Sides("PostgreSQL", 2.0, bare, backend, 2.0, async_bare, asynchronous)
        finally:
            connection.execute(f"DROP TABLE IF EXISTS {ours}, {bares}")


def pair(backend: Backend, key: str, owner: str, expires_at: float) -> bytes | None:
    backend.put(key, VALUE, expires_at=expires_at, owner=owner, limit=LIMIT)
    return backend.take(key)


def measure_sync(sides: Sides) -> list[tuple[float, float]]:
    """Microseconds a pair of the bare driver and of the backend, for each round."""

    async def bare(key: str, owner: str, expires_at: float) -> bytes | None:
        return sides.bare(key, owner, expires_at)

    async def ours(key: str, owner: str, expires_at: float) -> bytes | None:
        return pair(sides.ours, key, owner, expires_at)

    return asyncio.run(measure(bare, ours))


async def measure_async(sides: Sides) -> list[tuple[float, float]]:
    """`measure_sync`, of the async methods."""
    backend = sides.asynchronous

    async def ours(key: str, owner: str, expires_at: float) -> bytes | None:
        await backend.aput(key, VALUE, expires_at=expires_at, owner=owner, limit=LIMIT)
        return await backend.atake(key)

    try:
        async with sides.async_bare() as bare:
            return await measure(bare, ours)
    finally:
        await backend.aclose()


async def measure(*pairs: AsyncPair) -> list[tuple[float, float]]:
    found = []
    for _ in range(1 + ROUNDS):
        spent = [0.0, 0.0]
        for turn in range(TURNS):
            for side in (0, 1) if turn % 2 else (1, 0):
                call = pairs[side]
                todo = [names() for _ in range(PAIRS)]
                expires_at = time.time() + 180
                gc.disable()  # its pauses would hit one side by chance
                began = time.perf_counter()
                for key, owner in todo:
                    assert await call(key, owner, expires_at) == VALUE
                spent[side] += time.perf_counter() - began
                gc.enable()
        found.append((spent[0] / TURNS / PAIRS * 1e6, spent[1] / TURNS / PAIRS * 1e6))
    return found[1:]  # the first one warmed up


def report(name: str, rounds: list[tuple[float, float]], bound: float) -> bool:
    """Print a row, the ratio first; return whether its bound is held."""
    ratio = statistics.median(ours / bare for bare, ours in rounds)
    bare, ours = (statistics.median(side) for side in zip(*rounds, strict=True))
    held = ratio <= bound
    print(
        f"backend {name:17}: {ratio:.2f} times the bare driver ({bare:.0f} -> {ours:.0f} us a put "
        f"and take), bound {bound}: {'held' if held else 'MISSED'}"
    )
    return held


def report_workers() -> bool:
    """`report`, of four processes on one SQLite file: the work done in the same time."""
    ratio, bare, ours = sqlite_workers.measure(tiny=TINY)
    held = ratio >= WORKERS_BOUND
    print(
        f"backend {'SQLite, 4 workers':17}: {ratio:.2f} of the bare loop's throughput ({bare:.0f} "
        f"-> {ours:.0f} puts and takes a second), bound {WORKERS_BOUND}: "
        f"{'held' if held else 'MISSED'}"
    )
    return held


def main() -> int:
    check = "--check" in sys.argv[1:]
    absent = 0
    held = []
    for name, engine in (
        ("SQLite", sqlite_sides),
        ("Redis", redis_sides),
        ("PostgreSQL", postgres_sides),
    ):
        try:
            with engine() as sides:
                held.append(report(name, measure_sync(sides), sides.bound))
                rounds = asyncio.run(measure_async(sides))
                held.append(report(f"{name}, async", rounds, sides.async_bound))
        except Absent as reason:
            absent += 1
            print(f"backend {name:17}: left out: {reason}")
    held.append(report_workers())
    if absent and os.environ.get("CI") == "true":
        print("with CI=true all engines must be there")
        return 1
    return 1 if check and not all(held) else 0


if __name__ == "__main__":
    sys.exit(main())
