"""The handle: what an app finds at `scope["ott"]` or `environ["ott"]`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from ..context import using_request
from ..errors import Unauthorized
from ..http.messages import Request
from ..sessions.base import Session

if TYPE_CHECKING:
    from .flow import Flow


class Handle:
    """This request's handle. It costs nothing until it is asked something.

    Each middleware has a subclass of its own, which knows the flow (`handle_class`).
    """

    # Every request of the app pays for making one: no __init__, and slots that stay unset until
    # they are needed.
    __slots__ = ("_redeemed", "_request", "_session", "began", "carrier")

    _flow: ClassVar[Flow]
    #: A copy of the scope or environ; set by the front.
    carrier: Any
    #: `Request.began`, where the flow has read the request before the app was asked.
    began: int | None

    @property
    def session(self) -> Session | None:
        """The session that the request carries (or that it just redeemed), or None.

        Resolved once, on first use.

        :raises RuntimeError: the adapter must wait for its result: use `await asession()`.
        :raises SessionUnavailable: the adapter failed.
        """
        try:
            return self._session
        except AttributeError:
            pass
        request = self.request
        with using_request(request):
            self._session: Session | None = self._flow.current_now(request)
        return self._session

    async def asession(self) -> Session | None:
        """`session`, awaited."""
        try:
            return self._session
        except AttributeError:
            pass
        request = self.request
        with using_request(request):
            self._session = await self._flow.current(request)
        return self._session

    def known_session(self) -> Session | None:
        """The session, if it was resolved already; None otherwise."""
        session: Session | None = getattr(self, "_session", None)
        return session

    def redeem(self, channel: str, session: Session, request: Request) -> None:
        """Make this the handle of a request that redeemed a token."""
        self._redeemed, self._request = channel, request
        # One that had no cookie until now is begun by the adapter, which is asked when it matters.
        if session.token:
            self._session = session

    @property
    def redeemed(self) -> str | None:
        """The channel of the token that this request redeemed, if it did."""
        channel: str | None = getattr(self, "_redeemed", None)
        return channel

    @property
    def request(self) -> Request:
        """The request that the handle is for."""
        request: Request | None = getattr(self, "_request", None)
        if request is None:
            # Adapters can tell by it that the app is at work, and asks.
            self.carrier["ott"] = self
            request = self._flow.read_request(self.carrier)
            # The request came in before it is read again here: a sign-out in between counts.
            request = replace(request, began=getattr(self, "began", request.began))
            self._request = request
        return request

    def generate(
        self,
        session: Session | None = None,
        *,
        expires_in: float | timedelta | None = None,
        audience: str | None = None,
        channel: str = "handoff",
    ) -> str:
        """A new token for a session.

        :param session: default: the request's own.
        :param expires_in: minutes, or a `timedelta`; default: the option's.
        :param audience: the origin that alone may redeem it.
        :param channel: the door that it opens.
        :raises Unauthorized: there is no session, or it ended meanwhile.
        :raises RuntimeError: the backend must wait: use `await agenerate()`.
        """
        self._flow.refuse_to_wait("generate", "agenerate")
        session = session or self.session
        if session is None:
            raise Unauthorized
        with using_request(self.request):
            token = self._flow.tokens.generate(
                session, expires_in=expires_in, audience=audience, channel=channel
            )
            if self._asks_again(session):
                self._confirm_now(session)
        return token

    async def agenerate(
        self,
        session: Session | None = None,
        *,
        expires_in: float | timedelta | None = None,
        audience: str | None = None,
        channel: str = "handoff",
    ) -> str:
        """`generate`, awaited."""
        session = session or await self.asession()
        if session is None:
            raise Unauthorized
        with using_request(self.request):
            token = await self._flow.tokens.agenerate(
                session, expires_in=expires_in, audience=audience, channel=channel
            )
            if self._asks_again(session):
                await self._flow.confirm(session, self.request)
        return token

    def _asks_again(self, session: Session) -> bool:
        """Whether the adapter can tell that a session, the request's own, has ended meanwhile."""
        known = self.known_session()
        return self._flow.asks_again and known is not None and known.id == session.id

    def _confirm_now(self, session: Session) -> None:
        """`Forwarding.confirm` for a synchronous caller."""
        try:
            again = self._flow.current_now(self.request)
        except RuntimeError as error:
            raise RuntimeError(
                "generate() must wait for the session adapter: use `await agenerate()`"
            ) from error
        if is_gone(session, again):
            # Should it fail, the token waits for its end unknown: it is given to no client.
            with suppress(Exception):
                self._flow.tokens.revoke(session.id)
            raise Unauthorized

    def link(
        self,
        url: str,
        *,
        session: Session | None = None,
        expires_in: float | timedelta | None = None,
        audience: str | None = None,
        channel: str = "handoff",
    ) -> str:
        """A URL that signs in whoever opens it first.

        :param url: absolute; among `handoff_targets`, or at this site's own configured origin. The
            token can be redeemed at the origin of the URL only.
        :param audience: needs not be named; the origin of the URL, if it is.
        :raises InvalidTarget: the URL points somewhere else; no token was made.
        """
        target = self._flow.link_target(url, self.request, audience)
        token = self.generate(session, expires_in=expires_in, audience=str(target), channel=channel)
        return self._flow.link(url, token)

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
        target = self._flow.link_target(url, self.request, audience)
        token = await self.agenerate(
            session, expires_in=expires_in, audience=str(target), channel=channel
        )
        return self._flow.link(url, token)


class SigningHandle(Handle):
    """The handle where the session is this package's own to begin and to end."""

    __slots__ = ("_changed", "_closed", "_replaced", "ended")

    def __init__(self) -> None:
        self._changed = self._closed = False
        self._replaced: tuple[Session, ...] = ()
        #: The sessions that `sign_out` ended.
        self.ended: tuple[Session, ...] = ()

    def sign_in(self, user: Mapping[str, Any] | str, remember: bool = True) -> Session:
        """Begin a session; its cookie goes out with the app's answer.

        :param user: JSON values with an `id`, or just the id.
        :param remember: False for a cookie that ends with the browser session.
        :raises ValueError: no id, or more than a cookie can hold.
        :raises RuntimeError: the answer has begun.
        """
        self._check_open()
        session = self._flow.start_session(user, remember)
        self._replaced += (self.session,) if self.session else ()
        self._session = session
        self._changed = True  # not before: a user that is refused changes nothing
        return session

    def sign_out(self) -> None:
        """End the session: its cookie is deleted, its live tokens are revoked.

        :raises RuntimeError: the answer has begun.
        """
        self._check_open()
        self.ended = self._replaced + ((self.session,) if self.session else ())
        self._session = None
        self._changed = True

    def close(self) -> bool:
        """Note that the response begins; return whether the app signed a user in or out before."""
        self._closed = True
        return self._changed

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("sign in or out before the response begins: it is too late now")


def is_gone(session: Session, again: Session | None) -> bool:
    """Whether a session has ended.

    :param again: what the adapter says of the same request, asked once more.
    """
    return again is None or not again.is_same_person(session)


def attach(handle: Handle, carrier: dict[str, Any]) -> None:
    """Let the app find its handle in a scope or environ.

    The handle gets a copy: with the carrier itself, the two would hold each other, and all of the
    request would wait for the garbage collector, which takes longer than the copy.
    """
    handle.carrier = carrier.copy()
    carrier["ott"] = handle


def handle_class(flow: Flow, *, signs_in: bool) -> type[Handle]:
    """The handle of one middleware's requests."""
    base = SigningHandle if signs_in else Handle
    return type(base.__name__, (base,), {"__slots__": (), "_flow": flow, "__doc__": base.__doc__})
