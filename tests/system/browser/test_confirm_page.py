"""Confirm links in Chromium: what scanners do leaves them alive, and the visitor's click works."""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from running import Server, running

pytestmark = pytest.mark.browser

FORM = "application/x-www-form-urlencoded"
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--threads=4", "--access-logfile=-")
SERVERS = {
    "asgi": ("uvicorn", "--port", "{port}", "--app-dir"),
    "asgi_strict": ("uvicorn", "--port", "{port}", "--app-dir"),
    "wsgi": (*GUNICORN, "--chdir"),
    "wsgi_slow": (*GUNICORN, "--chdir"),
}


@contextlib.contextmanager
def serving(app: str, log: Path) -> Iterator[Server]:
    command = (*SERVERS[app], str(Path(__file__).parent), f"confirm_site:{app}")
    with running(app, command, log) as server:
        yield server


@pytest.fixture(scope="module", params=["asgi", "wsgi"], name="server")
def _server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(request.param, tmp_path_factory.mktemp(request.param) / "log") as server:
        yield server


def by_name(server: Server) -> str:
    return f"http://localhost:{server.port}"


def mail(chromium: Any, server: Server, rest: str = "landing?from=mail") -> str:
    """A confirm link for Alice, in a mail."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{by_name(server)}/sign-in?alice")
    page.goto(f"{by_name(server)}/mail?{rest}")
    link = page.get_by_role("link", name="Open").get_attribute("href")
    context.close()
    assert "ott=confirm." in link
    return str(link)


def token_of(link: str) -> str:
    return link.partition("ott=confirm.")[2]


def press(visit: Any, until: str) -> None:
    visit.page.get_by_role("button", name="Sign in").click()
    visit.page.wait_for_url(until)


class TestScanner:
    def test_client_opens_and_follows(self, chromium: Any, visit: Any, server: Server) -> None:
        link = mail(chromium, server)
        jar = urllib.request.HTTPCookieProcessor(CookieJar())
        opener = urllib.request.build_opener(jar)
        for method in ("HEAD", "GET", "OPTIONS", "GET"):
            for accept in ("*/*", "text/html"):
                agent = {"Accept": accept, "User-Agent": "Mozilla/5.0 (compatible; Scanner/1.0)"}
                asked = urllib.request.Request(link, method=method, headers=agent)
                with contextlib.suppress(urllib.error.HTTPError):
                    opener.open(asked).read()
        visit.page.goto(link)
        press(visit, f"{server.origin}/landing?from=mail")
        assert visit.text == "user: alice"

    def test_browser_loads_all_without_a_click(
        self, chromium: Any, visit: Any, server: Server
    ) -> None:
        link = mail(chromium, server)
        context = chromium.new_context()
        page = context.new_page()
        # A page of the scanner's that loads the link in all ways, and then the link itself.
        page.goto(f"{by_name(server)}/scan?link={quote(link, safe='')}")
        page.evaluate("window.done")
        page.goto(link)
        page.wait_for_load_state("networkidle")
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        assert page.locator("button").count() == 1
        page.reload()
        assert "ott_session" not in {cookie["name"] for cookie in context.cookies()}
        context.close()
        visit.page.goto(link)
        press(visit, f"{server.origin}/landing?from=mail")
        assert visit.text == "user: alice"
        assert visit.complaints == []


class TestVisitor:
    @pytest.mark.parametrize("app", ["asgi", "asgi_strict", "wsgi"])
    def test_click_reload_back(self, chromium: Any, visit: Any, app: str, tmp_path: Path) -> None:
        with serving(app, tmp_path / "log") as server:
            link, page = mail(chromium, server), visit.page
            landing = f"{server.origin}/landing?from=mail"
            page.goto(f"{by_name(server)}/")
            visit.follow(link, link)  # from another site: a web mail
            assert "Do you want to sign in?" in visit.text
            page.reload()
            assert "Do you want to sign in?" in visit.text
            press(visit, landing)
            assert visit.text == "user: alice"
            assert page.evaluate("document.referrer") in ("", f"{server.origin}/")
            page.reload()
            assert visit.text == "user: alice"
            page.go_back()
            # The page again: the token is used up, and a click leads to where it led before.
            assert "Do you want to sign in?" in visit.text
            page.get_by_role("button").click()
            page.wait_for_load_state()
            if page.url != landing:  # the cookie of the nonce is gone: the page came with a notice
                assert "Please press the button again" in visit.text
                press(visit, landing)
            assert visit.text == "user: alice"
            page.go_back()
            page.go_forward()
            assert page.url == landing
            assert visit.text == "user: alice"
            assert [
                (url, status) for url, status in visit.answers if status not in (200, 303, 304, 403)
            ] == []
            # No URL of the history holds a live token.
            assert {redeem(server, url) for url in visit.history() if "ott=" in url} == {400}
            log = server.logged("GET /landing?from=mail HTTP/1.1")
            assert token_of(link) not in log
            assert visit.complaints == []
            names = {cookie["name"] for cookie in visit.context.cookies(server.origin)}
            names = {name for name in names if not name.startswith("ott_confirm_")}
            assert names == {"sid" if app == "wsgi" else "ott_session"}

    def test_app_redirects_to_another_origin(
        self, chromium: Any, visit: Any, server: Server
    ) -> None:
        visit.page.goto(mail(chromium, server, "away"))
        press(visit, f"{by_name(server)}/landing?from=away")
        assert "user: " in visit.text
        assert visit.complaints == []

    @pytest.mark.parametrize("gap", [0, 200])
    def test_double_click_posts_once(
        self, chromium: Any, visit: Any, tmp_path: Path, gap: int
    ) -> None:
        """A second POST would cancel the first one, and lose the session that it has begun."""
        with serving("wsgi_slow", tmp_path / "log") as server:
            visit.page.goto(mail(chromium, server))
            box = visit.page.get_by_role("button").bounding_box()
            for _ in range(2):
                visit.page.mouse.click(box["x"] + 9, box["y"] + 9)
                visit.page.wait_for_timeout(gap)
            visit.page.wait_for_url(f"{server.origin}/landing?from=mail")
            names = {cookie["name"] for cookie in visit.context.cookies(server.origin)}
            assert names == {"sid"}
            log = server.logged("GET /landing?from=mail HTTP/1.1")
            assert log.count("POST") == 1

    def test_page_works_without_scripts(self, chromium: Any, server: Server) -> None:
        link = mail(chromium, server)
        context = chromium.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(link)
        assert page.get_by_role("heading", level=1).inner_text() == "Do you want to sign in?"
        button = page.get_by_role("button", name="Sign in")
        assert button.bounding_box()["height"] >= 44
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{server.origin}/landing?from=mail")
        context.close()

    def test_two_links_at_a_time(self, chromium: Any, visit: Any, server: Server) -> None:
        links = [mail(chromium, server, f"landing?from={number}") for number in range(3)]
        pages = [visit.context.new_page() for _ in links]
        for page, link in zip(pages, links, strict=True):
            page.goto(link)
        for number, page in enumerate(pages):
            page.get_by_role("button").click()
            page.wait_for_url(f"{server.origin}/landing?from={number}")


class TestAttacker:
    @pytest.mark.parametrize("how", ["", "&frame"])
    def test_form_of_another_site(
        self, chromium: Any, visit: Any, server: Server, how: str
    ) -> None:
        link = mail(chromium, server)
        # The victim has the page open: a nonce is there.
        visit.page.goto(link)
        attacker = visit.context.new_page()
        attacker.goto(f"{by_name(server)}/attack?link={quote(link, safe='')}{how}")
        attacker.wait_for_timeout(300)
        if not how:
            attacker.wait_for_url(link)
            assert "This request was refused" in attacker.locator("body").inner_text()
        names = {cookie["name"] for cookie in visit.context.cookies(server.origin)}
        assert not names & {"sid", "ott_session"}
        press(visit, f"{server.origin}/landing?from=mail")
        assert visit.text == "user: alice"


def redeem(server: Server, url: str) -> int:
    """Open a confirm link and press its button, as a browser without cookies would."""
    target = urlsplit(url)._replace(scheme="", netloc="").geturl()
    page = server.ask("GET", target, {"Accept": "text/html"})
    nonce = page.body.decode().partition('value="')[2].partition('"')[0]
    cookies = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
    headers = {"Origin": server.origin, "Content-Type": FORM, "Cookie": cookies}
    return server.ask("POST", target, headers, f"nonce={nonce}".encode()).status
