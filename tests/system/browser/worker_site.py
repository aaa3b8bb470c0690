"""A site whose pages can stand under a service worker, of several kinds, and in frames."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from ott_middleware import CookieSession, OTTMiddleware, Session

PAGE = "<!doctype html><title>{}</title><link rel='icon' href='data:,'>{}"
BEGIN = (
    "self.addEventListener('install', e => self.skipWaiting());"
    "self.addEventListener('activate', e => e.waitUntil("
    " (async () => {{ {} await clients.claim() }})()));"
    "self.addEventListener('fetch', e => e.respondWith((async () => {{ {} }})()))"
)
PRELOAD = "await self.registration.navigationPreload.enable();"
WORKERS = {
    "passes_on": BEGIN.format("", "return fetch(e.request)"),
    "uses_preload": BEGIN.format(
        PRELOAD, "const p = await e.preloadResponse; return p || fetch(e.request)"
    ),
    # What is not ok, a redirect for example, is fetched again.
    "checks_preload": BEGIN.format(
        PRELOAD, "const p = await e.preloadResponse; return p && p.ok ? p : fetch(e.request)"
    ),
    # It awaits the preload: with its event a browser ends the preload as well, and the cookie of a
    # token that was redeemed for it is lost. That is a limit, in docs/security.md.
    "ignores_preload": BEGIN.format(
        PRELOAD, "const r = await fetch(e.request); await e.preloadResponse; return r"
    ),
    "builds_a_request": BEGIN.format(
        "", "return fetch(new Request(e.request, {cache: 'no-store'}))"
    ),
    "fetches_by_url": BEGIN.format(
        "", "return fetch(e.request.url, {redirect: 'manual', headers: e.request.headers})"
    ),
}
REGISTER = """<script>
navigator.serviceWorker.register('/{}.js').then(() => navigator.serviceWorker.ready)
  .then(() => {{ document.title = 'ready' }})
</script>"""


async def app(scope: Any, receive: Any, send: Any) -> None:
    path, query, ott = scope["path"], scope["query_string"].decode(), scope["ott"]
    kind, status, headers = "text/html", 200, []
    if path.endswith(".js"):
        kind, body = "text/javascript", WORKERS[path[1:-3]]
    elif path == "/register":
        body = PAGE.format("registers", REGISTER.format(query))
    elif path == "/mint":
        kind = "text/plain"
        body = await ott.agenerate(
            Session(id="session-of-alice", token="of-alice", user_id="alice")
        )
    elif path == "/frame":
        # The page's own URL names the link: that is the test's doing, and stays out of the Referer.
        headers.append((b"referrer-policy", b"strict-origin"))
        body = PAGE.format("framing", f"<iframe src='{unquote(query)}'></iframe>")
    elif path == "/link":
        body = PAGE.format("linking", f"<a href='{unquote(query)}'>Go</a>")
    else:
        signed_in = any(n == b"cookie" and b"sid=of-alice" in v for n, v in scope["headers"])
        body = PAGE.format("page", f"<p>user: {'alice' if signed_in else None}</p><p>{query}</p>")
    headers.append((b"content-type", kind.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})


def validate(values: Any) -> dict[str, Any]:
    return {"user_id": values["sid"].removeprefix("of-")}


site = OTTMiddleware(app, session=CookieSession("sid", validate=validate, renews_key=True))
