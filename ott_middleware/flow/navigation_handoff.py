"""Navigation handoff: `generate?to=https://b.example/welcome` leads a visitor to another site.

The link needs no code: any page, menu or mail can have it. So any page of another site can have it,
too, and choose a path of the target that leaks its query. Only a visitor who comes from this
site's own pages, a bookmark or a mail program is led on at once. All others are asked first, on a
page that no frame shows; no token is made before. With a code challenge the token works only in the
browser that holds its verifier, and only the target's return path is allowed: nothing is asked.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from urllib.parse import quote, unquote, unquote_to_bytes

from ..context import navigation_handoff
from ..copies import copy_unchecked
from ..errors import (
    ClientRequestsDisabled,
    InvalidTarget,
    LinksDisabled,
    NavigationRequired,
    RequestError,
    Unauthorized,
    ValidationError,
)
from ..http.fetch_metadata import Kind, classify
from ..http.messages import PRIVATE, Request, Response
from ..http.origins import Origin, check_origin
from ..http.pages import continue_page, with_next
from ..http.urls import PATH_MARK, SEEN, add_parameter, values_named
from ..http.whatwg_url import WebURL, parse_url
from ..reasons import Reason
from ..tokens.challenges import is_challenge
from .error_responses import error_response, json_error_response, show_page
from .minting import mint, require_session
from .page_first import PageFirst
from .see_other import redirect
from .services import Services

logger = logging.getLogger("ott_middleware")

_TO, _CHALLENGE = "to", "code_challenge"
_RETURN = f"{PATH_MARK}return"
_OWN_PATHS = (_RETURN, f"{PATH_MARK}generate", f"{PATH_MARK}verify")
# Where the visitor is known to have asked for the URL: a page of this site, or no page at all (the
# address bar, a bookmark, a mail program).
_SILENT = frozenset({"same-origin", "none"})
# Where browsers hold no SameSite=Strict cookie back.
_STRICT_COOKIES_SENT = frozenset({"same-origin", "same-site", "none"})


def names_target(request: Request) -> bool:
    """Return whether a request for the generate path is one for a navigation handoff."""
    return values_named(request.query, _TO) is not None


def refuse_challenge_without_target(request: Request) -> None:
    """Refuse a code challenge on the bare generate path, whose tokens hold none.

    :raises ValidationError: there is one.
    """
    if values_named(request.query, _CHALLENGE) is not None:
        raise ValidationError("query.code_challenge", 'a "to" beside it', "none")


@dataclass(frozen=True, slots=True, repr=False)
class _Target:
    """Where a handoff leads.

    :ivar url: the URL as browsers read it.
    :ivar code_challenge: the challenge as an argument of `generate`; empty without one.
    """

    url: WebURL
    code_challenge: dict[str, str]

    @property
    def query(self) -> str:
        """The query of a request for this handoff, and nothing else."""
        challenge = "".join(f"&{_CHALLENGE}={each}" for each in self.code_challenge.values())
        return f"{_TO}={quote(str(self.url), safe='')}{challenge}"


class NavigationHandoff:
    """Responds to requests for the generate path that name a target."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._options = services.options
        self._param = str(services.options.query_param)
        self._page_first = PageFirst(services)
        # The root of the app, from the generate path: it is right below any mount prefix.
        self._root = "../" * (1 + services.options.base_path.count("/"))

    async def respond(self, request: Request) -> Response:
        """Lead the visitor on to the target, ask first, or refuse."""
        services, kind = self._services, classify(request)
        if kind is Kind.PREFETCH:
            services.reports.note_pass(
                "generate", Reason("prefetch", f"this request is {kind.value}")
            )
            return Response(503, PRIVATE)
        target: _Target | None = None
        try:
            if services.options.query_param is None:
                raise LinksDisabled
            # A navigation by GET has no Origin: a script sent the request.
            if request.header("origin") is not None:
                check_origin(request, services.site.same_origin(request), services.options.trusted)
            if not kind.is_navigation:
                raise NavigationRequired(why=f"this request is {kind.value}")
            target = self._parse_target(request)
            return await self._hand_over(request, kind, target)
        except RequestError as error:
            login_url = self._options.login_url
            if target and login_url and isinstance(error, Unauthorized):
                services.reports.note_pass("generate", error.reason)
                return redirect(with_next(login_url, copy_unchecked(request, query=target.query)))
            services.reports.note_refusal("generate", error)
            if not kind.is_navigation:
                return json_error_response(error)
            return error_response(request, error, self._options, way_out=self._root)

    def _parse_target(self, request: Request) -> _Target:
        """Return where a handoff is to lead.

        :raises InvalidTarget: it may not lead there.
        :raises ValidationError: the code challenge or the channel is none for a handoff.
        """
        code_challenge = _parse_challenge(request)
        channels = values_named(request.query, "channel")
        if channels not in (None, {"handoff"}):
            raise ValidationError("query.channel", '"handoff"', "another value")
        values = values_named(request.query, _TO, _decode) or set()
        url = parse_url(values.pop()) if len(values) == 1 else None
        if url is None:
            raise InvalidTarget(
                why="to: is no absolute http or https URL without a user name, or there are two; "
                "percent-encode the URL"
            )
        if code_challenge and not self._services.binds_browsers:
            raise InvalidTarget(why="code_challenge: the token service cannot bind tokens to it")
        _check_own_paths(url, challenged=bool(code_challenge))
        if not self._services.site.allows_handoff(url, request, own=not code_challenge):
            raise InvalidTarget(
                why=f"to: {url.origin}, or the path, is not in handoff_targets (where wildcards "
                "count for link() only), nor is it this site's own"
            )
        audience = self._services.site.named_audience(request)
        if audience is not None and Origin.parse(audience) != url.origin:
            raise InvalidTarget(why="audience: is not the origin of the URL; leave it out")
        return _Target(url, code_challenge)

    async def _hand_over(self, request: Request, kind: Kind, target: _Target) -> Response:
        site = request.header("sec-fetch-site")
        # Attack: another site shows the URL in a frame. A frame behind a service worker, or of an
        # old browser, looks like a page: only one that says that it is a page, or that has shown
        # one and repeats its nonce, is led on at once.
        confirmed = self._page_first.nonces.are_equal(request, request.seen)
        silent = (
            bool(target.code_challenge)
            or confirmed
            or (kind is Kind.NAVIGATION and site in _SILENT)
        )
        # The adapter is asked late, since the app may be configured after it is wrapped.
        held_back = (
            self._options.adapter.strict and site not in _STRICT_COOKIES_SENT and not confirmed
        )
        # Whether the visitor is signed in shows once a page of this site has loaded the URL.
        session = None if held_back else await require_session(self._services, request)
        if session is not None and self._options.disable_client_request:
            raise ClientRequestsDisabled
        if not silent:
            return self._ask(request, target)
        # With a code challenge: nothing is asked, but a frame gets no token.
        if session is None or (kind is Kind.PAGE_FIRST and not confirmed):
            if blocked := self._page_first.find_blocked(request, "generate"):
                return blocked
            logger.debug("handoff not made yet, a page is shown first")
            return self._page_first.load_again(request)
        with navigation_handoff(target.url.path):
            token = await mint(
                self._services,
                request,
                session,
                audience=str(target.url.origin),
                **target.code_challenge,
            )
        return redirect(add_parameter(str(target.url), self._param, token))

    def _ask(self, request: Request, target: _Target) -> Response:
        """Return a page with a button that leads on: "Continue to b.example"."""
        logger.debug("handoff not made yet, the visitor is asked first")
        cookie = self._page_first.nonces.cookie(request)
        page = continue_page(
            request,
            request.location_with(f"{self._param}{SEEN}={cookie.value}"),
            host=str(target.url.origin).partition("://")[2],
        )
        return show_page(page, self._options, cookie.header())


def _parse_challenge(request: Request) -> dict[str, str]:
    """:raises ValidationError: there is one that is no S256 challenge."""
    values = values_named(request.query, _CHALLENGE)
    if values is None:
        return {}
    if len(values) != 1 or not all(map(is_challenge, values)):
        expected = "one SHA-256 in unpadded base64url"
        raise ValidationError("query.code_challenge", expected, "another value")
    return {_CHALLENGE: values.pop()}


def _check_own_paths(url: WebURL, *, challenged: bool) -> None:
    """Refuse the middleware's own paths as targets, but for the one that a challenge is for.

    :raises InvalidTarget: the path is not the one.
    """
    # Attack: a challenge of the attacker's own makes the handoff silent. It leads to the return
    # path only, which redeems it for the verifier's browser alone; on any other path the token
    # would be carried where the query may leak. Which prefix the target's own has is not known
    # here: the token holds the path, and is worth nothing on another one (see `sign_in`).
    is_return = url.path.endswith(_RETURN) and url.query is None and url.fragment is None
    if challenged and not is_return:
        raise InvalidTarget(why=f"to: is not the path …{_RETURN}, which code_challenge= is for")
    # Neither of these paths would redeem the token: it would stay valid in an access log.
    if not challenged and unquote(url.path).endswith(_OWN_PATHS):
        raise InvalidTarget(why="to: is a path of the middleware itself")


def _decode(spelled: str) -> str:
    """Return the URL of a parameter, percent-decoded; an empty text where it is no UTF-8.

    A plus sign stays one: as a space it would be no part of a URL.
    """
    try:
        return unquote_to_bytes(spelled.encode("latin-1")).decode()
    except UnicodeError:
        return ""
