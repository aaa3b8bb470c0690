"""Links: `?ott=` on any URL signs the visitor in, and leads on to the clean URL."""

from __future__ import annotations

from dataclasses import replace

from ..concurrency import call_hook
from ..copies import copy_unchecked
from ..errors import DeadToken, InvalidToken, RequestError, SessionUnavailable
from ..http import response_headers
from ..http.fetch_metadata import Kind, classify
from ..http.messages import PRIVATE, Request, Response
from ..http.origins import check_origin
from ..reasons import Reason
from ..sessions.base import Session
from ..tokens.names import NO_TOKEN, is_token
from .error_responses import error_response
from .forms import Read
from .forward import Forward, Forwarding
from .handle import Handle
from .nonces import new_nonce
from .page_first import PageFirst
from .redemption import OtherUser, Redemption
from .services import Services

_ANOTHER_USER = Reason(
    "other_user",
    "another user is signed in, and stays so by on_switch='keep'; the token is used up",
)


_SEE_OTHER = Response(303)


class Links:
    """Decides requests that carried a link parameter, which the interface has cut out."""

    def __init__(self, services: Services, forwarding: Forwarding) -> None:
        self._services = services
        self._forwarding = forwarding
        self._page_first = PageFirst(services, new_nonce)
        self._redemption = Redemption(services)

    async def decide(self, request: Request, read: Read, handle: Handle) -> Response | Forward:
        """Redeem the token of a link: return the response, or how to call the app.

        :param read: reads the body of a form.
        """
        services = self._services
        kind = classify(request)
        if kind is Kind.PREFETCH:
            services.reports.passed("link", Reason("prefetch", f"this request is {kind.value}"))
            return Response(503, PRIVATE)
        # Blank from here on: only that there was a link must be known, and requests may be kept.
        links, request = request.links, copy_unchecked(request, links=("",) * len(request.links))
        if kind.never_redeems:
            services.reports.passed("link", Reason("not_opened", f"this request is {kind.value}"))
            return await self._forwarding.unredeemed(request, handle)
        navigation, token = kind.is_navigation, _single_token(links)
        if navigation and not services.options.adapter.uses_cookies:
            error = services.guard.refuse_browser_link()
            services.reports.refused("link", error)
            return await self._refuse(request, handle, error, navigation, None)
        if navigation and token and (page := self._page_first.respond(request, kind, token)):
            return page
        present: Session | None = None
        try:
            if not navigation:
                check_origin(request, services.site.same_origin(request), services.options.trusted)
            # Asked before the token is consumed: if the adapter fails, the link is still good.
            present = await services.guard.current_if_verifiable(request)
            if token is None:
                why = NO_TOKEN if len(set(links)) == 1 else "the URL holds two different tokens"
                raise InvalidToken(why=why, word="malformed_token")
            outcome = await self._redemption.sign_in(token, request, present)
        except DeadToken as error:
            services.reports.refused("link", error)
            return await self._refuse(request, handle, error, navigation, present)
        except RequestError as error:
            services.reports.refused("link", error)
            return error_response(request, error, services.options)
        if isinstance(outcome, OtherUser):
            services.reports.passed("link", _ANOTHER_USER)
            return await self._continue(request, handle, navigation)
        services.reports.redeemed(outcome.session)
        if navigation:
            added = (cookie.header() for cookie in outcome.cookies)
            return _redirect_to_clean_url(request, *added)
        return await self._forwarding.redeemed(request, handle, outcome.session, outcome.cookies)

    async def _continue(
        self, request: Request, handle: Handle, navigation: bool
    ) -> Response | Forward:
        """Go on without the link, as the signed-in visitor or as a guest."""
        if navigation:
            return _redirect_to_clean_url(request)
        return await self._forwarding.plain(request, handle)

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
            response = await call_hook("on_invalid=", self._services.on_invalid(request, error))
            if not isinstance(response, Response):
                raise SessionUnavailable(
                    f"on_invalid= returned a {type(response).__name__}: return a Response"
                )
        except RequestError as failure:
            self._services.reports.refused("on_invalid", failure)
            return error_response(request, failure, self._services.options)
        return replace(response, headers=response_headers.protect_used_link(response.headers))


def _redirect_to_clean_url(request: Request, *headers: tuple[str, str]) -> Response:
    # Both the location and the headers of cookies are of a form that HTTP can carry.
    headers = (("Location", request.location), ("Content-Length", "0"), *PRIVATE, *headers)
    return copy_unchecked(_SEE_OTHER, headers=headers)


def _single_token(links: tuple[str, ...]) -> str | None:
    # The same value twice is a clumsy copy; two values leave it open which one is meant.
    return links[0] if len(set(links)) == 1 and is_token(links[0]) else None
