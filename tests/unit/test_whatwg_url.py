"""URLs as browsers read them, compared with the parser of Node.js."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from examples_of_hypothesis import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from node_url import Parse, node_parser

from ott_middleware.http.whatwg_url import MAX_URL, WebURL, parse_url


@pytest.fixture(scope="module")
def reference() -> Iterator[Parse]:
    with node_parser() as parser:
        yield parser


# What is accepted, and the URL that a browser opens.
ACCEPTED = {
    "https://b.example": "https://b.example/",
    "https://b.example/welcome?a=1&b=2#top": "https://b.example/welcome?a=1&b=2#top",
    "HTTPS://B.Example/Welcome": "https://b.example/Welcome",
    " \t\x00https://b.example/a \x1f": "https://b.example/a",
    "ht\ntps:\t//b.exa\rmple/\ta": "https://b.example/a",
    # Slashes of any number and kind.
    "https:b.example/a": "https://b.example/a",
    "https:/b.example/a": "https://b.example/a",
    "https:////b.example/a": "https://b.example/a",
    "https:\\\\b.example\\a\\..\\b": "https://b.example/b",
    "https:/\\/\\b.example": "https://b.example/",
    # Ports.
    "https://b.example:443/": "https://b.example/",
    "https://b.example:/": "https://b.example/",
    "https://b.example:00443/": "https://b.example/",
    "http://b.example:443/": "http://b.example:443/",
    "http://b.example:80/": "http://b.example/",
    "https://b.example:8443/": "https://b.example:8443/",
    "https://b.example:0/": "https://b.example:0/",
    "https://b.example:65535/": "https://b.example:65535/",
    # Paths.
    "https://b.example/a/./b/../c": "https://b.example/a/c",
    "https://b.example/a/%2e/b/%2E%2e/c": "https://b.example/a/c",
    "https://b.example/a/.%2e": "https://b.example/",
    "https://b.example/../../a/..": "https://b.example/",
    "https://b.example//evil.example/": "https://b.example//evil.example/",
    "https://b.example/a//../b": "https://b.example/a/b",
    "https://b.example/a/.": "https://b.example/a/",
    "https://b.example/...": "https://b.example/...",
    "https://b.example?a/../b": "https://b.example/?a/../b",
    "https://b.example#a?b": "https://b.example/#a?b",
    "https://b.example\\?": "https://b.example/?",
    "https://b.example/?#": "https://b.example/?#",
    # What is percent-encoded, and what is kept.
    "https://b.example/a b\"<>`{}|'%\x7f\u00e9": "https://b.example/a%20b%22%3C%3E%60%7B%7D%7C'%%7F%C3%A9",
    "https://b.example/?a b\"<>'`{}|\u20ac%zz": "https://b.example/?a%20b%22%3C%3E%27`{}|%E2%82%AC%zz",
    "https://b.example/#a b\"<>'`{}|#\U0001f600": "https://b.example/#a%20b%22%3C%3E'%60{}|#%F0%9F%98%80",
    "https://b.example/%41%2f\\%5c": "https://b.example/%41%2f/%5c",
    "https://b.example/a\x00b\x0bc": "https://b.example/a%00b%0Bc",
    # Hosts.
    "https://b%2eexample/": "https://b.example/",
    "https://%42.EXAMPLE/": "https://b.example/",
    "https://b.example./": "https://b.example./",
    "https://b_b-.example/": "https://b_b-.example/",
    "https://b\u3002example/": "https://b.example/",
    "https://b\u00fccher.example/": "https://xn--bcher-kva.example/",
    "https://B\u00dcCHER.example/": "https://xn--bcher-kva.example/",
    "https://b%C3%BCcher.example/": "https://xn--bcher-kva.example/",
    "https://xn--bcher-kva.example/": "https://xn--bcher-kva.example/",
    "https://XN--BCHER-KVA.example/": "https://xn--bcher-kva.example/",
    "https://xn--strae-oqa.example/": "https://xn--strae-oqa.example/",
    "https://xn--n3h.example/": "https://xn--n3h.example/",
    # Numbers that are IPv4 addresses.
    "https://127.0.0.1/": "https://127.0.0.1/",
    "https://127.1/": "https://127.0.0.1/",
    "https://2130706433/": "https://127.0.0.1/",
    "https://0x7f.0.0.01/": "https://127.0.0.1/",
    "https://0X7F000001/": "https://127.0.0.1/",
    "https://0177.0.0.0x1./": "https://127.0.0.1/",
    "https://0x/": "https://0.0.0.0/",
    "https://1.0x0ffff/": "https://1.0.255.255/",
    "https://255.255.255.255/": "https://255.255.255.255/",
    # IPv6.
    "https://[::1]:8443/": "https://[::1]:8443/",
    "https://[0:0:0:0:0:0:0:1]/": "https://[::1]/",
    "https://[::]/": "https://[::]/",
    "https://[2001:DB8:0:0:1:0:0:1]/": "https://[2001:db8::1:0:0:1]/",
    "https://[1:0:0:2:0:0:0:3]/": "https://[1:0:0:2::3]/",
    "https://[1:0:2:3:4:5:6:7]/": "https://[1:0:2:3:4:5:6:7]/",
    "https://[1:2:3:4:5:6:7::]/": "https://[1:2:3:4:5:6:7:0]/",
    "https://[::ffff:1.2.3.4]/": "https://[::ffff:102:304]/",
}  # fmt: skip

# Also refused by browsers.
NO_URL = [
    *("", " ", "/", "//b.example/", "/\\b.example", "b.example", "?a", "#a", "https", "https:"),
    *("https://", "https:///", "https:\\\\", "https://?a", "https://#a", "https://:443/"),
    *("https://b.example:65536/", "https://b.example:4a/", "https://b.example:-1/"),
    *("https://b.example:443:443/", "https://b.example:\u0661/", "https://b.example:4%34/"),
    *("https://b example/", "https://b%20example/", "https://b%00.example/", "https://b<.example/"),
    *("https://b%25.example/", "https://b%.example/", "https://b%zz.example/", "https://%/"),
    *("https://b%2Fevil.example/", "https://b%40evil.example/", "https://b%3Aevil.example/"),
    *("https://b%ff.example/", "https://b%c0%af.example/", "https://b\ufffd.example/"),
    *("https://b[.example/", "https://[/", "https://[]/", "https://[::1/", "https://[::1]a/"),
    *("https://[::1%25eth0]/", "https://[:1]/", "https://[1::2::3]/", "https://[12345::]/"),
    *("https://[::1.2.3]/", "https://[::01.2.3.4]/", "https://[1:2:3:4::5:6:7:8]/", "https://[g::]"),
    *("https://[::1.2.3.4.5]/", "https://[::\u0661]/", "https://[b.example]/"),
    *("https://256.0.0.1/", "https://1.2.3.4.5/", "https://08.0.0.1/", "https://4294967296/"),
    *("https://1.2.3.09/", "https://b.example.1/", "https://0xg.0/", "https://1..0x1/"),
    *("https://b.0x/", "https://1.-1.1/", "https://99999999999999999999/"),
    *("https://xn--/", "https://xn--a.example/", "https://xn--0.example/"),
    *("https://xn--a\u00e9.example/", "https://xn--bcher-kva\ufeff0.example/"),
]  # fmt: skip

# Opened by browsers, and refused here: another scheme, or more than is needed.
REFUSED = [
    *("javascript:alert(1)", "JaVaScRiPt://b.example/%0aalert(1)", "java\nscript:alert(1)"),
    *("data:text/html,x", "blob:https://b.example/x", "filesystem:https://b.example/x"),
    *("view-source:https://b.example/", "ftp://b.example/", "ws://b.example/", "wss://b.example/"),
    *("file:///etc/passwd", "file://b.example/", "mailto:a@b.example", "about:blank", "app://b/"),
    *("https+x://b.example/", "intent://b.example/#Intent;scheme=https;end"),
    *("https://ada@b.example/", "https://ada:secret@b.example/", "https://@b.example/"),
    *("https://:@b.example/", "https://b.example@evil.example/", "https://a@b@b.example/"),
    *("https://b.example:443@evil.example/", "https://b.example%2f@evil.example/"),
    *("https://b..example/", "https://.b.example/", "https://b!.example/", "https://b~.example/"),
    *("https://b'.example/", "https://b;.example/", "https://b(.example/", "https://b,c.example/"),
    *("https://stra\u00dfe.example/", "https://\uff42.example/", "https://\u212a.example/"),
    *("https://b\u00ad.example/", "https://\u2488.example/", "https://b\u200d.example/"),
    *(f"https://b.example/{'a' * MAX_URL}", f"https://{'b.' * 140}example/"),
    *("https://xn--abc-.example/", f"https://{'0' * 300}1/"),
]  # fmt: skip


class TestParse:
    @pytest.mark.parametrize(("text", "url"), ACCEPTED.items())
    def test_accepted(self, reference: Parse, text: str, url: str) -> None:
        parsed = parse_url(text)
        assert str(parsed) == url
        assert as_browsers(reference, text) == url

    @pytest.mark.parametrize("text", NO_URL)
    def test_no_url(self, reference: Parse, text: str) -> None:
        assert parse_url(text) is None
        assert reference(text) is None

    @pytest.mark.parametrize("text", REFUSED)
    def test_refused(self, reference: Parse, text: str) -> None:
        assert parse_url(text) is None

    @pytest.mark.parametrize("text", ["https://b.example/\ud800", "https://b\udfff.example/"])
    def test_lone_surrogate(self, text: str) -> None:
        assert parse_url(text) is None

    def test_parts(self) -> None:
        parsed = parse_url("https://b.example:8443/a?b#c")
        assert parsed is not None
        assert str(parsed.origin) == "https://b.example:8443"
        assert (parsed.path, parsed.query, parsed.fragment) == ("/a", "b", "c")

    def test_repr_shows_the_origin_alone(self) -> None:
        shown = repr(parse_url("https://b.example/ada?token=milk#cheese"))
        assert "b.example" in shown
        assert not any(word in shown for word in ("ada", "milk", "cheese"))

    @pytest.mark.parametrize(
        "text",
        [
            *("/", "\\", ".", "%2e", "../", "./", "%2E%2e/", "\t", " ", "a", "%", "?", "#", ":"),
            *("@", "[", "\u00fc", "\ufdfa", "1.", "0x", "xn--", "::", "%ff", "\u3002", "a\u0301."),
        ],
    )
    def test_long_text_takes_no_time(self, text: str) -> None:
        begun = time.process_time()
        for length in (MAX_URL - 30, 65536):
            for before in ("https://b.example/", "https://", "https:", "", "https://b.example:"):
                parse_url(before + text * (length // len(text)))
        assert time.process_time() - begun < 0.5


PIECES = [
    *("https:", "http:", "HTTPS:", "javascript:", "https", ":", "//", "/", "\\", "\\\\", "///"),
    *("b.example", "B.Example", "evil.example", "b", ".", "..", "example", "b%2eexample", "\u3002"),
    *("@", "ada@", "ada:x@", ":443", ":80", ":0443", ":8443", ":65536", ":", "%40", "%3a", "%2f"),
    *("127.0.0.1", "127.1", "0x7f", "017", "1", "256", "08", "0x", "4294967295", "4294967296"),
    *("[::1]", "[", "]", "[::ffff:1.2.3.4]", "[1:0:0:2::]", "::", "[0:0:0:1:0:0:0:0]"),
    *("/a", "/../", "/./", "/%2e%2e/", "/.%2E", "/%2e", "/a/b/..", "?a=1", "?", "#", "#top", "&"),
    *("\t", "\n", "\r", " ", "\0", "\x1f", "\x7f", "%", "%00", "%0a", "%25", "%zz", "%C3%BC"),
    *("\u00fc", "b\u00fccher", "\u00e9", "\u20ac", "\U0001f600", "xn--bcher-kva", "xn--", "_", "-"),
    *('"', "<", ">", "`", "{", "}", "|", "'", "^", ";", ",", "!", "$", "*", "(", "~", "+"),
]  # fmt: skip
HOSTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    HOSTS.map("https://{}".format),
    HOSTS.map("https://b.example/{}".format),
    st.text(max_size=20).map("https://b.example{}".format),
)


def as_browsers(reference: Parse, text: str) -> str | None:
    """The URL that Node.js makes of a text. Browsers differ in a path's `^` and `|`."""
    parsed = reference(text)
    if parsed is None:
        return None
    return re.sub(
        r"\A[^?#]*", lambda path: path[0].replace("^", "%5E").replace("|", "%7C"), parsed["href"]
    )


class TestReference:
    @settings(max_examples=examples(600), deadline=None)
    @given(text=TEXTS)
    @example(text="https://b.example/a^b?^#^")
    @example(text="https://b.example/#^?^")
    @example(text="https://b.example\u10a0")  # a Georgian capital
    @example(text="https://b.example\u13a0")  # Cherokee
    @example(text="https://b.example\uab70")
    @example(text="https://B\u00dcCHER.example")
    def test_accepted_is_what_browsers_open(self, reference: Parse, text: str) -> None:
        parsed = parse_url(text)
        if parsed is None:
            return
        theirs = as_browsers(reference, text)
        assert str(parsed) == theirs
        # A second time nothing changes: browsers, too, parse the text of the `Location`.
        assert parse_url(str(parsed)) == parsed
        assert as_browsers(reference, str(parsed)) == theirs

    @settings(max_examples=examples(300), deadline=None)
    @given(
        path=st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
        port=st.sampled_from(["", ":443", ":8443"]),
    )
    def test_any_path_is_accepted(self, reference: Parse, path: str, port: str) -> None:
        text = f"https://b.example{port}/{path}"
        parsed = parse_url(text)
        assert isinstance(parsed, WebURL)
        assert str(parsed) == as_browsers(reference, text)

    @settings(max_examples=examples(300), deadline=None)
    @given(st.integers(0, 2**128 - 1).map(lambda n: n & ~(0xFFFF << n % 128)), st.data())
    def test_ipv6(self, reference: Parse, value: int, data: st.DataObject) -> None:
        pieces = [f"{value >> shift & 0xFFFF:x}" for shift in range(0, 128, 16)]
        zeros = data.draw(st.sets(st.integers(0, 7)))
        text = ":".join("0" if index in zeros else each for index, each in enumerate(pieces))
        assert str(parse_url(f"https://[{text}]/")) == as_browsers(reference, f"https://[{text}]/")

    def test_host_with_any_letter(self, reference: Parse) -> None:
        # One letter each of what Python's tables and those of browsers have of different age.
        for letter in (*range(0x4B0, 0x4D0), *range(0x10A0, 0x1100), *range(0x1C80, 0x1CC0)):
            text = f"https://b.ex{chr(letter)}"
            parsed = parse_url(text)
            assert parsed is None or str(parsed) == as_browsers(reference, text), ascii(text)
