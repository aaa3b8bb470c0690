"""WebSockets in process: the handshake as servers describe it, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import HOST, NOW, HeaderPairs, Members, as_pairs, make_scope, person, run

from ott_middleware import ASGIMiddleware, MemoryBackend, Session, get_handle
from ott_middleware.errors import DeadToken
from ott_middleware.testing import Clock

ORIGIN = f"http://{HOST}"
DENIAL_RESPONSE: Mapping[str, Any] = {"extensions": {"websocket.http.response": {}}}


def socket_scope(
    target: str = "/socket",
    headers: HeaderPairs = (("origin", ORIGIN),),
    protocols: Sequence[str] = (),
    **how: Any,
) -> dict[str, Any]:
    """The scope of a handshake, as uvicorn makes it."""
    pairs = as_pairs(headers)
    if protocols:
        pairs.append(("sec-websocket-protocol", ", ".join(protocols)))
    how.setdefault("scheme", "ws")
    scope = make_scope("GET", target, pairs, **how)
    del scope["method"]
    return {**scope, "type": "websocket", "subprotocols": list(protocols), **how.get("carrier", {})}


@dataclass
class Outcome:
    """What a handshake came to, and the messages that the server got."""

    sent: list[dict[str, Any]]
    received: list[str] = field(default_factory=list)

    @property
    def first(self) -> dict[str, Any]:
        return self.sent[0]

    @property
    def opened(self) -> bool:
        return str(self.first["type"]) == "websocket.accept"

    @property
    def status(self) -> int:
        """The status of the HTTP response."""
        if self.opened:
            return 101
        # The client spoke first, as the specification wants.
        assert self.received == ["websocket.connect"]
        if self.first["type"] == "websocket.close":
            assert len(self.sent) == 1
            return 403
        start, body = self.sent
        assert start["type"] == "websocket.http.response.start"
        assert body["type"] == "websocket.http.response.body"
        return int(start["status"])

    @property
    def code(self) -> str:
        """The code of the error."""
        if self.first["type"] == "websocket.close":
            return str(self.first["reason"])
        error = json.loads(self.sent[1]["body"])
        assert set(error) == {"message", "code"}
        return str(error["code"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.first["headers"]}


async def converse(app: Any, scope: dict[str, Any]) -> Outcome:
    """Connect, and hang up once the app has sent a message, or has refused the handshake."""
    outcome, answered = Outcome([]), asyncio.Event()

    async def receive() -> Any:
        kind = "websocket.disconnect" if outcome.received else "websocket.connect"
        if outcome.received:
            await answered.wait()
        outcome.received.append(kind)
        return {"type": kind, "code": 1000}

    async def send(message: Any) -> None:
        outcome.sent.append(message)
        if message["type"] != "websocket.accept":
            answered.set()

    await app(scope, receive, send)
    return outcome


def open_with(app: Any, token: str, *, in_url: bool = True, path: str = "/socket") -> Outcome:
    """A handshake with a token, of a page of this site."""
    if in_url:
        scope = socket_scope(f"{path}?ott={token}")
    else:
        scope = socket_scope(path, protocols=["ott", f"ott.{token}"])
    outcome: Outcome = run(converse(app, scope))
    return outcome


def said(outcome: Outcome) -> Any:
    """The JSON of the app's first message."""
    assert outcome.opened
    message = outcome.sent[1]
    return json.loads(message.get("text") or message["bytes"])


def ticket(app: Any, session: Session) -> str:
    """A token for a WebSocket."""
    return str(app.flow.tokens.generate(session, channel="websocket"))


def session_in(app: Any, cookie: str) -> Session:
    """The session that a cookie stands for."""
    headers = {"host": HOST, "cookie": cookie}
    request = app.flow.services.read_request(make_scope("GET", "/", headers))
    session = app.flow.options.adapter.current(request)
    assert isinstance(session, Session)
    return session


async def tell(socket: Any) -> dict[str, Any]:
    """What an app sees of a socket by its handle."""
    handle = get_handle(socket)
    session = await handle.asession()
    return {"user": session and session.user_id, "redeemed": handle.redeemed}


class SocketSite:
    """An app with WebSockets behind the middleware."""

    def __init__(
        self,
        accept: Mapping[str, Any] | None = None,
        look: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> None:
        """:param accept: more of the app's acceptance.

        :param look: called by the app with each scope; may be a coroutine function.
        """
        self.clock = Clock(NOW)
        self.scopes: list[Any] = []
        self._accept = {"type": "websocket.accept", **(accept or {})}
        self._look = look
        options.setdefault("session", Members(person("alice"), person("bob")))
        options.setdefault("backend", MemoryBackend(clock=self.clock))
        self.middleware: Any = ASGIMiddleware(self._app, **options)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if self._look is not None:
            looked = self._look(scope)
            if hasattr(looked, "__await__"):
                await looked
        assert (await receive())["type"] == "websocket.connect"
        await send(self._accept)
        await send({"type": "websocket.send", "text": "hello"})

    def ticket(self, name: str = "alice", channel: str = "websocket", **how: Any) -> str:
        return str(self.middleware.flow.tokens.generate(person(name), channel=channel, **how))

    async def connect_scope(self, scope: dict[str, Any]) -> Outcome:
        return await converse(self.middleware, scope)

    def connect(self, target: str = "/socket", **how: Any) -> Outcome:
        """One handshake, of a page of this site unless `headers` say otherwise."""
        outcome: Outcome = run(self.connect_scope(socket_scope(target, **how)))
        return outcome

    def is_alive(self, token: str, channel: str = "websocket", audience: str | None = None) -> bool:
        """Whether a token is still good; it is not, then."""
        try:
            self.middleware.flow.tokens.verify(token, channel=channel, audience=audience)
        except DeadToken:
            return False
        return True

    @property
    def scope(self) -> Any:
        """The scope that the app saw last."""
        return self.scopes[-1]

    @property
    def handle(self) -> Any:
        return get_handle(self.scope)


def headers_of(scope: Any) -> dict[str, str]:
    """A scope's headers; those of one name joined."""
    found: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name, text = raw.decode("latin-1"), value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found
