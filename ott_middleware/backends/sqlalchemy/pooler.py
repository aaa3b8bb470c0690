"""PostgreSQL through PgBouncer and other poolers: what an engine leaves out for them.

A pooler lends the connections of the server to its clients, in transaction mode for one statement
each. A statement that was prepared on one of them is unknown on the next, and many poolers refuse a
client that sends `options` as it connects. This engine therefore prepares nothing, unless its URL
has `prepared_statements=true`, and connects without `options` where they are refused.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Generator
from typing import Any

from sqlalchemy import URL, Engine, event

from ...errors import ConfigurationError

logger = logging.getLogger("ott_middleware")

#: The parameter of a URL that has statements prepared, for connections without a pooler.
SWITCH = "prepared_statements"
# Not for the driver. Supabase's URLs have the second, for clients that prepare statements.
_OURS = (SWITCH, "pgbouncer")
LIBPQ = ("psycopg", "psycopg_async", "psycopg2")
# Arguments that keep a driver from preparing statements. An asyncpg statement without a name is
# parsed anew in the message that executes it, so that both reach the same server.
_UNPREPARED: dict[str, dict[str, Any]] = {
    "psycopg": {"prepare_threshold": None},
    "psycopg_async": {"prepare_threshold": None},
    # SQLAlchemy keeps the objects that stand for statements, with the types of their arguments:
    # the server is asked for those once, and not in a round trip before each statement.
    "asyncpg": {"statement_cache_size": 0, "prepared_statement_name_func": str},
}


def without_prepared_statements(url: URL, driver: str) -> dict[str, Any]:
    """Return the arguments with which a driver prepares no statements; none if the URL wants them.

    :raises ConfigurationError: a parameter of the URL that the driver cannot follow.
    """
    if driver == "asyncpg" and "channel_binding" in url.query:
        raise ConfigurationError(
            "store: asyncpg has no channel_binding=; use postgresql+psycopg_async://, or write "
            "sslmode=verify-full in its place"
        )
    wanted = url.query.get(SWITCH, "false")
    if wanted not in ("true", "false") or (SWITCH in url.query and driver not in _UNPREPARED):
        raise ConfigurationError(
            f"store: {SWITCH}= in the URL; use true or false, with {', '.join(_UNPREPARED)}"
        )
    return {} if wanted == "true" else _UNPREPARED.get(driver, {})


def connect_through_poolers(engine: Engine, timeout: float) -> None:
    """Have an engine connect with `options` where the server takes them, and without otherwise.

    :param timeout: seconds after which the server gives up a statement.
    """
    dialect, query = engine.dialect, engine.url.query
    options = None
    if dialect.driver in LIBPQ and "options" not in query:
        options = f"-c statement_timeout={int(timeout * 1000) or 1}"

    @event.listens_for(engine, "do_connect")
    def connect(_: Any, __: Any, args: Any, arguments: dict[str, Any]) -> Any:
        nonlocal options
        arguments = {name: value for name, value in arguments.items() if name not in _OURS}
        if dialect.driver == "asyncpg" and "sslmode" in arguments:
            # As libpq spells it, and hosting services in the URLs that they give out.
            arguments["ssl"] = arguments.pop("sslmode")
        if options is not None:
            try:
                return dialect.connect(*args, **arguments, options=options)
            except dialect.loaded_dbapi.Error as error:
                if not refuses_options(error):
                    raise
        connection = dialect.connect(*args, **arguments)
        if options is not None:
            options = None
            logger.warning(
                "the database: a pooler (PgBouncer?) refuses startup options, so that the server "
                "sets no end to a statement: run ALTER ROLE … SET statement_timeout = '%gs' for "
                "this user",
                timeout,
            )
        return connection

    if dialect.driver == "psycopg" and not dialect.is_async and hasattr(select, "poll"):

        @event.listens_for(engine, "connect")
        def bound(connection: Any, _: Any) -> None:
            error = dialect.loaded_dbapi.OperationalError
            connection.wait = _waiting(connection, 2 * timeout, error)


def refuses_options(error: object) -> bool:
    """Return whether an error of a driver means that a pooler refused startup options."""
    text = str(error)
    # PgBouncer, Neon; Amazon's RDS Proxy.
    return "startup parameter" in text or "command-line options" in text


def _waiting(connection: Any, timeout: float, error: type[Exception]) -> Callable[..., Any]:
    """Return a `wait` for a connection of psycopg that raises an error after some seconds.

    A pooler that is paused and a server that is frozen are silent, and libpq waits for ever.
    """

    def wait(steps: Generator[int, int, Any], *_: Any, **__: Any) -> Any:
        end = time.monotonic() + timeout
        try:
            # 1 to read, 2 to write, 3 for both: psycopg's `Wait` and `Ready`.
            wanted = next(steps)
            while True:
                poll = select.poll()
                poll.register(
                    connection.pgconn.socket,
                    (select.POLLIN if wanted & 1 else 0) | (select.POLLOUT if wanted & 2 else 0),
                )
                found = poll.poll(max(0, end - time.monotonic()) * 1000)
                if not found:
                    # The reply may still come. On a connection that stays open, the next caller
                    # would read it, and be given the session of another user's token.
                    connection.close()
                    raise error("no reply in time")
                ready = found[0][1]
                # After an error or a hang-up both are reported: libpq then finds what happened.
                broken = ready & ~(select.POLLIN | select.POLLOUT)
                can_read = 1 if ready & select.POLLIN or broken else 0
                can_write = 2 if ready & select.POLLOUT or broken else 0
                wanted = steps.send((can_read | can_write) & wanted)
        except StopIteration as done:
            return done.value

    return wait
