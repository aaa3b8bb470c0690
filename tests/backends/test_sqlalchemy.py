from __future__ import annotations

import asyncio
import functools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import MetaData, create_engine, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ott_middleware import Backend, ConfigurationError, SQLAlchemyBackend
from ott_middleware.backends.sqlalchemy.alive import _quiet
from ott_middleware.backends.sqlalchemy.backend import token_table
from ott_middleware.backends.sqlalchemy.engine import failures
from ott_middleware.errors import BackendFull, BackendUnavailable, KeyTaken, NotSupported
from ott_middleware.testing import BackendContract, Clock

from .redis_servers import free_port
from .sql_servers import DRIVERS, KEEPERS, Database, Line, database
from .sync_async import ROUNDS, AppCaller
from .test_sqlite import in_child

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

SOON = time.time() + 3_600
LATER = {"expires_at": SOON, "owner": "owner", "limit": None}


@pytest.fixture(params=KEEPERS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with database(request.param, tmp_path) as place:
        yield place


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Database]:
    with database("postgresql+psycopg", tmp_path) as place:
        yield place


@pytest.fixture
def backend(place: Database) -> Iterator[SQLAlchemyBackend]:
    backend = SQLAlchemyBackend(place.url, table=place.table)
    backend.create_table()
    yield backend
    backend.close()


@pytest.fixture(scope="class")
def _place_of_class(request: pytest.FixtureRequest, folder_of_class: Path) -> Iterator[None]:
    with database(request.cls.driver, folder_of_class) as place:
        request.cls.place = place
        SQLAlchemyBackend(place.keeper, table=place.table).create_table()
        if place.url.get_backend_name() == "postgresql":
            # So that the server need not wait for the disk at each commit.
            with place.keeper.begin() as connection:
                connection.exec_driver_sql(f"ALTER TABLE {place.table} SET UNLOGGED")
        yield


@pytest.mark.usefixtures("_place_of_class")
class Contract(BackendContract):
    driver = ""
    rounds = ROUNDS

    place: Database

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        backend = SQLAlchemyBackend(self.place.url, table=self.place.table, clock=clock)
        self.connections: list[int] = []
        event.listen(getattr(backend._engine, "sync_engine", backend._engine), "connect", self.note)
        return backend

    def note(self, connection: Any, _: object) -> None:
        question = {"postgresql": "pg_backend_pid()", "mysql": "connection_id()"}
        if asked := question.get(self.driver.partition("+")[0]):
            cursor = connection.cursor()
            cursor.execute(f"SELECT {asked}")
            self.connections.append(cursor.fetchone()[0])
            cursor.close()

    def connect(self) -> Callable[[], Backend]:
        return functools.partial(SQLAlchemyBackend, self.place.text, table=self.place.table)


class OnServer(Contract):
    def break_connection(self, backend: Backend) -> None:
        self.place.kill_connections(self.connections)


class TestSQLite(Contract):
    driver = "sqlite+pysqlite"


class TestAiosqlite(Contract):
    driver = "sqlite+aiosqlite"
    modes = ("async",)
    test_of_many_processes_one_wins = None  # as with the other driver


class TestPostgreSQL(OnServer):
    driver = "postgresql+psycopg"


class TestPsycopgAsync(OnServer):
    driver = "postgresql+psycopg_async"
    modes = ("async",)
    test_of_many_processes_one_wins = None  # as with the other drivers


class TestAsyncpg(OnServer):
    driver = "postgresql+asyncpg"
    modes = ("async",)
    test_of_many_processes_one_wins = None  # as with the other drivers


class TestMariaDB(OnServer):
    driver = "mysql+pymysql"


class TestAsyncmy(OnServer):
    driver = "mysql+asyncmy"
    modes = ("async",)
    test_of_many_processes_one_wins = None  # as with the other driver


class TestWithoutReturning(OnServer):
    """As MySQL has it, whoever the server is."""

    driver = "mysql+pymysql"

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return _without_returning(self.place.text, self.place.table, clock)

    def connect(self) -> Callable[[], Backend]:
        return functools.partial(_without_returning, self.place.text, self.place.table)

    # Nothing that is about taking.
    test_a_broken_connection_is_replaced = None
    test_an_owner_that_puts_at_once_keeps_to_the_limit = None
    test_nobody_is_evicted = None
    test_of_many_puts_one_wins = None


def _without_returning(
    url: str, table: str, clock: Callable[[], float] = time.time
) -> SQLAlchemyBackend:
    backend = SQLAlchemyBackend(url, table=table, clock=clock)
    with backend._engine.connect():  # the dialect asks the server what it can do
        backend._engine.dialect.delete_returning = False
    return backend


# What it is given.


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"store": "no url: hunter2"}, "^store: that is no URL; write one as"),
        ({"store": "postgresql://u:hunter2@host:port/db"}, "^store: that is no URL; write"),
        ({"store": "nosuch://u:hunter2@host/db"}, "^store: SQLAlchemy knows no nosuch://$"),
        ({"store": "mysql+aurora://u:hunter2@h/d"}, r"knows no mysql\+aurora://$"),
        ({"store": "mysql+oursql://u:hunter2@h/d"}, "knows no|needs"),
        ({"store": "postgresql+pg8000://u:hunter2@h/d"}, "pg8000:// needs pg8000; install it"),
        ({"store": object()}, "^store: a object; use a URL, or an engine"),
        ({"store": "sqlite://"}, r"^store: an SQLite database in memory .* MemoryBackend\(\)"),
        ({"store": "sqlite:///:memory:"}, "in memory"),
        ({"store": "sqlite+aiosqlite://"}, "in memory"),
        ({"store": "sqlite:///file:x?mode=memory&uri=true"}, "in memory"),
        ({"store": create_engine("sqlite://")}, "in memory"),
        ({"table": ""}, "^table: ''; use"),
        ({"table": 1}, "^table: 1; use"),
        ({"timeout": 0}, "^timeout: 0; use"),
        ({"timeout": float("inf")}, "^timeout: inf; use"),
        ({"timeout": True}, "^timeout: True; use"),
        ({"timeout": "5"}, "^timeout: '5'; use"),
    ],
)
def test_bad_argument_is_refused_with_a_cure(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text) as caught:
        SQLAlchemyBackend(**{"store": "sqlite:///tokens.db", **arguments})
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://u@h/d", "psycopg"),
        ("mysql://u@h/d", "pymysql"),
        ("mariadb://u@h/d", "pymysql"),
        ("postgresql+asyncpg://u@h/d", "asyncpg"),
        ("sqlite:///tokens.db", "pysqlite"),
    ],
)
def test_url_without_a_driver_gets_one_that_is_there(url: str, driver: str) -> None:
    assert SQLAlchemyBackend(url)._engine.dialect.driver == driver


def test_url_without_a_driver_that_is_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ott_middleware.backends.sqlalchemy.engine.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "MySQLdb", None)  # PyMySQL may stand in for it
    with pytest.raises(ConfigurationError, match="mysql:// needs MySQLdb; install it"):
        SQLAlchemyBackend("mysql://u@h/d")


def test_url_options_go_before_the_timeout() -> None:
    from ott_middleware.backends.sqlalchemy.engine import _connect_args

    url = sqlalchemy.make_url("postgresql://h/d?connect_timeout=60&options=-c%20jit=off")
    assert _connect_args(url, "psycopg", 0.25) == {
        "tcp_user_timeout": 250,
        "prepare_threshold": None,
    }
    assert _connect_args(url, "unheard-of", 5) == {}


# Colours.


def test_asynchronous_engine_is_async_only(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/tokens.db", poolclass=NullPool)
    backend = SQLAlchemyBackend(engine)
    assert backend.async_only
    for operation in (
        lambda: backend.put("key", b"v", **LATER),
        lambda: backend.take("key"),
        lambda: backend.revoke("owner"),
        backend.create_table,
        backend.close,
    ):
        with pytest.raises(NotSupported, match="await"):
            operation()

    async def main() -> None:
        await backend.acreate_table()
        await backend.acreate_table()
        await backend.aput("key", b"value", **LATER)
        assert await backend.atake("key") == b"value"
        assert await backend.arevoke("owner") == 0
        await backend.aclose()
        await backend.aput("key", b"value", **LATER)  # the engine is its owner's to close
        await backend.aput("late", b"value", expires_at=1, owner="owner", limit=1)
        await engine.dispose()

    asyncio.run(main())


def test_synchronous_engine_serves_both(backend: SQLAlchemyBackend, place: Database) -> None:
    assert not backend.async_only

    async def main() -> None:
        await backend.acreate_table()
        await backend.aput("key", b"value", **LATER)
        await backend.aclose()

    asyncio.run(main())
    assert backend.take("key") == b"value"


def test_engine_of_the_user_stays_open_and_as_it_was(place: Database) -> None:
    backend = SQLAlchemyBackend(place.keeper, table=place.table)
    backend.create_table()
    backend.put("key", b"value", **LATER)
    before = place.keeper.pool.checkedin()
    backend.close()
    assert place.keeper.pool.checkedin() == before > 0
    # Its own users still have transactions that can be undone.
    with place.keeper.connect() as connection:
        connection.exec_driver_sql(f"DELETE FROM {place.table}")
        connection.rollback()
    assert backend.take("key") == b"value"


def test_table_may_be_part_of_the_users_metadata(place: Database) -> None:
    metadata = MetaData()
    table = token_table(metadata, place.table)
    assert metadata.tables == {place.table: table}
    metadata.create_all(place.keeper)
    backend = SQLAlchemyBackend(place.keeper, table=table)
    assert backend.table is table
    backend.put("key", b"value", **LATER)
    assert backend.take("key") == b"value"
    found = sqlalchemy.inspect(place.keeper)
    assert {column["name"] for column in found.get_columns(place.table)} == {
        "id",
        "key_hash",
        "owner_hash",
        "value",
        "expires_at",
    }
    metadata.drop_all(place.keeper)


def test_table_made_by_workers_at_once(place: Database) -> None:
    backends = [SQLAlchemyBackend(place.url, table=place.table) for _ in range(6)]
    barrier = threading.Barrier(6)
    failed: list[BaseException] = []

    def make(backend: SQLAlchemyBackend) -> None:
        barrier.wait(10)
        try:
            backend.create_table()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=make, args=[backend]) for backend in backends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert len(sqlalchemy.inspect(place.keeper).get_indexes(place.table)) >= 2
    for backend in backends:
        backend.close()


def test_table_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    backend = SQLAlchemyBackend(f"sqlite:///{tmp_path}/nowhere/tokens.db")
    with pytest.raises(BackendUnavailable, match="the database: OperationalError"):
        backend.create_table()
    backend.close()


def test_missing_table_says_what_to_call(place: Database) -> None:
    backend = SQLAlchemyBackend(place.url, table=place.table)
    with pytest.raises(BackendUnavailable, match=r"call create_table\(\)"):
        backend.take("key")
    backend.create_table()
    assert backend.take("key") is None
    backend.close()


# What is kept.


# Not SQLite, which has one writer at a time.
@pytest.mark.parametrize("place", [k for k in KEEPERS if "sqlite" not in k], indirect=True)
def test_rolled_back_transaction_of_the_user_changes_nothing(
    place: Database, backend: SQLAlchemyBackend
) -> None:
    mine = SQLAlchemyBackend(place.keeper, table=place.table)
    with place.keeper.begin() as transaction:
        transaction.exec_driver_sql("SELECT 1")
        mine.put("key", b"value", **LATER)
        assert backend.take("key") == b"value"
        transaction.rollback()
    assert mine.take("key") is None


def test_expired_key_can_be_lost_to_another(
    place: Database, backend: SQLAlchemyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Between dropping the expired row and putting its own, another puts that key.
    backend.put("key", b"first", **LATER)
    drop = sqlalchemy.text("SELECT 1").columns()

    class Dropped:
        rowcount = 1

    statements = backend._statements
    monkeypatch.setattr(statements, "_drop_expired", drop)
    execute = sqlalchemy.Connection.execute

    def pretend(connection: Any, statement: Any, *arguments: Any) -> Any:
        return Dropped() if statement is drop else execute(connection, statement, *arguments)

    monkeypatch.setattr(sqlalchemy.Connection, "execute", pretend)
    with pytest.raises(KeyTaken):
        backend.put("key", b"second", **LATER)
    assert backend.take("key") == b"first"


# Cleaning up.


def expired(place: Database, count: int, expires_at: float) -> None:
    digits = "(SELECT 0 AS d" + "".join(f" UNION ALL SELECT {n}" for n in range(1, 10)) + ")"
    numbers = ", ".join(f"{digits} AS t{n}" for n in range(len(str(count - 1))))
    number = "10000000000000000000000000000000" + "".join(
        f" + t{n}.d * {10**n}" for n in range(len(str(count - 1)))
    )
    as_bytes = {
        "postgresql": f"decode(CAST({number} AS text), 'escape')",
        "mysql": f"CAST({number} AS CHAR)",
        "sqlite": f"CAST(1000 + {number[32:]} AS BLOB)",
    }[place.url.get_backend_name()]
    with place.keeper.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO {place.table} (key_hash, owner_hash, value, expires_at) "
            f"SELECT {as_bytes}, {as_bytes}, {as_bytes}, {expires_at} FROM {numbers} LIMIT {count}"
        )


def test_expired_tokens_go_some_at_a_time(place: Database) -> None:
    clock = Clock()
    backend = SQLAlchemyBackend(place.url, table=place.table, clock=clock)
    backend.create_table()
    expired(place, 200, clock.now)
    left = []
    for number in range(65):
        backend.put(f"{number}", b"v", expires_at=clock.now + 60, owner="o", limit=None)
        left.append(place.rows() - number - 1)
    assert left[0] == left[15] == 136
    assert left[16] == 72
    assert left[32] == 8
    assert left[48] == left[-1] == 0
    backend.close()


def test_expired_token_makes_way_before_its_turn(place: Database) -> None:
    clock = Clock()
    backend = SQLAlchemyBackend(place.url, table=place.table, clock=clock)
    backend.create_table()
    backend.put("key", b"old", expires_at=clock.now + 60, owner="o", limit=None)
    clock.now += 60
    backend.put("key", b"new", expires_at=clock.now + 60, owner="o", limit=1)
    assert backend.take("key") == b"new"
    assert place.rows() == 0
    backend.close()


# Failure.


def refused(drivername: str) -> str:
    return f"{drivername}://ada:hunter2@127.0.0.1:{free_port()}/test"


@pytest.mark.parametrize("driver", [name for name in DRIVERS if not name.startswith("sqlite")])
def test_engine_that_is_down_is_not_available(driver: str) -> None:
    backend = SQLAlchemyBackend(refused(driver), timeout=1)
    began = time.monotonic()
    with pytest.raises(BackendUnavailable) as caught:
        asyncio.run(backend.atake("key"))
    assert time.monotonic() - began < 5
    assert "hunter2" not in f"{caught.value!r}"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "mysql+pymysql"])
def test_wrong_credentials_are_not_shown(driver: str, tmp_path: Path) -> None:
    with database(driver, tmp_path) as place:
        backend = SQLAlchemyBackend(place.url.set(username="no-such-user", password="hunter2"))
        with pytest.raises(BackendUnavailable, match="the database: OperationalError") as caught:
            backend.take("key")
    assert "hunter2" not in f"{caught.value!r}{backend!r}"
    assert "no-such-user" not in f"{caught.value!r}"
    backend.close()


def test_engine_that_is_slow_is_given_up(postgres: Database) -> None:
    backend = SQLAlchemyBackend(postgres.url, table=postgres.table, timeout=0.3)
    backend.create_table()
    backend.put("key", b"value", **LATER)
    with postgres.keeper.begin() as connection:
        connection.exec_driver_sql(f"LOCK TABLE {postgres.table} IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        with pytest.raises(BackendUnavailable, match=r"QueryCanceled \(57014\)"):
            backend.take("key")
        assert time.monotonic() - began < 3
    assert backend.take("key") == b"value"
    backend.close()


def test_row_that_is_locked_is_given_up(tmp_path: Path) -> None:
    with database("mysql+pymysql", tmp_path) as place:
        backend = SQLAlchemyBackend(place.url, table=place.table, timeout=1)
        backend.create_table()
        backend.put("key", b"value", **LATER)
        with place.keeper.begin() as connection:
            connection.exec_driver_sql(f"SELECT * FROM {place.table} FOR UPDATE")
            with pytest.raises(BackendUnavailable, match=r"OperationalError \(1205\)"):
                backend.take("key")
        assert backend.take("key") == b"value"
        backend.close()


def test_asynchronous_engine_that_hangs_is_given_up(postgres: Database) -> None:
    engine = create_async_engine(postgres.url.set(drivername="postgresql+asyncpg"))
    backend = SQLAlchemyBackend(engine, table=postgres.table, timeout=0.5)

    async def main() -> None:
        await backend.acreate_table()
        with postgres.keeper.begin() as connection:
            connection.exec_driver_sql(f"LOCK TABLE {postgres.table} IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(BackendUnavailable, match="the database: TimeoutError"):
                await backend.atake("key")
        assert await backend.atake("key") is None
        await engine.dispose()

    asyncio.run(main())


def test_connections_run_out(postgres: Database) -> None:
    engine = create_engine(postgres.url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    backend = SQLAlchemyBackend(engine, table=postgres.table)
    backend.create_table()
    with (
        engine.connect(),
        pytest.raises(BackendUnavailable, match="no connection was free in time"),
    ):
        backend.take("key")
    assert backend.take("key") is None
    engine.dispose()


def test_database_that_is_read_only(postgres: Database) -> None:
    SQLAlchemyBackend(postgres.keeper, table=postgres.table).create_table()
    url = postgres.url.update_query_dict({"options": "-c default_transaction_read_only=on"})
    backend = SQLAlchemyBackend(url, table=postgres.table)
    with pytest.raises(BackendUnavailable, match=r"ReadOnlySqlTransaction \(25006\)"):
        backend.put("key", b"value", **LATER)
    with pytest.raises(BackendUnavailable, match=r"ReadOnlySqlTransaction \(25006\)"):
        backend.take("key")
    other = SQLAlchemyBackend(url, table=f"{postgres.table}_other")
    with pytest.raises(BackendUnavailable, match=r"ReadOnlySqlTransaction \(25006\)"):
        other.create_table()
    other.close()
    backend.close()


def test_lost_reply_is_a_lost_token(postgres: Database) -> None:
    line = Line(postgres.url)
    # Without the ping, so that it is the answer to the take that is lost.
    engine = create_engine(line.url)
    backend = SQLAlchemyBackend(engine, table=postgres.table)
    direct = SQLAlchemyBackend(postgres.keeper, table=postgres.table)
    try:
        backend.create_table()
        backend.put("key", b"value", **LATER)
        backend.put("other", b"value", **LATER)
        line.losing = True
        with pytest.raises(BackendUnavailable):
            backend.take("key")
        line.losing = False
        # It was taken: nobody gets it now, and it was not asked for twice.
        assert direct.take("key") is None
        assert backend.take("other") == b"value"
    finally:
        engine.dispose()
        line.close()


@pytest.mark.parametrize("driver", [name for name in DRIVERS if not name.startswith("sqlite")])
def test_restart_lets_the_next_call_through(driver: str, tmp_path: Path) -> None:
    async def main(place: Database, line: Line) -> None:
        backend = SQLAlchemyBackend(line.url, table=place.table)
        await backend.acreate_table()
        for key in ("one", "two"):
            await backend.aput(key, b"value", **LATER)
        for key in ("one", "two"):
            line.cut()
            await asyncio.sleep(0.05)  # for the farewell to arrive
            # It is found out before anything that could be consumed is sent.
            assert await backend.atake(key) == b"value"
        await backend.aclose()

    with database(driver, tmp_path) as place:
        line = Line(place.url)
        try:
            asyncio.run(main(place, line))
        finally:
            line.close()


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "mysql+pymysql"])
def test_server_is_asked_where_its_silence_tells_nothing(
    driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("ott_middleware.backends.sqlalchemy.alive.time.monotonic", lambda: now[0])
    with database(driver, tmp_path) as place:
        backend = SQLAlchemyBackend(place.url, table=place.table)
        backend.create_table()
        asked: list[object] = []
        ping = backend._engine.dialect.do_ping
        monkeypatch.setattr(
            backend._engine.dialect, "do_ping", lambda c: [asked.append(c), ping(c)][1]
        )
        for seconds, silent in ((29, False), (30, True), (0.1, False)):
            asked.clear()
            now[0] += seconds
            backend.take("key")
            assert len(asked) == silent
        # Somebody who cuts the line without a word: the answer to the question does not come.
        backend.put("key", b"value", **LATER)
        now[0] += 30
        monkeypatch.setattr(backend._engine.dialect, "do_ping", lambda _: False)
        opened: list[object] = []
        event.listen(backend._engine, "connect", lambda connection, _: opened.append(connection))
        assert backend.take("key") == b"value"
        assert len(opened) == 1
        backend.close()


def test_connection_that_said_something_is_not_quiet() -> None:
    near, far = socket.socketpair()
    with near:
        assert _quiet(near)
        far.send(b"a word")
        assert not _quiet(near)
        near.recv(100)
        assert _quiet(near)
        far.close()
        assert not _quiet(near)
    assert not _quiet(near)  # closed on this side
    assert not _quiet(object())


def test_full_database_is_full(tmp_path: Path) -> None:
    with database("sqlite+pysqlite", tmp_path) as place:
        backend = SQLAlchemyBackend(place.url, table=place.table)
        event.listen(
            backend._engine,
            "connect",
            lambda connection, _: connection.execute("PRAGMA max_page_count = 30"),
        )
        backend.create_table()

        def fill() -> None:
            for number in range(100):
                backend.put(f"{number}", bytes(16_000), **LATER)

        with pytest.raises(BackendFull):
            fill()
        assert backend.take("0") == bytes(16_000)
        backend.close()


class DiskFull(Exception):
    sqlstate = "53100"


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (DiskFull("/var/lib/secret"), BackendFull, "the database: DiskFull (53100)"),
        (Exception(1114, "The table 'x' is full"), BackendFull, "the database: Exception (1114)"),
        (ConnectionResetError(), BackendUnavailable, "the database: ConnectionResetError"),
        (Exception("secret"), BackendUnavailable, "the database: Exception"),
    ],
)
def test_errors_mean(error: Exception, kind: type[Exception], text: str) -> None:
    raised = error if isinstance(error, OSError) else sqlalchemy.exc.DBAPIError("", {}, error)
    with pytest.raises(kind) as caught, failures():
        raise raised
    assert str(caught.value) == text


# Behind the middleware.


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "mysql+pymysql"])
def test_server_that_is_down_is_503_and_serves_afterwards(
    driver: str, tmp_path: Path, world: AppCaller, caplog: pytest.LogCaptureFixture
) -> None:
    with database(driver, tmp_path) as place:
        line = Line(place.url)
        backend = SQLAlchemyBackend(line.url, table=place.table, timeout=2)
        backend.create_table()
        app = world.wrap(backend=backend, store_token="hashed")
        try:
            tokens = [world.generate(app).json["token"] for _ in range(2)]
            line.down()
            caplog.clear()
            for answer in (world.generate(app), world.verify(app, tokens[0])):
                assert (answer.status, answer.json["code"]) == (503, "BACKEND_UNAVAILABLE")
                assert int(answer.headers["retry-after"]) > 0
            records = [record for record in caplog.records if record.name == "ott_middleware"]
            assert len(records) == 2
            assert all(record.exc_info is None for record in records)
            for hidden in (*tokens, "abc"):
                assert hidden not in caplog.text
            assert world.ask(app, "/").body == b"Hello, world!"
            line.up()
            assert [world.verify(app, token).status for token in tokens] == [200, 200]
            assert world.verify(app, world.generate(app).json["token"]).status == 200
        finally:
            backend.close()
            line.close()


# Processes.


def test_fork_leaves_the_connections_to_the_parent(
    place: Database, backend: SQLAlchemyBackend
) -> None:
    for number in range(20):
        backend.put(f"{number}", b"%d" % number, **LATER)

    def child() -> object:
        taken = [backend.take(f"{number}") for number in range(10)]
        backend.put("of the child", b"child", **LATER)
        return taken == [b"%d" % number for number in range(10)]

    assert in_child(child) == "True"
    assert [backend.take(f"{number}") for number in range(10)] == [None] * 10
    assert [backend.take(f"{n}") for n in range(10, 20)] == [b"%d" % n for n in range(10, 20)]
    assert backend.take("of the child") == b"child"


def test_pool_is_renewed_in_another_process(
    place: Database, backend: SQLAlchemyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.put("key", b"value", **LATER)
    pool = backend._engine.pool
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        if place.url.get_backend_name() == "sqlite":
            # What SQLite has open must not be used on both sides of a fork.
            with pytest.raises(BackendUnavailable, match="forked while its SQLite file was open"):
                backend.take("key")
        else:
            assert backend.take("key") == b"value"
            assert backend._engine.pool is not pool
    pool.dispose()


def test_import_is_lazy() -> None:
    code = (
        "import sys, ott_middleware; print('sqlalchemy' in sys.modules, 'sqlite3' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "False False\n", done.stderr
