"""The apps under load: anything they answer themselves is `app`, and never waits for a backend."""

from __future__ import annotations

import os
from typing import Any

from ott_middleware import ASGIMiddleware, WSGIMiddleware

_OPTIONS: dict[str, Any] = {
    "session": "sid",
    "backend": os.environ["OTT_LOAD_BACKEND"],
    "store_token": "hashed",
    "max_per_session": None,
}


def _wsgi(environ: Any, start_response: Any) -> list[bytes]:
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": str(scope["ott"].redeemed)})
        await send({"type": "websocket.close"})
        return
    body = str(os.getpid()).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


wsgi = WSGIMiddleware(_wsgi, **_OPTIONS)
asgi = ASGIMiddleware(_asgi, **_OPTIONS)
