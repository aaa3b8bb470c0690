"""Warns of session cookies that a browser drops."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..http.cookies import Cookie
from ..http.messages import Request
from ..http.origins import Origin, is_loopback

logger = logging.getLogger("ott_middleware")

_CURE = (
    "give the cookie SameSite=None, Secure and Partitioned (CookieSession(..., samesite='None', "
    "secure=True, partitioned=True), or the app's own settings), serve the front end from a host "
    "of this site, or open a link with the token in the top-level window"
)


class ThirdPartyWarning:
    """Logs one warning for one middleware, where a page of another site made the request."""

    _is_over = False

    def check(self, request: Request, cookies: Iterable[Cookie]) -> None:
        """Warn of the cookies of a response to a call that redeemed a token.

        :param request: its `Origin` was checked by the Origin rule.
        """
        # The other origins of the same site are no third party: browsers keep their cookies. Nor is
        # a form of another site that leads here, in the top-level window.
        navigates = request.header("sec-fetch-mode") == "navigate"
        if self._is_over or navigates or request.header("sec-fetch-site") != "cross-site":
            return
        reasons = {
            cookie.name: f"SameSite={cookie.samesite or 'Lax (by default)'}"
            if cookie.samesite != "None"
            else "not Partitioned"
            for cookie in cookies
            if cookie.value and not (cookie.samesite == "None" and cookie.partitioned)
        }
        if reasons:
            self._is_over = True
            logger.warning(
                "a page of another site, of a trusted origin, redeemed a token, and browsers "
                "drop or block the session cookie there: %s; %s",
                ", ".join(f"{name!r} is {reason}" for name, reason in reasons.items()),
                _CURE,
            )


class DroppedCookieWarning:
    """Logs one warning for one middleware, of a cookie that no browser keeps at this site."""

    _is_over = False

    def check(self, request: Request, cookies: Iterable[Cookie]) -> None:
        """Warn of the cookies of a response that signs a browser in."""
        # Nearly all cookies have neither: the Host need not be parsed.
        plain = request.scheme == "http"
        doubtful = [each for each in cookies if each.domain or (each.secure and plain)]
        if self._is_over or not doubtful:
            return
        host = Origin.parse(f"{request.scheme}://{request.header('host')}")
        if host is None or is_loopback(host.host):
            return
        for cookie in doubtful:
            if problem := _find_problem(cookie, request, host.host):
                self._is_over = True
                logger.warning("browsers drop the session cookie %r: %s", cookie.name, problem)
                return


def _find_problem(cookie: Cookie, request: Request, host: str) -> str | None:
    """Return why a browser drops a cookie, and the cure; None where it keeps the cookie."""
    domain = (cookie.domain or "").lstrip(".").lower()
    if domain and not f".{host}".endswith(f".{domain}"):
        return (
            f"its Domain is {domain!r}, and the request's Host is {host!r}; leave domain= out, or "
            "let the proxy in front pass the Host on"
        )
    # Browsers send Fetch Metadata over https alone: a proxy that ends TLS does not pass for http.
    is_plain = request.scheme == "http" and not request.has_fetch_metadata
    if cookie.secure and is_plain and "text/html" in (request.header("accept") or ""):
        return (
            "it is Secure, and the request came over http; serve the site by https, or, in "
            "development alone, use a cookie without Secure, or localhost"
        )
    return None
