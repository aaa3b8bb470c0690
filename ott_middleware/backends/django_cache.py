"""Tokens in Django's cache framework.

A cache has no command that reads and deletes. So each `put` stores two entries: the value, and a
ticket under a random name that is never used again. `take` reads the value and deletes its ticket:
`delete()` returns `True` to one caller alone, and that caller gets the value. It takes a cache
whose `delete()` can be trusted with that:

======================  ============================================================================
Redis                   yes: the server counts what it deleted
Memcached               yes, unless the client is told not to wait for replies (`no reply`)
local memory            yes, under its lock; for one process, like `MemoryBackend`
database                no: a request that is rolled back brings back what it deleted
files                   no: `add()` overwrites what another process added in the meantime
dummy                   no: it keeps nothing
======================  ============================================================================

A cache may drop entries when it is short of room (local memory beyond its `MAX_ENTRIES`, 300 by
default, which is room for 150 tokens): the link of a dropped entry no longer works, nothing worse.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import secrets
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from ..clock import system_clock
from ..errors import (
    BackendUnavailable,
    ConfigurationError,
    KeyTaken,
    NotSupported,
    OTTError,
    missing_library,
)
from .base import Backend

logger = logging.getLogger("ott_middleware")

_NONCE_BYTES = 16
# When the value expires (Unix seconds), and the nonce that its ticket is named by.
_HEAD = struct.Struct(f">d{_NONCE_BYTES}s")


class DjangoCacheBackend(Backend):
    """Tokens in one of the caches in Django's `CACHES`; see this module for which.

    It can neither revoke nor count: `revoke` raises `NotSupported`, `max_per_session` has no
    effect, and one log line says so. Make it after Django's settings are there: in `wsgi.py` or
    `asgi.py`, after `get_wsgi_application()`.

    :param alias: the cache's name in `CACHES`.
    :param delete_is_atomic: you have made sure that of all concurrent `delete()` calls for one key
        one alone returns `True`, and that `add()` overwrites nothing: for a cache that is none of
        Django's own.
    :param clock: tells the time in Unix seconds.
    :raises ConfigurationError: no such cache, or none that can be trusted.
    """

    can_revoke = False

    def __init__(
        self,
        alias: str = "default",
        *,
        delete_is_atomic: bool = False,
        clock: Callable[[], float] = system_clock,
    ) -> None:
        try:
            from django.core.cache import caches
            from django.core.exceptions import ImproperlyConfigured
        except ImportError as error:
            raise missing_library("DjangoCacheBackend", error, "django") from None
        try:
            cache = caches[alias]
        except (ImproperlyConfigured, ImportError) as error:
            raise ConfigurationError(
                f"alias: {alias!r}; no cache of that name can be made ({type(error).__name__}): "
                "name one of CACHES, with what it needs installed, after Django is set up"
            ) from None
        reason = None if delete_is_atomic else _distrust(cache)
        if reason is not None:
            raise ConfigurationError(f"alias: {alias!r} is a {type(cache).__name__}: {reason}")
        self.clock = clock
        self.shared = type(cache).__name__ != "LocMemCache"
        self._make: Callable[[], Any] = partial(caches.create_connection, alias)
        self._idle: list[Any] = []
        self._process = os.getpid()
        logger.warning(
            "DjangoCacheBackend: tokens can't be revoked (signing out leaves them live until they "
            "expire), and neither max_per_session nor the limit of a network's tokens has an "
            "effect%s",
            "" if self.shared else _IN_ONE_PROCESS,
        )

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        now = self.clock()
        if expires_at <= now:
            return
        name = _name(key)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        ticket = _ticket(nonce)
        held = _HEAD.pack(expires_at, nonce) + value
        seconds = math.ceil(expires_at - now)
        with self._cache() as cache:
            # The ticket is stored first: a value whose ticket is missing counts as used.
            if not cache.add(ticket, b"1", timeout=seconds + _TICKET_MARGIN):
                raise BackendUnavailable("the cache would not store a token")
            if cache.add(name, held, timeout=seconds):
                return
            try:
                self._make_way(cache, name)
                if not cache.add(name, held, timeout=seconds):
                    raise BackendUnavailable("the cache would not store a token")
            except OTTError:
                cache.delete(ticket)
                raise

    def take(self, key: str) -> bytes | None:
        name = _name(key)
        with self._cache() as cache:
            found = _Entry.read(cache.get(name))
            if found is None or found.expires_at <= self.clock():
                return None
            # Any number of callers may have read this value, and since then it may have been
            # redeemed and another value stored under the same name (a `generate_token` whose texts
            # recur). The ticket belongs to this very value: its name is random and never stored
            # again, so its deletion succeeds once. Were the value's own entry deleted instead, a
            # slow caller would delete the newer value and return this one a second time.
            if not cache.delete(found.ticket):
                return None
            # Only the caller that deleted the ticket removes the value: no other call may delete
            # what is stored under this name. Once expired, the entry makes way by itself, and the
            # name may already hold a newer value.
            if found.expires_at > self.clock():
                cache.delete(name)
            return found.value

    def _make_way(self, cache: Any, name: str) -> None:
        """Remove the entry under a name if its value has expired by this package's clock.

        :raises KeyTaken: the value is live, or another call is removing it at this moment.
        """
        found = _Entry.read(cache.get(name))
        if found is None:
            return
        # Of two calls that find the same expired entry, the one that gets its ticket removes it.
        # Without that, the second would delete the live value that the first has just stored.
        if found.expires_at > self.clock() or not cache.delete(found.ticket):
            raise KeyTaken("a live token has that key")
        cache.delete(name)

    def revoke(self, owner: str) -> int:
        raise NotSupported("a Django cache can't tell which session a token belongs to")

    def close(self) -> None:
        """Close the connections that are not in use."""
        idle = self._own_idle()
        while idle:
            idle.pop().close()

    def _own_idle(self) -> list[Any]:
        """Return the idle connections of this process; a forked child starts with none."""
        if self._process != os.getpid():
            # Failure: two threads of a child get here at once. The list is replaced first, so that
            # a thread that finds the child's process id finds the child's list. The other way
            # round, it would take a connection of the parent, and read the parent's reply.
            self._idle = []
            self._process = os.getpid()
        return self._idle

    @contextmanager
    def _cache(self) -> Iterator[Any]:
        """A cache object that no other thread uses meanwhile.

        Django's own belong to a thread and a request, which there is none of here: it would make
        a new one, and a new connection, for each operation of an ASGI app. Some of them are not
        safe for two threads, and none but Redis for two processes.
        """
        idle = self._own_idle()
        try:
            cache = idle.pop()
        except IndexError:
            cache = self._make()
        broken = True
        try:
            yield cache
            broken = False
        except OTTError:
            broken = False
            raise
        finally:
            # The rest of a reply must not reach the next caller. A connection goes back to the
            # list that it is from: after a fork amid an operation, the child's list is another.
            cache.close() if broken else idle.append(cache)


class _Entry(NamedTuple):
    """A stored value, with what decides about it."""

    expires_at: float
    ticket: str
    value: bytes

    @classmethod
    def read(cls, held: bytes | None) -> _Entry | None:
        """The entry that `put` stored; None where there is none."""
        if held is None:
            return None
        expires_at, nonce = _HEAD.unpack_from(held)
        return cls(expires_at, _ticket(nonce), held[_HEAD.size :])


# Seconds that a ticket stays longer than its value, so that a value never lacks it for being late.
_TICKET_MARGIN = 60
_IN_ONE_PROCESS = ", and a LocMemCache serves one process, dropping tokens beyond its MAX_ENTRIES"


def _distrust(cache: Any) -> str | None:
    """Why the result of a cache's `delete()` cannot decide which caller wins; None if it can."""
    from django.core.cache.backends import db, dummy, filebased, locmem, memcached, redis

    if isinstance(cache, db.DatabaseCache):
        return (
            "a transaction that is rolled back would bring back a redeemed token; use "
            "SQLAlchemyBackend with that database, or a Redis or Memcached cache"
        )
    if isinstance(cache, filebased.FileBasedCache):
        return (
            "its add() can overwrite a live token; use SQLiteBackend, or a Redis or Memcached cache"
        )
    if isinstance(cache, dummy.DummyCache):
        return "it keeps nothing; name another of CACHES, or use MemoryBackend"
    if isinstance(cache, memcached.BaseMemcachedCache):
        options = cache._options
        behaviors = options.get("behaviors") or {}
        if options.get("default_noreply") or behaviors.get("_noreply"):
            return "its delete() says True without asking; take the noreply out of its OPTIONS"
        return None
    if isinstance(cache, (redis.RedisCache, locmem.LocMemCache)):
        return None
    return (
        "whether its delete() says True to one caller alone is unknown; make sure that it does and "
        "pass delete_is_atomic=True, or use RedisBackend"
    )


def _name(key: str) -> str:
    # Short and of plain characters, as caches want their keys.
    return f"ott:{hashlib.sha256(key.encode()).hexdigest()}"


def _ticket(nonce: bytes) -> str:
    return f"ott:ticket:{nonce.hex()}"
