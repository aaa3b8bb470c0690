"""Describes where a request may have its user, if the session adapter finds none: by names alone.

An app may have the framework of the adapter, and keep its users in another place: under another key
of the session, in another cookie, in a header. Wrapped in one line, it would refuse each user
silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..context import current_request
from ..http.messages import Request
from .base import SessionAdapter

_MOST_NAMES = 10
# Attack: a client chooses the names of its cookies, and an app may have a secret or an address in a
# key (Authlib has a state there). Only a short name of words is logged: no part of it is as long as
# a secret, or a longer one with a digit.
_NAME = re.compile(r"(?!.*[A-Za-z0-9]{21})(?!.*(?=[A-Za-z]*[0-9])[A-Za-z0-9]{9})[A-Za-z0-9_.:-]+")
# Signed-out visitors have these too: cookies of analytics, load balancers, protection of forms.
_ANONYMOUS = re.compile(
    r"_(?:ga|gid|gat|gcl|fbp|hj|pk|utm)\b.*|_(?:ga|gat|gcl|hj|pk)_.*|__(?:utm|cf).*|cf_.*|AWSALB.*"
    r"|ott_.*|__Host-ott_.*|_ott_.*|_?(?:csrf|xsrf).*|_flashes|_messages|_permanent|_fresh|_id",
    re.IGNORECASE,
)
_SCHEMES = ("Basic", "Bearer", "Digest", "Negotiate", "Token")


class KeysWithoutUser:
    """Keeps the keys of the last session in which an adapter found no user."""

    def __init__(self) -> None:
        self._noted: tuple[int, tuple[str, ...]] = (0, ())

    def note(self, keys: Iterable[object]) -> None:
        """Note the keys of the current request's session."""
        request = current_request()
        if request is not None:
            self._noted = id(request.carrier), tuple(key for key in keys if isinstance(key, str))

    def of(self, request: Request) -> tuple[str, ...]:
        """Return the keys that were noted for a request."""
        # Another request may have come in between.
        carrier, keys = self._noted
        return keys if carrier == id(request.carrier) else ()


def list_names(names: Iterable[str]) -> str:
    """Return names for a log line; empty if none of them may be that of a user."""
    told = [name for name in dict.fromkeys(names) if not _ANONYMOUS.fullmatch(name)]
    shown = [name for name in told if len(name) <= 48 and _NAME.fullmatch(name)][:_MOST_NAMES]
    if not told:
        return ""
    rest = len(told) - len(shown)
    more = f"{rest} more" if shown else f"{rest} of other names"
    return ", ".join([*map(repr, shown), *([more] if rest else [])])


def list_cookies(request: Request, without: Iterable[str]) -> str:
    """Return the names of a request's cookies, without some, for a log line."""
    pairs = (request.header("cookie") or "")[:8192].split(";")
    # A cookie without a name is all value.
    names = (name.strip() for name, sign, _ in (pair.partition("=") for pair in pairs) if sign)
    left_out = set(without)
    return list_names(name for name in names if name not in left_out)


def authorization_scheme(request: Request) -> str | None:
    """Return the scheme of the `Authorization` header; `another scheme` if it is unusual."""
    header = request.header("authorization")
    if not header:
        return None
    scheme = header.partition(" ")[0].capitalize()
    return scheme if scheme in _SCHEMES else "another scheme"


def describe_missing_user(
    request: Request,
    adapter: SessionAdapter,
    keys: Iterable[str] = (),
    looked_for: Iterable[str] = (),
    cure_for_keys: str = "",
) -> str | None:
    """Return one line on where the user of a request may be; None if nothing points to one.

    :param keys: the keys of the session, in which no user was found.
    :param looked_for: the keys that were looked for; none where a function looks for the user.
    :param cure_for_keys: what to pass where one of `keys` holds the user.
    """
    unsent = _describe_unsent_cookie(request, adapter)
    if unsent is not None:
        return unsent
    cookies = adapter.cookie_names
    parts, cures = [], []
    told_keys = list_names(keys)
    if told_keys:
        under = ", ".join(map(repr, looked_for)) or "what user= returns"
        parts.append(f"the session has the keys {told_keys}, and no user under {under}")
        cures.append(cure_for_keys)
    others = list_cookies(request, cookies)
    if others and not told_keys:
        has_own = any(map(any, request.cookies_named(cookies).values()))
        named = " and ".join(map(repr, cookies[:2]))
        what = f"beside {named} it has" if has_own else f"it has no cookie {named}, and has"
        parts.append(f"{what} the cookies {others}")
        cures.append(
            "if one of them holds the session, name it: session=CookieSession('its name', "
            "probe='/a/path') or validate="
        )
    scheme = authorization_scheme(request)
    if scheme is not None and not told_keys:
        parts.append(f"it has an Authorization header ({scheme})")
        cures.append(
            "if it is an access token, session=BearerSession(validate=...) finds its user. A link "
            "cannot hand on what a client sends in that header: for links to this site use "
            "SealedSession(secret, remote_user=...), or an adapter of your own"
        )
    if not parts:
        return None
    found, cure = "; ".join(parts), "; ".join(cures)
    return (
        f"{type(adapter).__name__}: no user was found in a request for a token: {found}. If users "
        f"sign in there: {cure}"
    )


def _describe_unsent_cookie(request: Request, adapter: SessionAdapter) -> str | None:
    """Return one line on a cookie that no browser sends with the request; None if there is none."""
    target, sent = request.target, request.cookies_named(adapter.cookie_names)
    for name in adapter.cookie_names:
        attributes = adapter.attributes_of(name)
        path = "/" if attributes is None else attributes.path
        below = path if path.endswith("/") else f"{path}/"
        # RFC 6265 section 5.1.4.
        if target != path and not target.startswith(below) and not any(sent[name]):
            return (
                f"{type(adapter).__name__}: browsers send its cookie {name!r} to paths below "
                f"{path!r} alone, and a request for a token was for another path, so that no user "
                f"was found; pass base_path={path.rstrip('/')!r}, so that the two paths lie there"
            )
    return None
