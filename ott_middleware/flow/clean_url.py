"""The redirection to a request's own URL without the link parameter."""

from __future__ import annotations

from ..copies import copy_unchecked
from ..http.messages import PRIVATE, Request, Response

_SEE_OTHER = Response(303)


def redirect_to_clean_url(request: Request, *headers: tuple[str, str]) -> Response:
    """Return a 303 to the URL of a request without its link.

    :param headers: more headers: cookies, whose form HTTP can carry.
    """
    headers = (("Location", request.location), ("Content-Length", "0"), *PRIVATE, *headers)
    return copy_unchecked(_SEE_OTHER, headers=headers)
