"""A request as Django knows one, to sign a user in by, and the cookies that its response sets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.messages.storage import default_storage
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware, rotate_token
from django.utils.functional import SimpleLazyObject

from ...http.client_text import last_cookie, parse_cookies
from ...http.cookies import Cookie
from ...http.encoding import visible
from ...http.messages import Request

_SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")


class Cookies:
    """A request's cookies as Django reads them: of several with one name, the last.

    Each is read when it is asked for, and no other: on Pythons with CVE-2024-7592 Django's own
    parser takes seconds for a header of 64 kB of backslashes.
    """

    def __init__(self, header: str) -> None:
        self._header = header

    def __contains__(self, name: str) -> bool:
        return last_cookie(self._header, name) is not None

    def get(self, name: str, default: str = "") -> str:
        """The value of a cookie, or the default where there is none or it is too long."""
        value = last_cookie(self._header, name)
        return default if value is None else value


def cookies_of(request: Request) -> Cookies:
    """A request's cookies."""
    header = request.header("cookie") or ""
    if "REQUEST_METHOD" in request.carrier:
        # Django's WSGI handler reads the header as UTF-8, and strips every blank from a name. Read
        # in another way, a planted cookie (U+2000 before its name) would be the session of the app
        # and another one that of the adapter.
        header = header.encode("latin-1", "replace").decode("utf-8", "replace")
    return Cookies(header)


def django_request(request: Request) -> Any:
    """What Django's handler would make of a request, its body left unread."""
    from django.contrib.auth.models import AnonymousUser  # needs the apps to be loaded

    # A copy: what is noted on it (by `login`, by receivers of its signal) is not the app's.
    carrier: dict[str, Any] = {**request.carrier}
    # Attacks: a Content-Type with 64 kB of parameters, and a cookie of 64 kB of backslashes. Each
    # takes Django's parsers seconds. There is no body here, so it needs no type; the cookies are
    # parsed in linear time, and only for a receiver of a signal that asks for them.
    cookies = request.header("cookie") or ""
    if "REQUEST_METHOD" in carrier:
        carrier["wsgi.url_scheme"] = request.scheme
        carrier.update({"wsgi.input": BytesIO(), "CONTENT_LENGTH": "0", "CONTENT_TYPE": ""})
        cookies = cookies.encode("latin-1", "replace").decode("utf-8", "replace")
        asking = WSGIRequest(carrier)
    elif "headers" in carrier:
        headers = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in request.headers.items()
            if name != "content-type"
        ]
        carrier.update({"method": request.method, "scheme": request.scheme, "headers": headers})
        # Servers pass any bytes; Django would fail over those that are no UTF-8.
        carrier["query_string"] = visible(request.query).encode("ascii")
        asking = ASGIRequest(carrier, BytesIO())
    else:
        asking = HttpRequest()
    asking.COOKIES = SimpleLazyObject(lambda: parse_cookies(cookies))
    asking.user = AnonymousUser()
    return asking


@contextmanager
def using_request(asking: Any, response: Any) -> Iterator[None]:
    """Lets what runs in between leave messages, as receivers of `user_logged_in` do."""
    if apps.is_installed("django.contrib.messages"):
        asking._messages = default_storage(asking)
    yield
    if apps.is_installed("django.contrib.messages"):
        asking._messages.update(response)


def renew_csrf(request: Request, asking: Any, response: Any) -> None:
    """Have a new CSRF secret replace the one that the browser had before the sign-in.

    An attacker may have planted that one. `login` rotates it for the same reason.
    """
    if "CSRF_COOKIE" not in asking.META:
        rotate_token(asking)
    if not settings.CSRF_USE_SESSIONS:
        if settings.CSRF_COOKIE_NAME not in cookies_of(request):
            return  # Django makes one when it is needed
        # A form that was sent along with the token: the app is about to compare the two.
        if request.links and request.method not in _SAFE:
            return
    CsrfViewMiddleware(lambda _: response).process_response(asking, response)


def cookies_set_by(response: Any) -> list[Cookie]:
    """The cookies that an answer of Django's sets."""
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
