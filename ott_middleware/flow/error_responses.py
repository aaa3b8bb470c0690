"""The responses to refused requests, and the pages of the middleware. `Reports` logs refusals."""

from __future__ import annotations

import logging
from dataclasses import replace

from ..errors import RequestError
from ..hooks import hook_failed
from ..http.fetch_metadata import accepts_html
from ..http.messages import Request, Response, json_response
from ..http.pages import Page, error_page, render, render_own
from ..options import Options

logger = logging.getLogger("ott_middleware")


def json_error_response(error: RequestError) -> Response:
    """Return an error as JSON."""
    body = {"message": error.message, "code": error.code}
    return json_response(error.status, body, *error.headers)


def error_response(
    request: Request, error: RequestError, options: Options, *, way_out: str | None = None
) -> Response:
    """Return an error as a page or as JSON, by what the request accepts.

    :param way_out: where the page leads, if the URL without the link parameter leads nowhere.
    """
    if not accepts_html(request):
        return json_error_response(error)
    login_url = options.login_url if way_out is None else None
    page = error_page(error, request, login_url=login_url, way_out=way_out)
    return show_page(page, options, *error.headers)


def show_page(page: Page, options: Options, *headers: tuple[str, str]) -> Response:
    """Return a page as a response: the one of `pages=`, else the built-in one."""
    page = replace(page, site_name=page.site_name or options.site_name)
    show = options.pages.get(page.name) if options.pages else None
    if show is not None:
        try:
            return render_own(page, show, *headers)
        except Exception as failure:
            # The visitor sees the built-in page: an error page that fails would tell nothing.
            failed = hook_failed(f"pages[{page.name!r}]", failure)
            logger.error("%s; the built-in page was shown", failed)
    return render(page, *headers)
