"""Flask's session cookies, as the app's own parser reads them and its settings write them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping

import flask
from werkzeug.http import dump_cookie
from werkzeug.test import run_wsgi_app

from ...http.client_text import MAX_COOKIE_HEADER, MAX_COOKIE_VALUE, MAX_QUOTED_PIECES
from ...http.cookies import CookieAttributes
from ...http.messages import Request
from ..wsgi_environ import environ_of

_QUOTES_A_VALUE = re.compile(r'=[ \t]*"')


def cookie_attributes(app: flask.Flask) -> CookieAttributes:
    """Return the attributes of the session cookie, as the app's session interface has them now."""
    interface = app.session_interface
    lifetime = int(app.permanent_session_lifetime.total_seconds())
    # A guess at the interface, since Flask has the method since 3.1.
    partitioned = getattr(interface, "get_cookie_partitioned", lambda app: False)(app)
    return CookieAttributes(
        domain=interface.get_cookie_domain(app),
        path=interface.get_cookie_path(app),
        # False says no more than that the app may be asked by http.
        secure=interface.get_cookie_secure(app) or None,
        samesite=interface.get_cookie_samesite(app) or "",
        max_age=lifetime if lifetime > 0 else None,
        partitioned=partitioned,
        httponly=interface.get_cookie_httponly(app),
    )


def show_app_a_request(app: flask.Flask, request: Request) -> None:
    """Send the app a request without cookies, if it cannot tell its cookie's path before the first.

    A WSGI layer of the app may note its mount prefix when it is called (Calibre-Web's does). If the
    first request of a process is a link, the token would be used up, and no cookie could be set.
    """
    try:
        app.session_interface.get_cookie_path(app)
    except Exception:
        first = request.with_headers({"cookie": None})
        about = {"REQUEST_METHOD": "HEAD", "PATH_INFO": "/", "QUERY_STRING": ""}
        # Whatever the app makes of it: if the path stays unknown, the caller's question fails.
        with contextlib.suppress(Exception):
            run_wsgi_app(app.wsgi_app, {**environ_of(first), **about})


def quote_value(value: str) -> str:
    """Return a cookie's value as it stands in a header."""
    return dump_cookie("name", value, max_size=0).partition("=")[2].partition(";")[0]


def read_cookies(
    app: flask.Flask, request: Request, names: tuple[str, ...]
) -> tuple[Request, dict[str, str]]:
    """Return the request as the app's interface is shown it, and the named cookies' values.

    The app's own parser reads them, so that of several with one name the same one counts.
    """
    header = request.header("cookie") or ""
    # What is absent or too long here is no session's, whatever the parser would make of it.
    names = tuple(name for name in names if any(request.cookies(name)))
    is_long = len(header) > MAX_COOKIE_HEADER
    has_quotes = is_long and _QUOTES_A_VALUE.search(header) is not None
    # Attack: 64 kB of `\;` or `";` in quotes, for each of which the app's parser runs Python.
    # No browser sends so many cookies, and no session cookie of Flask or Flask-Login has an
    # escape. Without the limit, a request costs 8 ms.
    if has_quotes and max(header.count("\\"), header.count(";")) > MAX_QUOTED_PIECES:
        names = ()
    cookies: dict[str, str] = {}
    if names:
        shown = request
        if is_long and not has_quotes:
            # Attack: 64 kB of short cookies, each of which the app's parser matches and keeps. It
            # splits at each `;` that no quoted value holds, so that what lies between two of these
            # is a cookie of the session, or without effect on one.
            one, other = names[0], names[-1]
            kept = [pair for pair in header.split(";") if one in pair or other in pair]
            shown = request.with_headers({"cookie": ";".join(kept)})
        sent = app.request_class(environ_of(shown)).cookies
        cookies = {
            name: sent[name]
            for name in names
            if name in sent and len(sent[name]) <= MAX_COOKIE_VALUE
        }
    # Attack: a header of 64 kB, which Flask, its extensions and the app's callbacks would each
    # parse, verify or look up. From a longer one than browsers send they get the cookies of the
    # session alone, and none that is too long to be one.
    if is_long:
        request = with_only(request, cookies)
    return request, cookies


def with_only(request: Request, cookies: Mapping[str, str]) -> Request:
    """Return a request with these cookies, and no others."""
    pairs = (f"{name}={quote_value(value)}" for name, value in cookies.items())
    return request.with_headers({"cookie": "; ".join(pairs) or None})
