"""A put in one round trip: several statements in one message, where the engine takes that.

A put inserts a row, drops the owner's oldest rows beyond the limit, and now and then some that have
expired. Sent one by one, each waits for the reply to the one before. PostgreSQL takes them as one
simple query, MariaDB as one compound statement. MySQL has neither (without a stored procedure, or a
permission to stack statements): there `Statements` sends them one by one.

Neither is sent again. One that fails as a whole has done nothing, and its error says which it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Dialect, LargeBinary, TextClause, bindparam, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

Row = dict[str, Any]
#: Puts a row: connection, row, limit or None, whether to drop expired rows.
Put = Callable[[Connection, Row, "int | None", bool], None]

# How many of an owner's rows, and how many expired rows, a put drops at most.
RETIRED = 1000
SWEEP = 64

_POSTGRES = ("psycopg", "psycopg_async", "psycopg2", "asyncpg")
_COLUMNS = ("key_hash", "owner_hash", "value", "expires_at")
_MARIADB = ("pymysql", "mysqldb", "aiomysql", "asyncmy")


def put_of(dialect: Dialect, table: str) -> Put | None:
    """Return what puts a row in one round trip; None where the engine or the driver has no way.

    :param table: the table's name, quoted.
    """
    if dialect.name == "postgresql" and dialect.driver in _POSTGRES:
        # The lock below keeps others out of the snapshots that follow it. Under an isolation with
        # one snapshot for all, taken before the lock, the limit would not hold.
        if dialect.default_isolation_level == "READ COMMITTED":
            return PostgresPut(table)
    elif getattr(dialect, "is_mariadb", False) and dialect.driver in _MARIADB:
        return MariaDBPut(table)
    return None


class PostgresPut:
    """A simple query of several statements, which the server runs as one transaction.

    It takes no parameters. All that is written into it are digits and the hexadecimal digits of
    bytes, so that no value can be read as SQL.
    """

    def __init__(self, table: str) -> None:
        self._table = table

    def __call__(self, connection: Connection, row: Row, limit: int | None, sweep: bool) -> None:
        script = self.script(row, limit, sweep)
        if connection.dialect.driver == "asyncpg":
            _send_by_asyncpg(connection, script)
        else:
            options = {"no_parameters": True}
            connection.exec_driver_sql(script, execution_options=options).close()

    def script(self, row: Row, limit: int | None, sweep: bool) -> str:
        """Return the query that puts a row."""
        table, owner, now = self._table, _bytes(row["owner"]), _number(row["now"])
        values = (_bytes(row["key"]), owner, _bytes(row["value_"]), _number(row["expiry"]))
        statements = [
            f"INSERT INTO {table} ({', '.join(_COLUMNS)}) VALUES ({', '.join(values)})",
        ]
        if limit is not None:
            # Several puts of one owner at once would each count without the rows of the others,
            # and more than the limit would stay. The lock lets one of them in at a time; the server
            # takes it back as the query ends, whatever becomes of the connection.
            lock = int.from_bytes(row["owner"][:8], "big", signed=True)
            statements.insert(0, f"SELECT pg_advisory_xact_lock({lock})")
            statements.append(
                f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE owner_hash = "
                f"{owner} AND expires_at > {now} ORDER BY id DESC OFFSET {int(limit)} "
                f"LIMIT {RETIRED})"
            )
        if sweep:
            # Others may be at the same rows. Skipped, not waited for: there is no deadlock.
            statements.append(
                f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE expires_at <= "
                f"{now} ORDER BY expires_at LIMIT {SWEEP} FOR UPDATE SKIP LOCKED)"
            )
        return "; ".join(statements)


def _bytes(value: bytes) -> str:
    return f"decode('{value.hex()}', 'hex')"


def _number(value: float) -> str:
    return f"{float(value)!r}::float8"


# What the server's reply says with certainty: the query was undone as a whole.
_REFUSALS: dict[str, type[DBAPIError]] = {
    "23": IntegrityError,
    "42": ProgrammingError,
    "0A": ProgrammingError,
}


def _send_by_asyncpg(connection: Connection, script: str) -> None:
    # SQLAlchemy has asyncpg prepare whatever it sends, which takes one statement only.
    adapted: Any = connection.connection.dbapi_connection
    try:
        adapted.run_async(lambda driver: driver.execute(script))
    except Exception as error:
        kind = _REFUSALS.get((getattr(error, "sqlstate", None) or "")[:2], DBAPIError)
        if kind is DBAPIError:
            # A reply may be on its way, and the next caller would read it.
            connection.invalidate()
        raise kind(None, None, error) from None
    except BaseException:  # cancelled amid the query
        connection.invalidate()
        raise


class MariaDBPut:
    """A compound statement. Each statement in it is committed by itself, in this order.

    So of several puts of one owner at once, the last to look sees the rows of all. Rows are looked
    for without a lock and dropped by their primary keys, as `Statements` does it.
    """

    def __init__(self, table: str) -> None:
        put = (
            f"INSERT INTO {table} ({', '.join(_COLUMNS)}) VALUES (:key, :owner, :value_, :expiry); "
        )
        # Compared as bytes as well: see `Statements`.
        retire = _each(
            table,
            f"SELECT id FROM {table} WHERE owner_hash = :owner AND CAST(owner_hash AS BINARY) = "
            f":owner AND expires_at > :now ORDER BY id DESC LIMIT {RETIRED} OFFSET :kept",
        )
        # In one transaction, and in the order of their keys: two calls wait, but not in a circle.
        # Whatever fails here leaves the rows to another put.
        sweep = (
            "BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; START TRANSACTION; "
            + _each(
                table,
                f"SELECT id FROM (SELECT id FROM {table} WHERE expires_at <= :now ORDER BY "
                f"expires_at LIMIT {SWEEP}) expired ORDER BY id",
            )
            + "COMMIT; END; "
        )
        self._scripts = {
            (limited, swept): _script(put + retire * limited + sweep * swept)
            for limited in (False, True)
            for swept in (False, True)
        }

    def __call__(self, connection: Connection, row: Row, limit: int | None, sweep: bool) -> None:
        script = self._scripts[limit is not None, sweep]
        values = {**row, "kept": limit}
        connection.execute(script, {name: values[name] for name in script._bindparams})


def _each(table: str, rows: str) -> str:
    return f"FOR one IN ({rows}) DO DELETE FROM {table} WHERE id = one.id; END FOR; "


def _script(body: str) -> TextClause:
    script = text(f"BEGIN NOT ATOMIC {body}END")
    kinds = [bindparam(name, type_=LargeBinary()) for name in ("key", "owner", "value_")]
    return script.bindparams(*kinds)
