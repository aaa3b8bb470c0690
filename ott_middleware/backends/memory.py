"""Tokens in this process's memory: the embedded default.

Good for one process. A second worker has a memory of its own, where the first one's tokens are
unknown; that is noticed, and logged with the cure.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from cachetools import TLRUCache

from ..errors import BackendFull, ConfigurationError, KeyTaken
from .base import Backend

logger = logging.getLogger("ott_middleware")

# A cache drops all that expired together in one call. Split by key, each call's share is small: a
# 256th, so that 100,000 tokens expiring at once hold nobody up for more than a few milliseconds.
_PARTS = 256


class _Entry(NamedTuple):
    value: bytes
    owner: str
    expires_at: float


class MemoryBackend(Backend):
    """Tokens in a TTL cache (cachetools) behind one lock.

    :param maxsize: how many live tokens there may be; one more is a `BackendFull`.
    :param clock: tells the time in Unix seconds.
    :raises ConfigurationError: `maxsize` is no positive number.
    """

    blocks = False

    def __init__(self, maxsize: int = 100_000, *, clock: Callable[[], float] = time.time) -> None:
        if isinstance(maxsize, bool) or not isinstance(maxsize, int) or maxsize < 1:
            raise ConfigurationError(f"maxsize: {maxsize!r}; use a positive number of tokens")
        self.maxsize = maxsize
        self.clock = clock
        self._lock = threading.Lock()
        self._now = 0.0
        # The parts read the time of the operation, not the clock: between two looks at a clock an
        # entry could expire and be dropped unseen, and its owner would keep it counted for ever.
        self._parts: list[TLRUCache[str, _Entry]] = [
            TLRUCache(sys.maxsize, ttu=lambda _, entry, now: entry.expires_at, timer=self._time)
            for _ in range(_PARTS)
        ]
        self._owners: dict[str, dict[str, None]] = {}  # owner → keys, oldest first
        self._count = 0
        self._sweep = 0
        self._process = _Process()

    def _time(self) -> float:
        return self._now

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        self._process.check()
        with self._lock:
            self._now = self.clock()
            if expires_at <= self._now:
                return
            part = self._part(key)
            self._expire(part)
            self._expire(self._next_part())  # in turn, so that idle parts are emptied as well
            if key in part:
                raise KeyTaken("a live token has that key")
            self._retire(owner, limit)
            self._make_room()
            part[key] = _Entry(value, owner, expires_at)
            self._owners.setdefault(owner, {})[key] = None
            self._count += 1

    def take(self, key: str) -> bytes | None:
        self._process.check()
        with self._lock:
            self._now = self.clock()
            # One lock around look and removal: no second caller can see the entry in between.
            entry = self._remove(key)
            return entry.value if entry else None

    def revoke(self, owner: str) -> int:
        with self._lock:
            self._now = self.clock()
            keys = list(self._owners.get(owner, ()))
            return sum(self._remove(key) is not None for key in keys)

    async def aput(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        self.put(key, value, expires_at=expires_at, owner=owner, limit=limit)

    async def atake(self, key: str) -> bytes | None:
        return self.take(key)

    async def arevoke(self, owner: str) -> int:
        return self.revoke(owner)

    async def aclose(self) -> None:
        self.close()

    def __len__(self) -> int:
        """How many tokens are held, those not yet swept after their expiry included."""
        return self._count

    def _part(self, key: str) -> TLRUCache[str, _Entry]:
        return self._parts[hash(key) % _PARTS]

    def _next_part(self) -> TLRUCache[str, _Entry]:
        self._sweep = (self._sweep + 1) % _PARTS
        return self._parts[self._sweep]

    def _expire(self, part: TLRUCache[str, _Entry]) -> None:
        for key, entry in part.expire(self._now):
            self._forget(key, entry.owner)

    def _remove(self, key: str) -> _Entry | None:
        part = self._part(key)
        self._expire(part)  # what is left is live
        entry: _Entry | None = part.pop(key, None)
        if entry is not None:
            self._forget(key, entry.owner)
        return entry

    def _retire(self, owner: str, limit: int | None) -> None:
        keys = self._owners.get(owner, {})
        if limit is None or len(keys) < limit:
            return
        # The expired ones do not count. Of many keys each part is looked at once, not once a key.
        parts = self._parts if len(keys) > _PARTS else [self._part(key) for key in keys]
        for part in parts:
            self._expire(part)
        while len(keys) >= limit:
            self._remove(next(iter(keys)))

    def _forget(self, key: str, owner: str) -> None:
        keys = self._owners[owner]
        del keys[key]
        if not keys:
            del self._owners[owner]
        self._count -= 1

    def _make_room(self) -> None:
        # Before refusing anybody: what has expired in the other parts takes no room.
        for _ in range(_PARTS + 1):
            if self._count < self.maxsize:
                return
            self._expire(self._next_part())
        raise BackendFull(f"{self.maxsize} live tokens: raise maxsize, or use another backend")


_ONE_PROCESS = (
    "MemoryBackend: %s. A token made in one process is unknown in the others, so that links fail "
    "by chance. Run one process, or give all of them one store: "
    "OTTMiddleware(app, backend=...) with a backend that is shared."
)


class _Process:
    """Notices that there is more than one process, and says so once."""

    _warned = False
    _seen: ClassVar[dict[int, object]] = {}

    def __init__(self) -> None:
        self._pid = os.getpid()
        workers = os.environ.get("WEB_CONCURRENCY", "")
        if workers.isdecimal() and int(workers) > 1:
            self._warn(f"WEB_CONCURRENCY is {workers}")

    def check(self) -> None:
        """Compare the process that asks with those seen before."""
        pid = os.getpid()
        if self._pid != pid:
            self._pid = pid
            self._warn("the process was forked after this backend was made")
        # Of two threads that get here at once, one claims: the other would find the name taken, and
        # by its own process.
        mine = object()
        if pid not in _Process._seen and _Process._seen.setdefault(pid, mine) is mine:
            self._claim_workers_name()

    def _claim_workers_name(self) -> None:
        # Workers of one server have one parent and one command line. The first of them to get here
        # takes a name (in Linux's abstract namespace: no file, gone with the process); whoever
        # finds it taken is the second.
        if not sys.platform.startswith("linux"):
            return
        try:
            where = (os.getppid(), os.getuid(), os.getcwd(), sys.argv)
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        except OSError:
            return  # a sandbox without such sockets: no reason to refuse tokens
        name = hashlib.sha256(repr(where).encode("utf-8", "replace")).hexdigest()
        try:
            claim.bind(b"\0ott_middleware:" + name.encode("ascii"))
        except OSError as error:
            claim.close()
            if error.errno == errno.EADDRINUSE:
                self._warn("a second worker process runs this app")
            return
        # Held until this process ends, and by no child, which might live on.
        atexit.register(claim.close)
        os.register_at_fork(after_in_child=claim.close)

    def _warn(self, what: str) -> None:
        if not _Process._warned:
            _Process._warned = True
            logger.warning(_ONE_PROCESS, what)
