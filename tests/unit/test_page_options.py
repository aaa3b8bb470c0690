from __future__ import annotations

import functools
import re
from typing import Any

import pytest

from ott_middleware import ConfigurationError
from ott_middleware.http import Page
from ott_middleware.options import Options


def show(page: Page) -> str:
    return page.title


async def show_later(page: Page) -> str:
    return page.title


def build(**values: Any) -> Options:
    return Options.build({"session": "sid", **values})


class TestPageOptions:
    def test_defaults(self) -> None:
        options = build()
        assert (options.site_name, options.login_url, options.pages) == (None, None, None)

    @pytest.mark.parametrize(
        "login_url",
        [
            "/",
            "/login",
            "/login?next=/x&a=%20#top",
            "https://id.example",
            "http://localhost:8000/login?x",
            "https://id.example:8443/in#a",
        ],
    )
    def test_login_url(self, login_url: str) -> None:
        assert build(login_url=login_url).login_url == login_url

    @pytest.mark.parametrize(
        "login_url",
        [
            "",
            "login",
            "?login",
            "//id.example/login",
            "/\\id.example",
            "/login\n",
            "/log in",
            "\\login",
            "javascript:alert(1)",
            "data:text/html,x",
            "ftp://id.example/",
            "https:///login",
            "https://ada:secret@id.example/",
            "https://",
            "https:/login",
            "/caf\u00e9",
            b"/login",
            3,
        ],
    )
    def test_login_url_that_is_none(self, login_url: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"^login_url: .*as '/login', or a URL"):
            build(login_url=login_url)

    @pytest.mark.parametrize("site_name", ["Shop", "Café ☕", "<b>", "合同会社"])
    def test_site_name(self, site_name: str) -> None:
        assert build(site_name=site_name).site_name == site_name

    @pytest.mark.parametrize("site_name", ["", "  ", "a\nb", "a\u202eb", 3, b"Shop"])
    def test_site_name_that_is_none(self, site_name: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"^site_name: .*use a name on one line"):
            build(site_name=site_name)

    def test_pages(self) -> None:
        pages = {"used": show, "unavailable": functools.partial(show)}
        assert build(pages=pages).pages == pages

    @pytest.mark.parametrize(
        ("pages", "cure"),
        [
            ((), "pages: a tuple; pass a dict, as {'used': function}"),
            (show, "pages: a function; pass a dict"),
            ([show], "pages: a list; pass a dict"),
            ({"use": show}, "pages: 'use' is no page; did you mean 'used'?"),
            ({"404": show}, "pages: '404' is no page; there are used, no_account"),
            ({400: show}, "pages: 400 is no page"),
            ({"used": "<h1>Sorry"}, "pages: 'used' is a str; pass a function"),
            ({"used": None}, "pages: 'used' is a NoneType; pass a function"),
            ({"used": show_later}, "pages: show_later for 'used' is async; make it a plain"),
            ({"used": functools.partial(show_later)}, "is async; make it a plain function"),
        ],
    )
    def test_pages_with_a_mistake(self, pages: Any, cure: str) -> None:
        with pytest.raises(ConfigurationError, match=re.escape(cure)):
            build(pages=pages)
