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
from ..tokens.names import is_token, malformed_token, parse_link_value
from .account_switch import AccountSwitch
from .confirm import Confirm, as_navigation
from .error_responses import error_response
from .forms import Read, is_form
from .forward import Forward, Forwarding
from .handle import Handle
from .page_first import PageFirst
from .redemption import OtherUser, sign_in
from .see_other import redirect_to_clean_url
from .services import Services

ANOTHER_USER = Reason(
    "other_user",
    "another user is signed in, and stays so by on_switch='keep'; the token is used up",
)


class Links:
    """Decides requests that carried a link parameter, which the interface has cut out."""

    def __init__(self, services: Services, forwarding: Forwarding) -> None:
        self._services = services
        self._forwarding = forwarding
        self._page_first = PageFirst(services)
        self._confirm = Confirm(services)
        self._switch = AccountSwitch(services)

    async def decide(self, request: Request, read: Read, handle: Handle) -> Response | Forward:
        """Redeem the token of a link: return the response, or how to call the app.

        :param read: reads the body of a form.
        """
        services = self._services
        kind = classify(request)
        if kind is Kind.PREFETCH:
            services.reports.note_pass("link", Reason("prefetch", f"this request is {kind.value}"))
            return Response(503, PRIVATE)
        # Blank from here on: only that there was a link must be known, and requests may be kept.
        links, request = request.links, copy_unchecked(request, links=("",) * len(request.links))
        if kind.never_redeems:
            services.reports.note_pass(
                "link", Reason("not_opened", f"this request is {kind.value}")
            )
            return await self._forwarding.forward_unredeemed(request, handle)
        navigation, link = kind.is_navigation, _single_link(links)
        channel, token = link or ("handoff", "")
        # The forms of the two pages, each of which posts to its own URL.
        chooses = link is None and self._switch.is_choice(request, links)
        confirms = channel == "confirm" and not navigation and is_form(request)
        if chooses or confirms:
            request = as_navigation(request)
        try:
            if chooses:
                return await self._choose(request, read, links[0])
            if (navigation or confirms) and not services.options.adapter.uses_cookies:
                error = services.guard.refuse_browser_link()
                services.reports.note_refusal("link", error)
                return await self._refuse(request, handle, error, True, None)
            page: Response | None = None
            if confirms:
                page = await self._confirm.check(request, read, token)
            elif navigation and channel == "confirm":
                page = self._confirm.show(request, token)
            elif navigation and link is not None:
                page = self._page_first.respond(request, kind, token)
            if page is not None:
                return page
            if confirms:
                return await self._redeem(request, handle, (token,), True, "confirm")
            return await self._redeem(request, handle, links, navigation)
        except RequestError as refusal:
            services.reports.note_refusal("link", refusal)
            return error_response(request, refusal, services.options)

    async def _redeem(
        self,
        request: Request,
        handle: Handle,
        links: tuple[str, ...],
        navigation: bool,
        channel: str = "handoff",
    ) -> Response | Forward:
        """Redeem a token: return the response, or how to call the app.

        :param links: the token, or what was given in place of one.
        :param navigation: whether the response is what a visitor sees.
        :param channel: the one that the token was presented for.
        """
        services = self._services
        present: Session | None = None
        try:
            if not navigation:
                check_origin(request, services.site.same_origin(request), services.options.trusted)
            # Asked before the token is consumed: if the adapter fails, the link is still good.
            present = await services.guard.current_if_verifiable(request)
            token = links[0]
            if len(set(links)) > 1 or not is_token(token):
                raise malformed_link(links)
            # Used up where it is refused: the URL stays in the browser's history.
            needs_challenge = channel == "handoff" and services.options.refuses_links
            outcome = await sign_in(
                services, token, request, present, channel=channel, needs_challenge=needs_challenge
            )
            if isinstance(outcome, OtherUser) and services.on_switch == "ask":
                if not navigation:
                    raise SessionSwitch
                return await self._switch.ask(request, token, outcome)
        except DeadToken as error:
            services.reports.note_refusal("link", error)
            if navigation and (page := self._switch.ask_again(request, links[0], present)):
                return page
            return await self._refuse(request, handle, error, navigation, present)
        if isinstance(outcome, OtherUser):
            services.reports.note_pass("link", ANOTHER_USER)
            if navigation:
                return redirect_to_clean_url(request)
            return await self._forwarding.plain(request, handle)
        services.reports.note_redemption(outcome.session)
        if navigation:
            more = self._confirm.clean_up(request, links[0]) if channel == "confirm" else ()
            added = (cookie.header() for cookie in (*outcome.cookies, *more))
            return redirect_to_clean_url(request, *added)
        return await self._forwarding.forward_redeemed(
            request, handle, outcome.session, outcome.cookies
        )

    async def _choose(self, request: Request, read: Read, link: str) -> Response:
        """Respond to a button of the account-switch page.

        :param link: the link parameter of the page's form.
        """
        services = self._services
        try:
            cookies = await self._switch.choose(request, read, link)
        except DeadToken as error:
            services.reports.note_refusal("link", error)
            response = await self._show_refusal(request, error)
            return response.with_headers(self._switch.forget(request, link).header())
        return redirect_to_clean_url(request, *(cookie.header() for cookie in cookies))

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
        if navigation and (present is not None or self._services.is_second_click(request)):
            return redirect_to_clean_url(request)
        if self._services.options.on_invalid == "continue" and not navigation:
            return await self._forwarding.plain(request, handle)
        return await self._show_refusal(request, error)

    async def _show_refusal(self, request: Request, error: DeadToken) -> Response:
        """Return the error, or what `on_invalid` has in its place."""
        if self._services.options.on_invalid == "continue":
            return redirect_to_clean_url(request)
        if self._services.on_invalid is None:
            return error_response(request, error, self._services.options)
        try:
            response = await call_hook("on_invalid=", self._services.on_invalid(request, error))
            if not isinstance(response, Response):
                raise SessionUnavailable(
                    f"on_invalid= returned a {type(response).__name__}: return a Response"
                )
        except RequestError as failure:
            self._services.reports.note_refusal("on_invalid", failure)
            return error_response(request, failure, self._services.options)
        return replace(response, headers=response_headers.protect_used_link(response.headers))


def _single_link(links: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the channel and the token of a link; None for no token, and for two."""
    # The same value twice is a clumsy copy; two values leave it open which one is meant.
    return parse_link_value(links[0]) if len(set(links)) == 1 else None


def single_token(links: tuple[str, ...]) -> str | None:
    """Return the token of a link that works without a page of its own, or None."""
    link = _single_link(links)
    return link[1] if link is not None and link[0] == "handoff" else None


def malformed_link(links: tuple[str, ...]) -> InvalidToken:
    """Return the error of a link for which `single_token` gave None."""
    if len(set(links)) == 1:
        return malformed_token(links[0])
    return InvalidToken(why="the URL holds two different tokens", word="malformed_token")
