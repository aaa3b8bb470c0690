"""Links under service workers, in frames, and in a browser that blocks cookies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import ARGUMENTS, Visit, executable
from running import Server, running
from worker_site import WORKERS

pytestmark = pytest.mark.browser

# By this name Chromium takes the site for one on plain http, and sends no Fetch Metadata.
PLAIN = "plain.test"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("workers") / "log"
    here = str(Path(__file__).parent)
    command = ("uvicorn", "--port", "{port}", "--app-dir", here, "worker_site:site")
    with running("uvicorn", command, log) as started:
        yield started


def mint(server: Server) -> str:
    return server.ask("GET", "/mint").body.decode()


def is_live(server: Server, token: str) -> bool:
    body = json.dumps({"token": token}).encode()
    answer = server.ask(
        "POST", "/one-time-token/verify", {"Content-Type": "application/json"}, body
    )
    return answer.status == 200


def under_worker(visit: Visit, server: Server, kind: str) -> None:
    visit.page.goto(f"{server.origin}/register?{kind}")
    visit.page.wait_for_function("document.title === 'ready' && navigator.serviceWorker.controller")
    visit.answers.clear()


def entries(visit: Visit) -> list[str]:
    return visit.history()[::2]


def click(visit: Visit, server: Server, link: str) -> None:
    """Click a link that is on a page of another site (the same server by its name)."""
    visit.page.goto(f"http://localhost:{server.port}/link?{quote(link)}")
    visit.page.get_by_role("link", name="Go").click()


class TestServiceWorkers:
    @pytest.mark.parametrize("kind", [each for each in WORKERS if each != "fetches_by_url"])
    def test_click_signs_in(self, visit: Visit, server: Server, kind: str) -> None:
        under_worker(visit, server, kind)
        before = len(entries(visit))
        token = mint(server)
        click(visit, server, f"{server.origin}/in?a=1&ott={token}#top")
        visit.page.wait_for_url(f"{server.origin}/in?a=1*")
        visit.page.get_by_text("user: alice").wait_for()
        assert visit.page.url.partition("#")[0] == f"{server.origin}/in?a=1"
        assert not is_live(server, token)
        # The page with the link, and the page that it led to.
        assert len(entries(visit)) == before + 2
        assert not [url for url in entries(visit) if "ott=" in url or "ott_seen=" in url]
        assert [status for _, status in visit.answers if status >= 400] == []
        assert visit.complaints == []
        visit.page.go_back()
        visit.page.get_by_role("link", name="Go").wait_for()
        visit.page.go_forward()
        visit.page.get_by_text("user: alice").wait_for()
        visit.page.reload()
        visit.page.get_by_text("user: alice").wait_for()

    def test_fetch_by_url_is_a_call(self, visit: Visit, server: Server) -> None:
        under_worker(visit, server, "fetches_by_url")
        token = mint(server)
        click(visit, server, f"{server.origin}/in?a=1&ott={token}")
        visit.page.get_by_text("user: alice").wait_for()
        assert [status for _, status in visit.answers if status >= 400] == []

    @pytest.mark.parametrize("kind", [each for each in WORKERS if each != "fetches_by_url"])
    @pytest.mark.parametrize("framing", ["own", "other"])
    def test_frame_redeems_nothing(
        self, visit: Visit, server: Server, kind: str, framing: str
    ) -> None:
        under_worker(visit, server, kind)
        assert_frames_redeem_nothing(
            visit,
            server,
            server.origin if framing == "own" else f"http://localhost:{server.port}",
            server.origin,
        )


def assert_frames_redeem_nothing(visit: Visit, server: Server, outer: str, inner: str) -> None:
    token = mint(server)
    for _ in range(5):
        visit.page.goto(f"{outer}/frame?{quote(f'{inner}/in?a=1&ott={token}')}")
        visit.page.wait_for_timeout(300)
        assert visit.page.url.startswith(f"{outer}/frame")
    cookies = {cookie["name"] for cookie in visit.context.cookies(inner)}
    assert "sid" not in cookies
    assert is_live(server, token)


class TestPlainHTTP:
    def test_browser_sends_no_fetch_metadata(self, visit: Visit, server: Server) -> None:
        sent: list[dict[str, str]] = []
        visit.page.on("request", lambda request: sent.append(request.all_headers()))
        visit.page.goto(f"http://{PLAIN}:{server.port}/")
        assert not [name for headers in sent for name in headers if name.startswith("sec-fetch")]

    @pytest.mark.parametrize("outer", [PLAIN, f"www.{PLAIN}", "other.test", "127.0.0.1"])
    def test_frame_redeems_nothing(self, visit: Visit, server: Server, outer: str) -> None:
        origin = f"http://{PLAIN}:{server.port}"
        assert_frames_redeem_nothing(visit, server, f"http://{outer}:{server.port}", origin)

    def test_click_signs_in(self, visit: Visit, server: Server) -> None:
        origin = f"http://{PLAIN}:{server.port}"
        visit.page.goto(f"{origin}/")
        token = mint(server)
        click(visit, server, f"{origin}/dir/in?a=1&ott={token}")
        visit.page.wait_for_url(f"{origin}/dir/in?a=1")
        visit.page.get_by_text("user: alice").wait_for()
        assert len(entries(visit)) == 4  # with about:blank
        assert visit.complaints == []

    def test_image_redeems_nothing(self, visit: Visit, server: Server) -> None:
        origin = f"http://{PLAIN}:{server.port}"
        visit.page.goto(f"{origin}/")
        token = mint(server)
        for element in ("img", "script", "embed", "object"):
            attribute = "data" if element == "object" else "src"
            visit.page.evaluate(
                "([name, attribute, url]) => new Promise(done => {"
                " const it = document.createElement(name); it.onload = it.onerror = done;"
                " it[attribute] = url; document.body.append(it); setTimeout(done, 500) })",
                [element, attribute, f"{origin}/in?ott={token}"],
            )
        assert is_live(server, token)


class TestBlockedCookies:
    def test_end_in_a_page(self, chromium: Any, server: Server, tmp_path: Path) -> None:
        profile = tmp_path / "Default"
        profile.mkdir()
        settings = {"profile": {"default_content_setting_values": {"cookies": 2}}}
        (profile / "Preferences").write_text(json.dumps(settings))
        context = chromium.browser_type.launch_persistent_context(
            str(tmp_path), executable_path=executable(), args=ARGUMENTS
        )
        try:
            visit = Visit(context)
            token = mint(server)
            visit.page.goto(f"http://{PLAIN}:{server.port}/in?a=1&ott={token}")
            visit.page.get_by_role("link", name="Try again").wait_for()
            visit.page.wait_for_timeout(500)
            assert [status for url, status in visit.answers if "/in" in url] == [200, 400]
            visit.page.get_by_role("link", name="Try again").click()
            visit.page.wait_for_timeout(500)
            loaded = [status for url, status in visit.answers if "/in" in url]
            assert loaded == [200, 400, 200, 400]
            assert is_live(server, token)
        finally:
            context.close()
