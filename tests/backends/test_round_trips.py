"""How often a put and a take wait for the server: what the table in docs/backends.md says."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy
from sqlalchemy import make_url

from ott_middleware import Backend, RedisBackend, SQLAlchemyBackend
from ott_middleware.backends import DjangoCacheBackend
from ott_middleware.errors import BackendUnavailable, KeyTaken

from .redis_servers import URL as REDIS
from .sql_servers import Line, database
from .sync_async import Colour, Loop
from .test_django_cache import cache
from .test_django_cache import memcached as memcached

DOCS = Path(__file__).parents[2] / "docs" / "backends.md"
LATER = time.time() + 3_600
WAIT = "ott_middleware.backends.sqlalchemy.alive.time.monotonic"


class CountingLine(Line):
    """Counts the round trips over all of its connections: each turn of the client's is one."""

    trips = inserts = 0

    def __init__(self, url: sqlalchemy.URL) -> None:
        self.holding = threading.Event()  # cleared, replies wait
        self.holding.set()
        self._turn: dict[socket.socket, bool] = {}
        super().__init__(url)

    def _pump(self, source: socket.socket, target: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                # Noted before it is passed on: the other side can't speak before that.
                if source is near:
                    self.trips += self._turn.get(near, True)
                    self.inserts += data.count(b"INSERT INTO")
                self._turn[near] = source is not near
                if source is not near:
                    self.holding.wait(10)
                    if self.losing:
                        break
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    def count(self) -> int:
        """Return the round trips since the last call."""
        trips, self.trips = self.trips, 0
        return trips


class Place(NamedTuple):
    backend: Backend
    line: CountingLine


class Row(NamedTuple):
    """One line of the table: a driver, and the round trips of operations that use it."""

    name: str
    url: str
    modes: tuple[str, ...]
    first: int
    put: int
    take: int


BOTH = ("sync", "async")
ROWS = [
    Row("Redis, by a URL", "redis", BOTH, 3, 1, 1),
    Row("PostgreSQL, psycopg", "postgresql+psycopg", BOTH, 7, 1, 1),
    Row("PostgreSQL, psycopg_async", "postgresql+psycopg_async", ("async",), 7, 1, 1),
    Row("PostgreSQL, asyncpg", "postgresql+asyncpg", ("async",), 11, 1, 1),
    Row(
        "PostgreSQL, psycopg, `?prepared_statements=true`",
        "postgresql+psycopg?prepared_statements=true",
        BOTH,
        9,
        2,
        1,
    ),
    Row(
        "PostgreSQL, asyncpg, `?prepared_statements=true`",
        "postgresql+asyncpg?prepared_statements=true",
        ("async",),
        16,
        2,
        1,
    ),
    Row("MariaDB, PyMySQL", "mysql+pymysql", BOTH, 10, 1, 1),
    Row("MariaDB, asyncmy", "mysql+asyncmy", ("async",), 10, 1, 1),
    Row("MySQL, PyMySQL", "mysql+pymysql as MySQL", BOTH, 12, 2, 2),
    Row("Django's cache, Redis", "django redis", BOTH, 6, 2, 3),
    Row("Django's cache, Memcached", "django memcached", BOTH, 2, 2, 3),
]
CASES = [
    pytest.param(row, mode, id=f"{row.url} {mode}".replace(" ", "-"))
    for row in ROWS
    for mode in row.modes
]


@contextlib.contextmanager
def place_of(kind: str, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A backend behind a line that counts."""
    with contextlib.ExitStack() as stack:
        if kind == "redis":
            line = CountingLine(make_url(REDIS))
            prefix = request.getfixturevalue("prefix")
            yield Place(RedisBackend(line.url.render_as_string(False), prefix=prefix), line)
        elif kind.startswith("django"):
            server = {"django redis": "RedisCache", "django memcached": "PyMemcacheCache"}[kind]
            at = REDIS
            if server == "PyMemcacheCache":
                at = f"memcached://{request.getfixturevalue('memcached')}"
            line = CountingLine(make_url(at))
            where = line.url.render_as_string(False)
            if server == "PyMemcacheCache":
                where = where.partition("://")[2]
            prefix = request.getfixturevalue("prefix")
            stack.enter_context(cache(server, where, KEY_PREFIX=prefix))
            yield Place(DjangoCacheBackend("ott"), line)
        else:
            driver, _, query = kind.partition(" ")[0].partition("?")
            place = stack.enter_context(database(driver, request.getfixturevalue("tmp_path")))
            SQLAlchemyBackend(place.keeper, table=place.table).create_table()
            line = CountingLine(place.url)
            text = line.url.render_as_string(False) + (query and f"?{query}")
            backend = SQLAlchemyBackend(text, table=place.table)
            if kind.endswith("as MySQL"):
                as_mysql(backend._engine.dialect)
            yield Place(backend, line)
        line.close()


def as_mysql(dialect: Any) -> None:
    """Have a dialect take MariaDB for MySQL, which has two things less."""
    initialize = dialect.initialize

    def look(connection: object) -> None:
        initialize(connection)
        dialect.is_mariadb = dialect.delete_returning = False

    dialect.initialize = look


def put(colour: Colour, backend: Backend, key: str, limit: int = 10, owner: str = "owner") -> None:
    colour.put(backend, key, expires_at=time.time() + 3_600, limit=limit, owner=owner)


@pytest.mark.parametrize(("row", "mode"), CASES)
def test_round_trips_are_those_of_the_table(
    row: Row, mode: str, request: pytest.FixtureRequest, loop: Loop
) -> None:
    colour = Colour(mode, loop)
    with place_of(row.url, request) as (backend, line):
        found = []
        for number in range(40):
            put(colour, backend, f"{number}")
            puts = line.count()
            assert colour.take(backend, f"{number}") == b"value"
            found.append((puts, line.count()))
        assert found[0][0] <= row.first
        # psycopg prepares a statement when it executes it for the sixth time. Where puts go by
        # steps, one in sixteen looks for expired rows as well.
        steady = found[8:]
        assert sorted(puts for puts, _ in steady)[: len(steady) * 15 // 16] == [row.put] * 30
        assert {takes for _, takes in steady} == {row.take}
        if row.put == 1:
            assert {puts for puts, _ in steady} == {1}
        colour.close(backend)


ONE_TRIP = [case for case in CASES if case.values[0].put == 1 and "redis" not in case.id]  # type: ignore[union-attr]  # the first value is a row


@pytest.mark.parametrize(("row", "mode"), ONE_TRIP)
def test_full_owner_and_expired_rows_cost_no_round_trip(
    row: Row, mode: str, request: pytest.FixtureRequest, loop: Loop
) -> None:
    colour = Colour(mode, loop)
    with place_of(row.url, request) as (backend, line):
        clock = itertools.count(1000.0)
        backend.clock = lambda: next(clock)
        for number in range(8):
            colour.put(backend, f"expired {number}", expires_at=1100, owner="old")
        clock = itertools.count(2000.0)
        line.count()
        for number in range(20):
            colour.put(backend, f"{number}", expires_at=9000, limit=2)
            assert line.count() == 1
        live = [colour.take(backend, f"{number}") is not None for number in range(20)]
        assert live == [False] * 18 + [True] * 2
        assert [colour.take(backend, f"expired {number}") for number in range(8)] == [None] * 8
        colour.close(backend)


@pytest.mark.parametrize(("row", "mode"), ONE_TRIP)
def test_key_that_is_taken_stays(
    row: Row, mode: str, request: pytest.FixtureRequest, loop: Loop
) -> None:
    colour = Colour(mode, loop)
    with place_of(row.url, request) as (backend, line):
        put(colour, backend, "key")
        for limit in (1, 10):
            line.count()
            with pytest.raises(KeyTaken):
                put(colour, backend, "key", limit=limit, owner="another")
        assert line.count() == 3
        assert colour.take(backend, "key") == b"value"
        # The connection is as good as before.
        put(colour, backend, "key")
        assert colour.take(backend, "key") == b"value"
        colour.close(backend)


def test_table_in_the_docs_says_so() -> None:
    table = re.findall(
        r"^\| (.+?) +\| (\d+) → (\d+) +\| (\d+) → (\d+) +\| (\d+) → (\d+) +\|$",
        DOCS.read_text(),
        re.MULTILINE,
    )
    said = [(name, int(first), int(put), int(take)) for name, _, first, _, put, _, take in table]
    assert said == [(row.name, row.first, row.put, row.take) for row in ROWS]


# Where one message is not taken, and where it fails.


def test_server_that_knows_no_compound_statement_is_given_the_steps(
    request: pytest.FixtureRequest,
) -> None:
    kind = "mysql+pymysql?init_command=SET%20sql_mode%3DORACLE"
    with place_of(kind, request) as (backend, line):
        counts = []
        for number in range(3):
            backend.put(f"{number}", b"value", expires_at=LATER, owner="owner", limit=1)
            counts.append(line.count())
            line.count()
        # The second and third drop the row before, which takes a statement more.
        assert counts[1:] == [3, 3]
        assert [backend.take(f"{number}") for number in range(3)] == [None, None, b"value"]
        backend.close()


def test_table_that_is_not_there_is_no_reason_to_give_up_the_one_message(
    request: pytest.FixtureRequest,
) -> None:
    with place_of("postgresql+psycopg", request) as (backend, line):
        assert isinstance(backend, SQLAlchemyBackend)
        missing = SQLAlchemyBackend(line.url, table=f"{backend.table.name}_2")
        with pytest.raises(BackendUnavailable, match="call create_table"):
            missing.put("key", b"value", expires_at=LATER, owner="owner", limit=1)
        missing.create_table()
        line.count()
        missing.put("key", b"value", expires_at=LATER, owner="owner", limit=1)
        assert line.count() == 1
        missing.table.drop(missing._engine)
        missing.close()
        backend.close()


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_isolation_with_one_snapshot_gets_the_steps(
    level: str, request: pytest.FixtureRequest
) -> None:
    option = f"-c default_transaction_isolation={level}".replace(" ", "%20").replace("=", "%3D")
    option = option.replace("%20read", "%5C%20read")
    with place_of(f"postgresql+psycopg?options={option}", request) as (backend, line):
        for number in range(3):
            backend.put(f"{number}", b"value", expires_at=LATER, owner="owner", limit=2)
        assert [backend.take(f"{number}") for number in range(3)] == [None, b"value", b"value"]
        line.count()
        backend.put("key", b"value", expires_at=LATER, owner="owner", limit=2)
        assert line.count() == 2
        backend.close()


@pytest.mark.parametrize("how", ["lost", "cancelled"])
def test_asyncpg_whose_put_gets_no_reply_reads_it_never(
    how: str, request: pytest.FixtureRequest, loop: Loop
) -> None:
    with place_of("postgresql+asyncpg", request) as (backend, line):
        assert isinstance(backend, SQLAlchemyBackend)
        engine: Any = backend._engine
        opened: list[int] = []
        sqlalchemy.event.listen(
            engine.sync_engine, "connect", lambda *_: opened.append(len(opened) + 1)
        )

        async def main() -> None:
            async def put(key: str) -> None:
                await backend.aput(key, b"value", expires_at=LATER, owner="owner", limit=2)

            await put("before")
            line.inserts = 0
            line.losing = how == "lost"
            line.holding.clear()
            task = asyncio.ensure_future(put("during"))
            await asyncio.sleep(0.2)
            if how == "cancelled":
                task.cancel()
            line.holding.set()
            with pytest.raises(BackendUnavailable if how == "lost" else asyncio.CancelledError):
                await task
            line.losing = False
            assert line.inserts == 1  # (asyncpg also asks the server to cancel it)
            await put("after")
            # A reply may still have come over the first connection: no caller is given it again.
            assert opened == [1, 2]
            assert await backend.atake("after") == b"value"
            assert await backend.atake("before") in (b"value", None)
            await backend.aclose()

        loop.run(main())


# What is looked at before anything is sent.


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if "+" in row.url and "?" not in row.url],
    ids=lambda row: row.url.replace(" ", "-"),
)
def test_server_is_asked_after_thirty_seconds_of_silence_alone(
    row: Row, request: pytest.FixtureRequest, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(WAIT, lambda: now[0])
    colour = Colour("async", loop)
    with place_of(row.url, request) as (backend, line):
        assert colour.take(backend, "key") is None
        assert colour.take(backend, "key") is None
        without = row.take if "as MySQL" not in row.url else 1  # it looks, and finds none
        for seconds, asked in ((29.9, 0), (30.1, 1), (0.1, 0), (1000, 1)):
            now[0] += seconds
            line.count()
            assert colour.take(backend, "key") is None
            # (asyncpg has the question parsed in a round trip of its own.)
            most = 2 if "asyncpg" in row.url else 1
            assert without + asked <= line.count() <= without + asked * most
        colour.close(backend)


@pytest.mark.parametrize(
    "row", [row for row in ROWS if "+" in row.url], ids=lambda row: row.url.replace(" ", "-")
)
def test_server_that_said_farewell_is_asked_and_the_take_sent_once(
    row: Row, request: pytest.FixtureRequest, loop: Loop
) -> None:
    colour = Colour("async", loop)
    with place_of(row.url, request) as (backend, line):
        for key in ("one", "two"):
            put(colour, backend, key)
        for key in ("one", "two"):
            line.cut()
            time.sleep(0.05)  # for the farewell to arrive
            # Nothing is sent over the line that is cut: the take reaches the server by another.
            assert colour.take(backend, key) == b"value"
            assert colour.take(backend, key) is None
        colour.close(backend)
