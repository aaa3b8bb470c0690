"""Probes an ASGI app: an in-process request that asks for the signed-in user."""

from __future__ import annotations

import asyncio
import contextvars
from urllib.parse import quote

from ..context import PROBE, current_request
from ..errors import SessionUnavailable
from ..flow.handle import attach, new_handle
from ..flow.services import Services
from ..http.messages import Headers, Request, Response
from .asgi_headers import decode_headers, encode_headers
from .asgi_types import ASGIApp, Message, Scope
from .probe import NO_REQUEST, PROBE_BYTES, PROBE_SECONDS, SIGNED_OUT, read_headers

# What the server and the outer layers said of the current request holds for its probe too.
_COPIED = ("app", "asgi", "http_version", "root_path", "server", "client", "state")
# An event loop holds its tasks by weak references only.
_lingering: set[asyncio.Future[None]] = set()


class ASGIProbe:
    """Asks one ASGI app.

    :param app: the app.
    """

    #: Makes the handle that the probed view finds; set as soon as the services exist.
    services: Services

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def call_app(self, request: Request) -> Response:
        """Return the app's response to `request`, asked on behalf of the current request.

        :raises SessionUnavailable: no response within `PROBE_SECONDS`, or the app failed.
        """
        current = current_request() or NO_REQUEST
        if PROBE in current.carrier:
            return SIGNED_OUT
        asyncio.get_running_loop()  # on no loop of asyncio's, refused before a task is made
        scope = {**scope_of(request, current), PROBE: True}
        # The probed view may look at its handle, which finds no session.
        attach(new_handle(self.services), scope)
        exchange = _Exchange()
        # A context of its own: values that the app keeps in its context (a user that it looked up)
        # belong to the current request, and the probe asks about other cookies.
        called = self.app(scope, exchange.receive, exchange.send)
        probe = contextvars.Context().run(asyncio.ensure_future, called)
        # The outcome is always retrieved: otherwise asyncio would log it as an unhandled exception.
        probe.add_done_callback(lambda done: done.cancelled() or done.exception())
        completed = asyncio.ensure_future(exchange.completed.wait())
        try:
            await asyncio.wait(
                {probe, completed}, timeout=PROBE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            completed.cancel()
            if exchange.completed.is_set():
                # The app may go on after its response, as under a server.
                _lingering.add(probe)
                probe.add_done_callback(_lingering.discard)
            else:
                probe.cancel()
        if exchange.completed.is_set():
            return Response(exchange.status, exchange.headers, bytes(exchange.body))
        if not probe.done():
            raise SessionUnavailable(f"probe: no response within {PROBE_SECONDS} s")
        # An app that cancelled itself must not cancel the current request.
        failure = None if probe.cancelled() else probe.exception()
        why = type(failure).__name__ if failure else "it sent no complete response"
        raise SessionUnavailable(f"probe: the app failed: {why}")


def scope_of(request: Request, current: Request) -> Scope:
    """Return the scope of a request, with what the server said of the current one."""
    carrier = current.carrier
    headers = {"host": current.header("host") or "localhost", **request.headers}
    mount = carrier.get("root_path", "")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "root_path": "",
        "server": None,
        "client": None,
        **{name: carrier[name] for name in _COPIED if name in carrier},
        "scheme": current.scheme,
        "method": request.method,
        "path": mount + request.path,
        "raw_path": (quote(mount) + request.target).encode("latin-1"),
        "query_string": b"",
        "headers": encode_headers(tuple(headers.items())),
    }


class _Enough(Exception):
    """Raised in an app that sends more than is read."""


class _Exchange:
    """The server's side of a probe."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.body = bytearray()
        self.completed = asyncio.Event()
        self._received = False

    async def receive(self) -> Message:
        if not self._received:
            self._received = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.completed.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.completed.is_set():
            raise _Enough
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = read_headers(decode_headers(message))
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")[: PROBE_BYTES - len(self.body)]
            if len(self.body) >= PROBE_BYTES or not message.get("more_body", False):
                self.completed.set()
