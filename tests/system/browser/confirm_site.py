"""A site that sends confirm links. One server is two sites: by its name, and by its number."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ott_middleware import CookieSession, MemoryBackend, OTTMiddleware, SealedSession

PAGE = "<!doctype html><title>A page</title><link rel='icon' href='data:,'>{}"
#: What a scanner's page does with a link: whatever loads it without a click.
SCAN = """<script>
const link = new URL(location).searchParams.get('link')
const make = (tag, values) => Object.assign(document.createElement(tag), values)
const add = (tag, values) => document.body.append(make(tag, values))
window.done = Promise.allSettled([
  fetch(link, {method: 'HEAD', mode: 'no-cors', credentials: 'include'}),
  fetch(link, {mode: 'no-cors', credentials: 'include'}),
  fetch(link, {method: 'POST', mode: 'no-cors', credentials: 'include'}),
  ...['img', 'script', 'iframe', 'embed'].map(tag => new Promise(resolve => {
    add(tag, {src: link, onload: resolve, onerror: resolve}); setTimeout(resolve, 1500)
  })),
])
add('link', {rel: 'prefetch', href: link})
</script>"""
#: What another site can do to a visitor: post the form in a page of its own, and in a frame.
ATTACK = """<form method="post"><input name="nonce" value="N"></form><script>
const form = document.forms[0], asked = new URL(location).searchParams
form.action = asked.get('link')
if (asked.has('frame')) {
  document.body.append(Object.assign(document.createElement('iframe'), {name: 'inside'}))
  form.target = 'inside'
}
form.submit()
</script>"""


def respond(path: str, query: str, host: str, user: str | None, link: Any) -> tuple[int, str, str]:
    """Return the status, the `Location` and the page."""
    port = host.rpartition(":")[2]
    by_number, by_name = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    if path in ("/mail", "/link"):
        channel = "confirm" if path == "/mail" else "handoff"
        url = link(f"{by_number}/{query}", channel=channel)
        return 200, "", PAGE.format(f'<a href="{url.replace("&", "&amp;")}">Open</a>')
    if path == "/away":  # another origin of the app
        return 302, f"{by_name}/landing?from=away", ""
    page = {"/scan": SCAN, "/attack": ATTACK}.get(path, f"<p>user: {user}</p>")
    return 200, "", PAGE.format(page)


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    ott, query = scope["ott"], scope["query_string"].decode()
    if scope["path"] == "/sign-in":
        ott.sign_in(query)
    user = ott.session.user_id if ott.session else None
    host = dict(scope["headers"])[b"host"].decode()
    made = await asyncio.to_thread(respond, scope["path"], query, host, user, ott.link)
    status, location, page = made
    headers = [(b"content-type", b"text/html")]
    headers += [(b"location", location.encode())] if location else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": page.encode()})


def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    query, ott = environ["QUERY_STRING"], environ["ott.handle"]
    headers = [("Content-Type", "text/html")]
    user = ott.session.user_id if ott.session else None
    if environ["PATH_INFO"] == "/sign-in":
        user = query
        headers += [("Set-Cookie", f"sid=of-{query}; Path=/; HttpOnly; SameSite=Lax")]
    made = respond(environ["PATH_INFO"], query, environ["HTTP_HOST"], user, ott.link)
    status, location, page = made
    headers += [("Location", location)] if location else []
    start_response(f"{status} Status", headers)
    return [page.encode()]


def validate(values: Mapping[str, str]) -> dict[str, Any]:
    return {"user_id": values["sid"].removeprefix("of-")}


class SlowBackend(MemoryBackend):
    """Takes its time, so that a visitor can press a button again before there is a response."""

    def take(self, key: str) -> bytes | None:
        time.sleep(0.7)
        return super().take(key)


OPTIONS: dict[str, Any] = {"handoff_targets": ["http://127.0.0.1:*"], "on_switch": "keep"}
KEY = "for tests alone, and in one process"
asgi = OTTMiddleware(asgi_app, session=SealedSession(KEY), **OPTIONS)
asgi_strict = OTTMiddleware(asgi_app, session=SealedSession(KEY, samesite="Strict"), **OPTIONS)
wsgi = OTTMiddleware(
    wsgi_app, session=CookieSession("sid", validate=validate, renews_key=True), **OPTIONS
)
wsgi_slow = OTTMiddleware(
    wsgi_app, session=CookieSession("sid", renews_key=True), backend=SlowBackend(), **OPTIONS
)
