"""A WSGI app whose hooks are coroutine functions, for the workers of gevent and eventlet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from asgiref.sync import sync_to_async

from ott_middleware import CookieSession, OTTMiddleware

WAIT = 0.25  # seconds that each hook takes


def has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def validate(values: Mapping[str, str]) -> dict[str, Any] | None:
    caller = threading.get_ident()
    # What Django's database asks before each query, and where its connections are.
    if await sync_to_async(has_loop)() or await sync_to_async(threading.get_ident)() == caller:
        raise RuntimeError("thread-sensitive code runs on the loop")
    name = values.get("sid")
    await asyncio.sleep(WAIT if name == "slow" else 0)
    return {"id": f"s-{name}", "user_id": f"u-{name}"} if name else None


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/session":
        session = environ["ott.handle"].session
        return [str(session and session.user_id).encode()]
    return [b"a loop runs here" if has_loop() else b"no loop"]


wsgi = OTTMiddleware(app, session=CookieSession("sid", validate=validate))
