"""Receipts: a cookie by which a browser shows that it has used a link itself.

A double click, a reload or the back button opens a used link again. Where the adapter can verify
sessions, the session itself tells that the browser is signed in, and there are no receipts. A
`CookieSession` without `validate` or `probe` cannot tell: there a navigation that redeems a link
also sets a receipt, an HMAC of the token under the `secret`. A used link that comes with its
receipt and with the session cookies leads to the clean URL, and no error is shown.

A receipt signs no user in: whoever copies or plants one is redirected once, and no more. Without a
`secret` there are no receipts.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

from ..crypto import base64url, derive, hmac_under
from ..http.cookies import Cookie
from ..http.messages import Request

#: Seconds that a receipt is good for.
LIFETIME = 60
# The links that a browser opened last, each with its receipt.
_MOST = 5
# 128 bits of the HMAC: 22 characters.
_BYTES = 16
_RECEIPTS = re.compile(r"[A-Za-z0-9_-]{22}(?:\.[A-Za-z0-9_-]{22}){0,4}")


class Receipts:
    """The receipts of one site.

    :param param: the name of the link parameter, after which the cookie is named.
    :param secrets: newest first, which signs; those that all of them sign are good.
    :param cookie_names: of the session; a browser that sends them is signed in, as far as is known.
    """

    def __init__(self, param: str, secrets: Sequence[bytes], cookie_names: Sequence[str]) -> None:
        self._name = f"{param}_receipts"
        self._session = tuple(cookie_names)
        # Keys of their own: nothing that is signed or sealed elsewhere is a receipt.
        self._hmacs = [hmac_under(derive(secret, None, "receipt")) for secret in secrets]

    def cookie(self, token: str, request: Request) -> Cookie:
        """Return the cookie to set with the session: a new receipt, and the last ones."""
        new = base64url(self._hmacs[0](token.encode())[:_BYTES])
        kept = [each for each in self._held(request) if each != new][: _MOST - 1]
        return Cookie(
            self._cookie_name(request),
            ".".join([new, *kept]),
            max_age=LIFETIME,
            secure=request.scheme == "https",
        )

    def holds(self, token: str, request: Request) -> bool:
        """Return whether the browser used this very token, and still sends its session cookies."""
        return self.is_of(token, request) and all(request.cookies_named(self._session).values())

    def is_of(self, token: str, request: Request) -> bool:
        """Return whether the browser used this very token, signed in or not."""
        held = self._held(request)
        if not held:
            return False
        signed = [base64url(digest(token.encode())[:_BYTES]) for digest in self._hmacs]
        return any(hmac.compare_digest(one, other) for one in signed for other in held)

    def _cookie_name(self, request: Request) -> str:
        # Attack: a subdomain sets a cookie of that name. Over https the prefix makes a browser
        # refuse it. Over http a receipt that was planted hides the error of a used link; no more.
        return f"__Host-{self._name}" if request.scheme == "https" else self._name

    def _held(self, request: Request) -> list[str]:
        """Return the receipts that the browser sent, newest first, genuine or not."""
        values = request.cookies(self._cookie_name(request))
        return values[0].split(".") if values and _RECEIPTS.fullmatch(values[0]) else []
