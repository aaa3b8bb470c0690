"""Confirm links: a page with a button comes before the sign-in.

Scanners of mails, and chat programs, open each link that they see. What opens a confirm link gets a
page, and the token stays unused; the form of the page redeems it. The page posts to its own URL, so
that no other place holds the token, and repeats a nonce that is in a cookie.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from ..copies import copy_unchecked
from ..http.cookies import Cookie
from ..http.messages import Request, Response
from ..http.origins import check_same_origin
from ..http.pages import PageForm, build_page
from ..reasons import Reason
from .error_responses import show_page
from .forms import Read, read_form
from .nonces import TokenNonces
from .services import Services

logger = logging.getLogger("ott_middleware")

_NONCE = "nonce"
# Seconds: the page of a mail's link stays open while its reader does something else.
_LIFETIME = 3600


def as_navigation(request: Request) -> Request:
    """Return a request that posts a form as the navigation that it is to the visitor.

    What follows is not for the app to receive: a page that can be opened again, and HTML.
    """
    return copy_unchecked(request.with_headers({"accept": "text/html"}), method="GET")


class Confirm:
    """Shows the page of a confirm link, and checks what its form posts."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._nonces = TokenNonces("ott_confirm", lifetime=_LIFETIME)

    def show(self, request: Request, token: str, *, again: bool = False) -> Response:
        """Return the page with the button; neither the backend nor the adapter is asked.

        :param again: whether its form was posted without the nonce.
        """
        services = self._services
        if not again:
            logger.debug("link not redeemed yet, a page with a button is shown first")
        cookie = self._nonces.cookie(request, token)
        origin = services.site.same_origin(request)
        page, language = build_page(
            "confirm",
            request,
            status=403 if again else 200,
            notice="confirm_again" if again else None,
        )
        # Attack: a URL in the page's source, which extensions and error reporters read. The form
        # has none: it posts to the document's own URL, and the page holds no token.
        form = PageForm(label=language.texts["sign_in"], fields={_NONCE: cookie.value})
        # Never a user: the session is not known before the token is redeemed.
        site_name = services.options.site_name or (origin.host if origin else None)
        page = replace(page, forms=(form,), site_name=site_name)
        return show_page(page, services.options, cookie.header())

    async def check(self, request: Request, read: Read, token: str) -> Response | None:
        """Return None where the page's own form was posted, else the page once more.

        :raises RequestError: a page of another origin posted the form, or the body is no form.
        """
        check_same_origin(request, self._services.site.same_origin(request))
        fields = await read_form(request, read)
        # Attack: an attacker's page posts the attacker's own link, and so signs the visitor in as
        # the attacker. It cannot know the nonce; nothing is taken without it.
        if self._nonces.is_equal(request, token, fields.get(_NONCE, "")):
            return None
        # A page that was open for too long is no error: its button may be pressed once more.
        why = (
            Reason("other_page", "the form does not repeat the nonce of this link's page")
            if self._nonces.is_held(request, token)
            else Reason("cookies_blocked", "the browser sent no cookie of this link's page back")
        )
        self._services.reports.note_pass("link", why)
        return self.show(request, token, again=True)

    def clean_up(self, request: Request, token: str) -> tuple[Cookie, ...]:
        """Return what deletes the nonce of a token that was redeemed."""
        return self._nonces.deletions(request, token)
