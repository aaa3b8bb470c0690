"""Parses `Set-Cookie` lines as browsers do, and compares a line with the cookie of an adapter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from .cookies import Cookie

_MAX_AGE = re.compile(r"-?[0-9]+")
_DATE_DELIMITERS = re.compile(r"[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_DAY = re.compile(r"[0-9]{1,2}(?![0-9])")
_YEAR = re.compile(r"[0-9]{2,4}(?![0-9])")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True, slots=True)
class SetCookie:
    """One `Set-Cookie` line, parsed as browsers do (RFC 6265bis sections 5.6 and 5.7).

    :ivar value: None for a deletion.
    :ivar path: None for the directory of the request.
    :ivar samesite: `Lax`, `Strict` or `None` (the word); empty where browsers choose.
    :ivar refused: whether browsers ignore the line because of the name's prefix.
    """

    name: str
    value: str | None
    domain: str
    path: str | None
    samesite: str
    partitioned: bool
    refused: bool

    def may_replace(self, other: SetCookie) -> bool:
        """Return whether both lines may be about one cookie of a browser."""
        return (
            self.domain == other.domain
            and self.partitioned == other.partitioned
            # Without a path it is the request's directory, which may be any: the later line counts.
            and (self.path is None or other.path is None or self.path == other.path)
        )


def parse_set_cookie(line: str, now: float) -> SetCookie:
    """Return one line, parsed.

    :param now: Unix seconds; a cookie that expires until then is deleted.
    """
    pair, *rest = line.split(";")
    name, _, value = (part.strip(" \t") for part in pair.partition("="))
    split = (attribute.partition("=") for attribute in rest)
    attributes = [(key.strip().lower(), text.strip()) for key, _, text in split]
    last = dict(attributes)
    path = last.get("path", "")
    samesite = last.get("samesite", "").capitalize()
    prefix = name.lower()
    host = prefix.startswith("__host-")
    # Frameworks write an empty value as two quotes, and read none from it.
    deleted = value in ("", '""') or _has_expired(attributes, now)
    return SetCookie(
        name,
        None if deleted else value,
        last.get("domain", "").lower().removeprefix("."),
        path if path.startswith("/") else None,
        samesite if samesite in ("Lax", "Strict", "None") else "",
        "partitioned" in last,
        ((host or prefix.startswith("__secure-")) and "secure" not in last)
        or (host and (path != "/" or bool(last.get("domain")))),
    )


def _has_expired(attributes: Sequence[tuple[str, str]], now: float) -> bool:
    """Return whether a cookie has expired. Of each attribute the last valid one counts."""
    ages = [text for name, text in attributes if name == "max-age" and _MAX_AGE.fullmatch(text)]
    if ages:  # `Max-Age` has precedence over `Expires`
        return ages[-1].startswith("-") or not ages[-1].strip("0")
    dates = [_cookie_date(text) for name, text in attributes if name == "expires"]
    readable = [date for date in dates if date is not None]
    moment = datetime.fromtimestamp(now, timezone.utc).timetuple()[:6]
    return bool(readable) and readable[-1] <= moment


def _cookie_date(text: str) -> tuple[int, ...] | None:
    """Return year, month, day, hour, minute and second of a date as browsers parse it, or None.

    (RFC 6265 section 5.1.1, which accepts dates that parsers of HTTP dates refuse.)
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
    # Browsers differ about 69, and about years before 1601: each counts as a deletion, as it is one
    # in some browser.
    if year < 100:
        year += 1900 if year >= 69 else 2000
    return (year, month, day, *clock)


def differing_arguments(
    line: str, cookie: Cookie, target: str, now: float
) -> dict[str, str | bool | None] | None:
    """Return the arguments with which an adapter would set a cookie as an app does.

    :param line: the app's `Set-Cookie`.
    :param cookie: of that name, as the adapter sets it.
    :param target: the path of the request, as the browser sees it.
    :param now: Unix seconds; a cookie that expires until then is deleted.
    :return: `path`, `domain`, `samesite`, `partitioned` or several of them with the app's values;
        empty where the two cookies are alike; None where the line deletes, is of another name, or
        is one that browsers ignore.
    """
    app = parse_set_cookie(line, now)
    if app.name != cookie.name or app.value is None or app.refused:
        return None
    found: dict[str, str | bool | None] = {}
    # Without a path it is the directory of the request (RFC 6265 section 5.1.4).
    path = app.path or target.rpartition("/")[0] or "/"
    if path != cookie.path:
        found["path"] = path
    if app.domain != (cookie.domain or "").lower().removeprefix("."):
        found["domain"] = app.domain or None
    # Without the attribute, browsers take `Lax`.
    if (app.samesite or "Lax") != (cookie.samesite or "Lax"):
        found["samesite"] = app.samesite or "Lax"
    if app.partitioned != cookie.partitioned:
        found["partitioned"] = app.partitioned
    return found
