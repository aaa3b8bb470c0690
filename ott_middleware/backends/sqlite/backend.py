"""Tokens in an SQLite file: for many workers on one host, without a server.

The file is in WAL mode. It must lie on a disk of the host itself: over a network file system, or
from two containers with a kernel each, SQLite's locks do not keep the processes apart.

After a power cut or a crash of the system, a token that was taken or revoked stays gone, since its
removal is on disk before the call returns. A token put in the last moments may be lost, and a token
retired by `max_per_session` then may be back: redeemable once, until it expires. A process that is
killed loses nothing. `durability` buys more, or sells some.

A copy of the file that is put back brings back the tokens of its time: leave it out of backups.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Literal, TypeVar
from urllib.parse import unquote, urlsplit

from ...clock import system_clock
from ...errors import (
    BackendFull,
    BackendUnavailable,
    ConfigurationError,
    KeyTaken,
    check_positive,
)
from ..base import Backend
from .file import File

T = TypeVar("T")
Durability = Literal["taken", "all", "none"]

_RETURNING = sqlite3.sqlite_version_info >= (3, 35)

# A put drops no more expired rows than that: none has to wait for a thousand of them, and there
# are never more expired rows than there were live ones.
_SWEEP = 8

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS ott_tokens (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        value BLOB NOT NULL,
        owner TEXT NOT NULL,
        expires_at REAL NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS ott_tokens_owner ON ott_tokens (owner, id)",
    "CREATE INDEX IF NOT EXISTS ott_tokens_expires_at ON ott_tokens (expires_at)",
)
_DROP_EXPIRED = (
    "DELETE FROM ott_tokens WHERE id IN (SELECT id FROM ott_tokens WHERE expires_at <= ? "
    "ORDER BY expires_at LIMIT ?)"
)
# Compared by their bytes, whatever the columns' collation. A table that was made by hand may say
# NOCASE or RTRIM: `abc` would be redeemed as `ABC`, and one session's tokens retired for another's.
_DROP_EXPIRED_KEY = "DELETE FROM ott_tokens WHERE key = ? COLLATE BINARY AND expires_at <= ?"
_INSERT = "INSERT INTO ott_tokens (key, value, owner, expires_at) VALUES (?, ?, ?, ?)"
_RETIRE = (
    "DELETE FROM ott_tokens WHERE owner = ? COLLATE BINARY AND id <= (SELECT id FROM ott_tokens "
    "WHERE owner = ? COLLATE BINARY AND expires_at > ? ORDER BY id DESC LIMIT 1 OFFSET ?)"
)
_TAKE = "DELETE FROM ott_tokens WHERE key = ? COLLATE BINARY RETURNING value, expires_at, key"
_LOOK = "SELECT value, expires_at, key FROM ott_tokens WHERE key = ? COLLATE BINARY"
_DELETE = "DELETE FROM ott_tokens WHERE key = ? COLLATE BINARY"
_COUNT = "SELECT count(*) FROM ott_tokens WHERE owner = ? COLLATE BINARY AND expires_at > ?"
_REVOKE = "DELETE FROM ott_tokens WHERE owner = ? COLLATE BINARY"


class SQLiteBackend(Backend):
    """Tokens in an SQLite file.

    The file is made when it is first needed, readable and writable by its owner alone (0600), as
    are the `-wal`, `-shm` and `-lock` files beside it. If it is deleted, a new one is made. A file
    that is there already keeps its mode. The directory should be one that the app's user alone can
    write to; in one like `/tmp`, a file that another user made is refused.

    :param path: of the file. Its directory must be there when a token is put, and be writable.
    :param timeout: how many seconds to wait for other threads, and then for other processes.
    :param durability: what is on disk before the call returns. `"taken"`: takes and revocations.
        `"all"`: puts too, so that no token is lost in a power cut; a put then costs what a take
        does, which is the time that the disk needs to write for good (about five times as much on
        a fast one). `"none"`: nothing; takes cost as little as puts, and **a power cut may bring
        back a token that was redeemed** in the last moments, as long as it has not expired.
    :param clock: tells the time in Unix seconds.
    :raises ConfigurationError: a bad argument.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float = 5.0,
        durability: Durability = "taken",
        clock: Callable[[], float] = system_clock,
    ) -> None:
        if isinstance(path, (bool, int)) or not isinstance(path, (str, os.PathLike)):
            raise ConfigurationError(f"path: {path!r}; use the path of a file")
        name = os.fsdecode(path)
        if name == "" or name.startswith((":memory:", "file:")) or "\0" in name:
            raise ConfigurationError(
                f"path: {name!r}; use the path of a file. Tokens in memory: MemoryBackend()"
            )
        if "://" in name:
            # Not shown: the URL of a database may hold a password.
            raise ConfigurationError(
                "path: a URL; use the path of a file, or pass the URL itself as backend=, as "
                "'sqlite:///path'"
            )
        check_positive("timeout", timeout, "seconds")
        if durability not in ("taken", "all", "none"):
            raise ConfigurationError(f"durability: {durability!r}; use 'taken', 'all' or 'none'")
        self.clock = clock
        self._put_level = "FULL" if durability == "all" else "NORMAL"
        self._take_level = "NORMAL" if durability == "none" else "FULL"
        self._file = File(name, timeout, _SCHEMA)

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        def work(connection: sqlite3.Connection) -> None:
            now = self.clock()
            if expires_at <= now:
                return
            row = (key, value, owner, expires_at)
            execute = connection.execute
            execute("BEGIN IMMEDIATE")
            execute(_DROP_EXPIRED, (now, _SWEEP))
            try:
                execute(_INSERT, row)
            except sqlite3.IntegrityError:
                if not execute(_DROP_EXPIRED_KEY, (key, now)).rowcount:
                    raise KeyTaken("a live token has that key") from None
                execute(_INSERT, row)
            if limit is not None:
                execute(_RETIRE, (owner, owner, now, limit))
            execute("COMMIT")

        self._run(work, self._put_level)

    def take(self, key: str) -> bytes | None:
        rows = self._run(lambda connection: _take(connection, key), self._take_level)
        if not rows:
            return None
        value, expires_at, found = rows[0]
        # Compared again, here: a column that was made by hand as a number takes `0123` for `123`,
        # which no collation helps against. A value that was found under another key is dropped.
        if found != key:
            return None
        # Judged after the wait for other writers: it may have expired meanwhile.
        return value if expires_at > self.clock() else None

    def revoke(self, owner: str) -> int:
        def work(connection: sqlite3.Connection) -> int:
            connection.execute("BEGIN IMMEDIATE")
            count: int = connection.execute(_COUNT, (owner, self.clock())).fetchone()[0]
            connection.execute(_REVOKE, (owner,))
            connection.execute("COMMIT")
            return count

        return self._run(work, self._take_level)

    def close(self) -> None:
        """Close the file. It is opened again when it is needed again."""
        self._file.close()

    def _run(self, work: Callable[[sqlite3.Connection], T], level: str) -> T:
        try:
            return self._file.run(work, level)
        except (sqlite3.Error, OSError) as error:
            # SQLite's texts name no values.
            text = str(error) if isinstance(error, sqlite3.Error) else error.strerror
            kind = BackendFull if "disk is full" in str(error) else BackendUnavailable
            raise kind(f"SQLite: {text}: {self._file.describe()}") from error


def _take(connection: sqlite3.Connection, key: str) -> list[tuple[bytes, float, object]]:
    # One writer at a time: only the call that deletes the row sees the row go. The rows
    # are fetched to the end, since that is when the deletion is committed, and so on disk.
    if _RETURNING:
        return connection.execute(_TAKE, (key,)).fetchall()
    connection.execute("BEGIN IMMEDIATE")
    rows = connection.execute(_LOOK, (key,)).fetchall()
    deleted = connection.execute(_DELETE, (key,)).rowcount
    connection.execute("COMMIT")
    return rows if deleted == 1 else []


def from_url(url: str) -> SQLiteBackend:
    """Make a backend from `sqlite:///relative/path` or `sqlite:////absolute/path`.

    :raises ConfigurationError: another URL. The text does not show it: it may hold a password.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.netloc or parts.query or path in ("", ":memory:"):
        raise ConfigurationError(
            "backend: write sqlite:///relative/path or sqlite:////absolute/path, without options; "
            "memory:// keeps tokens in memory"
        )
    return SQLiteBackend(path)
