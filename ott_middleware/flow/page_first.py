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

from ..http.fetch_metadata import Kind
from ..http.messages import Request, Response
from ..http.pages import page_first, try_again_page
from ..http.urls import SEEN
from ..reasons import Reason
from .error_responses import show_page
from .nonces import Nonces
from .reports import Entry
from .services import Services

logger = logging.getLogger("ott_middleware")

_HINT = (
    "a test client that stands for a browser sends Sec-Fetch-Mode: navigate and Sec-Fetch-Dest: "
    "document"
)
# Seconds: a page loads the next one at once.
_LIFETIME = 60


class PageFirst:
    """Decides whether a link needs a page first, and builds the page.

    :ivar nonces: those of pages that lead on to the same URL with the nonce added.
    """

    def __init__(self, services: Services) -> None:
        self._param = str(services.options.query_param)
        self._options = services.options
        self._reports = services.reports
        self.nonces = Nonces(f"{self._param}{SEEN}", lifetime=_LIFETIME)

    def respond(self, request: Request, kind: Kind, token: str | None) -> Response | None:
        """Return the page to show first, or None where the link may be redeemed now.

        :param kind: one that is a navigation.
        :param token: of the link; None for a request that starts a pull handoff.
        """
        # The adapter is asked late, since the app may be configured after it is wrapped, and only
        # where it matters: an app may know the attributes of its cookie in requests alone.
        cross_site = request.header("sec-fetch-site") == "cross-site"
        held_back = cross_site and self._options.adapter.strict
        needs_page = kind is not Kind.NAVIGATION or held_back
        if not (needs_page or request.seen):
            return None
        link = () if token is None else (f"{self._param}={token}",)
        if blocked := self.find_blocked(request, "link", *link):
            return blocked
        if not needs_page or self.nonces.are_equal(request, request.seen):
            return None
        why = "the browser held the SameSite=Strict cookie back" if held_back else kind.value
        logger.debug("link not redeemed yet, a page is shown first: %s; %s", why, _HINT)
        return self.load_again(request, *link)

    def find_blocked(self, request: Request, entry: Entry, *link: str) -> Response | None:
        """Return the page for a browser that blocks cookies, or None where it was shown no page.

        :param entry: what the request asked for.
        :param link: the parameter of the link, if there is one.
        """
        if not request.seen or self.nonces.held(request):
            return None
        # Not the page again: a browser that keeps no cookies would load it for ever.
        why = f"the browser sent no cookie {self.nonces.cookie_name(request)} back"
        self._reports.note_pass(entry, Reason("cookies_blocked", why))
        page = try_again_page("cookies_blocked", request, request.location_with(*link))
        return show_page(page, self._options)

    def load_again(self, request: Request, *link: str) -> Response:
        """Return a page that loads the URL, in no frame and with the browser's strict cookies.

        :param link: see `find_blocked`.
        """
        cookie = self.nonces.cookie(request)
        seen = f"{self._param}{SEEN}={cookie.value}"
        return page_first(request, request.location_with(*link, seen), cookie.header())
