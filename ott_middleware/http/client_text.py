"""Parses text of clients in linear time, and refuses text that no browser sends.

A client needs no account to send 64 kB in a header. Many parsers take quadratic time for some text
of that length: seconds, in which a worker responds to no other request. So the length of a client's
text is checked before it reaches the parser of a library, or the text is parsed in this module.
"""

from __future__ import annotations

import re
from functools import lru_cache

#: The longest `Accept` header that is parsed; those of browsers have about 200 characters.
MAX_ACCEPT = 1024
#: The longest value of a cookie that is parsed. Browsers store 4096 bytes of name, value and
#: attributes (RFC 6265bis section 5.6).
MAX_COOKIE_VALUE = 8 * 1024
#: The most cookies of one name that are parsed: a browser sends one for each of a few paths and
#: domains.
MAX_SAME_NAME = 32
#: The longest `Cookie` header that a framework's own parser is given.
MAX_COOKIE_HEADER = 8 * 1024
#: The most escapes, and the most cookies, in a longer `Cookie` header that has quoted values.
MAX_QUOTED_PIECES = 2048
#: The longest path that has its spelling compared with the decoded path.
MAX_SPELLED_PATH = 8 * 1024

_ESCAPE = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")


@lru_cache(maxsize=256)
def _pairs_named(names: tuple[str, ...], blank: str, sign: str) -> re.Pattern[str]:
    # One pass over the header in C, which copies no other cookie.
    listed = "|".join(map(re.escape, names))
    return re.compile(rf";{blank}*({listed}){blank}*{sign}(?![^;])")


def cookies_named(header: str, names: tuple[str, ...]) -> dict[str, list[str]]:
    """Return every value of several cookies as sent, by the cookies' names.

    A cookie has none where they are too many or one is too long. (RFC 6265 section 5.4: a browser
    may send several cookies of one name.)
    """
    found: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        if name in header:
            break
    else:
        return found
    # Attack: sixteen numbered cookies, and 64 kB of `;`. One pass reads all names: with one for
    # each, a request would take 150 ms.
    pairs = _pairs_named(names, r"[ \t]", "(?:=([^;]*))?").finditer(f";{header}")
    # Attack: a cookie of 64 kB, or ten thousand short ones, each of which an adapter would decrypt
    # or look up. Browsers send neither. All count as absent: if only the long ones did, a client
    # could choose one cookie for the middleware to see, and another for the app.
    left = MAX_SAME_NAME * len(names)
    for pair in pairs:
        if not left:
            return {name: [] for name in names}
        left -= 1
        name, value = pair.groups("")
        found[name].append(value)
    for name, values in found.items():
        if values:
            is_usual = len(values) <= MAX_SAME_NAME and max(map(len, values)) <= MAX_COOKIE_VALUE
            found[name] = [each.strip(" \t") for each in values] if is_usual else []
    return found


def last_cookie(header: str, name: str) -> str | None:
    """Return a cookie's value as Starlette and Django read it, or None if it is too long.

    Of several with one name they take the last, and they undo the quoting of `http.cookies`.
    """
    if name not in header:
        return None
    found = _pairs_named((name,), r"\s", "=([^;]*)").findall(f";{header}")
    # Attack (CVE-2024-7592): a quoted value of 64 kB of backslashes takes `http.cookies._unquote`
    # 7 seconds. Only the one cookie is parsed, up to a length, and unquoted here.
    if not found or len(found[-1][1]) > MAX_COOKIE_VALUE:
        return None
    return unquote_cookie(found[-1][1].strip())


def parse_cookies(header: str) -> dict[str, str]:
    """Return all cookies as Starlette and Django read them, of any length, in linear time."""
    cookies: dict[str, str] = {}
    for pair in header.split(";"):
        name, sign, value = pair.partition("=")
        if not sign:
            name, value = "", name
        name, value = name.strip(), value.strip()
        if name or value:
            cookies[name] = unquote_cookie(value)
    return cookies


def unquote_cookie(value: str) -> str:
    """Undo the quoting of `http.cookies`, as its repaired versions do: in linear time."""
    if len(value) < 2 or not value.startswith('"') or not value.endswith('"'):
        return value
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)) if found[1] else found[2], value[1:-1])
