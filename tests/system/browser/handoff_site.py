"""A source, its targets, and an attacker's site: one server, told apart by the host."""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import parse_qs

from hostile_targets import path_to

from ott_middleware import CookieSession, MemoryBackend, OTTMiddleware

PAGE = "<!doctype html><title>A page</title><link rel='icon' href='data:,'>"


def validate(values: Any) -> dict[str, Any]:
    return {"id": f"session-{values['sid']}", "user_id": values["sid"].removeprefix("of-")}


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Shows who is signed in, and a link to what the query says; `/sign-in` signs Ada in.

    `/log-in` has a button, which signs Ada in and leads on to `next`.
    """
    ott, query = scope.get("ott"), parse_qs(scope["query_string"].decode())
    session = await ott.asession() if ott is not None else None
    to = query.get("to", [""])[0]
    host = dict(scope["headers"])[b"host"].decode()
    port = host.rpartition(":")[2]
    links = f"<a href='{escape(path_to(to))}'>Go</a>" if ott else ""
    links += f"<a href='{escape(f'http://localhost:{port}{path_to(to)}')}'>Lure</a>"
    frame = f"<iframe src='http://localhost:{port}{escape(path_to(to))}'></iframe>"
    text = f"<p>{host} user: {session.user_id if session else None}</p>{links}"
    text += frame if "frame" in query else ""
    headers, status = [(b"content-type", b"text/html")], 200
    if scope["path"] == "/log-in":
        text = "<form method='post'><button>Log in</button></form>"
    if scope["path"] == "/sign-in" or scope["method"] == "POST":
        headers.append((b"set-cookie", b"sid=of-ada; Path=/; HttpOnly; SameSite=Lax"))
    if scope["method"] == "POST":
        headers.append((b"location", query["next"][0].encode()))
        status = 303
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{PAGE}{text}".encode()})


def targets(port: int) -> list[str]:
    hosts = (("b.test", "/"), ("prefix.test", "/app/"), ("xn--bcher-kva.test", "/"))
    return [f"http://{host}:{port}{prefix}" for host, prefix in hosts]


class Sites:
    """The middleware of each site is made when the port is known: wildcards do not count here."""

    def __init__(self) -> None:
        self.apps: dict[str, Any] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if not self.apps:
            self.build(scope["server"][1])
        host = dict(scope["headers"])[b"host"].decode().rpartition(":")[0]
        await self.apps.get(host, page)(scope, receive, send)

    def build(self, port: int) -> None:
        backend, wanted = MemoryBackend(), targets(port)
        common: Any = {
            "backend": backend,
            "session": CookieSession("sid", validate=validate, renews_key=True),
        }
        source = f"http://localhost:{port}"
        self.apps["localhost"] = OTTMiddleware(
            page, public_origin=source, handoff_targets=wanted, login_url="/log-in", **common
        )
        for each in wanted:
            host = each.partition("://")[2].partition(":")[0]
            self.apps[host] = OTTMiddleware(page, public_origin=f"http://{host}:{port}", **common)


app = Sites()
