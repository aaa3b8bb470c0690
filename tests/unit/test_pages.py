from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware.errors import (
    BackendFull,
    BackendUnavailable,
    InvalidOrigin,
    InvalidToken,
    MissingOrNullOrigin,
    NoAccount,
    PayloadTooLarge,
    RequestError,
    SessionExpired,
    SessionNotFound,
    SessionUnavailable,
)
from ott_middleware.http import languages
from ott_middleware.http.encoding import visible
from ott_middleware.http.messages import Request, Response
from ott_middleware.http.pages import (
    Page,
    PageForm,
    build_page,
    error_page,
    page_first,
    render,
    render_own,
    try_again_page,
)


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


def request(target: str = "/x", query: str = "", method: str = "GET", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, "http", target, target, query, named)


def page_of(
    error: RequestError, asked: Request | None = None, login_url: str | None = None, **more: Any
) -> Page:
    page = error_page(error, asked or request(), login_url=login_url)
    return dataclasses.replace(page, **more)


def shown(
    error: RequestError, asked: Request | None = None, login_url: str | None = None, **more: Any
) -> Response:
    return render(page_of(error, asked, login_url, **more), *error.headers)


PAGES = [
    shown(InvalidToken()),
    page_first(request(), "?ott=T&ott_seen=N"),
    render(try_again_page("cookies_blocked", request(), "?ott=T")),
]
NAMES = ["html", "head", "meta", "meta", "title", "style", "body", "main", "h1"]


@pytest.mark.parametrize("page", PAGES)
class TestEveryPage:
    def test_is_private_and_allows_nothing(self, page: Response) -> None:
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

    def test_is_readable_on_a_phone(self, page: Response) -> None:
        document = Document(page)
        assert page.body.startswith(b"<!doctype html>")
        viewport = {"name": "viewport", "content": "width=device-width,initial-scale=1"}
        assert viewport in document.all("meta")
        assert document.all("script") == []
        assert document.texts["title"] == document.texts["h1"]
        style = document.texts["style"]
        assert "prefers-color-scheme:dark" in style
        assert "min-height:2.75rem" in style

    def test_says_its_language(self, page: Response) -> None:
        assert Document(page).all("html") == [{"lang": "en", "dir": "ltr"}]
        assert ("Content-Language", "en") in page.headers
        assert ("Vary", "Accept-Language") in page.headers


class TestErrorPage:
    @pytest.mark.parametrize(
        ("error", "name", "title", "text"),
        [
            (InvalidToken(), "used", "This link no longer works", "Ask for a new one"),
            (NoAccount(), "no_account", "You have no account here", "no account for you"),
            (SessionNotFound(), "session_ended", "Please sign in again", "Your session ended"),
            (SessionExpired(), "session_ended", "Please sign in again", "Your session ended"),
            (BackendUnavailable(), "unavailable", "Please try again shortly", "did not work just"),
            (BackendFull(), "unavailable", "Please try again shortly", "did not work just"),
            (InvalidOrigin(), "refused", "This request was refused", "you were not signed in"),
            (MissingOrNullOrigin(), "refused", "This request was refused", "did not accept"),
            (PayloadTooLarge(), "refused", "This request was refused", "did not accept"),
        ],
    )
    def test_text_follows_the_code(
        self, error: RequestError, name: str, title: str, text: str
    ) -> None:
        page = shown(error, request("/shop", "a=1&b=2"))
        document = Document(page)
        assert page.status == error.status
        assert page_of(error).name == name
        assert document.texts["h1"] == title
        assert text in document.texts["p"]
        assert document.all("a") == [{"href": "./shop?a=1&b=2"}]
        assert document.texts["a"] == "Continue without this link"

    @pytest.mark.parametrize("tag", list(languages.LANGUAGES))
    @pytest.mark.parametrize("error", [InvalidToken(), NoAccount(), SessionExpired()])
    def test_language_of_the_visitor(self, tag: str, error: RequestError) -> None:
        asked = request(accept_language=f"{tag}-XX, nl;q=0.9, en;q=0.1")
        page = shown(error, asked, "/login")
        texts = languages.LANGUAGES[tag].texts
        document = Document(page)
        title, text = texts[page_of(error).name]
        assert document.all("html") == [{"lang": tag, "dir": "ltr"}]
        assert (document.texts["h1"], document.texts["p"]) == (title, text)
        assert document.texts["a"] == texts["sign_in"] + texts["without_link"]
        assert ("Content-Language", tag) in page.headers

    def test_right_to_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        texts = languages.LANGUAGES["en"].texts
        hebrew = languages.Language("he", "rtl", texts)
        monkeypatch.setitem(languages.LANGUAGES, "he", hebrew)
        page = shown(InvalidToken(), request(accept_language="he-IL"))
        assert Document(page).all("html") == [{"lang": "he", "dir": "rtl"}]
        arrived = page_first(request(accept_language="he-IL"), "/x?ott=T")
        assert Document(arrived).all("html") == [{"lang": "he", "dir": "rtl"}]

    def test_hostile_language_is_not_shown(self) -> None:
        page = shown(InvalidToken(), request(accept_language='"><script>,de\r\nX: y'))
        assert b"script" not in page.body
        assert ("Content-Language", "en") in page.headers

    def test_no_detail_for_the_developer(self) -> None:
        for error in (InvalidToken, InvalidOrigin):
            assert b"milk" not in shown(error("remember the milk")).body
        page = shown(SessionUnavailable("remember the milk"))
        assert b"milk" not in page.body
        assert ("Retry-After", "5") in page.headers

    def test_site_name(self) -> None:
        page = shown(InvalidToken(), site_name="Ada & <b>Sons</b>")
        document = Document(page)
        assert document.all("b") == []
        assert document.texts["title"] == "This link no longer works - Ada & <b>Sons</b>"
        assert document.texts["p"].startswith("Ada & <b>Sons</b>It has been used")


class TestSignInButton:
    def next_of(self, login_url: str, asked: Request) -> list[str]:
        page = shown(InvalidToken(), asked, login_url)
        sign_in, clean = Document(page).all("a")
        assert clean == {"href": asked.location}
        return parse_qs(urlsplit(sign_in["href"] or "").query, keep_blank_values=True)["next"]

    def test_leads_back(self) -> None:
        page = shown(InvalidToken(), request("/shop/%C3%A9", "a=1&b=%20"), "/login")
        href = "/login?next=/shop/%25C3%25A9%3Fa%3D1%26b%3D%2520"
        assert Document(page).all("a")[0] == {"href": href}
        assert Document(page).texts["a"].startswith("Sign in")

    @pytest.mark.parametrize(
        ("login_url", "href"),
        [
            ("/login", "/login?next=/x"),
            ("/login?theme=dark", "/login?theme=dark&next=/x"),
            ("/login?next=/home&a=1", "/login?a=1&next=/x"),
            ("/#login", "/?next=/x#login"),
            ("https://id.example/in?a=%20#b", "https://id.example/in?a=%20&next=/x#b"),
        ],
    )
    def test_form_of_login_url(self, login_url: str, href: str) -> None:
        assert Document(shown(InvalidToken(), None, login_url)).all("a")[0] == {"href": href}

    @pytest.mark.parametrize(
        ("target", "query"),
        [
            ("//evil.example", ""),
            ("/%2Fevil.example", ""),
            ("/%5Cevil.example", ""),
            ("/", "next=https://evil.example/"),
            ("/", "next=//evil.example&next=/"),
            ("/a", "&next=%2F%2Fevil.example#"),
            ("/a", "\r\nLocation: https://evil.example"),
        ],
    )
    def test_next_never_leaves_this_site(self, target: str, query: str) -> None:
        (value,) = self.next_of("/login", request(target, query))
        assert re.match(r"/(?![/\\])", value)
        assert value.isprintable()
        shown_query = f"?{visible(query)}" if query else ""
        assert value == target.replace("//", "/%2F") + shown_query

    def test_request_that_is_no_page_has_no_next(self) -> None:
        page = shown(InvalidToken(), request(method="POST"), "/login")
        assert Document(page).all("a")[0] == {"href": "/login"}

    @given(st.text(st.characters(max_codepoint=0xFF)))
    def test_any_query_stays_inside_of_next(self, query: str) -> None:
        asked = request("/x", query)
        (value,) = self.next_of("/login?a=1", asked)
        assert value == (f"/x?{visible(query)}" if query else "/x")


class TestOwnPage:
    def test_html(self) -> None:
        seen: list[Page] = []

        def show(page: Page) -> str:
            seen.append(page)
            return f"<h1>{page.title}</h1>"

        error = BackendUnavailable()
        page = page_of(error, request("/shop", "a=1"), "/login", site_name="Shop")
        response = render_own(page, show, *error.headers)
        headers = dict(response.headers)
        assert seen == [page]
        assert response.status == 503
        assert response.body == b"<h1>Please try again shortly</h1>"
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Vary"] == "Accept-Language"
        assert headers["Retry-After"] == "5"
        policy = headers["Content-Security-Policy"].split("; ")
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "style-src 'self' 'unsafe-inline'" in policy

    def test_response_keeps_what_it_says(self) -> None:
        own = (
            ("Content-Type", "text/plain"),
            ("cache-control", "max-age=60"),
            ("ETag", '"a"'),
            ("referrer-policy", "unsafe-url"),
            ("content-security-policy", "default-src 'self'"),
            ("X-Shop", "1"),
        )
        page = page_of(InvalidToken())
        response = render_own(page, lambda page: Response(200, own, b"sorry"))
        assert (response.status, response.body) == (400, b"sorry")
        assert response.headers == (
            ("Content-Type", "text/plain"),
            ("content-security-policy", "default-src 'self'"),
            ("X-Shop", "1"),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("Vary", "Accept-Language"),
        )

    def test_response_without_a_policy_gets_one(self) -> None:
        response = render_own(page_of(InvalidToken()), lambda page: Response(200))
        assert "frame-ancestors 'none'" in dict(response.headers)["Content-Security-Policy"]

    def test_other_types_are_refused(self) -> None:
        show: Any = lambda page: b"bytes"  # noqa: E731 - a function of the wrong type
        with pytest.raises(TypeError, match="returned a bytes: return HTML or a Response"):
            render_own(page_of(InvalidToken()), show)

    def test_page_is_frozen_and_shows_no_url(self) -> None:
        page = page_of(InvalidToken(), request("/x", "mail=ada%40example.com"), "/login")
        assert "ada" not in repr(page)
        with pytest.raises(dataclasses.FrozenInstanceError):
            page.status = 200  # type: ignore[misc]  # that is what is tested


class TestCookiesBlockedPage:
    def test_loads_nothing_by_itself(self) -> None:
        page = render(try_again_page("cookies_blocked", request(), "?a=1&ott=T"))
        document = Document(page)
        assert page.status == 400
        assert document.texts["h1"] == "Cookies are blocked"
        assert [each for each in document.all("meta") if "http-equiv" in each] == []
        assert document.all("a") == [{"href": "?a=1&ott=T"}]
        assert "Set-Cookie" not in dict(page.headers)

    def test_language(self) -> None:
        asked = request(accept_language="ja")
        page = try_again_page("cookies_blocked", asked, "?ott=T")
        document = Document(render(dataclasses.replace(page, site_name="B")))
        assert document.all("html") == [{"lang": "ja", "dir": "ltr"}]
        assert document.texts["a"] == "もう一度試す"
        assert document.texts["p"].startswith("B")


class TestPageFirst:
    def test_loads_the_same_url_at_once(self) -> None:
        page = page_first(request(), "/x?a=1&ott=T", ("Set-Cookie", "a=b"))
        document = Document(page)
        assert page.status == 200
        assert page.headers[-1] == ("Set-Cookie", "a=b")
        assert {"http-equiv": "refresh", "content": "0;url=/x?a=1&ott=T"} in document.all("meta")
        assert document.all("a") == [{"href": "/x?a=1&ott=T"}]

    def test_language(self) -> None:
        document = Document(page_first(request(accept_language="fr"), "/x?ott=T"))
        assert document.all("html") == [{"lang": "fr", "dir": "ltr"}]
        assert document.texts["a"] == "Continuer"


@given(st.text(st.characters(max_codepoint=0x2FFF), min_size=1))
def test_page_escapes_any_url(url: str) -> None:
    asked = request(url)
    failed = Document(shown(InvalidToken(), asked))
    arrived = Document(page_first(asked, url))
    assert [tag for tag, _ in failed.tags] == [*NAMES, "p", "p", "a"]
    assert [tag for tag, _ in arrived.tags] == [*NAMES[:4], "meta", *NAMES[4:], "p", "a"]
    for document, expected in ((failed, asked.location), (arrived, url)):
        (link,) = document.all("a")
        assert lines(link["href"] or "") == lines(expected)


def lines(text: str) -> str:
    """The text with the line ends that HTML knows."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def choice(site_name: str | None = None, **more: Any) -> Page:
    page, language = build_page("used", request(), needed=("proceed",), **more)
    yes = PageForm(label=language.texts["proceed"], fields={"nonce": "N<"}, action="?a=1&b=2")
    forms = (yes, PageForm(label="No", fields={}))
    return dataclasses.replace(page, forms=forms, site_name=site_name)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        digits = colour.lstrip("#")
        digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(f * p for f, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


class TestContrast:
    """What WCAG 2.2 asks for at level AA: 4.5 for text, 3 for the outlines of buttons."""

    style = Document(shown(InvalidToken())).texts["style"]
    light, dark = style.split("@media(prefers-color-scheme:dark)")

    def rule(self, css: str, selector: str) -> dict[str, str]:
        found = re.findall(rf"(?:^|[}}{{]){re.escape(selector)}{{([^}}]*)}}", css)
        pairs = (each.partition(":") for rule in found for each in rule.split(";"))
        return {name: value for name, _, value in pairs}

    def test_measure(self) -> None:
        assert contrast("#000", "#fff") == 21
        assert round(contrast("#777777", "#fff"), 2) == 4.48

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_text(self, scheme: str) -> None:
        body = self.rule(getattr(self, scheme), "body")
        assert contrast(body["color"], body["background"]) >= 7

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_buttons(self, scheme: str) -> None:
        button = self.rule(self.light, "a,button")
        assert contrast(button["color"], button["background"]) >= 4.5
        page = self.rule(getattr(self, scheme), "body")["background"]
        second = self.rule(self.light, "a+a,form+form button")["border-color"]
        first = self.rule(self.dark, "a,button").get("border-color", "")
        outline = first if scheme == "dark" else button["border"].split()[-1]
        assert contrast(outline, page) >= 3
        assert contrast(second, page) >= 3


class TestFormPage:
    def test_forms_post_hidden_fields(self) -> None:
        document = Document(render(choice(site_name="Shop")))
        assert document.all("form") == [
            {"method": "post", "action": "?a=1&b=2"},
            {"method": "post"},
        ]
        assert document.all("input") == [{"type": "hidden", "name": "nonce", "value": "N<"}]
        assert document.texts["button"] == "ContinueNo"
        assert document.all("a") == []

    @pytest.mark.parametrize(
        "show", [None, lambda page: "<form>", lambda page: Response(200, (), b"<form>")]
    )
    def test_browser_posts_it_with_its_origin_and_shows_no_frame(self, show: Any) -> None:
        page = choice()
        response = render(page) if show is None else render_own(page, show)
        headers = dict(response.headers)
        assert len(headers) == len(response.headers)
        assert headers["Referrer-Policy"] == "strict-origin"
        # Chromium would apply it to where the app redirects after the form.
        assert "form-action" not in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"

    def test_notice_stands_in_place_of_the_text(self) -> None:
        document = Document(render(choice(notice="confirm_again", status=403)))
        assert document.texts["h1"] == "This link no longer works"
        assert document.texts["p"].startswith("You were not signed in")

    def test_fields_stay_out_of_a_repr(self) -> None:
        assert "N<" not in repr(choice())
