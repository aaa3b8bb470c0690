"""Requests that go to the app: what is changed about them, and how the response is edited."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from ..context import PROBE, using_request
from ..copies import copy_unchecked
from ..errors import OTTError, SessionExpired, Unauthorized
from ..http import response_headers
from ..http.cookies import Cookie
from ..http.messages import Headers, Request
from ..sessions.base import Session
from .handle import Handle
from .services import Services
from .sign_out import asks_to_sign_out, is_sign_out_path

logger = logging.getLogger("ott_middleware")

#: The text of an interface's headers.
Text = TypeVar("Text", str, bytes)
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

#: The headers of a response by which a browser's cookies change.
COOKIE_HEADERS = ("set-cookie", "clear-site-data")


def names_one_of(headers: Iterable[tuple[Text, Any]], names: tuple[Text, ...]) -> bool:
    """Return whether one of the headers has one of the (lower-case) names."""
    return any(name.lower() in names for name, _ in headers)


@dataclass(frozen=True, slots=True)
class Forward:
    """Tells the interface to call the app: request headers to change, and how to edit the response.

    :ivar headers: request headers to set, or with None to remove, by lower-case name.
    :ivar edit: maps the response's status and headers to its new headers; None to leave them.
    :ivar always: whether `edit` must be called for any response; if not, `Watch.needs_edit` tells.
    :ivar before: the session of the request, for the watch.
    :ivar remote_user: the value of `REMOTE_USER`; None to remove it.
    """

    headers: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    edit: Edit | None = None
    always: bool = True
    before: Session | None = field(default=None, repr=False)
    remote_user: str | None = field(default=None, repr=False)


class Forwarding:
    """Prepares requests for the app."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._guard = services.guard
        self._offers = services.options.set_ott_header_on_new_session
        self._revokes = services.options.revoke_on_sign_out
        self._warned_of_ids = False

    async def plain(self, request: Request, handle: Handle) -> Forward:
        """Forward a request that signs no user in by a token."""
        # A probe is another layer's question to the app: it can neither start nor end a session.
        probes = PROBE in request.carrier
        handle.began = request.began
        # Attack: one leaked token is renewed without end. A request that carried a link is offered
        # no token, whatever became of the link; else each link would beget the next one.
        offers = self._offers and not probes and not request.links
        revokes = self._revokes and not probes
        before: Session | None = None
        if (offers or revokes) and request.header("cookie"):
            # Before the app is called: signing in may end the session that was there.
            before = await self._guard.current_or_log(request)
        stateless = self._guard.is_stateless
        if before is not None and stateless:
            handle.found = before
        watched_session = before if revokes else None
        watched = offers or watched_session or self._services.handle_sets_cookies
        edit = self._edit(request, handle, before, watched_session, offers) if watched else None
        # A session that the server keeps may end without a change of any cookie.
        always = watched_session is not None and not stateless
        return Forward(
            edit=edit,
            always=always or is_sign_out_path(request, self._services),
            before=watched_session,
            remote_user=await self._remote_user(handle, request),
        )

    async def forward_unredeemed(self, request: Request, handle: Handle) -> Forward:
        """Forward a request whose link is not redeemed: its token stays alive."""
        forward = await self.plain(request, handle)
        if request.method in ("HEAD", "OPTIONS"):
            return forward  # the response has no document, which could load others
        inner = forward.edit

        async def edit(status: int, headers: Headers) -> Headers:
            if inner is not None:
                headers = await inner(status, headers)
            return response_headers.hide_url(headers)

        return replace(forward, edit=edit, always=True)

    def edit_passed(self, handle: Handle, carrier: Any, **came: Any) -> Edit:
        """Return the edit of `plain` for a request that passed the watch, without a session.

        :param carrier: the scope or environ that the app was called with.
        :param came: what of it the app may have changed in place, as it was before.
        """
        # From a copy, since the app may have changed the original: a cookie that the app adds for
        # itself is none that the response signs a visitor in by. Adapters get the original: they
        # may look for what the app has put into it.
        request = self._services.read_request({**handle.carrier, **came}, began=handle.began)
        request = copy_unchecked(request, carrier=carrier)
        return self._edit(request, handle, None, None, self._offers)

    def _edit(
        self,
        request: Request,
        handle: Handle,
        before: Session | None,
        watched_session: Session | None,
        offers: bool,
        cookies: tuple[Cookie, ...] | None = None,
    ) -> Edit:
        """Return what edits the response.

        :param before: the session before the app was called.
        :param watched_session: the same, if its tokens are revoked where the app ends it.
        :param offers: whether a new session is offered a token.
        :param cookies: those of a token that was redeemed; None where none was.
        """
        offered: tuple[Session, str] | None = None

        async def edit(status: int, headers: Headers) -> Headers:
            nonlocal offered
            with using_request(request):
                headers = await self._add_sign_in_cookies(request, handle, headers)
                await self._revoke_after_sign_out(request, handle, watched_session, headers)
                # A WSGI app may begin its response anew, and then sign in no user or another one.
                if offers:
                    offered = await self._mint_for_new_session(request, before, headers, offered)
            if cookies is not None:
                return response_headers.with_session(headers, cookies)
            return headers if offered is None else response_headers.with_token(headers, offered[1])

        return edit

    async def forward_redeemed(
        self, request: Request, handle: Handle, session: Session, cookies: tuple[Cookie, ...]
    ) -> Forward:
        """Forward a request that redeemed a token: the app handles it signed in."""
        self._guard.third_party.check(request, cookies)
        changed = request.with_cookies({cookie.name: cookie.value or None for cookie in cookies})
        changed = changed.with_headers(dict.fromkeys(_CONDITIONAL))
        handle.redeem("handoff", session, changed)
        # Read from the new cookies: a session of this site has the id that this site gave it.
        before = await self._guard.current_or_log(changed) if self._revokes else None
        # No token is offered with this response: each would beget the next, without end.
        edit = self._edit(changed, handle, None, before, False, cookies)
        name = await self._remote_user(handle, changed)
        # Built last: error reporters record the local variables of a failing adapter's callers.
        changes = {**dict.fromkeys(_CONDITIONAL), "cookie": changed.header("cookie")}
        return Forward(changes, edit, remote_user=name)

    async def _remote_user(self, handle: Handle, request: Request) -> str | None:
        """Return the value of `REMOTE_USER`; None to remove it."""
        if not self._guard.sets_remote_user:
            return None
        session = handle.known_session()
        if session is None:
            session = await self._guard.current_or_log(request)
        return await self._guard.remote_user(session)

    async def _add_sign_in_cookies(
        self, request: Request, handle: Handle, headers: Headers
    ) -> Headers:
        """Return the headers with the cookies of `sign_in`, `sign_out` or `handoff`, if called.

        A request for the app's own log-out page (`sign_out_path`) counts as a call of `sign_out`.
        """
        if asks_to_sign_out(request, self._services):
            session = await self._guard.current_or_log(request)
            if session is not None:
                handle.end(session)
        if not handle.close():
            return headers
        added = handle.handoff_cookies
        if handle.changed:
            added += await self._end_or_establish(request, handle)
        # A shared cache that stored this response would sign its other visitors in, or out.
        return (*response_headers.forbid_caching(headers), *(cookie.header() for cookie in added))

    async def _end_or_establish(self, request: Request, handle: Handle) -> tuple[Cookie, ...]:
        """Return the cookies of the session that the app has started, or of the end of one."""
        for ended in handle.ended:
            # The session lives on in any copy of its cookie, but no token leads to it any more.
            await self._services.revoke_tokens(ended)
        session = handle.known_session()
        if session is None:
            return self._guard.end(request)
        try:
            return await self._guard.establish(session, request)
        except SessionExpired:
            # The session was started for a second or two, and ended before the response.
            return self._guard.end(request)

    async def _revoke_after_sign_out(
        self, request: Request, handle: Handle, before: Session | None, headers: Headers
    ) -> None:
        """Revoke the tokens of the session that was there before, if the app ended it."""
        if before is None or before.id in {each.id for each in handle.ended}:
            return  # no session, or `sign_out` revoked its tokens
        if self._guard.is_stateless and not names_one_of(headers, COOKIE_HEADERS):
            # No cookie changes, and nothing else decides but the end.
            if before.expired(self._guard.now()):
                await self._services.revoke_tokens(before)
            return
        try:
            # Asked again even if no cookie changes: a session that the server keeps ends there.
            changed = response_headers.next_request(request, headers, self._guard.now())
            after = await self._guard.current(changed)
        except OTTError as error:
            # Not known to have ended; if it has, `resolve` refuses its tokens.
            logger.error("sign-out not looked for: %s: %s", type(error).__name__, error)
            return
        is_signed_anew = after is not None and before.user_id is None and before.id != after.id
        if is_signed_anew and not self._warned_of_ids:
            self._warned_of_ids = True
            logger.warning(
                "revoke_on_sign_out: the cookie of a session has changed, and the adapter tells no "
                "user_id, so that the tokens made before are not found at sign-out; let validate= "
                "return 'user_id' or 'id', or let probe= respond with JSON that has an 'id'"
            )
        # A new cookie of an unknown user may be the same session, signed anew.
        if after is None or (before.user_id is not None and before.user_id != after.user_id):
            await self._services.revoke_tokens(before)

    async def _mint_for_new_session(
        self,
        request: Request,
        before: Session | None,
        headers: Headers,
        earlier: tuple[Session, str] | None,
    ) -> tuple[Session, str] | None:
        """Return a session and a new token for it, if the response's cookies sign a user in.

        :param earlier: the session and token of the same response's earlier headers, if any.
        """
        if not response_headers.cookie_changes(headers, self._guard.now()):
            return None
        request = response_headers.next_request(request, headers, self._guard.now())
        after = await self._guard.current_or_log(request)
        if after is None or (before is not None and before.is_same_person(after)):
            return None
        if earlier is not None and earlier[0].id == after.id:
            return after, earlier[1]
        try:
            token: str = await self._services.generate(
                after, expires_in=None, audience=None, channel="handoff"
            )
            await self._services.confirm(after, request)
        except Unauthorized:
            return None
        except OTTError as error:
            # The sign-in itself worked: the app's response goes out as it is.
            logger.error("no token offered: %s: %s", type(error).__name__, error)
            return None
        self._services.reports.note_generation(token, after, None, "handoff")
        return after, token
