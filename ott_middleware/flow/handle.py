"""The handle of a request: how the app reads the session, makes links, and signs users in or out.

An app finds the handle of its request with `get_handle`. This module is longer than 300 lines since
the docstrings of its methods are the documentation page.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from ..concurrency import drive, refuse_on_loop
from ..context import reset_request, set_request, using_request
from ..errors import ConfigurationError, Unauthorized
from ..http.cookies import Cookie
from ..http.messages import Request
from ..http.urls import add_parameter
from ..not_awaited import must_be_awaited
from ..sessions.base import Session
from ..tokens.names import link_value
from .pull_start import Started
from .services import Services, is_gone


class Handle:
    """The session of one request, new tokens and links for it, sign-in and sign-out.

    A handle costs nothing until one of its methods is called.
    """

    # Every request of the app pays for making one: no __init__, and slots that stay unset until
    # they are needed.
    __slots__ = (
        "_changed",
        "_closed",
        "_ended",
        "_handoffs",
        "_redeemed",
        "_replaced",
        "_request",
        "_session",
        "began",
        "carrier",
        "found",
        "services",
    )

    #: What the middleware's options come to; set by the interface.
    services: Services
    #: A copy of the scope or environ; set by the interface.
    carrier: Any
    #: `Request.began`, where the request was noted before the app was called.
    began: int | None
    #: The session that the flow has found before the app was called, if there is one: of an adapter
    #: that would say the same again.
    found: Session
    _session: Session | None

    @property
    def session(self) -> Session | None:
        """The session that the request carries (or that it just redeemed), or None.

        Resolved once, on first use.

        :raises RuntimeError: the adapter must wait for its result: use `await asession()`.
        :raises SessionUnavailable: the adapter failed.
        """
        if not self._knows_session():
            request = self.request
            reset = set_request(request)
            try:
                self._session = self.services.guard.current_now(request)
            finally:
                reset_request(reset)
        return self._session

    @must_be_awaited
    async def asession(self) -> Session | None:
        """`session`, awaited."""
        if not self._knows_session():
            request = self.request
            with using_request(request):
                self._session = await self.services.guard.current(request)
        return self._session

    def _knows_session(self) -> bool:
        """Return whether the session was resolved already, or found before the app was called."""
        if hasattr(self, "_session"):
            return True
        found: Session | None = getattr(self, "found", None)
        # The app may ask late: by then the session may have expired.
        if found is None or found.expired(self.services.guard.now()):
            return False
        self._session = found
        return True

    def known_session(self) -> Session | None:
        """The session, if it was resolved already; None otherwise."""
        return getattr(self, "_session", None)

    def redeem(self, channel: str, session: Session, request: Request) -> None:
        """Make this the handle of a request that redeemed a token."""
        self._redeemed, self._request = channel, request
        # A session without a cookie value was created by `establish` just now: left unset, it is
        # read from the new cookies on first use. Where there are no cookies, this is all of it.
        if session.token or not self.services.guard.adapter.uses_cookies:
            self._session = session

    @property
    def redeemed(self) -> str | None:
        """The channel of the token that this request redeemed, or None."""
        return getattr(self, "_redeemed", None)

    @property
    def request(self) -> Request:
        """The request that the handle is for."""
        if not hasattr(self, "_request"):
            # By the handle in it, adapters can tell that the app is at work, and asks.
            self.carrier[self.services.handle_key] = self
            # The request came in before it is read again here: a sign-out in between counts.
            began: int | None = getattr(self, "began", None)
            self._request = self.services.read_request(self.carrier, began=began)
        return self._request

    def generate(
        self,
        session: Session | None = None,
        *,
        expires_in: float | timedelta | None = None,
        audience: str | None = None,
        channel: str = "handoff",
    ) -> str:
        """Return a new token for a session.

        :param session: default: the request's own.
        :param expires_in: minutes, or a `timedelta`; default: the option's.
        :param audience: the origin that alone may redeem it.
        :param channel: what the token is for; a token of one channel is no token of another.
            `"websocket"`: for a socket that is opened at once, 30 seconds unless `expires_in` says
            otherwise.
        :raises Unauthorized: there is no session, or it ended meanwhile.
        :raises RuntimeError: an event loop runs in this thread, which the call would hold up: use
            `await agenerate()`, or call it in a worker thread.
        """
        refuse_on_loop("generate")
        return drive(_generate(self, "generate", session, expires_in, audience, channel))

    @must_be_awaited
    async def agenerate(
        self,
        session: Session | None = None,
        *,
        expires_in: float | timedelta | None = None,
        audience: str | None = None,
        channel: str = "handoff",
    ) -> str:
        """`generate`, awaited."""
        return await _generate(self, None, session, expires_in, audience, channel)

    def link(
        self,
        url: str,
        *,
        session: Session | None = None,
        expires_in: float | timedelta | None = None,
        audience: str | None = None,
        channel: str = "handoff",
    ) -> str:
        """Return a URL that signs in the first visitor to open it.

        :param url: absolute; among `handoff_targets`, or at this site's own configured origin. The
            token can be redeemed at the origin of the URL only.
        :param session, expires_in: see `generate`.
        :param audience: not needed; if given, the origin of the URL.
        :param channel: `"confirm"` for links in mails and chats, whose scanners open each link: the
            visitor sees a page with a button, which signs in.
        :raises InvalidTarget: the URL points to another site; no token was made.
        :raises RuntimeError: an event loop runs in this thread: use `await alink()`.
        """
        refuse_on_loop("link")
        url, target = self.services.site.link_target(url, self.request, audience, channel)
        token = drive(_generate(self, "link", session, expires_in, str(target), channel))
        return self._add_token(url, channel, token)

    @must_be_awaited
    async def alink(
        self,
        url: str,
        *,
        session: Session | None = None,
        expires_in: float | timedelta | None = None,
        audience: str | None = None,
        channel: str = "handoff",
    ) -> str:
        """`link`, awaited."""
        url, target = self.services.site.link_target(url, self.request, audience, channel)
        token = await _generate(self, None, session, expires_in, str(target), channel)
        return self._add_token(url, channel, token)

    def _add_token(self, url: str, channel: str, token: str) -> str:
        name = str(self.services.options.query_param)
        return add_parameter(url, name, link_value(channel, token))

    def handoff(self, next: str | None = None) -> str:  # noqa: A002 - as in the query of log-in pages
        """Return the URL that has the visitor signed in by the site of `issuer=`, and comes back.

        Redirect a visitor without a session to it: `return redirect(handle.handoff())`. The cookie
        that the way back needs goes out with the app's response. Where the visitor has come back
        twice within a minute and is still without a session, the URL is one of this site, with a
        page that says so.

        :param next: the path and query of this site to lead the visitor to in the end; default:
            those of this request.
        :raises ConfigurationError: the option `issuer` is not set, or nothing says which site this
            is (`public_origin`).
        :raises RuntimeError: the response has begun, or the request is the handshake of a
            WebSocket.
        :raises ValueError: `next` is no path of this site.
        """
        pull = self.services.pull
        if pull is None:
            raise ConfigurationError(
                "issuer: is not set, so that handoff() has nowhere to lead; pass issuer= with the "
                "site that signs users in"
            )
        self._refuse_on_socket()
        self._check_open()
        # A page may ask for each of its links: one attempt will do.
        handoffs: dict[str | None, Started] = getattr(self, "_handoffs", {})
        if next not in handoffs:
            handoffs[next] = pull.start_for_app(self.request, next)
            self._handoffs = handoffs
            self._changed = self.changed  # False, unless the app signed a user in or out as well
        return handoffs[next].url

    @property
    def handoff_cookies(self) -> tuple[Cookie, ...]:
        """The cookies that `handoff` adds to the response."""
        handoffs: dict[str | None, Started] = getattr(self, "_handoffs", {})
        return tuple(cookie for started in handoffs.values() for cookie in started.cookies)

    def sign_in(self, user: Mapping[str, Any] | str, remember: bool = True) -> Session:
        """Start a session for a user; its cookie goes out with the app's response.

        :param user: JSON values with an `id`, or just the id.
        :param remember: False for a cookie that ends with the browser session.
        :raises ValueError: no id, or more than a cookie can hold.
        :raises RuntimeError: the response has begun, or the session adapter is no `SignInAdapter`
            (`SealedSession` is one).
        """
        self._refuse_on_socket()
        adapter = self.services.guard.require_sign_in_adapter()
        self._check_open()
        session = adapter.start(user, remember=remember)
        self._replaced = self._sessions_to_end()
        self._session = session
        self._changed = True  # not before: a user that is refused changes nothing
        return session

    def sign_out(self) -> None:
        """End the session: its cookie is deleted, its live tokens are revoked.

        :raises RuntimeError: the response has begun, or the session adapter is no `SignInAdapter`
            (`SealedSession` is one).
        """
        self._refuse_on_socket()
        self.services.guard.require_sign_in_adapter()
        self._check_open()
        self._ended = self._sessions_to_end()
        self._session = None
        self._changed = True

    def end(self, session: Session) -> None:
        """End a session, since its visitor asked for the app's log-out page.

        What the app itself has called, `sign_in` or `sign_out`, stands.
        """
        if not self.changed:
            self._ended, self._session, self._changed = (session,), None, True

    def _sessions_to_end(self) -> tuple[Session, ...]:
        replaced: tuple[Session, ...] = getattr(self, "_replaced", ())
        return replaced + ((self.session,) if self.session else ())

    @property
    def ended(self) -> tuple[Session, ...]:
        """The sessions that `sign_out` ended."""
        return getattr(self, "_ended", ())

    def close(self) -> bool:
        """Note that the response begins; return whether the handle has cookies for it."""
        self._closed = True
        # One look: each response of an app that can sign users in pays for it.
        return getattr(self, "_changed", None) is not None

    @property
    def changed(self) -> bool:
        """Whether the app signed a user in or out."""
        return getattr(self, "_changed", False)

    def _refuse_on_socket(self) -> None:
        """:raises RuntimeError: there is no response that could set a cookie."""
        if self.carrier.get("type") == "websocket":
            raise RuntimeError(
                "a WebSocket sets no cookie, and its session ends with it: sign in or out, or "
                "start a handoff, by an HTTP request"
            )

    def _check_open(self) -> None:
        """:raises RuntimeError: the response has begun."""
        if getattr(self, "_closed", False):
            raise RuntimeError(
                "sign in or out, or start a handoff, before the response begins: it is too late now"
            )


async def _generate(
    handle: Handle,
    method: str | None,
    session: Session | None,
    expires_in: float | timedelta | None,
    audience: str | None,
    channel: str,
) -> str:
    """Return a new token for a session.

    :param method: the synchronous method that was called, which waits for nothing; None for one
        that is awaited.
    """
    services, request = handle.services, handle.request
    session = session or (handle.session if method else await handle.asession())
    if session is None:
        services.guard.warn_of_missing_user(request)
        raise Unauthorized
    generate: Any = services.tokens.generate if method else services.tokens.agenerate
    bounds = {"expires_in": expires_in, "audience": audience, "channel": channel}
    with using_request(request):
        # Under no other name: error reporters record local variables, and filter `token`.
        token: str = generate(session, **bounds) if method else await generate(session, **bounds)
        known = handle.known_session()
        # The adapter can tell whether a session, the request's own, has ended meanwhile.
        if services.asks_again and known is not None and known.id == session.id:
            if method:
                _confirm_now(handle, session, method)
            else:
                await services.confirm(session, request)
    services.reports.note_generation(token, session, audience, channel)
    return token


def _confirm_now(handle: Handle, session: Session, method: str) -> None:
    """`Services.confirm` for a synchronous caller."""
    try:
        again = handle.services.guard.current_now(handle.request)
    except RuntimeError as error:
        raise RuntimeError(
            f"{method}() must wait for the session adapter: use `await a{method}()`"
        ) from error
    if is_gone(session, again):
        # If the call fails, the token expires unused: no client has received it.
        with suppress(Exception):
            handle.services.tokens.revoke(session.id)
        raise Unauthorized


def new_handle(services: Services) -> Handle:
    """Return a handle, not yet attached to its request."""
    handle = Handle()
    handle.services = services
    return handle


def attach(handle: Handle, carrier: dict[str, Any]) -> None:
    """Let the app find its handle in a scope or environ.

    The handle gets a copy: with the carrier itself, the two would hold each other, and all of the
    request would wait for the garbage collector, which takes longer than the copy.
    """
    handle.carrier = carrier.copy()
    carrier[handle.services.handle_key] = handle


def detach(handle: Handle, carrier: dict[str, Any]) -> None:
    """Undo `attach`: what was there before, another layer's handle perhaps, is there again.

    Adapters tell by the handle that the app is at work. Where it is not yet, Django's would leave
    the project's middleware, and lost connections, as they are.
    """
    key = handle.services.handle_key
    if key in handle.carrier:
        carrier[key] = handle.carrier[key]
    else:
        del carrier[key]
