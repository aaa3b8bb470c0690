"""However many tokens a store holds, a call does the same work: no engine looks at all of them.

What is examined is what the backends really send, as it was seen on its way to the engine.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")

from sqlalchemy import event, insert

from ott_middleware import Backend, RedisBackend, SQLAlchemyBackend, SQLiteBackend
from ott_middleware.backends.sqlalchemy import table as sql_table
from ott_middleware.testing import Clock

from .redis_servers import Server
from .sql_servers import Database, database

pytestmark = pytest.mark.slow

ROWS = 20_000  # enough for each planner to prefer an index, as it does with 10,000,000
OWNED = 20
NOW = time.time()
Sent = list[tuple[str, Any]]


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def exercise(backend: Backend) -> None:
    """Have a backend send all that it has: puts with all they clean up, a take, a revocation."""
    for number in range(2 * sql_table._SWEEP_EVERY):
        # An owner beyond its limit, and in between a key that an expired row has.
        key = f"key {number // 8}" if number % 8 == 0 else f"new {number}"
        owner = f"owner {number + 100}"
        backend.put(key, b"value", expires_at=NOW + 3_600, owner=owner, limit=10)
    backend.put("no limit", b"value", expires_at=NOW + 3_600, owner="owner 300", limit=None)
    assert backend.take("new 1") == b"value"
    assert backend.take("never put") is None
    assert backend.revoke("owner 7") > 0


def expiry(number: int) -> float:
    """One in ten has expired, and the first ten, whose keys are put again, after the others."""
    return NOW - 1 if number < 10 else NOW - 600 if number % 10 == 0 else NOW + 3_600


def rows() -> list[dict[str, Any]]:
    return [
        {
            "key_hash": digest(f"key {number}"),
            "owner_hash": digest(f"owner {number // OWNED}"),
            "value": bytes(100),
            "expires_at": expiry(number),
        }
        for number in range(ROWS)
    ]


class Store:
    """A `SQLAlchemyBackend` over a table with many rows, and what it sends."""

    def __init__(self, place: Database) -> None:
        self.name = place.url.get_backend_name()
        self.backend = SQLAlchemyBackend(place.url, table=place.table)
        self.backend.create_table()
        with place.keeper.begin() as connection:
            connection.execute(insert(self.backend.table), rows())
        analyze = {"postgresql": "VACUUM ANALYZE", "mysql": "ANALYZE TABLE", "sqlite": "ANALYZE"}
        with place.keeper.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"{analyze[self.name]} {place.table}")
        self.engine: Any = self.backend._engine
        self.sent: Sent = []

    def listen(self) -> None:
        event.listen(self.engine, "before_cursor_execute", self._note)

    def _note(self, connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        self.sent.append((statement, parameters))

    def explain(self, how: str, statement: str, parameters: Any) -> list[Any]:
        with self.engine.connect() as connection:
            answer = connection.exec_driver_sql(f"{how} {statement}", parameters or None)
            return list(answer.mappings())

    def statements(self, only: str = "") -> Sent:
        """Each kind of statement once, and of several in one message each by itself."""
        found: dict[str, tuple[str, Any]] = {}
        for text, parameters in self.sent:
            for statement in text.split("; "):
                kind = statement.split("'", 1)[0] + statement[-20:]
                if statement.lstrip().upper().startswith(("SELECT", "DELETE", "UPDATE")):
                    found.setdefault(kind, (statement, parameters))
        return [each for each in found.values() if only in each[0]]


@pytest.fixture(params=["one trip", "steps"])
def by_steps(request: pytest.FixtureRequest) -> bool:
    """Whether a put is sent by a statement for each step, as to engines that take no more."""
    return bool(request.param == "steps")


def store_of(driver: str, folder: Path, by_steps: bool) -> Iterator[Store]:
    with database(driver, folder) as place:
        store = Store(place)
        if by_steps:
            store.backend._statements._one_trip = None
        store.listen()
        yield store
        store.backend.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


class TestPostgreSQL:
    @pytest.fixture
    def store(self, tmp_path: Path, by_steps: bool) -> Iterator[Store]:
        yield from store_of("postgresql+psycopg", tmp_path, by_steps)

    def scans(self, store: Store, statement: str, parameters: Any = None) -> list[str]:
        """Return what a plan reads without an index, or with all of one."""
        (row,) = store.explain("EXPLAIN (FORMAT JSON)", statement, parameters)
        return [
            node["Node Type"]
            for node in nodes(row["QUERY PLAN"][0]["Plan"])
            if "Scan" in node["Node Type"]
            and "Index Cond" not in node
            and node["Node Type"] not in ("Bitmap Heap Scan", "Subquery Scan")
        ]

    def test_indexes_alone(self, store: Store) -> None:
        exercise(store.backend)
        statements = store.statements(store.backend.table.name)
        assert len(statements) >= 4
        for statement, parameters in statements:
            assert self.scans(store, statement, parameters) == [], statement

    def test_a_scan_would_be_seen(self, store: Store) -> None:
        name = store.backend.table.name
        assert self.scans(store, f"DELETE FROM {name} WHERE value = ''") == ["Seq Scan"]
        assert self.scans(store, f"SELECT id FROM {name} ORDER BY id") != []


class TestMariaDB:
    @pytest.fixture
    def store(self, tmp_path: Path, by_steps: bool) -> Iterator[Store]:
        yield from store_of("mysql+pymysql", tmp_path, by_steps)

    def scans(self, store: Store, statement: str, parameters: Any = None) -> list[Any]:
        found = store.explain("EXPLAIN", statement, parameters)
        return [row for row in found if row["type"] in ("ALL", "index") or row["key"] is None]

    def rows_read(self, store: Store, call: Callable[[], object]) -> int:
        """Count the rows that the engine reads for a call, whatever form its statements have."""
        query = "SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%%'"
        counts = []
        for work in (call, None):
            # There is one connection, which its pool gives to each in turn.
            with store.engine.connect() as connection:
                found = connection.exec_driver_sql(query).fetchall()
            counts.append(sum(int(value) for _, value in found))
            if work:
                work()
        return counts[1] - counts[0]

    def test_indexes_alone(self, store: Store, by_steps: bool) -> None:
        exercise(store.backend)
        statements = store.statements(store.backend.table.name)
        assert len(statements) >= (4 if by_steps else 2)
        for statement, parameters in statements:
            assert self.scans(store, statement, parameters) == [], statement

    def test_rows_read_are_few(self, store: Store) -> None:
        # A compound statement has no plan to look at.
        assert self.rows_read(store, lambda: exercise(store.backend)) < ROWS / 4
        assert self.rows_read(store, lambda: store.backend.take("new 2")) < 20

    def test_a_scan_would_be_seen(self, store: Store) -> None:
        name = store.backend.table.name
        statement = f"SELECT count(*) FROM {name} WHERE value = 'x'"
        assert len(self.scans(store, statement)) == 1

        def scan() -> None:
            with store.engine.connect() as connection:
                connection.exec_driver_sql(statement)

        assert self.rows_read(store, scan) >= ROWS


def scans_of_sqlite(plan: list[str]) -> list[str]:
    return [step for step in plan if "SCAN" in step or "B-TREE" in step]


class TestSQLite:
    def test_through_sqlalchemy(self, tmp_path: Path) -> None:
        for store in store_of("sqlite+pysqlite", tmp_path, True):
            exercise(store.backend)
            statements = store.statements(store.backend.table.name)
            assert len(statements) >= 4
            for statement, parameters in statements:
                found = store.explain("EXPLAIN QUERY PLAN", statement, parameters)
                assert scans_of_sqlite([row["detail"] for row in found]) == [], statement
            every = f"SELECT value FROM {store.backend.table.name}"
            (row,) = store.explain("EXPLAIN QUERY PLAN", every, None)
            assert scans_of_sqlite([row["detail"]]) != [], "a scan would be seen"

    def test_sqlite_backend(self, tmp_path: Path) -> None:
        clock = Clock(NOW - 1000)
        backend = SQLiteBackend(tmp_path / "tokens.db", durability="none", clock=clock)
        for number in range(ROWS):
            until, owner = expiry(number), f"owner {number // OWNED}"
            backend.put(f"key {number}", bytes(100), expires_at=until, owner=owner, limit=None)
        clock.now = NOW
        connection = backend._file._connection
        assert connection is not None
        connection.execute("ANALYZE")
        sent: list[str] = []
        connection.set_trace_callback(sent.append)
        exercise(backend)
        connection.set_trace_callback(None)
        kinds = {each.split("'")[0]: each for each in sent if each.startswith(("DELETE", "SELECT"))}
        assert len(kinds) >= 4
        for statement in kinds.values():
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            assert scans_of_sqlite([step for *_, step in plan]) == [], statement
        backend.close()


class TestRedis:
    MANY = 20_000

    @pytest.fixture
    def store(self, server: Server) -> Iterator[RedisBackend]:
        backend = RedisBackend(server.url)
        yield backend
        backend.close()

    def commands(self, server: Server, call: Callable[[], object]) -> dict[str, int]:
        """Count the commands that the server executes for a call, those of scripts included."""
        server.ask("CONFIG", "RESETSTAT")
        call()
        stats: Any = server.ask("INFO", "commandstats")
        return {
            name.removeprefix("cmdstat_"): of["calls"]
            for name, of in stats.items()
            if not name.startswith(("cmdstat_config", "cmdstat_client", "cmdstat_hello"))
        }

    def test_commands_do_not_grow_with_the_tokens(
        self, server: Server, store: RedisBackend
    ) -> None:
        def put(name: str, owner: str) -> None:
            store.put(name, b"v", expires_at=NOW + 3_600, owner=owner, limit=5)

        def count(name: str) -> list[dict[str, int]]:
            for number in range(5):
                put(f"{name} {number}", f"owner {name}")
            return [
                self.commands(server, lambda: put(name, f"another {name}")),
                self.commands(server, lambda: store.take(name)),
                self.commands(server, lambda: store.take("never put")),
                self.commands(server, lambda: put(f"{name} 5", f"owner {name}")),
                self.commands(server, lambda: store.revoke(f"owner {name}")),
            ]

        for number in range(10):
            put(f"first {number}", f"first {number}")
        count("warm")  # from here on, the server knows the scripts
        few = count("few")
        for number in range(self.MANY):
            put(f"key {number}", f"owner {number // 5}")
        many = count("many")
        assert int(str(server.ask("DBSIZE"))) > self.MANY
        assert few == many
        assert few[1] == few[2] == {"getdel": 1}
        assert few[0]["evalsha"] == 1
        assert sum(few[0].values()) <= 10

    def test_a_command_for_each_token_would_be_seen(
        self, server: Server, store: RedisBackend
    ) -> None:
        for number in range(20):
            store.put(f"key {number}", b"v", expires_at=NOW + 3_600, owner="owner", limit=None)
        assert self.commands(server, lambda: store.revoke("owner"))["del"] > 20
