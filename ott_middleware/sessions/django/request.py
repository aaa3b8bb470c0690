"""Reads cookies as Django does, and signs a user in by Django's own functions."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import login
from django.contrib.messages.storage import default_storage
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware, rotate_token
from django.utils.functional import SimpleLazyObject

from ...http.client_text import last_cookie, parse_cookies
from ...http.cookies import Cookie
from ...http.encoding import visible
from ...http.messages import Request

_SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")


def cookie_of(request: Request, name: str) -> str | None:
    """Return a request's cookie as Django reads it: of several with one name, the last.

    No other cookie is read: on Pythons with CVE-2024-7592 Django's own parser takes seconds for a
    header of 64 kB of backslashes.

    :return: None where there is none, or it is too long.
    """
    return last_cookie(_cookie_header(request), name)


def _cookie_header(request: Request) -> str:
    header = request.header("cookie") or ""
    if "REQUEST_METHOD" in request.carrier:
        # Django's WSGI handler reads the header as UTF-8, and strips every blank from a name. Read
        # in another way, a planted cookie (U+2000 before its name) would be the session of the app
        # and another one that of the adapter.
        header = header.encode("latin-1", "replace").decode("utf-8", "replace")
    return header


def begin_session(
    request: Request, user: Any, store: Any, *, backend: str, data: Mapping[str, Any]
) -> list[Cookie]:
    """Sign a user in to a new session and save it; return the other cookies that Django sets.

    :param store: the new session, empty.
    :param backend: the authentication backend that knows the user.
    :param data: further values of the session.
    """
    inner, response = django_request(request), HttpResponse()
    inner.session = store
    # Receivers of `user_logged_in` may leave messages.
    messages = apps.is_installed("django.contrib.messages")
    if messages:
        inner._messages = default_storage(inner)
    login(inner, user, backend=backend)
    if messages:
        inner._messages.update(response)
    store.update(dict(data))
    _renew_csrf(request, inner, response)
    store.save()
    return _cookies_set_by(response)


def renew_forms(request: Request) -> list[Cookie]:
    """Return the cookies of a new CSRF secret, for a browser that gets another session."""
    inner, response = HttpRequest(), HttpResponse()
    _renew_csrf(request, inner, response)
    return _cookies_set_by(response)


def django_request(request: Request) -> Any:
    """Return what Django's handler would make of a request, its body left unread."""
    from django.contrib.auth.models import AnonymousUser  # needs the apps to be loaded

    # A copy: what is noted on it (by `login`, by receivers of its signal) is not the app's.
    carrier: dict[str, Any] = {**request.carrier}
    # Attacks: a Content-Type with 64 kB of parameters, and a cookie of 64 kB of backslashes. Each
    # takes Django's parsers seconds. There is no body here, so it needs no type; the cookies are
    # parsed in linear time, and only for a receiver of a signal that asks for them.
    if "REQUEST_METHOD" in carrier:
        carrier.update({"wsgi.url_scheme": request.scheme, "REQUEST_METHOD": request.method})
        carrier.update({"wsgi.input": BytesIO(), "CONTENT_LENGTH": "0", "CONTENT_TYPE": ""})
        inner = WSGIRequest(carrier)
    elif "headers" in carrier:
        headers = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in request.headers.items()
            if name != "content-type"
        ]
        carrier.update({"method": request.method, "scheme": request.scheme, "headers": headers})
        # Servers pass any bytes; Django would fail over those that are no UTF-8.
        carrier["query_string"] = visible(request.query).encode("ascii")
        inner = ASGIRequest(carrier, BytesIO())
    else:
        inner = HttpRequest()
    inner.COOKIES = SimpleLazyObject(lambda: parse_cookies(_cookie_header(request)))
    inner.user = AnonymousUser()
    return inner


def _renew_csrf(request: Request, inner: Any, response: Any) -> None:
    """Have a new CSRF secret replace the one that the browser had before the sign-in.

    An attacker may have planted that one. `login` rotates it for the same reason.
    """
    if "CSRF_COOKIE" not in inner.META:
        rotate_token(inner)
    if not settings.CSRF_USE_SESSIONS:
        if cookie_of(request, settings.CSRF_COOKIE_NAME) is None:
            return  # Django makes one when it is needed
        # A form that was sent along with the token: the app is about to compare the two.
        if request.links and request.method not in _SAFE:
            return
    CsrfViewMiddleware(lambda _: response).process_response(inner, response)


def _cookies_set_by(response: Any) -> list[Cookie]:
    return [
        Cookie(
            name,
            morsel.coded_value,
            max_age=int(morsel["max-age"]) if morsel["max-age"] != "" else None,
            domain=morsel["domain"] or None,
            path=morsel["path"] or "/",
            # Off is Django's default, not a wish: over https it is on.
            secure=True if morsel["secure"] or morsel["samesite"] == "None" else None,
            httponly=bool(morsel["httponly"]),
            samesite=morsel["samesite"],
        )
        for name, morsel in response.cookies.items()
    ]
