"""Nonce cookies: a random value that only a page of this site, in this browser, can repeat.

Another site can neither read such a cookie nor, over https, set one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from typing import Literal

from ..http.cookies import Cookie
from ..http.messages import Request
from ..tokens.names import is_token

_SHORTEST = 16


def new_nonce() -> str:
    """Return 192 random bits, as characters that are safe in a cookie and in a query."""
    return secrets.token_urlsafe(24)


def name_for(subject: str) -> str:
    """Return a part of a cookie's name for a token: a hash, since names of cookies are logged."""
    return hashlib.sha256(b"ott_middleware nonce " + subject.encode()).hexdigest()[:16]


class Nonces:
    """The nonce cookies of one kind of page.

    :param name: of the cookie, without `__Host-`.
    :param lifetime: seconds.
    :param new_nonce: the source of randomness.
    """

    def __init__(
        self,
        name: str,
        *,
        lifetime: int,
        samesite: Literal["Lax", "Strict"] = "Lax",
        new_nonce: Callable[[], str] = new_nonce,
    ) -> None:
        self._name = name
        self._lifetime = lifetime
        self._samesite = samesite
        self._new_nonce = new_nonce

    def cookie_name(self, request: Request) -> str:
        """Return the cookie's name at the scheme of a request."""
        # Attack: a subdomain sets a cookie of that name, and repeats its value. Over https the
        # prefix makes a browser refuse the cookie. Over http nothing can: there a subdomain can set
        # the session cookie itself.
        return f"__Host-{self._name}" if request.scheme == "https" else self._name

    def held(self, request: Request) -> list[str]:
        """Return the nonces that the browser sent."""
        return [each for each in request.cookies(self.cookie_name(request)) if _is_nonce(each)]

    def cookie(self, request: Request) -> Cookie:
        """Return the cookie to set: with the nonce that the browser holds, else with a new one."""
        # A nonce that is there is kept: another tab may show a page with it.
        held = self.held(request)
        return Cookie(
            self.cookie_name(request),
            held[0] if held else self._new_nonce(),
            max_age=self._lifetime,
            secure=request.scheme == "https",
            samesite=self._samesite,
        )

    def deletion(self, request: Request) -> Cookie:
        """Return the cookie that deletes the nonce."""
        secure = request.scheme == "https"
        name = self.cookie_name(request)
        return Cookie(name, "", max_age=0, secure=secure, samesite=self._samesite)

    def are_equal(self, request: Request, given: Iterable[str]) -> bool:
        """Return whether a page repeated one value, a nonce that the browser holds."""
        values = list(given)
        held = self.held(request)
        return len(values) == 1 and any(
            hmac.compare_digest(values[0].encode("utf-8", "replace"), each.encode())
            for each in held
        )


def _is_nonce(value: str) -> bool:
    return len(value) >= _SHORTEST and is_token(value)
