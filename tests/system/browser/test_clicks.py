"""The same browser's second click, at a site whose adapter cannot verify sessions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from conftest import Visit
from running import Server, running

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("clicks") / "log"
    here = str(Path(__file__).parent)
    command = ("uvicorn", "--port", "{port}", "--app-dir", here, "clicks_site:site")
    with running("uvicorn", command, log) as started:
        yield started


def link(server: Server, path: str) -> str:
    return f"{path}?ott={server.ask('GET', '/mint').body.decode()}"


def statuses(visit: Visit, server: Server) -> list[int]:
    return [status for url, status in visit.answers if url.startswith(server.origin)]


class TestSecondClick:
    def test_double_click(self, visit: Visit, server: Server) -> None:
        page = visit.page
        page.goto(f"{server.origin}/links?{quote(link(server, '/slow'))}")
        page.get_by_role("link").dblclick(no_wait_after=True)
        page.get_by_text("cookie: alice-cookie").wait_for()
        assert page.url == f"{server.origin}/slow"
        assert set(statuses(visit, server)) == {200, 303}

    def test_after_the_first_was_stopped(self, visit: Visit, server: Server) -> None:
        """The first click was redeemed; the visitor stopped its page, and opens the link again."""
        page, path = visit.page, link(server, "/slow")
        page.goto(f"{server.origin}/links?{quote(path)}")
        with page.expect_response(lambda response: response.status == 303):
            page.evaluate("document.querySelector('a').click()")
        # The page that follows takes its time: the visitor does not see it.
        visit.context.new_cdp_session(page).send("Page.stopLoading")
        page.goto(f"{server.origin}{path}")
        page.get_by_text("cookie: alice-cookie").wait_for()
        assert page.url == f"{server.origin}/slow"
        assert set(statuses(visit, server)) == {200, 303}

    def test_in_another_tab(self, visit: Visit, server: Server) -> None:
        path = link(server, "/page")
        visit.page.goto(f"{server.origin}{path}")
        other = Visit(visit.context)
        other.page.goto(f"{server.origin}{path}")
        assert other.page.url == f"{server.origin}/page"
        assert "cookie: alice-cookie" in other.text
        assert statuses(other, server) == [303, 200]
        assert not [url for url in other.history()[::2] if "ott=" in url]

    def test_tabs_at_once(self, visit: Visit, server: Server) -> None:
        """The tab that comes second may see the page of a used link; its reload shows none."""
        path = link(server, "/page")
        tabs = [visit, *(Visit(visit.context) for _ in range(3))]
        for tab in tabs:
            tab.page.goto(f"{server.origin}/links?{quote(path)}")
        for tab in tabs:
            tab.page.evaluate("document.querySelector('a').click()")
        for tab in tabs:
            tab.page.wait_for_url(f"{server.origin}/page*")
            tab.page.wait_for_load_state()
        for tab in tabs:
            tab.page.reload()
            assert tab.page.url == f"{server.origin}/page"
            assert "cookie: alice-cookie" in tab.text

    def test_after_a_preload_that_was_cancelled(self, visit: Visit, server: Server) -> None:
        page, path = visit.page, link(server, "/page")
        page.goto(f"{server.origin}/links?{quote(path)}")
        with page.expect_response(lambda response: response.status == 503):
            page.evaluate(
                "url => { const link = document.createElement('link'); link.rel = 'prefetch';"
                " link.href = url; document.head.append(link) }",
                path,
            )
        page.get_by_role("link").click()
        page.get_by_text("cookie: alice-cookie").wait_for()
        assert page.url == f"{server.origin}/page"
        assert statuses(visit, server) == [200, 503, 303, 200]

    def test_after_the_cookies_are_gone(self, visit: Visit, server: Server) -> None:
        path = link(server, "/page")
        visit.page.goto(f"{server.origin}{path}")
        visit.context.clear_cookies(name="sid")
        visit.page.goto(f"{server.origin}{path}")
        assert "This link no longer works" in visit.text
