"""An attacker's own live link in Chromium: the victim is asked, and stays unless they switch."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from running import Server, running

pytestmark = pytest.mark.browser

GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--threads=4", "--access-logfile=-")
UVICORN = ("uvicorn", "--port", "{port}", "--app-dir")
APPS = ["asgi", "asgi_strict", "wsgi"]


@contextlib.contextmanager
def serving(app: str, log: Path) -> Iterator[Server]:
    command = UVICORN if app.startswith("asgi") else (*GUNICORN, "--chdir")
    where = str(Path(__file__).parent)
    with running(app, (*command, where, f"switch_site:{app}"), log) as server:
        yield server


@pytest.fixture(scope="module", params=APPS, name="server")
def _server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(request.param, tmp_path_factory.mktemp(request.param) / "log") as server:
        yield server


class Victim:
    """Dan, signed in at the site by its number, on a page of the attacker's, who is Eve."""

    def __init__(self, chromium: Any, visit: Any, server: Server, way: str = "link") -> None:
        self.visit, self.page, self.server = visit, visit.page, server
        self.by_name = f"http://localhost:{server.port}"
        self.landing = f"{server.origin}/landing?from=link"
        context = chromium.new_context()
        page = context.new_page()
        page.goto(f"{self.by_name}/sign-in?eve")
        page.goto(f"{self.by_name}/{way}?landing?from=link")
        self.link = str(page.get_by_role("link", name="Open").get_attribute("href"))
        context.close()
        self.page.goto(f"{server.origin}/sign-in?dan")
        self.page.goto(f"{self.by_name}/")

    def open(self) -> None:
        self.visit.follow(self.link, "**/landing**")
        self.page.get_by_role("button").first.wait_for()

    @property
    def is_asked(self) -> bool:
        return "You are signed in as" in self.visit.text and "This link is for" in self.visit.text

    def press(self, label: str) -> None:
        self.page.get_by_role("button", name=label).click()
        self.page.wait_for_url(self.landing)

    @property
    def user(self) -> str:
        """Who the site's own page says that the browser is."""
        page = self.visit.context.new_page()
        page.goto(f"{self.server.origin}/")
        text = str(page.locator("body").inner_text())
        page.close()
        return text.removeprefix("user: ")

    @property
    def questions(self) -> list[dict[str, Any]]:
        return [each for each in self.visit.context.cookies() if "_switch_" in each["name"]]

    def live_token(self) -> str:
        (question,) = self.questions
        return str(question["value"].split(".")[1])


@pytest.fixture(name="victim")
def _victim(chromium: Any, visit: Any, server: Server) -> Victim:
    return Victim(chromium, visit, server)


class TestQuestion:
    def test_victim_is_asked(self, victim: Victim) -> None:
        victim.open()
        assert victim.is_asked
        assert "dan" in victim.visit.text
        assert "eve" in victim.visit.text
        assert victim.user == "dan"
        assert victim.visit.complaints == []

    def test_no_url_and_no_page_holds_the_live_token(self, victim: Victim) -> None:
        victim.open()
        live = victim.live_token()
        page = victim.page
        seen = [*victim.visit.history(), page.content(), page.evaluate("document.cookie")]
        assert not [text for text in seen if live in text]
        (question,) = victim.questions
        assert (question["httpOnly"], question["sameSite"]) == (True, "Lax")
        # The link's own token is used up: a browser without a session is shown so.
        assert (
            victim.server.ask("GET", victim.link.partition(victim.server.origin)[2]).status != 303
        )
        victim.press("Switch user")
        seen = [*victim.visit.history(), victim.page.evaluate("document.referrer")]
        assert not [text for text in seen if live in text]
        log = victim.server.log.read_text("utf-8", "replace")
        assert live not in log

    def test_reload_asks_again(self, victim: Victim) -> None:
        victim.open()
        for _ in range(2):
            victim.page.reload()
            assert victim.is_asked
        victim.press("Switch user")
        assert victim.visit.text == "user: eve"


class TestStay:
    def test_reload_and_back(self, victim: Victim) -> None:
        victim.open()
        victim.press("Stay signed in")
        assert victim.visit.text == "user: dan"
        victim.page.reload()
        assert victim.visit.text == "user: dan"
        victim.page.go_back()
        victim.page.wait_for_load_state()
        assert victim.user == "dan"
        victim.page.reload()
        assert victim.user == "dan"
        assert victim.questions == []
        assert "user: dan" in victim.visit.text


class TestSwitch:
    def test_reload_and_back(self, victim: Victim) -> None:
        victim.open()
        victim.press("Switch user")
        assert victim.visit.text == "user: eve"
        assert victim.visit.history()[-2].endswith("/landing?from=link")
        victim.page.reload()
        assert victim.visit.text == "user: eve"
        victim.page.go_back()
        victim.page.wait_for_load_state()
        assert victim.user == "eve"
        victim.page.reload()
        assert victim.user == "eve"
        assert victim.questions == []

    def test_session_that_changed_meanwhile(self, victim: Victim) -> None:
        victim.open()
        other = victim.visit.context.new_page()
        other.goto(f"{victim.server.origin}/sign-in?carol")
        victim.page.get_by_role("button", name="Switch user").click()
        victim.page.wait_for_load_state()
        assert "This link no longer works" in victim.visit.text
        assert victim.user == "carol"

    def test_two_tabs(self, chromium: Any, victim: Victim) -> None:
        victim.open()
        second = Victim.__new__(Victim)
        second.__dict__.update(victim.__dict__)
        second.page = victim.visit.context.new_page()
        context = chromium.new_context()
        page = context.new_page()
        page.goto(f"{victim.by_name}/sign-in?frank")
        page.goto(f"{victim.by_name}/link?landing?from=link")
        second.page.goto(str(page.get_by_role("link", name="Open").get_attribute("href")))
        context.close()
        assert len(victim.questions) == 2
        victim.press("Stay signed in")
        assert victim.user == "dan"
        second.press("Switch user")
        assert victim.user == "frank"

    def test_confirm_link(self, chromium: Any, visit: Any, server: Server) -> None:
        victim = Victim(chromium, visit, server, "mail")
        victim.open()
        victim.page.get_by_role("button", name="Sign in").click()
        victim.page.get_by_role("button", name="Switch user").wait_for()
        assert victim.is_asked
        assert victim.user == "dan"
        victim.press("Switch user")
        assert victim.visit.text == "user: eve"


class TestDoubleClick:
    @pytest.mark.parametrize(("label", "user"), [("Switch user", "eve"), ("Stay signed in", "dan")])
    def test_user_is_who_was_chosen(
        self, chromium: Any, visit: Any, tmp_path: Path, label: str, user: str
    ) -> None:
        with serving("wsgi_slow", tmp_path / "log") as server:
            victim = Victim(chromium, visit, server)
            victim.open()
            button = victim.page.get_by_role("button", name=label)
            button.dblclick(no_wait_after=True)
            victim.page.wait_for_url(victim.landing)
            victim.page.wait_for_load_state()
            assert victim.visit.text == f"user: {user}"


class TestAttacks:
    def test_frame_shows_nothing(self, victim: Victim) -> None:
        victim.page.evaluate(
            "url => document.body.append(Object.assign(document.createElement('iframe'),"
            " {src: url, name: 'inside'}))",
            victim.link,
        )
        victim.page.wait_for_timeout(300)
        assert victim.questions == []
        assert victim.user == "dan"

    @pytest.mark.parametrize("frame", ["", "&frame=1"])
    def test_other_site_posts_the_form(self, victim: Victim, frame: str) -> None:
        victim.open()
        # The attacker knows the link's token, and so the address that the form posts to.
        token = parse_qs(urlsplit(victim.link).query)["ott"][0]
        name = hashlib.sha256(b"ott_middleware nonce " + token.encode()).hexdigest()[:16]
        form = f"{victim.landing}&ott=switch.{name}"
        page = victim.visit.context.new_page()
        page.goto(f"{victim.by_name}/attack?link={quote(form, safe='')}{frame}")
        page.wait_for_timeout(300)
        page.close()
        assert victim.user == "dan"
        victim.press("Switch user")  # nothing was taken
        assert victim.user == "eve"
