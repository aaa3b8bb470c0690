"""Tokens in Django's cache framework.

A cache has no command that reads and deletes, so that `take` reads, deletes, and looks at the
answer: `delete()` says `True` to one caller alone, and that one has the value. It takes a cache
whose answer can be trusted with that:

======================  ============================================================================
Redis                   yes: the server counts what it deleted
Memcached               yes, unless the client is told not to wait for answers (`no reply`)
local memory            yes, under its lock; for one process, like `MemoryBackend`
database                no: a request that is rolled back brings back what it deleted
files                   no: `add()` overwrites what another process added in the meantime
dummy                   no: it keeps nothing
======================  ============================================================================

A cache may drop what it likes when it is short of room (local memory beyond its `MAX_ENTRIES`, 300
by default): the link is dead then, and nothing worse.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ..errors import BackendUnavailable, ConfigurationError, KeyTaken, NotSupported, OTTError
from .base import Backend

logger = logging.getLogger("ott_middleware")

_EXPIRY = struct.Struct(">d")


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
        clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            from django.core.cache import caches
            from django.core.exceptions import ImproperlyConfigured
        except ModuleNotFoundError:
            raise ConfigurationError(
                "django: DjangoCacheBackend needs it; pip install django"
            ) from None
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
        self._make: Callable[[], Any] = partial(caches.create_connection, alias)
        self._idle: list[Any] = []
        self._process = os.getpid()
        logger.warning(
            "DjangoCacheBackend: tokens can't be revoked (signing out leaves them live until they "
            "expire), and neither max_per_session nor the limit of a network's tokens has an "
            "effect%s",
            _IN_ONE_PROCESS if type(cache).__name__ == "LocMemCache" else "",
        )

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        now = self.clock()
        if expires_at <= now:
            return
        name = _name(key)
        held = _EXPIRY.pack(expires_at) + value
        seconds = math.ceil(expires_at - now)
        with self._cache() as cache:
            if cache.add(name, held, timeout=seconds):
                return
            if self._opened(cache.get(name)) is not None:
                raise KeyTaken("a live token has that key")
            # What is there has expired: by this package's clock, which is not the cache's.
            cache.delete(name)
            if not cache.add(name, held, timeout=seconds):
                raise BackendUnavailable("the cache would not store a token")

    def take(self, key: str) -> bytes | None:
        name = _name(key)
        with self._cache() as cache:
            value = self._opened(cache.get(name))
            # Any number of callers may have read the value. Whom the cache tells that it deleted it
            # has it; there is one. (Tokens are random: no other value gets that name meanwhile.)
            return value if value is not None and cache.delete(name) else None

    def revoke(self, owner: str) -> int:
        raise NotSupported("a Django cache can't tell whose tokens it holds")

    async def arevoke(self, owner: str) -> int:
        return self.revoke(owner)

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _cache(self) -> Iterator[Any]:
        """A cache object that nobody else uses meanwhile.

        Django's own belong to a thread and a request, which there is none of here: it would make
        a new one, and a new connection, for each operation of an ASGI app. Some of them are not
        safe for two threads, and none but Redis for two processes.
        """
        if self._process != os.getpid():
            self._process, self._idle = os.getpid(), []
        try:
            cache = self._idle.pop()
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
            # The rest of an answer must not reach the next caller.
            cache.close() if broken else self._idle.append(cache)

    def _opened(self, held: bytes | None) -> bytes | None:
        if held is None or _EXPIRY.unpack_from(held)[0] <= self.clock():
            return None
        return held[_EXPIRY.size :]


_IN_ONE_PROCESS = ", and a LocMemCache serves one process, dropping tokens beyond its MAX_ENTRIES"


def _distrust(cache: Any) -> str | None:
    """Why the answer of a cache's `delete()` can't decide who wins; None if it can."""
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
