"""Mistakes that are found when the app is wrapped."""

from __future__ import annotations

from mistake import Mistake, read_error

from ott_middleware import CookieSession, OTTMiddleware


async def app(scope: object, receive: object, send: object) -> None:
    raise AssertionError("never called")


MISTAKES = (
    Mistake(
        "an app of no known framework is wrapped without `session=`",
        lambda: read_error(lambda: OTTMiddleware(app)),
        "CookieSession(",
    ),
    Mistake(
        "a cookie that no browser would keep: `SameSite=None` without `Secure`",
        lambda: read_error(lambda: CookieSession("sid", samesite="none", secure=False)),
        "secure",
    ),
)
