"""Replays: a used token is presented again, within ten minutes of its first use.

Only where `on_event` or `on_replay` is set, the first use leaves a tombstone in the store. A
request that would have redeemed the token finds it: through the same channel, at a site of the
token's audience, with the verifier of its challenge. It is no replay where the same browser is at
work: it holds that session, a session of the same user or the token's receipt, or the request is
the second half of a double click (within seconds, from the same network and kind of browser).

To read a tombstone is to take it out, and it is put back: of two replays at the very same moment,
one may go unnoticed. No failure in here breaks a redemption or changes its response.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..concurrency import Bound
from ..context import current_attempt
from ..errors import InvalidToken, OTTError
from ..http.addresses import network_of
from ..http.cookies import Cookie
from ..http.messages import Request
from ..sessions.base import Session, session_id
from ..tokens.names import SHORT
from ..tokens.service import is_meant_for
from ..tokens.tombstones import Tombstone, Tombstones
from .receipts import Receipts
from .reports import Reports
from .revocation import revoke_tokens
from .session_guard import SessionGuard

logger = logging.getLogger("ott_middleware")

# Seconds: both halves of a double click have arrived.
_DOUBLE_CLICK = 10.0
# What a token that is not in the store is refused with.
_MISSING = frozenset({"unknown_token", "used_token", "expired_token"})
# Bytes of cookies that a tombstone may hold. A session that a server can end has a short one. With
# 8 KiB each, all tombstones together would take more than a `MemoryBackend` has for its tokens.
_MOST_COOKIES = 1024


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Replays:
    """Remembers the tokens that were used at one site, and tells when one comes again.

    :ivar stones: keeps the tombstones.
    :ivar guard: the session adapter.
    :ivar reports: is told of replays.
    :ivar receipts: those of the site, if it has any.
    :ivar revoke: of the token service, bound.
    :ivar revokes: whether a replay ends what the first use established: the option `on_replay`.
    """

    stones: Tombstones
    guard: SessionGuard
    reports: Reports
    receipts: Receipts | None
    revoke: Bound
    revokes: bool
    _failed: bool = field(default=False, init=False)

    async def remember(
        self, token: str, session: Session, request: Request, cookies: Iterable[Cookie]
    ) -> None:
        """Remember that a token was used, in the current attempt. Never raises.

        :param session: the session that was established.
        :param cookies: those that `establish` returned.
        """
        attempt = current_attempt()
        # A session with a token is one that the source site has as well: it was not begun here.
        ends = self.revokes and self.guard.discards and not session.token and len(token) >= SHORT
        began = {cookie.name: cookie.value for cookie in cookies} if ends else {}
        if sum(map(len, began.values())) > _MOST_COOKIES:
            began = {}
        stone = Tombstone(
            session_id=session.id,
            used_at=self.guard.now(),
            user=_hash_of_user(session),
            browser=_browser(request),
            audience=attempt.audience,
            code_challenge=attempt.code_challenge,
            cookies=began,
        )
        try:
            await self.stones.put(token, attempt.channel, stone)
        except OTTError as error:
            self._log(error)

    async def look(
        self,
        token: str,
        error: InvalidToken,
        request: Request,
        *,
        audience: str | None,
        code_verifiers: Sequence[str],
    ) -> None:
        """Look whether a token is replayed, in the current attempt. Never raises.

        :param error: what the token was refused with.
        :param audience: the origin that it was presented for.
        :param code_verifiers: the secrets that the browser holds.
        """
        if error.reason.word not in _MISSING:
            return
        channel = current_attempt().channel
        try:
            stone = await self.stones.take(token, channel)
            if stone is None:
                return
            is_replay = is_meant_for(
                stone.audience, stone.code_challenge, audience, code_verifiers
            ) and not await self._is_same_browser(stone, token, request)
            # Attack: an attacker guesses short tokens. Many used ones are remembered. That one is
            # presented again proves no leak; without this, each hit would sign a user out.
            ends = is_replay and self.revokes and len(token) >= SHORT
            await self.stones.put(token, channel, replace(stone, cookies={}) if ends else stone)
        except OTTError as failure:
            self._log(failure)
            return
        if is_replay:
            self.reports.note_replay(stone.session_id, stone.audience)
        if ends:
            await self._end(stone, request)

    async def _is_same_browser(self, stone: Tombstone, token: str, request: Request) -> bool:
        # Failure: the second half of a double click is sent before the response to the first half
        # has brought a cookie. This line takes it for the same browser; else on_replay='revoke'
        # would sign the user out. A thief with the same network and kind of browser stays
        # unnoticed for these seconds, and redeems nothing all the same.
        soon = self.guard.now() - stone.used_at < _DOUBLE_CLICK
        if soon and stone.browser == _browser(request):
            return True
        if self.receipts is not None and self.receipts.is_of(token, request):
            return True
        # Unverified as well: its id is that of the first use only if its cookies are.
        try:
            present = await self.guard.current(request)
        except OTTError as error:
            # The user may be there: no session is ended on a guess.
            self._log(error)
            return True
        if present is None:
            return False
        user = _hash_of_user(present)
        return present.id == stone.session_id or (user is not None and user == stone.user)

    async def _end(self, stone: Tombstone, request: Request) -> None:
        """End what the first use established, and revoke its live tokens."""
        logger.warning(
            "a used token was presented again: what its first use established is ended "
            "(on_replay='revoke')"
        )
        ended = [stone.session_id]
        if stone.cookies:
            browser = request.with_headers({"cookie": None}).with_cookies(dict(stone.cookies))
            # A session that was begun at its arrival has another id than the token's.
            established = await self.guard.current_or_log(browser)
            if established is not None and established.id != stone.session_id:
                ended.append(established.id)
            # No browser gets them; a name that begins with `__Host-` is refused without Secure.
            cookies = tuple(
                Cookie(name, value, secure=True) for name, value in stone.cookies.items()
            )
            await self.guard.discard(cookies, browser)
        for each in ended:
            await revoke_tokens(each, self.revoke, self.reports, why="after a replay")

    def _log(self, error: OTTError) -> None:
        if not self._failed:
            self._failed = True
            logger.error(
                "a used token could not be remembered or looked up (logged once): replays go "
                "unnoticed while the store fails: %s: %s",
                type(error).__name__,
                error,
            )


def _hash_of_user(session: Session) -> str | None:
    return None if session.user_id is None else session_id("replay user", session.user_id)


def _browser(request: Request) -> str:
    agent = request.header("user-agent") or ""
    return session_id("replay browser", network_of(request.client, 64), agent)
