from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ott_middleware.errors import ConfigurationError, InvalidOrigin, MissingOrNullOrigin
from ott_middleware.http.messages import Request
from ott_middleware.http.origins import Origin, OriginPattern, check_origin, is_among, own_origin
from ott_middleware.http.urls import (
    SEEN,
    add_parameter,
    browser_path,
    cut_target,
    cut_url,
    divide,
    path_of,
    relative_reference,
    spellings_of,
    value_of,
)

LATIN_1 = st.text(st.characters(max_codepoint=255))
PIECES = [
    "ott",
    "%6Ftt",
    "o%74t",
    "%6f%54t",
    "o",
    "t",
    "=",
    "&",
    ";",
    "%3B",
    "%",
    "%6",
    "%zz",
    "+",
    "a",
    "\xe9",
]
QUERIES = st.lists(st.sampled_from([*PIECES, "ott=", "&ott=T", ";ott=T"]), max_size=12).map("".join)


# Cutting, and an independent, slow way to say what it should do.


def percent_decoded(text: str) -> str:
    decoded, rest = "", text
    while rest:
        if (
            rest[0] == "%"
            and len(rest) > 2
            and all(c in "0123456789abcdefABCDEF" for c in rest[1:3])
        ):
            decoded += chr(int(rest[1:3], 16))
            rest = rest[3:]
        else:
            decoded += rest[0]
            rest = rest[1:]
    return decoded


def slowly_split(text: str, separator: str) -> list[str]:
    parts = [""]
    for character in text:
        if character == separator:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def slowly_is_named(part: str, name: str) -> bool:
    end = part.index("=") if "=" in part else len(part)
    return percent_decoded(part[:end]) == name


def cut(query: str, name: str) -> tuple[str, tuple[str, ...]]:
    """The rest of a query, and the percent-decoded values of the links."""
    divided = divide(query, name, also="")
    return divided.rest, tuple(map(value_of, divided.links))


def slowly_cut(query: str, name: str) -> tuple[str, list[str]]:
    kept: list[str] = []
    values: list[str] = []
    for part in slowly_split(query, "&"):
        if slowly_is_named(part, name):
            values.append(percent_decoded(part[part.index("=") + 1 :] if "=" in part else ""))
            continue
        pieces = slowly_split(part, ";")
        rest = [piece for piece in pieces if not slowly_is_named(piece, name)]
        if rest:
            kept.append(";".join(rest))
    return "&".join(kept), values


@pytest.mark.parametrize(
    ("query", "rest", "values"),
    [
        ("a=1&a=2&b=%E9&ott=T&c=+&d", "a=1&a=2&b=%E9&c=+&d", ["T"]),
        ("ott=T", "", ["T"]),
        ("%6Ftt=T", "", ["T"]),
        ("%6f%74%74=T&a", "a", ["T"]),
        ("bott=T", "bott=T", []),
        ("ottx=T", "ottx=T", []),
        ("OTT=T", "OTT=T", []),
        ("a=ott=T", "a=ott=T", []),
        ("a=%26ott=T", "a=%26ott=T", []),
        ("o+tt=T&%256Ftt=T", "o+tt=T&%256Ftt=T", []),
        ("ott=1&x&ott=2", "x", ["1", "2"]),
        ("ott=T&&a=1", "&a=1", ["T"]),
        ("ott", "", [""]),
        ("ott=", "", [""]),
        ("ott=a%2Db%00+=%", "", ["a-b\x00+=%"]),
        ("ott=\xe9%E9", "", ["\xe9\xe9"]),
        ("a=\xe9&ott=T", "a=\xe9", ["T"]),
        ("", "", []),
        ("&", "&", []),
        # Where a parser would split at a semicolon: no link, and cut all the same.
        ("a=1;ott=T", "a=1", []),
        ("a=1;%6Ftt=T;b=2", "a=1;b=2", []),
        (";ott=T", "", []),
        ("a;ott;b&c", "a;b&c", []),
        ("ott;ott", "", []),
        ("x&ott;ott&y", "x&y", []),
        ("a=1;ott=T&ott=U", "a=1", ["U"]),
        ("ott=A;b=1", "", ["A;b=1"]),
        ("ott=A;ott=B&c", "c", ["A;ott=B"]),
        ("a=1%3Bott=T", "a=1%3Bott=T", []),
        ("a=1;ottx=T;xott=T;OTT=T", "a=1;ottx=T;xott=T;OTT=T", []),
        ("a=;;ott=T;;", "a=;;;", []),
    ],
)
def test_link_parameters_are_cut_byte_for_byte(query: str, rest: str, values: list[str]) -> None:
    assert cut(query, "ott") == (rest, tuple(values))


@given(QUERIES | LATIN_1, st.sampled_from(["ott", "o", "t", "a", "aott"]))
def test_cutting_is_what_the_reference_says(query: str, name: str) -> None:
    rest, values = slowly_cut(query, name)
    assert cut(query, name) == (rest, tuple(values))
    # Nothing of it is left, under any spelling.
    assert cut(rest, name) == (rest, ())


@given(
    QUERIES | LATIN_1,
    st.sampled_from(["ott", "a", "~", "-_.", "A9", "Z", "p.q-r_s~t"]),
    st.data(),
)
def test_quick_look_finds_what_would_be_cut_and_nothing_else(
    query: str, name: str, data: st.DataObject
) -> None:
    spelled = "".join(
        data.draw(st.sampled_from([c, f"%{ord(c):02x}", f"%{ord(c):02X}"])) for c in name
    )
    names_it, names_bytes = spellings_of(name), spellings_of(name).encode("ascii")
    for each in (
        *(query, f"{query}&{spelled}=T", f"{spelled}&{query}", f"{query}&{spelled}x"),
        *(f"{query};{spelled}=T", f"{spelled};{query}", f"{query};{spelled}x"),
    ):
        found = re.search(names_it, "&" + each.replace(";", "&"))
        assert bool(found) == (cut(each, name)[0] != each)
        raw = each.encode("latin-1").replace(b";", b"&")
        assert bool(re.search(names_bytes, b"&" + raw)) == bool(found)
        # Both look at what holds the name or an escape, and at nothing else.
        assert not found or name in each or "%" in each
    assert cut(f"x&{spelled}=T", name) == ("x", ("T",))


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("/p?ott=T", "/p"),
        ("/p?a=%E9&ott=T&b", "/p?a=%E9&b"),
        ("/p?a=1&%6Ftt=T#ott=x?ott=y", "/p?a=1#ott=x?ott=y"),
        ("/p?ott=T#f", "/p#f"),
        ("https://h:1/p?ott=T&x?y", "https://h:1/p?x?y"),
        ("/p?", "/p?"),
        ("/p?#", "/p?#"),
        ("/ott=T", "/ott=T"),
        ("/p#?ott=T", "/p#?ott=T"),
        ("", ""),
    ],
)
def test_urls_without_the_parameter(url: str, clean: str) -> None:
    assert cut_url(url, "ott") == clean


@pytest.mark.parametrize(
    ("target", "clean"),
    [
        ("/x?a=1#b&ott=T", "/x?a=1#b"),
        ("/x?ott=T#f", "/x#f"),
        ("/x?a#ott=T#ott=T", "/x?a##"),
        ("/x#a?b&ott=T", "/x#a?b"),
        ("/x?#", "/x?#"),
        ("/x?#ott=T", "/x#"),
        ("/x?", "/x?"),
        ("/ott=T", "/ott=T"),
    ],
)
def test_targets_without_the_parameter_on_either_side_of_a_hash(target: str, clean: str) -> None:
    assert cut_target(target, "ott") == clean


@given(QUERIES)
def test_url_without_the_parameter_is_left_alone(query: str) -> None:
    rest, _ = slowly_cut(query, "ott")
    assert cut_url(f"/p?{query}", "ott") == (
        f"/p?{query}" if rest == query else f"/p?{rest}"[: None if rest else 2]
    )


@pytest.mark.parametrize(
    ("url", "linked"),
    [
        ("https://b.example", "https://b.example?ott=T"),
        ("https://b.example/", "https://b.example/?ott=T"),
        ("https://b.example/?a=1", "https://b.example/?a=1&ott=T"),
        ("https://b.example/?a=1#f?g", "https://b.example/?a=1&ott=T#f?g"),
        ("https://b.example/?ott=old&a=1&%6ftt=x", "https://b.example/?a=1&ott=T"),
        ("https://b.example/?ott=old", "https://b.example/?ott=T"),
        ("https://b.example/#?ott=x", "https://b.example/?ott=T#?ott=x"),
    ],
)
def test_link_has_one_token(url: str, linked: str) -> None:
    assert add_parameter(url, "ott", "T") == linked
    assert cut(urlsplit(linked).query, "ott")[1] == ("T",)


@given(LATIN_1)
def test_value_is_decoded_as_far_as_it_can_be_a_token(text: str) -> None:
    assert cut(f"ott={text.replace('&', '')}", "ott")[1] == (
        percent_decoded(text.replace("&", "")),
    )


def test_value_too_long_for_a_token_is_not_decoded() -> None:
    longest, longer = "%41" * 512, "%41" * 513
    assert cut(f"ott={longest}&ott={longer}", "ott")[1] == ("A" * 512, longer)


class TestDivide:
    """The link parameter, and the one that a page adds to it."""

    @pytest.mark.parametrize(
        ("query", "divided"),
        [
            ("a&ott=T&ott_seen=N&b", ("a&b", ["T"], ["N"], [])),
            ("ott_seen=N", ("", [], ["N"], [])),
            ("%6ftt%5Fs%65en=N&ott_seen", ("", [], ["N", ""], [])),
            ("a;ott_seen=N;b;ott=T", ("a;b", [], [], ["T", "N"])),
            ("ott_seen;b", ("b", [], [], [])),
            (
                "ott_seenx=N&xott_seen=N&ott_see=N",
                ("ott_seenx=N&xott_seen=N&ott_see=N", [], [], []),
            ),
            ("ott_seen_seen=N&OTT_SEEN=N", ("ott_seen_seen=N&OTT_SEEN=N", [], [], [])),
        ],
    )
    def test_both_parameters_are_cut(self, query: str, divided: Any) -> None:
        assert tuple(divide(query, "ott")) == divided
        found = re.search(spellings_of("ott", SEEN), "&" + query.replace(";", "&"))
        assert bool(found) == (divided[0] != query)

    @given(QUERIES | LATIN_1)
    def test_rest_is_what_the_reference_says(self, query: str) -> None:
        query = query.replace("t", "ott_seen")
        rest, _ = slowly_cut(slowly_cut(query, "ott")[0], "ott_seen")
        assert divide(query, "ott").rest == rest


# Paths.


def resolve(base: str, reference: str) -> str:
    """Resolve a reference as browsers do (WHATWG URL), as far as the tests need it."""
    # Tabs and newlines are dropped, blanks and controls stripped, \\ read as /.
    reference = re.sub(r"[\t\r\n]", "", reference).strip("".join(map(chr, range(0x21))))
    path, mark, query = reference.partition("?")
    path = path.replace("\\", "/")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", path):
        return reference
    if path.startswith("//"):
        # However many slashes: what follows them is a host.
        return "https://" + path.lstrip("/") + mark + query
    scheme, _, rest = base.partition("?")[0].partition("://")
    host, _, directory = rest.partition("/")
    if not path:
        path = f"/{directory}"
    elif not path.startswith("/"):
        path = "/" + "".join(directory.rpartition("/")[:2]) + path
    segments: list[str] = []
    dots = ""
    for each in path[1:].split("/"):
        dots = each.lower().replace("%2e", ".")
        if dots == "..":
            segments[-1:] = []
        elif dots != ".":
            segments.append(each)
    if dots in (".", ".."):
        segments.append("")
    return f"{scheme}://{host}/" + "/".join(segments) + mark + query


@pytest.mark.parametrize(
    ("reference", "resolved"),
    [
        ("/x", "https://here/x"),
        ("//evil.example/x", "https://evil.example/x"),
        ("/\\evil.example/x", "https://evil.example/x"),
        ("/\t/evil.example", "https://evil.example"),
        ("\n\\/evil.example", "https://evil.example"),
        ("https:evil.example", "https:evil.example"),
        ("./x", "https://here/a/x"),
        ("?x", "https://here/a/b?x"),
        ("./%2E./x?y", "https://here/x?y"),
        ("./.", "https://here/a/"),
        ("", "https://here/a/b"),
    ],
)
def test_browser_of_these_tests_resolves(reference: str, resolved: str) -> None:
    assert resolve("https://here/a/b?c", reference) == resolved


def assert_rooted(path: str) -> None:
    assert re.fullmatch(r"/[!-\"$-\[\]-~]*", path)


# What a browser, a server or a proxy may take for something else.
LURES = [
    *("/", "//", "\\", "%2f", "%5C", "%2F%2F", ".", "..", "%2e", ":", "@", ";", "?", "#", "%"),
    *("\t", "\r", "\n", "\0", " ", "%09", "%0d%0a", "\xe9"),
    *("evil.example", "https:", "http://"),
]
SLASHES = st.lists(st.sampled_from(LURES), max_size=8).map("".join)
PATHS = SLASHES | LATIN_1


@given(spelled=st.none() | PATHS, mount=st.just("") | PATHS, path=PATHS)
@example(spelled="http://evil.example//evil.example", mount="", path="//evil.example")
@example(spelled="/%0d%0aSet-Cookie:a=b", mount="", path="/\r\nSet-Cookie:a=b")
@example(spelled="", mount="", path="")
def test_browser_path_is_encoded(spelled: str | None, mount: str, path: str) -> None:
    assert_rooted(browser_path(spelled, mount.encode("latin-1"), path.encode("latin-1")))


@given(PATHS)
def test_path_that_is_believed_as_it_was_spelled_is_the_same(raw: str) -> None:
    # What a server makes of it: it always says the same as the spelled one.
    decoded = unquote_to_bytes(path_of(raw).encode("latin-1"))
    for mount in (b"", b"/mount", b"//evil.example"):
        path = browser_path(raw, mount, decoded)
        assert_rooted(path)
        assert unquote_to_bytes(path).lstrip(b"/") == (mount + decoded).lstrip(b"/")


class TestRelativeReference:
    @pytest.mark.parametrize(
        ("path", "query", "alone", "otherwise"),
        [
            ("/a/b", "", "./b", "./b"),
            ("/a/b", "x=1", "?x=1", "./b?x=1"),
            ("/a/", "x", "?x", "./?x"),
            ("/", "", "./", "./"),
            ("/a//", "", "./", "./"),
            ("/a/.", "", "./", "./"),
            ("/a/%2e%2E", "x", "?x", "./?x"),
            ("/a/.%2E", "", "./", "./"),
            ("/a/...", "", "./...", "./..."),
            ("//evil.example", "", "./evil.example", "./evil.example"),
            ("/https:evil.example", "", "./https:evil.example", "./https:evil.example"),
            ("/a%2Fb", "", "./a%2Fb", "./a%2Fb"),
            ("/100%", "", "./100%25", "./100%25"),
            ("/%zz%4", "", "./%25zz%254", "./%25zz%254"),
            ("/a;b=1,2:@!$&'()*+~", "", "./a;b=1,2:@!$&'()*+~", "./a;b=1,2:@!$&'()*+~"),
        ],
    )
    def test_table(self, path: str, query: str, alone: str, otherwise: str) -> None:
        assert relative_reference(path, query, query_alone=True) == alone
        assert relative_reference(path, query, query_alone=False) == otherwise

    @given(
        path=PATHS,
        query=QUERIES | LATIN_1,
        prefix=st.sampled_from(["", "/m", "/a/b"]),
        new=st.booleans(),
    )
    @example(path="//evil.example/x", query="", prefix="", new=True)
    @example(path="/\\evil.example", query="", prefix="", new=True)
    @example(path="/\r\nSet-Cookie:a=b", query="", prefix="", new=False)
    def test_same_url_below_any_prefix(self, path: str, query: str, prefix: str, new: bool) -> None:
        target = browser_path(None, b"", path.encode("latin-1"))
        headers = {"sec-fetch-mode": "navigate"} if new else {}
        asked = Request("GET", "https", "/", target=target, query=query, headers=headers)
        location = asked.location
        assert re.fullmatch(r"(\./|\?)[!-\"$-~]*", location)
        assert query or not location.endswith("?")
        # The browser's own URL is without dot segments.
        here = resolve("https://here/", f"{prefix}{target}" if prefix else f"/.{target}")
        path, _, rest = resolve(f"{here}?ott=T", location).partition("?")
        assert unquote_to_bytes(path) == unquote_to_bytes(here)
        assert unquote_to_bytes(rest) == unquote_to_bytes(query.encode("latin-1"))


@pytest.mark.parametrize(
    ("spelled", "mount", "path", "expected"),
    [
        (None, b"", b"/a b", "/a%20b"),
        (None, b"", b"/caf\xc3\xa9", "/caf%C3%A9"),
        (None, b"/m", b"/a", "/m/a"),
        (None, b"", b"", "/"),
        (None, b"", b"*", "/*"),
        (None, b"", b"/a%2Fb", "/a%252Fb"),
        (None, b"", b"/a:@!$&'()*+,;=~b", "/a:@!$&'()*+,;=~b"),
        # The spelling is kept where it says the same.
        ("/a%2Fb?x=1", b"", b"/a/b", "/a%2Fb"),
        ("/m/a%2fb", b"/m", b"/a/b", "/m/a%2fb"),
        # Some servers' raw path is without the mount point.
        ("/a%2Fb", b"/m", b"/a/b", "/m/a%2Fb"),
        ("http://evil.example/a%2Fb?x", b"", b"/a/b", "/a%2Fb"),
        # It says something else: a layer in between changed the path.
        ("/other", b"", b"/a", "/a"),
        ("/other", b"/m", b"/a", "/m/a"),
        ("/\xff", b"", b"/\xff", "/%FF"),
        ("//a", b"", b"//a", "//a"),
        ("/%2Fa", b"", b"//a", "/%2Fa"),
        ("/a\\b", b"", b"/a\\b", "/a%5Cb"),
    ],
)
def test_path_that_the_browser_asked_for(
    spelled: str | None, mount: bytes, path: bytes, expected: str
) -> None:
    assert browser_path(spelled, mount, path) == expected


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a?b#c", "/a"),
        ("/a#c?b", "/a"),
        ("http://h/a?b", "/a"),
        ("HTTPS://u:p@h:1/a", "/a"),
        ("http://h", ""),
        ("http://h?x", ""),
        ("http://h\\evil/a", "\\evil/a"),
        ("//h/a", "//h/a"),
        ("/x://h/a", "/x://h/a"),
        ("*", "*"),
        ("", ""),
    ],
)
def test_path_of_a_target(target: str, path: str) -> None:
    assert path_of(target) == path


# Origins.


def origin(text: str) -> Origin:
    parsed = Origin.parse(text)
    assert parsed is not None, text
    return parsed


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.COM", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("https://app.example.com:0443", "https://app.example.com"),
        ("http://app.example.com:80", "http://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("https://app.example.com:65535", "https://app.example.com:65535"),
        ("wss://a.b:443", "https://a.b"),
        ("WS://a.b:80", "http://a.b"),
        ("http://localhost:8001", "http://localhost:8001"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://[2001:DB8::1]", "http://[2001:db8::1]"),
        ("https://under_score.example", "https://under_score.example"),
        ("https://xn--bcher-kva.example.", "https://xn--bcher-kva.example."),
        ("app://name", "app://name"),
        ("app://", "app://"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_origins(text: str, normal: str) -> None:
    assert str(origin(text)) == normal
    assert origin(normal) == origin(text)
    assert Origin.of_url(f"{text}/p?q=//x#f") == origin(text)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "null",
        "NULL",
        "*",
        "app.example.com",
        "//app.example.com",
        "https:app.example.com",
        "https:/app.example.com",
        "https://",
        "http://:80",
        "https:///app.example.com",
        "https://app.example.com/",
        "https://app.example.com/x",
        "https://app.example.com?x",
        "https://app.example.com#x",
        "https://user@app.example.com",
        "https://user:password@app.example.com",
        "https://app.example.com\\@evil.example",
        "https://app.example.com:",
        "https://app.example.com:65536",
        "https://app.example.com:-1",
        "https://app.example.com:8x",
        "https://app.example.com:\u0661",
        "https://app..example.com",
        "https://.example.com",
        "https://app.example.com..",
        "https://app example.com",
        " https://app.example.com",
        "https://app.example.com\n",
        "https://app.example.com\r\nX: y",
        "https://app.example.com\x00",
        "https://app.example.com, https://evil.example",
        "https://app.example.com https://evil.example",
        "https://b\xfccher.example",
        "https://example.com%2eevil.example",
        "https://[::1",
        "https://::1",
        "https://[::1].evil.example",
        "https://*.example.com",
        "1https://a.b",
    ],
)
def test_text_that_is_no_origin(text: str | None) -> None:
    assert Origin.parse(text) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example", "https://a.example"),
        ("https://a.example?x", "https://a.example"),
        ("https://a.example\\.evil.example/", "https://a.example"),
        ("https://a.example@evil.example/", None),
        ("https://u:p@a.example/", None),
        ("/path", None),
        ("//a.example/", None),
        ("javascript:alert(1)//", None),
        ("javascript://a.example/%0aalert(1)", "javascript://a.example"),
        ("", None),
        (None, None),
    ],
)
def test_origin_of_a_url(url: str | None, expected: str | None) -> None:
    found = Origin.of_url(url)
    assert (found and str(found)) == expected


ORIGIN_PIECES = ["https://", "app.example", "friend.example", "a.family.example", "family.example"]
ORIGIN_PIECES += ["http://", ".", ":", "443", "8443", "@", "[::1]", "/", "\\", "evil", "K", "\xe9"]
NEARLY_ORIGINS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["https://", "HTTPS://", "http://", "app://", ""]),
        st.lists(st.sampled_from(ORIGIN_PIECES), max_size=4).map("".join),
    ),
)


@given(NEARLY_ORIGINS | LATIN_1)
@example("https://\u212a.example")  # a sign whose lower case is ASCII
def test_origin_is_stable_and_fit_for_a_header(text: str) -> None:
    parsed = Origin.parse(text)
    if parsed is None:
        return
    assert re.fullmatch(r"[a-z0-9+.\-]+://[a-z0-9._\-:\[\]]*", str(parsed))
    assert Origin.parse(str(parsed)) == parsed
    # The host is what others find in it, too.
    there = urlsplit(text)
    assert (there.username, there.path, there.query, there.fragment) == (None, "", "", "")
    assert (there.hostname or "") == parsed.host.strip("[]")


@pytest.mark.parametrize(
    ("own", "named", "covered"),
    [
        ("https://h", "https://h", True),
        ("http://h", "http://h", True),
        ("http://h", "https://h", True),
        ("http://h:8000", "https://h:8000", True),
        ("http://[::1]:8000", "https://[::1]:8000", True),
        ("https://h", "http://h", False),
        ("https://h", "https://h:8443", False),
        ("http://h:8000", "http://h", False),
        ("http://h:8000", "https://h", False),
        ("http://h", "https://i", False),
        ("http://h", "wss://h", True),
        ("https://h", "ws://h", False),
        ("app://h", "https://h", False),
    ],
)
def test_origin_covers(own: str, named: str, covered: bool) -> None:
    assert origin(own).covers(origin(named)) is covered


@pytest.mark.parametrize(
    ("scheme", "host", "public", "own"),
    [
        ("http", "app.example", None, "http://app.example"),
        ("https", "App.Example:443", None, "https://app.example"),
        ("http", "[::1]:8000", None, "http://[::1]:8000"),
        ("http", "app.example", "https://other.example", "https://other.example"),
        ("http", None, "https://other.example", "https://other.example"),
        ("http", None, None, None),
        ("http", "", None, None),
        ("http", "app.example/evil", None, None),
        ("http", "user@app.example", None, None),
        ("http", "a.example, b.example", None, None),
    ],
)
def test_own_origin(scheme: str, host: str | None, public: str | None, own: str | None) -> None:
    headers = {} if host is None else {"host": host}
    found = own_origin(
        Request("GET", scheme, "/", headers=headers), origin(public) if public else None
    )
    assert (found and str(found)) == own


def pattern(text: str) -> OriginPattern:
    return OriginPattern.parse("trusted_origins", text)


@pytest.mark.parametrize(
    ("trusted", "named", "matches"),
    [
        ("https://a.example", "https://a.example", True),
        ("HTTPS://A.Example:443", "https://a.example", True),
        ("https://a.example", "https://A.EXAMPLE:443", True),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example:8443", False),
        ("https://a.example", "https://b.a.example", False),
        ("https://a.example", "https://a.example.evil.example", False),
        ("https://a.example", "https://evila.example", False),
        ("https://a.example", "https://a.example.", False),
        ("https://a.example:8443", "https://a.example:8443", True),
        ("https://a.example:8443", "https://a.example", False),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://evil-example.com", False),
        ("https://*.example.com", "https://evilexample.com", False),
        ("https://*.example.com", "https://a.example.com.evil.example", False),
        ("https://*.example.com", "http://a.example.com", False),
        ("https://*.example.com", "https://a.example.com:8443", False),
        ("https://*.example.com:*", "https://a.example.com:8443", True),
        ("https://*.example.com:8443", "https://a.example.com:8443", True),
        ("http://localhost:*", "http://localhost", True),
        ("http://localhost:*", "http://localhost:5173", True),
        ("http://localhost:*", "https://localhost:5173", False),
        ("http://localhost:*", "http://localhost.evil.example", False),
        ("http://localhost:*", "http://localhost.evil.example:80", False),
        ("http://*.localhost:*", "http://tenant.localhost:3000", True),
        ("http://[::1]:*", "http://[::1]:3000", True),
        ("http://[::1]:*", "http://[::2]:3000", False),
        ("app://name", "app://name", True),
        ("app://name", "app://other", False),
        ("app://", "app://", True),
        ("app://", "app://name", False),
    ],
)
def test_pattern_trusts(trusted: str, named: str, matches: bool) -> None:
    assert pattern(trusted).matches(origin(named)) is matches
    assert is_among(origin(named), [pattern("https://x.y"), pattern(trusted)]) is matches


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("*", "write one like 'https://app.example.com', without a path"),
        ("https://*", "write one like"),
        ("https://*:*", "write one like"),
        ("*://example.com", "write one like"),
        ("https://*example.com", "write one like"),
        ("https://a.*.example.com", "write one like"),
        ("https://*.*.example.com", "write one like"),
        ("https://*..example.com", "write one like"),
        ("https://example.com/", "write one like"),
        ("https://user@example.com", "write one like"),
        ("example.com", "write one like"),
        ("null", "write one like"),
        ("", "write one like"),
        (None, "write one like"),
        (7, "write one like"),
        (b"https://example.com", "write one like"),
        ("https://*.com", "name the domain that the wildcard stands in"),
        ("https://*.com.", "name the domain that the wildcard stands in"),
        ("https://*.com:*", "name the domain that the wildcard stands in"),
        ("app://*.", "name the domain that the wildcard stands in"),
        ("http://*.[::1]", "name the domain that the wildcard stands in"),
    ],
)
def test_patterns_that_would_trust_everyone_or_nobody(text: object, cure: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        OriginPattern.parse("trusted_origins", text)
    assert str(caught.value).startswith(f"trusted_origins: {text!r} is not an origin; {cure}")


LABELS = st.text("abxyz-", min_size=1, max_size=4)
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@given(domain=st.lists(LABELS, min_size=2, max_size=3).map(".".join), host=HOSTS)
def test_wildcard_trusts_what_lies_below_its_domain(domain: str, host: str) -> None:
    trusted = pattern(f"https://*.{domain}")
    labels, wanted = host.split("."), domain.split(".")
    below = len(labels) > len(wanted) and labels[-len(wanted) :] == wanted
    assert trusted.matches(origin(f"https://{host}")) is below
    assert trusted.matches(origin(f"https://{host}.{domain}"))
    assert not trusted.matches(origin(f"https://{host}{domain}.evil"))


# The Origin rule.

TRUSTED = [pattern("https://friend.example"), pattern("https://*.family.example")]
OK = None


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        # An Origin decides, whatever else is there.
        ({"origin": "http://app.example"}, OK),
        ({"origin": "https://app.example"}, OK),
        ({"origin": "HTTP://APP.EXAMPLE:80"}, OK),
        ({"origin": "https://friend.example"}, OK),
        ({"origin": "https://a.family.example"}, OK),
        ({"origin": "https://friend.example", "sec-fetch-site": "cross-site"}, OK),
        ({"origin": "https://friend.example", "referer": "https://evil.example/"}, OK),
        ({"origin": "https://evil.example"}, InvalidOrigin),
        ({"origin": "https://evil.example", "referer": "http://app.example/"}, InvalidOrigin),
        ({"origin": "https://evil.example", "sec-fetch-site": "same-origin"}, InvalidOrigin),
        ({"origin": "http://friend.example"}, InvalidOrigin),
        ({"origin": "https://family.example"}, InvalidOrigin),
        ({"origin": "http://app.example.evil.example"}, InvalidOrigin),
        ({"origin": "http://app.example:8000"}, InvalidOrigin),
        ({"origin": "http://app.example, http://app.example"}, InvalidOrigin),
        ({"origin": ""}, InvalidOrigin),
        ({"origin": "garbage"}, InvalidOrigin),
        ({"origin": "", "sec-fetch-site": "same-origin"}, InvalidOrigin),
        # null says nothing; only the browser's own word helps.
        ({"origin": "null"}, MissingOrNullOrigin),
        ({"origin": "null", "sec-fetch-site": "none"}, MissingOrNullOrigin),
        ({"origin": "null", "sec-fetch-site": "same-site"}, MissingOrNullOrigin),
        ({"origin": "null", "sec-fetch-site": "cross-site"}, MissingOrNullOrigin),
        ({"origin": "null", "referer": "http://app.example/"}, MissingOrNullOrigin),
        ({"origin": "null", "sec-fetch-site": "same-origin"}, OK),
        # Without one, the Referer decides.
        ({"referer": "http://app.example/page?x"}, OK),
        ({"referer": "https://friend.example/"}, OK),
        ({"referer": "https://evil.example/http://app.example/"}, InvalidOrigin),
        ({"referer": "http://app.example@evil.example/"}, InvalidOrigin),
        ({"referer": "https://evil.example/", "sec-fetch-site": "same-origin"}, InvalidOrigin),
        ({"referer": "/page"}, InvalidOrigin),
        ({"referer": ""}, InvalidOrigin),
        # Without both, Fetch Metadata; without that, it is no browser.
        ({"sec-fetch-site": "same-origin"}, OK),
        ({"sec-fetch-site": "none"}, OK),
        ({"sec-fetch-site": "same-site"}, MissingOrNullOrigin),
        ({"sec-fetch-site": "cross-site"}, MissingOrNullOrigin),
        ({"sec-fetch-site": "Same-Origin, cross-site"}, MissingOrNullOrigin),
        ({}, OK),
    ],
)
def test_origin_rule(
    headers: dict[str, str], outcome: type[InvalidOrigin | MissingOrNullOrigin] | None
) -> None:
    request = Request("POST", "http", "/", headers={"host": "app.example", **headers})
    own = own_origin(request, None)
    if outcome is None:
        check_origin(request, own, TRUSTED)
        return
    with pytest.raises(outcome):
        check_origin(request, own, TRUSTED)


def test_https_request_is_not_for_http_pages() -> None:
    request = Request(
        "POST", "https", "/", headers={"host": "app.example", "origin": "http://app.example"}
    )
    with pytest.raises(InvalidOrigin):
        check_origin(request, own_origin(request, None), [])


def test_origin_rule_without_a_host_passes_the_trusted_alone() -> None:
    friend = Request("POST", "http", "/", headers={"origin": "https://friend.example"})
    check_origin(friend, None, TRUSTED)
    stranger = Request("POST", "http", "/", headers={"origin": "http://app.example"})
    with pytest.raises(InvalidOrigin):
        check_origin(stranger, None, TRUSTED)


@given(
    headers=st.dictionaries(
        st.sampled_from(["origin", "referer"]), NEARLY_ORIGINS | LATIN_1, min_size=1
    ),
    site=st.sampled_from([None, "same-origin", "cross-site"]),
)
def test_origin_rule_under_any_headers(headers: dict[str, str], site: str | None) -> None:
    if site is not None:
        headers["sec-fetch-site"] = site
    try:
        check_origin(
            Request("POST", "http", "/", headers=headers), origin("https://app.example"), TRUSTED
        )
    except (InvalidOrigin, MissingOrNullOrigin):
        return
    # As others read it: a page of this host or of a friend's, over TLS and its own port.
    # (Browsers read "\\" as "/"; urlsplit() takes it for a part of the host.)
    source = urlsplit(headers.get("origin", headers.get("referer", "")).replace("\\", "/"))
    assert (source.scheme, source.username, source.port or 443) == ("https", None, 443)
    host = source.hostname or ""
    assert host in ("app.example", "friend.example") or host.endswith(".family.example")


@pytest.mark.parametrize(("length", "spelling"), [(8 * 1024, "%41"), (8 * 1024 + 3, "A")])
def test_browser_path_of_any_length_keeps_the_spelling_of_short_ones(
    length: int, spelling: str
) -> None:
    letters = (length - 2) // 3
    path = b"/x" + b"A" * letters
    spelled = "/x" + "%41" * letters
    assert browser_path(spelled, b"", path) == "/x" + spelling * letters


def test_path_longer_than_any_of_a_browser_is_encoded_as_a_whole() -> None:
    path = "/" + "a b/" * 4096
    location = browser_path(None, b"", path.encode())
    assert location.isascii()
    assert unquote_to_bytes(location) == path.encode()
    assert location.startswith("/%61%20%62/")


def test_divided_query_shows_no_token() -> None:
    divided = divide("a=1&ott=T0ken&ott_seen=N0nce", "ott")
    assert (divided.links, divided.seen) == (["T0ken"], ["N0nce"])
    assert repr(divided) == "Divided()"
