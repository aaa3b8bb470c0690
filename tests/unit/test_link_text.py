from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware.http.link_text import LinkText
from ott_middleware.http.urls import divide

TOKEN = "q1W2e3R4t5Y6u7I8o9P0-_aSdFgHjKlZ"
OTT = LinkText(["ott"])


class TestLinkText:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('"GET /page?ott={} HTTP/1.1" 200', '"GET /page HTTP/1.1" 200'),
            ('"GET /page?ott={}&b=2 HTTP/1.1"', '"GET /page?b=2 HTTP/1.1"'),
            ('"GET /page?a=1&ott={}&b=2 HTTP/1.1"', '"GET /page?a=1&b=2 HTTP/1.1"'),
            ('"GET /page?a=1&ott={}"', '"GET /page?a=1"'),
            ("/p?ott={}&ott={}&c", "/p?c"),
            ("/p?a&ott={}&ott=&ott_seen={}", "/p?a"),
            ("/p?a&ott={}&ott=&c", "/p?a&c"),
            ("/p?ott=confirm.{}#end", "/p#end"),
            ("/p?%6ftt={} x", "/p x"),
            ("/p?o%54t={}", "/p?o%54t={}"),
            ("/p?o%74%74={}", "/p"),
            ("/p?a;ott={};b", "/p?a;b"),
            # A query by itself.
            ("ott={}", ""),
            ("ott={}&a=1", "a=1"),
            ("'query_string': b'ott={}', 'raw'", "'query_string': b'', 'raw'"),
            # A URL in the query of another one.
            ("/login?next=%2Fp%3Fott%3D{}%26a HTTP", "/login?next=%2Fp%3Fa HTTP"),
            ("/login?next=%252Fp%253Fa%2526ott%253D{}", "/login?next=%252Fp%253Fa"),
            # A token with escapes.
            ("/p?ott=%41{}&b", "/p?b"),
            # Sub-protocols of a WebSocket.
            ("Sec-WebSocket-Protocol: chat, ott, ott.{}", "Sec-WebSocket-Protocol: chat, ott, ott"),
            ("['ott', 'ott.{}']", "['ott', 'ott']"),
        ],
    )
    def test_link_is_cut(self, text: str, expected: str) -> None:
        assert OTT.cut(text.replace("{}", TOKEN)) == expected.replace("{}", TOKEN)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "GET /page?a=1 HTTP/1.1",
            "/p?lott=1&ott2=3&x.ott=3&x-ott=4",
            "/ott/ott?a=%20",
            "environ['ott.handle'] is missing",
            "/static/ott.bundle-0123456789abcdef.js",
            "100 % of /ott",
        ],
    )
    def test_text_without_a_link_is_the_same_object(self, text: str) -> None:
        assert OTT.cut(text) is text

    def test_names_are_several(self) -> None:
        both = LinkText(["ott", "t.k"])
        assert both.cut("/?ott=1&t.k=2&txk=3") == "/?txk=3"
        assert LinkText(()).cut("/?ott=1%20") == "/?ott=1%20"

    @given(st.text("o=&;?t %6fF3D"), st.sampled_from(["ott", "%6Ftt", "o%74t"]), st.text("&a=b"))
    def test_no_token_is_left_behind_a_question_mark(
        self, before: str, name: str, after: str
    ) -> None:
        # Only what cannot be a part of the parameter's name stands before it.
        query = f"{before}&{name}={TOKEN}&{after}"
        assert TOKEN not in OTT.cut(f"GET /p?{query} HTTP/1.1")
        # As the middleware cuts the request itself.
        assert TOKEN not in divide(query, "ott").rest

    @pytest.mark.parametrize("piece", ["ott=", "&ott", "?ott=a", "%25", "%3Fott", "ott.", "%", ";"])
    def test_long_line_takes_little_time(self, piece: str) -> None:
        line = piece * (64_000 // len(piece))
        began = time.process_time()
        OTT.cut(line)
        assert time.process_time() - began < 0.2
