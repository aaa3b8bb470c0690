from __future__ import annotations

import re

import pytest
from harness import NOW
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware.http.cookies import Cookie
from ott_middleware.http.messages import Headers, Request
from ott_middleware.http.origins import OriginPattern
from ott_middleware.http.response_headers import (
    cookie_changes,
    cors,
    hide_url,
    remove_headers,
    with_session,
    with_token,
)

LATIN_1 = st.text(st.characters(max_codepoint=255))
TRUSTED = [OriginPattern.parse("trusted_origins", "https://*.friend.example")]
SID = Cookie("sid", "new", secure=True)
SID_HEADER = ("Set-Cookie", "sid=new; Path=/; Secure; HttpOnly; SameSite=Lax")


def test_remove_headers_by_name_in_any_case() -> None:
    headers = (("ETag", "x"), ("a", "1"), ("etag", "y"), ("ETagged", "z"), ("a", "2"))
    assert remove_headers(headers, "etag") == (("a", "1"), ("ETagged", "z"), ("a", "2"))
    assert remove_headers(headers) == headers
    assert remove_headers(headers, "a", "etag", "etagged") == ()


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("sid=v", "v"),
        ("sid = v ; Path=/", "v"),
        ("sid=a=b; HttpOnly", "a=b"),
        ('sid="v"', '"v"'),
        ("sid=v; Max-Age=60; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "v"),
        ("sid=v; Max-Age=100", "v"),
        # Deletions, as frameworks write them.
        ("sid=", None),
        ("sid", None),
        ("sid=; Path=/", None),
        ("sid=v; Max-Age=0", None),
        ("sid=v; max-age = 00 ", None),
        ("sid=v; MAX-AGE=-1", None),
        ("sid=v; Expires=Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("sid=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0; path=/", None),
        ("sid=v; Max-Age=soon; Expires=Thu, 01 Jan 1970 00:00:00 GMT", None),
        # No deletions: an age that is no number is no age, and an age decides over a date.
        ("sid=v; Max-Age=", "v"),
        ("sid=v; Max-Age", "v"),
        ("sid=v; Max-Age=-", "v"),
        ("sid=v; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "v"),
        ("sid=1970; Comment=1970", "1970"),
        # A date that is over deletes, whichever it is; what is no date is none.
        ("sid=v; Expires=Wed, 01 Jan 2020 00:00:00 GMT", None),
        ("sid=v; Expires=Wed, 01-Jan-2020 00:00:00 GMT", None),
        ("sid=v; Expires=Sat, 01 Jan 2050 00:00:00 GMT", "v"),
        ("sid=v; Expires=1970", "v"),
        # Browsers read no zone in a cookie's date.
        ("sid=v; Expires=Wed, 01 Jan 2020 00:00:00 +99999999999999999999", None),
    ],
)
def test_cookie_changes_of_one_line(line: str, value: str | None) -> None:
    assert cookie_changes((("Set-Cookie", line),), NOW) == {"sid": value}


def test_cookie_changes_of_several_lines() -> None:
    headers = (
        ("Content-Type", "text/plain"),
        ("set-cookie", "a=1"),
        ("SET-COOKIE", "b=; Max-Age=0"),
        ("Set-Cookie", "a=2"),
    )
    assert cookie_changes(headers, NOW) == {"a": "2", "b": None}
    assert cookie_changes(headers[:1], NOW) == {}


@given(
    LATIN_1
    | st.text("sid=;Max-Age019 \t")
    | st.text("0123456789 JanGMT+-:,").map("sid=v; Expires={}".format)
)
def test_cookie_changes_of_any_line(line: str) -> None:
    (name, value), *others = cookie_changes((("Set-Cookie", line),), NOW).items()
    assert others == []
    assert name == line.split(";")[0].split("=")[0].strip(" \t")
    assert value is None or (value and value in line and ";" not in value)


def test_with_session_forbids_caching() -> None:
    headers = (
        ("content-type", "text/plain"),
        ("Cache-Control", "public, max-age=60"),
        ("cache-control", "immutable"),
        ("Expires", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ("ETag", '"x"'),
        ("Vary", "Accept"),
    )
    assert with_session(headers, [SID]) == (
        ("content-type", "text/plain"),
        ("Vary", "Accept"),
        ("Cache-Control", "private, no-store"),
        SID_HEADER,
    )


@pytest.mark.parametrize("line", ["sid=app", "sid=; Max-Age=0", "sid=app; Path=/x", "sid"])
def test_with_session_leaves_a_cookie_of_the_app(line: str) -> None:
    headers = (("Set-Cookie", line), ("Set-Cookie", "other=1"))
    answer = with_session(headers, [SID, Cookie("csrf", "c")])
    assert [value for name, value in answer if name == "Set-Cookie"] == [
        line,
        "other=1",
        "csrf=c; Path=/; HttpOnly; SameSite=Lax",
    ]


def test_with_session_beside_other_cookies_of_the_app() -> None:
    answer = with_session((("Set-Cookie", "SID=x"), ("Set-Cookie", "sid2=x")), [SID])
    assert answer[-1] == SID_HEADER


@pytest.mark.parametrize(
    ("exposed", "expected"),
    [
        ([], "set-ott"),
        (["X-Total"], "X-Total, set-ott"),
        (["X-Total , X-Page,"], "X-Total, X-Page, set-ott"),
        (["X-Total", "X-Page"], "X-Total, X-Page, set-ott"),
        (["Set-OTT, X-Total"], "Set-OTT, X-Total"),
        ([" , "], "set-ott"),
    ],
)
def test_with_token_exposes_the_token_and_forbids_caching(
    exposed: list[str], expected: str
) -> None:
    headers: Headers = (
        ("Content-Type", "text/plain"),
        ("Cache-Control", "public"),
        ("ETag", '"x"'),
        ("expires", "0"),
        ("Set-OTT", "somebody else's"),
        *(("access-control-expose-headers", value) for value in exposed),
        ("Set-Cookie", "sid=x"),
    )
    assert with_token(headers, "T") == (
        ("Content-Type", "text/plain"),
        ("Set-Cookie", "sid=x"),
        ("Cache-Control", "no-store"),
        ("Access-Control-Expose-Headers", expected),
        ("set-ott", "T"),
    )


def asked(method: str = "POST", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, "https", "/", headers=named)


VARY = {"POST": "Origin", "OPTIONS": "Origin, Access-Control-Request-Headers"}
ALLOWED = (
    ("Vary", VARY["POST"]),
    ("Access-Control-Allow-Origin", "https://a.friend.example"),
    ("Access-Control-Allow-Credentials", "true"),
)
PREFLIGHT = (
    ("Vary", VARY["OPTIONS"]),
    *ALLOWED[1:],
    ("Access-Control-Allow-Methods", "POST"),
    ("Access-Control-Max-Age", "600"),
)


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "*",
        "https://evil.example",
        "http://a.friend.example",
        "https://x, https://y",
    ],
)
def test_cors_tells_an_untrusted_origin_nothing(origin: str | None) -> None:
    headers = {} if origin is None else {"origin": origin}
    for method, vary in VARY.items():
        assert cors(asked(method, **headers), TRUSTED, "POST") == (("Vary", vary),)


def test_cors_names_a_trusted_origin_exactly() -> None:
    assert cors(asked(origin="https://a.friend.example"), TRUSTED, "POST") == ALLOWED
    # As it was sent: browsers compare letter by letter.
    shouted = cors(asked(origin="https://A.Friend.example:443"), TRUSTED, "POST")
    assert shouted[1] == ("Access-Control-Allow-Origin", "https://A.Friend.example:443")


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [
        (None, ()),
        ("", ()),
        ("content-type", (("Access-Control-Allow-Headers", "content-type"),)),
        ("Content-Type, X_a-1", (("Access-Control-Allow-Headers", "Content-Type, X_a-1"),)),
        ("content-type\r\nX: y", ()),
        ("content-type\n", ()),
        ("*", ()),
        ("x" * 513, ()),
        ("\xe9", ()),
    ],
)
def test_cors_of_a_preflight(wanted: str | None, allowed: Headers) -> None:
    headers = {"origin": "https://a.friend.example"}
    if wanted is not None:
        headers["access-control-request-headers"] = wanted
    assert cors(asked("OPTIONS", **headers), TRUSTED, "POST") == (*PREFLIGHT, *allowed)


@given(
    st.tuples(st.sampled_from(["https://", "HTTPS://a.friend.example", ""]), LATIN_1).map("".join),
    LATIN_1,
)
def test_cors_injects_no_response_header(origin: str, wanted: str) -> None:
    request = asked("OPTIONS", origin=origin, access_control_request_headers=wanted)
    for _, value in cors(request, TRUSTED, "POST"):
        assert re.fullmatch(r"[ -~]+", value)
        assert value != "*"


class TestHideUrl:
    @pytest.mark.parametrize("kept", ["no-referrer", "strict-origin", " Origin "])
    def test_policy_that_hides_the_url_is_kept(self, kept: str) -> None:
        headers = (("A", "1"), ("referrer-Policy", kept))
        assert hide_url(headers) is headers

    @pytest.mark.parametrize(
        "policies", [(), ("same-origin",), ("unsafe-url", "no-referrer"), ("no-referrer, origin",)]
    )
    def test_any_other_policy_is_replaced(self, policies: tuple[str, ...]) -> None:
        headers = (("A", "1"), *(("Referrer-Policy", policy) for policy in policies))
        assert hide_url(headers) == (("A", "1"), ("Referrer-Policy", "strict-origin"))
