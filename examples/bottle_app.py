"""Bottle: an app without sessions of its own is lent some, which a link carries to another host.

    python examples/pair.py bottle_app      open http://localhost:8001

That command starts this file twice, as two sites that link to each other. By itself, `python
examples/bottle_app.py --port PORT` reads OTT_ORIGIN (its own address) and OTT_TARGET (the other
site's); both need the same OTT_BACKEND (a URL, as sqlite:///links.db), OTT_SECRET (64 hexadecimal
digits).
"""

from __future__ import annotations

import argparse
import os
import secrets
from html import escape
from typing import Any

import waitress
from bottle import Bottle, redirect, request, response

from ott_middleware import OTTMiddleware, SealedSession, get_handle

SIGN_IN = '<form method="post" action="/login"><input name="name" required><button>Sign in</button>'
SIGNED_IN = (
    'Hello, {name}. <a href="/elsewhere">Go to the other host</a>'
    '<form method="post" action="/logout"><button>Sign out</button></form>'
)

app = Bottle()


@app.get("/")
def home() -> str:
    """Greet whoever is signed in."""
    session = get_handle(request).session
    response.set_header("Cache-Control", "no-store")
    return SIGNED_IN.format(name=escape(str(session.user_id))) if session else SIGN_IN


@app.post("/login")
def login() -> None:
    """Sign somebody in; a real app would ask for more than a name."""
    if name := request.forms.name.strip():
        get_handle(request).sign_in({"id": name, "name": name})
    redirect("/", 303)


@app.post("/logout")
def logout() -> None:
    """Sign out; links that were made before are dead from now on."""
    get_handle(request).sign_out()
    redirect("/", 303)


@app.get("/elsewhere")
def elsewhere() -> None:
    """Make the link at the click, not before: it is a password for as long as it lives."""
    ott = get_handle(request)
    redirect(ott.link(app.config["target"] + "/") if ott.session else "/", 303)


def wrapped(port: int) -> Any:
    """The app, whose sessions a link can carry."""
    app.config["target"] = target = os.environ.get("OTT_TARGET", "http://127.0.0.1:8001")
    secret = os.environ.get("OTT_SECRET") or secrets.token_bytes(32)
    return OTTMiddleware(
        app,
        session=SealedSession(secret),
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
    waitress.serve(wrapped(port), host="127.0.0.1", port=port)
