"""The cookies of pull handoff: one for each attempt, and one that counts the returns.

An attempt's cookie holds the verifier of its code challenge, sealed. The token that comes back
works only in a browser that holds the cookie: a link with the token is worth nothing in another.
"""

from __future__ import annotations

import json
import secrets as randomness
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..crypto import CookieSeal
from ..http.cookies import Cookie
from ..http.encoding import to_json
from ..http.messages import Request
from .own_cookies import own_cookie, own_cookies_sent, own_name

#: Seconds: a visitor may have to sign in at the issuer.
LIFETIME = 600
#: Seconds in which returns are counted.
COUNTED = 60
#: Tabs that may be under way at once.
MOST_ATTEMPTS = 5
# Bytes of all attempts: servers refuse a `Cookie` header of 8 KiB.
_MOST_BYTES = 4096
#: The longest path and query that a visitor is led back to.
MAX_WANTED = 1024
# Cookies of these names that are opened in one request.
_MOST_OPENED = 16
# Seconds: the clocks of two hosts of one site may differ.
_SKEW = 60

_NAME = "ott_pull_"
_RETURNS = f"{_NAME}returns"


@dataclass(frozen=True, slots=True)
class PullAttempt:
    """An attempt that the browser has under way.

    :ivar name: of its cookie.
    :ivar wanted: the path and query that the visitor wanted.
    :ivar began: Unix seconds.
    :ivar size: of the cookie, in bytes.
    """

    name: str
    verifier: str = field(repr=False)
    wanted: str = field(repr=False)
    began: float
    size: int


@dataclass(frozen=True, slots=True)
class Returns:
    """The returns of a browser from the issuer within the last minute.

    :ivar times: Unix seconds.
    :ivar wanted: the path and query that the visitor wanted last.
    """

    times: tuple[float, ...] = ()
    wanted: str | None = field(default=None, repr=False)


class PullCookies:
    """Reads and builds the cookies of pull handoff.

    :param issuer: the URL of the issuer.
    :param secrets: newest first, which seals.
    :param now: the clock, in Unix seconds.
    """

    def __init__(self, issuer: str, secrets: Sequence[bytes], now: Callable[[], float]) -> None:
        self._issuer = issuer
        self._secrets = secrets
        self._now = now

    def held(self, request: Request) -> list[PullAttempt]:
        """Return the attempts that the browser has under way, the latest first."""
        attempts: list[PullAttempt] = []
        for name, value in self._sent(request):
            values = self._open(name, value)
            # The browser's clock decides when it drops the cookie: the value has an age of its own.
            if values is None or values.pop("issuer") != self._issuer:
                continue
            if self._is_recent(values["began"], LIFETIME):
                attempts.append(PullAttempt(name, size=len(name) + len(value), **values))
        return sorted(attempts, key=lambda attempt: attempt.began, reverse=True)

    def _sent(self, request: Request) -> list[tuple[str, str]]:
        """Return the names and values of the browser's cookies of attempts."""
        # Attack: a subdomain sets a cookie with an attempt of the attacker's own, and opens the
        # link that it ended with: a login CSRF. Over https only names with the prefix are read.
        sent = own_cookies_sent(request, _NAME)
        # Attack: a thousand cookies, each of which would be decrypted. Browsers hold five.
        return sent[:_MOST_OPENED]

    def start(self, request: Request, wanted: str) -> tuple[str, tuple[Cookie, ...]]:
        """Return the verifier of a new attempt, and the cookies to set for it.

        The oldest attempts are deleted where there would be too many.
        """
        verifier = randomness.token_urlsafe(32)
        name = own_name(request, f"{_NAME}{randomness.token_hex(8)}")
        values = {
            "verifier": verifier,
            "wanted": wanted,
            "issuer": self._issuer,
            "began": self._now(),
        }
        cookie = own_cookie(name, self._seal(name, values), LIFETIME)
        size = len(cookie.name) + len(cookie.value)
        kept: set[str] = set()
        for attempt in self.held(request)[: MOST_ATTEMPTS - 1]:
            size += attempt.size
            if size <= _MOST_BYTES:
                kept.add(attempt.name)
        outdated = dict.fromkeys(each for each, _ in self._sent(request) if each not in kept)
        return verifier, (cookie, *(own_cookie(each, "", 0) for each in outdated))

    def returns(self, request: Request) -> Returns:
        """Return what is known of the browser's last returns."""
        name = own_name(request, _RETURNS)
        sent = request.cookies(name)
        values = self._open(name, sent[0]) if sent else None
        if values is None:
            return Returns()
        times = (each for each in values["times"] if self._is_recent(each, COUNTED))
        return Returns(tuple(times), values["wanted"])

    def count_return(self, request: Request, wanted: str, *, more: int = 1) -> Cookie:
        """Return the cookie that counts one more return.

        :param wanted: the path and query that the visitor wanted.
        :param more: 0 only to note what the visitor wanted.
        """
        name = own_name(request, _RETURNS)
        times = [*self.returns(request).times, *[self._now()] * more]
        # More than are compared need not be kept.
        values = {"times": times[-MOST_ATTEMPTS:], "wanted": wanted}
        return own_cookie(name, self._seal(name, values), COUNTED)

    def forget_returns(self, request: Request) -> Cookie:
        """Return the cookie that begins the count anew."""
        return own_cookie(own_name(request, _RETURNS), "", 0)

    def _is_recent(self, moment: float, age: float) -> bool:
        return -_SKEW <= self._now() - moment < age

    def _seal(self, name: str, values: dict[str, Any]) -> str:
        return CookieSeal(name, self._secrets).seal(to_json(values))

    def _open(self, name: str, value: str) -> dict[str, Any] | None:
        # Bound to the name: what was sealed for a cookie without `__Host-` opens under no other.
        plain = CookieSeal(name, self._secrets).open(value)
        return None if plain is None else json.loads(plain)
