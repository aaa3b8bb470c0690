"""From a URL to an engine that waits for nothing for ever; and what its errors mean."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from inspect import signature
from typing import Any

from sqlalchemy import URL, Dialect, Engine, create_engine, make_url
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ...errors import BackendFull, BackendUnavailable, ConfigurationError
from .alive import watch
from .pooler import (
    LIBPQ,
    SWITCH,
    connect_through_poolers,
    refuses_options,
    without_prepared_statements,
)

# For URLs that name no driver, the modules that may be there, the best first.
_DRIVERS = {
    "postgresql": {"psycopg": "psycopg", "psycopg2": "psycopg2"},
    "mysql": {"pymysql": "pymysql", "mysqldb": "MySQLdb"},
    "mariadb": {"pymysql": "pymysql", "mysqldb": "MySQLdb"},
}
_SPELLINGS = dict.fromkeys(("postgres", "psql", "pgsql"), "postgresql")
# The address or the credentials are wrong. psycopg gives no code where it cannot connect.
_UNREACHABLE = (None, 1045, 2002, 2003, 2005, "28P01", "28000", "3D000")
_DISK_FULL = ("53100", "1114", "database or disk is full")
# A prepared statement that is unknown, or is there already.
_PREPARED = ("26000", "42P05")


def engine_of(given: str | URL, timeout: float) -> Engine | AsyncEngine:
    """An engine of our own: asynchronous if the URL's driver is.

    :raises ConfigurationError: no such engine. The text tells nothing of the URL but its scheme.
    """
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "store: that is no URL; write one as postgresql+psycopg://user@host/database"
        ) from None
    # Heroku, Supabase and others write postgres://.
    name, plus, driver = url.drivername.partition("+")
    url = url.set(drivername=_SPELLINGS.get(name, name) + plus + driver)
    refuse_memory(url)
    if "+" not in url.drivername:
        for driver, module in _DRIVERS.get(url.drivername, {}).items():
            if find_spec(module) is not None:
                url = url.set(drivername=f"{url.drivername}+{driver}")
                break
    try:
        dialect = url.get_dialect()
        make: Any = create_async_engine if dialect.is_async else create_engine
        engine: Engine | AsyncEngine = make(
            url,
            connect_args=_connect_args(url, dialect.driver, timeout),
            hide_parameters=True,
            # Each statement is committed by itself: a round trip for each, and nothing to undo.
            isolation_level="AUTOCOMMIT",
            pool_reset_on_return=None,
            pool_timeout=timeout,
            # A rollback of nothing would be a round trip after each operation.
            **({"skip_autocommit_rollback": True} if _can_skip_rollback(dialect) else {}),
            # Looking for hstore takes a transaction, which PgBouncer's statement mode refuses.
            **({"use_native_hstore": False} if dialect.driver in LIBPQ else {}),
        )
    except NoSuchModuleError:
        raise ConfigurationError(f"store: SQLAlchemy knows no {url.drivername}://") from None
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"store: {url.drivername}:// needs {error.name}; install it"
        ) from None
    pool_of = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    connect_through_poolers(pool_of, timeout)
    watch(pool_of)
    return engine


def _can_skip_rollback(dialect: type[Dialect]) -> bool:
    # PyMySQL and its like send one whatever there is to roll back. SQLAlchemy can spare that since
    # 2.0.43.
    known = signature(DefaultDialect).parameters
    return dialect.name in ("mysql", "mariadb") and "skip_autocommit_rollback" in known


def refuse_memory(url: URL) -> None:
    """Refuse databases that are another one for each connection."""
    in_memory = url.database in (None, "", ":memory:") or "memory" in url.query.get("mode", "")
    if url.get_backend_name() == "sqlite" and in_memory:
        raise ConfigurationError(
            "store: an SQLite database in memory is another one for each connection; use "
            "MemoryBackend(), or a file"
        )


def _connect_args(url: URL, driver: str, timeout: float) -> dict[str, Any]:
    """How long the driver, and the server for it, may take. What the URL says goes first."""
    seconds, milliseconds = math.ceil(timeout), math.ceil(timeout * 1000)
    libpq = {
        "connect_timeout": max(2, seconds),  # libpq takes less for two
        "tcp_user_timeout": milliseconds,
    }
    mysql = {
        "connect_timeout": seconds,
        "init_command": f"SET SESSION innodb_lock_wait_timeout = {seconds}",
        # As the server has it by default: switched off first and on then, it takes two round trips.
        "autocommit": True,
    }
    bounded = {**mysql, "read_timeout": 2 * seconds, "write_timeout": 2 * seconds}
    arguments: dict[str, dict[str, Any]] = {
        "psycopg": libpq,
        "psycopg_async": libpq,
        "psycopg2": libpq,
        "asyncpg": {"timeout": timeout, "command_timeout": timeout},
        "pymysql": bounded,
        "mysqldb": bounded,
        "aiomysql": mysql,
        "asyncmy": mysql,
        "pysqlite": {"timeout": timeout},
        "aiosqlite": {"timeout": timeout},
    }
    wanted = {**arguments.get(driver, {}), **without_prepared_statements(url, driver)}
    return {name: value for name, value in wanted.items() if name not in url.query}


@contextmanager
def failures(url: URL | None = None) -> Iterator[None]:
    """Turn what the engine raises into this package's errors.

    Neither the driver's text nor the statement's arguments go along. Of the URL go the host and the
    database's name, and never the password.
    """
    try:
        yield
    except PoolTimeout:
        raise BackendUnavailable("the database: no connection was free in time") from None
    except DBAPIError as error:
        raise _failure(error.orig, url) from None
    except (SQLAlchemyError, OSError, TimeoutError, asyncio.TimeoutError) as error:
        raise _failure(error, url) from None


def _failure(error: BaseException | None, url: URL | None) -> Exception:
    first = (getattr(error, "args", None) or ("",))[0]
    # MariaDB and MySQL number their errors, the others have the standard's codes at most.
    code = first if isinstance(first, int) else getattr(error, "sqlstate", None)
    text = f"the database: {type(error).__name__}" + (f" ({code})" if code else "")
    if str(code) in _DISK_FULL or first in _DISK_FULL:
        return BackendFull(text)
    if str(code) in ("42P01", "1146") or str(first).startswith("no such table"):
        text += ": call create_table()"
    elif str(code) in _PREPARED:
        text += (
            ": a pooler in transaction mode takes no prepared statements; leave "
            f"{SWITCH}= out of the URL, or make the engine with prepare_threshold=None (psycopg), "
            "statement_cache_size=0 and prepared_statement_cache_size=0 (asyncpg)"
        )
    elif refuses_options(first):
        text += ": a pooler refuses startup options; leave options= out of the URL or the engine"
    else:
        text += _place_of(url)
        if url is not None and url.host and code in _UNREACHABLE:
            text += (
                ": is it running, reachable from this host, and does it take the URL's user and "
                "password?"
            )
    return BackendUnavailable(text)


def _place_of(url: URL | None) -> str:
    """Return where the database is, for a message: never the user's name, nor the password."""
    if url is None or not (url.host or url.database):
        return ""  # an engine of the app that connects by a function
    port = f":{url.port}" if url.port else ""
    return f" at {url.host}{port}/{url.database or ''}" if url.host else f" at {url.database}"
