"""Receipts: a cookie by which a browser shows that it has used a link itself.

A double click, a reload or the back button opens a used link again. Where the adapter can verify
sessions, the session itself tells that the browser is signed in, and there are no receipts. A
`CookieSession` without `validate` or `probe` cannot tell: there a navigation that redeems a link
also sets a receipt: the time, and an HMAC of the time and the token under the `secret`. A used link
that comes with its receipt and with the session cookies leads to the clean URL, and no error is
shown.

A receipt signs no user in: whoever copies or plants one is redirected once, and no more. Without a
`secret` there are no receipts.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence

from ..crypto import base64url, derive, hmac_under
from ..http.cookies import Cookie
from ..http.messages import Request
from .own_cookies import own_cookie, own_name

#: Seconds that a receipt is good for.
LIFETIME = 60
# The links that a browser opened last, each with its receipt.
_MOST = 5
# 128 bits of the HMAC: 22 characters.
_BYTES = 16
# Digits of the Unix seconds in hexadecimal, in front of the HMAC.
_DIGITS = 8
_RECEIPT = rf"[0-9a-f]{{{_DIGITS}}}[A-Za-z0-9_-]{{22}}"
_RECEIPTS = re.compile(rf"{_RECEIPT}(?:\.{_RECEIPT}){{0,4}}")
# Seconds: the clocks of two hosts of one site may differ.
_SKEW = 60


class Receipts:
    """The receipts of one site.

    :param param: the name of the link parameter, after which the cookie is named.
    :param secrets: newest first, which signs; those that all of them sign are good.
    :param cookie_names: of the session; a browser that sends them is signed in, as far as is known.
    :param now: the clock, in Unix seconds.
    """

    def __init__(
        self,
        param: str,
        secrets: Sequence[bytes],
        cookie_names: Sequence[str],
        now: Callable[[], float],
    ) -> None:
        self._now = now
        self._name = f"{param}_receipts"
        self._session = tuple(cookie_names)
        # Keys of their own: nothing else that is signed or sealed is a receipt.
        self._hmacs = [hmac_under(derive(secret, None, "receipt")) for secret in secrets]

    def cookie(self, token: str, request: Request) -> Cookie:
        """Return the cookie to set with the session: a new receipt, and the last ones."""
        new = _sign(self._hmacs[0], f"{int(self._now()):0{_DIGITS}x}", token)
        kept = [each for each in self._held(request) if each != new][: _MOST - 1]
        return own_cookie(own_name(request, self._name), ".".join([new, *kept]), LIFETIME)

    def holds(self, token: str, request: Request) -> bool:
        """Return whether the browser used this very token, and still sends its session cookies."""
        return self.is_of(token, request) and all(request.cookies_named(self._session).values())

    def is_of(self, token: str, request: Request) -> bool:
        """Return whether the browser used this very token, signed in or not."""
        held = self._held(request)
        return any(
            hmac.compare_digest(_sign(digest, each[:_DIGITS], token), each)
            for digest in self._hmacs
            for each in held
        )

    def _held(self, request: Request) -> list[str]:
        """Return the receipts of the last minute that the browser sent, newest first.

        They need not be genuine.
        """
        # Over http a subdomain can plant a receipt. It hides the error of a used link; no more.
        values = request.cookies(own_name(request, self._name))
        if not values or not _RECEIPTS.fullmatch(values[0]):
            return []
        # Each new link renews the age of the cookie, and so that of the receipts before it: each
        # has an age of its own.
        now = self._now()
        return [
            each
            for each in values[0].split(".")
            if -_SKEW <= now - int(each[:_DIGITS], 16) < LIFETIME
        ]


def _sign(digest: Callable[[bytes], bytes], time: str, token: str) -> str:
    """Return a receipt of a time (`_DIGITS` digits) and a token."""
    return time + base64url(digest(f"{time}.{token}".encode())[:_BYTES])
