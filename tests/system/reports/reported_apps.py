"""Apps that fail, wrapped as their users wrap them; and requests with a live token for each."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults

from ott_middleware import Backend, CookieSession, OTTMiddleware, SealedSession

TOKENS: list[str] = []
FRAME = {"accept": "text/html", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
CALL = {"accept": "*/*"}


def new_token() -> str:
    TOKENS.append(secrets.token_urlsafe(24))
    return TOKENS[-1]


def session() -> CookieSession:
    return CookieSession("sid", renews_key=True, validate=lambda values: None)


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("the app is broken")


def wsgi(environ: Any, start_response: Any) -> Iterable[bytes]:
    raise RuntimeError("the app is broken")


class Unreachable(Backend):
    """A store that is down: each token stays alive."""

    def put(self, *args: Any, **named: Any) -> None:
        raise ConnectionError("no store")

    def take(self, key: str) -> bytes | None:
        raise ConnectionError("no store")

    def revoke(self, owner: str) -> int:
        raise ConnectionError("no store")

    def close(self) -> None:
        pass


def starlette(inside: bool) -> Any:
    from starlette.applications import Starlette
    from starlette.routing import Route

    def crash(request: Any) -> Any:
        raise RuntimeError("the app is broken")

    app = Starlette(routes=[Route("/crash", crash)])
    return added(app) if inside else OTTMiddleware(app, session=session())


def fastapi(inside: bool) -> Any:
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("the app is broken")

    return added(app) if inside else OTTMiddleware(app, session=session())


def added(app: Any) -> Any:
    app.add_middleware(OTTMiddleware, session=session())
    return app


def flask() -> Any:
    from flask import Flask

    app = Flask(__name__)

    @app.route("/crash")
    def crash() -> str:
        raise RuntimeError("the app is broken")

    app.wsgi_app = OTTMiddleware(app.wsgi_app, session=session())  # type: ignore[method-assign]
    return app


def crash(request: Any) -> None:
    raise RuntimeError("the app is broken")


def set_up_django() -> None:
    import django
    from django.conf import settings
    from django.urls import path

    globals()["urlpatterns"] = [path("crash", crash)]
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="of a test")
    django.setup()


def django_wsgi() -> Any:
    from django.core.wsgi import get_wsgi_application

    return OTTMiddleware(get_wsgi_application(), session=session())


def django_asgi() -> Any:
    from django.core.asgi import get_asgi_application

    return OTTMiddleware(get_asgi_application(), session=session())


def failing(app: Any) -> Any:
    """An app whose tokens' store is down, and whose adapter works."""
    return OTTMiddleware(
        app, session=SealedSession("a secret of thirty-two characters"), backend=Unreachable()
    )


def ask(app: Any, interface: str, target: str, headers: dict[str, str]) -> None:
    """Send a GET to an app without a server; its failure is expected."""
    path, _, query = target.partition("?")
    if interface == "asgi":
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("192.0.2.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        with_failure(lambda: asyncio.run(app(scope, receive(), send)))
        return
    environ = {"PATH_INFO": path, "QUERY_STRING": query, "RAW_URI": target}
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": v for name, v in headers.items()}
    setup_testing_defaults(environ)
    with_failure(lambda: list(app(environ, lambda *args: None)))


def ask_sockets(app: Any) -> None:
    """Handshakes with a token in the URL, and with one in the sub-protocols; both are denied."""
    for query, offered in (
        (f"a=1&ott={new_token()}", ["chat"]),
        ("a=1", ["chat", "ott", f"ott.{new_token()}"]),
    ):
        headers = [
            (b"host", b"127.0.0.1"),
            (b"sec-websocket-protocol", ", ".join(offered).encode()),
        ]
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": "/socket",
            "raw_path": b"/socket",
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "subprotocols": offered,
            "client": ("192.0.2.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        connect = iter([{"type": "websocket.connect"}])

        async def came(connect: Any = connect) -> Any:
            return next(connect)

        asyncio.run(app(scope, came, send))


def receive() -> Callable[[], Any]:
    came = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def next_message() -> Any:
        for message in came:
            return message
        return await asyncio.Event().wait()

    return next_message


async def send(message: Any) -> None:
    pass


def with_failure(run: Callable[[], Any]) -> None:
    with contextlib.suppress(RuntimeError):
        run()


def ask_with_live_tokens(app: Any, interface: str) -> None:
    """A frame, which redeems nothing, with one token in its URL and another in its Referer."""
    referer = f"http://127.0.0.1/before?ott={new_token()}"
    headers = {"host": "127.0.0.1", "referer": referer, **FRAME}
    ask(app, interface, f"/crash?a=1&ott={new_token()}&b=2", headers)


def ask_while_store_is_down(app: Any, interface: str) -> None:
    for target, headers in (
        (f"/page?ott={new_token()}", {**FRAME, "sec-fetch-dest": "document"}),
        (f"/page?a&ott={new_token()}", CALL),
    ):
        ask(app, interface, target, {"host": "127.0.0.1", **headers})


def places(value: Any, name: str = "") -> Iterable[str]:
    """Where a report has a token."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from places(item, f"{name}[]")
    elif isinstance(value, str) and any(token in value for token in TOKENS):
        yield name
