"""Counts attempts in moving windows: in the memory of this process, or in Redis."""

from __future__ import annotations

import sys
import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..backends.base import Backend
from ..clock import system_clock
from ..forks import renew_in_children

if TYPE_CHECKING:
    from ..backends.redis import RedisBackend

# Some 350 bytes each, where each is of another client: a hundred megabytes.
_MOST_ENTRIES = 300_000


class Storage(Protocol):
    """What counts, as the storages of `limits` do it."""

    def acquire_entry(self, key: str, limit: int, expiry: int) -> bool:
        """Count one entry; False, and nothing counted, if there are `limit` of them already.

        :param expiry: seconds that an entry counts.
        """
        ...

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return the time of the oldest entry that counts (else now), and how many count."""
        ...


class Windows(Storage, Protocol):
    """Moving windows.

    :ivar blocks: whether the methods may wait for a network.
    :ivar now: tells the time in Unix seconds, by which entries count.
    """

    blocks: bool
    now: Callable[[], float]


class MemoryWindows(Windows):
    """Windows in memory, of a limited size. A forked child starts with none.

    Not the `MemoryStorage` of `limits`, which keeps each key for ever, so that a client with many
    addresses fills the memory, and which may lose a count where threads meet.

    :param now: tells the time in Unix seconds.
    """

    blocks = False

    def __init__(self, now: Callable[[], float], most: int = _MOST_ENTRIES) -> None:
        self.now = now
        self._most = most
        self.renew_after_fork()
        renew_in_children(self)

    def renew_after_fork(self) -> None:
        """Forget all, and take a new lock: the inherited one may stay locked for ever."""
        self._lock = threading.Lock()
        # Not deques, of which an empty one takes 760 bytes.
        self._entries: OrderedDict[str, array[float]] = OrderedDict()
        self._size = 0
        self._longest = 0  # seconds that any entry counts

    def acquire_entry(self, key: str, limit: int, expiry: int) -> bool:
        with self._lock:
            times, now = self._current(key, expiry)
            if len(times) >= limit:
                return False
            times.append(now)
            self._entries[key] = times
            self._size += 1
            self._longest = max(self._longest, expiry)
            self._drop_oldest(now)
            return True

    def _drop_oldest(self, now: float) -> None:
        # Attack: a client with many addresses fills the memory. The counts that were not needed for
        # the longest time are dropped; else the process would grow without end.
        while self._size > self._most:
            self._size -= len(self._entries.popitem(last=False)[1])
        # Those that count no more are dropped two at a time, so that no attempt waits for many.
        for _ in range(2):
            key = next(iter(self._entries), "")
            if not key or self._entries[key][-1] > now - self._longest:
                return
            self._size -= len(self._entries.pop(key))

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        with self._lock:
            times, now = self._current(key, expiry)
            return (times[0] if times else now), len(times)

    def _current(self, key: str, expiry: int) -> tuple[array[float], float]:
        """Return the times of the entries that count, and now."""
        now = self.now()
        times = self._entries.pop(key, None) or array("d")
        outdated = bisect_right(times, now - expiry)
        del times[:outdated]
        self._size -= outdated
        if times:
            self._entries[key] = times  # at the end: used last
        return times, now


class RedisWindows(Windows):
    """Windows in the Redis of the backend: all workers and hosts count together.

    :param backend: a `RedisBackend` with a sync client of one server.
    """

    blocks = True

    def __init__(self, backend: RedisBackend) -> None:
        self.now = system_clock  # as `limits`, which takes no other
        self._backend = backend
        self._built: tuple[Any, Storage] | None = None

    def acquire_entry(self, key: str, limit: int, expiry: int) -> bool:
        return self._storage().acquire_entry(key, limit, expiry)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        return self._storage().get_moving_window(key, limit, expiry)

    def _storage(self) -> Storage:
        # A forked child has another pool.
        pool, built = self._backend.pool, self._built
        if built is None or built[0] is not pool:
            from limits.storage.redis import RedisStorage

            prefix = f"{self._backend.key_prefix}:limit"
            storage = RedisStorage("redis://", connection_pool=pool, key_prefix=prefix)
            built = self._built = (pool, cast(Storage, storage))
        return built[1]


def windows_of(backend: Backend | None, now: Callable[[], float]) -> Windows:
    """Return windows in the Redis of a backend, if it has one; else in memory."""
    # Where its module is not imported, no backend is of that class, and redis-py may be missing.
    redis = sys.modules.get("ott_middleware.backends.redis")
    if redis is None or not isinstance(backend, redis.RedisBackend) or backend.pool is None:
        return MemoryWindows(now)
    return RedisWindows(backend)
