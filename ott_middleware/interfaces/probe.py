"""The limits of a probe: an in-process request that asks the wrapped app for the signed-in user."""

from __future__ import annotations

from collections.abc import Iterable

from ..http.messages import Headers, Request, Response
from ..sessions.probe import MAX_BODY

#: Seconds to wait for the app's response.
PROBE_SECONDS = 5
#: The bytes of the response's body that are read.
PROBE_BYTES = MAX_BODY
#: The response to a probe that the app sends while it responds to a probe: without it, an app that
#: asks for its session in the probed view would call itself without end.
SIGNED_OUT = Response(401)
#: Stands for the current request where there is none.
NO_REQUEST = Request("GET", "http", "/")


def read_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """Return those headers of the app's response by which its body is read."""
    read = ("content-type", "content-encoding")
    return tuple((name, value) for name, value in headers if name.lower() in read)
