"""Opens the session of a request by the app's session interface, within a context of the app."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import flask

from ...context import handle_in
from ...http.messages import Request
from ..wsgi_environ import environ_of
from .cookies import quote_value
from .lifetime import Limits, limits_of


def is_in_view(app: flask.Flask, request: Request) -> bool:
    """Whether a view of the app asks for the session of the very request that it responds to."""
    handle = handle_in(request.carrier)
    return handle is not None and has_view(app) and handle_in(flask.request.environ) is handle


def has_view(app: flask.Flask) -> bool:
    """Whether a view of the app is being run."""
    return flask.has_request_context() and flask.current_app == app


@contextmanager
def open_session(
    app: flask.Flask, request: Request, *, in_view: bool
) -> Iterator[tuple[Any, Limits]]:
    """Give the session of a request and its limits, within a context of the app.

    :param in_view: whether a view of the app is being run. The view's context serves then: to leave
        another context would tear down what the view still uses.
    """
    environ = environ_of(request)
    if in_view:
        opened = app.session_interface.open_session(app, app.request_class(environ))
        yield opened, limits_of(app, environ, opened)
        return
    # The outer one is new for sure, while a request's own may be shared with what is around.
    with app.app_context(), app.request_context(environ):
        opened = flask.session._get_current_object()  # type: ignore[attr-defined]  # it is a proxy
        yield opened, limits_of(app, environ, opened)


@contextmanager
def open_other_session(
    app: flask.Flask, cookies: Mapping[str, str]
) -> Iterator[tuple[Any, Limits]]:
    """Give the session that a browser with these cookies has, and its limits.

    It is not the session of the request that is being responded to.
    """
    pairs = (f"{name}={quote_value(value)}" for name, value in cookies.items())
    request = Request("GET", "http", "/", headers={"cookie": "; ".join(pairs)})
    with open_session(app, request, in_view=has_view(app)) as found:
        yield found


def key_of(session: Any) -> str | None:
    """Return the key of a session that is kept on a server; None where the cookie is the session.

    Flask's interfaces have no method for the key. `sid` is Flask-Session's name of it, and that of
    the recipes for Redis and others.
    """
    return getattr(session, "sid", None) or None
