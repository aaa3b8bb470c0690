"""The ASGI interface: builds a `Request` from a scope, sends a `Response`; no policy.

(ASGI specification, HTTP message format.)
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn

from ..context import reset_request, set_request
from ..errors import BadRequest, PayloadTooLarge
from ..flow import Flow
from ..flow.cookie_watch import CookieWatch
from ..flow.forward import Edit
from ..flow.handle import Handle, attach, detach, new_handle
from ..flow.health import Checked
from ..flow.services import Services
from ..flow.watch import Watch
from ..http.cutting import cut_request
from ..http.messages import Request, Response
from ..http.urls import NO_PARAM, PATH_MARK, SEEN, spellings_of
from ..options import Options, OptionValues
from ..sessions.base import Session
from .asgi_headers import decode_headers, encode_headers, raw_cookies
from .asgi_probe import ASGIProbe
from .asgi_request import change_headers, parse_request
from .asgi_websocket import Sockets
from .bridges import keep_scopes
from .fast_path import call_directly, call_instead
from .missing import explain_missing

if TYPE_CHECKING:
    from typing_extensions import Unpack
from .asgi_types import ASGIApp, Message, Receive, Scope, Send


class ASGIMiddleware(Checked):
    """One-time tokens around an ASGI 3 app.

    :param app: the app; it should be wrapped by nothing that needs to see tokens or sessions first.
    :param options: see `OptionValues`.
    :raises ConfigurationError: a bad option.
    """

    #: What responds; set by `call_directly`.
    _respond: ASGIApp

    def __init__(self, app: ASGIApp, **options: Unpack[OptionValues]) -> None:
        built = Options.build(options, app)
        self.app = app
        keep_scopes(app)
        probe = ASGIProbe(app)
        built.adapter.bind(probe.call_app)
        services = Services.build(built, parse_request=parse_request, asynchronous=True)
        self.flow = Flow(services)
        self._ask_flow = services.guard.in_own_thread(self.flow.decide)
        self._watch = self.flow.watch(lambda text: text.encode("latin-1"))
        self._services = probe.services = services
        self._warn_of_second_layer(app)
        self._param = built.query_param
        respond = self._build_fast_path()
        if CookieWatch.is_needed(services):
            respond = self._watch_cookies(respond)
        call_directly(self, ASGIMiddleware, respond)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one connection, or pass it to the app."""
        await self._respond(scope, receive, send)

    # A type checker that saw it would accept every misspelt name.
    if not TYPE_CHECKING:  # pragma: no branch

        def __getattr__(self, name: str) -> NoReturn:
            raise explain_missing(self, name)

    def _build_fast_path(self) -> ASGIApp:
        # Every request of the app pays for each line of the inner function: its names are looked up
        # once, here.
        app, decide, services, make = self.app, self._decide, self._services, Handle
        respond_to_other = Sockets(app, self.flow).respond
        call_app, mark = self._call_watched(app), PATH_MARK
        name = self._param or NO_PARAM
        begins = f"&{name}".encode("ascii")
        names_it = re.compile(spellings_of(name, SEEN).encode("ascii")).search

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await respond_to_other(scope, receive, send)
                return
            try:
                query, path = scope["query_string"], scope["path"]
            except KeyError:  # servers send an empty query; test clients may send none
                await decide(scope, receive, send)
                return
            # The quick look comes first: a parameter that begins with the name, or an escape.
            # (`bytes in bytes` takes twice as long as rpartition(), or as the number of a "%".)
            if mark in path or (
                query
                and (
                    (
                        (0x25 in (query := b"&" + query) or query.rpartition(begins)[1])
                        and names_it(query)
                    )
                    # A parser that splits at ";" would find a token without an "&" before it.
                    or (0x3B in query and names_it(query.replace(b";", b"&")))
                )
            ):
                del query  # error reporters record the local variables of a failing app's callers
                await decide(scope, receive, send)
                return
            # new_handle() and attach(), without the price of the calls.
            handle = make()
            handle.services = services
            handle.carrier = scope.copy()
            scope["ott"] = handle
            await call_app(scope, receive, send)

        return respond

    def _call_watched(self, app: ASGIApp) -> ASGIApp:
        """Return a function that calls the app, and watches for what the flow must see."""
        watch, decide = self._watch, self._decide
        if watch is None:
            return app
        reads_cookies, reads_response = watch.reads_cookies, watch.reads_response
        needs_flow = watch.needs_flow

        # Not `async def`: a coroutine more for each request would take longer than what is looked
        # at.
        def call_app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            handle: Handle = scope["ott"]
            if needs_flow(
                handle, scope, scope["path"], raw_cookies(scope["headers"]) if reads_cookies else ()
            ):
                detach(handle, scope)
                return decide(scope, receive, send)
            if reads_response:
                # The app may add to the very list that is in the handle's copy of the scope.
                send = _watch_response(watch, scope, handle, send, came=[*scope["headers"]])
            return app(scope, receive, send)

        return call_app

    def _watch_cookies(self, respond: ASGIApp) -> ASGIApp:
        """Return a function that also looks at the first responses, until the watch is over."""
        watch = CookieWatch(self._services, lambda: call_instead(self, respond))

        async def respond_and_look(scope: Scope, receive: Receive, send: Send) -> None:
            async def look(message: Message) -> None:
                if message["type"] == "http.response.start":
                    watch.look(scope, message.get("headers", ()))
                await send(message)

            watched = not watch.over and scope["type"] == "http"
            await respond(scope, receive, look if watched else send)

        return respond_and_look

    async def _decide(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope.get("query_string", b"").decode("latin-1")
        request = self._services.read_request(scope, *cut_request(scope, query, self._param))
        del query
        handle = new_handle(self._services)
        reset = set_request(request)
        try:
            outcome = await self._ask_flow(request, _reader(receive), handle)
        finally:
            reset_request(reset)
        if isinstance(outcome, Response):
            await _send(outcome, request, send)
            return
        del request  # it holds the token, which may still be unused
        if outcome.headers:
            change_headers(scope, outcome.headers)
        attach(handle, scope)
        if outcome.edit is not None:
            if self._watch is None or outcome.always:
                send = _edit_response(send, outcome.edit)
            else:
                send = _watch_response(
                    self._watch, scope, handle, send, outcome.edit, outcome.before
                )
        await self.app(scope, receive, send)


def _reader(receive: Receive) -> Callable[[int], Awaitable[bytes]]:
    async def read(limit: int) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                # The client disconnected half-way: the body is not complete.
                raise BadRequest(why="the client disconnected before the body was complete")
            body += message.get("body", b"")
            if len(body) > limit:
                raise PayloadTooLarge
            if not message.get("more_body", False):
                return bytes(body)

    return read


def _watch_response(
    watch: Watch[bytes],
    scope: Scope,
    handle: Handle,
    send: Send,
    edit: Edit | None = None,
    before: Session | None = None,
    came: object = (),
) -> Send:
    # Not `async def`, see `call_app`.
    def send_watched(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start" and watch.needs_edit(
            handle, message.get("headers", ()), before
        ):
            return _edit_response(send, edit or watch.edit(handle, scope, headers=came))(message)
        return send(message)

    return send_watched


def _edit_response(send: Send, edit: Edit) -> Send:
    async def send_edited(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = await edit(message["status"], decode_headers(message))
            message = {**message, "headers": encode_headers(headers)}
        await send(message)

    return send_edited


async def _send(response: Response, request: Request, send: Send) -> None:
    headers = encode_headers(response.headers)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    body = b"" if request.method == "HEAD" else response.body
    await send({"type": "http.response.body", "body": body})
