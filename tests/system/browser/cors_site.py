"""An API with access tokens. One server is two origins: its page is opened by another name."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route

from ott_middleware import BearerSession, OTTMiddleware, get_handle

PAGE = "<!doctype html><title>A page</title><link rel='icon' href='data:,'>"


async def home(request: Request) -> HTMLResponse:
    return HTMLResponse(PAGE)


async def data(request: Request) -> PlainTextResponse:
    session = await get_handle(request).asession()
    return PlainTextResponse(str(session and session.user_id))


async def validate(token: str) -> dict[str, Any] | None:
    return {"user_id": "ada"} if token == "ada.jwt" else None


def build(inside: bool) -> Any:
    """The app, with Starlette's layer for CORS inside or outside of the middleware."""
    layer = Middleware(
        CORSMiddleware,
        allow_origin_regex=r"http://localhost:\d+",
        allow_credentials=True,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "X-Other"],
    )
    ott: Any = Middleware(
        OTTMiddleware,  # type: ignore[arg-type]  # a function that is used as a class
        session=BearerSession(validate=validate),
        trusted_origins=["http://localhost:*"],
    )
    routes = [Route("/", home), Route("/data", data, methods=["GET", "POST"])]
    return Starlette(routes=routes, middleware=[ott, layer] if inside else [layer, ott])


inside = build(True)
outside = build(False)
