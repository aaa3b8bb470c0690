"""The headers of a scope, parsed when they are asked for."""

from __future__ import annotations

import pytest

from ott_middleware.interfaces.asgi_headers import LazyHeaders, parse_headers

PAIRS = [
    (b"Host", b"app.example"),
    (b"cookie", b"a=1"),
    (b"accept", b"text/html"),
    (b"Cookie", b"b=\xe9"),
    (b"accept", b"*/*"),
    (b"expect", b""),
]
PARSED = {
    "host": "app.example",
    "cookie": "a=1; b=\xe9",
    "accept": "text/html, */*",
    "expect": "",
}


@pytest.mark.parametrize("pairs", [PAIRS, PAIRS[:3], []])
def test_lazy_headers_are_the_parsed_ones(pairs: list[tuple[bytes, bytes]]) -> None:
    parsed = parse_headers(pairs)
    # Each first question is asked of headers that nothing has been asked of.
    for name in (*PARSED, "x-none", "Cookie"):
        assert LazyHeaders(pairs).get(name) == parsed.get(name)
        assert LazyHeaders(pairs).get(name, "-") == parsed.get(name, "-")
        assert (name in LazyHeaders(pairs)) == (name in parsed)
    assert LazyHeaders(pairs) == parsed
    assert list(LazyHeaders(pairs)) == list(parsed)
    assert len(LazyHeaders(pairs)) == len(parsed)
    assert {**LazyHeaders(pairs)} == parsed


def test_headers_are_joined() -> None:
    assert parse_headers(PAIRS) == PARSED


def test_cookie_is_the_same_before_and_after_the_others() -> None:
    headers = LazyHeaders(PAIRS)
    before = headers.get("cookie")
    assert headers["accept"] == "text/html, */*"
    assert headers.get("cookie") == headers["cookie"] == before


def test_later_change_of_the_scope_changes_nothing() -> None:
    pairs = [*PAIRS]
    headers = LazyHeaders(pairs)
    pairs.clear()
    assert headers.get("cookie") == PARSED["cookie"]
    assert headers == PARSED


def test_values_are_in_no_repr() -> None:
    assert "app.example" not in repr(LazyHeaders(PAIRS))
