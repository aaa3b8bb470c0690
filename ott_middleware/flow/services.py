"""Services: what the options of one middleware come to, bound to its interface (sync or async).

`Flow` and each `Handle` take this value. The two do not know each other. One module, though it is
long: it is the one place where all options meet.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..backends.base import Backend
from ..backends.memory import MemoryBackend
from ..backends.private_store import warn_of_other_sites
from ..clock import system_clock
from ..concurrency import Bound, Run, check_service_call, choose_run, inline
from ..concurrency import on_loop as bind_on_loop
from ..context import ENVIRON_KEY, SCOPE_KEY, current_attempt
from ..copies import copy_unchecked
from ..errors import ConfigurationError, InvalidToken, Unauthorized
from ..events import Events
from ..http.cookies import Cookie
from ..http.messages import Request
from ..http.origins import NamedOrigin
from ..options import OnSwitch, Options
from ..sessions.base import Session
from ..tokens.names import is_token
from ..tokens.protocol import TokenService
from ..tokens.revocations import revocations
from ..tokens.service import BoundElsewhere, OneTimeTokens
from .abuse import build_clients, build_rate_limit, build_receipts, build_replays
from .clients import Clients
from .own_site import OwnSite
from .pull_start import PullStart
from .rate_limit import RateLimit
from .receipts import Receipts
from .replay import Replays
from .reports import Reports
from .revocation import revoke_tokens
from .session_guard import SessionGuard

logger = logging.getLogger("ott_middleware")

ParseRequest = Callable[..., Request]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Services:
    """The parts of one middleware; `build` makes them once, when the app is wrapped.

    :ivar options: the options, validated.
    :ivar site: decides which origins are this site's own, and where links may point.
    :ivar guard: the session adapter, guarded.
    :ivar tokens: the token service, as the options give it.
    :ivar generate, verify, revoke: its methods, bound to the interface.
    :ivar on_invalid: the callback for used and expired links, bound; None without one.
    :ivar pull: starts pull handoffs; None without `issuer`.
    :ivar clients: tells the clients of requests; None where each is the peer.
    :ivar rate_limit: counts attempts to redeem tokens; None without the option.
    :ivar receipts: tells a browser that has used a link itself; None where the session tells.
    :ivar replays: remembers used tokens; None without `on_event` and `on_replay`.
    :ivar reports: logs refusals, and sends events.
    :ivar run: runs a coroutine of the flow for a WSGI interface.
    :ivar parse_request: builds a `Request` from a scope or environ, its links and further fields.
    :ivar handle_key: the key of the handle in a scope or environ.
    """

    options: Options
    site: OwnSite
    guard: SessionGuard
    tokens: TokenService
    on_switch: OnSwitch
    generate: Bound
    reissue: Bound
    verify: Bound
    revoke: Bound
    on_invalid: Bound | None
    pull: PullStart | None
    clients: Clients | None
    rate_limit: RateLimit | None
    receipts: Receipts | None
    replays: Replays | None
    reports: Reports
    run: Run[Any]
    parse_request: ParseRequest
    handle_key: str

    @classmethod
    def build(
        cls, options: Options, *, parse_request: ParseRequest, asynchronous: bool
    ) -> Services:
        """Bind what the options hold to an interface.

        :param parse_request: builds a `Request` from a scope or environ.
        :param asynchronous: whether the interface is ASGI.
        :raises ConfigurationError: options that do not go with the interface or with one another.
        """
        adapter = options.adapter
        site = OwnSite(options)
        tokens = options.tokens
        if tokens is None:
            backend = MemoryBackend() if options.backend is None else options.backend
            tokens = OneTimeTokens.from_options(backend, options.token_options, sessions=adapter)
        own = tokens if isinstance(tokens, OneTimeTokens) else None
        hook = options.on_invalid if callable(options.on_invalid) else None
        bind, prefix = (bind_on_loop, "a") if asynchronous else (inline, "")
        run = choose_run(adapter.current, adapter.establish, hook)
        generate, verify, revoke = (
            bind(getattr(tokens, prefix + name)) for name in ("generate", "verify", "revoke")
        )
        reissue = generate if own is None else bind(getattr(own, f"{prefix}reissue"))
        guard = SessionGuard(
            adapter,
            bind=bind,
            clock=getattr(tokens, "clock", system_clock),
            run=None if asynchronous else run,
        )
        _check(options, guard, own.backend if own else None, asynchronous)
        _log_start(options, own)
        secrets = () if own is None else own.secrets
        reports = _build_reports(options, guard, secrets)
        receipts = build_receipts(options, secrets, guard)
        return cls(
            options=options,
            site=site,
            guard=guard,
            tokens=tokens,
            # Only the package's own service can make a second token of one that was redeemed.
            on_switch="keep" if own is None and options.on_switch == "ask" else options.on_switch,
            reissue=check_service_call(reissue, str),
            generate=check_service_call(generate, str),
            verify=check_service_call(verify, Session),
            revoke=revoke,
            on_invalid=bind(hook) if hook else None,
            pull=PullStart.build(options, site, secrets, guard.now),
            clients=build_clients(options),
            rate_limit=build_rate_limit(options, own, secrets, guard, bind),
            receipts=receipts,
            replays=build_replays(
                options, own, guard, reports, receipts, revoke, asynchronous=asynchronous
            ),
            reports=reports,
            run=run,
            parse_request=parse_request,
            handle_key=SCOPE_KEY if asynchronous else ENVIRON_KEY,
        )

    @property
    def watches_responses(self) -> bool:
        """Whether the flow must see each request and its response, even without a token."""
        options, guard = self.options, self.guard
        offers, revokes = options.set_ott_header_on_new_session, options.revoke_on_sign_out
        return self.handle_sets_cookies or guard.sets_remote_user or offers or revokes

    @property
    def handle_sets_cookies(self) -> bool:
        """Whether the app may call a method of its handle that adds cookies to the response."""
        return self.guard.signs_in or self.pull is not None

    @property
    def asks_again(self) -> bool:
        """Whether the adapter is asked for a session again, after a token was generated for it."""
        guard = self.guard
        return self.options.revoke_on_sign_out and guard.adapter.vouches and not guard.signs_in

    def read_request(
        self,
        carrier: Any,
        links: tuple[str, ...] = (),
        seen: tuple[str, ...] = (),
        began: int | None = None,
    ) -> Request:
        """Return the request that a scope or environ describes.

        :param links: the values of its link parameters, which were cut out.
        :param seen: the values of the parameter that a page of `PageFirst` added, cut out too.
        :param began: the count of revocations when the request came in; None for now.
        """
        request = self.parse_request(
            carrier,
            links,
            seen=seen,
            # The token service, which may have another adapter, counts tokens by what this one can
            # do.
            verifiable=bool(self.options.adapter.vouches),
            began=revocations.now() if began is None else began,
        )
        if self.clients is not None:
            request = copy_unchecked(request, client=self.clients.find(request))
        scheme = self.site.scheme(request)
        return request if request.scheme == scheme else copy_unchecked(request, scheme=scheme)

    @property
    def binds_browsers(self) -> bool:
        """Whether the token service takes a `code_challenge`, and `code_verifiers`."""
        # A service of the app's own need not: the two are no part of `TokenService`.
        return (
            "code_challenge" in inspect.signature(self.tokens.generate).parameters
            and "code_verifiers" in inspect.signature(self.tokens.verify).parameters
        )

    async def redeem(
        self,
        token: str,
        request: Request,
        named: str | None = None,
        *,
        channel: str = "handoff",
        code_verifiers: Sequence[str] = (),
    ) -> Session:
        """Redeem a token: to establish its session at this site, or for a server of another.

        :param named: the audience that the server named. Never one of a browser's request.
        :param channel: the one that the token was presented for.
        :param code_verifiers: secrets that the browser holds, for tokens with a code challenge.
        :raises RequestError: the token cannot be redeemed, or a service failed.
        """
        # Attack: the site that a link was meant for keeps the token, and claims here, by an Origin
        # or a Host, to be that site. This line takes the site's own configured origin; else the
        # claim would be given this site's cookie.
        own = self.site.configured_origin(request) if named is None else NamedOrigin(named)
        attempt = current_attempt()
        well_formed = is_token(token)
        attempt.token, attempt.channel = token if well_formed else None, channel
        limit = self.rate_limit if well_formed else None
        # A service of the app's own may not know the argument, and has no such tokens then.
        more = {"code_verifiers": code_verifiers} if code_verifiers else {}
        try:
            if limit is not None:
                await limit.check(request, token)
            session: Session = await self.verify(token, audience=own, channel=channel, **more)
        except BoundElsewhere as error:
            if named is None:
                self.site.warn_of_set_up(error.bound_to, own)
            raise
        except InvalidToken as error:
            if limit is not None:
                await limit.note_miss(request, token)
            if self.replays is not None:
                await self.replays.look(
                    token, error, request, audience=own, code_verifiers=code_verifiers
                )
            raise
        finally:
            if limit is not None:
                limit.end(request, token)
        # The adapter or a user's own token service may give the session another id, and verify's
        # response shows the id.
        self.guard.check_id(session, (), "resolve")
        return session

    async def remember_use(
        self, token: str, session: Session, request: Request, cookies: Iterable[Cookie] = ()
    ) -> None:
        """Remember that a token established a session, to tell replays.

        :param cookies: what the browser is given.
        """
        if self.replays is not None:
            await self.replays.remember(token, session, request, cookies)

    def is_second_click(self, request: Request) -> bool:
        """Return whether the browser itself used the token of this attempt, by its receipt."""
        token = current_attempt().token
        receipts = self.receipts
        return receipts is not None and token is not None and receipts.holds(token, request)

    async def confirm(self, session: Session, request: Request) -> None:
        """Refuse a token that was generated just now, where the session ended meanwhile.

        A sign-out in another process revokes the tokens that are in the store by then. If it comes
        before the `put`, the new token would outlive the session: only the adapter can tell.

        :raises Unauthorized: the session ended; its tokens are revoked.
        :raises SessionUnavailable: the adapter failed.
        """
        if self.asks_again and is_gone(session, await self.guard.current(request)):
            await self.revoke_tokens(session)
            raise Unauthorized(why="the session ended while the token was generated")

    async def revoke_tokens(self, session: Session) -> None:
        """Revoke the live tokens of a session that ended; a failure is logged."""
        await revoke_tokens(session.id, self.revoke, self.reports, why="at sign-out")


def is_gone(session: Session, again: Session | None) -> bool:
    """Return whether a session has ended.

    :param again: what the adapter says of the same request, asked once more.
    """
    return again is None or not again.is_same_person(session)


def _build_reports(options: Options, guard: SessionGuard, secrets: Sequence[bytes]) -> Reports:
    events = None
    if options.on_event is not None:
        events = Events(options.on_event, guard.now, secrets[0] if secrets else None)
    return Reports(events, limits=bool(options.rates))


def _log_start(options: Options, own: OneTimeTokens | None) -> None:
    """Log what two sites must have in common, and warn where their tokens cannot meet."""
    adapter = type(options.adapter).__name__
    if own is None:
        logger.info("ready: session adapter %s, a token service of the app's own", adapter)
        if options.on_switch == "ask" and options.adapter.vouches:
            logger.info(
                "on_switch: 'ask' acts as 'keep', since the page that asks needs a second token, "
                "which a token service of the app's own cannot make: pass a OneTimeTokens as "
                "tokens=, or choose 'keep' or 'replace'"
            )
        return
    logger.info(
        "ready: fingerprint %s (equal on sites with the same secret and store_token), session "
        "adapter %s, %s",
        own.fingerprint,
        adapter,
        own.backend.name,
    )
    warn_of_other_sites(own.backend, [str(target.origin) for target in options.targets])


def _check(
    options: Options, guard: SessionGuard, backend: Backend | None, asynchronous: bool
) -> None:
    if not asynchronous and backend is not None and backend.async_only:
        raise ConfigurationError(
            f"backend: {backend.name} is asynchronous only, and this is a WSGI app; add "
            "a put() and a take() that wait for their result (or, where it is made of clients or "
            "engines, a synchronous one)"
        )
    if asynchronous and guard.sets_remote_user:
        raise ConfigurationError("remote_user: is for WSGI apps; leave it out under ASGI")
    revokes, adapter = options.revoke_on_sign_out, type(options.adapter).__name__
    if options.issuer is not None and not options.adapter.uses_cookies:
        raise ConfigurationError(
            f"issuer: {options.issuer!r}, but {adapter} sets no cookies, so that no visitor can be "
            "signed in here; leave it out"
        )
    for option in ("revoke_on_sign_out", "set_ott_header_on_new_session"):
        # Both look at the cookies of responses: accepted, neither would ever do anything.
        if getattr(options, option) and not options.adapter.uses_cookies:
            raise ConfigurationError(
                f"{option}: True, but the sessions of {adapter} are in no cookies, so that no "
                "response shows a sign-in or a sign-out; leave it out, and where the app withdraws "
                "an access token, call revoke() of its OneTimeTokens"
            )
    if revokes and backend is not None and not backend.can_revoke:
        raise ConfigurationError(
            f"revoke_on_sign_out: True, but {backend.name} can't revoke tokens; "
            "leave it out, or use another backend"
        )
    if revokes and not options.adapter.vouches:
        # Tokens for such sessions are counted for a network and cannot be found by a session's
        # id. Accepted, the option would leave every link usable after the sign-out.
        raise ConfigurationError(
            f"revoke_on_sign_out: True, but {adapter} can't verify sessions: give CookieSession a "
            "probe= or validate= that tells the user's id, set vouches = True on an adapter of "
            "your own if its current() finds live sessions only, or leave the option out"
        )
