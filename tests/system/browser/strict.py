"""Apps whose session cookie is SameSite=Strict. One server is two sites: by name, and by number."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from ott_middleware import CookieSession, OTTMiddleware, SealedSession

PAGE = "<!doctype html><title>A page</title><link rel='icon' href='data:,'>{}"


def answer(path: str, query: str, host: str, user: str | None, link: Any) -> tuple[str, str, str]:
    """Status, `Location` and page."""
    port = host.rpartition(":")[2]
    if path == "/go":
        return "303 See Other", link(f"http://127.0.0.1:{port}/landing?from=link"), ""
    return "200 OK", "", PAGE.format(f"<p>user: {user}</p><p>{query}</p><a href='/go'>Go</a>")


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    ott, query = scope["ott"], scope["query_string"].decode()
    if scope["path"] == "/sign-in":
        ott.sign_in(query)
    user = ott.session.user_id if ott.session else None
    host = dict(scope["headers"])[b"host"].decode()
    made = await asyncio.to_thread(answer, scope["path"], query, host, user, ott.link)
    status, location, page = made
    headers = [(b"content-type", b"text/html")]
    headers += [(b"location", location.encode())] if location else []
    await send({"type": "http.response.start", "status": int(status[:3]), "headers": headers})
    await send({"type": "http.response.body", "body": page.encode()})


def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    query = environ["QUERY_STRING"]
    headers = [("Content-Type", "text/html")]
    session = environ["ott.handle"].session
    user = session.user_id if session else None
    if environ["PATH_INFO"] == "/sign-in":
        user = query
        headers += [("Set-Cookie", f"sid=of-{query}; Path=/; HttpOnly; SameSite=Strict")]
    status, location, page = answer(
        environ["PATH_INFO"], query, environ["HTTP_HOST"], user, environ["ott.handle"].link
    )
    headers += [("Location", location)] if location else []
    start_response(status, headers)
    return [page.encode()]


def validate(values: Mapping[str, str]) -> dict[str, Any]:
    return {"user_id": values["sid"].removeprefix("of-")}


KEY = "for tests alone, and in one process"
BY_NUMBER = ["http://127.0.0.1:*"]
asgi_keep = OTTMiddleware(
    asgi_app,
    session=SealedSession(KEY, samesite="Strict"),
    handoff_targets=BY_NUMBER,
    on_switch="keep",
)
asgi_replace = OTTMiddleware(
    asgi_app,
    session=SealedSession(KEY, samesite="Strict"),
    handoff_targets=BY_NUMBER,
    on_switch="replace",
)
wsgi_keep = OTTMiddleware(
    wsgi_app,
    session=CookieSession("sid", validate=validate, samesite="Strict"),
    handoff_targets=BY_NUMBER,
    on_switch="keep",
)
