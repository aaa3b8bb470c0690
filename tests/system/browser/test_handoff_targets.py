"""Navigation handoff, judged by a browser: no target leads to another place than was checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import pytest
from harness import NAVIGATION, Answer, Members, Site, World, person
from hostile_targets import HANDOFF_TARGETS, HONEST, TRICKS, filled, path_to
from running import Server, running

pytestmark = pytest.mark.browser

A = "https://a.example"
ALICE = {"cookie": "sid=alice-cookie"}
JUDGE = """pairs => pairs.map(([url, base]) => {
  try {
    const it = base ? new URL(url, base) : new URL(url)
    return [it.origin, it.pathname, it.href, it.username + it.password]
  } catch { return null }
})"""


def served(world: World, **options: Any) -> Site:
    members = Members(person("alice"))
    return world.serve(session=members, public_origin=A, handoff_targets=HANDOFF_TARGETS, **options)


def opened(site: Site, targets: list[str], **headers: str) -> list[Answer]:
    """The responses to the navigations to some targets."""
    sent = {**NAVIGATION, **headers}
    # In a thread: the client of the browser has an event loop in this one.
    with ThreadPoolExecutor(1) as thread:
        return [*thread.map(lambda target: site.get(path_to(target), sent), targets)]


def judged(page: Any, pairs: list[tuple[str, str | None]]) -> list[Any]:
    """What Chromium makes of URLs, or of references against a base."""
    found: list[Any] = page.evaluate(JUDGE, [list(pair) for pair in pairs])
    return found


def is_trusted(origin: str, path: str) -> bool:
    return any(
        f"{origin}{path}".startswith(each) and f"{origin}/" == urljoin(each, "/")
        for each in HANDOFF_TARGETS
    )


@pytest.fixture(name="page")
def _page(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context()
    page = context.new_page()
    page.goto("about:blank")
    yield page
    context.close()


class TestJudgedByChromium:
    def test_list_is_long(self) -> None:
        assert len(filled(TRICKS)) >= 300

    def test_hostile_targets(self, world: World, page: Any) -> None:
        site = served(world)
        hostile = filled(TRICKS)
        answers = opened(site, hostile, **ALICE)
        accepted = [
            (target, answer.location)
            for target, answer in zip(hostile, answers, strict=True)
            if answer.status == 303
        ]
        assert all(answer.status in (303, 400) for answer in answers)
        # Some of the tricks end in a place that is trusted.
        assert 20 < len(accepted) < 120
        bases = (A, "http://a.example/x", "https://b.example:8443/app/", "http://127.0.0.1:8001/")
        pairs = [(str(location), base) for _, location in accepted for base in bases]
        for (location, _), found in zip(pairs, judged(page, pairs), strict=True):
            origin, path, href, user = found
            assert is_trusted(origin, path), location
            assert user == ""
            # The browser changes nothing: what was checked is what it opens.
            assert href == location
        # And it is what the browser makes of the attacker's text.
        texts = judged(page, [(target, None) for target, _ in accepted])
        for (target, _), (origin, path, _, user), (_, location) in zip(
            accepted, texts, accepted, strict=True
        ):
            parts = urlsplit(location or "")
            assert (origin, user) == (f"{parts.scheme}://{parts.netloc}", ""), target
            assert path == parts.path, target

    def test_refused_is_untrusted_or_in_doubt(self, world: World, page: Any) -> None:
        site = served(world)
        hostile = filled(TRICKS)
        answers = opened(site, hostile, **ALICE)
        refused = [each for each, a in zip(hostile, answers, strict=True) if a.status == 400]
        found = judged(page, [(each, None) for each in refused])
        strict = [
            text
            for text, url in zip(refused, found, strict=True)
            if url and url[2].startswith("http") and is_trusted(url[0], url[1]) and not url[3]
        ]
        # A browser opens these at a trusted place. They are refused all the same: a user name that
        # is empty, a name that is mapped, dots that a server may decode, the middleware's own path.
        doubt = re.compile(
            r"%0|\x00|://:?@|\u00ad|\u200b|\ufeff|%ef%bb%bf|\.\.(%|;)|%252e|%2e%2e;|one-time-token"
        )
        assert [text for text in strict if not doubt.search(text)] == []

    def test_honest_targets_are_accepted(self, world: World, page: Any) -> None:
        site = served(world)
        honest = filled(HONEST)
        answers = opened(site, honest, **ALICE)
        assert [a.status for a in answers] == [303] * len(honest)
        texts = judged(page, [(target, None) for target in honest])
        for answer, (_, _, href, _) in zip(answers, texts, strict=True):
            location = re.sub(r"[?&]ott=[A-Za-z0-9_-]{32}", "", answer.location or "")
            assert location == href

    def test_pages_and_login_lead_nowhere_else(self, world: World, page: Any) -> None:
        site = served(world, login_url="/login")
        pairs: list[tuple[str, str | None]] = []
        targets = filled(TRICKS + HONEST)
        others = opened(site, targets, **ALICE, **{"sec-fetch-site": "cross-site"})
        for target, other, signed_out in zip(targets, others, opened(site, targets), strict=True):
            base = f"{A}{path_to(target)}"
            assert other.status in (200, 400)
            hrefs = re.findall(rb'href="([^"]*)"', other.body)
            assert len(hrefs) == 1
            pairs.append((unescape(hrefs[0].decode()), base))
            if signed_out.status == 303:
                location = signed_out.location or ""
                wanted = parse_qs(urlsplit(location).query)["next"][0]
                pairs += [(location, base), (wanted, f"{A}/login")]
        assert len(pairs) > 500
        assert {origin for origin, _, _, _ in judged(page, pairs)} == {A}


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("handoff") / "log"
    here = str(Path(__file__).parent)
    command = ("uvicorn", "--port", "{port}", "--app-dir", here, "handoff_site:app")
    with running("uvicorn", command, log) as server:
        yield server


def source(server: Server) -> str:
    return f"http://localhost:{server.port}"


@pytest.fixture(name="signed_in")
def _signed_in(visit: Any, server: Server) -> Any:
    visit.page.goto(f"{source(server)}/sign-in")
    visit.answers.clear()
    return visit


NAVIGATIONS = [
    *("http://evil.test:{p}/", "//evil.test:{p}/", "http:\\\\evil.test:{p}\\"),
    *("http://b.test:{p}@evil.test:{p}/", "http://evil.test:{p}\\@b.test:{p}/", "/\\evil.test:{p}"),
    *("http://b.test%2eevil.test:{p}/", "http://evil.test:{p}#@b.test:{p}/", "javascript:alert(1)"),
    *("http://evil.test:{p}?b.test:{p}/", "ht\ntp://evil.test:{p}/", "http:///evil.test:{p}"),
    *("http://b.test:{p}\\@evil.test:{p}/", "http://b.test:{p}//evil.test:{p}/", ),
    *("HTTP:/b.test:{p}/w", "http:evil.test:{p}"),
    *("http://b.test:{p}/\r\nLocation: http://evil.test/", "http://prefix.test:{p}/app/../leak"),
    *("http://prefix.test:{p}/app/x/..", "http://b\u00fccher.test:{p}/\u00fc?\u00fc#\u00fc"),
    *("http://prefix.test:{p}\\app\\..\\leak", "data:text/html,x"),
]  # fmt: skip


# Each makes the browser load a URL that no visitor has asked for.
SPECULATIONS = {
    "prefetch": "<link rel=prefetch href=URL>",
    "image": "<img src=URL>",
    "prefetch-rule": '<script type=speculationrules>{"prefetch":[{"urls":["URL"],'
    '"eagerness":"immediate"}]}</script>',
    "prerender-rule": '<script type=speculationrules>{"prerender":[{"urls":["URL"],'
    '"eagerness":"immediate"}]}</script>',
    "fetch": "",
}
SPECULATE = """([html, url]) => {
    if (!html) return fetch(url, {redirect: "manual"}).then(() => null);
    document.body.append(
        document.createRange().createContextualFragment(html.replace("URL", url)));
}"""


class TestRealNavigations:
    def test_none_leaves_the_trusted_origins(self, signed_in: Any, server: Server) -> None:
        assert len(NAVIGATIONS) >= 20
        requested: list[str] = []
        page = signed_in.page
        page.on("request", lambda request: requested.append(request.url))
        ends: dict[str, str] = {}
        for template in NAVIGATIONS:
            target = template.replace("{p}", str(server.port))
            page.goto(f"{source(server)}{path_to(target)}")
            page.wait_for_url(lambda url: "ott=" not in url)
            ends[template] = page.url
        places = [urlsplit(url) for url in requested]
        hosts = {place.hostname for place in places if place.scheme != "data"}
        assert hosts == {"localhost", "b.test", "prefix.test", "xn--bcher-kva.test"}
        assert not any(place.hostname == "prefix.test" and place.path[:5] != "/app/"
                       for place in places)  # fmt: skip
        arrived = [url for url in ends.values() if "localhost" not in url]
        assert len(arrived) == 6, arrived
        assert not [url for url in signed_in.history()[::2] if "ott=" in url]

    def test_own_page_is_silent(self, signed_in: Any, server: Server) -> None:
        page = signed_in.page
        page.goto(f"{source(server)}/?to=http://b.test:{server.port}/welcome?a=1")
        page.get_by_role("link", name="Go").click()
        page.wait_for_url(f"http://b.test:{server.port}/welcome?a=1")
        # Over plain http Chromium sends this host no Fetch Metadata: the link's page comes first.
        page.get_by_text("user: ada").wait_for()
        assert not [url for url in signed_in.history()[::2] if "ott=" in url]

    def test_by_way_of_the_log_in_page(self, visit: Any, server: Server) -> None:
        page, welcome = visit.page, f"http://b.test:{server.port}/welcome?a=1&b=%26"
        start = f"{source(server)}/?to={quote(welcome, safe='')}"
        page.goto(start)
        page.get_by_role("link", name="Go").click()
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(welcome)
        page.get_by_text("user: ada").wait_for()
        page.reload()
        page.get_by_text("user: ada").wait_for()
        page.go_back()
        page.get_by_role("button", name="Log in").wait_for()
        page.go_back()
        assert page.url == start
        page.get_by_role("link", name="Go").click()
        page.wait_for_url(welcome)
        page.get_by_text("user: ada").wait_for()
        page.go_back()
        page.go_forward()
        page.wait_for_url(welcome)
        page.get_by_text("user: ada").wait_for()
        # The links once more: used up, and no error for the visitor.
        opened = {url for url, _ in visit.answers if "ott=" in url and "ott_seen=" not in url}
        assert len(opened) == 2
        for url in opened:
            page.goto(url)
            page.wait_for_url(welcome)
            page.get_by_text("user: ada").wait_for()
        assert not [url for url in visit.history()[::2] if "ott=" in url]
        assert [status for _, status in visit.answers if status >= 400] == []
        assert visit.complaints == []

    def test_other_site_asks(self, signed_in: Any, server: Server) -> None:
        page = signed_in.page
        page.goto(f"http://evil.test:{server.port}/?to=http://b.test:{server.port}/leak")
        signed_in.answers.clear()
        page.get_by_role("link", name="Lure").click()
        page.get_by_role("heading", name=f"Continue to b.test:{server.port}").wait_for()
        assert [status for _, status in signed_in.answers] == [200]
        assert page.url.startswith(source(server))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("link", name="Continue").click()
        page.wait_for_url(f"http://b.test:{server.port}/leak")
        page.get_by_text("user: ada").wait_for()
        assert signed_in.complaints == []

    @pytest.mark.parametrize("kind", SPECULATIONS)
    def test_own_page_that_loads_it_ahead(self, signed_in: Any, server: Server, kind: str) -> None:
        page = signed_in.page
        to = f"http://b.test:{server.port}/ahead-{kind}"
        page.goto(f"{source(server)}/?to={to}")
        page.evaluate(SPECULATE, [SPECULATIONS[kind], path_to(to)])
        line = server.logged(quote(f"/ahead-{kind}", safe=""))
        page.wait_for_timeout(300)
        asked = [each for each in server.log.read_text().splitlines() if f"ahead-{kind}" in each]
        assert len(asked) >= 1, line
        assert not [each for each in asked if " 303" in each]
        # The visitor's own click is led on.
        page.get_by_role("link", name="Go").click()
        page.wait_for_url(to)
        page.get_by_text("user: ada").wait_for()

    def test_frame_of_another_site_shows_nothing(self, signed_in: Any, server: Server) -> None:
        page = signed_in.page
        target = f"http://b.test:{server.port}/leak"
        page.goto(f"http://evil.test:{server.port}/?frame=1&to={target}")
        framed = [status for url, status in signed_in.answers if "one-time-token" in url]
        assert framed == [400]
        assert not [url for url, _ in signed_in.answers if "b.test" in urlsplit(url).netloc]
