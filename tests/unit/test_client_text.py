"""Cookies of a client, read as the frameworks read them."""

from __future__ import annotations

import pytest
from django.http import parse_cookie
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import cookie_parser

from ott_middleware.http import Request
from ott_middleware.http.client_text import (
    MAX_ACCEPT,
    MAX_COOKIE_VALUE,
    MAX_SAME_NAME,
    cookies_named,
    last_cookie,
    parse_cookies,
)
from ott_middleware.http.fetch_metadata import accepts_html

HEADERS = st.lists(
    st.sampled_from([*' \t\xa0;;==,"\\ab', "sid", "sid=", "; sid=", '"a"', "\\012", "\\0", "\x85"])
).map("".join)


def cookie_values(header: str, name: str) -> list[str]:
    return cookies_named(header, (name,))[name]


@given(HEADERS)
def test_cookies_are_those_that_frameworks_read(header: str) -> None:
    for parse in (cookie_parser, parse_cookie):
        assert parse_cookies(header) == parse(header)
        assert last_cookie(header, "sid") == parse(header).get("sid")


@given(HEADERS)
def test_cookie_values_are_those_between_semicolons(header: str) -> None:
    pairs = (pair.partition("=") for pair in header.split(";"))
    expected = [value.strip(" \t") for key, _, value in pairs if key.strip(" \t") == "sid"]
    assert cookie_values(header, "sid") == (expected if len(expected) <= MAX_SAME_NAME else [])


@given(HEADERS)
def test_cookies_of_several_names(header: str) -> None:
    names = ("sid", "a", "b")
    assert cookies_named(header, names) == {name: cookie_values(header, name) for name in names}


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("t_1=a; t_10=b; t_1", {"t_1": ["a", ""], "t_10": ["b"]}),
        ("t_1=a; " * 33 + "t_10=b", {"t_1": [], "t_10": ["b"]}),
        ("t_10=b; " + "t_1=a; " * 64, {"t_1": [], "t_10": []}),
        ("t_100=c; xt_1=d", {"t_1": [], "t_10": []}),
    ],
)
def test_numbered_cookies(header: str, values: dict[str, list[str]]) -> None:
    request = Request("GET", "http", "/", headers={"cookie": header})
    assert request.cookies_named(["t_1", "t_10"]) == values


@pytest.mark.parametrize("header", ["sid=a; sid=" + "b" * (MAX_COOKIE_VALUE + 1), "sid=a; " * 33])
def test_cookies_that_no_browser_sends_are_absent(header: str) -> None:
    assert Request("GET", "http", "/", headers={"cookie": header}).cookies("sid") == []


def test_cookie_too_long_is_absent_for_frameworks() -> None:
    assert last_cookie("sid=" + "b" * MAX_COOKIE_VALUE, "sid") == "b" * MAX_COOKIE_VALUE
    assert last_cookie("sid=a; sid=" + "b" * (MAX_COOKIE_VALUE + 1), "sid") is None


def test_accept_too_long_names_nothing() -> None:
    for size, named in ((MAX_ACCEPT, True), (MAX_ACCEPT + 1, False)):
        accept = "text/html," + "x" * (size - 10)
        assert accepts_html(Request("GET", "http", "/", headers={"accept": accept})) is named
