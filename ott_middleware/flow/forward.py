"""Requests that go to the app: what is changed about them, and how the response is edited."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..concurrency import Bound, call_backend
from ..context import PROBE, using_request
from ..errors import OTTError, SessionExpired, Unauthorized
from ..http import response_headers as answers
from ..http.cookies import Cookie
from ..http.messages import Headers, Request
from ..sessions.base import Session
from ..tokens.revocations import revocations
from .handle import Handle, SigningHandle, is_gone
from .session_guard import SessionGuard

logger = logging.getLogger("ott_middleware")

Edit = Callable[[int, Headers], Coroutine[Any, Any, Headers]]

# A response to part of a document, or "not modified", would refer to another user's copy of it.
_CONDITIONAL = (
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
)


@dataclass(frozen=True, slots=True)
class Forward:
    """Tells the interface to call the app: request headers to change, and how to edit the response.

    :ivar headers: request headers to set, or with None to remove, by lower-case name.
    :ivar edit: what to do with the answer's status and headers; None to leave it alone.
    :ivar remote_user: the value of `REMOTE_USER`; None to remove it.
    """

    headers: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    edit: Edit | None = None
    remote_user: str | None = field(default=None, repr=False)


class Forwarding:
    """Prepares requests for the app.

    :param guard: the session adapter, guarded.
    :param generate, revoke: of the token service, bound.
    :param offers: whether an answer that signs someone in carries a token.
    :param revokes: whether an answer that ends a session revokes its tokens.
    """

    def __init__(
        self,
        guard: SessionGuard,
        *,
        generate: Bound,
        revoke: Bound,
        offers: bool,
        revokes: bool = False,
    ) -> None:
        self._guard = guard
        self._generate = generate
        self._revoke = revoke
        self._offers = offers
        self._revokes = revokes
        #: Whether a session is asked for again after a token was generated for it.
        self.asks_again = revokes and guard.adapter.vouches and not guard.signs_in

    async def confirm(self, session: Session, request: Request) -> None:
        """Refuse a token that was generated just now, where the session ended meanwhile.

        A sign-out in another process revokes the tokens that are in the store by then. If it comes
        before the `put`, the new token would outlive the session: only the adapter can tell.

        :raises Unauthorized: the session ended; its tokens are revoked.
        :raises SessionUnavailable: the adapter failed.
        """
        if self.asks_again and is_gone(session, await self._guard.current(request)):
            await self._revoke_tokens(session)
            raise Unauthorized

    async def plain(self, request: Request, handle: Handle) -> Forward:
        """Forward a request that signs no user in by a token."""
        # Another layer's question to the app is no visit that could end a session, or begin one.
        asked = PROBE in request.carrier
        handle.began = request.began
        # A link that begets the next token would let one leaked token be renewed without end. So a
        # request that carried a link is offered none, whatever became of the link.
        offers = self._offers and not asked and not request.links
        revokes = self._revokes and not asked
        before: Session | None = None
        if (offers or revokes) and request.header("cookie"):
            # Before the app is asked: signing in may end the session that was there.
            before = await self._guard.quietly(request)
        watched_session = before if revokes else None
        offered: tuple[Session, str] | None = None

        async def edit(status: int, headers: Headers) -> Headers:
            nonlocal offered
            with using_request(request):
                headers = await self._signed(request, handle, headers)
                await self._ended(request, handle, watched_session, headers)
                # A WSGI app may begin its response anew, and then sign in no user or another one.
                offered = await self._offered(request, before, headers, offered) if offers else None
            return headers if offered is None else answers.with_token(headers, offered[1])

        watched = offers or watched_session or isinstance(handle, SigningHandle)
        return await self._forward(handle, request, {}, edit if watched else None)

    async def redeemed(
        self, request: Request, handle: Handle, session: Session, cookies: Iterable[Cookie]
    ) -> Forward:
        """A request that redeemed a token: the app handles it signed in."""
        cookies = tuple(cookies)
        changed = request.with_cookies({cookie.name: cookie.value or None for cookie in cookies})
        changed = changed.with_headers(dict.fromkeys(_CONDITIONAL))
        handle.redeem("handoff", session, changed)
        # Asked of the new cookies: where the session is one of this side's own, so is its id.
        before = await self._guard.quietly(changed) if self._revokes else None

        async def edit(status: int, headers: Headers) -> Headers:
            # No token is offered for this answer: each would beget the next, without end.
            with using_request(changed):
                headers = await self._signed(changed, handle, headers)
                await self._ended(changed, handle, before, headers)
            return answers.with_session(headers, cookies)

        changes: dict[str, str | None] = dict.fromkeys(_CONDITIONAL)
        changes["cookie"] = changed.header("cookie")
        return await self._forward(handle, changed, changes, edit)

    async def _forward(
        self,
        handle: Handle,
        request: Request,
        changes: Mapping[str, str | None],
        edit: Edit | None,
    ) -> Forward:
        if not self._guard.sets_remote_user:
            return Forward(changes, edit)
        session = handle.known_session()
        if session is None:
            session = await self._guard.quietly(request)
        return Forward(changes, edit, await self._guard.remote_user(session))

    async def _signed(self, request: Request, handle: Handle, headers: Headers) -> Headers:
        """The answer with the cookies of `sign_in` or `sign_out`, where the app called one."""
        if not isinstance(handle, SigningHandle) or not handle.close():
            return headers
        for ended in handle.ended:
            # The session lives on in any copy of its cookie, but no token leads to it any more.
            await self._revoke_tokens(ended)
        session = handle.known_session()
        cookies: Iterable[Cookie]
        if session is None:
            cookies = self._guard.end(request)
        else:
            try:
                cookies = await self._guard.establish(session, request)
            except SessionExpired:
                # Begun for a second or two, and over before a cookie went out.
                cookies = self._guard.end(request)
        # A shared cache that stored this response would sign its other visitors in, or out.
        return (*answers.forbid_caching(headers), *(cookie.header() for cookie in cookies))

    async def _ended(
        self, request: Request, handle: Handle, before: Session | None, headers: Headers
    ) -> None:
        """Revoke the tokens of the session that was there before, where the app ended it."""
        if before is None:
            return
        if isinstance(handle, SigningHandle) and before.id in {each.id for each in handle.ended}:
            return  # done
        try:
            # Asked anew even where no cookie changes: a session that the server keeps ends there.
            changed = answers.next_request(request, headers, self._guard.now())
            after = await self._guard.current(changed)
        except OTTError as error:
            # Not known to have ended; if it has, `resolve` will say so.
            logger.error("sign-out not looked for: %s: %s", type(error).__name__, error)
            return
        # A new cookie of an unknown user may be the same session, signed anew.
        if after is None or (before.user_id is not None and before.user_id != after.user_id):
            await self._revoke_tokens(before)

    async def _revoke_tokens(self, session: Session) -> None:
        # Before the backend is asked: a token that is put after this line is seen and taken back.
        revocations.note_ended(session.id)
        try:
            await call_backend(self._revoke(session.id))
        except OTTError as error:
            logger.error("tokens not revoked at sign-out: %s: %s", type(error).__name__, error)

    async def _offered(
        self,
        request: Request,
        before: Session | None,
        headers: Headers,
        earlier: tuple[Session, str] | None,
    ) -> tuple[Session, str] | None:
        """A session and its token, if the response's cookies sign a user in.

        :param earlier: what was offered for the same session's sake before.
        """
        if not answers.cookie_changes(headers, self._guard.now()):
            return None
        request = answers.next_request(request, headers, self._guard.now())
        after = await self._guard.quietly(request)
        if after is None or (before is not None and before.is_same_person(after)):
            return None
        if earlier is not None and earlier[0].id == after.id:
            return after, earlier[1]
        try:
            token: str = await self._generate(
                after, expires_in=None, audience=None, channel="handoff"
            )
            await self.confirm(after, request)
        except Unauthorized:
            return None
        except OTTError as error:
            # The sign-in itself worked: the app's answer goes out as it is.
            logger.error("no token offered: %s: %s", type(error).__name__, error)
            return None
        return after, token
