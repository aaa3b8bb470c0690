from __future__ import annotations

import asyncio
import contextlib
import contextvars
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware.context import current_request, using_request
from ott_middleware.errors import ConfigurationError
from ott_middleware.http.cookies import Cookie, is_cookie_name, is_cookie_value, merge_cookies
from ott_middleware.http.encoding import iso_milliseconds, to_json, visible
from ott_middleware.http.messages import PRIVATE, Request, Response, json_response

LATIN_1 = st.text(st.characters(max_codepoint=255))
COOKIE_NAMES = st.text("ab-_!%", min_size=1, max_size=3)
COOKIE_HEADERS = st.lists(
    st.sampled_from(["a", "b", "ab", "=", ";", "; ", " ", "\t", ",", '"', "%41", "\xe9", "A"])
).map("".join)


def request(**headers: str) -> Request:
    return Request("GET", "https", "/", headers=headers)


def cookie(name: str = "sid", value: str = "v", **more: Any) -> Cookie:
    return Cookie(name, value, **more)


# Cookies of a request.


def scanned(header: str) -> list[tuple[str, str, str]]:
    """What stands between the semicolons, character by character: name, value, the whole."""
    found: list[tuple[str, str, str]] = []
    piece = ""
    for character in header + ";":
        if character != ";":
            piece += character
            continue
        while piece[:1] in (" ", "\t") and piece:
            piece = piece[1:]
        while piece[-1:] in (" ", "\t") and piece:
            piece = piece[:-1]
        name, value, seen = "", "", False
        for each in piece:
            if each == "=" and not seen:
                seen = True
            elif seen:
                value += each
            else:
                name += each
        found.append((name.rstrip(" \t"), value.lstrip(" \t"), piece))
        piece = ""
    return found


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("sid=abc", ["abc"]),
        ("a=1; sid=abc; b=2", ["abc"]),
        ("sid=one; sid=two", ["one", "two"]),
        ("sid=a=b==", ["a=b=="]),
        ('sid="a b"', ['"a b"']),
        ("sid=a%20b", ["a%20b"]),
        ("\tsid = abc\t;", ["abc"]),
        ("sid=", [""]),
        ("sid", [""]),
        ("xsid=abc; sidx=abc; SID=abc", []),
        ("sid=\xe9", ["\xe9"]),
        ("", []),
    ],
)
def test_cookie_values_as_they_were_sent(header: str, values: list[str]) -> None:
    assert request(cookie=header).cookies("sid") == values


def test_request_without_cookies() -> None:
    assert request().cookies("sid") == []


@given(header=COOKIE_HEADERS | LATIN_1, name=COOKIE_NAMES)
def test_cookies_are_those_of_the_reference(header: str, name: str) -> None:
    expected = [value for key, value, _ in scanned(header) if key == name]
    assert request(cookie=header).cookies(name) == expected


@pytest.mark.parametrize(
    ("header", "values", "merged"),
    [
        ("", {"sid": "new"}, "sid=new"),
        ("a=1; sid=old; b=2", {"sid": "new"}, "a=1; b=2; sid=new"),
        ("sid=one;sid=two;a=1", {"sid": "new"}, "a=1; sid=new"),
        ("sid = old", {"sid": "new"}, "sid=new"),
        ("sid", {"sid": "new"}, "sid=new"),
        ("a=1; sid=old", {"sid": None}, "a=1"),
        ("sid=old", {"sid": None}, None),
        ("sid=old", {"sid": ""}, "sid="),
        (" ; ;", {}, None),
        ("a=1;; b", {}, "a=1; b"),
        ('a="x, y"; b=%20', {"sid": "new"}, 'a="x, y"; b=%20; sid=new'),
        ("SID=old", {"sid": "new"}, "SID=old; sid=new"),
    ],
)
def test_cookies_set_and_removed(
    header: str, values: Mapping[str, str | None], merged: str | None
) -> None:
    assert merge_cookies(header, values) == merged


@given(
    header=COOKIE_HEADERS | LATIN_1,
    values=st.dictionaries(COOKIE_NAMES, st.none() | st.text("xyz=", max_size=4), max_size=3),
)
def test_merged_cookies_are_those_of_the_reference(
    header: str, values: dict[str, str | None]
) -> None:
    kept = [piece for name, _, piece in scanned(header) if piece and name not in values]
    added = [f"{name}={value}" for name, value in values.items() if value is not None]
    merged = merge_cookies(header, values)
    assert merged == ("; ".join(kept + added) or None)
    # What was set is all that the app sees of the name.
    for name, value in values.items():
        seen = request(cookie=merged or "").cookies(name)
        assert seen == ([] if value is None else [value])


# Requests.


def test_request_shows_nothing_that_a_client_sent() -> None:
    asked = Request(
        "GET",
        "https",
        "/p",
        target="/target",
        query="query",
        headers={"cookie": "sid=cookie"},
        links=("token",),
        carrier={"x": "carrier"},
    )
    assert repr(asked) == "Request(method='GET', scheme='https', path='/p')"


def test_requests_are_changed_by_copies() -> None:
    asked = request(cookie="sid=old; a=1", accept="*/*")
    changed = asked.with_headers({"accept": None, "range": None, "host": "h"})
    assert changed.headers == {"cookie": "sid=old; a=1", "host": "h"}
    assert asked.header("accept") == "*/*"
    assert changed.header("accept") is None
    assert asked.with_cookies({"sid": "new"}).header("cookie") == "a=1; sid=new"
    assert asked.with_cookies({"sid": None, "a": None}).header("cookie") is None


@pytest.mark.parametrize(
    ("target", "query", "location"),
    [
        ("/", "", "./"),
        ("/a%2Fb", "a=1&a=2&b=%E9&c=+&d", "./a%2Fb?a=1&a=2&b=%E9&c=+&d"),
        ("/", "q=\xe9 \r\nSet-Cookie: a=b#\x00", "./?q=%E9%20%0D%0ASet-Cookie:%20a=b%23%00"),
    ],
)
def test_location_is_the_clean_url(target: str, query: str, location: str) -> None:
    assert Request("GET", "https", "/", target=target, query=query).location == location


@given(LATIN_1)
def test_visible_text_has_nothing_that_ends_a_header_or_a_query(text: str) -> None:
    shown = visible(text)
    assert re.fullmatch(r"[!-\"$-~]*", shown)
    assert visible(shown) == shown
    if re.fullmatch(r"[!-\"$-~]*", text):
        assert shown == text


def test_responses_grow_by_copies_and_show_their_status_alone() -> None:
    answer = Response(303, (("Location", "/?ott=T"),), b"token")
    longer = answer.with_headers(("Vary", "Origin"), ("A", "b"))
    assert longer.headers == (("Location", "/?ott=T"), ("Vary", "Origin"), ("A", "b"))
    assert answer.headers == (("Location", "/?ott=T"),)
    assert repr(longer) == "Response(status=303)"


def test_current_request_is_that_of_the_context() -> None:
    outer, inner = request(host="outer"), request(host="inner")
    assert current_request() is None
    with using_request(outer):
        assert current_request() is outer
        with using_request(inner):
            assert current_request() is inner
        assert current_request() is outer
        with contextlib.suppress(KeyError), using_request(inner):
            raise KeyError
        assert current_request() is outer
        assert contextvars.copy_context().run(current_request) is outer
        assert asyncio.run(asyncio.to_thread(current_request)) is outer
    assert current_request() is None


# Cookies of an answer.


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (cookie(), "sid=v; Path=/; HttpOnly; SameSite=Lax"),
        (cookie(secure=True), "sid=v; Path=/; Secure; HttpOnly; SameSite=Lax"),
        (cookie(secure=False, httponly=False), "sid=v; Path=/; SameSite=Lax"),
        (cookie(max_age=60), "sid=v; Max-Age=60; Path=/; HttpOnly; SameSite=Lax"),
        (
            cookie(value="", max_age=0, httponly=False),
            "sid=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; SameSite=Lax",
        ),
        (
            cookie(
                domain="a.b",
                path="/x",
                secure=True,
                samesite="None",
                partitioned=True,
                max_age=1,
            ),
            "sid=v; Max-Age=1; Domain=a.b; Path=/x; Secure; HttpOnly; SameSite=None; Partitioned",
        ),
        (
            cookie("__Host-sid", secure=True, samesite="Strict"),
            "__Host-sid=v; Path=/; Secure; HttpOnly; SameSite=Strict",
        ),
        (
            cookie("__Secure-sid", secure=True, domain="a.b", path="/x"),
            "__Secure-sid=v; Domain=a.b; Path=/x; Secure; HttpOnly; SameSite=Lax",
        ),
    ],
)
def test_cookie_as_a_header(made: Cookie, line: str) -> None:
    assert made.header() == ("Set-Cookie", line)


@pytest.mark.parametrize(
    ("name", "attributes", "what"),
    [
        ("", {}, "cookie name ''"),
        ("a b", {}, "cookie name 'a b'"),
        ("a;b", {}, "cookie name 'a;b'"),
        ("a=b", {}, "cookie name 'a=b'"),
        ("s\xefd", {}, "cookie name 's\xefd'"),
        ("sid\n", {}, "cookie name 'sid\\n'"),
        (7, {}, "cookie name 7"),
        ("sid", {"samesite": "lax"}, "samesite='lax'; use 'Lax', 'Strict' or 'None'"),
        ("sid", {"samesite": None}, "samesite=None; use"),
        ("sid", {"path": ""}, "path=''; use a path that starts with /"),
        ("sid", {"path": "x"}, "path='x'; use"),
        ("sid", {"path": "/;Domain=x"}, "path='/;Domain=x'; use"),
        ("sid", {"path": "/\n"}, "path='/\\n'; use"),
        ("sid", {"path": None}, "path=None; use"),
        ("sid", {"domain": ""}, "domain=''; use a host name, or None"),
        ("sid", {"domain": "a;b"}, "domain='a;b'; use"),
        ("sid", {"domain": "ex\xe4mple.com"}, "domain='ex\xe4mple.com'; use"),
        ("sid", {"domain": 7}, "domain=7; use"),
        ("sid", {"domain": "https://example.com"}, "domain='https://example.com'; use"),
        ("sid", {"domain": "example.com:8000"}, "domain='example.com:8000'; use"),
        ("sid", {"domain": "example.com."}, "domain='example.com.'; use"),
        ("sid", {"max_age": 1.5}, "max_age=1.5; use whole seconds, or None"),
        ("sid", {"max_age": True}, "max_age=True; use"),
        ("sid", {"max_age": "1; Domain=x"}, "max_age='1; Domain=x'; use"),
        ("sid", {"samesite": "None"}, "SameSite=None without Secure is dropped by browsers; pass"),
        ("sid", {"samesite": "None", "secure": False}, "SameSite=None without Secure"),
        ("sid", {"partitioned": True}, "Partitioned without Secure is dropped by browsers; pass"),
        ("__Host-sid", {}, "its prefix demands Secure; pass secure=True"),
        ("__host-sid", {"secure": False}, "its prefix demands Secure"),
        ("__Secure-sid", {}, "its prefix demands Secure"),
        ("__SECURE-sid", {}, "its prefix demands Secure"),
        ("__Host-sid", {"secure": True, "domain": "a.b"}, "__Host- allows neither a Domain nor"),
        ("__HOST-sid", {"secure": True, "path": "/x"}, "__Host- allows neither a Domain nor"),
    ],
)
def test_cookies_that_browsers_would_drop(name: Any, attributes: Any, what: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        cookie(name, "the value", **attributes)
    assert what in str(caught.value)
    assert repr(name) in str(caught.value)
    assert "the value" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["a;b", "a\r\nSet-Cookie: x=y", "a\nb", "a\x00b", "a\tb", "a\x7fb", "\u0100", "a\n"]
)
def test_value_that_would_end_the_header_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(ValueError, match="no Set-Cookie can carry") as caught:
        cookie(value=f"{value}secret")
    assert "secret" not in str(caught.value)


def test_cookie_limited_to_an_age_by_the_name_in_the_docs() -> None:
    limited = Cookie("sid", "value", max_age=3600).limited(60, https=True)
    assert limited == Cookie("sid", "value", max_age=60, secure=True)
    assert Cookie("sid", "value", secure=True).limited(None, https=False).secure is True


def test_cookie_does_not_show_its_value() -> None:
    assert "milk" not in repr(cookie(value="milk"))


@given(st.text("ab-_;= \r\n\x00\xe9\u20ac", max_size=4) | st.text(), st.text())
def test_cookie_of_any_text_is_whole(name: str, value: str) -> None:
    carried = all(" " <= c <= "\xff" and c not in ";\x7f" for c in value)
    assert is_cookie_value(value) is carried
    if not carried or not is_cookie_name(name):
        with pytest.raises(ValueError, match="cookie"):
            cookie(name, value, secure=True)
        return
    header, line = cookie(name, value, secure=True).header()
    assert header == "Set-Cookie"
    assert all(" " <= c <= "\xff" and c != "\x7f" for c in line)
    assert line.split(";")[1:] == [" Path=/", " Secure", " HttpOnly", " SameSite=Lax"]
    # Back it comes as it went, but for blanks at its ends.
    pair = line.split(";")[0]
    assert request(cookie=pair).cookies(name) == [value.strip(" ")]


@given(st.text(st.characters(max_codepoint=300), max_size=12))
def test_cookie_attribute_of_any_text_is_whole(text: str) -> None:
    for attribute in ({"path": f"/{text}"}, {"domain": text}):
        try:
            line = cookie(**attribute).header()[1]
        except ConfigurationError:
            continue
        assert re.fullmatch(r"[ -~]*", line)
        assert line.count(";") == 3 + ("domain" in attribute)


@given(st.text())
def test_cookie_name_is_a_token(name: str) -> None:
    token = "!#$%&'*+-.^_`|~" + "0123456789" + "abcdefghijklmnopqrstuvwxyz".upper()
    expected = bool(name) and all(c in token or c in token.lower() for c in name)
    assert is_cookie_name(name) is expected


# JSON.


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 23, 9, 31, 57, 773000, timezone.utc), "2026-11-23T09:31:57.773Z"),
        (datetime(2026, 11, 23, 9, 31, 57, 0, timezone.utc), "2026-11-23T09:31:57.000Z"),
        (datetime(2026, 11, 23, 9, 31, 57, 999999, timezone.utc), "2026-11-23T09:31:57.999Z"),
        (datetime(2026, 11, 23, 9, 31, 57, 7999, timezone.utc), "2026-11-23T09:31:57.007Z"),
        (
            datetime(2026, 1, 1, 1, 0, 0, 1000, timezone(timedelta(hours=2))),
            "2025-12-31T23:00:00.001Z",
        ),
        # How some languages write "no date".
        (datetime(1, 1, 1, tzinfo=timezone.utc), "0001-01-01T00:00:00.000Z"),
        (datetime(999, 12, 31, 23, 59, 59, tzinfo=timezone.utc), "0999-12-31T23:59:59.000Z"),
        (datetime(9999, 12, 31, tzinfo=timezone.utc), "9999-12-31T00:00:00.000Z"),
    ],
)
def test_dates_have_three_digits_and_a_z(moment: datetime, text: str) -> None:
    assert iso_milliseconds(moment) == text


@given(st.datetimes(timezones=st.just(timezone.utc)))
def test_dates_have_the_form_that_javascript_reads(moment: datetime) -> None:
    text = iso_milliseconds(moment)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    back = datetime.fromisoformat(text.replace("Z", "+00:00"))
    assert timedelta(0) <= moment - back < timedelta(milliseconds=1)


def test_json_as_the_wire_has_it() -> None:
    value = {
        "a": MappingProxyType({"b": [1, 2.5, None, True]}),
        "when": datetime(2026, 11, 23, 9, 31, 57, 773001, timezone.utc),
        "caf\xe9": "\u2028\ud800</script>",
    }
    assert to_json(value) == (
        b'{"a":{"b":[1,2.5,null,true]},"when":"2026-11-23T09:31:57.773Z",'
        rb'"caf\u00e9":"\u2028\ud800</script>"}'
    )


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (object(), TypeError, "object is no JSON value"),
        ({"a": {1, 2}}, TypeError, "set is no JSON value"),
        (b"bytes", TypeError, "bytes is no JSON value"),
        (float("nan"), ValueError, "JSON compliant"),
        ([float("inf")], ValueError, "JSON compliant"),
    ],
)
def test_json_that_is_malformed_is_refused(
    value: object, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        to_json(value)


def test_json_response() -> None:
    answer = json_response(400, {"message": "\xe9"}, ("Retry-After", "5"))
    assert answer.status == 400
    assert answer.body == rb'{"message":"\u00e9"}'
    assert answer.headers == (
        ("Content-Type", "application/json"),
        ("Content-Length", "20"),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
        ("Retry-After", "5"),
    )
    assert set(PRIVATE) < set(answer.headers)
