from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware.http.fetch_metadata import (
    accepts_html,
    is_navigation,
    is_speculative,
    never_redeems,
)
from ott_middleware.http.messages import Request

LATIN_1 = st.text(st.characters(max_codepoint=255))


def request(method: str = "GET", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, "https", "/", headers=named)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_purpose": "prefetch"},
        {"sec_purpose": "prefetch;prerender"},
        {"sec_purpose": "prefetch;anonymous-client-ip"},
        {"sec_purpose": "Prerender"},
        {"purpose": "prefetch"},
        {"purpose": "PREFETCH"},
        {"x_moz": "prefetch"},
    ],
)
def test_speculative_requests(headers: dict[str, str]) -> None:
    assert is_speculative(request(**headers))


@pytest.mark.parametrize("headers", [{}, {"sec_purpose": ""}, {"purpose": "x"}, {"dnt": "1"}])
def test_speculative_requests_are_no_others(headers: dict[str, str]) -> None:
    assert not is_speculative(request(**headers))


@pytest.mark.parametrize(
    "asked",
    [
        request("HEAD"),
        request("OPTIONS"),
        request(sec_fetch_mode="no-cors", sec_fetch_dest="image"),
        request(sec_fetch_mode="navigate", sec_fetch_dest="iframe"),
        request(sec_fetch_mode="navigate", sec_fetch_dest="frame"),
        request(sec_fetch_mode="navigate", sec_fetch_dest="embed"),
        request(sec_fetch_mode="navigate", sec_fetch_dest="object"),
    ],
)
def test_never_redeems(asked: Request) -> None:
    assert never_redeems(asked)


@pytest.mark.parametrize(
    "asked",
    [
        request(),
        request("POST"),
        request(sec_fetch_mode="navigate", sec_fetch_dest="document"),
        request(sec_fetch_mode="cors", sec_fetch_dest="empty"),
        request(sec_fetch_mode="same-origin", sec_fetch_dest="empty"),
    ],
)
def test_never_redeems_does_not_hold_for_others(asked: Request) -> None:
    assert not never_redeems(asked)


@pytest.mark.parametrize(
    ("asked", "navigation"),
    [
        (request(sec_fetch_mode="navigate", sec_fetch_dest="document"), True),
        # What the browser says of the request counts, not what it would like to get.
        (request(sec_fetch_mode="navigate", sec_fetch_dest="document", accept="*/*"), True),
        (request(sec_fetch_mode="cors", sec_fetch_dest="empty", accept="text/html"), False),
        (request(sec_fetch_mode="navigate", accept="text/html"), False),
        (request(sec_fetch_dest="document", accept="text/html"), False),
        (request(sec_fetch_site="none", accept="text/html"), False),
        (request(sec_fetch_user="?1", accept="text/html"), False),
        (request(sec_fetch_mode="navigate", sec_fetch_dest="iframe"), False),
        (request("POST", sec_fetch_mode="navigate", sec_fetch_dest="document"), False),
        (request("HEAD", accept="text/html"), False),
        # Without Fetch Metadata: an older browser, or none.
        (request(accept="text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"), True),
        (request(accept="application/json"), False),
        (request(accept="*/*"), False),
        (request(), False),
    ],
)
def test_is_navigation(asked: Request, navigation: bool) -> None:
    assert is_navigation(asked) is navigation


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html", True),
        ("TEXT/HTML", True),
        ("application/json, text/html;q=0.1", True),
        ("text/html;charset=utf-8", True),
        ("Text/Html; level=1 ;q=0.5", True),
        ("text/html;q=0", False),
        ("text/html;q=0.0, */*", False),
        ("text/html;level=1;q=0", False),
        ("text/*", False),
        ("*/*", False),
        ("text/htmlx", False),
        ("application/xhtml+xml", False),
        ("", False),
        (None, False),
    ],
)
def test_accepts_html(accept: str | None, html: bool) -> None:
    assert accepts_html(request(**({} if accept is None else {"accept": accept}))) is html


@given(method=LATIN_1, accept=LATIN_1, purpose=LATIN_1, mode=LATIN_1)
def test_any_header_is_classified(method: str, accept: str, purpose: str, mode: str) -> None:
    asked = request(method, accept=accept, sec_purpose=purpose)
    for each in (asked, request(method, accept=accept, sec_fetch_mode=mode)):
        for question in (accepts_html, is_navigation, is_speculative, never_redeems):
            assert question(each) in (True, False)
