"""The cookies that a `CookieSession` names: their attributes, numbered parts, and stray copies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from ..errors import ConfigurationError
from ..http.cookies import Cookie, CookieAttributes, CookieName, deletion, is_cookie_name
from ..http.messages import Request

# Of 4 KiB each: four times what a token can carry.
_PARTS = 16
# A host by its name. An address has no parent, and browsers give no cookie to its "subdomains".
_HOST = re.compile(r"(?!.*\.[0-9]+(?::|\Z))([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+)(?::[0-9]*)?")
_PATH = re.compile(r"/[^\x00-\x20\x7f-\U0010ffff;,]*")
# The root, and the first two segments with and without a slash.
_PATHS = 5
# Attack: a link to a long path. Each deletion repeats it, and a proxy takes no more than 4 KiB of
# headers: without a limit, the visitor would see the proxy's error, and the link be used up.
_MOST_BYTES = 2048


def attributes_by_name(
    names: Iterable[CookieName], options: Mapping[str, Any]
) -> tuple[dict[str, CookieAttributes], frozenset[str]]:
    """Return the attributes of each cookie, and the names of those that are numbered parts.

    :param names: `"token_*"` stands for `token_0`, `token_1` and so on, up to `token_15`.
    :param options: the attributes of all cookies that have none of their own.
    :raises ConfigurationError: a name or an attribute that browsers drop.
    """
    found: dict[str, CookieAttributes] = {}
    numbered: set[str] = set()
    for each in names:
        name = each.name
        if not is_cookie_name(name) or name == "*":
            raise ConfigurationError(f"session: {name!r} is not a cookie name")
        attributes = CookieAttributes(**{**options, **each.attributes})
        parts = [name]
        if name.endswith("*"):
            parts = [f"{name[:-1]}{number}" for number in range(_PARTS)]
            numbered.update(parts)
        attributes.check(parts)
        found.update(dict.fromkeys(parts, attributes))
    return found, frozenset(numbered)


def delete_copies(cookie: Cookie, request: Request) -> list[Cookie]:
    """Return the deletions of other cookies of that name which the browser may hold.

    The browser may hold one under another path, or for this host and its subdomains: an anonymous
    session of the app, or a copy of an earlier redemption. It would live on beside `cookie`, and
    the app might read either of the two. Cookies of a parent domain stay, since another site may
    have set them.

    :param cookie: that the response sets.
    """
    if cookie.name.lower().startswith("__host-"):
        return []  # browsers hold no other one
    host = _HOST.fullmatch(request.header("host") or "")
    own = cookie.domain and cookie.domain.lower().removeprefix(".")
    places = [
        (domain, path)
        for path in islice(_paths_to(request.target), _PATHS)
        for domain in dict.fromkeys((own, None, host[1].lower() if host else None))
        if (domain, path) != (own, cookie.path)
    ]
    gone = deletion(cookie)
    return [replace(gone, domain=domain, path=path) for domain, path in places]


def fit_headers(cookies: Iterable[Cookie]) -> Iterator[Cookie]:
    """Yield the first cookies, as many as a response has room for beside what it must set."""
    left = _MOST_BYTES
    for cookie in cookies:
        left -= len(cookie.header()[1])
        if left < 0:
            return
        yield cookie


def _paths_to(target: str) -> Iterator[str]:
    """Yield the paths of cookies that a browser sends with a request (RFC 6265 section 5.1.4)."""
    yield "/"
    if _PATH.fullmatch(target):
        for found in re.finditer(r"(?<=[^/])(?=/|\Z)", target):
            yield target[: found.start()]
            yield target[: found.start()] + "/"
