"""Limits how often a client may try to redeem a token: the option `rate_limit`.

Two bounds, both off without the option:

- attempts per client: the address of the peer, or what `trusted_proxies` tell of it; IPv6 by /64.
  Above the rate, an attempt is refused before the token is taken.
- misses of short tokens, over all clients: many clients that guess together. Above 100 misses a
  minute, a client that has missed within the last minute, or that has another attempt under way, is
  refused before a short token is taken.
  A client without a miss is never held back: else a hundred bad guesses a minute would lock out
  all users. (To respond with 429 after the take, and to misses alone, would hold back no guess: the
  one that hits would still be redeemed.)

What counts may fail: then attempts go on uncounted, since 192 random bits need no limit. Attempts
with short tokens are refused, since those do.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence

from ..concurrency import Bind
from ..crypto import base64url, derive, hmac_under
from ..errors import BackendUnavailable, TooManyRequests
from ..forks import renew_in_children
from ..hooks import name_of_type
from ..http.addresses import network_of
from ..http.messages import Request
from ..rate_options import Rate
from ..tokens.names import SHORT
from .attempt_windows import Windows

logger = logging.getLogger("ott_middleware")

# Misses of short tokens by all clients, and by one of them.
_ALL_MISSES = Rate(100, 60)
_OWN_MISSES = Rate(1, 60)
_ALL = "misses"
# Bits of the network that one subscriber or host has for itself.
_IPV6_BITS = 64


class RateLimit:
    """Counts the attempts of clients at one site.

    :param rates: all of which an attempt must keep to.
    :param windows: what counts.
    :param secret: keys the names of clients where they are counted, or None.
    :param bind: makes the methods awaitable.
    """

    def __init__(
        self,
        rates: Sequence[Rate],
        windows: Windows,
        *,
        secret: bytes | None,
        bind: Bind,
    ) -> None:
        # The longest first: of several that are exceeded, it is the one to wait for.
        self._rates = sorted(rates, key=lambda rate: rate.seconds, reverse=True)
        self._windows = windows
        #: Whether the methods may wait for a network.
        self.blocks = windows.blocks
        self._failing = False
        # An address is personal data: where others may read the store, it has another name.
        self._hmac = hmac_under(derive(secret or b"ott_middleware", None, "client"))
        self.renew_after_fork()
        renew_in_children(self)
        self._bound_admit = bind(self._admit)
        self._bound_note = bind(self._note_miss)

    async def check(self, request: Request, token: str) -> None:
        """Count an attempt to redeem a token. Call it before the token is taken.

        Call `end` in any case, once it is known what became of the token.

        :raises TooManyRequests: the client has made too many.
        :raises BackendUnavailable: what counts does not respond, and the token is short.
        """
        client, short = self._client(request), len(token) < SHORT
        others = self._begin(client) if short else 0
        try:
            refused = await self._bound_admit(client, short, others)
        except Exception as error:
            self._log(error)
            # Attack: a short token is found by guessing, and nothing counts the guesses. It is
            # refused; else a failure of the store would be the moment to guess.
            if short:
                raise BackendUnavailable(
                    "the store of rate_limit= does not respond; tokens under "
                    f"{SHORT} characters are not redeemed meanwhile"
                ) from error
            return
        self._failing = False
        if refused is not None:
            raise refused

    async def note_miss(self, request: Request, token: str) -> None:
        """Count an attempt with a token that was not there. Never raises."""
        if len(token) >= SHORT:
            return
        try:
            await self._bound_note(self._client(request))
        except Exception as error:
            self._log(error)

    def end(self, request: Request, token: str) -> None:
        """Note that an attempt for which `check` was called is over."""
        if len(token) >= SHORT:
            return
        client = self._client(request)
        with self._lock:
            left = self._under_way.pop(client, 0) - 1
            if left > 0:
                self._under_way[client] = left

    def _begin(self, client: str) -> int:
        """Note that an attempt begins; return how many others of the client are under way."""
        with self._lock:
            others = self._under_way.get(client, 0)
            self._under_way[client] = others + 1
            return others

    def renew_after_fork(self) -> None:
        """Take a new lock: the inherited one may stay locked for ever."""
        self._lock = threading.Lock()
        self._under_way: dict[str, int] = {}

    def _admit(self, client: str, short: bool, others: int) -> TooManyRequests | None:
        # An attempt that one rate refuses does not count for another.
        if len(self._rates) > 1:
            for rate in self._rates:
                if self._windows.get_moving_window(_key(client, rate), *rate)[1] >= rate.attempts:
                    return self._refuse(client, rate)
        for rate in self._rates:
            if not self._windows.acquire_entry(_key(client, rate), *rate):
                return self._refuse(client, rate)
        return self._hold_back(client, others) if short else None

    def _refuse(self, client: str, rate: Rate) -> TooManyRequests:
        start, _ = self._windows.get_moving_window(_key(client, rate), *rate)
        why = f"more than {rate.attempts} attempts in {rate.seconds} s by one client"
        return TooManyRequests(self._wait(start, rate), why=why)

    def _hold_back(self, client: str, others: int) -> TooManyRequests | None:
        own, count = self._windows.get_moving_window(f"{client}:{_ALL}", *_OWN_MISSES)
        # Attack: a client sends all of its guesses at one moment, before the first one has missed.
        # One is under way at a time (in each process); else each client would have as many guesses
        # a minute as its rate allows.
        if count < _OWN_MISSES.attempts and not others:
            return None
        all_clients, misses = self._windows.get_moving_window(_ALL, *_ALL_MISSES)
        if misses < _ALL_MISSES.attempts:
            return None
        wait = (
            min(self._wait(own, _OWN_MISSES), self._wait(all_clients, _ALL_MISSES)) if count else 1
        )
        why = (
            f"all clients together missed {_ALL_MISSES.attempts} short tokens in "
            f"{_ALL_MISSES.seconds} s, and this client was one of them"
        )
        return TooManyRequests(wait, why=why)

    def _note_miss(self, client: str) -> None:
        self._windows.acquire_entry(f"{client}:{_ALL}", *_OWN_MISSES)
        self._windows.acquire_entry(_ALL, *_ALL_MISSES)

    def _wait(self, start: float, rate: Rate) -> int:
        """Return the seconds until the oldest entry does not count any more, 1 at least."""
        return min(rate.seconds, max(1, math.ceil(start + rate.seconds - self._windows.now())))

    def _client(self, request: Request) -> str:
        network = network_of(request.client, _IPV6_BITS)
        return base64url(self._hmac(network.encode())[:16])

    def _log(self, error: Exception) -> None:
        # Once for each failure of the store, however many attempts fall into it.
        if not self._failing:
            self._failing = True
            logger.error(
                "rate_limit: the store that counts attempts does not respond (%s): attempts are "
                "not limited until it does, and short tokens are not redeemed",
                name_of_type(error),
            )


def _key(client: str, rate: Rate) -> str:
    return f"{client}:{rate.seconds}"
