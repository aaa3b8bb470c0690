"""Account switch: a link for another user than the signed-in one asks the visitor first.

The link's token is used up, and a second one is made: of the channel `confirm`, for this site, this
browser and the session that the question is about. The second token is in no page and no URL, but
in a cookie that scripts cannot read; the page's buttons post to the link's clean URL.

One module, though it is long: the question and the choice rely on each other.
"""

from __future__ import annotations

import base64
import hmac
import logging
import re
from dataclasses import dataclass, field

from ..context import current_attempt
from ..errors import InvalidToken, RequestError, SessionNotFound, Unauthorized, Unavailable
from ..http.cookies import Cookie
from ..http.display_names import display_name
from ..http.messages import Request, Response
from ..http.origins import check_same_origin
from ..http.switch_page import STAY, SWITCH, switch_page
from ..http.urls import add_parameter
from ..reasons import Reason
from ..sessions.base import Session
from ..tokens.challenges import challenge_of
from ..tokens.names import is_token
from . import nonces
from .error_responses import show_page
from .forms import Read, is_form, read_form
from .own_cookies import own_cookie, own_cookies_sent, own_name
from .redemption import OtherUser, sign_in_as_chosen
from .services import Services

logger = logging.getLogger("ott_middleware")

_CHANNEL = "confirm"
_PREFIX = "switch."
_LINK = re.compile(r"switch\.[0-9a-f]{16}")
# Open questions of one browser; two tabs may ask at once.
_MOST = 5
_MOST_DELETED = 16
_STAYS = Reason("other_user", "the visitor chose to stay signed in; the token is used up")


@dataclass(frozen=True, slots=True)
class _Question:
    """What the cookie of a question holds.

    :ivar nonce: what the page's forms repeat.
    :ivar token: the second token.
    :ivar challenge: of the site, the nonce and the session that the question is about.
    :ivar arriving: the name of the link's user, or "" if it has none.
    """

    nonce: str = field(repr=False)
    token: str = field(repr=False)
    challenge: str = field(repr=False)
    arriving: str = field(repr=False)

    def to_cookie(self) -> str:
        """Return the value of the cookie."""
        name = base64.urlsafe_b64encode(self.arriving.encode()).decode("ascii").rstrip("=")
        return ".".join((self.nonce, self.token, self.challenge, name))

    @classmethod
    def from_cookie(cls, value: str) -> _Question | None:
        """Return the question in a cookie's value; None if it holds none."""
        nonce, _, rest = value.partition(".")
        token, _, rest = rest.partition(".")
        challenge, _, name = rest.partition(".")
        if not (is_token(nonce) and is_token(token) and is_token(challenge)):
            return None
        try:
            arriving = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
        except ValueError:
            return None
        return cls(nonce, token, challenge, arriving)


class AccountSwitch:
    """Asks the visitors of one site which user is to be signed in, and does what they choose."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._param = str(services.options.query_param)
        self._cookies = f"{self._param}_switch_"

    async def ask(
        self, request: Request, link: str, outcome: OtherUser, *, wanted: str | None = None
    ) -> Response:
        """Return the page that asks, in response to a token that was redeemed just now.

        :param request: without the link parameter.
        :param link: the value of the link parameter: a reload asks the same question again.
        :param wanted: where the visitor goes on, as a relative URL; None for the request's own.
        :raises RequestError: the token expires now, its session has ended, or a service failed.
        """
        services, attempt = self._services, current_attempt()
        left = int((attempt.expires_at or 0) - services.guard.now())
        if left < 1:
            raise InvalidToken(why="the token expires within a second", word="expired_token")
        nonce = nonces.new_nonce()
        # Attack: the cookie is copied to another browser, or the visitor signs in as a third user
        # meanwhile. The challenge binds the second token to this site, this nonce and this session;
        # without it, the token would sign in any browser that has the cookie.
        challenge = challenge_of(self._verifier(request, nonce, outcome.present))
        # The first token's, under which the source's adapter may have sealed the session.
        audience = attempt.audience
        try:
            token: str = await services.reissue(
                attempt.arrived,
                expires_at=attempt.expires_at,
                audience=audience,
                code_challenge=challenge,
            )
        except Unauthorized as error:
            raise SessionNotFound(why=error.reason.detail) from error
        services.reports.note_generation(token, attempt.arrived, audience, _CHANNEL)
        logger.debug("link: another user is signed in; the account-switch page asks the visitor")
        session = outcome.session
        arriving = display_name(session.user, session.user_id) or ""
        question = _Question(nonce, token, challenge, arriving)
        # Not Strict: a browser that reloads the page calls the request cross-site, as the first one
        # was, and would hold the cookie back. The question would be gone. With Lax, no other site's
        # form brings the cookie along, and a link of another site only shows the question again.
        name = own_name(request, self._cookies + nonces.name_for(link))
        cookies = own_cookie(name, question.to_cookie(), left), *self._oldest(request)
        page = self._page(request, link, question, outcome.present, wanted)
        return page.with_headers(*(cookie.header() for cookie in cookies))

    def ask_again(
        self, request: Request, link: str, present: Session | None, *, wanted: str | None = None
    ) -> Response | None:
        """Return the page of `ask` once more, for a reload; None unless the question is open.

        :param link: the value of the link parameter, which was used.
        :param present: the session that the request carries, if the adapter can verify sessions.
        :param wanted: see `ask`.
        """
        if present is None or self._services.on_switch != "ask":
            return None
        for question in self._held(request, nonces.name_for(link)):
            if self._is_about(question, request, present):
                return self._page(request, link, question, present, wanted)
        return None

    def is_choice(self, request: Request, links: tuple[str, ...]) -> bool:
        """Return whether a request posts one of the page's forms.

        :param links: the values of the link parameter.
        """
        return (
            len(set(links)) == 1
            and _LINK.fullmatch(links[0]) is not None
            and is_form(request)
            and self._services.on_switch == "ask"
        )

    async def choose(self, request: Request, read: Read, link: str) -> tuple[Cookie, ...]:
        """Do what the visitor chose; return the cookies to set on the way to the clean URL.

        :param link: the value of the forms' link parameter.
        :raises RequestError: the request is not the page's, or the token cannot be redeemed.
        """
        services = self._services
        # Attack: another site posts the form, and so switches the visitor to the attacker's
        # account. Only a page of this very origin passes, not even one of `trusted_origins`.
        check_same_origin(request, services.site.same_origin(request))
        present = await services.guard.current_if_verifiable(request)
        form = await read_form(request, read)
        nonce, choice = form.get("nonce", ""), form.get("choice")
        # Attack: a page of this origin that shows an attacker's HTML posts the form. It cannot read
        # the nonce, which this site's page alone repeats.
        held = self._held(request, link.removeprefix(_PREFIX))
        asked = [each for each in held if hmac.compare_digest(each.nonce.encode(), nonce.encode())]
        if not asked or choice not in (STAY, SWITCH):
            return self._pressed_before(request, form, present)
        question, forget = asked[0], self.forget(request, link)
        if choice == STAY:
            await self._use_up(question)
            services.reports.note_pass("link", _STAYS)
            return (forget,)
        if present is None or not self._is_about(question, request, present):
            await self._use_up(question)
            raise InvalidToken(
                why="the session that the visitor was asked over is not the browser's any more",
                word="other_user",
            )
        return (*await self._switch(question, request, present), forget)

    async def _switch(
        self, question: _Question, request: Request, present: Session
    ) -> tuple[Cookie, ...]:
        """Sign in the link's user; return the cookies of the session."""
        try:
            # Attack: over http, a neighbouring host sets the cookie, with the token of a confirm
            # link of the attacker's. Such a token has no challenge, and is refused; else the
            # visitor would be signed in as the attacker.
            outcome = await sign_in_as_chosen(
                self._services,
                question.token,
                request,
                channel=_CHANNEL,
                code_verifiers=(self._verifier(request, question.nonce, present),),
            )
        except InvalidToken as error:
            if error.reason.word not in ("used_token", "unknown_token"):
                raise
            # A second press of the button: the first one decided.
            self._services.reports.note_refusal("link", error)
            return ()
        self._services.reports.note_redemption(outcome.session)
        return outcome.cookies

    def forget(self, request: Request, link: str) -> Cookie:
        """Return the cookie that deletes a question.

        :param link: the value of the forms' link parameter.
        """
        name = own_name(request, self._cookies + link.removeprefix(_PREFIX))
        return own_cookie(name, "", 0)

    def _pressed_before(
        self, request: Request, form: dict[str, str], present: Session | None
    ) -> tuple[Cookie, ...]:
        """Respond to a form without an open question: the back button, or the page stood for long.

        :raises InvalidToken: the visitor wants to switch, and is still who was asked.
        """
        error = InvalidToken(
            why="no question is open: a button was pressed before, the token has expired, or the "
            "form is none of this browser's",
            word="used_token",
        )
        if present is None:
            raise error
        verifier = self._verifier(request, form.get("nonce", ""), present)
        if challenge_of(verifier) == form.get("challenge") and form.get("choice") == SWITCH:
            raise error  # silence would let the visitor believe to be another user now
        self._services.reports.note_refusal("link", error)
        return ()

    async def _use_up(self, question: _Question) -> None:
        attempt = current_attempt()
        attempt.token, attempt.channel = question.token, _CHANNEL
        try:
            # Without its verifier the token is taken and found invalid: no hook is called, and the
            # visitor has missed no attempt.
            await self._services.verify(question.token, channel=_CHANNEL)
        except Unavailable as error:
            # The visitor's choice stands: the cookie is deleted, and the token expires unused.
            self._services.reports.note_refusal("link", error)
        except RequestError:
            pass

    def _page(
        self,
        request: Request,
        link: str,
        question: _Question,
        present: Session,
        wanted: str | None,
    ) -> Response:
        options, param = self._services.options, self._param
        value = f"{_PREFIX}{nonces.name_for(link)}"
        page = switch_page(
            request,
            action=request.location_with(f"{param}={value}")
            if wanted is None
            else add_parameter(wanted, param, value),
            fields={"nonce": question.nonce, "challenge": question.challenge},
            present=display_name(present.user, present.user_id),
            arriving=question.arriving or None,
        )
        return show_page(page, options)

    def _held(self, request: Request, question: str) -> list[_Question]:
        """Return what the browser's cookies of a question hold."""
        values = request.cookies(own_name(request, self._cookies + question))
        return [held for each in values if (held := _Question.from_cookie(each)) is not None]

    def _oldest(self, request: Request) -> list[Cookie]:
        """Return the deletions of the questions that are too many, but for a new one."""
        # Attack: a page opens links of the attacker's one after the other, until the cookies of
        # the visitor are more than servers take. This many stay, else the site would lock out the
        # visitor. Browsers send the oldest first (RFC 6265 section 5.4).
        names = list(dict(own_cookies_sent(request, self._cookies)))
        # No browser has so many: 64 kB of made-up names would take a header each.
        return [own_cookie(name, "", 0) for name in names[: 1 - _MOST][:_MOST_DELETED]]

    def _verifier(self, request: Request, nonce: str, present: Session) -> str:
        """Return the secret that binds a second token to a site, a browser and a session."""
        own = self._services.site.configured_origin(request)
        # A server may keep a session's id while its user changes: both are bound.
        return f"switch {own} {nonce} {present.id} {present.user_id}"

    def _is_about(self, question: _Question, request: Request, present: Session) -> bool:
        """Return whether a session is the one that the visitor was asked over."""
        verifier = self._verifier(request, question.nonce, present)
        return hmac.compare_digest(question.challenge, challenge_of(verifier))
