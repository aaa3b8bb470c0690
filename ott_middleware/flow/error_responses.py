"""Refused requests: the response, and the line in the log."""

from __future__ import annotations

import logging

from ..errors import RequestError, Unavailable
from ..http.fetch_metadata import accepts_html
from ..http.messages import Request, Response, json_response
from ..http.pages import error_page, render, render_own
from ..options import Options

logger = logging.getLogger("ott_middleware")


def json_error_response(error: RequestError) -> Response:
    """Return an error as JSON, and log what broke here."""
    _log(error)
    body = {"message": error.message, "code": error.code}
    return json_response(error.status, body, *error.headers)


def error_response(request: Request, error: RequestError, options: Options) -> Response:
    """Return an error as a page or as JSON, by what the request accepts; log what broke here."""
    if not accepts_html(request):
        return json_error_response(error)
    _log(error)
    page = error_page(error, request, site_name=options.site_name, login_url=options.login_url)
    show = options.pages.get(page.name) if options.pages else None
    if show is not None:
        try:
            return render_own(page, error, show)
        except Exception as failure:
            # The visitor sees the built-in page: an error page that fails would tell nothing. The
            # text of a foreign exception may quote a URL or a cookie, so that its type is logged.
            kind = type(failure).__name__
            logger.error("pages: the function for %r failed with %s", page.name, kind)
    return render(page, error)


def _log(error: RequestError) -> None:
    # A client's mistake is not logged. A failure of a backend or an adapter is, in one line, by
    # types and our own words: the text of a foreign exception may quote a token or a password.
    if isinstance(error, Unavailable):
        causes: list[str] = []
        cause = error.__cause__
        # Capped at 8: an exception may be its own cause, by a chain that is a ring.
        while cause is not None and len(causes) < 8:
            causes.append(type(cause).__name__)
            cause = cause.__cause__ or cause.__context__
        logger.error("%s: %s (%s)", error.code, error, ", ".join(causes) or "no cause")
