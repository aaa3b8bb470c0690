"""WebSockets: a token in the handshake signs the user in for as long as the socket is open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ..copies import copy_unchecked
from ..errors import DeadToken, InvalidToken, RequestError, SessionSwitch
from ..http.messages import Request, Response
from ..http.origins import check_origin
from ..http.subprotocols import Offer
from ..tokens.names import is_token, malformed_token
from .error_responses import json_error_response
from .handle import Handle
from .redemption import OtherUser, sign_in
from .services import Services

CHANNEL: Final = "websocket"
# RFC 6455 section 7.4.2 leaves the numbers from 4000 on to applications; 1013 means "try again".
_DENIED, _TRY_AGAIN = 4401, 1013


@dataclass(frozen=True)
class Denial:
    """A handshake that is refused.

    :ivar response: for servers that can send one.
    :ivar close_code: for all others, which respond with 403.
    :ivar reason: the code of the error.
    """

    response: Response
    close_code: int
    reason: str


@dataclass(frozen=True)
class Open:
    """A handshake that goes on to the app.

    :ivar cookie: the `Cookie` header that the app sees; None to leave it as it is.
    :ivar close: called when the socket has closed; None if there is nothing to do then.
    """

    cookie: str | None = field(default=None, repr=False)
    close: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)


class WebSockets:
    """Decides handshakes with a token, which the interface has cut out."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def decide(self, request: Request, offer: Offer, handle: Handle) -> Denial | Open:
        """Redeem the token of a handshake: return the denial, or how to call the app.

        :param request: its links are the tokens of the URL, then those of the sub-protocols.
        :param offer: what the client offers of the middleware's sub-protocols.
        """
        # Blank from here on: only that there was a token must be known, and requests may be kept.
        links, request = request.links, copy_unchecked(request, links=("",) * len(request.links))
        if not links:
            return Open()
        services = self._services
        try:
            check_origin(request, services.site.same_origin(request), services.options.trusted)
            # Asked before the token is consumed: if the adapter fails, the token is still good.
            present = await services.guard.current_if_verifiable(request)
            token = _single_token(links, offer)
            outcome = await sign_in(services, token, request, present, channel=CHANNEL)
            if isinstance(outcome, OtherUser):
                raise SessionSwitch
        except RequestError as error:
            services.reports.note_refusal(CHANNEL, error)
            return deny(error)
        session, cookies = outcome.session, outcome.cookies
        services.reports.note_redemption(session)
        if not cookies:
            # The adapter's sessions have none, so that the handshake does not tell this one.
            handle.redeem(CHANNEL, session, request)
            handle.found = session
            return Open()
        # No browser gets the cookies: the app reads them from this handshake alone.
        changed = request.with_cookies({cookie.name: cookie.value or None for cookie in cookies})
        handle.redeem(CHANNEL, session, changed)
        # A session with a token is one that others have, too.
        close = None if session.token else partial(services.guard.discard, cookies, changed)
        return Open(changed.header("cookie"), close)


def _single_token(links: tuple[str, ...], offer: Offer) -> str:
    """Return the one token of a handshake.

    :raises InvalidToken: it has several, or a value that is none.
    """
    in_url, in_offer = len(links) - len(offer.tokens), len(offer.tokens)
    if in_url and in_offer:
        why = "tokens in both the URL and the sub-protocols"
    elif in_url > 1:
        why = "the URL holds two different tokens"
    elif in_offer > 1:
        why = "the sub-protocols hold two tokens"
    elif in_offer and not offer.named:
        # The acceptance could name no sub-protocol but the token.
        why = "a sub-protocol holds a token, and the one that could be accepted is not offered"
    elif is_token(links[0]):
        return links[0]
    else:
        raise malformed_token(links[0])
    raise InvalidToken(why=why, word="malformed_token")


def deny(error: RequestError) -> Denial:
    """Return the denial for an error."""
    response = json_error_response(error)
    if isinstance(error, DeadToken):
        # As the servers respond that cannot send the body.
        response = copy_unchecked(response, status=403)
    code = _TRY_AGAIN if error.status in (429, 503) else _DENIED
    return Denial(response, code, error.code)
