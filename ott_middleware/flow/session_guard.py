"""Guards a session adapter: checks what it returns, and has each cookie end with its session.

One module, though it is long: an adapter is called through nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from ..concurrency import (
    Bind,
    Bound,
    Run,
    call_hook,
    call_plain,
    in_own_thread,
    is_async,
    is_thread_sensitive,
    on_running_loop,
    owner_of,
)
from ..errors import InvalidToken, OTTError, RequestError, SessionUnavailable
from ..hooks import WrongResult, hook_failed, naming
from ..http.cookies import Cookie
from ..http.messages import Request
from ..sessions.base import (
    MAX_UNVERIFIED,
    Session,
    SessionAdapter,
    SignInAdapter,
    UserSession,
    cookie_values,
    refuse_cookie_in_id,
)
from ..sessions.by_cookies import is_stateless
from ..sessions.lifetime import cap_max_age
from .third_party import DroppedCookieWarning, ThirdPartyWarning

logger = logging.getLogger("ott_middleware")


class SessionGuard:
    """Guards the adapter of one middleware.

    :param adapter: already bound to the app.
    :param bind: makes its methods awaitable.
    :param clock: tells the time in Unix seconds.
    :param run: runs a coroutine under WSGI; None under ASGI.
    """

    def __init__(
        self,
        adapter: SessionAdapter,
        *,
        bind: Bind,
        clock: Callable[[], float],
        run: Run[Session | None] | None = None,
    ) -> None:
        self.adapter = adapter
        self._run = run
        self.now = clock
        self._name = type(adapter).__name__
        self._knows_users = self._warned_of_links = False
        #: Whether nothing but its cookie and its end decides about a session.
        self.is_stateless = is_stateless(adapter)
        #: Warns of cookies that a browser drops.
        self.third_party = ThirdPartyWarning()
        self._dropped = DroppedCookieWarning()
        self._current_name = f"{self._name}.current"
        self._suspends = is_async(adapter.current)
        self._owner = owner_of(adapter.current)
        self._current = bind(adapter.current)
        self._establish = bind(adapter.establish)
        #: Whether the adapter can delete a session of `establish` on the server.
        self.discards = type(adapter).discard is not SessionAdapter.discard
        self._discard = bind(adapter.discard) if self.discards else None
        #: Whether the adapter itself creates and ends sessions.
        self.signs_in = isinstance(adapter, SignInAdapter)
        self._sign_in_adapter = adapter if isinstance(adapter, SignInAdapter) else None
        remote_user = adapter.remote_user if isinstance(adapter, SignInAdapter) else None
        #: Whether `REMOTE_USER` tells the app the signed-in user.
        self.sets_remote_user = remote_user is not None
        self._remote_user = bind(remote_user) if remote_user is not None else None

    def in_own_thread(self, function: Bound) -> Bound:
        """Return a coroutine function that calls a thread-sensitive adapter in its own thread."""
        adapter = self.adapter
        if is_thread_sensitive(adapter.current) or is_thread_sensitive(adapter.resolve):
            return in_own_thread(function, adapter.leave_thread)
        return function

    async def current(self, request: Request) -> Session | None:
        """Return the live session that the request carries, or None.

        :raises SessionUnavailable: the adapter failed.
        """
        return self._check(await call_hook(self._current_name, self._current(request)), request)

    def _check(self, session: object, request: Request) -> Session | None:
        """Return what the adapter found in a request, if it is live and safe to use."""
        if session is None or (isinstance(session, Session) and session.expired(self.now())):
            return None
        if not isinstance(session, Session):
            kind = type(session).__name__
            raise SessionUnavailable(
                f"{self._name}.current returned a {kind}: return a Session, or None"
            )
        # Attack: made-up cookies of the largest size fill the store. This line caps the size of a
        # session that only its cookies prove; without it each could take 16 KiB.
        if not self.adapter.vouches and sum(map(len, self._values(session))) > MAX_UNVERIFIED:
            return None
        # An adapter may keep the value out of `token`: the request's own cookies count as well.
        sent = request.parse_cookies(tuple(self.adapter.cookie_names)).values()
        self.check_id(session, chain.from_iterable(sent), "current")
        self._knows_users = True
        return session

    def why_no_session(self, request: Request) -> str:
        """Return why `current` found no session in a request, for the log."""
        names = self.adapter.cookie_names
        if names and not any(request.cookies_named(names).values()):
            listed = " and ".join(map(repr, names))
            return f"no session: the request has no cookie {listed}, which {self._name} reads"
        return f"no session: {self._name}.current found none that is live and safe to use"

    def warn_of_missing_user(self, request: Request) -> None:
        """Log where the user of a request may be, once, if the adapter has found no user yet."""
        text = None if self._knows_users else self.adapter.explain_missing_user(request)
        if text is not None:
            self._knows_users = True
            logger.warning("%s", text)

    def check_id(self, session: Session, values: Iterable[str], method: str) -> None:
        """Check that a session's id is neither one of its cookies nor one of these values.

        :param method: the adapter's method that returned the session.
        :raises SessionUnavailable: the id shows a cookie's value.
        """
        refuse_cookie_in_id(
            session.id,
            {session.token, *self._values(session), *values},
            where=f"{self._name}.{method}",
        )

    def _values(self, session: Session) -> list[str]:
        # The one cookie of an adapter may be JSON itself, with the session's id in it.
        return cookie_values(session.token, several=len(self.adapter.cookie_names) != 1)

    def current_now(self, request: Request) -> Session | None:
        """Return `current` to a synchronous caller.

        :raises RuntimeError: the adapter must wait, which a caller on an event loop cannot.
        """
        if self._run is not None:
            return self._run(self.current(request))
        # Asked once, but for the marks, which an adapter may set once it is bound to an app.
        suspends = self._suspends or self.adapter.suspends is True
        may_wait = getattr(self._owner, "blocks", True) is not False
        if suspends or (may_wait and on_running_loop()):
            raise RuntimeError(f"{self._name} must wait for its result: use `await asession()`")
        # As within `naming`, which each request that has its session read would pay for.
        try:
            session = call_plain(self.adapter.current, request)
        except RequestError:
            raise
        except Exception as error:
            raise hook_failed(self._current_name, error) from error
        return self._check(session, request)

    async def current_if_verifiable(self, request: Request) -> Session | None:
        """Return the session if the adapter can verify sessions; else None."""
        return await self.current(request) if self.adapter.vouches else None

    async def current_or_log(self, request: Request) -> Session | None:
        """Return `current`; log a failure of the adapter, so that the app can still respond."""
        try:
            return await self.current(request)
        except OTTError as error:
            logger.error("%s: %s", type(error).__name__, error)
            return None

    def expose(self, session: Session) -> Session:
        """Return the part of a session that another site may see.

        :raises SessionUnavailable: the adapter failed.
        """
        name = f"{self._name}.expose"
        with naming(name):
            exposed: Any = self.adapter.expose(session)
        if not isinstance(exposed, Session):
            kind = type(exposed).__name__
            raise SessionUnavailable(f"{name} returned a {kind}: return a Session")
        return exposed

    async def establish(self, session: Session, request: Request) -> tuple[Cookie, ...]:
        """Return the cookies that sign in the browser of `request`, none longer than the session.

        :raises SessionUnavailable: the adapter failed.
        """
        cookies = await call_hook(f"{self._name}.establish", self._cookies(session, request))
        # An adapter may keep the value out of `token`, and set the session's id as the cookie.
        self.check_id(session, [cookie.value for cookie in cookies], "establish")
        # The adapter and the app keep their users in one place: a link has brought one here.
        self._knows_users = True
        self._dropped.check(request, cookies)
        return cookies

    async def discard(self, cookies: tuple[Cookie, ...], request: Request) -> None:
        """Delete a session of `establish` whose cookies no browser has; log a failure."""
        if self._discard is None:
            return
        try:
            await call_hook(f"{self._name}.discard", self._discard(cookies, request))
        except OTTError as error:
            logger.error("a session was not deleted: %s: %s", type(error).__name__, error)

    async def _cookies(self, session: Session, request: Request) -> tuple[Cookie, ...]:
        # Iterated in here, where failures are caught: an iterable may fail late, or hold no cookie.
        cookies = await self._establish(session, request)
        if type(cookies) is not list and not isinstance(cookies, Iterable):
            kind = type(cookies).__name__
            raise WrongResult(f"{self._name}.establish returned a {kind}: return a list of Cookie")
        now, https, capped = self.now(), request.scheme == "https", list[Cookie]()
        for cookie in cookies:
            if not isinstance(cookie, Cookie):
                kind = type(cookie).__name__
                raise WrongResult(
                    f"{self._name}.establish returned a list with a {kind}: use Cookie"
                )
            capped.append(cap_max_age(cookie, session, now, https=https))
        return tuple(capped)

    def end(self, request: Request) -> tuple[Cookie, ...]:
        """Return the cookies that delete the session in the browser.

        :raises RuntimeError: the adapter is no `SignInAdapter`.
        """
        https = request.scheme == "https"
        return tuple(
            cookie.limited(cookie.max_age, https=https)
            for cookie in self.require_sign_in_adapter().end(request)
        )

    def refuse_browser_link(self) -> InvalidToken:
        """Return why a link in a browser is refused where the adapter sets no cookies; warn once.

        Called before the token is consumed.
        """
        if not self._warned_of_links:
            self._warned_of_links = True
            logger.warning(
                "a link was opened in a browser, and %s sets no cookie that could sign it in; the "
                "link was refused, its token was not used. Let links lead to a site with sessions "
                "in cookies, or combine the two in an adapter of your own",
                self._name,
            )
        return InvalidToken(
            why=f"{self._name} sets no cookies, so that a link can sign no browser in; nothing was "
            "taken",
            word="no_cookies",
        )

    @property
    def sign_out_path(self) -> str | None:
        """The path of the app's own log-out page; None if the adapter knows none."""
        adapter = self._sign_in_adapter
        return None if adapter is None else adapter.sign_out_path

    def require_sign_in_adapter(self) -> SignInAdapter:
        """Return the adapter, if it creates and ends sessions itself.

        :raises RuntimeError: the adapter is no `SignInAdapter`.
        """
        if self._sign_in_adapter is None:
            raise RuntimeError(
                f"{self._name} can't sign users in or out: use SealedSession (or a SignInAdapter "
                "of your own), or the app's own sign-in"
            )
        return self._sign_in_adapter

    async def remote_user(self, session: Session | None) -> str | None:
        """Return the value of `REMOTE_USER`; None if no user is signed in."""
        if session is None or self._remote_user is None:
            return None
        try:
            name: Any = await call_hook("remote_user=", self._remote_user(UserSession.of(session)))
        except OTTError as error:
            logger.error("%s: %s", type(error).__name__, error)
            return None
        if name is None:
            return None
        # Attack: a name with control characters is read as another user's by an app that trusts it.
        # Such a name is dropped; else its owner would be signed in as the other user.
        if not isinstance(name, str) or not name or not name.isprintable():
            logger.error("remote_user returned no printable name: the request goes on without one")
            return None
        return name.encode("utf-8").decode("latin-1")  # as PEP 3333 wants native strings
