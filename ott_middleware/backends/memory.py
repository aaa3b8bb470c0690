"""Tokens in this process's memory: the embedded default.

Good for one process. A second worker has a memory of its own, where the first one's tokens are
unknown; that is noticed, and logged with the cure. A forked child starts empty: the tokens that
were there stay with the parent, which alone can redeem them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from cachetools import TLRUCache

from ..clock import system_clock
from ..errors import BackendFull, ConfigurationError, KeyTaken, check_positive
from ..forks import renew_in_children
from .base import Backend
from .worker_check import WorkerCheck

# A cache drops all that expired together in one call. Split by key, each call's share is small: a
# 256th, so that 100,000 tokens expiring at once hold up no caller for more than a few milliseconds.
_PARTS = 256

# What a token takes beside the characters of its key, value and owner, in bytes: Python's objects,
# their places in dicts and a heap, and the item that a removed token may leave in the heap until
# later (cachetools keeps at most one for each live token). Measured with tracemalloc, for an owner
# of one token each, which costs most.
_OVERHEAD = 900


class _Entry(NamedTuple):
    value: bytes
    owner: str
    expires_at: float


class MemoryBackend(Backend):
    """Tokens in a TTL cache (cachetools) behind one lock.

    :param maxsize: how many live tokens there may be; one more is a `BackendFull`.
    :param max_bytes: how many bytes the live tokens may take, keys, owners and the overhead of
        Python's objects (900 bytes a token) included; a token beyond that is a `BackendFull`.
    :param clock: tells the time in Unix seconds.
    :raises ConfigurationError: `maxsize` or `max_bytes` is no positive number.
    """

    blocks = False
    shared = False

    def __init__(
        self,
        maxsize: int = 100_000,
        max_bytes: int = 64 * 1024 * 1024,
        *,
        clock: Callable[[], float] = system_clock,
    ) -> None:
        check_positive("maxsize", maxsize, "tokens", whole=True)
        check_positive("max_bytes", max_bytes, "bytes", whole=True)
        self.maxsize = maxsize
        self.max_bytes = max_bytes
        self.clock = clock
        # A token that was put before a fork is in the memory of parent and child, and each would
        # redeem it. So the tokens, and the lock that another thread may have held at the fork,
        # belong to a process id: a child finds none under its own, and starts with an empty
        # memory. Without that, one token would be redeemed once in each process, and a child would
        # wait for ever for a thread that it does not have.
        self._by_process: dict[int, _Tokens] = {}
        self._workers = WorkerCheck()
        renew_in_children(self)

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        self._workers.check()
        self._tokens().put(key, _Entry(value, owner, expires_at), limit)

    def take(self, key: str) -> bytes | None:
        self._workers.check()
        return self._tokens().take(key)

    def revoke(self, owner: str) -> int:
        return self._tokens().revoke(owner)

    def renew_after_fork(self) -> None:
        """Forget the parent's tokens and its lock. Called in a forked child."""
        # Also those of an ancestor whose process id the child may have been given again.
        self._by_process.clear()

    def __len__(self) -> int:
        """How many tokens are held, those not yet swept after their expiry included."""
        return self._tokens().count

    @property
    def held_bytes(self) -> int:
        """How many bytes count against `max_bytes`."""
        return self._tokens().bytes

    def _tokens(self) -> _Tokens:
        # Asked for each operation, since some servers fork without Python's knowledge. It costs
        # less than 0.1 µs.
        pid = os.getpid()
        tokens = self._by_process.get(pid)
        if tokens is None:
            # Of two threads that get here at once, both get the tokens of the one that was first.
            new = _Tokens(self.maxsize, self.max_bytes, self.clock)
            tokens = self._by_process.setdefault(pid, new)
            for other in [other for other in self._by_process if other != pid]:
                self._by_process.pop(other, None)
        return tokens


class _Tokens:
    """The tokens of one process, and the lock before them."""

    def __init__(self, maxsize: int, max_bytes: int, clock: Callable[[], float]) -> None:
        self._maxsize = maxsize
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._now = 0.0
        # The parts read the time of the operation, not the clock: between two looks at a clock an
        # entry could expire and be dropped unseen, and its owner would keep it counted for ever.
        # Each is built when it is first needed: all of them would cost a start 1.5 ms.
        self._parts: defaultdict[int, TLRUCache[str, _Entry]] = defaultdict(
            lambda: TLRUCache(
                sys.maxsize, ttu=lambda _, entry, now: entry.expires_at, timer=self._time
            )
        )
        self.owners: dict[str, dict[str, None]] = {}  # owner → keys, oldest first
        self.count = 0
        self.bytes = 0
        self._sweep = 0

    def put(self, key: str, entry: _Entry, limit: int | None) -> None:
        with self._lock:
            self._now = self._clock()
            if entry.expires_at <= self._now:
                return
            part = self._part(key)
            self._expire(part)
            self._expire(self._next_part())  # in turn, so that idle parts are emptied as well
            if key in part:
                raise KeyTaken("a live token has that key")
            self._retire(entry.owner, limit)
            size = _size(key, entry)
            self._make_room(size)
            part[key] = entry
            self.owners.setdefault(entry.owner, {})[key] = None
            self.count += 1
            self.bytes += size

    def take(self, key: str) -> bytes | None:
        with self._lock:
            self._now = self._clock()
            # One lock around look and removal: no second caller can see the entry in between.
            entry = self._remove(key)
            return entry.value if entry else None

    def revoke(self, owner: str) -> int:
        with self._lock:
            self._now = self._clock()
            keys = list(self.owners.get(owner, ()))
            return sum(self._remove(key) is not None for key in keys)

    def _time(self) -> float:
        return self._now

    def _part(self, key: str) -> TLRUCache[str, _Entry]:
        return self._parts[hash(key) % _PARTS]

    def _next_part(self) -> TLRUCache[str, _Entry]:
        self._sweep = (self._sweep + 1) % _PARTS
        return self._parts[self._sweep]

    def _expire(self, part: TLRUCache[str, _Entry]) -> None:
        for key, entry in part.expire(self._now):
            self._forget(key, entry)

    def _remove(self, key: str) -> _Entry | None:
        part = self._part(key)
        self._expire(part)  # what is left is live
        entry: _Entry | None = part.pop(key, None)
        if entry is not None:
            self._forget(key, entry)
        return entry

    def _retire(self, owner: str, limit: int | None) -> None:
        keys = self.owners.get(owner, {})
        if limit is None or len(keys) < limit:
            return
        # The expired ones do not count. Of many keys each part is looked at once, not once a key.
        parts = (
            list(self._parts.values()) if len(keys) > _PARTS else [self._part(key) for key in keys]
        )
        for part in parts:
            self._expire(part)
        while len(keys) >= limit:
            self._remove(next(iter(keys)))

    def _forget(self, key: str, entry: _Entry) -> None:
        keys = self.owners[entry.owner]
        del keys[key]
        if not keys:
            del self.owners[entry.owner]
        self.count -= 1
        self.bytes -= _size(key, entry)

    def _make_room(self, size: int) -> None:
        # A visitor without an account can have tokens made for any number of made-up sessions.
        # Both bounds refuse the next one once all that has expired is gone. Without the second,
        # large tokens would take all of the machine's memory long before the first is reached.
        most = self._max_bytes - size
        for _ in range(_PARTS + 1):
            if self.count < self._maxsize and self.bytes <= most:
                return
            self._expire(self._next_part())
        if self.count >= self._maxsize:
            raise BackendFull(f"{self._maxsize} live tokens: raise maxsize, or use another backend")
        raise BackendFull(
            f"{self._max_bytes} bytes of live tokens: raise max_bytes, or use another backend"
        )


def _size(key: str, entry: _Entry) -> int:
    # The key twice: a removed item in the heap has a key as well.
    return _OVERHEAD + 2 * len(key) + len(entry.value) + len(entry.owner)


def from_url(url: str) -> MemoryBackend:
    """Make a backend from `memory://` or `memory://?maxsize=100000&max_bytes=67108864`.

    :raises ConfigurationError: another URL. The text does not show it: it may hold a password.
    """
    parts = urlsplit(url)
    if parts.netloc or parts.path:
        raise ConfigurationError(
            "backend: write memory:// or memory://?maxsize=100000&max_bytes=67108864"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not options.keys() <= {"maxsize", "max_bytes"} or not all(
        text.isascii() and text.isdecimal() for text in options.values()
    ):
        raise ConfigurationError(
            "backend: memory:// has two options, maxsize (tokens) and max_bytes, both numbers"
        )
    numbers: dict[str, Any] = {name: int(text) for name, text in options.items()}
    return MemoryBackend(**numbers)
