"""Requests that are refused: the answer, and the line in the log."""

from __future__ import annotations

import logging

from ..errors import RequestError, Unavailable
from ..http.fetch_metadata import accepts_html
from ..http.messages import Request, Response, json_response
from ..http.pages import error_page

logger = logging.getLogger("ott_middleware")


def json_error_response(error: RequestError) -> Response:
    """An error as JSON."""
    _log(error)
    body = {"message": error.message, "code": error.code}
    return json_response(error.status, body, *error.headers)


def error_response(request: Request, error: RequestError) -> Response:
    """An error as a page or as JSON, by what the request accepts."""
    if not accepts_html(request):
        return json_error_response(error)
    _log(error)
    return error_page(error, request.location)


def _log(error: RequestError) -> None:
    # What the client did wrong is the client's to know; what broke here is logged, in one line, by
    # types and our own words: the texts of others may quote a token, a cookie or a password.
    if isinstance(error, Unavailable):
        causes: list[str] = []
        cause = error.__cause__
        # Bounded: whoever raises may have tied the chain into a ring.
        while cause is not None and len(causes) < 8:
            causes.append(type(cause).__name__)
            cause = cause.__cause__ or cause.__context__
        logger.error("%s: %s (%s)", error.code, error, ", ".join(causes) or "no cause")
