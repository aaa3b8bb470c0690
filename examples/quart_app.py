"""Quart: an app's own session cookie, carried to another host by a link.

    python examples/pair.py quart_app       open http://localhost:8001

Quart signs its sessions with OTT_SECRET, which both sites share; whether a user is signed in is
read from the cookie by Quart's own means, so that the app need not be asked.

That command starts this file twice, as two sites that link to each other. By itself, `python
examples/quart_app.py --port PORT` reads OTT_ORIGIN (its own address) and OTT_TARGET (the other
site's); both need the same OTT_BACKEND (a URL, as sqlite:///links.db), OTT_SECRET (64 hexadecimal
digits).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
from collections.abc import Mapping
from html import escape
from typing import Any

import hypercorn
from hypercorn.asyncio import serve
from itsdangerous import BadSignature
from quart import Quart, make_response, redirect, request, session
from quart.sessions import SecureCookieSessionInterface
from werkzeug.wrappers import Response as Redirect

from ott_middleware import CookieSession, OTTMiddleware, get_handle

SIGN_IN = '<form method="post" action="/login"><input name="name" required><button>Sign in</button>'
SIGNED_IN = (
    'Hello, {name}. <a href="/elsewhere">Go to the other host</a>'
    '<form method="post" action="/logout"><button>Sign out</button></form>'
)

app = Quart(__name__)


@app.get("/")
async def home() -> Any:
    """Greet whoever is signed in."""
    name = session.get("name")
    answer = await make_response(SIGNED_IN.format(name=escape(name)) if name else SIGN_IN)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@app.post("/login")
async def login() -> Redirect:
    """Sign somebody in; a real app would ask for more than a name."""
    if name := (await request.form).get("name", "").strip():
        session["name"] = name
    return redirect("/", 303)


@app.post("/logout")
async def logout() -> Redirect:
    """Sign out."""
    session.clear()
    return redirect("/", 303)


@app.get("/elsewhere")
async def elsewhere() -> Redirect:
    """Make the link at the click, not before: it is a password for as long as it lives."""
    ott = get_handle(request)
    return redirect(await ott.alink(app.config["TARGET"] + "/") if ott.session else "/", 303)


def signed_in(cookies: Mapping[str, str]) -> dict[str, Any] | None:
    """Who is signed in by a cookie that Quart signed."""
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    age = int(app.permanent_session_lifetime.total_seconds())
    try:
        name = serializer.loads(cookies["session"], max_age=age).get("name") if serializer else None
    except BadSignature:  # an expired one too
        return None
    # An id that holds through all the cookies of a session, which Quart signs anew now and then.
    return {"id": name, "user_id": name, "user": {"id": name, "name": name}} if name else None


signed_in.blocks = False  # type: ignore[attr-defined]  # it responds from memory: needs no thread


def wrapped(port: int) -> Any:
    """The app, whose session cookie a link can carry."""
    app.secret_key = secret = os.environ.get("OTT_SECRET") or secrets.token_hex(32)
    app.config["TARGET"] = target = os.environ.get("OTT_TARGET", "http://127.0.0.1:8001")
    return OTTMiddleware(
        app,
        # The session is its cookie: at sign-in the browser gets another one, unknown to attackers.
        session=CookieSession("session", validate=signed_in, renews_key=True),
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
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{port}")
    asyncio.run(serve(wrapped(port), config))
