"""The middleware's own cookies, which neither the app nor its session adapter knows."""

from __future__ import annotations

import re
from typing import Literal

from ..http.cookies import Cookie
from ..http.messages import Request

_PREFIX = "__Host-"


def own_name(request: Request, name: str) -> str:
    """Return the name of such a cookie at the scheme of a request.

    :param name: without the prefix that it has over https.
    """
    # Attack: a subdomain sets a cookie of that name, with a value of the attacker's. Over https the
    # prefix makes a browser refuse the cookie. Over http nothing can: there a subdomain can set the
    # session cookie itself.
    return f"{_PREFIX}{name}" if request.scheme == "https" else name


def own_cookie(
    name: str, value: str, max_age: int, samesite: Literal["Lax", "Strict"] = "Lax"
) -> Cookie:
    """Return the cookie to set.

    :param name: as `own_name` returns it.
    :param max_age: seconds; 0 deletes the cookie.
    """
    secure = name.startswith(_PREFIX)
    # Lax by default: the browser comes from another site, and would hold a Strict cookie back.
    return Cookie(name, value, max_age=max_age, secure=secure, samesite=samesite)


def own_cookies_sent(request: Request, name: str) -> list[tuple[str, str]]:
    """Return the names and values of the cookies that the browser sent, in the order of the header.

    :param name: what stands before 16 hexadecimal digits in their names, without the prefix.
    """
    # One pattern for all names: each of them would need a pattern of its own.
    names = rf"{re.escape(own_name(request, name))}[0-9a-f]{{16}}"
    sent = re.findall(rf"(?:^|;)[ \t]*({names})=([^;]*)", request.header("cookie") or "")
    return [(each, value.strip(" \t")) for each, value in sent]
