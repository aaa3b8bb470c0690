"""Recognises a request for the app's own log-out page, which ends the session as well."""

from __future__ import annotations

import logging

from ..context import PROBE
from ..errors import RequestError
from ..http.fetch_metadata import is_speculative, loads_unseen
from ..http.messages import Request
from ..http.origins import check_origin
from .services import Services

logger = logging.getLogger("ott_middleware")


def is_sign_out_path(request: Request, services: Services) -> bool:
    """Return whether a request is for the page at `sign_out_path` of the adapter."""
    path = services.guard.sign_out_path
    return path is not None and request.path.rstrip("/") == path.rstrip("/")


def asks_to_sign_out(request: Request, services: Services) -> bool:
    """Return whether a visitor asks for the page at `sign_out_path` of the adapter."""
    if not is_sign_out_path(request, services):
        return False
    # A HEAD or OPTIONS request shows no page, and a prefetch perhaps never does. A probe is sent by
    # a middleware of this package, not by the visitor.
    if request.method in ("HEAD", "OPTIONS") or PROBE in request.carrier or is_speculative(request):
        return False
    try:
        # Attack: a page of another site, or an image that a user of this site posted, has browsers
        # load the log-out page. Only what the visitor asked for at this site counts; without these
        # lines, any page could sign the visitors of this site out.
        check_origin(request, services.site.same_origin(request), services.options.trusted)
        unseen = loads_unseen(request)
    except RequestError:
        unseen = True
    if unseen:
        logger.debug("sign_out_path: not asked for by a visitor of this site; the session stays")
    return not unseen
