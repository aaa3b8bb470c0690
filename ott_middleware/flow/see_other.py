"""Redirections with 303: to a URL, and to a request's own URL without the link parameter."""

from __future__ import annotations

from ..copies import copy_unchecked
from ..http.messages import PRIVATE, Headers, Request, Response

_SEE_OTHER = Response(303)


def redirect(location: str, *headers: tuple[str, str]) -> Response:
    """Return a 303 to a URL.

    :param headers: more headers: cookies.
    :raises ValueError: HTTP cannot carry the URL.
    """
    return Response(303, _to(location, headers))


def redirect_to_clean_url(request: Request, *headers: tuple[str, str]) -> Response:
    """Return a 303 to the URL of a request without its link.

    :param headers: more headers: cookies.
    """
    # Both the location and the headers of cookies are of a form that HTTP can carry.
    return copy_unchecked(_SEE_OTHER, headers=_to(request.location, headers))


def _to(location: str, headers: Headers) -> Headers:
    return (("Location", location), ("Content-Length", "0"), *PRIVATE, *headers)
