"""The handshake of a WebSocket over ASGI: hands the flow a `Request`, sends a denial; no policy.

(ASGI specification, WebSocket connection scope, and its Websocket Denial Response extension.)
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from ..context import using_request
from ..flow import Flow
from ..flow.handle import attach, new_handle
from ..flow.websocket import Denial
from ..http.cutting import cut_request
from ..http.subprotocols import NO_OFFER, cut_protocols, read_offer
from ..http.urls import SEEN, spellings_of
from .asgi_headers import encode_headers
from .asgi_request import change_headers
from .asgi_types import ASGIApp, Message, Receive, Scope, Send

_PROTOCOL_HEADER = b"sec-websocket-protocol"
_DENIAL_RESPONSE = "websocket.http.response"


class Sockets:
    """Responds to connections that are no HTTP requests, or passes them to the app.

    :param app: the app.
    :param flow: decides about a socket's token.
    """

    def __init__(self, app: ASGIApp, flow: Flow) -> None:
        services = flow.services
        self._app = app
        self._services = services
        self._ask_flow = services.guard.in_own_thread(flow.decide_socket)
        self._param = services.options.query_param
        self._carries_token = _quick_look(self._param) if self._param is not None else None

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one connection, or pass it to the app."""
        if scope["type"] == "websocket":
            if self._carries_token is not None and self._carries_token(scope):
                await self._decide(scope, receive, send, str(self._param))
                return
            attach(new_handle(self._services), scope)
        await self._app(scope, receive, send)

    async def _decide(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        query = scope.get("query_string", b"").decode("latin-1")
        links, seen = cut_request(scope, query, name)
        offer = read_offer(_offered_protocols(scope), name)
        if offer != NO_OFFER:
            cut_protocols(scope, name)
        request = self._services.read_request(scope, (*links, *offer.tokens), seen)
        # Error reporters record the local variables of a failing adapter's or app's callers.
        del query, links, seen
        handle = new_handle(self._services)
        with using_request(request):
            outcome = await self._ask_flow(request, offer, handle)
        named = offer.named
        del offer, request
        if isinstance(outcome, Denial):
            await _deny(outcome, scope, receive, send)
            return
        if outcome.cookie is not None:
            change_headers(scope, {"cookie": outcome.cookie})
        attach(handle, scope)
        try:
            await self._app(scope, receive, _acknowledge(send, name) if named else send)
        finally:
            if outcome.close is not None:
                await self._services.guard.in_own_thread(outcome.close)()


def _quick_look(name: str) -> Callable[[Scope], bool]:
    """Return a function that tells whether a scope may have something for the middleware."""
    names_it = re.compile(spellings_of(name, SEEN).encode("ascii")).search
    # In the sub-protocols, joined by commas: the name alone, or with a dot behind it.
    offers_it = re.compile(rf"(?:\A|,)\s*{re.escape(name)}(?:\.|\s*(?:,|\Z))").search

    def look(scope: Scope) -> bool:
        query = scope.get("query_string")
        if query and names_it(b"&" + query.replace(b";", b"&")):
            return True
        offered = _offered_protocols(scope)
        # Attack: 64 kB of commas. The strings are searched in C, not one by one.
        return bool(offered) and offers_it(",".join(offered)) is not None

    return look


def _offered_protocols(scope: Scope) -> list[str]:
    """Return the sub-protocols that the client offers."""
    offered = scope.get("subprotocols")
    if offered is not None:
        return list(offered)
    # A server may leave them out.
    values = (value for name, value in scope.get("headers", ()) if name.lower() == _PROTOCOL_HEADER)
    return b",".join(values).decode("latin-1").split(",")


def _acknowledge(send: Send, name: str) -> Send:
    """Return a `send` that names the middleware's sub-protocol, unless the app chooses one.

    A browser fails a connection if its acceptance names none of those that it offered.
    """

    # Not `async def`: a coroutine more for each message of the socket.
    def send_acknowledged(message: Message) -> Awaitable[None]:
        if message["type"] == "websocket.accept" and not _has_choice(message):
            message = {**message, "subprotocol": name}
        return send(message)

    return send_acknowledged


def _has_choice(message: Message) -> bool:
    return bool(message.get("subprotocol")) or any(
        name.lower() == _PROTOCOL_HEADER for name, _ in message.get("headers") or ()
    )


async def _deny(denial: Denial, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse the handshake: servers respond with 403 to a close before the acceptance."""
    if (await receive())["type"] != "websocket.connect":
        return  # the client is gone
    response = denial.response
    if _DENIAL_RESPONSE not in (scope.get("extensions") or ()):
        await send({"type": "websocket.close", "code": denial.close_code, "reason": denial.reason})
        return
    headers = encode_headers(response.headers)
    await send({"type": f"{_DENIAL_RESPONSE}.start", "status": response.status, "headers": headers})
    await send({"type": f"{_DENIAL_RESPONSE}.body", "body": response.body})
