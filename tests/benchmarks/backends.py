"""What the backends cost on top of their drivers.

A put and a take through a backend against the bare driver doing the same statements with the same
settings; sealing is no part of either. The two sides take turns every few pairs, each with a store
of its own on the same engine, and a round's ratio is of the time that passed: what else the machine
does meanwhile slows down both. `--check` fails where the median of the ratios is over its bound.

The time of the asynchronous colour, one pair after the other, stands beside. An engine that is not
there is left out, and is an error with `CI=true`. `OTT_TEST_REDIS_URL` and `OTT_TEST_POSTGRES_URL`
say where they are; `TMPDIR`, on which disk the SQLite files lie.
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
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ott_middleware import Backend, RedisBackend, SQLAlchemyBackend, SQLiteBackend
from ott_middleware.backends.redis.scripts import HEADER, PUT
from ott_middleware.backends.sqlite import backend as statements

REDIS = os.environ.get("OTT_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
POSTGRES = os.environ.get("OTT_TEST_POSTGRES_URL", "postgresql+psycopg://root@127.0.0.1:5432/test")

ROUNDS = 15
TURNS = 10
PAIRS = 10  # in one turn
LIMIT = 10
VALUE = secrets.token_bytes(400)  # about what a session is, sealed


class Absent(Exception):
    """An engine is not there."""


class Sides(NamedTuple):
    """One engine: the bare driver's pair, and the backends."""

    name: str
    bound: float
    bare: Callable[[str, str, float], bytes | None]
    ours: Backend
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

            yield Sides("SQLite", 1.5, bare, backend, backend)


@contextmanager
def redis_sides() -> Iterator[Sides]:
    try:
        import redis
    except ModuleNotFoundError:
        raise Absent("redis-py is not installed") from None
    pool = redis.BlockingConnectionPool.from_url(
        REDIS, protocol=2, timeout=2, socket_timeout=2, socket_connect_timeout=2, max_connections=50
    )
    run = secrets.token_hex(8)
    prefix = f"ott-bare-{run}"
    with closing(pool), closing(redis.Redis(connection_pool=pool)) as client:
        try:
            script = client.script_load(PUT.in_full((), ())[1])
        except redis.RedisError as error:
            raise Absent(f"no Redis to be reached ({type(error).__name__})") from None
        backend = RedisBackend(REDIS, prefix=f"ott-ours-{run}")

        def bare(key: str, owner: str, expires_at: float) -> bytes | None:
            now = time.time()
            token_key = f"{{{prefix}}}:token:{key}"
            mark = hashlib.sha256(owner.encode()).digest()[:16]
            client.evalsha(
                *(script, 2, token_key, f"{{{prefix}}}:owner:{owner}"),
                *(repr(expires_at), mark, VALUE, repr(now)),
                *(math.ceil((expires_at - now) * 1000), LIMIT),
            )
            held = client.getdel(token_key)
            assert isinstance(held, bytes)
            return held[HEADER.size :]

        try:
            with closing(backend):
                yield Sides("Redis", 1.3, bare, backend, backend)
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
    try:
        connection = psycopg.connect(
            url.set(drivername="postgresql").render_as_string(hide_password=False),
            autocommit=True,
            connect_timeout=5,
            tcp_user_timeout=5000,
            options="-c statement_timeout=5000",
        )
    except psycopg.OperationalError as error:
        raise Absent(f"no PostgreSQL to be reached ({type(error).__name__})") from None
    with closing(connection), closing(SQLAlchemyBackend(url, table=ours)) as backend:
        try:
            backend.create_table()
            with closing(SQLAlchemyBackend(url, table=bares)) as model:
                model.create_table()
                turns = itertools.cycle(said(model))

            def bare(key: str, owner: str, expires_at: float) -> bytes | None:
                values = {
                    "key": hashlib.sha256(key.encode()).digest(),
                    "owner": hashlib.sha256(owner.encode()).digest(),
                    "value_": VALUE,
                    "expiry": expires_at,
                    "now": time.time(),
                }
                rows: list[Any] = []
                for text, arguments in next(turns):
                    cursor = connection.execute(
                        text, {name: values.get(name, arguments[name]) for name in arguments}
                    )
                    rows = cursor.fetchall() if cursor.description else []
                return bytes(rows[0][0])

            asynchronous = SQLAlchemyBackend(
                url.set(drivername="postgresql+psycopg_async"), table=ours
            )
            yield Sides("PostgreSQL", 2.0, bare, backend, asynchronous)
        finally:
            connection.execute(f"DROP TABLE IF EXISTS {ours}, {bares}")


def said(backend: SQLAlchemyBackend) -> list[list[tuple[str, dict[str, Any]]]]:
    """What a backend says to its driver in sixteen pairs, the clean-up among them."""
    from sqlalchemy import Engine, event

    pairs: list[list[tuple[str, dict[str, Any]]]] = []

    def listen(_: Any, __: Any, text: str, arguments: Any, *___: Any) -> None:
        pairs[-1].append((text, dict(arguments)))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        for _ in range(16):
            pairs.append([])
            pair(backend, *names(), time.time() + 180)
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    return pairs


def pair(backend: Backend, key: str, owner: str, expires_at: float) -> bytes | None:
    backend.put(key, VALUE, expires_at=expires_at, owner=owner, limit=LIMIT)
    return backend.take(key)


async def asynchronous_pairs(backend: Backend) -> list[float]:
    """Microseconds a pair, for each round."""
    found = []
    try:
        for _ in range(1 + ROUNDS):
            todo = [names() for _ in range(TURNS * PAIRS)]
            expires_at = time.time() + 180
            began = time.perf_counter()
            for key, owner in todo:
                await backend.aput(key, VALUE, expires_at=expires_at, owner=owner, limit=LIMIT)
                assert await backend.atake(key) == VALUE
            found.append((time.perf_counter() - began) / len(todo) * 1e6)
    finally:
        await backend.aclose()
    return found[1:]  # the first one warmed up


def measure(sides: Sides) -> list[tuple[float, float]]:
    """Microseconds a pair of the bare driver and of the backend, for each round."""

    def ours(key: str, owner: str, expires_at: float) -> bytes | None:
        return pair(sides.ours, key, owner, expires_at)

    found = []
    for _ in range(1 + ROUNDS):
        spent = [0.0, 0.0]
        for turn in range(TURNS):
            for side in (0, 1) if turn % 2 else (1, 0):
                call = (sides.bare, ours)[side]
                todo = [names() for _ in range(PAIRS)]
                expires_at = time.time() + 180
                gc.disable()  # its pauses would hit one side by chance
                began = time.perf_counter()
                for key, owner in todo:
                    assert call(key, owner, expires_at) == VALUE
                spent[side] += time.perf_counter() - began
                gc.enable()
        found.append((spent[0] / TURNS / PAIRS * 1e6, spent[1] / TURNS / PAIRS * 1e6))
    return found[1:]  # the first one warmed up


def main() -> int:
    check = "--check" in sys.argv[1:]
    missed = absent = 0
    for name, engine in (
        ("SQLite", sqlite_sides),
        ("Redis", redis_sides),
        ("PostgreSQL", postgres_sides),
    ):
        try:
            with engine() as sides:
                rounds = measure(sides)
                ratio = statistics.median(ours / bare for bare, ours in rounds)
                bare, ours = (statistics.median(side) for side in zip(*rounds, strict=True))
                awaited = statistics.median(asyncio.run(asynchronous_pairs(sides.asynchronous)))
                held = ratio <= sides.bound
                missed += not held
                print(
                    f"backend {name:10}: {ratio:.2f} times the bare driver ({bare:.0f} -> "
                    f"{ours:.0f} us a put and take), bound {sides.bound}: "
                    f"{'held' if held else 'MISSED'}; async colour {awaited:.0f} us"
                )
        except Absent as reason:
            absent += 1
            print(f"backend {name:10}: left out: {reason}")
    if absent and os.environ.get("CI") == "true":
        print("with CI=true all engines must be there")
        return 1
    return 1 if check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
