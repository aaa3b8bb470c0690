"""Falcon (WSGI): an app without sessions of its own is lent some, which a link carries elsewhere.

    python examples/pair.py falcon_wsgi     open http://localhost:8001

That command starts this file twice, as two sites that link to each other. By itself, `python
examples/falcon_wsgi.py --port PORT` reads OTT_ORIGIN (its own address) and OTT_TARGET (the other
site's); both need the same OTT_BACKEND (a URL, as sqlite:///links.db), OTT_SECRET (64 hexadecimal
digits).
"""

from __future__ import annotations

import argparse
import os
import secrets
from html import escape
from typing import Any

import falcon
import waitress

from ott_middleware import OTTMiddleware, SealedSession, get_handle

SIGN_IN = '<form method="post" action="/login"><input name="name" required><button>Sign in</button>'
SIGNED_IN = (
    'Hello, {name}. <a href="/elsewhere">Go to the other host</a>'
    '<form method="post" action="/logout"><button>Sign out</button></form>'
)


class Home:
    """Greets whoever is signed in."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The page."""
        session = get_handle(req).session
        resp.content_type, resp.cache_control = falcon.MEDIA_HTML, ["no-store"]
        resp.text = SIGNED_IN.format(name=escape(str(session.user_id))) if session else SIGN_IN

    def on_post_login(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Sign somebody in; a real app would ask for more than a name."""
        if name := req.get_media().get("name", "").strip():
            get_handle(req).sign_in({"id": name, "name": name})
        raise falcon.HTTPSeeOther("/")

    def on_post_logout(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Sign out; links that were made before are dead from now on."""
        get_handle(req).sign_out()
        raise falcon.HTTPSeeOther("/")


class Elsewhere:
    """Makes the link at the click, not before: it is a password for as long as it lives."""

    def __init__(self, target: str) -> None:
        self.target = target

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Send the browser on."""
        ott = get_handle(req)
        raise falcon.HTTPSeeOther(ott.link(self.target + "/") if ott.session else "/")


def wrapped(port: int) -> Any:
    """The app, whose sessions a link can carry."""
    target = os.environ.get("OTT_TARGET", "http://127.0.0.1:8001")
    app, home = falcon.App(), Home()
    app.add_route("/", home)
    app.add_route("/login", home, suffix="login")
    app.add_route("/logout", home, suffix="logout")
    app.add_route("/elsewhere", Elsewhere(target))
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
