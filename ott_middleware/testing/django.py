"""Tests of Django views that use the handle: clients and a live server with the middleware.

They put the `OTTMiddleware` of the project's own wsgi.py or asgi.py around the handlers of Django's
tests, which leave it out. In a `TestCase`, write ``client_class = OTTClient``.
"""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.test.client import AsyncClient, AsyncClientHandler, Client, ClientHandler
from django.test.testcases import LiveServerThread
from django.utils.module_loading import import_string

from ..flow.handle import attach, new_handle
from ..interfaces.asgi import ASGIMiddleware
from ..interfaces.asgi_headers import decode_headers, encode_headers
from ..interfaces.wsgi import WSGIMiddleware
from ..sessions.layers import layers_of

__all__ = ["OTTAsyncClient", "OTTClient", "OTTLiveServerThread", "add_handle"]

_M = TypeVar("_M", ASGIMiddleware, WSGIMiddleware)
_Pairs = list[tuple[str, str]]

# What a browser sends when a link is clicked in a mail.
_NAVIGATION = {
    "accept": "text/html",
    "sec-fetch-dest": "document",
    "sec-fetch-mode": "navigate",
    "sec-fetch-site": "none",
    "sec-fetch-user": "?1",
}


def add_handle(request: Any, application: Any = None) -> Any:
    """Give a request of a `RequestFactory` or an `AsyncRequestFactory` its handle; return it.

    :param application: the wrapped app; default: that of the settings.
    """
    kind: Any = ASGIMiddleware if hasattr(request, "scope") else WSGIMiddleware
    carrier = request.scope if hasattr(request, "scope") else request.environ
    attach(new_handle(_find(kind, application)._services), carrier)
    return request


class OTTClient(Client):  # type: ignore[misc]  # Django has no types
    """`django.test.Client` that sends its requests through the project's `OTTMiddleware`.

    :param args, keywords: those of `Client`.
    """

    #: The wrapped app; default: `WSGI_APPLICATION` of the settings. For a subclass to set.
    application: Any = None

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.handler: Any = _Handler(self.handler.enforce_csrf_checks)
        self.handler.middleware = _find(WSGIMiddleware, self.application)

    def open_link(self, url: str, **extra: Any) -> Any:
        """Return the response to a link that a browser opens, at the URL's own host.

        :param extra: the arguments of `get`.
        """
        return self.get(url, **_navigation(url, extra))


class OTTAsyncClient(AsyncClient):  # type: ignore[misc]  # the same
    """`django.test.AsyncClient` that sends its requests through the project's `OTTMiddleware`.

    :param args, keywords: those of `AsyncClient`.
    """

    #: The wrapped app; default: `ASGI_APPLICATION` of the settings. For a subclass to set.
    application: Any = None

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.handler: Any = _AsyncHandler(self.handler.enforce_csrf_checks)
        self.handler.middleware = _find(ASGIMiddleware, self.application)

    async def open_link(self, url: str, **extra: Any) -> Any:
        """Return the response to a link that a browser opens, at the URL's own host.

        :param extra: the arguments of `get`.
        """
        return await self.get(url, **_navigation(url, extra))


class OTTLiveServerThread(LiveServerThread):  # type: ignore[misc]  # the same
    """The server of a `LiveServerTestCase`, with the project's `OTTMiddleware` around its app.

    In the test case, write ``server_thread_class = OTTLiveServerThread``.
    """

    #: The wrapped app; default: `WSGI_APPLICATION` of the settings. For a subclass to set.
    application: Any = None

    def _create_server(self, *args: Any, **keywords: Any) -> Any:
        server = super()._create_server(*args, **keywords)
        set_app, middleware = server.set_app, _find(WSGIMiddleware, self.application)
        server.set_app = lambda app: set_app(_around(middleware, app))
        return server


class _Handler(ClientHandler):  # type: ignore[misc]  # the same
    middleware: WSGIMiddleware

    def __call__(self, environ: Any) -> Any:
        call, exchange = super().__call__, _Exchange()
        # As each client sends it; Django takes the server's name instead.
        environ.setdefault("HTTP_HOST", WSGIRequest(environ).get_host())

        def app(environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
            exchange.of_app = call(environ)
            start_response(*exchange.head())
            return []

        def start_response(status: str, headers: _Pairs, exc_info: Any = None) -> None:
            exchange.status, exchange.headers = int(status[:3]), headers

        body = _around(self.middleware, app)(environ, start_response)  # type: ignore[arg-type]  # no write()
        response = exchange.response(b"".join(body))
        if exchange.of_app is None:
            response.wsgi_request = WSGIRequest(environ)
        return response


class _AsyncHandler(AsyncClientHandler):  # type: ignore[misc]  # the same
    middleware: ASGIMiddleware

    async def __call__(self, scope: Any) -> Any:
        call, exchange, body = super().__call__, _Exchange(), bytearray()
        # As a server makes it: one Host, and bytes.
        hosts = [pair for pair in scope["headers"] if pair[0] == b"host"]
        others = [pair for pair in scope["headers"] if pair[0] != b"host"]
        scope["headers"] = hosts[-1:] + others
        query = scope.get("query_string", b"")
        scope["query_string"] = query.encode() if isinstance(query, str) else query

        async def app(scope: Any, receive: Any, send: Any) -> None:
            exchange.of_app = await call(scope)
            headers = encode_headers(tuple(exchange.head()[1]))
            status = exchange.of_app.status_code
            await send({"type": "http.response.start", "status": status, "headers": headers})

        async def receive() -> Any:
            content = scope["_body_file"].read() if "_body_file" in scope else b""
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                exchange.headers = list(decode_headers(message))
            else:
                body.extend(message.get("body", b""))

        await _around(self.middleware, app)(scope, receive, send)
        response = exchange.response(bytes(body))
        if exchange.of_app is None:
            response.asgi_request = ASGIRequest(scope, None)
        return response


class _Exchange:
    """One response on its way from the app, if it is asked, to the client.

    :ivar of_app: the app's response, as a Django object; None where the middleware responds itself.
    """

    def __init__(self) -> None:
        self.of_app: Any = None
        self.status = 0
        self.headers: _Pairs = []
        self._sent: _Pairs = []

    def head(self) -> tuple[str, _Pairs]:
        """Return the status line and the headers of the app's response."""
        cookies = [("set-cookie", each.OutputString()) for each in self.of_app.cookies.values()]
        self._sent = [*((name.lower(), value) for name, value in self.of_app.items()), *cookies]
        return f"{self.of_app.status_code} {self.of_app.reason_phrase}", list(self._sent)

    def response(self, body: bytes) -> Any:
        """Return the response as Django's clients expect it."""
        response = self.of_app
        if response is None:
            response = HttpResponse(body, status=self.status)
        elif self.headers == self._sent:
            return response
        for name in list(response.headers):
            del response[name]
        response.cookies = SimpleCookie()
        for name, value in self.headers:
            if name.lower() != "set-cookie":
                response[name] = value
            else:
                # The parser of older Pythons drops a cookie with attributes that it does not know.
                parts = [part for part in value.split("; ") if part != "Partitioned"]
                response.cookies.load("; ".join(parts))
        if "location" in response.headers:
            response.__dict__.setdefault("url", response["location"])
        return response


def _navigation(url: str, extra: dict[str, Any]) -> dict[str, Any]:
    target = urlsplit(url)
    host = {"host": target.netloc} if target.netloc else {}
    headers = {**_NAVIGATION, **host, **(extra.pop("headers", None) or {})}
    return {"secure": target.scheme == "https", **extra, "headers": headers}


def _find(kind: type[_M], application: Any) -> _M:
    """Return the project's middleware.

    :raises ImproperlyConfigured: the app is not wrapped.
    """
    name = "ASGI_APPLICATION" if kind is ASGIMiddleware else "WSGI_APPLICATION"
    if application is None:
        path = getattr(settings, name, None)
        application = import_string(path) if path else None
    for layer in layers_of(application):
        if isinstance(layer, kind):
            return layer
    raise ImproperlyConfigured(
        f"no OTTMiddleware is found in settings.{name}; let it name the wrapped application, or "
        "set `application` in a subclass"
    )


def _around(middleware: _M, app: Any) -> _M:
    """Return the same middleware around another app."""
    kind = ASGIMiddleware if isinstance(middleware, ASGIMiddleware) else WSGIMiddleware
    made: Any = object.__new__(kind)
    vars(made).update(vars(middleware), app=app)
    made._respond = made._build_fast_path()
    return made  # type: ignore[no-any-return]  # of that kind
