"""Pull handoff in Chromium: two origins, a sign-in in between, and the attacks that it closes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import NAVIGATION
from running import Server, running

pytestmark = pytest.mark.browser


@pytest.fixture(params=["lax"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Both sites, with a session cookie of the target that is Lax or Strict."""
    app = f"pull_sites:{request.param}"
    options = ("--port", "{port}", "--lifespan", "off")
    command = ("uvicorn", *options, "--app-dir", str(Path(__file__).parent), app)
    with running(app, command, tmp_path / "log") as started:
        yield started


def issuer(server: Server) -> str:
    return f"http://localhost:{server.port}"


def log_in(visit: Any, name: str = "alice", page: Any = None) -> None:
    """Fill in the form that is shown."""
    page = page or visit.page
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Sign in").click()


def sign_in_at_issuer(visit: Any, server: Server, name: str = "alice") -> None:
    visit.page.goto(f"{issuer(server)}/login")
    log_in(visit, name)
    visit.page.get_by_text(f"issuer: {name}").wait_for()


def catch_return(visit: Any, server: Server) -> str:
    """Start a handoff; return the URL that it ends with, which the browser does not open."""
    url = f"{server.origin}/account"
    for _ in range(2):
        # With the cookies of the browser, which keeps those that it is given.
        answer = visit.context.request.get(url, headers=NAVIGATION, max_redirects=0)
        url = answer.headers["location"]
    return url


def live_urls(visit: Any) -> list[str]:
    return [url for url in visit.history() if "ott=" in url]


@pytest.mark.parametrize("server", ["lax", "strict"], indirect=True)
def test_protected_page_by_way_of_the_sign_in(visit: Any, server: Server) -> None:
    page = visit.page
    page.goto(f"{server.origin}/account?tab=1")
    assert page.url.startswith(f"{issuer(server)}/login?next=")
    log_in(visit)
    page.wait_for_url(f"{server.origin}/account?tab=1")
    assert "target: alice at /account" in visit.text
    assert not [url for url in visit.history()[::2] if "ott=" in url]
    assert page.evaluate("document.referrer") == ""
    page.reload()
    assert "target: alice" in visit.text
    page.go_back()
    page.get_by_label("Name").wait_for()
    page.go_forward()
    page.wait_for_url(f"{server.origin}/account?tab=1")
    assert "target: alice" in visit.text
    # The link once more: the visitor sees no error.
    page.goto(visit.link())
    assert "target: alice" in visit.text
    assert "ott=" not in page.url
    assert [status for _, status in visit.answers if status >= 400] == []
    assert visit.complaints == []
    log = server.logged("GET /account?tab=1")
    assert "ott=" not in log
    names = {cookie["name"] for cookie in visit.context.cookies(server.origin)}
    assert not {name for name in names if name.startswith("ott_pull_") and "returns" not in name}


def test_visitor_of_the_issuer_sees_no_page_in_between(visit: Any, server: Server) -> None:
    sign_in_at_issuer(visit, server)
    for path in ("/account", "/own"):
        visit.context.clear_cookies(name="target_session")
        visit.page.goto(f"{server.origin}{path}")
        assert visit.page.url == f"{server.origin}{path}"
        assert f"target: alice at {path}" in visit.text
    assert live_urls(visit) == []


def test_link_of_a_page_to_the_protected_one(visit: Any, server: Server) -> None:
    sign_in_at_issuer(visit, server)
    page = visit.page
    page.goto(f"{server.origin}/")
    assert "target: None" in visit.text
    page.get_by_role("link", name="Account").click()
    page.wait_for_url(f"{server.origin}/account")
    assert "target: alice" in visit.text
    page.go_back()
    assert page.url == f"{server.origin}/"
    assert "target: alice" in visit.text or "target: None" in visit.text
    assert live_urls(visit) == []


def test_two_tabs_at_once(visit: Any, server: Server) -> None:
    first, second = visit.page, visit.context.new_page()
    first.goto(f"{server.origin}/account/1")
    second.goto(f"{server.origin}/account/2")
    log_in(visit, page=second)
    second.wait_for_url(f"{server.origin}/account/2")
    log_in(visit, page=first)
    first.wait_for_url(f"{server.origin}/account/1")
    assert "target: alice at /account/1" in visit.text


def test_stolen_link_is_worth_nothing(visit: Any, stranger: Any, server: Server) -> None:
    sign_in_at_issuer(visit, server)
    link = catch_return(visit, server)
    assert "/one-time-token/return?ott=" in link
    stranger.page.goto(link)
    assert "You were not signed in" in stranger.text
    names = {cookie["name"] for cookie in stranger.context.cookies(server.origin)}
    assert "target_session" not in names
    # It is used up; the visitor is sent to the issuer once more, and sees nothing of it.
    visit.page.goto(link)
    assert visit.page.url == f"{server.origin}/account"
    assert "target: alice" in visit.text


def test_login_csrf_fails(visit: Any, stranger: Any, server: Server) -> None:
    sign_in_at_issuer(visit, server, "mallory")
    stranger.page.goto(f"{server.origin}/")
    # The end of a handoff of the attacker's own, on a page of another site.
    link = catch_return(visit, server)
    stranger.page.goto(f"{issuer(server)}/")
    stranger.follow(link, "**/return?**")
    assert "You were not signed in" in stranger.text
    # The same, to a victim who is on the way, and does not notice: the sign-in is the victim's.
    stranger.page.goto(f"{server.origin}/account")
    stranger.page.goto(catch_return(visit, server))
    log_in(stranger, "victim")
    stranger.page.wait_for_url(f"{server.origin}/account")
    assert "target: victim" in stranger.text
    stranger.context.clear_cookies()
    # A link of the attacker's, without a challenge.
    visit.page.goto(f"{issuer(server)}/")
    token = visit.page.evaluate(
        "async url => (await (await fetch(url)).json()).token",
        f"/one-time-token/generate?audience={server.origin}",
    )
    stranger.page.goto(f"{server.origin}/?ott={token}")
    assert stranger.answers[-1][1] == 400
    stranger.page.goto(f"{server.origin}/")
    assert "target: None" in stranger.text


def test_page_with_try_again(visit: Any, server: Server) -> None:
    sign_in_at_issuer(visit, server)
    link = catch_return(visit, server)
    names = [cookie["name"] for cookie in visit.context.cookies(server.origin)]
    for name in names:
        visit.context.clear_cookies(name=name)
    sign_in_at_issuer(visit, server)
    visit.page.goto(link)
    assert "You were not signed in" in visit.text
    button = visit.page.get_by_role("link", name="Try again")
    assert button.bounding_box()["height"] >= 44
    button.click()
    visit.page.wait_for_url(f"{server.origin}/")
    assert "target: None" in visit.text
