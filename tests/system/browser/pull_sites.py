"""Two sites of pull handoff. One server is both: the issuer by name, the target by number."""

from __future__ import annotations

import logging
from functools import lru_cache
from html import escape
from typing import Any
from urllib.parse import parse_qs

from ott_middleware import MemoryBackend, OTTMiddleware, SealedSession

logging.getLogger("ott_middleware").setLevel(logging.ERROR)

KEY = "for tests alone, and in one process"
PAGE = "<!doctype html><title>A page</title><link rel='icon' href='data:,'>"
LOG_IN = (
    "<form method='post'><label>Name <input name='name'></label><button>Sign in</button></form>"
)


async def _respond(send: Any, status: int, page: str, *headers: tuple[str, str]) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    raw.append((b"content-type", b"text/html; charset=utf-8"))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": f"{PAGE}{page}".encode()})


async def issuer(scope: Any, receive: Any, send: Any) -> None:
    """Users sign in here by name."""
    ott, query = scope["ott"], parse_qs(scope["query_string"].decode())
    if scope["path"] == "/login":
        if scope["method"] == "POST":
            body = (await receive()).get("body", b"")
            ott.sign_in(parse_qs(body.decode())["name"][0])
            await _respond(send, 303, "", ("location", query.get("next", ["/"])[0]))
        else:
            await _respond(send, 200, LOG_IN)
        return
    user = ott.session.user_id if ott.session else None
    await _respond(send, 200, f"<p>issuer: {user}</p>")


async def target(scope: Any, receive: Any, send: Any) -> None:
    """The pages below /account are protected; /own calls `handoff()` itself."""
    ott = scope["ott"]
    if scope["path"] == "/own" and ott.session is None:
        await _respond(send, 303, "", ("location", ott.handoff()))
        return
    user = ott.session.user_id if ott.session else None
    where = escape(scope["path"])
    await _respond(send, 200, f"<p>target: {user} at {where}</p><a href='/account'>Account</a>")


@lru_cache
def sites(port: str, samesite: str) -> dict[str, Any]:
    """Both sites of a server, by the name of the host."""
    tokens, by_name, by_number = MemoryBackend(), f"http://localhost:{port}", "http://127.0.0.1"
    return {
        "localhost": OTTMiddleware(
            issuer,
            session=SealedSession(KEY, name="issuer_session"),
            backend=tokens,
            secret=KEY,
            public_origin=by_name,
            handoff_targets=[f"{by_number}:{port}"],
            login_url="/login",
        ),
        "127.0.0.1": OTTMiddleware(
            target,
            session=SealedSession(KEY, name="target_session", samesite=samesite),
            backend=tokens,
            secret=KEY,
            public_origin=f"{by_number}:{port}",
            issuer=by_name,
            protected=lambda request: request.path.startswith("/account"),
        ),
    }


def by_host(samesite: str) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        host, _, port = dict(scope["headers"])[b"host"].decode().partition(":")
        await sites(port, samesite)[host](scope, receive, send)

    return app


lax, strict = by_host("Lax"), by_host("Strict")
