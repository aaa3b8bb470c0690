"""The handoff as a browser sees it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from running import Server, running
from token_watch import keep_log

pytestmark = pytest.mark.browser

DEMO = Path(__file__).parents[3] / "examples" / "handoff.py"


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[str, str, Path]]:
    """The demo: the URLs of the front desk and the archive, and what it tells."""
    log = tmp_path / "log"
    # The picture shows the ports that a reader sees.
    ports = ("8001", "8002") if os.environ.get("OTT_TEST_PICTURE") else ("0", "0")
    options = ("--asgi-port", ports[0], "--wsgi-port", ports[1])
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-X", "utf8", str(DEMO), *options],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 20
        while "Ctrl-C" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.02)
        desk, archive = re.findall(r"http://[a-z0-9.]+:\d+", log.read_text())
        yield desk, archive, log
    finally:
        process.kill()
        process.wait()
        keep_log(log)


def sign_in(visit: Any, desk: str) -> None:
    visit.page.goto(desk)
    visit.page.get_by_label("Your name").fill("Grace")
    visit.page.get_by_role("button", name="Sign in").click()
    visit.page.get_by_role("link", name="Go to the archive").wait_for()


def token_of(link: str) -> str:
    return parse_qs(urlsplit(link).query)["ott"][0]


def test_demo_click_signs_in_and_leaves_no_token(visit: Any, demo: Any) -> None:
    desk, archive, log = demo
    page = visit.page
    sign_in(visit, desk)
    page.get_by_role("link", name="Go to the archive").click()
    page.wait_for_url(f"{archive}/")
    assert "Hello, Grace." in visit.text

    token = token_of(visit.link())
    assert len(token) == 32
    assert page.url == f"{archive}/"
    assert f"{archive}/" in visit.history()
    seen = [page.url, page.evaluate("document.URL"), page.evaluate("document.referrer")]
    seen += page.evaluate("performance.getEntries().map(entry => entry.name)")
    seen += visit.history()
    assert not [text for text in seen if token in text or "ott=" in text]
    told = log.read_text("utf-8")
    assert f"GET {archive}/ from Grace" in told
    assert token not in told
    assert visit.complaints == []


def test_reload_back_and_second_click_show_no_error(visit: Any, demo: Any) -> None:
    desk, archive, _ = demo
    page = visit.page
    sign_in(visit, desk)
    page.get_by_role("link", name="Go to the archive").click()
    page.wait_for_url(f"{archive}/")
    page.reload()
    assert "Hello, Grace." in visit.text
    page.go_back()
    assert page.url == f"{desk}/"
    assert "Hello, Grace." in visit.text
    page.go_forward()
    assert page.url == f"{archive}/"
    assert "Hello, Grace." in visit.text
    link = visit.link()
    page.goto(link)
    assert page.url == f"{archive}/"
    assert "Hello, Grace." in visit.text
    assert all(status < 400 for _, status in visit.answers)
    assert visit.complaints == []


def test_used_link_shows_a_page_that_fits_a_phone(visit: Any, stranger: Any, demo: Any) -> None:
    desk, archive, _ = demo
    sign_in(visit, desk)
    visit.page.get_by_role("link", name="Go to the archive").click()
    visit.page.wait_for_url(f"{archive}/")

    page = stranger.page
    page.goto(visit.link())
    assert stranger.answers[-1][1] == 400
    assert "This link no longer works" in stranger.text
    if pictures := os.environ.get("OTT_TEST_SCREENSHOTS"):
        page.screenshot(path=f"{pictures}/error-page.png")
    # Its style is let in by its policy, nothing sticks out, and a thumb can hit the link.
    assert stranger.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
    way_on = page.get_by_role("link")
    assert way_on.bounding_box()["height"] >= 44
    way_on.click()
    page.wait_for_url(f"{archive}/")
    assert "Hello, guest." in stranger.text
    assert stranger.context.cookies() == []


def test_page_policy_stops_a_script(stranger: Any, demo: Any) -> None:
    _, archive, _ = demo
    page = stranger.page
    page.goto(f"{archive}/?ott=never-made")
    page.evaluate(
        "() => { const script = document.createElement('script');"
        " script.textContent = 'document.title = \"scripted\"'; document.head.append(script) }"
    )
    assert page.title() == "This link no longer works"
    assert any("Content Security Policy" in text for text in stranger.complaints)


# A session cookie that browsers hold back on arrivals from other sites.

STRICT = {
    "asgi_keep": ("uvicorn", "--port", "{port}", "--app-dir"),
    "asgi_replace": ("uvicorn", "--port", "{port}", "--app-dir"),
    "wsgi_keep": (
        "gunicorn",
        "--bind",
        "127.0.0.1:{port}",
        "--threads=4",
        "--access-logfile=-",
        "--chdir",
    ),
}


@contextlib.contextmanager
def strict(app: str, log: Path) -> Iterator[Server]:
    command = (*STRICT[app], str(Path(__file__).parent), f"strict:{app}")
    with running(app, command, log) as server:
        yield server


def cross(visit: Any, server: Server, user: str, *, there: str | None = None) -> list[int]:
    """Sign in by name, and click the link to the numbers; returns what these answered."""
    page = visit.page
    if there is not None:
        page.goto(f"{server.origin}/sign-in?{there}")
        assert f"user: {there}" in visit.text
    by_name = f"http://localhost:{server.port}"
    page.goto(f"{by_name}/sign-in?{user}")
    page.goto(f"{by_name}/")
    assert f"user: {user}" in visit.text
    visit.answers.clear()
    page.get_by_role("link", name="Go").click()
    page.wait_for_url(f"{server.origin}/landing?from=link")
    return [status for url, status in visit.answers if url.startswith(server.origin)]


@pytest.mark.parametrize("app", ["asgi_keep", "wsgi_keep"])
def test_strict_cookie_arrives_through_a_page_of_its_site(
    app: str, visit: Any, tmp_path: Path
) -> None:
    with strict(app, tmp_path / "log") as server:
        # The page first, the redemption, the page.
        assert cross(visit, server, "alice") == [200, 303, 200]
        assert "user: alice" in visit.text
        link, page = visit.link(), visit.page
        token = token_of(link)
        # What the back button shows. Of a page that a page loaded, Chromium keeps the first URL.
        assert not [url for url in visit.history()[::2] if "ott=" in url]
        assert page.evaluate("document.referrer") == ""
        log = server.logged("GET /landing?from=link HTTP/1.1")
        assert token not in log
        assert "ott=" not in log

        page.reload()
        assert "user: alice" in visit.text
        page.go_back()
        assert page.url == f"http://localhost:{server.port}/"
        # A second click on what was used up.
        visit.follow(link, f"{server.origin}/landing?from=link")
        assert "user: alice" in visit.text
        assert [status for _, status in visit.answers if status >= 400] == []
        assert visit.complaints == []
        names = {cookie["name"] for cookie in visit.context.cookies(server.origin)}
        assert names == {"ott_session" if app == "asgi_keep" else "sid", "ott_seen"}


@pytest.mark.parametrize(
    ("app", "stays"), [("asgi_keep", "bob"), ("wsgi_keep", "bob"), ("asgi_replace", "alice")]
)
def test_strict_cookie_of_a_signed_in_user_is_seen(
    app: str, stays: str, visit: Any, tmp_path: Path
) -> None:
    with strict(app, tmp_path / "log") as server:
        assert cross(visit, server, "alice", there="bob") == [200, 303, 200]
        assert f"user: {stays}" in visit.text
        # The link was burnt all the same.
        burnt = server.ask("GET", urlsplit(visit.link())._replace(scheme="", netloc="").geturl())
        assert burnt.status == 400
        assert visit.complaints == []


def test_strict_cookie_used_link_shows_the_error_page(
    visit: Any, stranger: Any, tmp_path: Path
) -> None:
    with strict("asgi_keep", tmp_path / "log") as server:
        cross(visit, server, "alice")
        stranger.page.goto(f"http://localhost:{server.port}/")
        stranger.follow(visit.link(), "**/landing?from=link&ott=*ott_seen=*")
        stranger.page.get_by_text("This link no longer works").wait_for()
        assert "user: " not in stranger.text
        assert stranger.complaints == []
