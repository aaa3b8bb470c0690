"""Links: `?ott=` on any URL signs the visitor in, and leads on to the clean URL."""

from __future__ import annotations

from dataclasses import replace

from ..concurrency import call_hook
from ..copies import copy_unchecked
from ..errors import DeadToken, InvalidToken, RequestError, SessionSwitch, SessionUnavailable
from ..http import response_headers
from ..http.fetch_metadata import Kind, classify
from ..http.messages import PRIVATE, Request, Response
from ..http.origins import check_origin
from ..reasons import Reason
from ..sessions.base import Session
from ..tokens.names import NO_TOKEN, is_token
from .account_switch import AccountSwitch
from .clean_url import redirect_to_clean_url
from .error_responses import error_response
from .forms import Read
from .forward import Forward, Forwarding
from .handle import Handle
from .nonces import new_nonce
from .page_first import PageFirst
from .redemption import OtherUser, Redemption
from .services import Services

ANOTHER_USER = Reason(
    "other_user",
    "another user is signed in, and stays so by on_switch='keep'; the token is used up",
)
_NO_CHALLENGE = (
    "issuer is set, so that this site redeems no link that any browser could open; with "
    "issuer_only=False it would"
)


class Links:
    """Decides requests that carried a link parameter, which the interface has cut out."""

    def __init__(self, services: Services, forwarding: Forwarding) -> None:
        self._services = services
        self._forwarding = forwarding
        self._page_first = PageFirst(services, new_nonce)
        self._redemption = Redemption(services)
        self._switch = AccountSwitch(services, new_nonce)

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
            return await self._forwarding.plain(request, handle)
        navigation, token = kind.is_navigation, single_token(links)
        if navigation and not services.options.adapter.uses_cookies:
            error = services.guard.refuse_browser_link()
            services.reports.refused("link", error)
            return await self._refuse(request, handle, error, navigation, None)
        if navigation and token and (page := self._page_first.respond(request, kind, token)):
            return page
        if token is None and self._switch.is_choice(request, links):
            return await self._choose(request, read, links[0])
        present: Session | None = None
        try:
            if not navigation:
                check_origin(request, services.site.same_origin(request), services.options.trusted)
            # Asked before the token is consumed: if the adapter fails, the link is still good.
            present = await services.guard.current_if_verifiable(request)
            if token is None:
                raise malformed_token(links)
            if services.options.refuses_links:
                raise InvalidToken(why=_NO_CHALLENGE, word="no_challenge")
            outcome = await self._redemption.sign_in(token, request, present)
            if isinstance(outcome, OtherUser) and services.on_switch == "ask":
                if not navigation:
                    raise SessionSwitch
                return await self._switch.ask(request, token, outcome)
        except DeadToken as error:
            services.reports.refused("link", error)
            if navigation and token and (page := self._switch.ask_again(request, token, present)):
                return page
            return await self._refuse(request, handle, error, navigation, present)
        except RequestError as error:
            services.reports.refused("link", error)
            return error_response(request, error, services.options)
        if isinstance(outcome, OtherUser):
            services.reports.passed("link", ANOTHER_USER)
            return await self._continue(request, handle, navigation)
        services.reports.redeemed(outcome.session)
        if navigation:
            added = (cookie.header() for cookie in outcome.cookies)
            return redirect_to_clean_url(request, *added)
        return await self._forwarding.redeemed(request, handle, outcome.session, outcome.cookies)

    async def _choose(self, request: Request, read: Read, link: str) -> Response:
        """Respond to a button of the account-switch page.

        :param link: the link parameter of the page's form.
        """
        services = self._services
        try:
            cookies = await self._switch.choose(request, read, link)
        except DeadToken as error:
            services.reports.refused("link", error)
            continues = services.options.on_invalid == "continue"
            response = (
                redirect_to_clean_url(request)
                if continues
                else await self._show_refusal(request, error)
            )
            return response.with_headers(self._switch.forget(request, link).header())
        except RequestError as error:
            services.reports.refused("link", error)
            return error_response(request, error, services.options)
        return redirect_to_clean_url(request, *(cookie.header() for cookie in cookies))

    async def _continue(
        self, request: Request, handle: Handle, navigation: bool
    ) -> Response | Forward:
        """Go on without the link, as the signed-in visitor or as a guest."""
        if navigation:
            return redirect_to_clean_url(request)
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
            return redirect_to_clean_url(request)
        if self._services.options.on_invalid == "continue":
            return await self._continue(request, handle, navigation)
        return await self._show_refusal(request, error)

    async def _show_refusal(self, request: Request, error: DeadToken) -> Response:
        """Return the error, or what the function of `on_invalid` makes of it."""
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


def single_token(links: tuple[str, ...]) -> str | None:
    """Return the token of a link, or None where it is none, or where there are two."""
    # The same value twice is a clumsy copy; two values leave it open which one is meant.
    return links[0] if len(set(links)) == 1 and is_token(links[0]) else None


def malformed_token(links: tuple[str, ...]) -> InvalidToken:
    """Return the error of a link for which `single_token` gave None."""
    why = NO_TOKEN if len(set(links)) == 1 else "the URL holds two different tokens"
    return InvalidToken(why=why, word="malformed_token")
