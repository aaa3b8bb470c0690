"""Keeps the end of a Django session that a handoff created, by the project's own session store.

Django has no place for an end that holds: `_session_expiry` is lost with `clear()` or the app's
next `set_expiry()`; a session that ends with the browser is kept for `SESSION_COOKIE_AGE` after
each change; and the engine `signed_cookies` looks at the signature's age alone. So the end is one
of the session's own values, and the store class of the project is given methods that keep it:
whatever the app does to the session short of `flush()` (its sign-out), the end stays, nothing is
stored longer, and what has ended is loaded as an empty session, by the app as by the adapter.

Sessions without such an end, which are all that the app created itself, are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.utils import timezone

from ..lifetime import moment_of

Method = Callable[..., Any]
Wrap = Callable[[Method], Method]
Edit = Callable[[Any, Any], Any]

#: The session's value that says when it ends: Unix seconds.
END_KEY = "_ott_end"
# The attributes of a store: the end of its session; the key of one that was cleared unread.
_END = "_ott_end"
_UNREAD = "_ott_unread"
# Marks a class with methods that keep ends.
_MARK = "_ott_keeps_ends"


def now() -> datetime:
    """Return the time by Django's clock, with a time zone."""
    return aware(timezone.now())


def aware(moment: datetime) -> datetime:
    """Return a moment with a time zone; one without is in Django's default time zone."""
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    return moment


def set_end(session: Any, end: datetime) -> None:
    """Make a session end at that moment, whatever the app does with its values."""
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
        method = getattr(store, name, None)
        if method is not None:
            setattr(store, name, wrap(method))
    return True


def _edit_result(edit: Edit) -> tuple[Wrap, Wrap]:
    """Return wrappers of a method and of its async twin, by which `edit` changes the result."""

    def wrap(method: Method) -> Method:
        def call(self: Any, **given: Any) -> Any:
            return edit(self, method(self, **given))

        return call

    def wrap_async(method: Method) -> Method:
        async def call(self: Any, **given: Any) -> Any:
            return edit(self, await method(self, **given))

        return call

    return wrap, wrap_async


def _empty_if_ended(session: Any, values: Any) -> Any:
    end = moment_of(values.get(END_KEY))
    setattr(session, _END, end)
    # The engine knows no end, or a later one: the app would go on with a session after the
    # end of its parent. It gets an empty one instead, as Django gives for what has expired.
    if end is not None and end <= now():
        session._session_key = None
        setattr(session, _END, None)
        return {}
    return values


def _clear(method: Method) -> Method:
    def clear(self: Any) -> None:
        # `clear()` of a session that was not read yet never learns its end. The key stays, so that
        # the new values would live on in the old session without one: `save` reads it first.
        if "_session_cache" not in vars(self):
            setattr(self, _UNREAD, self.session_key)
        method(self)

    return clear


def _forget_end(session: Any, result: Any) -> Any:
    # The user has signed out: what follows is the app's own session, under a new key.
    setattr(session, _END, None)
    setattr(session, _UNREAD, None)
    return result


def _save(method: Method) -> Method:
    def save(self: Any, must_create: bool = False) -> Any:
        unread = _take_unread(self)
        if unread is not None:
            unread.load()
        _keep_end(self, unread)
        return method(self, must_create)

    return save


def _asave(method: Method) -> Method:
    async def asave(self: Any, must_create: bool = False) -> Any:
        unread = _take_unread(self)
        if unread is not None:
            await unread.aload()
        _keep_end(self, unread)
        return await method(self, must_create)

    return asave


def _take_unread(session: Any) -> Any:
    """Return the stored session that was cleared before it was read, to be read now; else None."""
    key = getattr(session, _UNREAD, None)
    if key is None:
        return None
    setattr(session, _UNREAD, None)
    stored = type(session)(key)

    def create() -> None:  # what engines do on loading a session that has expired
        stored._session_key = None

    stored.create, stored.delete = create, lambda *_: None
    return stored


def _keep_end(session: Any, unread: Any) -> None:
    if unread is not None:
        setattr(session, _END, getattr(unread, _END))
        if unread.session_key is None:
            # It has ended, or is gone: its key is not given to the new values.
            session._session_key = None
    end = getattr(session, _END, None)
    # The app may have dropped all values that it did not know, or put in those of another session.
    if end is not None and "_session_cache" in vars(session):
        session._session_cache[END_KEY] = end.timestamp()


def _cap_age(session: Any, age: Any) -> Any:
    end = getattr(session, _END, None)
    # Whole seconds, rounded down: a cache would keep the session longer otherwise.
    return age if end is None else min(age, (end - now()) // timedelta(seconds=1))


def _cap_date(session: Any, date: datetime) -> datetime:
    end: datetime | None = getattr(session, _END, None)
    if end is None or aware(date) <= end:
        return date
    zone = timezone.get_default_timezone()
    return timezone.make_naive(end, zone) if timezone.is_naive(date) else end


# The methods of a session store that are replaced. Some async twins came with Django 5.1.
_WRAPPERS: dict[str, Wrap] = {"clear": _clear, "save": _save, "asave": _asave}
for _name, _edit in {
    "load": _empty_if_ended,
    "flush": _forget_end,
    "get_expiry_age": _cap_age,
    "get_expiry_date": _cap_date,
}.items():
    _WRAPPERS[_name], _WRAPPERS[f"a{_name}"] = _edit_result(_edit)
