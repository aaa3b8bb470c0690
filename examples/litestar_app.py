"""Litestar: an app's own session cookie, carried to another host by a link.

    python examples/pair.py litestar_app    open http://localhost:8001

Litestar encrypts its sessions with OTT_SECRET, which both sites share; whether a user is signed in
is asked of the app itself, at /me.

That command starts this file twice, as two sites that link to each other. By itself, `python
examples/litestar_app.py --port PORT` reads OTT_ORIGIN (its own address) and OTT_TARGET (the other
site's); both need the same OTT_BACKEND (a URL, as sqlite:///links.db), OTT_SECRET (64 hexadecimal
digits).
"""

from __future__ import annotations

import argparse
import os
import secrets
from html import escape
from typing import Annotated, Any

import uvicorn
from litestar import Litestar, MediaType, Request, get, post
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotAuthorizedException
from litestar.middleware.session.client_side import CookieBackendConfig
from litestar.params import Body
from litestar.response import Redirect, Response

from ott_middleware import CookieSession, OTTMiddleware, get_handle

SIGN_IN = '<form method="post" action="/login"><input name="name" required><button>Sign in</button>'
SIGNED_IN = (
    'Hello, {name}. <a href="/elsewhere">Go to the other host</a>'
    '<form method="post" action="/logout"><button>Sign out</button></form>'
)
Form = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]


@get("/", media_type=MediaType.HTML)
async def home(request: Request[Any, Any, Any]) -> Response[str]:
    """Greet whoever is signed in."""
    name = request.session.get("name")
    page = SIGNED_IN.format(name=escape(name)) if name else SIGN_IN
    return Response(page, headers={"cache-control": "no-store"})


@get("/me")
async def me(request: Request[Any, Any, Any]) -> dict[str, str]:
    """Tell who is signed in: what the middleware asks."""
    if "name" not in request.session:
        raise NotAuthorizedException
    return {"id": request.session["name"], "name": request.session["name"]}


@post("/login")
async def login(request: Request[Any, Any, Any], data: Form) -> Redirect:
    """Sign somebody in; a real app would ask for more than a name."""
    if name := data.get("name", "").strip():
        request.set_session({"name": name})
    return Redirect("/", status_code=303)


@post("/logout")
async def logout(request: Request[Any, Any, Any]) -> Redirect:
    """Sign out."""
    request.clear_session()
    return Redirect("/", status_code=303)


@get("/elsewhere")
async def elsewhere(request: Request[Any, Any, Any]) -> Redirect:
    """Make the link at the click, not before: it is a password for as long as it lives."""
    ott = get_handle(request)
    link = await ott.alink(request.app.state.target + "/") if await ott.asession() else "/"
    return Redirect(link, status_code=303)


def wrapped(port: int) -> Any:
    """The app, whose session cookie a link can carry."""
    secret = bytes.fromhex(os.environ.get("OTT_SECRET") or secrets.token_hex(32))
    app = Litestar(
        [home, me, login, logout, elsewhere],
        middleware=[CookieBackendConfig(secret=secret).middleware],
    )
    app.state.target = target = os.environ.get("OTT_TARGET", "http://127.0.0.1:8001")
    return OTTMiddleware(
        app,
        # Named as long as one cookie holds it; Litestar cuts 4 KB and more into numbered ones.
        # The session is its cookie: at sign-in the browser gets another one, unknown to attackers.
        session=CookieSession("session", probe="/me", renews_key=True),
        secret=secret,
        backend=os.environ.get("OTT_BACKEND", "memory://"),
        store_token="hashed",
        public_origin=os.environ.get("OTT_ORIGIN", f"http://localhost:{port}"),
        handoff_targets=[target],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    uvicorn.run(wrapped(port), host="127.0.0.1", port=port)
