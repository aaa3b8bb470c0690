"""Apps for the official JavaScript client, one in each interface: `sid` is their session cookie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from ott_middleware import CookieSession, OTTMiddleware

EXPIRES = datetime(2126, 11, 23, 9, 31, 57, 773000, tzinfo=timezone.utc)
FRONT = "https://front.example"


def validate(values: Mapping[str, str]) -> dict[str, Any] | None:
    if values.get("sid") != "ada-cookie-8f1c2d7a":
        return None
    return {
        "id": "s-ada",
        "user_id": "ada",
        "user": {"id": "ada", "name": "Ada", "born": "1815-12-10T00:00:00.000Z"},
        "expires_at": EXPIRES,
    }


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("404 Not Found", [])
    return []


OPTIONS: dict[str, Any] = {
    "base_path": "/api/auth",
    "store_token": "hashed",
    "trusted_origins": [FRONT],
}


def session() -> CookieSession:
    return CookieSession("sid", validate=validate, renews_key=True)


asgi = OTTMiddleware(asgi_app, session=session(), **OPTIONS)
wsgi = OTTMiddleware(wsgi_app, session=session(), **OPTIONS)
asgi_value = OTTMiddleware(asgi_app, session=session(), disable_set_session_cookie=True, **OPTIONS)
