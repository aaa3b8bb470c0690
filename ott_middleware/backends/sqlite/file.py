"""One connection to an SQLite file: shared by threads, not by processes, and renewed as needed.

SQLite lets one writer in at a time, and every operation here writes. So a second connection would
gain nothing: it would wait for the first by polling, where a lock wakes the next thread at once.

Nothing of SQLite may go through a fork: a child that inherits an open file takes locks for its own
that are its parent's. So the connection is closed before a fork, and each side opens its own. An
operation that another thread is amid is waited for, but not for long: where it does not end in
time, the fork goes on, and the child refuses to use the file.

While a file is made, opened or replaced, other processes are kept out by a lock on another file,
`<path>-lock`. Only users who may write to the database may open that one. (A lock on the directory
would not do: any local user may take it, and keep it.)

This module is longer than 300 lines since the connection, the fork and the lock file must be read
together: each keeps a promise that rests on the other two.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from ...errors import BackendUnavailable
from ...forks import prepare_for_forks

T = TypeVar("T")
_POLL = 0.005
_refused: list[object] = []  # kept, since what is forgotten is closed

_AMID_OPERATION = (
    "SQLite: the process was forked while another thread was amid an operation on the file; fork "
    "before the first token is made, or spawn processes"
)
_WITHOUT_HOOKS = (
    "SQLite: the process was forked without Python's knowledge while the file was open; with uWSGI "
    "set py-call-uwsgi-fork-hooks, or lazy-apps"
)


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
        self._holder: int | None = None  # the thread that has the lock
        self._held = False  # the lock, for a fork
        self._refused = ""  # why a child may not use the file
        prepare_for_forks(self)

    def run(self, work: Callable[[sqlite3.Connection], T], level: str) -> T:
        """Do some work on the open file.

        :param work: must end any transaction that it begins; if it raises, nothing of it stays.
        :param level: what `PRAGMA synchronous` is to be meanwhile.
        """
        if not self._lock.acquire(timeout=self._timeout):
            raise BackendUnavailable(f"SQLite: other threads held the file for {self._timeout} s")
        try:
            self._holder = threading.get_ident()
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
            self._holder = None
            self._lock.release()

    def describe(self) -> str:
        """Return the path, and what to do where its directory is not there or not writable."""
        folder = os.path.dirname(os.path.realpath(self._path))
        if not os.path.isdir(folder):
            return f"{self._path}; make the directory {folder}"
        if not os.access(folder, os.W_OK):
            return f"{self._path}; let the app's user write to {folder}"
        if os.path.isdir(self._path):
            return f"{self._path}; pass the path of a file, not of a directory"
        return self._path

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def __del__(self) -> None:
        self._drop()

    def prepare_for_fork(self, deadline: float) -> None:
        """Let no thread work, and leave nothing open, if that is possible in time."""
        # A signal handler may fork amid an operation of its own thread, which can't end meanwhile.
        # It would wait for itself for ever. Or it forks amid a fork, when the lock is held already.
        if not self._held and self._holder != threading.get_ident():
            self._held = self._lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
            if self._held:
                self._drop()

    def resume_after_fork(self) -> None:
        """Let threads work again, on either side of the fork."""
        if self._held:
            self._held = False
            self._lock.release()

    def renew_after_fork(self) -> None:
        """Make the file usable in a child, or refuse it there."""
        if self._held:
            self.resume_after_fork()
        elif self._lock.locked() or self._connection is not None:
            # A thread of the parent was amid an operation. SQLite's memory in the child says that
            # the child has the locks that the parent has: another connection would be let through,
            # and one token could be redeemed twice. So the child uses this file no more, and closes
            # nothing. (Or a server called only this hook: the file was open, and its lock free.)
            self._refused = _AMID_OPERATION if self._lock.locked() else _WITHOUT_HOOKS
            self._lock = threading.Lock()
            self._holder = None
            _refused.append(self)

    def _drop(self) -> None:
        if self._connection is not None and self._pid == os.getpid() and not self._refused:
            connection, self._connection = self._connection, None
            with suppress(sqlite3.Error):
                connection.close()

    def _ready(self) -> sqlite3.Connection:
        """The connection, to the file that has the name now."""
        if self._refused:
            raise BackendUnavailable(self._refused)
        if self._connection is not None:
            if self._pid != os.getpid():
                raise BackendUnavailable(_WITHOUT_HOOKS)
            if self._identity == _identity(self._path):
                return self._connection
            self._drop()
        self._pid = os.getpid()
        self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        # SQLite keeps the other two files beside the one that a link leads to.
        path = os.path.realpath(self._path)
        with _alone(path, self._timeout):
            found = _identity(path)
            if found is not None:
                _check_owner(path)
            else:
                # What a deleted file left behind would be taken for the new one's, and be shared
                # with a process that is amid an operation on the old one.
                for suffix in ("-wal", "-shm"):
                    with suppress(FileNotFoundError):
                        os.unlink(path + suffix)
                # Created here, and not by SQLite, so that no other user can read it at any time.
                # The other two files get the same mode.
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


def _identity(file: str | int) -> tuple[int, int] | None:
    """Return what tells a file from all others, by its path or its descriptor; None without one."""
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _check_owner(path: str) -> None:
    # In a directory like /tmp any local user can make the file first, and keeps the right to read
    # and change it: that user would see all tokens, and could bring back those that were redeemed.
    # So a file of another user is refused there, as the kernel's fs.protected_regular does it.
    status, directory = os.stat(path), os.stat(os.path.dirname(path))
    open_to_all = directory.st_mode & stat.S_ISVTX and directory.st_mode & stat.S_IWOTH
    if open_to_all and status.st_uid not in (_user(), directory.st_uid):
        raise BackendUnavailable(
            "SQLite: the database was made by another user, in a directory where all users may "
            "make files; put it into a directory that the app's user alone can write to"
        )


def _user() -> int:
    return os.geteuid() if sys.platform != "win32" else 0


@contextmanager
def _alone(path: str, timeout: float) -> Iterator[None]:
    """Keep other processes from making or opening the database `path` by this module."""
    if sys.platform == "win32":  # pragma: no cover - where a file in use can't be deleted
        yield
        return
    import fcntl

    deadline = time.monotonic() + timeout
    while True:
        handle = _open_lock(path)
        try:
            _flock(handle, deadline)
            # Whether the name still stands for the open file: it may have been deleted meanwhile,
            # and made anew.
            if _identity(f"{path}-lock") == _identity(handle):
                yield
                return
        finally:
            # Not by closing alone: a child that was forked meanwhile has the file open as well, and
            # would keep it locked for as long as it lives.
            fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)


def _flock(handle: int, deadline: float) -> None:
    import fcntl

    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise BackendUnavailable(
                    "SQLite: another process keeps the -lock file beside the database locked"
                ) from None
            time.sleep(_POLL)


def _open_lock(path: str) -> int:
    """Open the file `<path>-lock`; make it, if need be, for those who may write to the database.

    :raises BackendUnavailable: it is not ours, or no plain file.
    """
    name = f"{path}-lock"
    try:
        database: os.stat_result | None = os.stat(path)
    except FileNotFoundError:
        database = None
    # A user who may open the lock file, be it to read, can lock it, and so keep the app from its
    # database. A user who may write to the database can do that anyway; no other is let in.
    writers = 0 if database is None else database.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    mode = 0o600 | writers | writers << 1
    try:
        handle = _open_plain(name)
    except OSError as error:
        # ELOOP: a symbolic link. Another user may have put it there, to have this app open, and
        # change the mode of, a file of that user's choice.
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.EACCES, errno.EPERM, errno.EISDIR):
            raise _foreign_lock(os.strerror(error.errno)) from None
        raise
    try:
        status = os.fstat(handle)
        owners = {_user()} if database is None else {_user(), database.st_uid}
        # Another user who made the file first could hold its lock, or lock an old copy of it; and
        # a hard link may lead to a file of ours that is none of this module's.
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise _foreign_lock("it is no plain file of one name")
        if status.st_uid not in owners:
            raise _foreign_lock("it belongs to another user")
        if status.st_uid == _user() and stat.S_IMODE(status.st_mode) != mode:
            os.fchmod(handle, mode)
        if _user() == 0 and database is not None and status.st_uid != database.st_uid:
            # Made by root, for a service that runs as the database's owner: as SQLite does it for
            # the other two files.
            os.fchown(handle, database.st_uid, database.st_gid)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _open_plain(name: str) -> int:
    # Neither through a link nor waiting, as a pipe would have it; and by O_EXCL first, since the
    # kernel refuses O_CREAT alone on files of others in sticky directories.
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        with suppress(FileExistsError):
            return os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600)
        with suppress(FileNotFoundError):  # it was deleted in between
            return os.open(name, flags)


def _foreign_lock(reason: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"SQLite: the -lock file beside the database can't be used ({reason}); delete it, and put "
        "the database into a directory that the app's user alone can write to"
    )
