"""Finds a Starlette app's `SessionMiddleware`, reads its options, and keeps the ends of sessions.

A layer inside of `SessionMiddleware` keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import Response

from ...concurrency import without_partials
from ...errors import ConfigurationError
from ...http.cookies import CookieAttributes
from ..layers import layers_of
from ..lifetime import END_KEY, holding_quietly, seconds_in, take_quietly

# Stands where an app would, round a SessionMiddleware that is only looked at.
_NOTHING = Response()


def build_middleware(options: Mapping[str, Any]) -> SessionMiddleware:
    """Return a `SessionMiddleware` with these options, round nothing.

    :raises ConfigurationError: no secret, or an option that this Starlette does not have.
    """
    if "secret_key" not in options:
        raise ConfigurationError("app: pass the app, or secret_key= and what else it is told")
    try:
        return SessionMiddleware(_NOTHING, **options)
    except TypeError as error:
        raise ConfigurationError(
            f"{', '.join(options)}: pass what this Starlette's SessionMiddleware takes"
        ) from error


def find_middleware(layers: Iterable[Any]) -> SessionMiddleware:
    """Return the first `SessionMiddleware` among layers, or in the list of a Starlette app.

    :raises ConfigurationError: there is none.
    """
    for layer in layers:
        if isinstance(layer, SessionMiddleware):
            return layer
        for entry in layer.user_middleware if isinstance(layer, Starlette) else ():
            if _is_session_middleware(entry):
                # The stack is not built yet, or was thrown away: made once more, round nothing.
                made = entry.cls(_NOTHING, *entry.args, **entry.kwargs)
                return cast("SessionMiddleware", made)
    raise ConfigurationError(
        "session: this Starlette app has no SessionMiddleware; add it before the app is wrapped "
        "(app.add_middleware(SessionMiddleware, secret_key=...))"
    )


def _is_session_middleware(entry: Middleware) -> bool:
    """Whether an entry of an app's list of middleware makes a `SessionMiddleware`."""
    factory = without_partials(entry.cls)
    return isinstance(factory, type) and issubclass(factory, SessionMiddleware)


def cookie_attributes(middleware: SessionMiddleware) -> CookieAttributes:
    """Return the attributes of the session cookie, which the middleware keeps as text."""
    flags = {
        name.strip().lower(): value.strip()
        for name, _, value in (flag.partition("=") for flag in middleware.security_flags.split(";"))
    }
    return CookieAttributes(
        domain=flags.get("domain"),
        path=middleware.path,
        secure=True if "secure" in flags else None,
        samesite=flags.get("samesite", "lax"),
        max_age=middleware.max_age,
        partitioned="partitioned" in flags,
        httponly="httponly" in flags,
    )


class SessionEnds:
    """Shows the app no session that has ended, and has none saved without its end.

    :param app: what `SessionMiddleware` wraps.
    :param clock: tells the time in Unix seconds.
    """

    def __init__(self, app: Any, clock: Callable[[], float]) -> None:
        self.app = app
        self._clock = clock

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        session = scope.get("session")
        end = seconds_in(session, END_KEY) if isinstance(session, dict) else None
        if end is not None and end <= self._clock():
            # A session that outlives its parent: the app sees an empty one. The session does not
            # notice, so that a response changes the cookie only where the app writes to it.
            dict.clear(session)
            end = None
        if end is None:
            await self.app(scope, receive, send)
            return
        # Out of the session, where `session.clear()` of the app would delete the end.
        take_quietly(session, [END_KEY])

        async def send_with_end(message: Any) -> None:
            # What the app has put in its place, if it did, is what SessionMiddleware will save.
            saved = scope.get("session")
            if message["type"] != "http.response.start" or not isinstance(saved, dict) or not saved:
                await send(message)
                return
            # Put back whatever the app has done to the values: without it, any write would make the
            # session one of this site's full lifetime, or an endless one.
            with holding_quietly(saved, {END_KEY: end}):
                await send(message)

        await self.app(scope, receive, send_with_end)


def guard_app(app: Any, clock: Callable[[], float]) -> bool:
    """Put a `SessionEnds` inside of each `SessionMiddleware` of an app and of what it wraps.

    :return: whether there is any.
    """
    found = False
    for layer in list(layers_of(app)):
        if isinstance(layer, SessionMiddleware):
            _guard_instance(layer, clock)
            found = True
        elif isinstance(layer, Starlette):
            found = _guard_entries(layer, clock) or found
    return found


def _guard_entries(app: Starlette, clock: Callable[[], float]) -> bool:
    entries = app.user_middleware
    places = [at for at, entry in enumerate(entries) if _is_session_middleware(entry)]
    for at in reversed(places):
        following: list[Any] = [entry.cls for entry in entries[at + 1 : at + 2]]
        if following != [SessionEnds]:
            entries.insert(at + 1, Middleware(SessionEnds, clock=clock))
    # The stack is built with the first request: one that is built already is changed as well.
    layer = app.middleware_stack
    while layer is not None:
        if isinstance(layer, SessionMiddleware):
            _guard_instance(layer, clock)
        layer = getattr(layer, "app", None)
    return bool(places)


def _guard_instance(middleware: SessionMiddleware, clock: Callable[[], float]) -> None:
    if not isinstance(middleware.app, SessionEnds):
        middleware.app = SessionEnds(middleware.app, clock)
