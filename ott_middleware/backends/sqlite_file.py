"""One connection to an SQLite file: shared by threads, not by processes, and renewed as needed.

SQLite lets one writer in at a time, and every operation here writes. So a second connection would
gain nothing: it would wait for the first by polling, where a lock wakes the next thread at once.

Nothing of SQLite may go through a fork: a child that inherits an open file takes locks for its own
that are its parent's. So the connection is closed before a fork, and each side opens its own.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from ..errors import BackendUnavailable

T = TypeVar("T")
_POLL = 0.005


class File:
    """A file, opened when it is needed.

    :param path: of the file.
    :param timeout: how many seconds to wait for other writers.
    :param schema: statements that make the tables where there are none.
    """

    _connection: sqlite3.Connection | None = None

    def __init__(self, path: str, timeout: float, schema: Sequence[str]) -> None:
        # Daemons change their directory.
        self._path = os.path.abspath(path)
        self._timeout = timeout
        self._schema = schema
        self._lock = threading.Lock()
        self._identity: tuple[int, int] | None = None
        self._level = ""
        self._pid = os.getpid()
        _files.add(self)

    def run(self, work: Callable[[sqlite3.Connection], T], level: str) -> T:
        """Do some work on the open file.

        :param work: must end any transaction that it begins; if it raises, nothing of it stays.
        :param level: what `PRAGMA synchronous` is to be meanwhile.
        """
        if not self._lock.acquire(timeout=self._timeout):
            raise BackendUnavailable(f"SQLite: other threads held the file for {self._timeout} s")
        try:
            connection = self._ready()
            if level != self._level:
                connection.execute(f"PRAGMA synchronous = {level}")
                self._level = level
            try:
                return work(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.Error:
            # Whatever is wrong with it, the next caller begins anew.
            self._drop()
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def __del__(self) -> None:
        self._drop()

    def hold(self) -> None:
        """Before a fork: let nobody work, and leave nothing open."""
        self._lock.acquire()
        self._drop()

    def release(self) -> None:
        """After a fork, on either side."""
        self._pid = os.getpid()
        self._lock.release()

    def _drop(self) -> None:
        if self._connection is not None and self._pid == os.getpid():
            connection, self._connection = self._connection, None
            with suppress(sqlite3.Error):
                connection.close()

    def _ready(self) -> sqlite3.Connection:
        """The connection, to the file that has the name now."""
        if self._connection is not None:
            if self._pid != os.getpid():
                raise BackendUnavailable(
                    "SQLite: the process was forked without Python's knowledge while the file was "
                    "open; with uWSGI set py-call-uwsgi-fork-hooks, or lazy-apps"
                )
            if self._identity == _identity(self._path):
                return self._connection
            self._drop()
        self._pid = os.getpid()
        self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        # SQLite keeps the other two files beside the one that a link leads to.
        path = os.path.realpath(self._path)
        with _alone(os.path.dirname(path), self._timeout):
            if _identity(path) is None:
                # What a deleted file left behind would be taken for the new one's, and be shared
                # with whoever is amid an operation on the old one.
                for suffix in ("-wal", "-shm"):
                    with suppress(FileNotFoundError):
                        os.unlink(path + suffix)
                # By us, and not by SQLite: for nobody else to read at any time. The others get
                # the same mode.
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._identity, self._level = _identity(path), ""
            # Autocommit: transactions begin and end where it is written.
            connection = sqlite3.connect(
                path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            try:
                if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
                    raise sqlite3.OperationalError("the file system has no place for a WAL")
                connection.execute("PRAGMA fullfsync = ON")  # macOS: to the disk, not to its cache
                for statement in self._schema:
                    connection.execute(statement)
            except BaseException:
                connection.close()
                raise
            return connection


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def _alone(directory: str, timeout: float) -> Iterator[None]:
    """Keep other processes from making or opening files of a directory by this module."""
    if sys.platform == "win32":  # pragma: no cover - where a file in use can't be deleted
        yield
        return
    import fcntl

    handle = os.open(directory, os.O_RDONLY)
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise BackendUnavailable(
                        "SQLite: another process keeps the file's directory locked"
                    ) from None
            time.sleep(_POLL)
        yield
    finally:
        os.close(handle)


_files: weakref.WeakSet[File] = weakref.WeakSet()
_held: list[File] = []
_forking = threading.Lock()


def _before_fork() -> None:
    _forking.acquire()
    _held.extend(_files)
    for file in _held:
        file.hold()


def _after_fork() -> None:
    while _held:
        _held.pop().release()
    _forking.release()


with suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
