"""Nonce cookies: a random value that only a page of this site, in this browser, can repeat.

Another site can neither read such a cookie nor, over https, set one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Literal

from ..http.cookies import Cookie
from ..http.messages import Request
from ..tokens.names import is_token
from .own_cookies import own_cookie, own_name

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
    """

    def __init__(
        self, name: str, *, lifetime: int, samesite: Literal["Lax", "Strict"] = "Lax"
    ) -> None:
        self._name = name
        self._lifetime = lifetime
        self._samesite = samesite

    def cookie_name(self, request: Request) -> str:
        """Return the cookie's name at the scheme of a request."""
        return own_name(request, self._name)

    def held(self, request: Request) -> list[str]:
        """Return the nonces that the browser sent."""
        return [each for each in request.cookies(self.cookie_name(request)) if _is_nonce(each)]

    def cookie(self, request: Request) -> Cookie:
        """Return the cookie to set: with the nonce that the browser holds, else with a new one."""
        # A nonce that is there is kept: another tab may show a page with it.
        held = self.held(request)
        return self.cookie_with(request, held[0] if held else new_nonce())

    def cookie_with(self, request: Request, nonce: str) -> Cookie:
        """Return the cookie to set, with a nonce of the caller's."""
        return own_cookie(self.cookie_name(request), nonce, self._lifetime, self._samesite)

    def deletion(self, request: Request) -> Cookie:
        """Return the cookie that deletes the nonce."""
        return own_cookie(self.cookie_name(request), "", 0, self._samesite)

    def are_equal(self, request: Request, given: Sequence[str]) -> bool:
        """Return whether a page repeated one value, a nonce that the browser holds."""
        return len(given) == 1 and any(
            hmac.compare_digest(given[0].encode("utf-8", "replace"), each.encode())
            for each in self.held(request)
        )


class TokenNonces:
    """Nonce cookies that are each good for one token alone.

    Attack: a page of another site opens hundreds of confirm links in a visitor's browser, so that
    their cookies push out the session cookie, or make each request too long for the server. The
    cookies that are there can be neither counted nor deleted, since a browser holds back
    `SameSite=Strict` cookies where another site opens a link. So there are five names, and what
    makes a cookie that of one token stands in its value.

    :param name: of the cookies, without `__Host-` and the number.
    :param lifetime: seconds.
    """

    def __init__(self, name: str, *, lifetime: int) -> None:
        self._cookies = [
            Nonces(f"{name}_{number}", lifetime=lifetime, samesite="Strict") for number in range(5)
        ]

    def cookie(self, request: Request, token: str) -> Cookie:
        """Return the cookie to set: with the nonce that the browser holds, else with a new one."""
        held = self._held(request, token)
        if held is not None:
            return held[0].cookie_with(request, held[1])
        # If that replaces the cookie of another token, its page is shown anew after the click.
        new = f"{name_for(token)}-{new_nonce()}"
        return self._free(request, token).cookie_with(request, new)

    def is_held(self, request: Request, token: str) -> bool:
        """Return whether the browser holds a nonce of a token."""
        return self._held(request, token) is not None

    def is_equal(self, request: Request, token: str, given: str) -> bool:
        """Return whether a page repeated the nonce that the browser holds for a token."""
        held = self._held(request, token)
        # Attack: a page of this site for the attacker's token, and its nonce, posted with another.
        # Only the values of this token's own are compared.
        return held is not None and hmac.compare_digest(
            held[1].encode(), given.encode("utf-8", "replace")
        )

    def deletions(self, request: Request, token: str) -> tuple[Cookie, ...]:
        """Return the cookie that deletes the nonce of a token, if there is one."""
        held = self._held(request, token)
        return () if held is None else (held[0].deletion(request),)

    def _all(self, request: Request) -> list[tuple[Nonces, list[str]]]:
        """Return what the browser holds under each name."""
        names = tuple(each.cookie_name(request) for each in self._cookies)
        sent = request.parse_cookies(names)  # one pass over a header that may be long
        values = ([value for value in sent[name] if _is_nonce(value)] for name in names)
        return list(zip(self._cookies, values, strict=True))

    def _held(self, request: Request, token: str) -> tuple[Nonces, str] | None:
        begins = f"{name_for(token)}-"
        held = ((each, value) for each, values in self._all(request) for value in values)
        return next((pair for pair in held if pair[1].startswith(begins)), None)

    def _free(self, request: Request, token: str) -> Nonces:
        # By the token where the browser does not say which are free: two links rarely meet.
        first = int(name_for(token), 16) % len(self._cookies)
        found = self._all(request)
        turned = found[first:] + found[:first]
        return next((each for each, values in turned if not values), turned[0][0])


def _is_nonce(value: str) -> bool:
    return len(value) >= _SHORTEST and is_token(value)
