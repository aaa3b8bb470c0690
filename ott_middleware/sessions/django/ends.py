"""The end of a Django session that this package began, kept by the project's own session store.

Django has no place for an end that holds: `_session_expiry` is lost with `clear()` or the app's
next `set_expiry()`; a session that ends with the browser is kept for `SESSION_COOKIE_AGE` after
each change; and the engine `signed_cookies` looks at the signature's age alone. So the end is one
of the session's own values, and the store class of the project is given methods that keep it:
whatever the app does to the session short of `flush()` (its sign-out), the end stays, nothing is
stored longer, and what has ended is loaded as an empty session, by the app as by the adapter.

Sessions without such an end, which are all that the app began itself, are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from datetime import timezone as zones
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.utils import timezone

#: The session's value that says when it ends: Unix seconds.
END_KEY = "_ott_end"
# The attributes of a store: the end of its session; the key of one that was cleared unread.
_END = "_ott_end"
_UNREAD = "_ott_unread"
# Marks a class whose methods keep ends.
_MARK = "_ott_keeps_ends"


def now() -> datetime:
    """The time by Django's clock, with a time zone."""
    return aware(timezone.now())


def aware(moment: datetime) -> datetime:
    """A moment with a time zone, as Django means one without."""
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    return moment


def end_in(values: Any) -> datetime | None:
    """The end among a session's values; None where it has none."""
    end = values.get(END_KEY)
    return None if end is None else datetime.fromtimestamp(end, zones.utc)


def set_end(session: Any, end: datetime) -> None:
    """Have a session end at that moment, whatever becomes of its values."""
    session[END_KEY] = end.timestamp()
    setattr(session, _END, end)


def keep_ends(store: Any) -> bool:
    """Give a session store class the methods that keep ends; once, however often it is asked.

    :return: whether it could be done: the class derives from Django's `SessionBase`.
    """
    if not (isinstance(store, type) and issubclass(store, SessionBase)):
        return False
    if _MARK in vars(store):
        return True
    setattr(store, _MARK, True)
    for name, wrap in _WRAPPERS.items():
        method = getattr(store, name, None)  # some awaited twins came with Django 5.1
        if method is not None:
            setattr(store, name, wrap(method))
    return True


def _load(method: Callable[..., Any]) -> Callable[..., Any]:
    def load(self: Any) -> Any:
        return _unless_ended(self, method(self))

    return load


def _aload(method: Callable[..., Any]) -> Callable[..., Any]:
    async def aload(self: Any) -> Any:
        return _unless_ended(self, await method(self))

    return aload


def _unless_ended(session: Any, values: Any) -> Any:
    end = end_in(values)
    setattr(session, _END, end)
    # The engine knows no end, or a later one: the app would go on with a session whose parent is
    # over. It gets an empty one instead, as Django gives for what has expired.
    if end is not None and end <= now():
        session._session_key = None
        setattr(session, _END, None)
        return {}
    return values


def _clear(method: Callable[..., Any]) -> Callable[..., Any]:
    def clear(self: Any) -> None:
        # `clear()` of a session that was not read yet never learns its end. The key stays, so that
        # the new values would live on in the old session without one: `save` reads it first.
        if "_session_cache" not in vars(self):
            setattr(self, _UNREAD, self.session_key)
        method(self)

    return clear


def _flush(method: Callable[..., Any]) -> Callable[..., Any]:
    def flush(self: Any) -> None:
        method(self)
        _forget(self)

    return flush


def _aflush(method: Callable[..., Any]) -> Callable[..., Any]:
    async def aflush(self: Any) -> None:
        await method(self)
        _forget(self)

    return aflush


def _forget(session: Any) -> None:
    # Signed out: what comes next is the app's own session, under a new key.
    setattr(session, _END, None)
    setattr(session, _UNREAD, None)


def _save(method: Callable[..., Any]) -> Callable[..., Any]:
    def save(self: Any, must_create: bool = False) -> Any:
        if (unread := _unread(self)) is not None:
            unread.load()
            _take_over(self, unread)
        _put_back(self)
        return method(self, must_create)

    return save


def _asave(method: Callable[..., Any]) -> Callable[..., Any]:
    async def asave(self: Any, must_create: bool = False) -> Any:
        if (unread := _unread(self)) is not None:
            await unread.aload()
            _take_over(self, unread)
        _put_back(self)
        return await method(self, must_create)

    return asave


def _unread(session: Any) -> Any:
    """The stored session whose values were cleared before they were read, to be read now."""
    key = getattr(session, _UNREAD, None)
    if key is None:
        return None
    setattr(session, _UNREAD, None)
    stored = type(session)(key)

    def create() -> None:  # what engines do on loading a session that has expired
        stored._session_key = None

    stored.create, stored.delete = create, lambda *_: None
    return stored


def _take_over(session: Any, stored: Any) -> None:
    setattr(session, _END, getattr(stored, _END))
    if stored.session_key is None:
        # It has ended, or is gone: its key is not given to the new values.
        session._session_key = None


def _put_back(session: Any) -> None:
    end = getattr(session, _END, None)
    # The app may have dropped all values that it did not know, or put in those of another session.
    if end is not None and "_session_cache" in vars(session):
        session._session_cache[END_KEY] = end.timestamp()


def _get_expiry_age(method: Callable[..., Any]) -> Callable[..., Any]:
    def get_expiry_age(self: Any, **given: Any) -> Any:
        return _bounded_age(self, method(self, **given))

    return get_expiry_age


def _aget_expiry_age(method: Callable[..., Any]) -> Callable[..., Any]:
    async def aget_expiry_age(self: Any, **given: Any) -> Any:
        return _bounded_age(self, await method(self, **given))

    return aget_expiry_age


def _bounded_age(session: Any, age: Any) -> Any:
    end = getattr(session, _END, None)
    # Whole seconds, rounded down: a cache would keep the session longer otherwise.
    return age if end is None else min(age, (end - now()) // timedelta(seconds=1))


def _get_expiry_date(method: Callable[..., Any]) -> Callable[..., Any]:
    def get_expiry_date(self: Any, **given: Any) -> Any:
        return _bounded_date(self, method(self, **given))

    return get_expiry_date


def _aget_expiry_date(method: Callable[..., Any]) -> Callable[..., Any]:
    async def aget_expiry_date(self: Any, **given: Any) -> Any:
        return _bounded_date(self, await method(self, **given))

    return aget_expiry_date


def _bounded_date(session: Any, date: datetime) -> datetime:
    end = getattr(session, _END, None)
    if end is None or aware(date) <= end:
        return date
    bounded: datetime = end
    if timezone.is_naive(date):
        bounded = timezone.make_naive(end, timezone.get_default_timezone())
    return bounded


_WRAPPERS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "load": _load,
    "aload": _aload,
    "clear": _clear,
    "flush": _flush,
    "aflush": _aflush,
    "save": _save,
    "asave": _asave,
    "get_expiry_age": _get_expiry_age,
    "aget_expiry_age": _aget_expiry_age,
    "get_expiry_date": _get_expiry_date,
    "aget_expiry_date": _aget_expiry_date,
}
