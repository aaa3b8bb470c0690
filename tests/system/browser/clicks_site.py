"""A site whose adapter cannot verify sessions, with a page that takes its time."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

from ott_middleware import CookieSession, OTTMiddleware, Session
from ott_middleware.http import Request

PAGE = "<!doctype html><link rel='icon' href='data:,'>{}"
SLOW_SECONDS = 1.0


async def app(scope: Any, receive: Any, send: Any) -> None:
    request = Request("GET", "http", scope["path"], headers=headers_of(scope))
    signed_in = " ".join(request.cookies("sid")) or "nobody"
    if scope["path"] == "/mint":
        session = Session("session-of-alice", "alice-cookie", "alice")
        body = (await scope["ott"].agenerate(session)).encode()
    elif scope["path"] == "/links":
        body = PAGE.format(f"<a href='{unquote(scope['query_string'].decode())}'>Go</a>").encode()
    else:
        if scope["path"] == "/slow":
            await asyncio.sleep(SLOW_SECONDS)
        body = PAGE.format(f"<p>cookie: {signed_in}</p>").encode()
    # The page of links has the link in its own URL.
    headers = [(b"content-type", b"text/html"), (b"referrer-policy", b"no-referrer")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def headers_of(scope: Any) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}


site: Any = OTTMiddleware(
    app,
    session=CookieSession("sid", renews_key=True),
    secret="a secret of thirty-two characters",
)
