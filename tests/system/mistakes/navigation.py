"""Mistakes with links: opened where they redeem nothing."""

from __future__ import annotations

import logging

from mistake import Mistake, read_log
from werkzeug.test import Client

from ott_middleware import CookieSession, OTTMiddleware


def app(environ: object, start_response: object) -> list[bytes]:
    """Respond to any request."""
    start_response("200 OK", [])  # type: ignore[operator]  # as WSGI has it
    return [b""]


def opened(method: str = "GET", **headers: str) -> str:
    """Open a link with these headers, and return the log."""
    site = OTTMiddleware(app, session=CookieSession("sid", renews_key=True), interface="wsgi")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with read_log(logging.DEBUG) as lines:
        Client(site).open(f"/?ott={'T' * 32}", method=method, headers=named)
    return "\n".join(lines)


def opened_again() -> str:
    """Open the second URL of a link without the cookie of the first, and return the log."""
    site = OTTMiddleware(app, session=CookieSession("sid", renews_key=True), interface="wsgi")
    target = f"/?ott={'T' * 32}&ott_seen={'N' * 32}"
    with read_log(logging.DEBUG) as lines:
        Client(site).get(target, headers={"Accept": "text/html"})
    return "\n".join(lines)


MISTAKES = (
    Mistake(
        "a link is the `src` of a frame",
        lambda: opened(Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe"),
        "open the link as a page of its own",
    ),
    Mistake(
        "a test opens a link with `Accept: text/html` alone, and gets a page (200)",
        lambda: opened(Accept="text/html"),
        "sends Sec-Fetch-Mode: navigate and Sec-Fetch-Dest: document",
    ),
    Mistake(
        "a client that is no browser opens a link with `Accept-Language`, and is not signed in",
        lambda: opened(Accept="*/*", Accept_Language="de"),
        "sends Sec-Fetch-Mode: cors too",
    ),
    Mistake(
        "a link is tried out by a HEAD request",
        lambda: opened("HEAD"),
        "this request is a HEAD or OPTIONS request",
    ),
    Mistake(
        "a link is opened in a browser that blocks cookies, under plain http",
        opened_again,
        "the browser sent no cookie ott_seen back",
    ),
)
