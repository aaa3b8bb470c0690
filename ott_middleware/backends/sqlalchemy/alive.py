"""Whether a pooled connection still leads to a server, asked before anything is sent.

What is sent must not be sent twice, and so a connection that the server closed has to be found out
beforehand. SQLAlchemy's `pool_pre_ping` does that with a round trip for each operation, which is a
quarter of its time. Here it is asked only where it may be needed: a server that closes a connection
says so on it, and one that has said nothing since its last reply a moment ago is there.
"""

from __future__ import annotations

import select
import time
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError

# After so many seconds of silence a firewall in between may have forgotten the connection, which
# no side says. Firewalls take minutes.
_SILENT = 30.0

_WHEN = "ott_middleware.checked"


def watch(engine: Engine) -> None:
    """Have an engine's pool replace the connections that are gone before they are used."""
    dialect = engine.dialect

    @event.listens_for(engine, "checkout")
    def check(connection: Any, record: Any, _: Any) -> None:
        now = time.monotonic()
        before, record.info[_WHEN] = record.info.get(_WHEN), now
        if before is None:
            return  # opened just now
        if now - before < _SILENT and _quiet(record.driver_connection):
            return
        try:
            alive = dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error:
            alive = False
        if not alive:
            # The pool makes a new connection, and drops those that are as old.
            raise InvalidatePoolError


def _quiet(connection: Any) -> bool:
    """Whether it is known that the server has said nothing: neither a word, nor farewell."""
    try:
        waiting = select.poll()
        waiting.register(_descriptor(connection), select.POLLIN)
        return not waiting.poll(0)
    except Exception:
        # Closed on this side, a driver or a system without a descriptor: the ping will tell.
        return False


def _descriptor(connection: Any) -> int:
    """Return the file descriptor of a driver's connection.

    :raises Exception: it has none, or is closed.
    """
    transport = getattr(connection, "_transport", None)  # asyncpg, asyncmy
    if transport is not None:
        # The event loop may have read the farewell already, and then closes the transport.
        if transport.is_closing():
            raise ConnectionError
        connection = transport.get_extra_info("socket")
    # PyMySQL keeps its socket; psycopg's connections have the method themselves.
    return int(getattr(connection, "_sock", connection).fileno())
