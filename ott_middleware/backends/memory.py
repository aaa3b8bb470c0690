"""Tokens in this process's memory: the embedded default.

Good for one process. A second worker has a memory of its own, where the first one's tokens are
unknown; that is noticed, and logged with the cure. A forked child starts empty: the tokens that
were there stay with the parent, which alone can redeem them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..clock import system_clock
from ..errors import ConfigurationError, check_positive
from ..forks import renew_in_children
from .base import Backend
from .memory_tokens import Tokens
from .worker_check import WorkerCheck


class MemoryBackend(Backend):
    """Tokens in a TTL cache (cachetools) behind one lock.

    :param maxsize: how many live tokens there may be; one more is a `BackendFull`.
    :param max_bytes: how many bytes the live tokens may take, keys, owners and the overhead of
        Python's objects (550 bytes a token) included; a token beyond that is a `BackendFull`.
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
        self._by_process: dict[int, Tokens] = {}
        self._workers = WorkerCheck()
        renew_in_children(self)

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        self._workers.check()
        self._tokens().put(key, (value, owner, expires_at), limit)

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

    def __bool__(self) -> bool:
        """Return True without a token too: `given or MemoryBackend()` takes the given one."""
        return True

    @property
    def held_bytes(self) -> int:
        """How many bytes count against `max_bytes`."""
        return self._tokens().bytes

    def _tokens(self) -> Tokens:
        # Asked for each operation, since some servers fork without Python's knowledge. It costs
        # less than 0.1 µs.
        pid = os.getpid()
        tokens = self._by_process.get(pid)
        if tokens is None:
            # Of two threads that get here at once, both get the tokens of the one that was first.
            new = Tokens(self.maxsize, self.max_bytes, self.clock)
            tokens = self._by_process.setdefault(pid, new)
            for other in [other for other in self._by_process if other != pid]:
                self._by_process.pop(other, None)
        return tokens


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
