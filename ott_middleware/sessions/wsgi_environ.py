"""Builds the WSGI environ of a `Request`, ASGI or WSGI, for a WSGI framework."""

from __future__ import annotations

import io
import sys
from typing import Any

from ..http.messages import Request


def environ_of(request: Request) -> dict[str, Any]:
    """Return the environ that a WSGI server would build of a request, without the body.

    Source: PEP 3333, "environ Variables". The body is left for the app to read.
    """
    carrier = request.carrier
    # What a server says of the connection, as REMOTE_ADDR; headers are the request's own.
    said = {
        name: value
        for name, value in carrier.items()
        if name.isupper() and isinstance(value, str) and not name.startswith(("HTTP_", "CONTENT_"))
    }
    environ: dict[str, Any] = {
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SCRIPT_NAME": _native(carrier.get("root_path", "")),
        **said,
        "REQUEST_METHOD": request.method,
        "PATH_INFO": _native(request.path),
        "QUERY_STRING": request.query,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": carrier.get("wsgi.errors", sys.stderr),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    # The same of an ASGI scope.
    for names, pair in (
        (("REMOTE_ADDR", "REMOTE_PORT"), carrier.get("client")),
        (("SERVER_NAME", "SERVER_PORT"), carrier.get("server")),
    ):
        environ.update((name, str(value)) for name, value in zip(names, pair or (), strict=False))
    for name, value in request.headers.items():
        if not name.startswith("content-"):
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    return environ


def _native(text: str) -> str:
    return text.encode("utf-8", "replace").decode("latin-1")
