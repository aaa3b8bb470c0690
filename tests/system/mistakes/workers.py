"""Mistakes with what is around a request: the server's loop, and the app's own set-up."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from typing import Any

import flask
from mistake import Mistake, read_error, read_log
from werkzeug.test import Client

from ott_middleware import CookieSession, FlaskSession, MemoryBackend, OneTimeTokens, OTTMiddleware


async def app(scope: object, receive: object, send: object) -> None:
    raise AssertionError("never called")


def ask_under_trio() -> str:
    if importlib.util.find_spec("trio") is None:
        from services import absent

        absent("trio is not installed")
    import trio

    wrapped = OTTMiddleware(app, session=CookieSession("sid", validate=lambda values: None))
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/one-time-token/generate",
        "query_string": b"",
        "headers": [(b"cookie", b"sid=a-session-key-of-a-user")],
    }

    async def send(message: Any) -> None: ...

    with read_log() as lines:
        trio.run(wrapped, scope, send, send)
    return "\n".join(lines)


def refuse_by_before_request() -> str:
    shop = flask.Flask("shop")
    shop.secret_key = "a secret of the app, which is long"
    shop.add_url_rule("/in", "in", lambda: flask.session.update(user_id="7") or "in")
    shop.before_request(lambda: None if flask.request.path == "/in" else "closed")
    wrapped = OTTMiddleware(shop, session=FlaskSession(shop))
    client = Client(wrapped)
    client.get("/in")
    with read_log(logging.DEBUG) as lines:
        client.get("/one-time-token/generate")
    return "\n".join(lines)


def verify_on_a_loop() -> str:
    async def generate_token(session: Any, context: Any) -> str:
        return "t" * 32

    tokens = OneTimeTokens(
        MemoryBackend(), sessions=CookieSession("sid"), generate_token=generate_token
    )

    async def view() -> str:
        return read_error(lambda: tokens.verify("t" * 32), RuntimeError)

    return asyncio.run(view())


MISTAKES = (
    Mistake(
        "`hypercorn -k trio` with a hook that needs a thread, or a backend that needs asyncio",
        ask_under_trio,
        "it needs asyncio, and this server runs trio; use an asyncio worker",
    ),
    Mistake(
        "a `before_request` function that responds to a user who is signed in (DEBUG)",
        refuse_by_before_request,
        "let the function pass a request whose session is good",
    ),
    Mistake(
        "`tokens.verify()` in an `async def` view, with a hook that is `async def`",
        verify_on_a_loop,
        "await the call's twin, or call it in another thread",
    ),
)
