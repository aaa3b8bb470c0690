"""Cookies: their syntax, one `Set-Cookie` as a frozen value, and the attributes of an adapter.

Text holds the bytes of HTTP: one character (U+0000 to U+00FF) a byte, as in WSGI's native strings,
so that each byte stays as it was sent.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from ..copies import copy_unchecked
from ..errors import ConfigurationError, check_positive

if TYPE_CHECKING:
    from typing_extensions import Unpack

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[^\x00-\x1f\x7f;\u0100-\U0010ffff]*")
_DOMAIN = re.compile(r"\.?[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)*")
_ATTRIBUTE = re.compile(r"[^\x00-\x1f\x7f-\U0010ffff;,]+")


def is_cookie_name(name: object) -> bool:
    """Return whether a cookie can have that name (RFC 6265 section 4.1.1: a token)."""
    return _fits(_NAME, name)


def is_cookie_value(value: str) -> bool:
    """Return whether a value can be written into a header as it is.

    More is allowed than in RFC 6265 section 4.1.1, since a value is kept as an app wrote it, but no
    character that would end the value or the header.
    """
    return _VALUE.fullmatch(value) is not None


def _fits(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


@dataclass(frozen=True)
class Cookie:
    """One `Set-Cookie` header.

    :ivar max_age: seconds; None for a cookie that ends with the browser session.
    :ivar secure: None for the scheme of the request: secure over https, not over http.
    :ivar samesite: `Lax`, `Strict` or `None` (the word); empty to leave it to the browser.
    :raises ConfigurationError: a combination of attributes that browsers drop silently.
    """

    name: str
    value: str = field(repr=False)
    max_age: int | None = None
    domain: str | None = None
    path: str = "/"
    secure: bool | None = None
    httponly: bool = True
    samesite: str = "Lax"
    partitioned: bool = False

    def __post_init__(self) -> None:
        if not is_cookie_name(self.name):
            raise ConfigurationError(
                f"cookie name {self.name!r} is not a token (RFC 6265 section 4.1.1): "
                "use letters, digits, - and _"
            )
        if not is_cookie_value(self.value):
            # The error does not show the value, which may be a secret.
            raise ValueError(f"cookie {self.name!r} has a value that no Set-Cookie can carry")
        self._check_attributes()

    def limited(self, max_age: int | None, *, https: bool) -> Cookie:
        """Return the cookie with another `Max-Age`, and `Secure` as the request came by default.

        :param max_age: seconds; None for a cookie that ends with the browser session.
        """
        # What demands `secure=True` was refused without it: only None is replaced here.
        secure = https if self.secure is None else self.secure
        return copy_unchecked(self, max_age=max_age, secure=secure)

    def _check_attributes(self) -> None:
        # RFC 6265bis sections 4.1.2 and 4.1.3: a cookie that browsers drop silently must fail here.
        def refuse(what: str, cure: str) -> None:
            raise ConfigurationError(f"cookie {self.name!r}: {what}; {cure}")

        if self.samesite not in ("Lax", "Strict", "None", ""):
            refuse(f"samesite={self.samesite!r}", "use 'Lax', 'Strict' or 'None'")
        if not _fits(_ATTRIBUTE, self.path) or not self.path.startswith("/"):
            refuse(f"path={self.path!r}", "use a path that starts with /")
        if self.domain is not None and not _fits(_DOMAIN, self.domain):
            refuse(f"domain={self.domain!r}", "use a host name, or None for this host alone")
        # `isinstance` would let True pass, and "Max-Age=True" is no age.
        if self.max_age is not None and type(self.max_age) is not int:
            refuse(f"max_age={self.max_age!r}", "use whole seconds, or None")
        if self.samesite == "None" and self.secure is not True:
            refuse("SameSite=None without Secure is dropped by browsers", "pass secure=True")
        if self.partitioned and self.secure is not True:
            refuse("Partitioned without Secure is dropped by browsers", "pass secure=True")
        lowered = self.name.lower()
        if lowered.startswith(("__secure-", "__host-")) and self.secure is not True:
            refuse("its prefix demands Secure", "pass secure=True")
        if lowered.startswith("__host-") and (self.domain is not None or self.path != "/"):
            refuse("__Host- allows neither a Domain nor another Path than /", "leave them out")

    def header(self) -> tuple[str, str]:
        """Return the cookie as a header's name and value (RFC 6265 section 4.1)."""
        parts = [f"{self.name}={self.value}"]
        if self.max_age is not None:
            parts.append(f"Max-Age={self.max_age}")
            if self.max_age <= 0:
                parts.append("Expires=Thu, 01 Jan 1970 00:00:00 GMT")
        if self.domain is not None:
            parts.append(f"Domain={self.domain}")
        parts.append(f"Path={self.path}")
        parts += [word for word, on in (("Secure", self.secure), ("HttpOnly", self.httponly)) if on]
        if self.samesite:
            parts.append(f"SameSite={self.samesite}")
        if self.partitioned:
            parts.append("Partitioned")
        return "Set-Cookie", "; ".join(parts)


_strip = operator.methodcaller("strip", " \t")


def merge_cookies(header: str, values: Mapping[str, str | None]) -> str | None:
    """Return a `Cookie` header with cookies set, or removed if None; None if no cookie is left."""
    # Attack: 64 kB of short cookies. Only what begins like one of the names is looked at closely.
    names = tuple(values)
    kept = [
        pair
        for pair in map(_strip, header.split(";"))
        if pair and not (pair.startswith(names) and pair.partition("=")[0].rstrip(" \t") in values)
    ]
    kept += [f"{name}={value}" for name, value in values.items() if value is not None]
    return "; ".join(kept) or None


class CookieOptions(TypedDict, total=False):
    """The attributes of an adapter's cookies, as keyword arguments of the adapter."""

    domain: str | None
    """The host and its subdomains that the cookie is sent to. Default: None, this host alone."""
    path: str
    """The path that the cookie is sent for. Default: `"/"`."""
    secure: bool | None
    """Whether the cookie is sent over https alone. Default: None, as the request came."""
    samesite: str
    """`"Lax"` (the default), `"Strict"` or `"None"` (the word), in any case; `""` leaves it to the
    browser."""
    max_age: int | None
    """Seconds until the cookie ends. Default: None, it ends with the browser session."""
    partitioned: bool
    """Whether the cookie is for use in third-party frames (CHIPS), which needs `secure=True`.
    Default: False."""
    httponly: bool
    """Whether scripts are kept from reading the cookie. Default: True."""


class CookieName:
    """The name of a cookie with attributes of its own, for an adapter of several cookies.

    :param name: of the cookie.
    :param attributes: see `CookieOptions`; what is not given is as the adapter's arguments say.
    """

    __slots__ = ("attributes", "name")

    def __init__(self, name: str, **attributes: Unpack[CookieOptions]) -> None:
        self.name = name
        self.attributes = attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieAttributes:
    """The attributes of an adapter's cookies.

    :ivar domain, path, secure, samesite, max_age, partitioned, httponly: see `CookieOptions`.
    """

    domain: str | None = None
    path: str = "/"
    secure: bool | None = None
    samesite: str = "Lax"
    max_age: int | None = None
    partitioned: bool = False
    httponly: bool = True

    @property
    def strict(self) -> bool:
        """Whether browsers hold the cookie back when a visitor arrives by a link."""
        return self.samesite.capitalize() == "Strict"

    def cookie(self, name: str, value: str) -> Cookie:
        """Return a cookie with these attributes.

        :raises ConfigurationError: a combination of attributes that browsers drop.
        """
        secure = self.secure
        if secure is None and name.lower().startswith(("__host-", "__secure-")):
            secure = True  # browsers drop a cookie with that prefix unless it is secure
        given = {each: getattr(self, each) for each in self.__slots__}
        given |= {"secure": secure, "samesite": self.samesite.capitalize()}
        return Cookie(name, value, **given)

    def check(self, names: Iterable[str]) -> None:
        """:raises ConfigurationError: browsers would drop a cookie with one of these names."""
        if not isinstance(self.samesite, str):
            raise ConfigurationError(
                f"samesite: {self.samesite!r}; use 'Lax', 'Strict' or 'None' (the word)"
            )
        if self.max_age is not None:
            check_positive("max_age", self.max_age, "seconds, or None", whole=True)
        switches = {"httponly": self.httponly, "partitioned": self.partitioned}
        if self.secure is not None:
            switches["secure"] = self.secure
        for switch, value in switches.items():
            if not isinstance(value, bool):  # the text "no" would count as True
                raise ConfigurationError(f"{switch}: {value!r}; use True or False")
        for name in names:
            self.cookie(name, "")


def cap_age(cookie: Cookie, seconds: int) -> Cookie:
    """Return the cookie with a `Max-Age` of so many seconds at most, and never without one."""
    age = seconds if cookie.max_age is None else min(cookie.max_age, seconds)
    return copy_unchecked(cookie, max_age=age)


def deletion(cookie: Cookie) -> Cookie:
    """Return the cookie that makes a browser forget `cookie`."""
    return copy_unchecked(cookie, value="", max_age=0)
