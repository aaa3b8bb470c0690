"""Values and rules of HTTP: pure functions and frozen values, without I/O, clock or logging."""

from .cookies import Cookie, CookieAttributes, CookieName
from .languages import register_language
from .messages import Headers, Request, Response
from .pages import Page

__all__ = [
    "Cookie",
    "CookieAttributes",
    "CookieName",
    "Headers",
    "Page",
    "Request",
    "Response",
    "register_language",
]
