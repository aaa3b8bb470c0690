"""Changes the response headers of the app: pure functions from headers to headers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .cookies import Cookie
from .messages import Headers, Request
from .origins import Origin, OriginPattern, is_among
from .set_cookie import SetCookie, parse_set_cookie

_HEADER_LIST = re.compile(r"[A-Za-z0-9\-_, ]{1,512}")

# The headers that caches obey, beside or instead of Cache-Control: caches of browsers, and those
# that a CDN or reverse proxy has for all visitors (RFC 9213 names fields "...-Cache-Control").
_FOR_CACHES = re.compile(
    r".*cache-control|(?:.*-)?(?:surrogate|edge)-control|x-accel-expires|expires|etag|pragma",
    re.IGNORECASE,
)


def remove_headers(headers: Headers, *names: str) -> Headers:
    """Return the headers without those of the (lower-case) names."""
    return tuple(pair for pair in headers if pair[0].lower() not in names)


def values_of(headers: Headers, name: str) -> list[str]:
    """Return the values of all headers of a (lower-case) name, in order."""
    return [value for each, value in headers if each.lower() == name]


def forbid_caching(headers: Headers, cache_control: str = "private, no-store") -> Headers:
    """Return headers with which no cache stores the response: no browser's, proxy's or CDN's.

    Every response with a session's cookie or a token goes through this function.

    :param cache_control: `no-store`, with `private` for old caches that do not know `no-store`.
    """
    # The failure: a CDN that obeys a header of its own stores the response, and gives one visitor's
    # session to the next. Each such header is removed: left in place, it would win over `no-store`.
    kept = (pair for pair in headers if not _FOR_CACHES.fullmatch(pair[0]))
    return (*kept, ("Cache-Control", cache_control))


# The policies by which a browser sends no path and no query in a Referer.
_HIDING_POLICIES = ("no-referrer", "origin", "strict-origin")


def hide_url(headers: Headers) -> Headers:
    """Return headers with which the document's URL is in the Referer of no other request."""
    # Attack: a page in a frame is opened with a live token, and loads its style sheet. The token
    # would be in the Referer that the app and its logs get, and with `unsafe-url` other sites too.
    # This line limits the Referer to the origin, which checks against CSRF still accept.
    policies = values_of(headers, "referrer-policy")
    if len(policies) == 1 and policies[0].strip().lower() in _HIDING_POLICIES:
        return headers
    return (*remove_headers(headers, "referrer-policy"), ("Referrer-Policy", "strict-origin"))


def cookie_changes(headers: Headers, now: float) -> dict[str, str | None]:
    """Return how a response changes the browser's cookies: name → value, or None for a deletion.

    A deletion counts with any path and domain, since a proxy may have changed those of the request.
    It does not count if another line leaves a cookie of that name with a value.

    :param now: Unix seconds; a cookie that expires until then is deleted.
    """
    jar: dict[str, list[SetCookie]] = {}
    for line in values_of(headers, "set-cookie"):
        new = parse_set_cookie(line, now)
        if new.refused and new.value is not None:
            continue
        kept = [old for old in jar.get(new.name, ()) if not new.may_replace(old)]
        jar[new.name] = [*kept, new]
    return {
        name: next((each.value for each in reversed(lines) if each.value is not None), None)
        for name, lines in jar.items()
    }


def clears_cookies(headers: Headers) -> bool:
    """Return whether a response makes browsers drop all cookies of this site (Clear Site Data).

    Browsers compare each item letter by letter, quotes included, and ignore any other.
    """
    return any(
        item.strip(" \t") in ('"cookies"', '"*"')
        for value in values_of(headers, "clear-site-data")
        for item in value.split(",")
    )


def next_request(request: Request, headers: Headers, now: float) -> Request:
    """Return the request as the browser would send it next, after the response set its cookies.

    :param headers: of the response.
    :param now: Unix seconds.
    """
    # Browsers clear the cookies after they have set those of the same response.
    if clears_cookies(headers):
        return request.with_headers({"cookie": None})
    return request.with_cookies(cookie_changes(headers, now))


def with_session(headers: Headers, cookies: Iterable[Cookie]) -> Headers:
    """Return the headers of a response that signs in by a token: with cookies, and not stored.

    A cookie that the app itself sets or deletes stays as the app left it.
    """
    decided = cookie_changes(headers, now=0)  # both set and deleted ones
    # The failure: the app drops all cookies, which is a sign-out, and a cookie of ours beside it
    # signs the visitor in all the same, depending on the browser's order. None is added.
    added = () if clears_cookies(headers) else cookies
    return (
        *forbid_caching(headers),
        *(cookie.header() for cookie in added if cookie.name not in decided),
    )


def protect_used_link(headers: Headers) -> Headers:
    """Return the headers of a hook's response to a used link: its URL still holds the token.

    :param headers: a Referrer-Policy of `strict-origin` stays: without an origin, the Origin rule
        would refuse a form on the page.
    """
    kept = forbid_caching(remove_headers(headers, "referrer-policy"), "no-store")
    keeps_origin = "strict-origin" in map(str.strip, values_of(headers, "referrer-policy"))
    return (*kept, ("Referrer-Policy", "strict-origin" if keeps_origin else "no-referrer"))


def with_token(headers: Headers, token: str) -> Headers:
    """Return the headers of a response that signed a user in, with a token for its scripts."""
    exposed = values_of(headers, "access-control-expose-headers")
    names = [name.strip() for value in exposed for name in value.split(",") if name.strip()]
    if "set-ott" not in (name.lower() for name in names):
        names.append("set-ott")
    # A `set-ott` of the app is removed: scripts read two values as one, and redeem neither.
    kept = remove_headers(headers, "access-control-expose-headers", "set-ott")
    return (
        *forbid_caching(kept, "no-store"),
        ("Access-Control-Expose-Headers", ", ".join(names)),
        ("set-ott", token),
    )


def with_cors(
    headers: Headers, request: Request, trusted: Sequence[OriginPattern], method: str
) -> Headers:
    """Return the headers of a response of the middleware with those that let a page read it.

    :param headers: if a hook has set `Access-Control-Allow-Origin`, they stay as they are.
    :param method: the method that a preflight request allows.
    """
    names = {name.lower() for name, _ in headers}
    if "access-control-allow-origin" in names:
        return headers
    added = cors(request, trusted, method)
    # Of the headers that tell a script what to do, browsers hide this one unless it is exposed.
    if len(added) > 1 and "retry-after" in names:
        added = (*added, ("Access-Control-Expose-Headers", "Retry-After"))
    return (*headers, *added)


def cors(request: Request, trusted: Sequence[OriginPattern], method: str) -> Headers:
    """Return the CORS headers of a response of the middleware (Fetch standard, CORS protocol).

    :param method: the method that a preflight request allows.
    """
    # The failure: a proxy caches the response to one page's preflight, and gives it to a page of
    # another origin, or to one that wants to send other headers.
    preflight = request.method == "OPTIONS"
    vary = ("Vary", "Origin, Access-Control-Request-Headers" if preflight else "Origin")
    origin = Origin.parse(request.header("origin")) if trusted else None
    if origin is None or not is_among(origin, trusted):
        return (vary,)
    # With credentials the standard demands the exact origin. It matched a pattern, so that it is no
    # text of a client's choice.
    headers = [
        vary,
        ("Access-Control-Allow-Origin", str(request.header("origin"))),
        ("Access-Control-Allow-Credentials", "true"),
    ]
    if preflight:
        wanted = request.header("access-control-request-headers") or ""
        headers += [
            ("Access-Control-Allow-Methods", method),
            ("Access-Control-Max-Age", "600"),
        ]
        if _HEADER_LIST.fullmatch(wanted):
            headers.append(("Access-Control-Allow-Headers", wanted))
    return tuple(headers)
