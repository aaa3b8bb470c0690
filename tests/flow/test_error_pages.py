"""Pages for visitors with links that did not work."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from harness import NAVIGATION, World

from ott_middleware.http import Page, Response

HTML = {"accept": "text/html"}


class TestErrorPages:
    def test_language(self, world: World) -> None:
        site = world.serve(login_url="/login", site_name="Shop")
        answer = site.open("/p?a=1&ott=dead", {"accept-language": "ja,en;q=0.5"})
        page = answer.body.decode()
        assert answer.status == 400
        assert answer.header("content-language") == "ja"
        assert answer.header("vary") == "Accept-Language"
        assert '<html lang="ja" dir="ltr">' in page
        assert '<a href="/login?next=/p%3Fa%3D1">ログイン</a>' in page
        assert "Shop" in page

    def test_next_has_the_mount_and_no_token(self, world: World) -> None:
        site = world.serve(login_url="/login")
        answer = site.open("/p?ott=deadtoken&x=%22", mount="/app")
        page = answer.body.decode()
        assert '<a href="/login?next=/app/p%3Fx%3D%2522">' in page
        assert "deadtoken" not in page

    def test_session_ended(self, world: World) -> None:
        site = world.serve()
        token = site.token()
        site.members.live.clear()
        answer = site.open(f"/?ott={token}")
        assert answer.status == 400
        assert b"Please sign in again" in answer.body

    def test_json_stays_as_it_is(self, world: World) -> None:
        pages = {"used": lambda page: "own"}
        site = world.serve(login_url="/login", site_name="Shop", pages=pages)
        answer = site.fetch("/?ott=dead", {"accept": "application/json", "accept-language": "de"})
        assert answer.json() == {"message": "Invalid token", "code": "INVALID_TOKEN"}
        assert answer.header("content-language") is None


class TestOwnPages:
    def test_used(self, world: World) -> None:
        seen: list[Page] = []

        def show(page: Page) -> str:
            seen.append(page)
            return f'<a href="{page.continue_url}">{page.code}</a>'

        site = world.serve(pages={"used": show}, login_url="/login")
        answer = site.open("/p?a=1&ott=deadtoken", {"accept-language": "de"})
        assert (answer.status, answer.body) == (400, b'<a href="?a=1">INVALID_TOKEN</a>')
        assert answer.header("cache-control") == "no-store"
        assert answer.header("referrer-policy") == "no-referrer"
        assert "default-src 'none'" in (answer.header("content-security-policy") or "")
        (page,) = seen
        assert (page.language, page.sign_in_label) == ("de", "Anmelden")
        assert not any("deadtoken" in str(getattr(page, name)) for name in page.__slots__)

    def test_others_stay_built_in(self, world: World) -> None:
        site = world.serve(pages={"unavailable": lambda page: "own"})
        assert b"This link no longer works" in site.open("/?ott=dead").body

    def test_refused(self, world: World) -> None:
        show = lambda page: Response(200, (("Content-Type", "text/plain"),), b"no")  # noqa: E731
        site = world.serve(pages={"refused": show})
        evil = {**NAVIGATION, "origin": "https://evil.example"}
        answer = site.send("POST", "/?ott=dead", evil, b"x")
        assert (answer.status, answer.body) == (403, b"no")

    @pytest.mark.parametrize(
        ("returned", "says"),
        [
            (None, "returned a NoneType: return HTML"),
            (b"own", "returned a bytes: return HTML"),
            ("\ud800", "raised UnicodeEncodeError"),
        ],
    )
    def test_failure_shows_the_built_in_page(
        self, world: World, caplog: pytest.LogCaptureFixture, returned: Any, says: str
    ) -> None:
        site = world.serve(pages={"used": lambda page: returned})
        with caplog.at_level(logging.ERROR, "ott_middleware"):
            answer = site.open("/?ott=dead")
        assert answer.status == 400
        assert b"This link no longer works" in answer.body
        assert f"pages['used'] {says}" in caplog.text

    def test_exception_is_not_quoted(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        def show(page: Page) -> str:
            raise KeyError("ada@example.com")

        site = world.serve(pages={"used": show})
        assert b"This link no longer works" in site.open("/?ott=dead").body
        assert "raised KeyError at test_error_pages.py" in caplog.text
        assert "ada@" not in caplog.text
