"""A plugin for `datasette serve`: wraps it in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from datasette import hookimpl

from ott_middleware import CookieSession, OTTMiddleware


@hookimpl  # type: ignore[untyped-decorator]  # its library has no types
def asgi_wrapper(datasette: Any) -> Callable[[Any], Any]:
    # A site that is open to all answers nobody with 200 too: what it says is what counts.
    async def actor(cookies: Mapping[str, str]) -> dict[str, Any] | None:
        answer = await datasette.client.get("/-/actor.json", cookies=dict(cookies))
        who = answer.json()["actor"] if answer.status_code == 200 else None
        return {"id": who["id"], "user_id": who["id"], "user": who} if who else None

    return lambda app: OTTMiddleware(
        app,
        session=CookieSession("ds_actor", validate=actor),
        backend=os.environ["OTT_BACKEND"],
    )
