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
    body = f'<h1>{escape(title)}</h1><p>{escape(text)}</p><p><a href="{escape(clean_url)}">'
    return _page(error.status, title, body + "Continue without it</a></p>", *error.headers)


def arrival_page(url: str, *headers: tuple[str, str]) -> Response:
    """Return a page that loads `url` at once, as a navigation that starts on this host."""
    target = escape(url)
    head = f'<meta http-equiv="refresh" content="0;url={target}">'
    body = f'<h1>One moment</h1><p><a href="{target}">Continue</a></p>'
    return _page(200, "One moment", body, *headers, head=head)


def _page(
    status: int, title: str, body: str, *headers: tuple[str, str], head: str = ""
) -> Response:
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"{head}<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>"
    ).encode()
    policy = ("Content-Security-Policy", _POLICY)
    return private_response(status, "text/html; charset=utf-8", html, policy, *headers)
