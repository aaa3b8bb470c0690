"""Makes a Flask app's session interface keep the end of a session, whatever the app does to it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import flask
from flask.sessions import SecureCookieSessionInterface, SessionInterface

from ..lifetime import (
    END_KEY,
    KEPT_KEY,
    earlier,
    holding_quietly,
    moment_of,
    seconds_in,
    take_quietly,
)
from .signature import SignedCookie

_GUARDED = "_ott_guarded"
_EXTENSION = "ott_middleware"
_FROM_NOW_ON = SessionInterface.get_expiration_time

#: The limits of an open session, in Unix seconds. `END_KEY`: when the session ends; missing where
#: it has no limit beside the framework's own. `KEPT_KEY`: until when the store keeps the session
#: unless the app saves it again; missing if unknown.
Limits = Mapping[str, Any]


def end_of(app: flask.Flask, cookie: str, session: Any, limits: Limits) -> datetime | None:
    """Return when a session ends unless the app renews it: by its limits, and by the framework.

    :param cookie: the cookie's value, by which `session` was opened.
    """
    end, lifetime = moment_of(seconds_in(limits, END_KEY)), app.permanent_session_lifetime
    signed = SignedCookie.read(app, cookie)
    if signed is not None:
        return earlier(end, signed.date + lifetime)
    interface = app.session_interface
    on_server = keeps_on_server(interface)
    # Flask's own says "from now on", which is for the cookie and not for the store.
    if not on_server or type(interface).get_expiration_time is not _FROM_NOW_ON:
        expires = interface.get_expiration_time(app, session)
        if expires and expires.tzinfo is None:
            expires = expires.replace(tzinfo=timezone.utc)
        end = earlier(end, expires)
    if on_server:
        # The store forgets the session that long after the app has saved it, which was some time
        # ago: "from now on" would let a fork outlive the session that it comes from.
        kept = moment_of(seconds_in(limits, KEPT_KEY))
        end = earlier(end, kept or moment_of(time.time() + lifetime.total_seconds()))
    return end


def keeps_on_server(interface: SessionInterface) -> bool:
    """Whether the interface keeps sessions on the server, and only a key in the cookie."""
    return not isinstance(interface, SecureCookieSessionInterface)


def watch_interface(app: flask.Flask, check: Callable[[], None]) -> None:
    """Call `check` now, and again whenever the app has got another session interface."""
    check()
    checks: list[Callable[[], None]] = app.extensions.setdefault(_EXTENSION, [])
    checks.append(check)
    if len(checks) > 1:  # the app's contexts are watched already
        return
    request_context, known = app.request_context, app.session_interface

    def request_context_guarded(environ: Any) -> Any:
        nonlocal known
        # Extensions may replace the interface after the app was wrapped: its successor would open
        # sessions that have ended. An identity test is all that a request pays for.
        if app.session_interface is not known:
            for each in checks:
                each()
            known = app.session_interface
        return request_context(environ)

    app.request_context = request_context_guarded  # type: ignore[method-assign]  # of this app alone


def guard_interface(app: flask.Flask) -> bool:
    """Have the app's interface open no session that has ended, and save none without its end.

    The methods of the object are replaced, so that it stays what it is, for `isinstance` as well.

    :return: False where the object takes no other methods.
    """
    interface = app.session_interface
    if getattr(interface, _GUARDED, False):
        return True
    if "session_interface" not in vars(app):
        # The class's own interface serves other apps of the process, which were not wrapped.
        interface = copy.copy(interface)
    try:
        setattr(interface, _GUARDED, True)
        _guard(interface)
    except AttributeError:  # slots
        return False
    app.session_interface = interface
    return True


def _guard(interface: SessionInterface) -> None:
    open_session, save_session = interface.open_session, interface.save_session
    upsert = getattr(interface, "_upsert_session", None)

    def open_guarded(app: flask.Flask, request: Any) -> Any:
        session = open_session(app, request)
        held: Limits = session or {}
        limits = {key: held[key] for key in (END_KEY, KEPT_KEY) if key in held}
        if session is None or not limits:
            return session
        end = seconds_in(limits, END_KEY)
        if end is not None and end <= time.time():
            # A session that outlives its parent: the app gets the session of a visitor without a
            # cookie. To empty this one instead would leave the visitor an old key.
            environ = {**request.environ, "HTTP_COOKIE": ""}
            session = open_session(app, type(request)(environ))
            # An interface that goes by something else than a cookie would open it once more.
            return session if session is None or END_KEY not in session else None
        # Out of the session, where `session.clear()` of the app would delete the end.
        take_quietly(session, limits)
        request.environ[place_of_limits(app)] = limits
        return session

    def save_guarded(app: flask.Flask, session: Any, response: Any) -> None:
        # A session that the app has emptied is deleted; a value of ours would keep it.
        if not session:
            save_session(app, session, response)
            return
        # The end is put back whatever the app has done to the values meanwhile: without it, a
        # single `clear()` or write would make the session one of this site's full lifetime.
        environ = flask.request.environ if flask.has_request_context() else {}
        limits = environ.get(place_of_limits(app), {})
        end = earlier(seconds_in(limits, END_KEY), seconds_in(session, END_KEY))
        added = {} if end is None else {END_KEY: end}
        if keeps_on_server(interface):
            lifetime = app.permanent_session_lifetime.total_seconds()
            added[KEPT_KEY] = int(time.time() + lifetime)
        with holding_quietly(session, added):
            save_session(app, session, response)

    def upsert_guarded(session_lifetime: timedelta, session: Any, store_id: str) -> Any:
        end = seconds_in(session, END_KEY)
        if end is not None:
            # Flask-Session's store has an expiry of its own, which is the session's end as well.
            left = timedelta(seconds=max(1, math.ceil(end - time.time())))
            session_lifetime = min(session_lifetime, left)
        return upsert(session_lifetime, session, store_id)  # type: ignore[misc]  # it is there

    methods: Any = interface
    methods.open_session, methods.save_session = open_guarded, save_guarded
    if upsert is not None:
        methods._upsert_session = upsert_guarded


def place_of_limits(app: flask.Flask) -> str:
    """Return the key of the environ under which a guarded interface puts a session's limits."""
    # Of several apps that a dispatcher asks with one environ, each has a session of its own.
    return f"ott.session_limits.{id(app)}"
