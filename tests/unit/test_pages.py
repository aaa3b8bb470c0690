from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware.errors import (
    BackendUnavailable,
    InvalidOrigin,
    InvalidToken,
    RequestError,
    SessionExpired,
    SessionUnavailable,
)
from ott_middleware.http.messages import Response
from ott_middleware.http.pages import cookies_blocked_page, error_page, page_first


class Document(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open = ""
        self.feed(response.body.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        self.texts[self._open] = self.texts.get(self._open, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


PAGES = [
    error_page(InvalidToken(), "./x"),
    page_first("?ott=T&ott_seen=N"),
    cookies_blocked_page("?ott=T"),
]
NAMES = ["html", "head", "meta", "meta", "title", "style", "body", "main", "h1", "p"]


@pytest.mark.parametrize("page", PAGES)
def test_page_is_private_and_allows_nothing(page: Response) -> None:
    headers = dict(page.headers)
    assert len(headers) == len(page.headers)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Length"] == str(len(page.body))
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    style = Document(page).texts["style"].encode()
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    assert headers["Content-Security-Policy"].split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]


@pytest.mark.parametrize("page", PAGES)
def test_page_is_readable_on_a_phone(page: Response) -> None:
    document = Document(page)
    assert page.body.startswith(b"<!doctype html>")
    assert {"name": "viewport", "content": "width=device-width,initial-scale=1"} in document.all(
        "meta"
    )
    assert document.all("html") == [{"lang": "en"}]
    assert document.all("script") == []
    assert document.texts["title"] == document.texts["h1"]


@pytest.mark.parametrize(
    ("error", "title", "text"),
    [
        (InvalidToken(), "This link no longer works", "Ask for a new one"),
        (SessionExpired(), "This link no longer works", "Ask for a new one"),
        (BackendUnavailable(), "Please try again shortly", "did not work just now"),
        (InvalidOrigin(), "This link was refused", "Invalid origin"),
    ],
)
def test_error_page_texts(error: RequestError, title: str, text: str) -> None:
    page = error_page(error, "/shop?a=1&b=2")
    document = Document(page)
    assert page.status == error.status
    assert document.texts["h1"] == title
    assert text in document.texts["p"]
    assert document.all("a") == [{"href": "/shop?a=1&b=2"}]


def test_error_page_shows_no_detail_for_the_developer() -> None:
    for error in (InvalidToken, InvalidOrigin):
        assert b"milk" not in error_page(error("remember the milk"), "/").body
    page = error_page(SessionUnavailable("remember the milk"), "/")
    assert b"milk" not in page.body
    assert ("Retry-After", "5") in page.headers


def test_page_first_loads_the_same_url_at_once() -> None:
    page = page_first("?a=1&ott=T", ("Set-Cookie", "a=b"))
    document = Document(page)
    assert page.status == 200
    assert page.headers[-1] == ("Set-Cookie", "a=b")
    assert {"http-equiv": "refresh", "content": "0;url=?a=1&ott=T"} in document.all("meta")
    assert document.all("a") == [{"href": "?a=1&ott=T"}]


def test_page_of_blocked_cookies_loads_nothing_by_itself() -> None:
    page = cookies_blocked_page("?a=1&ott=T")
    document = Document(page)
    assert page.status == 400
    assert document.texts["h1"] == "Your browser blocks cookies"
    assert [each for each in document.all("meta") if "http-equiv" in each] == []
    assert document.all("a") == [{"href": "?a=1&ott=T"}]
    assert "Set-Cookie" not in dict(page.headers)


@given(st.text(st.characters(max_codepoint=0x2FFF), min_size=1))
def test_page_escapes_any_url(url: str) -> None:
    expected = url.replace("\r\n", "\n").replace("\r", "\n")
    failed, arrived = Document(error_page(InvalidToken(), url)), Document(page_first(url))
    assert [tag for tag, _ in failed.tags] == [*NAMES, "p", "a"]
    assert [tag for tag, _ in arrived.tags] == [*NAMES[:4], "meta", *NAMES[4:], "a"]
    for document in (failed, arrived):
        (link,) = document.all("a")
        assert (link["href"] or "").replace("\r\n", "\n").replace("\r", "\n") == expected
