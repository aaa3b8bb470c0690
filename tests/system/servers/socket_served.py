"""An app with WebSockets, as servers serve it."""

from __future__ import annotations

import json
import os
from typing import Any

from served import user_of, validate

from ott_middleware import CookieSession, OTTMiddleware, get_handle

_PAGE = b"<!doctype html><title>sockets</title><p>sockets</p>"


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/html"), (b"content-length", b"%d" % len(_PAGE))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": _PAGE})
        return
    await receive()
    choice = "chat" if "chat" in scope["subprotocols"] else None
    await send({"type": "websocket.accept", "subprotocol": choice})
    await send({"type": "websocket.send", "text": json.dumps(await tell(scope))})
    while (await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": json.dumps(await tell(scope))})


async def tell(scope: Any) -> dict[str, Any]:
    """What the app sees of a socket."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    handle = get_handle(scope)
    session = await handle.asession()
    return {
        "user": session and session.user_id,
        "cookie": user_of(headers.get("cookie", "")),
        "redeemed": handle.redeemed,
        "query": scope["query_string"].decode("latin-1"),
        "subprotocols": list(scope["subprotocols"]),
        "header": headers.get("sec-websocket-protocol"),
    }


asgi = OTTMiddleware(
    app,
    session=CookieSession("sid", validate=validate),
    backend=os.environ.get("OTT_SOCKET_BACKEND", "memory://"),
    max_per_session=None,
)
