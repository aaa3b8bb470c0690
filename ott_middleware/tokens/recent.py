"""Remembers the last tokens of this process, to tell why one is not in the backend any more.

A backend returns nothing for a token that was used, has expired or never was: more would have to be
stored after the token is gone. This memory is for the log alone, and decides nothing.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from ..backends.base import Backend
from ..forks import renew_in_children
from ..reasons import Reason


class _Seen(NamedTuple):
    channel: str
    expires_at: float | None
    used_at: float | None


class RecentTokens:
    """Remembers tokens by a hash of 64 bits, from which none of their 192 can be computed.

    :param most: the number of tokens; the oldest is forgotten first.
    """

    def __init__(self, most: int = 2048) -> None:
        self._most = most
        self.renew_after_fork()

    def renew_after_fork(self) -> None:
        """Forget all, and take a new lock: the inherited one may stay locked for ever."""
        self._lock = threading.Lock()
        self._seen: dict[int, _Seen] = {}

    def note_generated(self, backend: Backend, token: str, channel: str, expires_at: float) -> None:
        """Note that a token was put into a backend."""
        self._note(self._name(backend, token), _Seen(channel, expires_at, None))

    def note_used(self, backend: Backend, token: str, channel: str, now: float) -> None:
        """Note that a token was taken from a backend."""
        self._note(self._name(backend, token), _Seen(channel, None, now))

    def why_missing(self, backend: Backend, token: str, channel: str, now: float) -> Reason:
        """Return the reason why a backend does not have a token."""
        seen = self._seen.get(self._name(backend, token))
        if seen is None:
            return Reason("unknown_token", "unknown here: never made, used, revoked or expired")
        if seen.channel != channel:
            return Reason(
                "other_channel", f"made for the channel {seen.channel}, presented as {channel}"
            )
        if seen.used_at is not None:
            return Reason("used_token", f"used already, {_ago(now - seen.used_at)}")
        if seen.expires_at is not None and seen.expires_at <= now:
            return Reason("expired_token", expired_ago(seen.expires_at, now))
        return Reason(
            "unknown_token",
            "made here and gone since: used at another site or process, revoked, or retired by "
            "max_per_session",
        )

    def _name(self, backend: Backend, token: str) -> int:
        # Tokens of a `generate_token` may repeat themselves in another backend.
        return hash((id(backend), token))

    def _note(self, name: int, seen: _Seen) -> None:
        with self._lock:
            self._seen.pop(name, None)  # a token that is seen again is the newest
            self._seen[name] = seen
            if len(self._seen) > self._most:
                del self._seen[next(iter(self._seen))]


def expired_ago(expires_at: float, now: float) -> str:
    """Return, for the log, how long ago a token expired."""
    return f"expired {_ago(now - expires_at)}"


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s ago"


#: Shared by all services of this process.
recent = RecentTokens()
renew_in_children(recent)
