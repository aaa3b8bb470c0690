from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware.http.idn import encode_host
from ott_middleware.http.origin_options import parse_public_origins
from ott_middleware.http.origins import HandoffTarget, Origin, OriginPattern


class TestEncodeHost:
    @pytest.mark.parametrize(
        ("url", "encoded"),
        [
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("https://BÜCHER.example", "https://xn--bcher-kva.example"),
            ("https://bu\u0308cher.example", "https://xn--bcher-kva.example"),
            ("https://例え.jp", "https://xn--r8jz45g.jp"),
            ("https://пример.испытание", "https://xn--e1afmkfd.xn--80akhbyknj4f"),
            ("https://☕.example", "https://xn--53h.example"),
            ("https://a.bücher.example:8443", "https://a.xn--bcher-kva.example:8443"),
            ("https://*.bücher.example", "https://*.xn--bcher-kva.example"),
            ("http://bücher.example:*", "http://xn--bcher-kva.example:*"),
            ("https://bücher.example.", "https://xn--bcher-kva.example."),
            # The stop and the letters of other scripts that browsers read as ours.
            ("https://bücher。example", "https://xn--bcher-kva.example"),
            ("https://é．ü｡example", "https://xn--9ca.xn--tda.example"),
            ("https://bücher.example/é?ü#ö", "https://xn--bcher-kva.example/é?ü#ö"),
            ("https://bücher.example?ü=/", "https://xn--bcher-kva.example?ü=/"),
            ("app://bücher", "app://xn--bcher-kva"),
            # A letter that Unicode got after 2002, in upper case.
            ("https://ⱯA.example", "https://" + "ɐa".encode("idna").decode() + ".example"),
        ],
    )
    def test_international(self, url: str, encoded: str) -> None:
        assert encode_host(url) == encoded

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "bücher.example",
            "//bücher.example/",
            "/é",
            "https://b.example/é",
            "https://b.example?next=https://bücher.example",
            "https://b.example\\@bücher.example",
            # Python's codec and browsers make another name of each of these.
            "https://straße.example",
            "https://STRAẞE.example",
            "https://σας.example",
            "https://a\u200db.example",
            "https://a\u200cb.example",
            # What only looks like the end of the host.
            "https://b.example／é",
            "https://b.example：80é",
            "https://b.example？é",
            "https://b.example＃é",
            "https://b.example＠é",
            "https://b.example＼é",
            "https://℀.example",
            "https://é℅.example",
            # What only looks like a letter or a digit.
            "https://ban\u212a.example",
            "https://é.ｂank.example",
            "https://①.é.example",
            "https://ſhop.example",
            # User names, IPv6, wildcards at another place, no labels.
            "https://é@b.example",
            "https://b.example@é.example",
            "https://[::é]",
            "https://é.*.example",
            "https://é..example",
            "https://.é",
            "https://é:port",
            "https://\ud800.example",
            "https://\u202eé.example",
            "https://" + "é" * 64 + ".example",
            "https://" + "é." * 200 + "example",
        ],
    )
    def test_any_other_text_is_left(self, url: str) -> None:
        assert encode_host(url) == url

    def test_long_text_takes_no_time(self) -> None:
        began = time.process_time()
        for text in ("é" * 60_000, "é." * 30_000, "\u0301" * 60_000, "a:" * 30_000 + "é"):
            encode_host("https://" + text)
        assert time.process_time() - began < 0.2

    @pytest.mark.parametrize("name", ["\ufdfa" * 250, "\ufdfa" * 10 + ".example", "é" * 64])
    def test_label_that_is_long_once_it_is_mapped_is_not_encoded(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """U+FDFA becomes 18 letters, and the codec takes quadratic time for a label."""
        monkeypatch.setattr("ott_middleware.http.idn._CODEC", "no codec")
        assert encode_host(f"https://{name}") == f"https://{name}"

    @given(st.text())
    def test_any_host_is_one_or_is_left(self, host: str) -> None:
        url = f"https://{host}"
        encoded = encode_host(url)
        assert encoded == url or Origin.of_url(encoded) is not None


class TestOptions:
    def test_equal_to_the_encoded_form(self) -> None:
        for text, encoded in (
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("https://*.bücher.example", "https://*.xn--bcher-kva.example"),
            ("http://bücher.example:*", "http://xn--bcher-kva.example:*"),
        ):
            assert OriginPattern.parse("x", text) == OriginPattern.parse("x", encoded)
        target = HandoffTarget.parse("x", "https://bücher.example/app/")
        assert target == HandoffTarget.parse("x", "https://xn--bcher-kva.example/app/")
        own = parse_public_origins("https://bücher.example")
        assert own == parse_public_origins(["https://xn--bcher-kva.example"])

    def test_what_clients_send_is_not_encoded(self) -> None:
        assert Origin.parse("https://bücher.example") is None
        assert Origin.parse("https://ban\u212a.example") is None
