"""Reads Django's sessions from their store without changing them, and tells when they end."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.base import VALID_KEY_CHARS, SessionBase
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.cached_db import SessionStore as CachedDatabaseStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.backends.file import SessionStore as FileStore
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.core import signing
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from django.db import connections
from django.utils.timezone import get_default_timezone, make_naive

from ...context import handle_in
from ...http.messages import Request
from ..lifetime import earlier, moment_of
from .ends import END_KEY, aware, keep_ends, now, set_end

# What no engine of Django's has issued never reaches a store: databases and caches have limits of
# their own, and some raise an error or a warning at what exceeds them.
_KEY = re.compile(r"[A-Za-z0-9_.-]{8,128}")
# Where the key is the session itself, it is as long as a cookie may be.
_LONG_KEY = re.compile(r"[!#-+\--:<-\[\]-~]{8,4096}")


def is_self_contained(store: Any) -> bool:
    """Whether the key is the session: another one after every change, and never withdrawn."""
    return issubclass(store, CookieStore)


def is_key(store: Any, key: str) -> bool:
    """Whether a cookie's value may be a session's key in that store."""
    if not issubclass(store, (DatabaseStore, CacheStore, FileStore)):
        return _LONG_KEY.fullmatch(key) is not None
    if _KEY.fullmatch(key) is None:
        return False
    if store._get_new_session_key is not SessionBase._get_new_session_key:
        return True  # an engine with keys of its own
    # Django's keys have no capitals. A table, a cache in a table or a file system may find them in
    # another case, too. Then one session would have several keys: several ids here, a cap on its
    # tokens for each, and a sign-out that revokes the tokens of one.
    return set(key) <= set(VALID_KEY_CHARS)


def reading(store: Any, key: str | None) -> Any:
    """Return a session that is only to be read."""
    session = store(key)
    # Engines replace what has expired by a new, empty session. A look leaves no trace, nor does a
    # middleware of the project that looks along.
    session.create = session.delete = session.save = lambda *_, **__: None
    session.acreate = session.adelete = session.asave = _do_nothing
    return session


async def _do_nothing(*_: Any, **__: Any) -> None:
    pass


def end_of(session: Any) -> datetime | None:
    """Return when a session ends; None if the store has it under another key only.

    Where a cache does not tell when it drops a session, the session counts as saved just now.
    """
    end = _stored_end(session)
    return end and earlier(end, moment_of(session.get(END_KEY)))


def _stored_end(session: Any) -> datetime | None:
    if isinstance(session, DatabaseStore):
        rows = session.model.objects.filter(session_key=session.session_key)
        row = rows.values_list("session_key", "expire_date").first()
        if row is not None:
            # The column's collation may hold the cookie's value and this key for equal. Only the
            # key itself is a session's; see `is_key` for what another spelling would be good for.
            return aware(row[1]) if row[0] == session.session_key else None
    if isinstance(session, (CacheStore, CachedDatabaseStore)):
        # Asked now, the session would seem to have been saved now: each look, and each session that
        # begins from it, would get `SESSION_COOKIE_AGE` anew.
        left = _seconds_left(session._cache, session.cache_key)
        if left is not None:
            return now() + timedelta(seconds=left)
    if isinstance(session, FileStore):
        return aware(session.get_expiry_date(modification=session._last_modification()))
    if isinstance(session, CookieStore):
        # The signature was verified when it was loaded; its time stands before it.
        signed = signing.b62_decode(session.session_key.split(":")[-2])
        saved = datetime.fromtimestamp(signed, timezone.utc)
        end = aware(session.get_expiry_date(modification=saved))
        # This engine never looks at a longer age that the session asks for.
        return min(end, saved + timedelta(seconds=session.get_session_cookie_age()))
    return aware(session.get_expiry_date())


def _seconds_left(cache: Any, key: str) -> float | None:
    """The seconds until a cache drops a key; None if the cache does not tell."""
    if isinstance(cache, LocMemCache):
        drops_at = cache._expire_info.get(cache.make_and_validate_key(key))
        return None if drops_at is None else drops_at - time.time()
    if isinstance(cache, RedisCache):
        name = cache.make_and_validate_key(key)
        left = cache._cache.get_client(name).pttl(name)
    elif hasattr(cache, "pttl"):  # django-redis
        left = cache.pttl(key)
    else:
        return None
    return None if left is None or left < 0 else left / 1000


def tells_end(store: Any) -> bool:
    """Whether the sessions of a store tell when they end, so that none outlives another."""
    if issubclass(store, CacheStore):
        cache = store()._cache
        return isinstance(cache, (LocMemCache, RedisCache)) or hasattr(cache, "pttl")
    return issubclass(store, (DatabaseStore, FileStore, CookieStore))


def limit(session: Any, until: datetime, *, persistent: bool) -> None:
    """Make a new session end at that moment, and with the browser if it is not persistent."""
    keep_ends(type(session))
    set_end(session, until)
    # By Django's own means as well: they hold in processes that do not have this package.
    moment = until if settings.USE_TZ else make_naive(until, get_default_timezone())
    session.set_expiry(moment if persistent else 0)


def is_in_view(request: Request) -> bool:
    """Whether the project's own middleware is at work around the question: a view asks it."""
    handle = _handle_of_view(request)
    # Once the response has begun, the middleware has done its work.
    return handle is not None and not getattr(handle, "_closed", False)


def _handle_of_view(request: Request) -> Any:
    """Return the handle of a request that Django responds to; None for a WebSocket's."""
    # Around a consumer of Channels is neither the project's middleware nor a request's connection.
    is_socket = request.carrier.get("type") == "websocket"
    return None if is_socket else handle_in(request.carrier)


@contextmanager
def database(request: Request | None) -> Iterator[None]:
    """Renew the database's connections as Django does at the edges of a request.

    :param request: the request that the database is asked for, where that is known.
    """
    # Django renews and closes them at the edges of its own requests only. Around a response of this
    # package, a connection that was lost would stay lost, and a new one would stay open. Within a
    # request of the app (its handle is there) a connection is the view's, and may be in use.
    if request is None or _handle_of_view(request) is not None:
        yield
        return
    _close_old()
    try:
        yield
    finally:
        _close_old()


def _close_old() -> None:
    for connection in connections.all(initialized_only=True):
        # A transaction of the app must not be ended here, whatever thread this runs in.
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
