"""An old WSGI app that knows REMOTE_USER, and nothing else, gets a door that links can open.

    python examples/pair.py legacy_wsgi     open http://localhost:8001

The app greets whom its server names, as it did behind a company's Apache. The door in front signs
people in; REMOTE_USER is set by the middleware, never by a client.

That command starts this file twice, as two sites that link to each other. By itself, `python
examples/legacy_wsgi.py --port PORT` reads OTT_ORIGIN (its own address) and OTT_TARGET (the other
site's); both need the same OTT_BACKEND (a URL, as sqlite:///links.db), OTT_SECRET (64 hexadecimal
digits).
"""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Callable, Iterable
from html import escape
from typing import Any
from urllib.parse import parse_qs

import waitress

from ott_middleware import OTTMiddleware, SealedSession, Session

Environ = dict[str, Any]
Start = Callable[..., Any]

SIGN_IN = '<form method="post" action="/login"><input name="name" required><button>Sign in</button>'
SIGNED_IN = (
    'Hello, {name}. <a href="/elsewhere">Go to the other host</a>'
    '<form method="post" action="/logout"><button>Sign out</button></form>'
)


def legacy(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """The old app: whoever REMOTE_USER names is signed in."""
    name = environ.get("REMOTE_USER", "").encode("latin-1").decode()  # as PEP 3333 has it
    page = SIGNED_IN.format(name=escape(name)) if name else SIGN_IN
    fields = [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")]
    start_response("200 OK", fields)
    return [page.encode()]


class Door:
    """What is new: people sign in here, and get their links."""

    def __init__(self, app: Any, target: str) -> None:
        self.app, self.target = app, target

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        """Answer what is the door's; the rest is the app's."""
        ott, where = environ["ott.handle"], "/"
        match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
            case "POST", "/login":
                # A real door would ask for more than a name.
                form = environ["wsgi.input"].read(min(int(environ["CONTENT_LENGTH"] or 0), 1000))
                if name := parse_qs(form.decode("utf-8", "replace")).get("name", [""])[0].strip():
                    ott.sign_in(name)
            case "POST", "/logout":
                ott.sign_out()
            case "GET", "/elsewhere" if ott.session:
                # Made at the click, not before: a link is a password for as long as it lives.
                where = ott.link(self.target + "/")
            case _:
                answer: Iterable[bytes] = self.app(environ, start_response)
                return answer
        start_response("303 See Other", [("Location", where), ("Content-Length", "0")])
        return []


def user_id(session: Session) -> str | None:
    """What REMOTE_USER says of a session."""
    return session.user_id


def wrapped(port: int) -> Any:
    """The app, behind its door."""
    target = os.environ.get("OTT_TARGET", "http://127.0.0.1:8001")
    secret = os.environ.get("OTT_SECRET") or secrets.token_bytes(32)
    return OTTMiddleware(
        Door(legacy, target),
        session=SealedSession(secret, remote_user=user_id),
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
