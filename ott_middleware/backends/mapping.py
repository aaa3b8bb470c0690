"""Tokens in a mapping of the user's own, behind a lock of the user's own."""

from __future__ import annotations

import heapq
import json
import os
import struct
import threading
from collections import OrderedDict, UserDict, defaultdict
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager
from typing import Any

from ..clock import system_clock
from ..errors import BackendUnavailable, ConfigurationError, KeyTaken
from ..forks import renew_in_children
from .base import Backend, mark_of

# What is held under a token's name: its expiry, its owner (hashed to a fixed length), the value.
_HEADER = struct.Struct(">d16s")

# Mappings that are in this process's memory, of which a forked child has a copy; and locks that
# keep out threads alone.
_IN_MEMORY = (dict, OrderedDict, defaultdict, UserDict)
_THREAD_LOCKS: dict[type, Callable[[], AbstractContextManager[Any]]] = {
    type(made()): made
    for made in (threading.Lock, threading.RLock, threading.Condition, threading.Semaphore)
}
_THREAD_LOCKS[threading.BoundedSemaphore] = threading.BoundedSemaphore

# A call drops no more expired tokens than that: none has to wait for a thousand of them.
_SWEEP = 8


class MappingBackend(Backend):
    """Tokens in any `MutableMapping` from `str` to `bytes`: a dict, a manager's dict, a shelf.

    Any thread must be allowed to use it.

    **The lock decides which caller wins.** It must keep out all users of the mapping: a
    `threading.Lock` for one process, a `multiprocessing.Lock` or a file lock where processes share
    the mapping. With less, one token can be redeemed twice. It is held for each operation, a few
    reads and writes long, and is never entered twice by one caller.

    After a fork a plain dict is emptied of the tokens in the child, whose lock is a new one: the
    parent alone can redeem what was there. With any other mapping a child needs a lock that keeps
    out processes: with a thread's lock, its calls fail.

    A mapping of processes or of a disk says nothing about what was written when power is cut: a
    store that must keep its promise then is a job for `SQLiteBackend`.

    :param mapping: names begin with `token:` and `owner:`; it may hold other things beside.
    :param lock: a context manager that can be entered again and again.
    :param clock: tells the time in Unix seconds.
    :raises ConfigurationError: no mapping, or no lock.
    """

    def __init__(
        self,
        mapping: MutableMapping[str, bytes],
        lock: AbstractContextManager[Any],
        *,
        clock: Callable[[], float] = system_clock,
    ) -> None:
        for name in ("get", "pop", "__setitem__"):
            if isinstance(mapping, type) or not hasattr(mapping, name):
                raise ConfigurationError(f"mapping: a {type(mapping).__name__}; pass a dict or so")
        if not isinstance(lock, AbstractContextManager):
            raise ConfigurationError(
                f"lock: a {type(lock).__name__}; pass what keeps out every other user of the "
                "mapping: threading.Lock(), or multiprocessing.Lock() where processes share it"
            )
        self.clock = clock
        self._mapping = mapping
        self._lock = lock
        self.shared = type(mapping) not in _IN_MEMORY
        self._new_lock = _THREAD_LOCKS.get(type(lock))
        self._pid = os.getpid()
        self._refused = False
        renew_in_children(self)
        self._written: list[tuple[float, str]] = []  # by this process; a heap by expiry

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        name, mark = f"token:{key}", mark_of(owner)
        with self._locked():
            now = self.clock()
            if expires_at <= now:
                return
            self._sweep(now)
            if self._live(name, now):
                raise KeyTaken("a live token has that key")
            mine = [
                other for other in self._names(f"owner:{owner}") if self._live(other, now, mark)
            ]
            while limit is not None and len(mine) >= limit:
                del self._mapping[mine.pop(0)]
            self._mapping[name] = _HEADER.pack(expires_at, mark) + value
            self._mapping[f"owner:{owner}"] = json.dumps([*mine, name]).encode()
            heapq.heappush(self._written, (expires_at, name))
            heapq.heappush(self._written, (expires_at, f"owner:{owner}"))

    def take(self, key: str) -> bytes | None:
        with self._locked():
            # The lock keeps other callers out between the look and the removal.
            held = self._mapping.get(f"token:{key}")
            if held is None:
                return None
            del self._mapping[f"token:{key}"]
            live = _HEADER.unpack_from(held)[0] > self.clock()
            return held[_HEADER.size :] if live else None

    def revoke(self, owner: str) -> int:
        mark = mark_of(owner)
        with self._locked():
            now = self.clock()
            mine = [name for name in self._names(f"owner:{owner}") if self._live(name, now, mark)]
            for name in mine:
                del self._mapping[name]
            self._mapping.pop(f"owner:{owner}", None)
            return len(mine)

    def clean_up(self) -> int:
        """Drop whatever has expired, and return how many tokens that were.

        Each process drops what it wrote, as it goes. What a process left behind that ended before,
        goes by calling this, once at the start, say: it reads the whole mapping under the lock.
        """
        with self._locked():
            now = self.clock()
            names = list(self._mapping)
            expired = [n for n in names if n.startswith("token:") and not self._live(n, now)]
            for name in expired:
                del self._mapping[name]
            for name in names:
                if name.startswith("owner:"):
                    self._forget(name, now)
            return len(expired)

    def renew_after_fork(self) -> None:
        """Forget what is the parent's. Called in a forked child."""
        self._pid = os.getpid()
        if not self.shared:
            # The tokens of a dict are in the memory of parent and child, and each would redeem
            # them. So the child drops its copy. What else is in the dict is not this package's.
            for name in [n for n in self._mapping if n.startswith(("token:", "owner:"))]:
                del self._mapping[name]
            self._written = []
            if self._new_lock is not None:
                self._lock = self._new_lock()  # another thread may have held the old one
        elif self._new_lock is not None:
            self._refused = True

    def _locked(self) -> AbstractContextManager[Any]:
        if self._pid != os.getpid():
            self.renew_after_fork()  # a fork that Python knows nothing of
        if self._refused:
            # A thread's lock does not keep out the parent: both would redeem one token.
            raise BackendUnavailable(
                "mapping: the process was forked, and a lock of threads keeps out no other process;"
                " pass a multiprocessing.Lock() or a file lock"
            )
        return self._lock

    def _names(self, owner_name: str) -> list[str]:
        """The names of an owner's tokens, oldest first; those that are gone may be among them."""
        names: list[str] = json.loads(self._mapping.get(owner_name, b"[]"))
        return names

    def _live(self, name: str, now: float, mark: bytes | None = None) -> bool:
        held = self._mapping.get(name)
        if held is None:
            return False
        expires_at, of = _HEADER.unpack_from(held)
        # A name may have gone to another owner since.
        return bool(expires_at > now and mark in (None, of))

    def _forget(self, owner_name: str, now: float) -> None:
        """Drop the list of an owner without a live token."""
        if not any(self._live(name, now) for name in self._names(owner_name)):
            self._mapping.pop(owner_name, None)

    def _sweep(self, now: float) -> None:
        for _ in range(_SWEEP):
            if not self._written or self._written[0][0] > now:
                return
            _, name = heapq.heappop(self._written)
            if name.startswith("owner:"):
                self._forget(name, now)
            elif not self._live(name, now):
                self._mapping.pop(name, None)
