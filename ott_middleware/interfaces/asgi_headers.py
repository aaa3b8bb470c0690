"""The headers of ASGI: a scope's, parsed when they are asked for, and those of a response."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..http.messages import Headers


def parse_headers(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers by lower-case name; repeated ones are joined."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}
    if len(headers) == len(pairs):
        return headers
    # Attack: thousands of headers of one name. Each value is appended to a list: a string would be
    # copied for each of them, in quadratic time.
    values: dict[str, list[str]] = {}
    for raw_name, raw_value in pairs:
        name = raw_name.decode("latin-1").lower()
        values.setdefault(name, []).append(raw_value.decode("latin-1"))
    return {
        name: ("; " if name == "cookie" else ", ").join(several) for name, several in values.items()
    }


def encode_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers of a response for its message."""
    # In lower case, as ASGI wants names: HTTP/2 has no others.
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def decode_headers(message: Mapping[str, Any]) -> Headers:
    """Return the headers of a response's message."""
    pairs = message.get("headers", ())
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs)


def raw_cookies(pairs: list[tuple[bytes, bytes]]) -> list[bytes]:
    """Return the values of the `Cookie` headers, as they were sent."""
    # By the length first, which leaves nearly no name to be lowered.
    return [value for name, value in pairs if len(name) == 6 and name.lower() == b"cookie"]


class LazyHeaders(Mapping[str, str]):
    """`parse_headers`, called once a header other than the cookie is asked for.

    An adapter reads the cookie of nearly each request, and nothing else of it.

    :param pairs: of the scope; its list may be changed, and is copied.
    """

    __slots__ = ("_pairs", "_parsed")

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._pairs = pairs.copy()
        self._parsed: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._parsed is None:
            self._parsed = parse_headers(self._pairs)
        return self._parsed

    def get(self, key: str, /, default: Any = None) -> Any:
        """Return a header by its lower-case name."""
        if key != "cookie" or self._parsed is not None:
            return self._all().get(key, default)
        found = raw_cookies(self._pairs)
        return str(b"; ".join(found), "latin-1") if found else default

    def __getitem__(self, key: str) -> str:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())
