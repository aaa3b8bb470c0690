"""The asynchronous colour never holds up the event loop.

A task that ticks every five milliseconds, beside operations that an engine takes its time for, and
by itself for as long.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from ott_middleware import Backend, RedisBackend, SQLAlchemyBackend, SQLiteBackend
from ott_middleware.backends import MappingBackend

from . import harness
from .engines import SCALE, need_redis_server, url_of

pytestmark = pytest.mark.load

OPERATIONS = int(1000 * SCALE)
CALLERS = 20
SLOW = 0.02  # seconds that an engine takes for a put, or for whatever comes meanwhile
SLOW_ALONE = 0.002  # where one put waits for the other
TICK = 0.005
ALLOWED = 0.05


class SlowDict(dict[str, bytes]):
    def __setitem__(self, key: str, value: bytes) -> None:
        time.sleep(SLOW_ALONE)
        super().__setitem__(key, value)


@contextmanager
def slow_mapping(folder: Path) -> Any:
    yield MappingBackend(SlowDict(), threading.Lock())


@contextmanager
def slow_sqlite(folder: Path) -> Any:
    backend = SQLiteBackend(folder / "tokens.db", timeout=30)
    backend.take("")
    connection = backend._file._connection
    connection.create_function("slow", 0, lambda: time.sleep(SLOW_ALONE))
    connection.execute(
        "CREATE TEMP TRIGGER slow BEFORE INSERT ON main.ott_tokens BEGIN SELECT slow(); END"
    )
    yield backend
    backend.close()


# A Redis that answers nobody for that long, again and again.
_PAUSER = """
import redis, sys, time
client = redis.Redis(port=int(sys.argv[1]))
print(flush=True)
while True:
    client.client_pause(int(float(sys.argv[2]) * 1000), all=True)
    time.sleep(float(sys.argv[2]) + 0.002)
"""


@contextmanager
def slow_redis(folder: Path) -> Any:
    need_redis_server()
    port = harness.free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        harness.wait_for(port)
        with other_process(_PAUSER, str(port), str(SLOW)):
            yield RedisBackend(f"redis://127.0.0.1:{port}/0")
    finally:
        process.kill()
        process.wait(10)


def slow_database(engine: str, driver: str) -> Callable[[Path], Any]:
    @contextmanager
    def slow(folder: Path) -> Any:
        guard = sqlalchemy.create_engine(url_of(engine, folder), isolation_level="AUTOCOMMIT")
        table = f"ott_load_{secrets.token_hex(6)}"
        SQLAlchemyBackend(guard, table=table).create_table()
        said = {
            "postgresql": [
                f"CREATE FUNCTION {table}_slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep({SLOW}); RETURN NEW; END $$",  # noqa: E501 - one statement of SQL
                f"CREATE TRIGGER slow BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_slow()",  # noqa: E501 - one statement of SQL
            ],
            "mysql": [
                f"CREATE TRIGGER slow BEFORE INSERT ON {table} FOR EACH ROW DO SLEEP({SLOW})"
            ],
        }[engine]
        try:
            with guard.connect() as connection:
                for statement in said:
                    connection.exec_driver_sql(statement)
            yield SQLAlchemyBackend(guard.url.set(drivername=driver), table=table)
        finally:
            with guard.connect() as connection:
                connection.exec_driver_sql(f"DROP TABLE {table}")
                if engine == "postgresql":
                    connection.exec_driver_sql(f"DROP FUNCTION {table}_slow")
            guard.dispose()

    return slow


@contextmanager
def other_process(program: str, *arguments: str) -> Any:
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()


STORES: dict[str, Callable[[Path], Any]] = {
    "mapping": slow_mapping,
    "sqlite": slow_sqlite,
    "redis": slow_redis,
    "psycopg": slow_database("postgresql", "postgresql+psycopg"),
    "psycopg_async": slow_database("postgresql", "postgresql+psycopg_async"),
    "asyncpg": slow_database("postgresql", "postgresql+asyncpg"),
    "pymysql": slow_database("mysql", "mysql+pymysql"),
    "asyncmy": slow_database("mysql", "mysql+asyncmy"),
}


@asynccontextmanager
async def ticking() -> AsyncIterator[list[float]]:
    """How late a tick was, each time, in seconds."""
    late: list[float] = []

    async def tick() -> None:
        while True:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            late.append(max(0.0, time.perf_counter() - due))

    task = asyncio.create_task(tick())
    await asyncio.sleep(0)
    yield late
    task.cancel()


async def operate(backend: Backend, count: int) -> None:
    async def caller() -> None:
        for _ in range(count // CALLERS):  # a slow put, and a take
            key = secrets.token_urlsafe(24)
            await backend.aput(key, b"value", expires_at=time.time() + 60, owner=key, limit=10)
            assert await backend.atake(key) == b"value"

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def lateness(backend: Backend) -> tuple[list[float], list[float]]:
    """Of ticks beside the operations, and of ticks alone for as long."""
    await operate(backend, 4 * CALLERS)  # connections and threads are there
    began = time.perf_counter()
    async with ticking() as beside:
        await operate(backend, OPERATIONS)
    lasted = time.perf_counter() - began
    async with ticking() as alone:
        await asyncio.sleep(lasted)
    return beside, alone


@pytest.mark.parametrize("name", STORES)
def test_loop_is_not_blocked(name: str, tmp_path: Path) -> None:
    async def rounds(backend: Backend) -> list[tuple[list[float], list[float]]]:
        try:
            return [await lateness(backend) for _ in range(3)]
        finally:
            await backend.aclose()

    with STORES[name](tmp_path) as backend:
        found = asyncio.run(rounds(backend))
    # It was slow, and the loop ran: there were ticks, if fewer than with nothing else to do.
    for beside, alone in found:
        assert len(beside) > max(5, len(alone) / 4)
    best = min(found, key=lambda pair: max(pair[0]) - max(pair[1]))
    p99 = min(statistics.quantiles(beside, n=100)[-1] for beside, _ in found)
    worst, idle = max(best[0]), max(best[1])
    print(
        f"{name}: beside {OPERATIONS} operations, p99 {p99 * 1000:.1f} ms late, worst "
        f"{worst * 1000:.1f} ms, alone {idle * 1000:.1f} ms"
    )
    assert p99 <= ALLOWED
    assert worst - idle <= ALLOWED
