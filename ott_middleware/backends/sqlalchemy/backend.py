"""Tokens in a table of PostgreSQL, MariaDB, MySQL or SQLite, by SQLAlchemy 2.

The engine decides which caller redeems a token: of all callers that delete its row, one learns that
it did. Every statement is committed at once, and no statement is sent again once the server may
have received it: where the reply to a take is lost, so is the token, and the client is told that
the backend is unavailable.

What the engine must be set to, as it is by default: PostgreSQL `synchronous_commit = on` (or
stricter), MariaDB and MySQL `innodb_flush_log_at_trx_commit = 1`, SQLite `synchronous = FULL`. With
less, a crash of the server may bring back a token redeemed just before. A replica that is promoted
may have missed the last takes in the same way, unless replication is synchronous.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import URL, Engine, MetaData, Table, text
from sqlalchemy.ext.asyncio import AsyncEngine

from ...clock import system_clock
from ...concurrency import Bound, drive, in_thread
from ...errors import (
    BackendUnavailable,
    ConfigurationError,
    NotSupported,
    check_positive,
    full_name,
)
from ...forks import prepare_for_forks
from ..base import CoroutineBackend, Token
from .engine import engine_of, failures, refuse_memory
from .pooler import SWITCH
from .table import Statements, token_table

__all__ = ["SQLAlchemyBackend", "token_table"]

T = TypeVar("T")
_CLOCKS = {
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
    "mysql": "SELECT unix_timestamp(now(6))",
    "mariadb": "SELECT unix_timestamp(now(6))",
}


class SQLAlchemyBackend(CoroutineBackend):
    """Tokens in a table (the extra `sqlalchemy`, and a driver).

    With a synchronous driver it serves sync callers, and async ones in threads. With an
    asynchronous one (`asyncpg`, `psycopg_async`, `aiomysql`, `asyncmy`, `aiosqlite`) it serves ASGI
    apps only, and in the event loop that first used it.

    The table is made by `create_table()`, or by your migrations: see `token_table`.

    :param store: a URL of SQLAlchemy, or an engine. A URL works through PgBouncer and other
        poolers; `?prepared_statements=true` in a URL of PostgreSQL is for one without. An engine
        stays open: close it yourself; its timeouts are yours to set, and `pool_pre_ping=True` is
        what keeps the first call after a restart of the server from failing. It is used in
        autocommit mode. After a fork its connections are given up in the child. (Those to an SQLite
        file are closed before the fork; where one is in use at that moment, or the driver is
        asynchronous, the child refuses to use the file. `SQLiteBackend` has no such limit.)
    :param table: the name of the table, or what `token_table` made.
    :param timeout: how many seconds to wait for a free connection, for a connection to open, and
        for a reply. With a URL; the URL's own parameters go first. (`psycopg2` relies on the server
        for the last of them: a server that is frozen, and neither replies nor closes its
        connections, holds the caller up.)
    :param clock: tells the time in Unix seconds.
    :ivar table: the `Table`.
    :raises ConfigurationError: a bad argument.
    """

    def __init__(
        self,
        store: str | URL | Engine | AsyncEngine,
        *,
        table: str | Table = "ott_tokens",
        timeout: float = 5.0,
        clock: Callable[[], float] = system_clock,
    ) -> None:
        check_positive("timeout", timeout, "seconds")
        if not isinstance(table, (str, Table)) or table == "":
            raise ConfigurationError(f"table: {table!r}; use a name, or what token_table() made")
        if isinstance(store, (str, URL)):
            self._engine = engine_of(store, timeout)
            self._own = True
        elif isinstance(store, (Engine, AsyncEngine)):
            refuse_memory(store.url)
            self._engine = store.execution_options(isolation_level="AUTOCOMMIT")
            self._own = False
        else:
            raise ConfigurationError(
                f"store: {full_name(store)}; use a URL, or an engine of SQLAlchemy"
            )
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self._refused = False
        self.clock = clock
        self.table = token_table(MetaData(), table) if isinstance(table, str) else table
        prepared = self._engine.url.query.get(SWITCH) == "true"
        self._statements = Statements(self.table, self._engine.dialect.name, prepared=prepared)
        self._timeout = timeout
        self._pid = os.getpid()
        self._at_work: set[object] = set()
        self._inherited: list[object] = []
        prepare_for_forks(self)

    @property
    def async_only(self) -> bool:
        return isinstance(self._engine, AsyncEngine)

    def create_table(self) -> None:
        """Make the table, unless it is there. Several workers may do so at once."""
        drive(self._inline(self._statements.create))

    async def acreate_table(self) -> None:
        """`create_table`, awaited."""
        await self._awaited(self._statements.create)

    def close(self) -> None:
        """Close the connections, if they are this backend's own."""
        if isinstance(self._engine, AsyncEngine):
            raise NotSupported("SQLAlchemyBackend has an asynchronous engine: await aclose()")
        if self._own:
            self._engine.dispose()

    async def aclose(self) -> None:
        if not isinstance(self._engine, AsyncEngine):
            await in_thread(self.close)
        elif self._own:
            await self._engine.dispose()

    async def ask_server(self) -> dict[str, Any]:
        question = _CLOCKS.get(self._engine.dialect.name)
        if question is None:
            return {}
        seconds = await self._awaited(lambda c: c.execute(text(question)).scalar_one())
        return {"time": float(seconds)}

    async def _put(self, run: Bound, token: Token) -> None:
        if (now := self.clock()) < token.expires_at:
            await run(self._statements.put, token, now)

    async def _take(self, run: Bound, key: str) -> bytes | None:
        row: tuple[bytes, float] | None = await run(self._statements.take, key)
        return row[0] if row is not None and row[1] > self.clock() else None

    async def _revoke(self, run: Bound, owner: str) -> int:
        count: int = await run(self._statements.revoke, owner, self.clock())
        return count

    # To the database and back.

    async def _inline(self, work: Callable[..., T], *arguments: Any) -> T:
        if isinstance(self._engine, AsyncEngine):
            raise NotSupported(
                "SQLAlchemyBackend has an asynchronous engine: await the asynchronous twin, or "
                "use a synchronous driver"
            )
        self._part_from_parent()
        me = object()
        self._at_work.add(me)
        try:
            with failures(self._engine.url), self._engine.connect() as connection:
                return work(connection, *arguments)
        finally:
            self._at_work.discard(me)

    async def _awaited(self, work: Callable[..., T], *arguments: Any) -> T:
        if not isinstance(self._engine, AsyncEngine):
            return await in_thread(lambda: drive(self._inline(work, *arguments)))
        self._part_from_parent()
        engine = self._engine

        async def connected() -> T:
            async with engine.connect() as connection:
                return await connection.run_sync(work, *arguments)

        with failures(engine.url):
            # Drivers have not a timeout for everything.
            return await asyncio.wait_for(connected(), 3 * self._timeout)

    # Forks.

    def prepare_for_fork(self, _: float) -> None:
        """Close what SQLite has open. Called before a fork."""
        if self._is_sqlite and not self._at_work and not isinstance(self._engine, AsyncEngine):
            self._engine.dispose()

    def resume_after_fork(self) -> None:
        """Nothing is to be done in the parent: what was closed is opened when it is needed."""

    def renew_after_fork(self) -> None:
        """Leave the connections to the parent. Called in a forked child."""
        engine = self._engine
        sync_engine = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
        pool = sync_engine.pool
        # Kept, since some drivers say farewell to the server on a connection that is forgotten, and
        # an event loop's selector, which is the parent's as well, is told to forget it.
        self._inherited += [engine, pool]
        # Counted for SQLite alone: the lock of another pool may be held by a thread of the parent.
        # (Pools that keep none have no such methods.)
        counts = (getattr(pool, name, int)() for name in ("checkedin", "checkedout"))
        if self._is_sqlite and (self._at_work or any(counts)):
            # SQLite's memory in the child says that the child has the locks that the parent has.
            # Another connection would be let through, and one token could be redeemed twice.
            self._refused = True
        elif self._own:
            # A new one, with locks of its own: another thread may have held one of the old.
            self._engine = engine_of(engine.url, self._timeout)
        else:
            # Connections that two processes use give either of them the reply to the other's
            # command: one user could be signed in by the token of another.
            sync_engine.dispose(close=False)
        self._at_work = set()
        self._pid = os.getpid()

    def _part_from_parent(self) -> None:
        if self._pid != os.getpid():
            self.renew_after_fork()  # a fork that Python knows nothing of
        if self._refused:
            raise BackendUnavailable(
                "the database: the process was forked while its SQLite file was open; use "
                "SQLiteBackend, or fork before the first token is made"
            )
