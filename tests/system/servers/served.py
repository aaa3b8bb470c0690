"""The apps that the servers serve: one in each interface, with the same behaviour."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from ott_middleware import CookieSession, OTTMiddleware

# The session table that the apps and the adapter look at.
TABLE = {
    "alice-cookie-8f1c2d7a": {"id": "s-alice", "user_id": "alice", "user": {"id": "alice"}},
    "bob-cookie-55aa90c3": {"id": "s-bob", "user_id": "bob", "user": {"id": "bob"}},
}


def validate(values: Mapping[str, str]) -> dict[str, Any] | None:
    return TABLE.get(values.get("sid", ""))


validate.blocks = False  # type: ignore[attr-defined]  # a function's own word


def user_of(cookie_header: str) -> str | None:
    pairs = (pair.strip().partition("=") for pair in cookie_header.split(";"))
    found = (TABLE.get(value) for name, _, value in pairs if name == "sid")
    return next((session["user_id"] for session in found if session), None)


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return await lifespan(receive, send)
    path = scope["path"]
    if path == "/crash":
        raise RuntimeError("the app is broken")
    if path == "/release":
        released().set()
    body = b""
    while (message := await receive()).get("more_body"):
        body += message.get("body", b"")
    body += message.get("body", b"")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    if path == "/stream":
        released().clear()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first\n", "more_body": True})
        await asyncio.wait_for(released().wait(), 10)
        await send({"type": "http.response.body", "body": b"second\n"})
        return None
    told = tell(scope["query_string"].decode("latin-1"), headers, body, headers.get("cookie", ""))
    fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(told))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    return await send({"type": "http.response.body", "body": told})


async def lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


_RELEASED: list[asyncio.Event] = []


def released() -> asyncio.Event:
    if not _RELEASED:
        _RELEASED.append(asyncio.Event())  # in the loop that serves
    return _RELEASED[0]


_wsgi_released = threading.Event()


def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/crash":
        raise RuntimeError("the app is broken")
    if path == "/release":
        _wsgi_released.set()
    if path == "/stream":
        _wsgi_released.clear()
        start_response("200 OK", [])
        return stream()
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    headers = {key[5:].lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
    told = tell(environ.get("QUERY_STRING", ""), headers, body, headers.get("cookie", ""))
    fields = [("Content-Type", "application/json"), ("Content-Length", str(len(told)))]
    start_response("200 OK", fields)
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else told]


def stream() -> Iterable[bytes]:
    yield b"first\n"
    if _wsgi_released.wait(10):
        yield b"second\n"


def tell(query: str, headers: Mapping[str, str], body: bytes, cookie: str) -> bytes:
    """What the app saw of a request."""
    seen = {
        "query": query,
        "user": user_of(cookie),
        "referer": headers.get("referer"),
        "body": body.decode("latin-1"),
    }
    return json.dumps(seen).encode()


asgi = OTTMiddleware(asgi_app, session=CookieSession("sid", validate=validate))
wsgi = OTTMiddleware(wsgi_app, session=CookieSession("sid", validate=validate))
