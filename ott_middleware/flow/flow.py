"""The HTTP policy, all of it, once: which requests are ours, and what they get.

A coroutine core without an event loop. The fronts hand in a `Request`, a way to read its body and
its handle; they get back a `Response`, or a `Forward`: what to change about the request before the
app is asked, and how to edit the app's answer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from ..backends.memory import MemoryBackend
from ..concurrency import (
    call_hook,
    check_service_call,
    choose_sync_calls,
    inline,
    on_loop,
    on_running_loop,
)
from ..context import PROBE
from ..errors import (
    ClientRequestsDisabled,
    ConfigurationError,
    DeadToken,
    InvalidTarget,
    InvalidToken,
    MethodNotAllowed,
    MissingOrNullOrigin,
    RequestError,
    SessionUnavailable,
    Unauthorized,
    ValidationError,
)
from ..http import response_headers as answers
from ..http.cookies import Cookie
from ..http.encoding import iso_milliseconds
from ..http.fetch_metadata import is_navigation, is_speculative, never_redeems
from ..http.messages import PRIVATE, Headers, Request, Response, json_response
from ..http.origins import NamedOrigin, Origin, check_origin
from ..http.pages import arrival_page
from ..http.urls import add_parameter
from ..http.verify_body import MAX_BODY, check_length, parse_body
from ..options import Options
from ..sessions.base import Session
from ..tokens.names import hash_token, is_token
from ..tokens.protocol import TokenService
from ..tokens.revocations import revocations
from ..tokens.service import BoundElsewhere, OneTimeTokens
from .error_responses import error_response, json_error_response
from .forward import Forward, Forwarding
from .handle import Handle, handle_class
from .own_site import OwnSite
from .session_guard import SessionGuard

Read = Callable[[int], Awaitable[bytes]]


ARRIVAL_COOKIE = "ott_arrival"
# What says that a browser sent a request. Not Sec-Fetch-Mode: the fetch() of Node.js sends it.
_OF_BROWSERS = ("origin", "cookie", "referer", "sec-fetch-site")


class Flow:
    """What both fronts do.

    :param read_request: makes a `Request` of a scope or environ.
    :param asynchronous: the colour of the front.
    :raises ConfigurationError: options that do not go with that front.
    """

    def __init__(
        self,
        options: Options,
        *,
        read_request: Callable[[Any, tuple[str, ...]], Request],
        asynchronous: bool,
    ) -> None:
        adapter = options.adapter
        self.options = options
        self._own = OwnSite(options)
        self.tokens: TokenService = (
            options.tokens
            if options.tokens is not None
            else OneTimeTokens.from_options(
                MemoryBackend() if options.backend is None else options.backend,
                options.token_options,
                sessions=adapter,
            )
        )
        if not asynchronous:
            _refuse_async_only(getattr(self.tokens, "backend", None))
        hook = options.on_invalid if callable(options.on_invalid) else None
        bind, self.run = choose_sync_calls(adapter.current, adapter.establish, hook)
        self._asynchronous = asynchronous
        if asynchronous:
            bind = on_loop
        # Where the flow itself may wait, so may the service.
        prefix = "" if bind is inline else "a"
        generate, verify, revoke = (
            bind(getattr(self.tokens, prefix + name)) for name in ("generate", "verify", "revoke")
        )
        self._generate = generate = check_service_call(generate, str)
        self._verify = check_service_call(verify, Session)
        self._on_invalid = bind(hook) if hook else None
        clock = getattr(self.tokens, "clock", time.time)
        run = None if asynchronous else self.run
        self._guard = guard = SessionGuard(adapter, bind=bind, clock=clock, run=run)
        if asynchronous and guard.sets_remote_user:
            raise ConfigurationError("remote_user: is for WSGI apps; leave it out under ASGI")
        offers, revokes = options.set_ott_header_on_new_session, options.revoke_on_sign_out
        backend = getattr(self.tokens, "backend", None)
        if revokes and not getattr(backend, "can_revoke", True):
            raise ConfigurationError(
                f"revoke_on_sign_out: True, but {type(backend).__name__} can't revoke tokens; "
                "leave it out, or use another backend"
            )
        if revokes and not adapter.vouches:
            # Tokens for such sessions are counted for a network and cannot be found by a session's
            # id. Accepted, the option would leave every link live after the sign-out.
            raise ConfigurationError(
                f"revoke_on_sign_out: True, but {type(adapter).__name__} can't verify sessions: "
                "give CookieSession a probe= or validate=, set vouches = True on an adapter of "
                "your own whose current() finds live sessions only, or leave the option out"
            )
        self._forwarding = Forwarding(
            guard, generate=generate, revoke=revoke, offers=offers, revokes=revokes
        )
        self.confirm, self.asks_again = self._forwarding.confirm, self._forwarding.asks_again
        self.current = guard.current
        self.current_now = guard.current_now
        self.start_session = guard.start
        self.sets_remote_user = guard.sets_remote_user
        self.handle = handle_class(self, signs_in=guard.signs_in)
        #: Whether every request takes the long way, since its answer must be seen.
        self.watches = guard.signs_in or guard.sets_remote_user or offers or revokes
        self._read_request = read_request
        paths = f"{options.base_path}/one-time-token/"
        self._methods = {f"{paths}generate": "GET", f"{paths}verify": "POST"}

    # What the handle asks for.

    def read_request(self, carrier: Any, links: tuple[str, ...] = ()) -> Request:
        """The request that a scope or environ describes, without its link parameters."""
        request = self._read_request(carrier, links)
        # The token service, which may have another adapter, counts tokens by what this one can do.
        verifiable = bool(self.options.adapter.vouches)
        request = replace(request, verifiable=verifiable, began=revocations.now())
        return replace(request, scheme=self._own.scheme(request)) if self.options.own else request

    def refuse_to_wait(self, name: str, twin: str) -> None:
        """:raises RuntimeError: a method of the token service would hold up the loop."""
        if self._asynchronous and getattr(self.tokens, "blocks", True) and on_running_loop():
            raise RuntimeError(f"{name}() must wait for the backend: use `await {twin}()`")

    def link_target(self, url: str, request: Request, audience: str | None = None) -> Origin:
        """The origin of a URL that may be linked to.

        :param audience: what the app wants the token to be bound to, if it says so.
        :raises InvalidTarget: no absolute URL, not among the targets, or another audience.
        """
        if self.options.query_param is None:
            raise ConfigurationError("query_param: is None, which turns links off")
        origin = self._own.link_target(url, request)
        # A token that is bound to another site than the one that it is sent to would leak to the
        # first and be good at the second: a link is bound to where it points.
        if audience is not None and Origin.parse(audience) != origin:
            raise InvalidTarget(
                f"audience: {audience!r} is not the origin of the URL, {origin}; leave it out"
            )
        return origin

    def link(self, url: str, token: str) -> str:
        """A URL with a token as its link parameter."""
        return add_parameter(url, str(self.options.query_param), token)

    # Every request that the fronts do not pass on at once.

    async def answer(self, request: Request, read: Read, handle: Handle) -> Response | Forward:
        """What a request gets."""
        if PROBE in request.carrier:
            # Another layer's question to the app inside: nothing is issued or redeemed by it.
            return await self._forwarding.plain(request, handle)
        method = self._methods.get(request.path)
        if method is not None:
            return await self._path(request, read, method)
        if request.links:
            return await self._link(request, handle)
        return await self._forwarding.plain(request, handle)

    # The two paths.

    async def _path(self, request: Request, read: Read, method: str) -> Response:
        cors = answers.cors(request, self.options.trusted, method)
        allow = f"{method}, OPTIONS"
        try:
            if request.method == "OPTIONS":
                response = Response(204, (("Allow", allow), *PRIVATE))
            elif request.method != method:
                raise MethodNotAllowed(allow)
            elif method == "GET":
                response = await self._answer_generate(request)
            else:
                response = await self._answer_verify(request, read)
        except RequestError as error:
            response = json_error_response(error)
        return response.with_headers(*cors)

    async def _answer_generate(self, request: Request) -> Response:
        if is_speculative(request):
            return Response(503, PRIVATE)
        check_origin(request, self._own.same_origin(request), self.options.trusted)
        # The rule lets a trusted `Referer` pass; what another site makes a browser fetch without an
        # `Origin`, no script can read, and it would only retire tokens.
        if request.header("sec-fetch-site") == "cross-site" and request.header("origin") is None:
            raise MissingOrNullOrigin
        session = await self.current(request)
        if session is None:
            raise Unauthorized
        if self.options.disable_client_request:
            raise ClientRequestsDisabled
        audience = self._own.named_audience(request)
        # A sign-out by hand may have revoked the session's tokens while the adapter was asked.
        if revocations.revoked_since(session.id, request.began or 0):
            raise Unauthorized
        token = await self._generate(session, expires_in=None, audience=audience, channel="handoff")
        await self.confirm(session, request)
        return json_response(200, {"token": token})

    async def _answer_verify(self, request: Request, read: Read) -> Response:
        # Before the body is looked at: a refused request consumes nothing.
        check_origin(request, self._own.same_origin(request), self.options.trusted)
        check_length(request, MAX_BODY)
        token, audience = parse_body(request, await read(MAX_BODY))
        if audience is not None:
            return await self._answer_server(token, audience, request)
        session = await self._redeem(token, request)
        if self.options.disable_set_session_cookie:
            if not session.token:
                # It is begun just now: the value that the client asks for is that of its cookie.
                cookies = await self._guard.establish(session, request)
                session = replace(session, token=_token_of(cookies))
            return self._verified(session)
        response = self._verified(session)
        cookies = await self._guard.establish(session, request)
        return response.with_headers(*(cookie.header() for cookie in cookies))

    async def _answer_server(self, token: str, audience: str, request: Request) -> Response:
        """Redeem a token for another origin: the response tells of the session, and is none."""
        for name in _OF_BROWSERS:
            # A page could have a browser name any audience, with the visitor's cookies and under
            # an Origin that is trusted here. Only a request that comes from no browser counts.
            if request.header(name) is not None:
                without = ", ".join(map(str.title, _OF_BROWSERS))
                raise ValidationError(
                    "body.audience", f"a request without {without}", f"one with {name.title()}"
                )
        session = await self._redeem(token, request, audience)
        # The other site kept the token of a link, and asks here: with a cookie, or the value of
        # one, it would be the visitor at this site. Nothing is established and `token` is left
        # out, whatever the options say.
        return self._verified(self._guard.exposed(session), tells_token=False)

    def _verified(self, session: Session, *, tells_token: bool = True) -> Response:
        user = None if session.user is None else dict(session.user)
        try:
            return json_response(
                200, {"session": self._session_json(session, tells_token), "user": user}
            )
        except (TypeError, ValueError, RecursionError) as error:
            raise SessionUnavailable("the session's user must be JSON values") from error

    def _session_json(self, session: Session, tells_token: bool) -> dict[str, Any]:
        values: dict[str, Any] = {
            "id": session.id,
            "userId": session.user_id,
            "createdAt": session.created_at and iso_milliseconds(session.created_at),
            "expiresAt": session.expires_at and iso_milliseconds(session.expires_at),
        }
        # Only a client that sets the cookie itself needs the value. With a Set-Cookie it would put
        # an HttpOnly value where scripts can read it.
        if self.options.disable_set_session_cookie and tells_token:
            values["token"] = session.token
        return values

    async def _redeem(self, token: str, request: Request, named: str | None = None) -> Session:
        """Redeem a token: to establish its session at this site, or for a server of another.

        :param named: the audience that the server named. Never one of a browser's request.
        """
        # The site that a link was meant for could keep the token and claim here, by an Origin or a
        # Host, to be that site. What is configured decides; else it would get this site's cookie.
        own = self._own.configured(request) if named is None else NamedOrigin(named)
        try:
            session: Session = await self._verify(token, audience=own, channel="handoff")
        except BoundElsewhere as error:
            if named is None:
                self._own.warn_of_set_up(error.bound_to, own)
            raise
        # The adapter or a user's own token service may give the session another id, and verify's
        # response shows the id.
        self._guard.check_id(session, (), "resolve")
        return session

    # Links.

    async def _link(self, request: Request, handle: Handle) -> Response | Forward:
        if is_speculative(request):
            return Response(503, PRIVATE)
        # Blank from here on: what the request may be kept by needs to know that there was a link.
        links, request = request.links, replace(request, links=("",) * len(request.links))
        if never_redeems(request):
            return await self._forwarding.plain(request, handle)
        navigation = is_navigation(request)
        present: Session | None = None
        try:
            if not navigation:
                check_origin(request, self._own.same_origin(request), self.options.trusted)
            # Asked before anything is taken: should the adapter fail, the link is still good.
            present = await self._guard.vouched(request)
            token = _single(links)
            if navigation and self._is_held_back(request, token):
                return self._arrival(request, token)
            session = await self._redeem(token, request)
            if present and not present.is_same_person(session) and self.options.on_switch == "keep":
                # Attack: an attacker's own link signs the visitor in as the attacker. The link is
                # consumed, and the visitor's session stays.
                return (
                    self._clean(request)
                    if navigation
                    else await self._forwarding.plain(request, handle)
                )
            cookies = await self._guard.establish(session, request)
        except DeadToken as error:
            return await self._dead(request, handle, error, navigation, present)
        except RequestError as error:
            return error_response(request, error)
        if navigation:
            return self._clean(request, *(cookie.header() for cookie in cookies))
        return await self._forwarding.redeemed(request, handle, session, cookies)

    def _clean(self, request: Request, *headers: tuple[str, str]) -> Response:
        forget: Headers = ()
        if request.cookies(ARRIVAL_COOKIE):
            forget = (Cookie(ARRIVAL_COOKIE, "", max_age=0).header(),)
        return Response(
            303,
            (("Location", request.location), ("Content-Length", "0"), *PRIVATE, *headers, *forget),
        )

    def _is_held_back(self, request: Request, token: str) -> bool:
        """Whether the browser held the session cookie back: the link came from another site."""
        return (
            self.options.adapter.strict
            and request.header("sec-fetch-site") == "cross-site"
            # Once for each link: where the second load is cross-site as well, it goes on.
            and hash_token(token)[:16] not in request.cookies(ARRIVAL_COOKIE)
        )

    def _arrival(self, request: Request, token: str) -> Response:
        mark = Cookie(
            ARRIVAL_COOKIE, hash_token(token)[:16], max_age=60, secure=request.scheme == "https"
        )
        return arrival_page(self.link(request.location, token), mark.header())

    async def _dead(
        self,
        request: Request,
        handle: Handle,
        error: DeadToken,
        navigation: bool,
        present: Session | None,
    ) -> Response | Forward:
        # A double click, a reload, the back button: a signed-in visitor sees no error.
        if navigation and present is not None:
            return self._clean(request)
        if self.options.on_invalid == "continue":
            return (
                self._clean(request)
                if navigation
                else await self._forwarding.plain(request, handle)
            )
        if self._on_invalid is None:
            return error_response(request, error)
        try:
            response = await call_hook("on_invalid", self._on_invalid(request, error))
            if not isinstance(response, Response):
                raise SessionUnavailable(f"on_invalid returned a {type(response).__name__}")
        except RequestError as failure:
            return error_response(request, failure)
        return replace(response, headers=answers.protect_used_link(response.headers))


def _refuse_async_only(backend: object) -> None:
    if getattr(backend, "async_only", False):
        raise ConfigurationError(
            f"backend: {type(backend).__name__} is asynchronous only, and this is a WSGI app; add "
            "a put() and a take() that wait for their result (or, where it is made of clients or "
            "engines, a synchronous one)"
        )


def _token_of(cookies: tuple[Cookie, ...]) -> str:
    """The cookies' values, as a session's `token` has them."""
    values = {cookie.name: cookie.value for cookie in cookies if cookie.value}
    return next(iter(values.values())) if len(values) == 1 else json.dumps(values)


def _single(links: tuple[str, ...]) -> str:
    # The same value twice is a clumsy copy; two values leave it open which one is meant.
    if len(set(links)) != 1 or not is_token(links[0]):
        raise InvalidToken
    return links[0]
