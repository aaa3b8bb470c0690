"""Opens the session of a request by the app's session interface, as for a view of the app.

The app's `before_request` functions run before, and its `teardown_request` functions after: an app
may choose a tenant there, or open a database, and close it. A `before_request` function may respond
in place of the view, as to a signed-out visitor. What that means depends on the question:

- "Which session may be handed on?": none. The app would not serve that user.
- "Is a session alive, for which user?" at redemption, and "Which session must a link not replace?":
  the response is ignored. The app's functions run before each of its views in any case, and a link
  to a path that the app keeps from its visitor must not count as one for a visitor without a
  session.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import flask
from werkzeug.exceptions import HTTPException

from ...context import handle_in
from ...http.messages import Request
from ..framework import Responded
from ..wsgi_environ import environ_of
from .lifetime import Limits, place_of_limits


def is_in_view(app: flask.Flask, request: Request) -> bool:
    """Whether a view of the app asks for the session of the very request that it responds to."""
    handle = handle_in(request.carrier)
    return handle is not None and has_view(app) and handle_in(flask.request.environ) is handle


def has_view(app: flask.Flask) -> bool:
    """Whether a view of the app is being run."""
    return flask.has_request_context() and flask.current_app == app


class Opened(NamedTuple):
    """An open session.

    :ivar session: as a view of the app has it.
    :ivar limits: the session's limits.
    :ivar values: what the cookie or the store held, before a function of the app changed it.
    """

    session: Any
    limits: Limits
    values: dict[str, Any]

    @classmethod
    def of(cls, app: flask.Flask, environ: dict[str, Any], session: Any) -> Opened:
        """Return the session that was opened for a request with that environ."""
        values = dict(session or {})
        # A guarded interface has moved the limits from the session to the request.
        return cls(session, environ.get(place_of_limits(app), values), values)


@contextmanager
def open_session(
    app: flask.Flask, request: Request, *, in_view: bool, must_serve: bool = False
) -> Iterator[Opened]:
    """Give the session of a request, within a context of the app.

    :param in_view: whether a view of the app is being run. The view's context serves then: to leave
        another context would tear down what the view still uses.
    :param must_serve: whether a response of a `before_request` function is an error.
    :raises Responded: there is such a response.
    """
    environ = environ_of(request)
    if in_view:
        opened = app.session_interface.open_session(app, app.request_class(environ))
        yield Opened.of(app, environ, opened)
        return
    if request.method not in ("GET", "HEAD"):
        # The body is the view's, and a form's protection (CSRF) would refuse a request without it.
        environ["REQUEST_METHOD"] = "GET"
    # The outer one is new for sure, while a request's own may be shared with what is around.
    with app.app_context(), app.request_context(environ):
        opened = flask.session._get_current_object()  # type: ignore[attr-defined]  # it is a proxy
        found = Opened.of(app, environ, opened)
        # Without it, a `teardown_request` function would close what was never opened, and a store
        # of several tenants would be asked for no tenant's users.
        try:
            responded = app.preprocess_request() is not None
        except HTTPException:  # by `abort()`
            responded = True
        if responded and must_serve:
            raise Responded
        yield found


def key_of(session: Any) -> str | None:
    """Return the key of a session that is kept on a server; None where the cookie is the session.

    Flask's interfaces have no method for the key. `sid` is Flask-Session's name of it, and that of
    the recipes for Redis and others.
    """
    return getattr(session, "sid", None) or None
