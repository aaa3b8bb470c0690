"""Requests and responses as frozen values.

Text holds the bytes of HTTP: one character (U+0000 to U+00FF) a byte, as in WSGI's native strings,
so that each byte stays as it was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..copies import build_unchecked, copy_unchecked
from .client_text import cookies_named
from .cookies import is_cookie_name, merge_cookies
from .encoding import to_json, visible
from .urls import on_this_host, relative_reference

Headers = tuple[tuple[str, str], ...]

_FETCH_METADATA = frozenset(
    {"sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user"}
)

# The headers of every response of the middleware, since each concerns a token or a session.
PRIVATE: Headers = (("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer"))


@dataclass(frozen=True)
class Request:
    """One incoming request, the same for ASGI and WSGI.

    :ivar method: in upper case.
    :ivar scheme: `http` or `https`, as the server or `public_origin` says.
    :ivar path: below the application's mount point, percent-decoded text.
    :ivar target: the whole path as this server sees it, percent-encoded. It is no `Location`: it
        may begin with `//`, and a proxy or the app may know a prefix that is missing here.
    :ivar query: without the link parameter, otherwise byte for byte.
    :ivar headers: by lower-case name; repeated ones are joined.
    :ivar links: the link parameters that were cut from the query: one value for each, blank as
        soon as the flow has read it.
    :ivar seen: the parameters that say that the browser was shown a page first, cut out as well.
    :ivar carrier: the ASGI scope or WSGI environ, for adapters that need more; it holds the handle
        where the app made the call.
    :ivar client: the client's address: the peer's, or the one that a layer outside (ProxyFix,
        `--proxy-headers`) set, or that a trusted proxy tells; None where there is none.
    :ivar verifiable: whether the adapter of the middleware that read the request can verify
        sessions; None for a request that no middleware read.
    :ivar began: the count of revocations when the request came in; None for a request that no
        middleware read.
    """

    method: str
    scheme: str
    path: str
    # Clients send cookies and tokens in these fields: a repr, which may be logged, leaves them out.
    target: str = field(default="/", repr=False)
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    links: tuple[str, ...] = field(default=(), repr=False)
    seen: tuple[str, ...] = field(default=(), repr=False)
    carrier: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    # An address is personal data: it must not reach a log by way of a repr.
    client: str | None = field(default=None, repr=False)
    verifiable: bool | None = field(default=None, repr=False)
    began: int | None = field(default=None, repr=False, compare=False)
    # The cookies that were asked for: each adapter's, several times a request.
    _cookies: dict[tuple[str, ...], dict[str, list[str]]] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def header(self, name: str) -> str | None:
        """Return the value of a header by its lower-case name, or None."""
        return self.headers.get(name)

    def cookies(self, name: str) -> list[str]:
        """Return every value of a cookie in the request, as sent: quotes and escapes untouched.

        The list is empty, too, if a value is over 8 KiB or there are more than 32: no browser sends
        these. (RFC 6265 section 5.4: a browser may send several cookies of one name.)
        """
        return list(self.parse_cookies((name,))[name])

    def cookies_named(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Return `cookies` of several names, each by its name, by one pass over the header."""
        return {name: list(each) for name, each in self.parse_cookies(tuple(names)).items()}

    def parse_cookies(self, names: tuple[str, ...]) -> Mapping[str, Sequence[str]]:
        """Return `cookies_named` itself, of which the others return copies."""
        parsed = self._cookies
        if parsed is None:
            parsed = {}
            object.__setattr__(self, "_cookies", parsed)
        if names not in parsed:
            parsed[names] = cookies_named(self.headers.get("cookie", ""), names)
        return parsed[names]

    @property
    def has_fetch_metadata(self) -> bool:
        """Whether a browser told what the request is for (W3C Fetch Metadata Request Headers)."""
        return not _FETCH_METADATA.isdisjoint(self.headers)

    @property
    def location(self) -> str:
        """This request's URL without the link parameter, as a relative reference: `?a=1`, `./page`.

        Good for a `Location` and for a link on a page: it leads to no other host, and is right
        below any mount prefix.
        """
        return self.location_with()

    def location_with(self, *parameters: str) -> str:
        """Return `location` with parameters, percent-encoded already, at the end of its query."""
        query = "&".join((*filter(None, [visible(self.query)]), *parameters))
        return relative_reference(self.target, query, query_alone=self.has_fetch_metadata)

    @property
    def path_and_query(self) -> str:
        """This request's path and query as browsers see them: `/mount/page?a=1`.

        It can name no other host. A prefix that only a proxy knows is missing.
        """
        query = f"?{visible(self.query)}" if self.query else ""
        return on_this_host(self.target) + query

    def with_headers(self, changes: Mapping[str, str | None]) -> Request:
        """Return the same request with some headers set, or removed where the value is None."""
        headers = {**self.headers, **changes}
        kept = {name: value for name, value in headers.items() if value is not None}
        return copy_unchecked(self, headers=kept)

    def with_cookies(self, values: Mapping[str, str | None]) -> Request:
        """Return the same request with some cookies set, or removed where the value is None."""
        return self.with_headers({"cookie": merge_cookies(self.headers.get("cookie", ""), values)})


@dataclass(frozen=True)
class Response:
    """A response: status, headers in order, body.

    :raises ValueError: no server can send that status, header or body.
    """

    status: int
    # A Set-Cookie or a Location may stand in the headers, a token in the body.
    headers: Headers = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        # A hook may return anything, and a response that fails half-way cannot be taken back. The
        # errors show no value: it may be a token or a cookie.
        if type(self.status) is not int or not 100 <= self.status <= 999:
            raise ValueError("Response.status: use a number from 100 to 999")
        if not isinstance(self.body, bytes):
            raise ValueError("Response.body: use bytes")
        _check_headers(self.headers)

    def with_headers(self, *more: tuple[str, str]) -> Response:
        """Return the same response with headers added."""
        _check_headers(more)
        return copy_unchecked(self, headers=(*self.headers, *more))


def _check_headers(headers: object) -> None:
    """:raises ValueError: they are no pairs of strings that HTTP can carry."""
    if not isinstance(headers, (tuple, list)) or not all(map(_is_header, headers)):
        raise ValueError("Response.headers: use pairs of strings that HTTP can carry")


_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def _is_header(pair: object) -> bool:
    """Return whether a pair is a header's name and value (RFC 9110 section 5), in latin-1."""
    return (
        isinstance(pair, tuple)
        and len(pair) == 2
        and is_cookie_name(pair[0])  # both are tokens
        and isinstance(pair[1], str)
        and _FIELD_VALUE.fullmatch(pair[1]) is not None
    )


def private_response(
    status: int, content_type: str, body: bytes, *headers: tuple[str, str]
) -> Response:
    """Return a response that no cache may store and no browser may sniff."""
    _check_headers(headers)
    return build_unchecked(
        Response,
        status=status,
        headers=(
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            *PRIVATE,
            ("X-Content-Type-Options", "nosniff"),
            *headers,
        ),
        body=body,
    )


def json_response(status: int, value: object, *headers: tuple[str, str]) -> Response:
    """Return a JSON response that no cache may store."""
    return private_response(status, "application/json", to_json(value), *headers)
