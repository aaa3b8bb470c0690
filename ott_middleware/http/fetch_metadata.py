"""Classifies a request by its method and Fetch Metadata.

(W3C Fetch Metadata Request Headers; https://fetch.spec.whatwg.org for the modes and destinations.)
"""

from __future__ import annotations

from functools import lru_cache

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from .client_text import MAX_ACCEPT
from .messages import Request

_FRAMES = frozenset({"iframe", "frame", "embed", "object"})
_METADATA = ("sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user")


def is_speculative(request: Request) -> bool:
    """Return whether a browser or proxy fetches the URL before a visitor opens it (prefetch)."""
    said = (request.header(name) or "" for name in ("sec-purpose", "purpose", "x-moz"))
    return any("prefetch" in word or "prerender" in word for word in map(str.lower, said))


def never_redeems(request: Request) -> bool:
    """Return whether a request of this kind redeems no link, since no visitor opened the URL."""
    # Attack: another site loads the link in a frame, and so signs its visitors in at this site
    # unseen. Frames redeem nothing, nor do HEAD requests and images: without this, a link preview
    # would use up the token before the visitor clicks.
    return (
        request.method in ("HEAD", "OPTIONS")
        or request.header("sec-fetch-mode") == "no-cors"
        or request.header("sec-fetch-dest") in _FRAMES
    )


def loads_unseen(request: Request) -> bool:
    """Return whether a page loaded the URL as a part of itself, so that no visitor asked for it."""
    mode, destination = request.header("sec-fetch-mode"), request.header("sec-fetch-dest")
    if mode == "no-cors" or destination in _FRAMES:
        # A link that was clicked inside of a frame is asked for.
        return request.header("sec-fetch-user") != "?1"
    # The image of an older browser.
    accept = request.header("accept") or ""
    return mode is None and "image/" in accept and not accepts_html(request)


def is_navigation(request: Request) -> bool:
    """Return whether a visitor opened the URL, so that the response is the page that they see."""
    if request.method != "GET":
        return False
    if any(request.header(name) is not None for name in _METADATA):
        mode, destination = request.header("sec-fetch-mode"), request.header("sec-fetch-dest")
        return mode == "navigate" and destination == "document"
    return accepts_html(request)


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
