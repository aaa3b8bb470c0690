"""The HTTP policy, written once: which requests the middleware responds to itself, and how.

A coroutine core without an event loop. An interface hands in a `Request`, a way to read its body,
and its handle. The flow returns a `Response`, or a `Forward`, which tells the interface to call the
app. The two paths are in `paths`, links on any URL in `links`, the return path in `pull_handoff`,
requests for the app in `forward`, handshakes of WebSockets in `websocket`; `watch` tells an
interface which requests need none of these.
"""

from __future__ import annotations

from collections.abc import Callable

from ..access_logs import hide_tokens, reach_servers
from ..context import PROBE, Attempt, using_attempt
from ..copies import copy_unchecked
from ..error_reports import reach_reporters
from ..http.fetch_metadata import classify
from ..http.messages import Request, Response
from ..http.response_headers import with_cors
from ..http.subprotocols import Offer
from .forms import Read
from .forward import Forward, Forwarding, Text
from .handle import Handle
from .links import Links
from .paths import Paths
from .pull_handoff import PullHandoff
from .services import Services
from .watch import Watch
from .websocket import CHANNEL, Denial, Open, WebSockets

__all__ = ["Flow", "Handle"]


class Flow:
    """Chooses what handles a request: one of the two paths, the rules for links, or the app."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.options = services.options
        self.tokens = services.tokens
        self._forwarding = Forwarding(services)
        self._paths = Paths(services)
        self._links = Links(services, self._forwarding)
        pull = services.pull
        self._pull = PullHandoff(services, self._forwarding, pull) if pull is not None else None
        self._sockets = WebSockets(services)
        if services.options.query_param is not None:
            hide_tokens(query_param=services.options.query_param)

    async def decide(self, request: Request, read: Read, handle: Handle) -> Response | Forward:
        """Decide one request: return the response, or how to call the app."""
        # A probe is another layer's question to the app inside: it neither issues nor redeems.
        is_path = request.path in self._paths.methods
        returns = self._pull is not None and request.path == self._pull.path
        if PROBE in request.carrier or not (is_path or returns or request.links):
            if self._pull is not None:
                started = await self._pull.start_if_protected(request)
                if started is not None:
                    return started
            return await self._forwarding.plain(request, handle)
        # Servers may have been imported since the app was wrapped; they log this request later.
        reach_servers()
        reach_reporters()
        with using_attempt(Attempt()):
            if is_path:
                return await self._paths.respond(request, read)
            if returns and self._pull is not None:
                return await self._pull.respond(request, handle)
            outcome = await self._links.decide(request, read, handle)
        if (
            isinstance(outcome, Forward)
            or request.header("origin") is None
            or classify(request).is_navigation
        ):
            return outcome
        # A page of a trusted origin must be able to read why its call was refused. The app's own
        # responses keep the app's headers, and preflight requests for any other path are its to
        # respond to.
        headers = with_cors(outcome.headers, request, self.options.trusted, request.method)
        return copy_unchecked(outcome, headers=headers)

    async def decide_socket(self, request: Request, offer: Offer, handle: Handle) -> Denial | Open:
        """Decide the handshake of a WebSocket that may carry a token.

        :param offer: what the client offers of the middleware's sub-protocols.
        """
        reach_servers()
        reach_reporters()
        with using_attempt(Attempt(channel=CHANNEL)):
            return await self._sockets.decide(request, offer, handle)

    def watch(self, encode: Callable[[str], Text]) -> Watch[Text] | None:
        """Return what tells the requests that `decide` must see from those that may pass.

        :param encode: returns a text as the interface has the texts of headers.
        :return: None if all requests may pass, but for links and the two paths.
        """
        services = self.services
        return Watch(services, self._forwarding, encode) if services.watches_responses else None
