"""An app that knows nothing but the Basic authentication of HTTP (WsgiDAV) gets a door for links.

    python examples/pair.py basic_wsgi      open http://localhost:8001/login

The door signs users in. Behind it, a few lines turn REMOTE_USER, which the middleware sets, into
the `Authorization` header that the app reads. What a client sends under that name never arrives.

That command starts this file twice, as two sites that link to each other. By itself, `python
examples/basic_wsgi.py --port PORT` reads OTT_ORIGIN (its own address) and OTT_TARGET (the other
site's); both need the same OTT_BACKEND (a URL, as sqlite:///links.db), OTT_SECRET (64 hexadecimal
digits).
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import os
import secrets
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import waitress
from wsgidav.fs_dav_provider import FilesystemProvider
from wsgidav.wsgidav_app import WsgiDAVApp

from ott_middleware import OTTMiddleware, SealedSession, Session

Environ = dict[str, Any]
Start = Callable[..., Any]

SECRET = os.environ.get("OTT_SECRET") or secrets.token_hex(32)
USERS = ("ada", "zoë")
FORM = '<form method="post" action="/login"><input name="name" required><button>Sign in</button>'


def password(name: str) -> str:
    """The user's password in the app, which only the door and the app know."""
    return hmac.new(SECRET.encode(), f"basic {name}".encode(), hashlib.sha256).hexdigest()


class Basic:
    """The lines from REMOTE_USER to `Authorization`."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        environ.pop("HTTP_AUTHORIZATION", None)  # a client's own would pass by the door
        name = environ.get("REMOTE_USER", "").encode("latin-1").decode()  # as PEP 3333 has it
        if name and ":" not in name:  # it would end the name there
            pair = f"{name}:{password(name)}".encode()
            environ["HTTP_AUTHORIZATION"] = "Basic " + b64encode(pair).decode()
        body: Iterable[bytes] = self.app(environ, start_response)
        return body


class Door:
    """Signs users in, and makes their links."""

    def __init__(self, app: Any, target: str) -> None:
        self.app, self.target = app, target

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        """Respond to the paths of the door; pass all others to the app."""
        ott, where = environ["ott.handle"], "/"
        match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
            case "GET", "/login":
                start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
                return [FORM.encode()]
            case "POST", "/login":
                # A real door would ask for more than a name.
                form = environ["wsgi.input"].read(min(int(environ["CONTENT_LENGTH"] or 0), 1000))
                name = parse_qs(form.decode("utf-8", "replace")).get("name", [""])[0].strip()
                if name in USERS:
                    ott.sign_in(name)
            case "GET", "/elsewhere" if ott.session:
                # Made at the click, not before: a link is a password for as long as it lives.
                where = ott.link(self.target + "/")
            case _, "/logout":
                where = "/login"  # `sign_out_path` ends the session
            case _:
                body: Iterable[bytes] = self.app(environ, start_response)
                return body
        start_response("303 See Other", [("Location", where), ("Content-Length", "0")])
        return []


def dav(folder: str) -> Any:
    """The app: it knows users and passwords, and asks for both by Basic authentication."""
    users = {name: {"password": password(name)} for name in USERS}
    return WsgiDAVApp(
        {
            "provider_mapping": {"/": FilesystemProvider(folder, readonly=True)},
            "simple_dc": {"user_mapping": {"*": users}},
            "http_authenticator": {"accept_digest": False, "default_to_digest": False},
            "logging": {"enable": False},
        }
    )


def user_id(session: Session) -> str | None:
    """What REMOTE_USER says of a session."""
    return session.user_id


def wrapped(port: int) -> Any:
    """The app, behind its door."""
    target = os.environ.get("OTT_TARGET", "http://127.0.0.1:8001")
    folder = os.environ.get("DAV_FOLDER") or tempfile.mkdtemp()
    return OTTMiddleware(
        Door(Basic(dav(folder)), target),
        session=SealedSession(SECRET, remote_user=user_id, sign_out_path="/logout"),
        secret=SECRET,
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
