"""An in-process request to the wrapped ASGI app, which asks for the signed-in user."""

from __future__ import annotations

import asyncio

from .asgi_types import Message
from .probe import PROBE_BYTES

_SURROUNDINGS = ("app", "asgi", "http_version", "root_path", "server", "client", "state")
# A loop holds its tasks by weak references only.
_lingering: set[asyncio.Future[None]] = set()


class _Enough(Exception):
    """Told to an app that sends more than is read."""


class _Exchange:
    """The server's side of a request that the middleware makes of the app."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.answered = asyncio.Event()
        self._asked = False

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.answered.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.answered.is_set():
            raise _Enough
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")[: PROBE_BYTES - len(self.body)]
            if len(self.body) >= PROBE_BYTES or not message.get("more_body", False):
                self.answered.set()
