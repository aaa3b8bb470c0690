"""Requests, responses and cookies as frozen values, and the request that is being answered.

Text here is what HTTP's bytes are: one character (U+0000 to U+00FF) a byte, as in WSGI's native
strings, so that nothing is lost on its way through.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from .client_text import cookie_values
from .errors import ConfigurationError

Headers = tuple[tuple[str, str], ...]

# What every answer of the middleware carries: a token or a session is on one of its two ends.
PRIVATE: Headers = (("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer"))


@dataclass(frozen=True, slots=True)
class Request:
    """One incoming request, whichever interface it came by.

    :ivar method: in upper case.
    :ivar scheme: `http` or `https`, as the server or `public_origin` says.
    :ivar path: below the application's mount point, percent-decoded text.
    :ivar target: the whole path as browsers see it, percent-encoded; always a path on this host.
    :ivar query: without the link parameter, otherwise byte for byte.
    :ivar headers: by lower-case name; repeated ones are joined.
    :ivar links: the link parameters that were cut from the query: one value for each, blank as
        soon as the flow has read it.
    :ivar carrier: the ASGI scope or WSGI environ, for adapters that need more; it holds the handle,
        `ott`, where it is the app that asks.
    :ivar client: the client's address: the peer, or what a layer outside (ProxyFix,
        `--proxy-headers`) made of it; None where there is none.
    :ivar verifiable: whether the adapter of the middleware that read the request can verify
        sessions; None for a request that no middleware read.
    :ivar began: the count of revocations when the request came in; None for a request that no
        middleware read.
    """

    method: str
    scheme: str
    path: str
    # These hold cookies, tokens and whatever else a client sends: none of it may reach a log.
    target: str = field(default="/", repr=False)
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    links: tuple[str, ...] = field(default=(), repr=False)
    carrier: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    # An address is personal data: it must not reach a log by way of a repr.
    client: str | None = field(default=None, repr=False)
    verifiable: bool | None = field(default=None, repr=False)
    began: int | None = field(default=None, repr=False, compare=False)

    def header(self, name: str) -> str | None:
        """The value of a header by its lower-case name."""
        return self.headers.get(name)

    def cookies(self, name: str) -> list[str]:
        """Every value that the request carries for a cookie, as sent: quotes and escapes untouched.

        Empty as well where one of them is over 8 KiB or there are more than 32, as no browser has
        them. (RFC 6265 section 5.4: a browser may send several cookies of one name.)
        """
        return cookie_values(self.headers.get("cookie", ""), name)

    @property
    def location(self) -> str:
        """This request's URL without the link parameter: a path and query on this host."""
        return f"{self.target}?{visible(self.query)}" if self.query else self.target

    def with_headers(self, changes: Mapping[str, str | None]) -> Request:
        """The same request with some headers set, or with None removed."""
        headers = {**self.headers, **changes}
        kept = {name: value for name, value in headers.items() if value is not None}
        return dataclasses.replace(self, headers=kept)

    def with_cookies(self, values: Mapping[str, str | None]) -> Request:
        """The same request with some cookies set, or with None removed."""
        return self.with_headers({"cookie": merge_cookies(self.headers.get("cookie", ""), values)})


# Longer than any address with a scope and a port.
_LONGEST_ADDRESS = 64
_WITH_PORT = re.compile(r"\[(?P<v6>[^\[\]]*)\](?::[0-9]{1,5})?|(?P<v4>[0-9.]+):[0-9]{1,5}")


def network_of(client: str | None) -> str:
    """The network of a client's address: its /32 for IPv4, its /56 for IPv6, else `"unknown"`.

    An IPv4 address that is mapped into IPv6 counts as IPv4; a port or a scope id does not count.
    """
    # Layers outside of the middleware may leave any text here. If such text named a network of its
    # own, a client that can write into it would have any number of networks: whatever is not
    # exactly one address (a list, a name, a socket's path) is the one network "unknown".
    if client is None or len(client) > _LONGEST_ADDRESS:
        return "unknown"
    text = client.strip()
    if with_port := _WITH_PORT.fullmatch(text):
        text = with_port["v6"] or with_port["v4"] or ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            # A subscriber has a /56 and chooses the other bits at will. Counted by the whole
            # address, one client would be any number of networks.
            return f"{ipaddress.IPv6Address(int(address) >> 72 << 72)}/56"
        address = address.ipv4_mapped
    return f"{address}/32"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: status, headers in order, body.

    :raises ValueError: what no server can send.
    """

    status: int
    # A Set-Cookie or a Location may stand in the headers, a token in the body.
    headers: Headers = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        # A hook's may be anything, and half of an answer can't be taken back. No value is shown.
        if type(self.status) is not int or not 100 <= self.status <= 999:
            raise ValueError("Response.status: use a number from 100 to 999")
        if not isinstance(self.body, bytes):
            raise ValueError("Response.body: use bytes")
        if not isinstance(self.headers, (tuple, list)) or not all(map(_is_header, self.headers)):
            raise ValueError("Response.headers: use pairs of strings that HTTP can carry")

    def with_headers(self, *more: tuple[str, str]) -> Response:
        """The same answer with headers added."""
        return dataclasses.replace(self, headers=(*self.headers, *more))


_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_VALUE = re.compile(r"[^\x00-\x1f\x7f;\u0100-\U0010ffff]*")
_DOMAIN = re.compile(r"\.?[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)*")
_ATTRIBUTE = re.compile(r"[^\x00-\x1f\x7f-\U0010ffff;,]+")


def _is_header(pair: object) -> bool:
    """Whether it is a name and a value of RFC 9110 section 5, in latin-1."""
    return (
        isinstance(pair, tuple)
        and len(pair) == 2
        and is_cookie_name(pair[0])  # both are tokens
        and isinstance(pair[1], str)
        and _FIELD_VALUE.fullmatch(pair[1]) is not None
    )


def is_cookie_name(name: object) -> bool:
    """Whether a cookie can have that name (RFC 6265 section 4.1.1: a token)."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def is_cookie_value(value: str) -> bool:
    """Whether a value can be written into a header as it stands.

    Wider than RFC 6265 section 4.1.1, since a value is carried over as some app wrote it, but
    without what would end the value or the header.
    """
    return _VALUE.fullmatch(value) is not None


def _is_attribute(value: object) -> bool:
    return isinstance(value, str) and _ATTRIBUTE.fullmatch(value) is not None


def _is_domain(value: object) -> bool:
    return isinstance(value, str) and _DOMAIN.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Cookie:
    """One `Set-Cookie`.

    :ivar max_age: seconds; None for a cookie that ends with the browser session.
    :ivar secure: None for what the request came by: set over https, not over http.
    :ivar samesite: `Lax`, `Strict` or `None` (the word); empty to leave it to the browser.
    :raises ConfigurationError: a combination that browsers drop without a word.
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
            # Never shown: it may be a secret. Written out, it would end the header or the value.
            raise ValueError(f"cookie {self.name!r} has a value that no Set-Cookie can carry")
        self._check_attributes()

    def _check_attributes(self) -> None:
        # RFC 6265bis sections 4.1.2 and 4.1.3: what browsers drop must fail here, not in silence.
        def refuse(what: str, cure: str) -> None:
            raise ConfigurationError(f"cookie {self.name!r}: {what}; {cure}")

        if self.samesite not in ("Lax", "Strict", "None", ""):
            refuse(f"samesite={self.samesite!r}", "use 'Lax', 'Strict' or 'None'")
        if not _is_attribute(self.path) or not self.path.startswith("/"):
            refuse(f"path={self.path!r}", "use a path that starts with /")
        if self.domain is not None and not _is_domain(self.domain):
            refuse(f"domain={self.domain!r}", "use a host name, or None for this host alone")
        # Not `isinstance`: True is an int, and "Max-Age=True" is no age.
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
        """The cookie as a header's name and value (RFC 6265 section 4.1)."""
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


def merge_cookies(header: str, values: Mapping[str, str | None]) -> str | None:
    """A `Cookie` header with some cookies set, or with None removed; None when none are left."""
    pairs = (pair.strip(" \t") for pair in header.split(";"))
    kept = [pair for pair in pairs if pair and pair.partition("=")[0].strip(" \t") not in values]
    kept += [f"{name}={value}" for name, value in values.items() if value is not None]
    return "; ".join(kept) or None


# All of visible ASCII but "#".
_VISIBLE = "".join(map(chr, range(0x21, 0x7F))).replace("#", "")


def visible(text: str) -> str:
    """Text with everything but visible ASCII percent-encoded, so that no header can be injected."""
    # Attack: a query of 64 kB of blanks. quote() encodes it twenty times as fast as a call for each
    # match of a pattern would.
    return quote(text.encode("latin-1", "replace"), safe=_VISIBLE)


def iso_milliseconds(moment: datetime) -> str:
    """A date as JavaScript writes one: UTC, exactly three fractional digits, `Z`.

    (ECMA-262, Date Time String Format; any other fraction is misread by the official client.)
    """
    utc = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='milliseconds')}Z"


def _json_default(value: object) -> object:
    if isinstance(value, datetime):
        return iso_milliseconds(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


_encode_json = json.JSONEncoder(
    default=_json_default, allow_nan=False, separators=(",", ":")
).encode


def to_json(value: object) -> bytes:
    """JSON as the wire has it; dates as `iso_milliseconds`.

    :raises TypeError: something in it is no JSON value.
    :raises ValueError: a number in it is none to JSON (NaN, an infinity).
    """
    return _encode_json(value).encode("ascii")


def json_response(status: int, value: object, *headers: tuple[str, str]) -> Response:
    """A JSON answer that nothing may store or sniff."""
    body = to_json(value)
    return Response(
        status,
        (
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            *PRIVATE,
            ("X-Content-Type-Options", "nosniff"),
            *headers,
        ),
        body,
    )


_current: ContextVar[Request | None] = ContextVar("ott_request", default=None)


def current_request() -> Request | None:
    """The request that is being answered in this context, if one is."""
    return _current.get()


@contextmanager
def answering(request: Request) -> Iterator[None]:
    """Make `request` the current one."""
    reset = _current.set(request)
    try:
        yield
    finally:
        _current.reset(reset)
