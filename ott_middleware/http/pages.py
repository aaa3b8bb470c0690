"""Builds the HTML pages: all text is escaped, there are no scripts, and a policy blocks any."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from ..errors import RequestError
from .messages import Response, private_response

_STYLE = (
    "body{font:1.125rem/1.5 system-ui,sans-serif;max-width:32rem;margin:0 auto;"
    "padding:3rem 1.25rem;color:#1c1c1e;background:#fff}h1{font-size:1.5rem;line-height:1.25}"
    "a{display:inline-block;padding:.75rem 1.25rem;border-radius:.5rem;background:#1a56db;"
    "color:#fff;text-decoration:none}"
    "@media(prefers-color-scheme:dark){body{color:#f2f2f7;background:#1c1c1e}}"
)
_POLICY = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ONE_MOMENT = "One moment"
CONTINUE = "Continue"
COOKIES_BLOCKED = "Your browser blocks cookies"
ALLOW_COOKIES = "Signing you in needs a cookie of this site. Allow its cookies, then try again."
TRY_AGAIN = "Try again"
_TEXTS = {
    400: (
        "This link no longer works",
        "It was used already, or its time is over. Ask for a new one.",
    ),
    503: (
        "Please try again shortly",
        "Signing you in did not work just now. Should the link stay dead, ask for a new one.",
    ),
}


def error_page(error: RequestError, clean_url: str) -> Response:
    """Return the page for a visitor with a link that could not be redeemed.

    :param clean_url: the same page without the token, on this host.
    """
    title, text = _TEXTS.get(error.status, ("This link was refused", error.message))
    body = _text_and_link(title, text, "Continue without it", clean_url)
    return _page(error.status, title, body, *error.headers)


def page_first(url: str, *headers: tuple[str, str]) -> Response:
    """Return a page that loads `url` at once, as a navigation that starts on this host."""
    head = f'<meta http-equiv="refresh" content="0;url={escape(url)}">'
    return _page(
        200, ONE_MOMENT, _text_and_link(ONE_MOMENT, "", CONTINUE, url), *headers, head=head
    )


def cookies_blocked_page(url: str) -> Response:
    """Return the page for a browser that did not send the cookie of `page_first` back.

    :param url: the link once more. Nothing loads it but a click, so that there can be no loop.
    """
    return _page(
        400, COOKIES_BLOCKED, _text_and_link(COOKIES_BLOCKED, ALLOW_COOKIES, TRY_AGAIN, url)
    )


def _text_and_link(title: str, text: str, label: str, url: str) -> str:
    text = f"<p>{escape(text)}</p>" if text else ""
    return f'<h1>{escape(title)}</h1>{text}<p><a href="{escape(url)}">{escape(label)}</a></p>'


def _page(
    status: int, title: str, body: str, *headers: tuple[str, str], head: str = ""
) -> Response:
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"{head}<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>"
    ).encode()
    # Attack: another site shows a page of this one in a frame, and so gets a nonce's page loaded,
    # or a button clicked, unseen. No frame shows a page with these two headers; browsers without
    # `frame-ancestors` know the second.
    policy = (("Content-Security-Policy", _POLICY), ("X-Frame-Options", "DENY"))
    return private_response(status, "text/html; charset=utf-8", html, *policy, *headers)
