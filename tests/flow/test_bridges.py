"""The handle is found in an app behind a bridge between ASGI and WSGI."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from a2wsgi import ASGIMiddleware as ASGIToWSGI
from a2wsgi import WSGIMiddleware as WSGIToASGI
from asgiref.wsgi import WsgiToAsgi
from flask import Flask, request
from harness import Members, call_wsgi, make_environ, make_scope, person
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from ott_middleware import OTTMiddleware, get_handle
from ott_middleware.interfaces.bridges import _KeepScope


def starlette_bridge(app: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and used
        from starlette.middleware.wsgi import WSGIMiddleware
    return WSGIMiddleware(app)


def uvicorn_bridge(app: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same
        from uvicorn.middleware.wsgi import _WSGIMiddleware  # what is used without a2wsgi

        return _WSGIMiddleware(app)


TO_ASGI = {
    "a2wsgi": WSGIToASGI,
    "asgiref": WsgiToAsgi,
    "starlette": starlette_bridge,
    "uvicorn": uvicorn_bridge,
    "asgiref in Starlette": lambda app: Starlette(routes=[Mount("/", WsgiToAsgi(app))]),
    "asgiref in a function": lambda app: in_a_function(WsgiToAsgi(app)),
}


def in_a_function(app: Any) -> Any:
    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return middleware


async def body_of(wrapped: Any, cookie: str) -> bytes:
    # Not the harness: uvicorn's bridge breaks a rule of ASGI that it checks.
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    await wrapped(make_scope(headers=[("cookie", cookie)]), receive, send)
    return b"".join(message.get("body", b"") for message in sent)


def flask_app() -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def home() -> str:
        session = get_handle(request).session
        return session.user_id if session and session.user_id else "nobody"

    return app


class TestHandleBehindABridge:
    @pytest.mark.parametrize("bridge", TO_ASGI.values(), ids=TO_ASGI)
    def test_wsgi_app_under_asgi(self, bridge: Callable[[Any], Any]) -> None:
        wrapped = OTTMiddleware(
            bridge(flask_app()), session=Members(person("alice", expires_at=None))
        )
        for cookie, user in (
            ("sid=alice-cookie", b"alice"),
            ("sid=x", b"nobody"),
            ("sid=alice-cookie", b"alice"),
        ):
            assert asyncio.run(body_of(wrapped, cookie)) == user

    def test_asgi_app_under_wsgi(self) -> None:
        async def home(request: Request) -> PlainTextResponse:
            session = get_handle(request).session
            return PlainTextResponse(session.user_id if session and session.user_id else "nobody")

        bridge: Any = ASGIToWSGI(Starlette(routes=[Route("/", home)]))  # type: ignore[arg-type]  # its types differ
        wrapped = OTTMiddleware(bridge, session=Members(person("alice", expires_at=None)))
        answer = call_wsgi(wrapped, make_environ(headers=[("cookie", "sid=alice-cookie")]))
        assert answer.body == b"alice"

    def test_bridge_is_changed_once(self) -> None:
        app = flask_app()
        bridge = WsgiToAsgi(app)
        for _ in range(2):
            OTTMiddleware(bridge, session=Members())
        assert bridge.wsgi_application.app is app

    def test_other_callers_of_the_wrapped_app(self) -> None:
        seen: list[Any] = []

        def app(environ: Any, start_response: Any) -> list[bytes]:
            seen.append(environ)
            return []

        _KeepScope(app)({"REQUEST_METHOD": "GET"}, lambda status, headers: None)
        assert "asgi.scope" not in seen[0]
