"""The table of `SQLAlchemyBackend`, and what is asked of it.

A take is one statement, and a put one message where the engine has a form for that: see `one_trip`.
Otherwise every statement stands for itself and is committed by itself, so that no lock is held from
one to the next: there is nothing to wait for, and no deadlock between two calls.
"""

from __future__ import annotations

import hashlib
import itertools
from contextlib import suppress
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    bindparam,
    cast,
    delete,
    insert,
    select,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError, IntegrityError, NotSupportedError, ProgrammingError

from ...errors import KeyTaken
from ..base import Token
from .one_trip import RETIRED, SWEEP, Put, Row, put_of

# Keys and owners are stored by their SHA-256: of one length, and compared byte by byte, whatever
# the engine's collations make of capitals and trailing blanks.
_DIGEST = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")

# Every sixteenth put drops up to 64 expired rows: more than were put, so that they never pile up,
# and few enough to hold up no caller.
_SWEEP_EVERY = 16
_TRIES = 5

_UNKNOWN: Any = object()


def token_table(metadata: MetaData, name: str = "ott_tokens") -> Table:
    """The table, as part of your metadata: for your migrations, and to be given to the backend.

    ``SQLAlchemyBackend(engine, table=token_table(Base.metadata))``
    """
    return Table(
        name,
        metadata,
        Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
        Column("key_hash", _DIGEST, nullable=False, unique=True),
        Column("owner_hash", _DIGEST, nullable=False),
        Column("value", LargeBinary(65_535), nullable=False),
        Column("expires_at", Double(), nullable=False),
        Index(f"{name}_owner_hash", "owner_hash", "id"),
        Index(f"{name}_expires_at", "expires_at"),
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )


class Statements:
    """The operations of a backend, on a connection in autocommit mode.

    :param backend_name: the name of the dialect.
    :param prepared: whether the driver prepares what it is given.
    """

    def __init__(self, table: Table, backend_name: str = "", *, prepared: bool = False) -> None:
        columns = table.c
        self._table = table
        self._turn = itertools.count()
        # What the server is decides, which is known once a connection is there. (What is to be
        # prepared goes by steps: neither a simple query nor a compound statement can be.)
        self._one_trip: Put | None = None if prepared else _UNKNOWN
        key: BindParameter[bytes] = bindparam("key")
        owner: BindParameter[bytes] = bindparam("owner")
        now: BindParameter[float] = bindparam("now")
        self._insert = (
            insert(table)
            .values(
                key_hash=key,
                owner_hash=owner,
                value=bindparam("value_"),
                expires_at=bindparam("expiry"),
            )
            .inline()
        )

        loose = backend_name in ("mysql", "mariadb")

        def as_bytes(column: Column[bytes]) -> ColumnElement[bytes]:
            return cast(column, LargeBinary) if loose else column

        def equals(column: Column[bytes], value: BindParameter[bytes]) -> ColumnElement[bool]:
            # In a table that was made by hand, with columns of text, MariaDB and MySQL compare by
            # the column's collation: other case and other accents would be equal, and one token be
            # redeemed as another. Compared as bytes as well, they are not. (Both are asked, since
            # only the first uses the index. The other engines compare bytes with bytes alone.)
            return (column == value) & (as_bytes(column) == value) if loose else column == value

        of_key = equals(columns.key_hash, key)
        self._drop_expired = delete(table).where(of_key, columns.expires_at <= now)
        self._delete_returning = (
            delete(table)
            .where(of_key)
            .returning(columns.value, columns.expires_at, as_bytes(columns.key_hash))
        )
        self._look = select(
            columns.value, columns.expires_at, as_bytes(columns.key_hash), columns.id
        ).where(of_key)
        self._delete = delete(table).where(columns.id == bindparam("row"))
        self._delete_all = delete(table).where(columns.id.in_(bindparam("rows", expanding=True)))
        live = (equals(columns.owner_hash, owner), columns.expires_at > now)
        self._revoke = delete(table).where(*live)
        self._beyond = (
            select(columns.id)
            .where(*live)
            .order_by(columns.id.desc())
            .offset(bindparam("kept", type_=Integer()))
            .limit(RETIRED)
        )
        self._expired = (
            select(columns.id)
            .where(columns.expires_at <= now)
            .order_by(columns.expires_at)
            .limit(SWEEP)
        )

    def create(self, connection: Connection) -> None:
        """Make the table and its indexes where they are not there."""
        for _ in range(_TRIES):
            # If several workers make the table at once, all but one fail, and that one may not be
            # done yet.
            with suppress(DBAPIError):
                self._create(connection)
                return
        self._create(connection)

    def _create(self, connection: Connection) -> None:
        self._table.create(connection, checkfirst=True)
        for index in sorted(self._table.indexes, key=lambda index: str(index.name)):
            index.create(connection, checkfirst=True)

    def put(self, connection: Connection, token: Token, now: float) -> None:
        """Keep a value."""
        sweep, limit = next(self._turn) % _SWEEP_EVERY == 0, token.limit
        row = {
            "key": _digest(token.key),
            "owner": _digest(token.owner),
            "value_": token.value,
            "expiry": token.expires_at,
            "now": now,
        }
        put = self._one_trip
        if put is _UNKNOWN:
            dialect = connection.dialect
            name = dialect.identifier_preparer.format_table(self._table)
            put = self._one_trip = put_of(dialect, name)
        if put is None:
            self._put_by_steps(connection, row, limit, sweep)
            return
        try:
            put(connection, row, limit, sweep)
        except IntegrityError:
            self._put_by_steps(connection, row, limit, sweep)
        except (ProgrammingError, NotSupportedError):
            # The server, or a pooler before it, refused it as a whole. If it takes the steps, it is
            # not asked again.
            self._put_by_steps(connection, row, limit, sweep)
            self._one_trip = None

    def _put_by_steps(
        self, connection: Connection, row: Row, limit: int | None, sweep: bool
    ) -> None:
        """Keep a value, by a statement for each step."""
        if sweep:
            # Others may be at the same rows. They are dropped sooner or later, by one of us.
            with suppress(DBAPIError):
                self._drop(connection, self._expired, row)
        values = {name: row[name] for name in ("key", "owner", "value_", "expiry")}
        try:
            # The unique key decides, and so no live value is ever overwritten.
            connection.execute(self._insert, values)
        except IntegrityError:
            if not connection.execute(self._drop_expired, row).rowcount:
                raise KeyTaken("a live token has that key") from None
            try:
                connection.execute(self._insert, values)
            except IntegrityError:
                raise KeyTaken("a live token has that key") from None
        if limit is not None:
            # Of several calls at once the last to look sees the rows of all and drops the excess.
            self._drop(connection, self._beyond, {**row, "kept": limit})

    def take(self, connection: Connection, key: str) -> tuple[bytes, float] | None:
        """Remove a row; its value and expiry, for one caller alone."""
        returning = connection.dialect.delete_returning
        # The engine locks the row that it deletes: the second caller finds none.
        statement = self._delete_returning if returning else self._look
        row = connection.execute(statement, {"key": _digest(key)}).first()
        if row is None or not _is_same(row[2], key):
            return None
        # Many callers may have seen the row. It is the one's that the engine tells of the deletion.
        won = returning or connection.execute(self._delete, {"row": row[3]}).rowcount == 1
        return (bytes(row[0]), float(row[1])) if won else None

    def revoke(self, connection: Connection, owner: str, now: float) -> int:
        """Drop an owner's live rows, and count them."""
        return connection.execute(self._revoke, {"owner": _digest(owner), "now": now}).rowcount

    def _drop(self, connection: Connection, which: Any, arguments: dict[str, Any]) -> None:
        rows = connection.execute(which, arguments).scalars().all()
        if rows:
            # By their primary keys and in their order: each waits for others, none in a circle.
            connection.execute(self._delete_all, {"rows": sorted(rows)})


def _is_same(found: Any, key: str) -> bool:
    # A collation may call equal what is not, and then one token would be redeemed as another. So
    # what was found must be what was asked for, byte for byte, whatever the engine says.
    return isinstance(found, bytes) and found == _digest(key)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
