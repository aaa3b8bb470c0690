"""What the middleware does to an answer of the app: pure functions of its headers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from werkzeug.http import parse_date

from .http import PRIVATE, Cookie, Headers, Request
from .urls import Origin, OriginPattern, is_among

_AGE = re.compile(r"-?[0-9]+")
_HEADER_LIST = re.compile(r"[A-Za-z0-9\-_, ]{1,512}")


def without(headers: Headers, *names: str) -> Headers:
    """The headers but those of the (lower-case) names."""
    return tuple(pair for pair in headers if pair[0].lower() not in names)


def set_cookies(headers: Headers, now: float) -> dict[str, str | None]:
    """What an answer does to the browser's cookies: name → new value, or None for a deletion.

    :param now: Unix seconds; what expires until then is deleted.
    """
    changes: dict[str, str | None] = {}
    for name, line in headers:
        if name.lower() != "set-cookie":
            continue
        pair, *attributes = line.split(";")
        key, _, value = (part.strip(" \t") for part in pair.partition("="))
        changes[key] = None if not value or _is_over(attributes, now) else value
    return changes


def _is_over(attributes: Iterable[str], now: float) -> bool:
    pairs = (attribute.partition("=") for attribute in attributes)
    said = {name.strip().lower(): value.strip() for name, _, value in pairs}
    age = said.get("max-age", "")
    # A Max-Age that is a number decides alone (RFC 6265 sections 5.2.2 and 5.3).
    if _AGE.fullmatch(age):
        return age.startswith("-") or not age.strip("0")
    try:
        expires = parse_date(said.get("expires"))
    except OverflowError:  # an offset of more digits than a number has
        return False
    return expires is not None and expires.timestamp() <= now


def with_session(headers: Headers, cookies: Iterable[Cookie]) -> Headers:
    """The answer to a request that redeemed a token: signs in, and is stored by nobody.

    A cookie that the app sets or deletes by itself stands as the app left it.
    """
    decided = set_cookies(headers, now=0)  # set or deleted, whichever
    return (
        *without(headers, "cache-control", "expires", "etag"),
        # `private` as well, for caches from before `no-store` was understood for answers.
        ("Cache-Control", "private, no-store"),
        *(cookie.header() for cookie in cookies if cookie.name not in decided),
    )


def guarded(headers: Headers) -> Headers:
    """The headers of a hook's answer to a dead link, whose URL holds what was a token.

    :param headers: `strict-origin` stays: without an origin, a form on the page could not be sent.
    """
    kept = without(headers, "cache-control", "referrer-policy")
    if ("referrer-policy", "strict-origin") in ((k.lower(), v.strip()) for k, v in headers):
        return (*kept, ("Cache-Control", "no-store"), ("Referrer-Policy", "strict-origin"))
    return (*kept, *PRIVATE)


def with_token(headers: Headers, token: str) -> Headers:
    """The answer that signed someone in, with a token that scripts of trusted origins can read."""
    exposed = [value for name, value in headers if name.lower() == "access-control-expose-headers"]
    names = [name.strip() for value in exposed for name in value.split(",") if name.strip()]
    if "set-ott" not in (name.lower() for name in names):
        names.append("set-ott")
    return (
        *without(
            headers,
            "access-control-expose-headers",
            "cache-control",
            "expires",
            "etag",
            "set-ott",  # of two values, scripts would read neither
        ),
        ("Cache-Control", "no-store"),
        ("Access-Control-Expose-Headers", ", ".join(names)),
        ("set-ott", token),
    )


def cors(request: Request, trusted: Sequence[OriginPattern], method: str) -> Headers:
    """The CORS headers of an answer on the two paths (Fetch standard, CORS protocol)."""
    vary = ("Vary", "Origin")
    origin = Origin.parse(request.header("origin"))
    if origin is None or not is_among(origin, trusted):
        return (vary,)
    # With credentials the standard demands the exact origin; it was matched, so it may be named.
    headers = [
        vary,
        ("Access-Control-Allow-Origin", str(request.header("origin"))),
        ("Access-Control-Allow-Credentials", "true"),
    ]
    if request.method == "OPTIONS":
        wanted = request.header("access-control-request-headers") or ""
        headers += [
            ("Access-Control-Allow-Methods", method),
            ("Access-Control-Max-Age", "600"),
        ]
        if _HEADER_LIST.fullmatch(wanted):
            headers.append(("Access-Control-Allow-Headers", wanted))
    return tuple(headers)
