"""Page first: what may be a frame, or comes without a strict cookie, redeems at the second load."""

from __future__ import annotations

import logging
import re
from html import unescape
from typing import Any
from urllib.parse import urljoin

import pytest
from harness import NAVIGATION, Answer, Members, Site, World, echo, person

from ott_middleware.http import Page
from ott_middleware.http.urls import add_parameter

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
ARRIVING = {"sec-fetch-site": "cross-site"}
WORKER = {**NAVIGATION, "sec-fetch-dest": "empty"}
# Each kind of request that gets a page first.
KINDS: dict[str, dict[str, str]] = {
    "a worker passes the request on": WORKER,
    "a worker passes on, from another site": {
        **WORKER,
        "sec-fetch-site": "cross-site",
        "referer": "https://evil.example/",
    },
    "no destination": {name: NAVIGATION[name] for name in ("accept", "sec-fetch-mode")},
    "a worker builds a request": {**WORKER, "sec-fetch-mode": "same-origin"},
    "an old browser": HTML,
    "an old browser that is signed in": {**HTML, "accept-language": "de", "cookie": "a=b"},
}


@pytest.fixture(params=KINDS, name="headers")
def _headers(request: pytest.FixtureRequest) -> dict[str, str]:
    return KINDS[request.param]


def strict(world: World, **options: Any) -> Site:
    members = Members(person("alice"), person("bob"), samesite="Strict")
    return world.serve(session=members, **options)


def shown(answer: Answer, target: str) -> str:
    """The URL that the page loads."""
    found = re.search(rb'http-equiv="refresh" content="0;url=([^"]*)"', answer.body)
    assert found is not None, answer.body
    return urljoin(target, unescape(found[1].decode()))


def is_live(site: Site, token: str) -> bool:
    return site.verify(token).status == 200


def cookies(**values: str) -> str:
    return "; ".join(f"{name}={value}" for name, value in values.items())


class TestPage:
    def test_loads_the_same_url_with_a_nonce(self, world: World, headers: dict[str, str]) -> None:
        site = world.serve()
        token = site.token()
        answer = site.get(f"/in?a=1&ott={token}&b=%22", headers)
        assert answer.status == 200
        assert answer.header("x-frame-options") == "DENY"
        assert "frame-ancestors 'none'" in (answer.header("content-security-policy") or "")
        assert answer.header("cache-control") == "no-store"
        assert answer.header("referrer-policy") == "no-referrer"
        nonce = answer.cookies["ott_seen"]
        assert re.fullmatch(r"[A-Za-z0-9_-]{32}", nonce)
        assert answer.cookie("ott_seen") == {"Max-Age=60", "Path=/", "HttpOnly", "SameSite=Lax"}
        assert shown(answer, "/in") == f"/in?a=1&b=%22&ott={token}&ott_seen={nonce}"
        # Nothing happened yet: no app, no adapter, no token was asked for anything.
        assert site.seen == []
        assert site.members.asked == []
        assert is_live(site, token)

    def test_second_load_redeems(self, world: World, headers: dict[str, str]) -> None:
        site = world.serve()
        answer = site.load(f"/in?a=1&ott={site.token()}&b=%22", headers)
        rest = "a=1&b=%22"
        old = not any(name.startswith("sec-fetch") for name in headers)
        assert (answer.status, answer.location) == (303, f"./in?{rest}" if old else f"?{rest}")
        # The nonce stays for its 60 seconds: another tab may be about to load its URL.
        assert answer.cookies == {"sid": "alice-cookie"}

    def test_nonces_are_random(self, world: World) -> None:
        site = world.serve()
        nonces = {site.get("/?ott=T", WORKER).cookies["ott_seen"] for _ in range(20)}
        assert len(nonces) == 20

    def test_host_prefix_over_https(self, world: World, headers: dict[str, str]) -> None:
        site = world.serve()
        token = site.token()
        answer = site.get(f"/?ott={token}", headers, scheme="https")
        (name,) = answer.cookies
        assert name == "__Host-ott_seen"
        assert answer.cookie(name) == {"Max-Age=60", "Path=/", "HttpOnly", "SameSite=Lax", "Secure"}
        # A cookie without the prefix may have been planted by a subdomain.
        target = f"/?ott={token}&ott_seen={answer.cookies[name]}"
        planted = {**headers, "cookie": cookies(ott_seen=answer.cookies[name])}
        assert site.get(target, planted, scheme="https").status == 400
        own = {**headers, "cookie": cookies(**answer.cookies)}
        assert site.get(target, own, scheme="https").status == 303

    def test_names_follow_the_parameter(self, world: World) -> None:
        site = world.serve(query_param="key")
        answer = site.get(f"/?key={site.token()}", WORKER)
        assert set(answer.cookies) == {"key_seen"}
        assert "key_seen=" in shown(answer, "/")
        assert site.load(f"/?key={site.token()}", WORKER).status == 303

    def test_malformed_link_is_an_error_at_once(self, world: World) -> None:
        site = world.serve()
        for query in ("ott=", "ott=a.b", "ott=A&ott=B", f"ott={'x' * 513}"):
            answer = site.get(f"/?{query}", WORKER)
            assert (answer.status, answer.cookies) == (400, {})

    def test_own_page_for_blocked_cookies(self, world: World, headers: dict[str, str]) -> None:
        pages: list[Page] = []

        def show(page: Page) -> str:
            pages.append(page)
            return "<h1>Our cookies</h1>"

        site = world.serve(pages={"cookies_blocked": show}, site_name="B")
        token = site.token()
        answer = site.get(f"/in?a=1&ott={token}&ott_seen={'N' * 32}", headers)
        assert (answer.status, answer.body) == (400, b"<h1>Our cookies</h1>")
        assert answer.header("x-frame-options") == "DENY"
        assert answer.header("referrer-policy") == "no-referrer"
        (page,) = pages
        assert (page.name, page.code, page.site_name) == ("cookies_blocked", "", "B")
        assert urljoin("/in", page.continue_url) == f"/in?a=1&ott={token}"
        assert is_live(site, token)

    def test_navigation_with_the_nonce_of_another_page_redeems(self, world: World) -> None:
        site = world.serve()
        url = f"/?ott={site.token()}&ott_seen={'N' * 32}"
        headers = {**NAVIGATION, "cookie": f"ott_seen={'M' * 32}"}
        assert site.get(url, headers).status == 303

    def test_used_link_is_an_error_after_the_page(self, world: World) -> None:
        site = world.serve()
        token = site.token()
        assert is_live(site, token)
        assert site.get(f"/?ott={token}", WORKER).status == 200
        assert site.load(f"/?ott={token}", WORKER).status == 400

    @pytest.mark.parametrize("kind", ["cors", "no-cors", "HEAD", "iframe", "prefetch"])
    def test_other_requests_ignore_the_nonce(self, world: World, kind: str) -> None:
        site = world.serve()
        token = site.token()
        headers = {
            "cors": {**NAVIGATION, "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
            "no-cors": {**NAVIGATION, "sec-fetch-mode": "no-cors"},
            "iframe": {**NAVIGATION, "sec-fetch-dest": "iframe"},
            "prefetch": {**NAVIGATION, "purpose": "prefetch"},
        }.get(kind, NAVIGATION)
        method = "HEAD" if kind == "HEAD" else "GET"
        answer = site.send(method, f"/?ott={token}&ott_seen={'N' * 32}", headers)
        assert answer.status == (503 if kind == "prefetch" else 200)
        assert bool(answer.cookies) == (kind == "cors")


class TestAttacks:
    def test_frame_loads_often(self, world: World, headers: dict[str, str]) -> None:
        """A frame gets the page and shows none of it: whatever it loads again, nothing is taken."""
        site = world.serve()
        token = site.token()
        jar: dict[str, str] = {}
        for _ in range(5):
            sent = {**headers, "cookie": cookies(**jar)} if jar else headers
            answer = site.get(f"/?ott={token}", sent)
            assert answer.header("x-frame-options") == "DENY"
            assert "sid" not in answer.cookies
            jar |= answer.cookies
        assert is_live(site, token)

    @pytest.mark.parametrize(
        "seen",
        ["", "x", "N" * 31, "N" * 33, "n" * 32, "N" * 32 + "&ott_seen=" + "O" * 32, "%00", "a.b"],
    )
    def test_guessed_nonce(self, world: World, headers: dict[str, str], seen: str) -> None:
        site = world.serve()
        token = site.token()
        sent = {**headers, "cookie": cookies(ott_seen="N" * 32)}
        answer = site.get(f"/?ott={token}&ott_seen={seen}", sent)
        # The page again, with the nonce that the browser holds.
        assert answer.cookies == {"ott_seen": "N" * 32}
        assert answer.header("x-frame-options") == "DENY"
        assert is_live(site, token)

    @pytest.mark.parametrize(
        "planted", ["", "x", '"', "<script>", "a b", "N" * 600, "N" * 9000, "short", "N" * 15]
    )
    def test_planted_cookie_is_no_nonce(self, world: World, planted: str) -> None:
        site = world.serve()
        token = site.token()
        answer = site.get(f"/?ott={token}", {**WORKER, "cookie": f"ott_seen={planted}"})
        assert re.fullmatch(r"[A-Za-z0-9_-]{32}", answer.cookies["ott_seen"])
        if planted:
            assert planted not in answer.body.decode().split("<main>")[1] or planted in ('"', "x")
        # Beside the planted one, the own one goes on.
        nonce = answer.cookies["ott_seen"]
        both = {**WORKER, "cookie": f"ott_seen={planted}; ott_seen={nonce}"}
        again = site.get(f"/?ott={token}&ott_seen={nonce}", both)
        assert again.status == (303 if len(planted) < 9000 else 400)

    def test_second_tab_keeps_the_nonce_of_the_first(self, world: World) -> None:
        site = world.serve()
        one, other = site.token(), site.token()
        first = site.get(f"/?ott={one}", WORKER)
        jar = {**WORKER, "cookie": cookies(**first.cookies)}
        second = site.get(f"/?ott={other}", jar)
        assert second.cookies == first.cookies
        for answer in (first, second):
            assert site.get(shown(answer, "/"), jar).status == 303

    def test_two_tabs_at_the_same_moment(self, world: World) -> None:
        site = world.serve()
        first = site.get(f"/?ott={site.token()}", WORKER)
        second = site.get(f"/?ott={site.token()}", WORKER)
        jar = {**WORKER, "cookie": cookies(**second.cookies)}
        again = site.get(shown(first, "/"), jar)
        assert again.status == 200
        assert site.get(shown(again, "/"), jar).status == 303

    def test_browser_without_cookies_does_not_loop(
        self, world: World, headers: dict[str, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        site = world.serve()
        token = site.token()
        first = site.get(f"/in?a=1&ott={token}", headers)
        with caplog.at_level(logging.DEBUG, logger="ott_middleware"):
            answer = site.get(shown(first, "/in"), headers)
        assert answer.status == 400
        assert re.search(rb"<h1>Cookies (are|sind) [a-z]+</h1>", answer.body)
        assert b"http-equiv" not in answer.body
        assert answer.all("set-cookie") == []
        assert answer.header("x-frame-options") == "DENY"
        # The page offers the link once more: a click leads to the page first.
        (href,) = re.findall(r'<a href="([^"]*)">', answer.body.decode())
        target = urljoin("/in", unescape(href))
        assert target == f"/in?a=1&ott={token}"
        assert site.load(target, headers).status == 303
        assert "the browser sent no cookie ott_seen back" in caplog.text
        assert token not in caplog.text
        assert first.cookies["ott_seen"] not in caplog.text

    def test_browser_without_cookies_takes_nothing_anywhere(self, world: World) -> None:
        for site in (world.serve(), strict(world)):
            token = site.token()
            for how in ({}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-origin"}):
                assert site.open(f"/?ott={token}&ott_seen={'N' * 32}", how).status == 400
            assert is_live(site, token)

    def test_more_cookies_than_a_browser_sends(self, world: World) -> None:
        site = world.serve()
        token = site.token()
        many = {**WORKER, "cookie": "; ".join([f"ott_seen={'N' * 32}"] * 40)}
        assert site.get(f"/?ott={token}", many).status == 200
        assert site.get(f"/?ott={token}&ott_seen={'N' * 32}", many).status == 400
        assert is_live(site, token)


class TestNonceInUrls:
    """The nonce is cut wherever the token is."""

    def test_app_and_log_see_neither(self, world: World) -> None:
        site = world.serve(echo)
        token, nonce = site.token(), "N" * 32
        query = f"a=1&ott={token}&ott_seen={nonce}&b"
        copies = {
            "referer": f"http://app.example/x?{query}",
            "x-original-uri": f"/x?{query}",
            "x-custom": f"seen /x?{query} there",
        }
        headers = {**NAVIGATION, **copies, "sec-fetch-dest": "iframe"}
        report = site.get(f"/x?{query}", headers).json()
        assert report["query"] == "a=1&b"
        for name in copies:
            assert nonce not in report["headers"][name], name
            assert token not in report["headers"][name], name
        assert report["headers"]["referer"] == "http://app.example/x?a=1&b"

    @pytest.mark.parametrize("spelled", ["ott_seen", "%6ftt_seen", "ott%5Fs%65en"])
    def test_nonce_alone_is_cut_too(self, world: World, spelled: str) -> None:
        site = world.serve(echo)
        report = site.get(f"/x?a=1&{spelled}=N&b", NAVIGATION).json()
        assert report["query"] == "a=1&b"
        assert report["redeemed"] is None

    def test_similar_names_are_the_apps(self, world: World) -> None:
        site = world.serve(echo)
        query = "ott_see=1&ott_seenx=2&xott_seen=3&ott_seen_seen=4&OTT_SEEN=5&seen=6&_seen=7"
        assert site.get(f"/x?{query}", NAVIGATION).json()["query"] == query

    def test_links_that_are_made_here_have_none(self) -> None:
        url = add_parameter("https://b.example/?ott_seen=N&a", "ott", "T")
        assert url == "https://b.example/?a&ott=T"


class TestStrictCookie:
    """A browser holds a strict cookie back where a link of another site is opened."""

    def test_cross_site_arrival_loads_again(self, world: World) -> None:
        site = strict(world)
        token = site.token()
        answer = site.open(f"/in?a=1&ott={token}&b=%22", ARRIVING)
        assert (answer.status, set(answer.cookies)) == (200, {"ott_seen"})
        assert site.seen == []
        nonce = cookies(**answer.cookies)
        url = shown(answer, "/in")
        # The second load comes from this site's page. If a browser calls it cross-site, it goes on.
        second = site.open(url, {**ARRIVING, "cookie": nonce})
        assert (second.status, second.location) == (303, "?a=1&b=%22")
        assert second.cookies == {"sid": "alice-cookie"}

    @pytest.mark.parametrize("site_of", ["none", "same-origin", "same-site"])
    def test_cookie_that_browsers_send_needs_no_page(self, world: World, site_of: str) -> None:
        site = strict(world)
        answer = site.open(f"/?ott={site.token()}", {"sec-fetch-site": site_of})
        assert (answer.status, answer.cookies) == (303, {"sid": "alice-cookie"})

    @pytest.mark.parametrize("site_of", ["none", "same-origin", "same-site"])
    def test_adapter_that_cannot_tell_is_not_asked(self, world: World, site_of: str) -> None:
        class KnownInRequests(Members):
            def __getattribute__(self, name: str) -> Any:
                # As Flask's, where the app's session interface looks at the present request.
                if name == "strict":
                    raise RuntimeError("working outside of request context")
                return super().__getattribute__(name)

        site = world.serve(session=KnownInRequests(person("alice")))
        answer = site.open(f"/?ott={site.token()}", {"sec-fetch-site": site_of})
        assert (answer.status, answer.cookies) == (303, {"sid": "alice-cookie"})

    def test_cookie_that_was_held_back_is_seen(self, world: World) -> None:
        site = strict(world, on_switch="keep")
        answer = site.open(f"/?ott={site.token()}", ARRIVING)
        jar = cookies(sid="bob-cookie", **answer.cookies)
        # Bob, whose cookie comes with the second load, stays signed in.
        second = site.open(shown(answer, "/"), {"cookie": jar, "sec-fetch-site": "same-origin"})
        assert (second.status, second.cookies) == (303, {})

    def test_nonce_without_its_parameter_is_not_enough(self, world: World) -> None:
        site = strict(world)
        answer = site.open(f"/?ott={site.token()}", ARRIVING)
        jar = {**ARRIVING, "cookie": cookies(**answer.cookies)}
        assert site.open(f"/?ott={site.token()}", jar).status == 200

    def test_used_link_of_a_signed_in_visitor(self, world: World) -> None:
        site = strict(world)
        token = site.token()
        assert is_live(site, token)
        answer = site.open(f"/?ott={token}", ARRIVING)
        jar = cookies(sid="alice-cookie", **answer.cookies)
        assert site.open(shown(answer, "/"), {"cookie": jar}).status == 303
