"""Pyramid: an app's own session cookie, carried to another host by a link.

    python examples/pair.py pyramid_app     open http://localhost:8001

Pyramid signs its sessions with OTT_SECRET, which both sites share; whether a user is signed in is
asked of the app itself, at /me.

That command starts this file twice, as two sites that link to each other. By itself, `python
examples/pyramid_app.py --port PORT` reads OTT_ORIGIN (its own address) and OTT_TARGET (the other
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
from pyramid.authentication import SessionAuthenticationHelper
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPSeeOther, HTTPUnauthorized
from pyramid.request import Request
from pyramid.response import Response
from pyramid.security import forget, remember
from pyramid.session import SignedCookieSessionFactory

from ott_middleware import CookieSession, OTTMiddleware, get_handle

SIGN_IN = '<form method="post" action="/login"><input name="name" required><button>Sign in</button>'
SIGNED_IN = (
    'Hello, {name}. <a href="/elsewhere">Go to the other host</a>'
    '<form method="post" action="/logout"><button>Sign out</button></form>'
)


class Policy(SessionAuthenticationHelper):  # type: ignore[misc]  # comes without types
    """Who is signed in stands in the session."""

    def identity(self, request: Request) -> str | None:
        """The person's name."""
        name: str | None = self.authenticated_userid(request)
        return name


def home(request: Request) -> Response:
    """Greet whoever is signed in."""
    name = request.identity
    page = SIGNED_IN.format(name=escape(name)) if name else SIGN_IN
    return Response(page, cache_control="no-store")


def me(request: Request) -> dict[str, str]:
    """Tell who is signed in: what the middleware asks."""
    if not request.identity:
        raise HTTPUnauthorized
    return {"id": request.identity, "name": request.identity}


def login(request: Request) -> Response:
    """Sign somebody in; a real app would ask for more than a name."""
    name = request.POST.get("name", "").strip()
    return HTTPSeeOther("/", headers=remember(request, name) if name else ())


def logout(request: Request) -> Response:
    """Sign out."""
    return HTTPSeeOther("/", headers=forget(request))


def elsewhere(request: Request) -> Response:
    """Make the link at the click, not before: it is a password for as long as it lives."""
    ott, target = get_handle(request), request.registry.settings["target"]
    return HTTPSeeOther(ott.link(target + "/") if ott.session else "/")


def wrapped(port: int) -> Any:
    """The app, whose session cookie a link can carry."""
    target = os.environ.get("OTT_TARGET", "http://127.0.0.1:8001")
    secret = os.environ.get("OTT_SECRET") or secrets.token_hex(32)
    with Configurator(settings={"target": target}) as config:
        config.set_session_factory(SignedCookieSessionFactory(secret))
        config.set_security_policy(Policy())
        for name, view, how in (
            ("/", home, {}),
            ("/me", me, {"renderer": "json"}),
            ("/login", login, {"request_method": "POST"}),
            ("/logout", logout, {"request_method": "POST"}),
            ("/elsewhere", elsewhere, {}),
        ):
            config.add_route(name, name)
            config.add_view(view, route_name=name, **how)
        app = config.make_wsgi_app()
    return OTTMiddleware(
        app,
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
    waitress.serve(wrapped(port), host="127.0.0.1", port=port)
