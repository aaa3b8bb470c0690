"""What the middleware changes about the response headers of the app: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from .cookies import Cookie
from .messages import Headers, Request
from .origins import Origin, OriginPattern, is_among

_HEADER_LIST = re.compile(r"[A-Za-z0-9\-_, ]{1,512}")

# What caches go by, beside or instead of Cache-Control: those of browsers, and those that a CDN or
# a reverse proxy keeps for all visitors (RFC 9213 names its fields "...-Cache-Control").
_FOR_CACHES = re.compile(
    r".*cache-control|(?:.*-)?(?:surrogate|edge)-control|x-accel-expires|expires|etag|pragma",
    re.IGNORECASE,
)

_MAX_AGE = re.compile(r"-?[0-9]+")
_DATE_DELIMITERS = re.compile(r"[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_DAY = re.compile(r"[0-9]{1,2}(?![0-9])")
_YEAR = re.compile(r"[0-9]{2,4}(?![0-9])")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def without(headers: Headers, *names: str) -> Headers:
    """The headers but those of the (lower-case) names."""
    return tuple(pair for pair in headers if pair[0].lower() not in names)


def private(headers: Headers, cache_control: str = "private, no-store") -> Headers:
    """The headers of a response that no cache may store: not the browser's, a proxy's or a CDN's.

    Every response with a session's cookie or a token goes through here.

    :param cache_control: `no-store`, with or without `private` for caches that are older than that.
    """
    # A CDN that goes by a header of its own would store the response and give one visitor's session
    # to the next. Each such header is removed: left in place, it would win over `no-store`.
    kept = (pair for pair in headers if not _FOR_CACHES.fullmatch(pair[0]))
    return (*kept, ("Cache-Control", cache_control))


@dataclass(frozen=True, slots=True)
class _SetCookie:
    """One `Set-Cookie` line, as browsers read it (RFC 6265bis sections 5.6 and 5.7).

    :ivar value: None for a deletion.
    :ivar path: None for the directory of the request.
    :ivar refused: whether browsers ignore the line because of the name's prefix.
    """

    name: str
    value: str | None
    domain: str
    path: str | None
    partitioned: bool
    refused: bool

    def may_replace(self, other: _SetCookie) -> bool:
        """Whether both lines may be about one cookie of a browser."""
        return (
            self.domain == other.domain
            and self.partitioned == other.partitioned
            # The directory may be any path: where it is left open, the later line counts.
            and (self.path is None or other.path is None or self.path == other.path)
        )


def set_cookies(headers: Headers, now: float) -> dict[str, str | None]:
    """The changes of a response to the browser's cookies: name → new value, or None for a deletion.

    A deletion counts whichever path and domain it names, for a proxy may have changed those of the
    request. It does not count where another line leaves a cookie of that name with a value.

    :param now: Unix seconds; a cookie that expires until then is deleted.
    """
    jar: dict[str, list[_SetCookie]] = {}
    for name, line in headers:
        if name.lower() != "set-cookie":
            continue
        new = _parse(line, now)
        if new.refused and new.value is not None:
            continue
        kept = [old for old in jar.get(new.name, ()) if not new.may_replace(old)]
        jar[new.name] = [*kept, new]
    return {
        name: next((each.value for each in reversed(lines) if each.value is not None), None)
        for name, lines in jar.items()
    }


def clears_cookies(headers: Headers) -> bool:
    """Whether a response makes browsers drop all cookies of this site (W3C Clear Site Data).

    Browsers compare each item letter by letter, quotes included, and ignore any other.
    """
    return any(
        item.strip(" \t") in ('"cookies"', '"*"')
        for name, value in headers
        if name.lower() == "clear-site-data"
        for item in value.split(",")
    )


def next_request(request: Request, headers: Headers, now: float) -> Request:
    """The request as the browser would send it next, with the cookies that a response leaves.

    :param headers: of the response.
    :param now: Unix seconds.
    """
    # Browsers clear after they have set: no Set-Cookie of the same response survives.
    if clears_cookies(headers):
        return request.with_headers({"cookie": None})
    return request.with_cookies(set_cookies(headers, now))


def _parse(line: str, now: float) -> _SetCookie:
    pair, *rest = line.split(";")
    name, _, value = (part.strip(" \t") for part in pair.partition("="))
    split = (attribute.partition("=") for attribute in rest)
    attributes = [(key.strip().lower(), text.strip()) for key, _, text in split]
    last = dict(attributes)
    path = last.get("path", "")
    prefix = name.lower()
    host = prefix.startswith("__host-")
    # Frameworks write an empty value as two quotes, and read none from it.
    deleted = value in ("", '""') or _is_over(attributes, now)
    return _SetCookie(
        name,
        None if deleted else value,
        last.get("domain", "").lower().removeprefix("."),
        path if path.startswith("/") else None,
        "partitioned" in last,
        ((host or prefix.startswith("__secure-")) and "secure" not in last)
        or (host and (path != "/" or bool(last.get("domain")))),
    )


def _is_over(attributes: Sequence[tuple[str, str]], now: float) -> bool:
    """Whether a cookie has expired. Of each attribute the last that can be read counts."""
    ages = [text for name, text in attributes if name == "max-age" and _MAX_AGE.fullmatch(text)]
    if ages:  # an age decides alone, whatever `Expires` says
        return ages[-1].startswith("-") or not ages[-1].strip("0")
    dates = [_cookie_date(text) for name, text in attributes if name == "expires"]
    readable = [date for date in dates if date is not None]
    moment = datetime.fromtimestamp(now, timezone.utc).timetuple()[:6]
    return bool(readable) and readable[-1] <= moment


def _cookie_date(text: str) -> tuple[int, ...] | None:
    """Year, month, day, hour, minute and second of a date as browsers read one, or None.

    (RFC 6265 section 5.1.1, which takes dates that no parser of HTTP dates would.)
    """
    clock: tuple[int, ...] | None = None
    day = month = year = None
    for token in _DATE_DELIMITERS.split(text):
        if clock is None and (found := _TIME.match(token)):
            clock = tuple(map(int, found.groups()))
        elif day is None and (found := _DAY.match(token)):
            day = int(found[0])
        elif month is None and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower()) + 1
        elif year is None and (found := _YEAR.match(token)):
            year = int(found[0])
    if clock is None or day is None or month is None or year is None:
        return None
    if not 1 <= day <= 31 or clock > (23, 59, 59) or max(clock[1:]) > 59:
        return None
    # Browsers differ about 69, and about years before 1601; each of these deletes in one of them.
    if year < 100:
        year += 1900 if year >= 69 else 2000
    return (year, month, day, *clock)


def with_session(headers: Headers, cookies: Iterable[Cookie]) -> Headers:
    """The headers of the response to a request that redeemed a token: signs in, is not stored.

    A cookie that the app sets or deletes by itself stands as the app left it.
    """
    decided = set_cookies(headers, now=0)  # set or deleted, whichever
    # The app asked for all cookies to be dropped, which is a sign-out: depending on the order in
    # which a browser does both, a cookie beside it would sign in all the same.
    added = () if clears_cookies(headers) else cookies
    return (
        *private(headers),
        *(cookie.header() for cookie in added if cookie.name not in decided),
    )


def guarded(headers: Headers) -> Headers:
    """The headers of a hook's response to a used link, whose URL still holds the used token.

    :param headers: `strict-origin` stays: without an origin, a form on the page could not be sent.
    """
    kept = private(without(headers, "referrer-policy"), "no-store")
    keeps_origin = ("referrer-policy", "strict-origin") in (
        (name.lower(), value.strip()) for name, value in headers
    )
    return (*kept, ("Referrer-Policy", "strict-origin" if keeps_origin else "no-referrer"))


def with_token(headers: Headers, token: str) -> Headers:
    """The headers of a response that signed a user in, with a token that its scripts can read."""
    exposed = [value for name, value in headers if name.lower() == "access-control-expose-headers"]
    names = [name.strip() for value in exposed for name in value.split(",") if name.strip()]
    if "set-ott" not in (name.lower() for name in names):
        names.append("set-ott")
    # Of two set-ott values, scripts would read neither.
    kept = without(headers, "access-control-expose-headers", "set-ott")
    return (
        *private(kept, "no-store"),
        ("Access-Control-Expose-Headers", ", ".join(names)),
        ("set-ott", token),
    )


def cors(request: Request, trusted: Sequence[OriginPattern], method: str) -> Headers:
    """The CORS headers of a response on the two paths (Fetch standard, CORS protocol)."""
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
