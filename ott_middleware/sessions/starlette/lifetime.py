"""A layer inside of Starlette's `SessionMiddleware` that keeps the end of a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware

from ..layers import layers_of
from ..lifetime import END_KEY, seconds_in, take_quietly, unnoticed
from .middleware import is_session_middleware


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
            with unnoticed(saved, {END_KEY: end}):
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
    places = [at for at, entry in enumerate(entries) if is_session_middleware(entry)]
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
