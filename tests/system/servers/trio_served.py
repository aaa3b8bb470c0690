"""ASGI apps whose adapter or backend needs asyncio, for servers that run trio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from served import asgi_app, validate

from ott_middleware import CookieSession, OTTMiddleware, RedisBackend


def waits(values: Mapping[str, str]) -> dict[str, Any] | None:
    return validate(values)  # which would go to a thread


async def trio_hook(values: Mapping[str, str]) -> dict[str, Any] | None:
    import trio.lowlevel

    await trio.lowlevel.checkpoint()
    return validate(values)


def wrap(session: Any, **options: Any) -> Any:
    return OTTMiddleware(asgi_app, session=session, **options)


thread = wrap(CookieSession("sid", validate=waits))
probe = wrap(CookieSession("sid", probe="/me"))
redis = wrap(CookieSession("sid", validate=validate), backend=RedisBackend("redis://127.0.0.1:1/0"))
own = wrap(CookieSession("sid", validate=trio_hook))
