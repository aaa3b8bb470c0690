"""WebSockets of frameworks: the app finds the user as in any request, and the handle."""

from __future__ import annotations

import base64
import json
from typing import Any

import itsdangerous
import litestar
import pytest
import quart
from fastapi import FastAPI, Request, WebSocket
from harness import SECRET, Members, person
from sockets import open_with, said, session_in, tell, ticket
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.routing import WebSocketRoute

from ott_middleware import CookieSession, OTTMiddleware, SealedSession

ALICE = {"user": "alice", "redeemed": "websocket"}


@pytest.mark.parametrize("in_url", [True, False])
class TestFrameworks:
    def opens_once(self, inner: Any, in_url: bool) -> None:
        alice = person("alice", expires_at=None)
        app = OTTMiddleware(inner, session=Members(alice))
        token = ticket(app, alice)
        seen = said(open_with(app, token, in_url=in_url))
        assert seen == {**ALICE, "cookie": "alice-cookie"}
        assert open_with(app, token, in_url=in_url).status == 403

    def test_fastapi(self, in_url: bool) -> None:
        inner = FastAPI()

        @inner.websocket("/socket")
        async def listen(socket: WebSocket) -> None:
            await socket.accept()
            await socket.send_json({**await tell(socket), "cookie": socket.cookies["sid"]})

        self.opens_once(inner, in_url)

    def test_quart(self, in_url: bool) -> None:
        inner = quart.Quart("app")

        @inner.websocket("/socket")
        async def listen() -> None:
            socket = quart.websocket
            await socket.accept()
            cookie = socket.cookies["sid"]
            await socket.send_json({**await tell(socket), "cookie": cookie})

        self.opens_once(inner, in_url)

    def test_litestar(self, in_url: bool) -> None:
        @litestar.websocket("/socket")
        async def listen(socket: litestar.WebSocket) -> None:
            await socket.accept()
            await socket.send_json({**await tell(socket), "cookie": socket.cookies["sid"]})
            await socket.close()

        inner = litestar.Litestar([listen])
        self.opens_once(inner, in_url)

    def test_starlettes_own_session(self, in_url: bool) -> None:
        async def listen(socket: Any) -> None:
            await socket.accept()
            await socket.send_json({**await tell(socket), "own": socket.session.get("user_id")})

        inner = Starlette(
            routes=[WebSocketRoute("/socket", listen)],
            middleware=[Middleware(SessionMiddleware, secret_key=SECRET)],
        )
        app = OTTMiddleware(inner)
        values = base64.b64encode(json.dumps({"user_id": "alice"}).encode())
        cookie = itsdangerous.TimestampSigner(SECRET).sign(values).decode()
        token = ticket(app, session_in(app, f"session={cookie}"))
        seen = said(open_with(app, token, in_url=in_url))
        assert seen == {**ALICE, "own": "alice"}

    def test_sealed_session(self, in_url: bool) -> None:
        inner = FastAPI()

        @inner.websocket("/socket")
        async def listen(socket: WebSocket) -> None:
            await socket.accept()
            await socket.send_json(await tell(socket))

        adapter = SealedSession(SECRET)
        app = OTTMiddleware(inner, session=adapter)
        token = ticket(app, adapter.start("alice", remember=True))
        assert said(open_with(app, token, in_url=in_url)) == ALICE


def test_cookie_session_with_a_probe() -> None:
    """The app's own view is asked, by HTTP, with the cookie of the socket."""
    inner = FastAPI()

    @inner.get("/account")
    async def account(request: Request) -> dict[str, str]:
        return {"id": request.cookies["sid"].partition("-")[0]}

    @inner.websocket("/socket")
    async def listen(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_json(await tell(socket))

    adapter = CookieSession("sid", probe="/account", renews_key=True)
    app = OTTMiddleware(inner, session=adapter)
    token = ticket(app, person("alice", expires_at=None))
    assert said(open_with(app, token)) == ALICE
