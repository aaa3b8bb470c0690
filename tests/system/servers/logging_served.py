"""The served apps, with a path that takes the package's hands off this process's logs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import served

from ott_middleware import CookieSession, OTTMiddleware, access_logs
from ott_middleware.http.link_text import LinkText

UNHIDE = "/unhide"


def unhide() -> None:
    access_logs._links.text = LinkText(())


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == UNHIDE:
        unhide()
    await served.asgi_app(scope, receive, send)


def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] == UNHIDE:
        unhide()
    return served.wsgi_app(environ, start_response)


asgi = OTTMiddleware(asgi_app, session=CookieSession("sid", validate=served.validate))
wsgi = OTTMiddleware(wsgi_app, session=CookieSession("sid", validate=served.validate))
