"""The site of the confirm links, where a link of another user asks first."""

from __future__ import annotations

from typing import Any

from confirm_site import KEY, SlowBackend, asgi_app, validate, wsgi_app

from ott_middleware import CookieSession, OTTMiddleware, SealedSession

OPTIONS: dict[str, Any] = {"handoff_targets": ["http://127.0.0.1:*"]}
asgi = OTTMiddleware(asgi_app, session=SealedSession(KEY), **OPTIONS)
asgi_strict = OTTMiddleware(asgi_app, session=SealedSession(KEY, samesite="Strict"), **OPTIONS)
wsgi = OTTMiddleware(
    wsgi_app, session=CookieSession("sid", validate=validate, renews_key=True), **OPTIONS
)
wsgi_slow = OTTMiddleware(
    wsgi_app,
    session=CookieSession("sid", validate=validate, renews_key=True),
    backend=SlowBackend(),
    **OPTIONS,
)
