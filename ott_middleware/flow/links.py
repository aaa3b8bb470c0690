"""Links: `?ott=` on any URL signs the visitor in, and leads on to the clean URL."""

from __future__ import annotations

from dataclasses import replace

from ..concurrency import call_hook
from ..errors import DeadToken, InvalidToken, RequestError, SessionUnavailable
from ..http import response_headers
from ..http.cookies import Cookie
from ..http.fetch_metadata import is_navigation, is_speculative, never_redeems
from ..http.messages import PRIVATE, Headers, Request, Response
from ..http.origins import check_origin
from ..http.pages import arrival_page
from ..http.urls import add_parameter
from ..reasons import Reason
from ..sessions.base import Session
from ..tokens.names import NO_TOKEN, hash_token, is_token
from .error_responses import error_response
from .forward import Forward, Forwarding
from .handle import Handle
from .services import Services

_ANOTHER_USER = Reason(
    "other_user",
    "another user is signed in, and stays so by on_switch='keep'; the token is used up",
)
ARRIVAL_COOKIE = "ott_arrival"


class Links:
    """Decides requests that carried a link parameter, which the interface has cut out."""

    def __init__(self, services: Services, forwarding: Forwarding) -> None:
        self._services = services
        self._forwarding = forwarding

    async def decide(self, request: Request, handle: Handle) -> Response | Forward:
        """Redeem the token of a link: return the response, or how to call the app."""
        services = self._services
        if is_speculative(request):
            services.reports.passed("link", Reason("prefetch", "this request is a prefetch"))
            return Response(503, PRIVATE)
        # Blank from here on: only that there was a link must be known, and requests may be kept.
        links, request = request.links, replace(request, links=("",) * len(request.links))
        if never_redeems(request):
            services.reports.passed("link", Reason("not_opened", "no visitor opened the URL"))
            return await self._forwarding.plain(request, handle)
        navigation = is_navigation(request)
        present: Session | None = None
        try:
            if not navigation:
                check_origin(request, services.site.same_origin(request), services.options.trusted)
            # Asked before the token is consumed: if the adapter fails, the link is still good.
            present = await services.guard.current_if_verifiable(request)
            token = _single_token(links)
            if navigation and self._is_cookie_held_back(request, token):
                return self._load_page_again(request, token)
            session = await services.redeem(token, request)
            keeps = services.options.on_switch == "keep"
            if present and not present.is_same_person(session) and keeps:
                # Attack: an attacker's own link signs the visitor in as the attacker. The link is
                # consumed, and the visitor's session stays.
                services.reports.passed("link", _ANOTHER_USER)
                return await self._continue(request, handle, navigation)
            cookies = await services.guard.establish(session, request)
        except DeadToken as error:
            services.reports.refused("link", error)
            return await self._refuse(request, handle, error, navigation, present)
        except RequestError as error:
            services.reports.refused("link", error)
            return error_response(request, error, services.options)
        if navigation:
            return _redirect_to_clean_url(request, *(cookie.header() for cookie in cookies))
        return await self._forwarding.redeemed(request, handle, session, cookies)

    async def _continue(
        self, request: Request, handle: Handle, navigation: bool
    ) -> Response | Forward:
        """Go on without the link, as the signed-in visitor or as a guest."""
        if navigation:
            return _redirect_to_clean_url(request)
        return await self._forwarding.plain(request, handle)

    def _is_cookie_held_back(self, request: Request, token: str) -> bool:
        """Return whether the browser held a strict cookie back: the link is on another site."""
        return (
            self._services.options.adapter.strict
            and request.header("sec-fetch-site") == "cross-site"
            # Once for each link: where the second load is cross-site as well, it goes on.
            and hash_token(token)[:16] not in request.cookies(ARRIVAL_COOKIE)
        )

    def _load_page_again(self, request: Request, token: str) -> Response:
        """Return a page of this site that opens the link again, now with the cookie."""
        mark = Cookie(
            ARRIVAL_COOKIE, hash_token(token)[:16], max_age=60, secure=request.scheme == "https"
        )
        name = str(self._services.options.query_param)
        return arrival_page(request, add_parameter(request.location, name, token), mark.header())

    async def _refuse(
        self,
        request: Request,
        handle: Handle,
        error: DeadToken,
        navigation: bool,
        present: Session | None,
    ) -> Response | Forward:
        """Respond to a used or expired link, as `on_invalid` says."""
        # A double click, a reload, the back button: a signed-in visitor sees no error.
        if navigation and present is not None:
            return _redirect_to_clean_url(request)
        if self._services.options.on_invalid == "continue":
            return await self._continue(request, handle, navigation)
        if self._services.on_invalid is None:
            return error_response(request, error, self._services.options)
        try:
            response = await call_hook("on_invalid", self._services.on_invalid(request, error))
            if not isinstance(response, Response):
                raise SessionUnavailable(f"on_invalid returned a {type(response).__name__}")
        except RequestError as failure:
            self._services.reports.refused("on_invalid", failure)
            return error_response(request, failure, self._services.options)
        return replace(response, headers=response_headers.protect_used_link(response.headers))


def _redirect_to_clean_url(request: Request, *headers: tuple[str, str]) -> Response:
    forget: Headers = ()
    if request.cookies(ARRIVAL_COOKIE):
        forget = (Cookie(ARRIVAL_COOKIE, "", max_age=0).header(),)
    return Response(
        303,
        (("Location", request.location), ("Content-Length", "0"), *PRIVATE, *headers, *forget),
    )


def _single_token(links: tuple[str, ...]) -> str:
    # The same value twice is a clumsy copy; two values leave it open which one is meant.
    if len(set(links)) != 1:
        raise InvalidToken(why="the URL holds two different tokens", word="malformed_token")
    if not is_token(links[0]):
        raise InvalidToken(why=NO_TOKEN, word="malformed_token")
    return links[0]
