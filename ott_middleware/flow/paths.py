"""The two paths: generate makes a token for the visitor's session, verify redeems a token."""

from __future__ import annotations

import json
from typing import Any, Literal

from ..copies import copy_unchecked
from ..errors import (
    ClientRequestsDisabled,
    MethodNotAllowed,
    MissingOrNullOrigin,
    RequestError,
    SessionSwitch,
    SessionUnavailable,
    ValidationError,
)
from ..http.cookies import Cookie
from ..http.encoding import iso_milliseconds
from ..http.fetch_metadata import is_speculative
from ..http.messages import PRIVATE, Request, Response, json_response
from ..http.origins import check_origin
from ..http.response_headers import with_cors
from ..http.urls import values_named
from ..http.verify_body import MAX_BODY, check_length, parse_body
from ..reasons import Reason, quote
from ..sessions.base import Session
from .error_responses import json_error_response
from .forms import Read
from .minting import mint, require_session
from .navigation_handoff import NavigationHandoff, names_target, refuse_challenge_without_target
from .redemption import keeps
from .services import Services

# Headers that tell that a browser sent the request. Not Sec-Fetch-Mode: the fetch() of Node.js
# sends it.
_SENT_BY_BROWSERS = ("origin", "cookie", "referer", "sec-fetch-site")
# What `channel=` may name. A confirm link is for mail and chat, and made by the app.
_CHANNELS_OF_CLIENTS = frozenset({"handoff", "websocket"})


class Paths:
    """Responds to requests for the generate path and the verify path."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._navigation_handoff = NavigationHandoff(services)
        paths = f"{services.options.base_path}/one-time-token/"
        #: The method of each path.
        self.methods = {f"{paths}generate": "GET", f"{paths}verify": "POST"}

    async def respond(self, request: Request, read: Read) -> Response:
        """Return the response to a request for one of `methods`."""
        method = self.methods[request.path]
        allow = f"{method}, OPTIONS"
        entry: Literal["generate", "verify"] = "generate" if method == "GET" else "verify"
        try:
            if request.method == "OPTIONS":
                response = Response(204, (("Allow", allow), *PRIVATE))
            elif request.method != method:
                raise MethodNotAllowed(allow, quote(request.method))
            elif method == "GET" and any(";" in each for each in (*request.links, *request.seen)):
                # The failure: of `ott=x;audience=https://b.example` all is cut as the link's value.
                # For a parser that splits at `;` the audience is named: unseen, the token would be
                # bound to nothing. The request is refused.
                raise ValidationError("query", "parameters separated by &", "one with a ;")
            elif method == "GET" and names_target(request):
                response = await self._navigation_handoff.respond(request)
            elif method == "GET":
                response = await self._generate(request)
            else:
                response = await self._verify(request, read)
        except RequestError as error:
            self._services.reports.note_refusal(entry, error)
            response = json_error_response(error)
        headers = with_cors(response.headers, request, self._services.options.trusted, method)
        return copy_unchecked(response, headers=headers)

    def _check_origin(self, request: Request) -> None:
        services = self._services
        check_origin(request, services.site.same_origin(request), services.options.trusted)

    async def _generate(self, request: Request) -> Response:
        services = self._services
        if is_speculative(request):
            services.reports.note_pass("generate", Reason("prefetch", "this request is a prefetch"))
            return Response(503, PRIVATE)
        self._check_origin(request)
        # The rule lets a trusted `Referer` pass. What another site makes a browser fetch without an
        # `Origin`, no script can read, and it would only retire tokens.
        if request.header("sec-fetch-site") == "cross-site" and request.header("origin") is None:
            raise MissingOrNullOrigin(why="a page of another site made a browser send the request")
        session = await require_session(services, request)
        if services.options.disable_client_request:
            raise ClientRequestsDisabled
        audience = services.site.named_audience(request)
        channel = _named_channel(request)
        refuse_challenge_without_target(request)
        token = await mint(services, request, session, audience=audience, channel=channel)
        return json_response(200, {"token": token})

    async def _verify(self, request: Request, read: Read) -> Response:
        services = self._services
        # Before the body is looked at: a refused request consumes nothing.
        self._check_origin(request)
        check_length(request, MAX_BODY)
        token, audience = parse_body(request, await read(MAX_BODY))
        if audience is not None:
            return await self._verify_for_server(token, audience, request)
        sets_cookie = not services.options.disable_set_session_cookie
        present: Session | None = None
        if sets_cookie and request.header("cookie") is not None:
            # Asked before the token is consumed: if the adapter fails, the token is still good.
            present = await services.guard.current_if_verifiable(request)
        session = await services.redeem(token, request)
        if present is not None and keeps(services, present, session):
            raise SessionSwitch
        cookies: tuple[Cookie, ...] = ()
        if sets_cookie:
            response = _session_response(session)
            cookies = await services.guard.establish(session, request)
            services.guard.third_party.check(request, cookies)
            added = (cookie.header() for cookie in cookies)
            response = copy_unchecked(response, headers=(*response.headers, *added))
        else:
            if not session.token:
                # `establish` creates the session: the client asks for the value of its cookie.
                cookies = await services.guard.establish(session, request)
            # Only a client that sets the cookie itself needs the value. With a Set-Cookie it would
            # put an HttpOnly value where scripts can read it.
            response = _session_response(session, token=session.token or _token_of(cookies))
        await services.remember_use(token, session, request, cookies)
        services.reports.note_redemption(session)
        return response

    async def _verify_for_server(self, token: str, audience: str, request: Request) -> Response:
        """Redeem a token for another origin: the response describes a session, and sets none."""
        for name in _SENT_BY_BROWSERS:
            # Attack: a page has a browser name any audience, with the visitor's cookies and under
            # an Origin that is trusted here. Only a request that no browser sent may name one.
            if request.header(name) is not None:
                without = ", ".join(map(str.title, _SENT_BY_BROWSERS))
                raise ValidationError(
                    "body.audience", f"a request without {without}", f"one with {name.title()}"
                )
        session = await self._services.redeem(token, request, audience)
        # Attack: the other site kept the token of a link, and asks here. Nothing is established and
        # `token` is left out, whatever the options say: with a cookie, or the value of one, that
        # site would be the visitor at this site.
        response = _session_response(self._services.guard.expose(session))
        await self._services.remember_use(token, session, request)
        self._services.reports.note_redemption(session)
        return response


def _named_channel(request: Request) -> str:
    """Return the channel that a generate request wants its token to be for.

    :raises ValidationError: it names another one than clients may ask for, or two.
    """
    values = values_named(request.query, "channel")
    if values is None:
        return "handoff"
    if len(values) != 1 or not values <= _CHANNELS_OF_CLIENTS:
        received = "another value" if len(values) == 1 else "several values, or none"
        raise ValidationError("query.channel", '"handoff" or "websocket"', received)
    return values.pop()


def _session_response(session: Session, **token: str) -> Response:
    values: dict[str, Any] = {
        "id": session.id,
        "userId": session.user_id,
        "createdAt": session.created_at and iso_milliseconds(session.created_at),
        "expiresAt": session.expires_at and iso_milliseconds(session.expires_at),
        **token,
    }
    user = None if session.user is None else dict(session.user)
    try:
        return json_response(200, {"session": values, "user": user})
    except (TypeError, ValueError, RecursionError) as error:
        raise SessionUnavailable("the session's user must be JSON values") from error


def _token_of(cookies: tuple[Cookie, ...]) -> str:
    """The cookies' values, as a session's `token` has them."""
    values = {cookie.name: cookie.value for cookie in cookies if cookie.value}
    return json.dumps(values) if len(values) > 1 else next(iter(values.values()), "")
