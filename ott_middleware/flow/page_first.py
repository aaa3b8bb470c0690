"""Page first: a link that may have been opened in a frame is redeemed once a page was shown.

A service worker hands a frame on as it hands a page on, and old browsers do not say what is a
frame. Such a request first gets a page that no frame shows. The page sets a random nonce as a
cookie, and loads the same URL with the nonce added; that load redeems. Another site can neither
read the nonce nor set the cookie, and a frame shows no page that could load anything.

A session cookie that is `SameSite=Strict` needs the same page: a browser holds it back where a link
of another site is opened, and sends it with the load by this site's own page.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..http.fetch_metadata import Kind
from ..http.messages import Request, Response
from ..http.pages import cookies_blocked_page, page_first
from ..http.urls import SEEN
from ..reasons import Reason
from .error_responses import show_page
from .nonces import Nonces, new_nonce
from .services import Services

logger = logging.getLogger("ott_middleware")

_HINT = (
    "a test client that stands for a browser sends Sec-Fetch-Mode: navigate and Sec-Fetch-Dest: "
    "document"
)
# Seconds: a page loads the next one at once.
_LIFETIME = 60


def nonces_of_pages(param: str, new_nonce: Callable[[], str] = new_nonce) -> Nonces:
    """Return the nonces of pages that lead on to the same URL with the nonce added.

    :param param: the name of the link parameter.
    """
    return Nonces(f"{param}{SEEN}", lifetime=_LIFETIME, new_nonce=new_nonce)


class PageFirst:
    """Decides whether a link needs a page first, and builds the page.

    :param new_nonce: the source of randomness.
    """

    def __init__(self, services: Services, new_nonce: Callable[[], str]) -> None:
        self._param = str(services.options.query_param)
        self._adapter = services.options.adapter
        self._nonces = nonces_of_pages(self._param, new_nonce)
        self._options = services.options
        self._reports = services.reports

    def respond(self, request: Request, kind: Kind, token: str | None) -> Response | None:
        """Return the page to show first, or None where the link may be redeemed now.

        :param kind: one that is a navigation.
        :param token: of the link; None for a request that starts a pull handoff.
        """
        # The adapter is asked late, since the app may be configured after it is wrapped.
        held_back = request.header("sec-fetch-site") == "cross-site" and self._adapter.strict
        if kind is Kind.NAVIGATION and not held_back and not request.seen:
            return None
        nonces = self._nonces.held(request)
        if request.seen and not nonces:
            # Not the page again: a browser that keeps no cookies would load it for ever.
            why = f"the browser sent no cookie {self._nonces.cookie_name(request)} back"
            self._reports.passed("link", Reason("cookies_blocked", why))
            page = cookies_blocked_page(
                request, self._location(request, token), site_name=self._options.site_name
            )
            return show_page(page, self._options)
        if kind is Kind.NAVIGATION and not held_back:
            return None
        if self._nonces.are_equal(request, request.seen):
            return None
        why = "the browser held the SameSite=Strict cookie back" if held_back else kind.value
        logger.debug("link not redeemed yet, a page is shown first: %s; %s", why, _HINT)
        cookie = self._nonces.cookie(request)
        seen = f"{self._param}{SEEN}={cookie.value}"
        return page_first(request, self._location(request, token, seen), cookie.header())

    def _location(self, request: Request, token: str | None, *more: str) -> str:
        link = () if token is None else (f"{self._param}={token}",)
        return request.location_with(*link, *more)
