"""Tables that were made by hand, whose columns find equal what is not: only bytes count.

`create_table()` makes columns of bytes, without a collation. Migrations that were written by hand
may not.
"""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

pytest.importorskip("sqlalchemy")

from ott_middleware import Backend, OneTimeTokens, Session, SQLAlchemyBackend, SQLiteBackend
from ott_middleware.backends.sqlalchemy import table as sql_table
from ott_middleware.backends.sqlite import backend as sqlite
from ott_middleware.errors import InvalidToken, KeyTaken
from ott_middleware.sessions.cookie import CookieSession

from .sql_servers import Database, database

SOON = time.time() + 3_600

# What a loose comparison finds equal to "key-abc": case, trailing blanks, accents.
OTHERS = ["key-ABC", "KEY-abc", "key-abc ", "key-abc  ", "key-\u00e1bc", "key-abc\0"]


def put(backend: Backend, key: str, owner: str = "owner", limit: int | None = None) -> bool:
    """Whether it was kept: to refuse another token of the same look does no harm."""
    try:
        backend.put(key, key.encode(), expires_at=SOON, owner=owner, limit=limit)
    except KeyTaken:
        return False
    return True


def check_keys(backend: Backend) -> None:
    for other in OTHERS:
        assert put(backend, "key-abc")
        assert backend.take(other) is None
        kept = put(backend, other)
        assert backend.take("key-abc") == b"key-abc", other
        assert backend.take("key-abc") is None
        assert backend.take(other) == (other.encode() if kept else None)
        assert backend.take(other) is None


def check_owners(backend: Backend) -> None:
    for other in OTHERS:
        assert put(backend, "mine", owner="key-abc")
        assert put(backend, "theirs", owner=other, limit=1)
        assert backend.revoke(other) == 1
        assert put(backend, "theirs", owner=other)
        assert backend.revoke("key-abc") == 1
        assert backend.take("theirs") == b"theirs"


# MariaDB and MySQL.

# Columns of text, as a migration by hand would have them; the last ends blanks as they are.
COLUMNS = {
    "latin1": "VARCHAR(64) CHARACTER SET latin1 COLLATE latin1_swedish_ci",
    "utf8mb4": "VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    "unicode": "VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
    "bin": "VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",  # PAD SPACE
    "nopad": "VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_nopad_ci",
    "varbinary": "VARBINARY(64)",
}


@pytest.fixture(params=list(COLUMNS))
def by_hand(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with database("mysql+pymysql", tmp_path) as place:
        column = COLUMNS[request.param]
        with place.keeper.begin() as connection:
            connection.exec_driver_sql(
                f"CREATE TABLE {place.table} (id BIGINT AUTO_INCREMENT PRIMARY KEY, "
                f"key_hash {column} NOT NULL UNIQUE, owner_hash {column} NOT NULL, "
                "value BLOB NOT NULL, expires_at DOUBLE NOT NULL)"
            )
        yield place


@pytest.fixture
def in_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if keys were stored as they are: their hashes differ by more than a collation forgives."""
    monkeypatch.setattr(sql_table, "_digest", lambda text: text.encode())


@pytest.fixture(params=[True, False], ids=["returning", "without"])
def backend(request: pytest.FixtureRequest, by_hand: Database) -> Iterator[SQLAlchemyBackend]:
    backend = SQLAlchemyBackend(by_hand.url, table=by_hand.table)
    with backend._engine.connect():
        backend._engine.dialect.delete_returning &= request.param
    yield backend
    backend.close()


@pytest.mark.usefixtures("in_plain")
class TestMariaDBByHand:
    def test_keys_are_told_apart(self, backend: SQLAlchemyBackend) -> None:
        check_keys(backend)

    def test_owners_are_told_apart(self, backend: SQLAlchemyBackend) -> None:
        check_owners(backend)

    def test_token_in_another_case_is_invalid(self, backend: SQLAlchemyBackend) -> None:
        service = OneTimeTokens(
            backend,
            sessions=CookieSession("sid"),
            generate_token=lambda session, context: "token-abc",
            secret="a secret of the tests, long enough",
        )
        token = service.generate(Session("id", "value"))
        with pytest.raises(InvalidToken):
            service.verify(token.upper())
        assert service.verify(token).id == "id"


def test_index_is_used_all_the_same(tmp_path: Path) -> None:
    with database("mysql+pymysql", tmp_path) as place:
        backend = SQLAlchemyBackend(place.url, table=place.table)
        backend.create_table()
        for number in range(50):
            put(backend, f"key {number}", owner=f"owner {number}")
        for statement, arguments in (
            (backend._statements._look, {"key": sql_table._digest("key 7")}),
            (
                backend._statements._beyond,
                {"owner": sql_table._digest("owner 7"), "now": 0.0, "kept": 1},
            ),
        ):
            with backend._engine.connect() as connection:
                text = str(statement.compile(connection.engine))
                plan = (
                    connection.execute(
                        sqlalchemy.text(
                            "EXPLAIN " + str(text).replace("%(", ":").replace(")s", "")
                        ),
                        {**arguments, "param_1": 1000},
                    )
                    .mappings()
                    .first()
                )
            assert plan is not None
            assert plan["key"] is not None, text
            assert int(plan["rows"]) < 5, text
        backend.close()


class TestLyingEngine:
    """What the engine says to have found is compared again, here."""

    @pytest.mark.parametrize("returning", [True, False])
    def test_another_key_than_was_asked_for_gives_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, returning: bool
    ) -> None:
        with database("sqlite+pysqlite", tmp_path) as place:
            backend = SQLAlchemyBackend(place.url, table=place.table)
            backend.create_table()
            with backend._engine.connect():
                backend._engine.dialect.delete_returning &= returning
            put(backend, "key-abc")
            # As an engine would that finds all keys equal.
            statements = backend._statements
            for name in ("_delete_returning", "_look"):
                loose = getattr(statements, name)
                loose._where_criteria = ()
            assert backend.take("key-ABC") is None
            backend.close()


# SQLite.

SQLITE_COLUMNS = ["TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM", "BLOB", "NUMERIC", "INTEGER"]


@pytest.fixture(params=SQLITE_COLUMNS)
def column(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["returning", "without"])
def on_disk(
    request: pytest.FixtureRequest, column: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SQLiteBackend]:
    monkeypatch.setattr(sqlite, "_RETURNING", sqlite._RETURNING and request.param)
    with sqlite3.connect(tmp_path / "tokens.db") as connection:
        connection.execute(
            f"CREATE TABLE ott_tokens (id INTEGER PRIMARY KEY, key {column} NOT NULL UNIQUE, "
            f"value BLOB NOT NULL, owner {column} NOT NULL, expires_at REAL NOT NULL)"
        )
    connection.close()
    backend = SQLiteBackend(tmp_path / "tokens.db")
    yield backend
    backend.close()


class TestSQLiteByHand:
    def test_keys_are_told_apart(self, on_disk: SQLiteBackend) -> None:
        check_keys(on_disk)

    def test_owners_are_told_apart(self, on_disk: SQLiteBackend) -> None:
        check_owners(on_disk)

    def test_numbers_are_no_keys(self, on_disk: SQLiteBackend) -> None:
        # As a number, each of them would be found for the other.
        for key, other in (("123", "0123"), ("100", "1e2"), ("7", "7.0"), ("5", "+5")):
            put(on_disk, key)
            assert on_disk.take(other) is None
            on_disk.take(key)


class TestSQLAlchemyOverSQLiteByHand:
    @pytest.mark.parametrize("column", SQLITE_COLUMNS)
    def test_keys_and_owners_are_told_apart(
        self, column: str, tmp_path: Path, in_plain: None
    ) -> None:
        with database("sqlite+pysqlite", tmp_path) as place:
            with place.keeper.begin() as connection:
                connection.exec_driver_sql(
                    f"CREATE TABLE {place.table} (id INTEGER PRIMARY KEY, key_hash {column} "
                    f"NOT NULL UNIQUE, owner_hash {column} NOT NULL, value BLOB NOT NULL, "
                    "expires_at REAL NOT NULL)"
                )
            backend = SQLAlchemyBackend(place.url, table=place.table)
            check_keys(backend)
            check_owners(backend)
            backend.close()


# PostgreSQL.


@pytest.mark.usefixtures("in_plain")
class TestPostgreSQLByHand:
    @pytest.mark.parametrize("kind", ["text", "nondeterministic", "bytea"])
    def test_keys_are_told_apart_or_refused(self, kind: str, tmp_path: Path) -> None:
        with database("postgresql+psycopg", tmp_path) as place:
            collation = f"{place.table}_ci"
            column = {
                "text": "TEXT",
                "nondeterministic": f"TEXT COLLATE {collation}",
                "bytea": "BYTEA",
            }[kind]
            with place.keeper.begin() as connection:
                connection.exec_driver_sql(
                    f"CREATE COLLATION {collation} (provider = icu, locale = 'und-u-ks-level1', "
                    "deterministic = false)"
                )
                connection.exec_driver_sql(
                    f"CREATE TABLE {place.table} (id BIGSERIAL PRIMARY KEY, key_hash {column} "
                    f"NOT NULL UNIQUE, owner_hash {column} NOT NULL, value BYTEA NOT NULL, "
                    "expires_at DOUBLE PRECISION NOT NULL)"
                )
            backend = SQLAlchemyBackend(place.url, table=place.table)
            try:
                checks: list[Callable[[], None]] = [
                    functools.partial(check, backend) for check in (check_keys, check_owners)
                ]
                for check in checks:
                    if kind == "bytea":
                        check()
                    else:
                        # Text and bytes are not compared at all: it fails closed.
                        with pytest.raises(Exception, match=r"the database: \w+ \(42"):
                            check()
            finally:
                backend.close()
                with place.keeper.begin() as connection:
                    connection.exec_driver_sql(f"DROP TABLE {place.table}")
                    connection.exec_driver_sql(f"DROP COLLATION {collation}")
