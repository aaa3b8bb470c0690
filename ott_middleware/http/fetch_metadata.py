"""Classifies a request: what a browser, a proxy or another client wants the URL for.

(W3C Fetch Metadata Request Headers; https://fetch.spec.whatwg.org for the modes and destinations.)
"""

from __future__ import annotations

import enum
from functools import lru_cache

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from .client_text import MAX_ACCEPT
from .link_previews import is_link_preview
from .messages import Request

_SPECULATIVE = ("prefetch", "prerender", "preview")
_PURPOSES = frozenset({"sec-purpose", "purpose", "x-moz", "x-purpose", "x-sec-purpose"})
_FRAMES = frozenset({"iframe", "frame", "embed", "object", "fencedframe"})
# What a visitor opens, and what a script asks for. All others are parts of a page: images, fonts.
_NO_PART = frozenset({None, "", "document", "empty", "websocket"})


class Kind(enum.Enum):
    """What a request is for. A member's value completes the sentence "This request is ..."."""

    NAVIGATION = "a navigation"
    PAGE_FIRST = "a navigation, or a frame behind a service worker or of an old browser"
    CALL = "a call of a script or of a client that is no browser"
    PREFETCH = "a prefetch or a preview"
    PREVIEW = "the link preview of a chat program"
    FRAME = "a frame: open the link as a page of its own"
    PASSIVE = (
        "a HEAD or OPTIONS request, or an image, script or style: a client that is no browser, and "
        "sends a Cookie or Accept-Language, sends Sec-Fetch-Mode: cors too"
    )

    @property
    def is_navigation(self) -> bool:
        """Whether the response may be the page that a visitor sees."""
        return self in (Kind.NAVIGATION, Kind.PAGE_FIRST)

    @property
    def never_redeems(self) -> bool:
        """Whether the app gets the request without the token, since no visitor opened the URL."""
        return self in (Kind.PREVIEW, Kind.FRAME, Kind.PASSIVE)


def classify(request: Request) -> Kind:
    """Return the kind of a request, by its method and headers alone."""
    if is_speculative(request):
        return Kind.PREFETCH
    if request.method in ("HEAD", "OPTIONS"):
        return Kind.PASSIVE
    # The in-app browsers of chat programs have similar names; there a visitor clicked.
    clicked = request.header("sec-fetch-user") == "?1"
    if not clicked and is_link_preview(request.header("user-agent") or ""):
        return Kind.PREVIEW
    mode, destination = request.header("sec-fetch-mode"), request.header("sec-fetch-dest")
    navigates = mode == "navigate"
    # Attack: another site loads the link in a frame, and so signs its visitors in at this site
    # unseen. Frames redeem nothing, nor do images: without this, a page that shows the link's
    # address as an image would use up the token before the visitor clicks.
    if (
        destination in _FRAMES
        or mode == "nested-navigate"  # Chromium 76 to 79
        or (navigates and destination not in ("document", "empty", "", None))
    ):
        return Kind.FRAME
    # Attack: a user of this site posts `<img crossorigin src="/?ott=...">`, which browsers load in
    # the mode `cors`, without an `Origin`. By its destination, a part of a page redeems nothing in
    # any mode; without that, each reader would be signed in as that user.
    if mode == "no-cors" or destination not in _NO_PART:
        return Kind.PASSIVE
    if request.method != "GET":
        return Kind.CALL
    if request.has_fetch_metadata:
        if navigates:
            return Kind.NAVIGATION if destination == "document" else Kind.PAGE_FIRST
        # A service worker that built a request of its own from the navigation's.
        rebuilt = mode == "same-origin" and destination == "empty" and accepts_html(request)
        return Kind.PAGE_FIRST if rebuilt else Kind.CALL
    if accepts_html(request):
        return Kind.PAGE_FIRST
    # An old browser's image, script or style. A browser's call from another origin has an `Origin`,
    # and a client that is no browser has neither of the two headers unless told to send one.
    by_browser = request.header("cookie") is not None or "accept-language" in request.headers
    return Kind.PASSIVE if by_browser and request.header("origin") is None else Kind.CALL


def is_speculative(request: Request) -> bool:
    """Return whether a browser or proxy fetches the URL before a visitor opens it."""
    if _PURPOSES.isdisjoint(request.headers):
        return False
    said = [(request.header(name) or "").lower() for name in _PURPOSES]
    return any(word in each for each in said if each for word in _SPECULATIVE)


def loads_unseen(request: Request) -> bool:
    """Return whether a page loaded the URL as a part of itself, so that no visitor asked for it."""
    mode, destination = request.header("sec-fetch-mode"), request.header("sec-fetch-dest")
    if mode == "no-cors" or destination not in _NO_PART:
        # A link that was clicked inside of a frame is asked for.
        return request.header("sec-fetch-user") != "?1"
    # The image of an older browser.
    accept = request.header("accept") or ""
    return mode is None and "image/" in accept and not accepts_html(request)


def accepts_html(request: Request) -> bool:
    """Return whether `Accept` names HTML (RFC 9110 section 12.5.1); False if it is over 1 KiB."""
    accept = request.header("accept") or ""
    # Attack: `Accept: a<60,000 blanks>b` takes the parser 6 seconds, since its pattern is quadratic
    # in blanks. The limit, which no browser reaches, keeps one request from holding up a worker.
    return len(accept) <= MAX_ACCEPT and _names_html(accept)


# The kind of a request and the form of an error depend on `Accept`: it is parsed once for both.
@lru_cache(maxsize=64)
def _names_html(accept: str) -> bool:
    accepted = parse_accept_header(accept, MIMEAccept)
    kinds = (kind.partition(";")[0].lower() for kind, quality in accepted if quality > 0)
    return "text/html" in kinds
