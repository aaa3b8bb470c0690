"""Pull handoff: this site sends its visitors to another one to be signed in, and takes them back.

A visitor without a session is given a cookie with a secret, the verifier, and is sent to the site
of `issuer` with the hash of it, the challenge. The token that comes back works only with that
verifier (RFC 7636). So a link that is stolen on the way signs in no thief, and no user can be
signed in by the link of another one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..context import PROBE, current_attempt
from ..copies import copy_unchecked
from ..errors import (
    ConfigurationError,
    DeadToken,
    InvalidToken,
    MethodNotAllowed,
    NoAccount,
    RequestError,
    SessionUnavailable,
)
from ..hooks import WrongResult, naming
from ..http.cookies import Cookie
from ..http.fetch_metadata import Kind, accepts_html, classify
from ..http.messages import PRIVATE, Request, Response
from ..http.pages import error_page, try_again_page
from ..reasons import Reason, quote
from ..sessions.base import Session
from ..tokens.challenges import challenge_of
from .account_switch import AccountSwitch
from .error_responses import error_response, json_error_response, show_page
from .forward import Forward, Forwarding
from .handle import Handle
from .links import ANOTHER_USER, malformed_link, single_token
from .own_cookies import own_cookie
from .page_first import PageFirst
from .pull_cookies import PullAttempt
from .pull_start import MOST_RETURNS, PullStart
from .redemption import OtherUser, sign_in
from .see_other import redirect
from .services import Services

_LOOP = Reason(
    "handoff_loop",
    "the visitor came back from the issuer twice within a minute and is still without a session: "
    "the browser drops the session's cookie, or the two sites share no store or secret",
)


class PullHandoff:
    """Sends visitors of protected pages to the issuer, and responds at the return path.

    :ivar path: the return path, below the mount point.
    :raises ConfigurationError: the token service binds no token to a browser.
    """

    def __init__(self, services: Services, forwarding: Forwarding, pull: PullStart) -> None:
        if not services.binds_browsers:
            raise ConfigurationError(
                f"issuer: {type(services.tokens).__name__} cannot bind tokens to browsers; give "
                "its generate() the argument code_challenge, and its verify() the argument "
                "code_verifiers, as those of OneTimeTokens, or leave issuer out"
            )
        self._services = services
        self._forwarding = forwarding
        self._start = pull
        self._cookies = pull.cookies
        self._page_first = PageFirst(services)
        self._switch = AccountSwitch(services)
        self.path = pull.path

    async def start_if_protected(self, request: Request) -> Response | None:
        """Return a redirect to the issuer, for a visitor without a session at a protected page.

        :return: None if the app responds.
        """
        services = self._services
        kind = classify(request)
        if PROBE in request.carrier or not kind.is_navigation:
            return None
        try:
            if not self._is_protected(request):
                return None
            if await services.guard.current(request) is not None:
                return None
            # The cookie of a session may have been held back (SameSite=Strict).
            if page := self._page_first.respond(request, kind, None):
                return page
            started = self._start.start(request, self._start.page_of(request))
        except (RequestError, ConfigurationError) as error:
            failure = error if isinstance(error, RequestError) else SessionUnavailable(str(error))
            services.reports.note_refusal("handoff", failure)
            return error_response(request, failure, services.options)
        if started.loops:
            return self._ask_to_try_again(request, request.location)
        return redirect(started.url, *(cookie.header() for cookie in started.cookies))

    def _is_protected(self, request: Request) -> bool:
        """Return what the option `protected` says of a request.

        :raises SessionUnavailable: it failed.
        """
        protected = self._services.options.protected
        if protected is None:
            return False
        with naming("protected="):
            result: object = protected(request)
            if not isinstance(result, bool):
                kind = type(result).__name__
                raise WrongResult(f"protected returned a {kind}: return True or False")
        return result

    async def respond(self, request: Request, handle: Handle) -> Response | Forward:
        """Redeem the token that comes back: return the response at the return path."""
        services = self._services
        kind = classify(request)
        if kind is Kind.PREFETCH:
            services.reports.note_pass(
                "return", Reason("prefetch", f"this request is {kind.value}")
            )
            return Response(503, PRIVATE)
        # Blank from here on: only that there was a link must be known, and requests may be kept.
        links, request = request.links, copy_unchecked(request, links=("",) * len(request.links))
        if kind.never_redeems:
            services.reports.note_pass(
                "return", Reason("not_opened", f"this request is {kind.value}")
            )
            return await self._forwarding.forward_unredeemed(request, handle)
        if not kind.is_navigation:
            error: RequestError = InvalidToken(
                why=f"this request is {kind.value}", word="not_opened"
            )
            if request.method != "GET":
                error = MethodNotAllowed("GET, HEAD", quote(request.method))
            services.reports.note_refusal("return", error)
            return json_error_response(error)
        if not links:
            # `handoff` of the handle leads here where it would lead round and round.
            return self._ask_to_try_again(request, self._choose_page(request, ()))
        token = single_token(links)
        if token and (page := self._page_first.respond(request, kind, token)):
            return page
        return await self._redeem(request, links, token)

    async def _redeem(
        self, request: Request, links: tuple[str, ...], token: str | None
    ) -> Response:
        services = self._services
        attempts = self._cookies.held(request)
        present: Session | None = None
        try:
            # Asked before the token is consumed: if the adapter fails, the link is still good.
            present = await services.guard.current_if_verifiable(request)
            if token is None:
                raise malformed_link(links)
            # Attack: an attacker has a visitor's browser go to the issuer with a challenge of the
            # attacker's own, and reads the URL that it ends at (on a shared screen, say). Without
            # an attempt, too, the token is taken; else it would stay good for the attacker.
            outcome = await sign_in(
                services,
                token,
                request,
                present,
                code_verifiers=[attempt.verifier for attempt in attempts],
                needs_challenge=True,
                return_path=self._start.return_path(request),
            )
            if isinstance(outcome, OtherUser) and services.on_switch == "ask":
                wanted, ended = self._end_attempt(request, attempts)
                question = await self._switch.ask(request, token, outcome, wanted=wanted)
                return question.with_headers(*ended)
        except DeadToken as error:
            services.reports.note_refusal("return", error)
            wanted = self._choose_page(request, ())
            if token and (page := self._switch.ask_again(request, token, present, wanted=wanted)):
                return page
            return self._refuse(request, error, present, attempts)
        except RequestError as error:
            services.reports.note_refusal("return", error)
            return self._show_error(request, error, self._choose_page(request, attempts))
        if isinstance(outcome, OtherUser):
            services.reports.note_pass("return", ANOTHER_USER)
            return self._lead_on(request, attempts)
        services.reports.note_redemption(outcome.session)
        return self._lead_on(request, attempts, *outcome.cookies)

    def _lead_on(
        self, request: Request, attempts: Sequence[PullAttempt], *cookies: Cookie
    ) -> Response:
        """Return the redirect to the page that the visitor wanted."""
        wanted, ended = self._end_attempt(request, attempts)
        return redirect(wanted, *(cookie.header() for cookie in cookies), *ended)

    def _end_attempt(
        self, request: Request, attempts: Sequence[PullAttempt]
    ) -> tuple[str, list[tuple[str, str]]]:
        """Return the page that the visitor wanted, and the headers that end the attempt."""
        done = _matching(attempts)
        wanted = self._choose_page(request, done or attempts)
        deleted = [own_cookie(attempt.name, "", 0) for attempt in done]
        # Counted though the visitor is signed in: a browser that drops the session's cookie comes
        # back to the same page, which would send it to the issuer once more. The count also says
        # where a reload of the page that asks goes on.
        counted = self._cookies.count_return(request, wanted)
        return wanted, [cookie.header() for cookie in (*deleted, counted)]

    def _refuse(
        self,
        request: Request,
        error: DeadToken,
        present: Session | None,
        attempts: Sequence[PullAttempt],
    ) -> Response:
        """Respond to a token that signs no user in."""
        if isinstance(error, NoAccount):
            return self._show_error(request, error, self._choose_page(request, attempts))
        # A reload, or a response that was lost on the way: the wanted page has the visitor signed
        # in, or starts once more. Not a second time within a minute.
        signed_in = present is not None or self._services.is_second_click(request)
        returns = self._cookies.returns(request).times
        if signed_in or (attempts and len(returns) + 1 < MOST_RETURNS):
            return self._lead_on(request, attempts)
        wanted = self._choose_page(request, _matching(attempts) or attempts)
        return self._ask_to_try_again(request, wanted, error)

    def _choose_page(self, request: Request, attempts: Sequence[PullAttempt]) -> str:
        """Return the path and query that the visitor wanted, as far as that is known."""
        if attempts:
            return attempts[0].wanted
        return self._cookies.returns(request).wanted or self._start.first_page(request)

    def _show_error(self, request: Request, error: RequestError, wanted: str) -> Response:
        """Return an error as a page that leads to the wanted page, or as JSON."""
        options = self._services.options
        if not accepts_html(request):
            return json_error_response(error)
        # The request for the wanted page: "Sign in" leads back to it.
        path, _, query = wanted.partition("#")[0].partition("?")
        there = copy_unchecked(request, target=path, query=query)
        page = error_page(error, there, login_url=options.login_url, way_out=wanted)
        return show_page(page, options, *error.headers)

    def _ask_to_try_again(
        self, request: Request, wanted: str, error: RequestError | None = None
    ) -> Response:
        """Return the page with "Try again", which begins the count of returns anew."""
        options = self._services.options
        if error is None:
            self._services.reports.note_pass("handoff", _LOOP)
        elif not accepts_html(request):
            return json_error_response(error)
        code = "" if error is None else error.code
        page = try_again_page("handoff_failed", request, wanted, code=code)
        return show_page(page, options, self._cookies.forget_returns(request).header())


def _matching(attempts: Sequence[PullAttempt]) -> list[PullAttempt]:
    """Return the attempt whose verifier the redeemed token needed; none before one is redeemed."""
    challenge = current_attempt().code_challenge
    return [attempt for attempt in attempts if challenge_of(attempt.verifier) == challenge]
