"""Pull handoff: the target site starts it, and only the browser that started it is signed in."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from harness import (
    FETCH,
    NAVIGATION,
    ORIGIN,
    SECRET,
    Answer,
    Members,
    Reply,
    Seen,
    Site,
    World,
    main_lines,
    person,
)

from ott_middleware import (
    BearerSession,
    ConfigurationError,
    MemoryBackend,
    OneTimeTokens,
    SealedSession,
    Session,
)
from ott_middleware.crypto import CookieSeal
from ott_middleware.errors import NoAccount
from ott_middleware.flow.pull_cookies import MAX_WANTED
from ott_middleware.http.encoding import to_json
from ott_middleware.tokens.challenges import challenge_of

ISSUER = "https://a.example"
RETURN = "/one-time-token/return"
CROSS_SITE = {"sec-fetch-site": "cross-site"}
#: What is no visit of a page.
NO_VISIT = {
    "call": FETCH,
    "prefetch": {**NAVIGATION, "sec-purpose": "prefetch"},
    "frame": {**NAVIGATION, "sec-fetch-dest": "iframe"},
    "client that is no browser": {},
}


def is_account(request: Any) -> bool:
    return bool(request.path.startswith("/account"))


def serve(world: World, app: Callable[[Seen], Any] | None = None, **options: Any) -> Site:
    """A target site, with pages for signed-in users below /account."""
    values = {"issuer": ISSUER, "secret": SECRET, "public_origin": ORIGIN, "protected": is_account}
    values = {name: value for name, value in {**values, **options}.items() if value is not None}
    return world.serve(app or (lambda seen: Reply()), **values)


class Browser:
    """Keeps the cookies of the target site.

    :param drops: tells by a cookie's name whether the browser drops it.
    """

    def __init__(self, site: Site, drops: Callable[[str], bool] = lambda name: False) -> None:
        self.site = site
        self.drops = drops
        self.jar: dict[str, str] = {}
        self.how: dict[str, Any] = {}

    def open(
        self, target: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> Answer:
        sent = {**(NAVIGATION if headers is None else headers)}
        if self.jar:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        answer = self.site.send(method, target, sent, **self.how)
        for name, value in answer.cookies.items():
            if not value:
                self.jar.pop(name, None)
            elif not self.drops(name):
                self.jar[name] = value
        return answer

    def start(self, target: str = "/account") -> str:
        """Open a page that is protected; return the challenge that the issuer is sent."""
        return challenge_in(self.open(target).location)

    def come_back(self, token: str) -> Answer:
        return self.open(f"{RETURN}?ott={token}", {**NAVIGATION, **CROSS_SITE})

    def sign_in(self, target: str = "/account", name: str = "alice") -> Answer:
        return self.come_back(issue(self.site, self.start(target), name))

    @property
    def attempts(self) -> list[str]:
        return [name for name in self.jar if re.fullmatch(r"(__Host-)?ott_pull_[0-9a-f]+", name)]


def challenge_in(location: str | None) -> str:
    assert location is not None
    parts = urlsplit(location)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{ISSUER}/one-time-token/generate"
    [challenge] = parse_qs(parts.query)["code_challenge"]
    return challenge


def issue(site: Site, challenge: str | None, name: str = "alice") -> str:
    """The token that the issuer sends back."""
    return site.token(person(name), audience=ORIGIN, code_challenge=challenge)


def is_page(answer: Answer) -> bool:
    return answer.status == 400 and b"You were not signed in" in answer.body


def button(answer: Answer) -> str:
    """Where "Try again" leads to."""
    found = re.search(rb'<a href="([^"]*)">Try again</a>', answer.body)
    assert found is not None, answer.body
    return unescape(found[1].decode())


def loaded_by(page: Answer) -> str:
    """The URL that a page first loads."""
    found = re.search(rb'http-equiv="refresh" content="0;url=([^"]*)"', page.body)
    assert found is not None, page.body
    return unescape(found[1].decode())


class TestStart:
    def test_protected_page_leads_to_the_issuer(self, world: World) -> None:
        browser = Browser(serve(world))
        answer = browser.open("/account?tab=1")
        assert answer.status == 303
        query = parse_qs(urlsplit(answer.location or "").query)
        assert query["to"] == [f"{ORIGIN}{RETURN}"]
        assert re.fullmatch(r"[\w-]{43}", challenge_in(answer.location))
        assert (answer.header("cache-control"), answer.header("referrer-policy")) == (
            "no-store",
            "no-referrer",
        )
        [name] = browser.attempts
        assert answer.cookie(name) == {"Max-Age=600", "Path=/", "HttpOnly", "SameSite=Lax"}
        assert browser.site.seen == []

    def test_challenge_is_the_hash_of_a_verifier_that_no_one_can_read(self, world: World) -> None:
        browser = Browser(serve(world))
        challenge = browser.start()
        [name] = browser.attempts
        assert challenge not in browser.jar[name]
        assert challenge != browser.start()

    def test_https(self, world: World) -> None:
        site = serve(world, public_origin="https://app.example")
        browser = Browser(site)
        answer = browser.open("/account")
        [name] = browser.attempts
        assert name.startswith("__Host-ott_pull_")
        assert "Secure" in answer.cookie(name)
        token = site.token(
            audience="https://app.example", code_challenge=challenge_in(answer.location)
        )
        assert browser.come_back(token).location == "/account"

    @pytest.mark.parametrize("kind", NO_VISIT)
    def test_no_visit_passes_to_the_app(self, world: World, kind: str) -> None:
        browser = Browser(serve(world))
        assert browser.open("/account", NO_VISIT[kind]).status == 200
        assert len(browser.site.seen) == 1
        assert browser.jar == {}

    @pytest.mark.parametrize(
        "headers", [{"accept": "text/html"}, {**NAVIGATION, "sec-fetch-dest": "empty"}]
    )
    def test_what_may_be_a_frame_gets_a_page_first(
        self, world: World, headers: dict[str, str]
    ) -> None:
        browser = Browser(serve(world))
        page = browser.open("/account?tab=1", headers)
        assert (page.status, page.header("x-frame-options")) == (200, "DENY")
        assert browser.attempts == []
        url = urljoin("/account?tab=1", loaded_by(page))
        answer = browser.open(url, headers)
        token = issue(browser.site, challenge_in(answer.location))
        assert browser.come_back(token).location == "/account?tab=1"
        # A frame has another site's nonce, or none.
        browser.jar.clear()
        assert b"Cookies are blocked" in browser.open(url, headers).body
        assert browser.attempts == []

    def test_strict_session_cookie_is_waited_for(self, world: World) -> None:
        browser = Browser(serve(world, session=Members(person("alice"), samesite="Strict")))
        page = browser.open("/account", {**NAVIGATION, **CROSS_SITE})
        assert page.status == 200
        browser.jar["sid"] = "alice-cookie"
        url = urljoin("/account", loaded_by(page))
        assert browser.open(url, {**NAVIGATION, "sec-fetch-site": "same-origin"}).body == b"hello"

    @pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS"])
    def test_other_methods_pass_to_the_app(self, world: World, method: str) -> None:
        browser = Browser(serve(world))
        assert browser.open("/account", method=method).status == 200
        assert browser.jar == {}

    def test_visitor_with_a_session_passes_to_the_app(self, world: World) -> None:
        browser = Browser(serve(world))
        browser.jar["sid"] = "alice-cookie"
        assert browser.open("/account").body == b"hello"

    def test_page_that_is_not_protected_passes_to_the_app(self, world: World) -> None:
        assert Browser(serve(world)).open("/").body == b"hello"

    def test_base_paths(self, world: World) -> None:
        site = serve(world, issuer="https://A.example:443/api/auth/", base_path="/sso")
        answer = site.open("/account")
        assert (answer.location or "").startswith(
            "https://a.example/api/auth/one-time-token/generate?to=http%3A%2F%2Fapp.example%2Fsso"
            "%2Fone-time-token%2Freturn&code_challenge="
        )

    def test_mount_point(self, world: World) -> None:
        site = serve(world)
        browser = Browser(site)
        browser.how = {"mount": "/shop"}
        answer = browser.open("/account")
        [back] = parse_qs(urlsplit(answer.location or "").query)["to"]
        assert back == f"{ORIGIN}/shop{RETURN}"
        answer = browser.come_back(issue(site, challenge_in(answer.location)))
        assert answer.location == "/shop/account"

    def test_path_that_looks_like_one_of_the_middleware(self, world: World) -> None:
        assert serve(world, protected=None).open("/one-time-token/other").body == b"hello"

    def test_probe_of_another_layer_is_left_alone(self, world: World) -> None:
        answer = serve(world).open("/account", carrier={"ott.probe": True})
        assert answer.status == 200

    def test_at_most_five_attempts(self, world: World) -> None:
        browser = Browser(serve(world))
        challenges = []
        for _ in range(6):
            challenges.append(browser.start())
            world.clock.forward(1)
            assert len(browser.attempts) <= 5
        oldest, latest = challenges[0], challenges[-1]
        assert browser.come_back(issue(browser.site, oldest)).location == "/account"
        assert "sid" not in browser.jar
        assert browser.come_back(issue(browser.site, latest)).location == "/account"
        assert browser.jar["sid"] == "alice-cookie"

    def test_cookies_of_long_urls_stay_small(self, world: World) -> None:
        browser = Browser(serve(world))
        for _ in range(5):
            browser.start(f"/account?q={'q' * 990}")
        assert sum(map(len, browser.jar.values())) < 4096
        assert len(browser.attempts) == 2

    def test_thousand_cookies_of_the_name(self, world: World) -> None:
        made_up = "; ".join(f"ott_pull_{number:016x}=x" for number in range(1000))
        answer = serve(world).open("/account", {"cookie": made_up})
        assert len(answer.cookies) == 17

    def test_origin_that_is_not_configured(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = serve(world, public_origin=None)
        assert site.open("/account", host="other.example").status == 503
        assert "pass public_origin=" in main_lines(caplog)[-1].getMessage()

    def test_issuer_that_is_this_site(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = serve(world, public_origin=None, issuer="http://localhost:8000")
        answer = site.open("/account", host="localhost:8000")
        assert answer.status == 503
        assert "is this site's own origin" in main_lines(caplog)[-1].getMessage()

    def test_adapter_fails(self, world: World) -> None:
        class Broken(Members):
            def current(self, request: Any) -> Any:
                raise OSError

        site = serve(world, session=Broken())
        answer = site.open("/account")
        assert (answer.status, answer.header("retry-after")) == (503, "5")
        assert site.open("/").status == 200

    @pytest.mark.parametrize("result", [None, "yes", 1])
    def test_protected_returns_something_else(self, world: World, result: Any) -> None:
        site = serve(world, protected=lambda request: result)
        assert site.open("/account").status == 503

    def test_protected_fails(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = serve(world, protected=lambda request: 1 / 0)
        assert site.open("/account").status == 503
        assert "protected=" in main_lines(caplog)[-1].getMessage()

    def test_protected_raises_an_error_with_a_response(self, world: World) -> None:
        def protected(request: Any) -> bool:
            raise NoAccount

        assert serve(world, protected=protected).open("/account").status == 400


class TestReturn:
    def test_signs_in_and_leads_to_the_wanted_page(self, world: World) -> None:
        browser = Browser(serve(world))
        answer = browser.sign_in("/account?tab=1&q=%20%2F")
        assert (answer.status, answer.location) == (303, "/account?tab=1&q=%20%2F")
        assert answer.header("cache-control") == "no-store"
        assert browser.jar["sid"] == "alice-cookie"
        assert browser.attempts == []
        assert browser.open("/account").body == b"hello"

    @pytest.mark.parametrize(
        ("target", "wanted"),
        [
            ("//b.example/account", "/%2Fb.example/account"),
            ("/\\b.example/account", "/%5Cb.example/account"),
            ("/account/%0d%0aX: y", "/account/%0d%0aX:%20y"),
            ("/account?a=\xe9\\", "/account?a=%E9\\"),
            (f"/account?{'q' * MAX_WANTED}", "/account"),
            (f"/account/{'q' * MAX_WANTED}", "/"),
        ],
    )
    def test_wanted_page_is_on_this_host(self, world: World, target: str, wanted: str) -> None:
        browser = Browser(serve(world, protected=lambda request: True))
        answer = browser.sign_in(target)
        assert answer.location == wanted
        assert urljoin(f"{ORIGIN}{RETURN}", wanted).startswith(f"{ORIGIN}/")

    def test_token_is_in_no_wanted_page(self, world: World) -> None:
        browser = Browser(serve(world, on_invalid="continue"))
        token = issue(browser.site, None)
        answer = browser.open(f"/account?a=1&ott={token}")
        assert answer.location == "?a=1"
        assert browser.sign_in("/account?a=1").location == "/account?a=1"

    def test_two_tabs_at_once(self, world: World) -> None:
        browser = Browser(serve(world))
        first, second = browser.start("/account/1"), browser.start("/account/2")
        assert browser.come_back(issue(browser.site, second)).location == "/account/2"
        assert browser.come_back(issue(browser.site, first)).location == "/account/1"
        assert browser.attempts == []

    def test_stolen_link_in_another_browser(self, world: World) -> None:
        site = serve(world)
        visitor, thief = Browser(site), Browser(site)
        token = issue(site, visitor.start())
        assert is_page(thief.come_back(token))
        assert "sid" not in thief.jar
        # The token is used up: the visitor is sent to the issuer once more, and asked nothing.
        assert visitor.come_back(token).location == "/account"
        assert visitor.sign_in().location == "/account"
        assert visitor.jar["sid"] == "alice-cookie"

    def test_challenge_of_the_attackers_own(self, world: World) -> None:
        site = serve(world)
        attacker, victim = Browser(site), Browser(site)
        token = issue(site, attacker.start())
        assert is_page(victim.come_back(token))
        # The attacker has read the victim's screen.
        attacker.come_back(token)
        assert "sid" not in victim.jar | attacker.jar

    def test_stolen_link_in_a_browser_with_an_attempt_of_its_own(self, world: World) -> None:
        site = serve(world)
        visitor, thief = Browser(site), Browser(site)
        token = issue(site, visitor.start())
        thief.start()
        assert thief.come_back(token).location == "/account"
        assert "sid" not in thief.jar

    def test_stolen_link_elsewhere_than_at_the_return_path(self, world: World) -> None:
        site = serve(world, issuer_only=False)
        visitor, thief = Browser(site), Browser(site)
        assert thief.open(f"/?ott={issue(site, visitor.start())}").status == 400
        token = issue(site, visitor.start())
        assert visitor.open(f"/?ott={token}").status == 400
        assert "sid" not in thief.jar | visitor.jar

    def test_stolen_token_at_the_verify_path(self, world: World) -> None:
        browser = Browser(serve(world))
        token = issue(browser.site, browser.start())
        for more in ({}, {"audience": ORIGIN}):
            answer = browser.site.verify(token, **more)
            assert (answer.code, answer.cookies) == ("INVALID_TOKEN", {})
            token = issue(browser.site, browser.start())

    @pytest.mark.parametrize("issuer_only", [True, False])
    def test_token_without_a_challenge(self, world: World, issuer_only: bool) -> None:
        site = serve(world, issuer_only=issuer_only)
        victim = Browser(site)
        victim.start()
        victim.come_back(issue(site, None, "bob"))
        assert "sid" not in victim.jar

    def test_login_csrf_by_the_attackers_own_return(self, world: World) -> None:
        site = serve(world)
        attacker, victim = Browser(site), Browser(site)
        for waiting in (False, True):
            if waiting:
                victim.start()
            token = issue(site, attacker.start(), "bob")
            victim.come_back(token)
            assert "sid" not in victim.jar

    def test_login_csrf_by_a_signed_in_victim(self, world: World) -> None:
        site = serve(world)
        attacker, victim = Browser(site), Browser(site)
        victim.sign_in()
        assert victim.come_back(issue(site, attacker.start(), "bob")).status == 303
        assert victim.jar["sid"] == "alice-cookie"

    def test_verifier_of_another_name_or_secret(self, world: World) -> None:
        browser = Browser(serve(world))
        challenge = browser.start()
        [name] = browser.attempts
        value = browser.jar.pop(name)
        for other in (f"ott_pull_{'0' * 16}", f"__Host-{name}"):
            browser.jar = {other: value}
            assert is_page(browser.come_back(issue(browser.site, challenge)))
        browser.jar = {name: value[:-1] + ("A" if value[-1] != "A" else "B")}
        assert is_page(browser.come_back(issue(browser.site, challenge)))

    def test_cookie_that_a_subdomain_could_plant(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        browser = Browser(serve(world, backend=backend))
        challenge = browser.start()
        origin = "https://app.example"
        browser.site = serve(world, backend=backend, public_origin=origin)
        token = browser.site.token(audience=origin, code_challenge=challenge)
        assert is_page(browser.come_back(token))

    def test_secret_is_rotated(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        old = serve(world, backend=backend)
        browser = Browser(old)
        challenge = browser.start()
        browser.site = serve(world, backend=backend, secret=["a newer secret of the site", SECRET])
        assert browser.come_back(issue(browser.site, challenge)).location == "/account"
        assert browser.jar["sid"] == "alice-cookie"

    def test_attempt_for_another_issuer(self, world: World) -> None:
        browser = Browser(serve(world))
        challenge = browser.start()
        browser.site = serve(world, issuer="https://other.example")
        assert is_page(browser.come_back(issue(browser.site, challenge)))

    @pytest.mark.parametrize(("age", "signed_in"), [(599, True), (600, False), (-61, False)])
    def test_attempt_ends_by_the_clock_of_the_site(
        self, world: World, age: float, signed_in: bool
    ) -> None:
        browser = Browser(serve(world))
        challenge = browser.start()
        world.clock.forward(age)
        browser.come_back(issue(browser.site, challenge))
        assert ("sid" in browser.jar) is signed_in

    def test_attempt_of_another_day_is_deleted(self, world: World) -> None:
        browser = Browser(serve(world))
        browser.start()
        world.clock.forward(600)
        browser.start()
        assert len(browser.attempts) == 1

    def test_reload_and_back_button(self, world: World) -> None:
        browser = Browser(serve(world))
        token = issue(browser.site, browser.start("/account/1"))
        browser.come_back(token)
        # Where the visitor wanted to go is still known, if not from the attempt.
        for _ in range(3):
            assert browser.come_back(token).location == "/account/1"
        assert browser.jar["sid"] == "alice-cookie"

    def test_reload_where_sessions_cannot_be_verified(self, world: World) -> None:
        class Unsure(Members):
            vouches = False

        browser = Browser(serve(world, session=Unsure(person("alice"))))
        token = issue(browser.site, browser.start("/account/1"))
        browser.come_back(token)
        assert browser.come_back(token).location == "/account/1"
        thief = Browser(browser.site)
        assert is_page(thief.come_back(token))

    def test_confirm_link_is_good_beside_it(self, world: World) -> None:
        site = serve(world)
        token = site.token(audience=ORIGIN, channel="confirm")
        answer = site.open(f"/?ott=confirm.{token}")
        assert (answer.status, b"<form" in answer.body) == (200, True)

    def test_strict_session_cookie(self, world: World) -> None:
        site = serve(world, session=Members(person("alice"), samesite="Strict"))
        browser = Browser(site)
        token = issue(site, browser.start())
        answer = browser.come_back(token)
        assert answer.status == 200
        assert "sid" not in browser.jar
        url = urljoin(RETURN, loaded_by(answer))
        answer = browser.open(url, {**NAVIGATION, "sec-fetch-site": "same-origin"})
        assert answer.location == "/account"
        assert browser.jar["sid"] == "alice-cookie"

    def test_old_browser_gets_a_page_first(self, world: World) -> None:
        site = serve(world)
        browser = Browser(site)
        token = issue(site, browser.start())
        cookie = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
        answer = site.load(f"{RETURN}?ott={token}", {"accept": "text/html", "cookie": cookie})
        assert answer.location == "/account"

    @pytest.mark.parametrize(
        ("kind", "status"),
        [("prefetch", 503), ("frame", 200), ("call", 400), ("client that is no browser", 200)],
    )
    def test_no_visit_redeems_nothing(self, world: World, kind: str, status: int) -> None:
        browser = Browser(serve(world))
        token = issue(browser.site, browser.start())
        assert browser.open(f"{RETURN}?ott={token}", NO_VISIT[kind]).status == status
        assert browser.come_back(token).location == "/account"

    def test_page_in_a_frame_tells_no_token(self, world: World) -> None:
        """The token stays alive: what the app's page loads must not get the page's URL."""
        browser = Browser(serve(world))
        token = issue(browser.site, browser.start())
        answer = browser.open(f"{RETURN}?ott={token}", NO_VISIT["frame"])
        assert answer.header("referrer-policy") == "strict-origin"

    @pytest.mark.parametrize(
        ("method", "status"), [("HEAD", 200), ("OPTIONS", 200), ("POST", 405), ("DELETE", 405)]
    )
    def test_other_methods(self, world: World, method: str, status: int) -> None:
        browser = Browser(serve(world))
        token = issue(browser.site, browser.start())
        answer = browser.open(f"{RETURN}?ott={token}", method=method)
        assert answer.status == status
        assert answer.header("allow") == ("GET, HEAD" if status == 405 else None)
        assert browser.come_back(token).location == "/account"

    @pytest.mark.parametrize("query", ["ott=", "ott=a.b", "ott=a&ott=b", f"ott={'x' * 513}"])
    def test_malformed_token(self, world: World, query: str) -> None:
        browser = Browser(serve(world))
        browser.start()
        assert browser.open(f"{RETURN}?{query}").location == "/account"
        assert is_page(browser.open(f"{RETURN}?{query}"))

    def test_json(self, world: World) -> None:
        headers = {**NAVIGATION, "accept": "application/json"}
        answer = Browser(serve(world)).open(f"{RETURN}?ott=unknown", headers)
        assert answer.code == "INVALID_TOKEN"

    def test_adapter_fails(self, world: World) -> None:
        class Broken(Members):
            works = True

            def current(self, request: Any) -> Any:
                if not self.works:
                    raise OSError
                return super().current(request)

        adapter = Broken(person("alice"))
        browser = Browser(serve(world, session=adapter))
        token = issue(browser.site, browser.start())
        adapter.works = False
        answer = browser.come_back(token)
        assert answer.status == 503
        assert b'<a href="/account">' in answer.body
        headers = {**NAVIGATION, "accept": "application/json"}
        assert browser.open(f"{RETURN}?ott={token}", headers).code == "SESSION_UNAVAILABLE"
        adapter.works = True
        assert browser.come_back(token).location == "/account"

    def test_no_account(self, world: World) -> None:
        class Empty(Members):
            def resolve(self, session: Session) -> Any:
                raise NoAccount

        browser = Browser(serve(world, session=Empty(), login_url="/login"))
        answer = browser.sign_in("/account?a=1")
        assert answer.status == 400
        assert b"You have no account here" in answer.body
        assert b'<a href="/login?next=/account%3Fa%3D1">' in answer.body
        assert b'<a href="/account?a=1">' in answer.body

    def test_session_that_ended(self, world: World) -> None:
        browser = Browser(serve(world, session=Members()))
        assert browser.sign_in("/account/1").location == "/account/1"
        assert is_page(answer := browser.sign_in("/account/2"))
        assert button(answer) == "/account/2"

    def test_another_user_is_asked(self, world: World) -> None:
        browser = Browser(serve(world))
        token = issue(browser.site, browser.start("/account/1"))
        browser.jar["sid"] = "bob-cookie"
        page = browser.come_back(token)
        assert (page.status, b'action="/account/1?ott=switch.' in page.body) == (200, True)
        assert browser.jar["sid"] == "bob-cookie"
        assert browser.attempts == []
        # A reload asks once more.
        assert b'action="/account/1?ott=switch.' in browser.come_back(token).body

    @pytest.mark.parametrize(("on_switch", "stays"), [("keep", True), ("replace", False)])
    def test_another_user_is_signed_in(self, world: World, on_switch: str, stays: bool) -> None:
        browser = Browser(serve(world, on_switch=on_switch))
        challenge = browser.start()
        browser.jar["sid"] = "bob-cookie"
        assert browser.come_back(issue(browser.site, challenge)).location == "/account"
        assert browser.jar["sid"] == ("bob-cookie" if stays else "alice-cookie")
        assert browser.attempts == []

    def test_events(self, world: World) -> None:
        events: list[Any] = []
        browser = Browser(serve(world, on_event=events.append))
        browser.come_back(issue(browser.site, challenge_of("another browser's")))
        browser.sign_in()
        browser.site.flow.services.reports.events.flush(10)
        kinds = [event for event in events if event.kind in ("refused", "redeemed")]
        assert [event.kind for event in kinds] == ["refused", "redeemed"]
        assert kinds[0].reason.word == "other_browser"
        assert kinds[1].audience == ORIGIN


class TestLinks:
    @pytest.mark.parametrize("how", ["open", "fetch"])
    def test_link_without_a_challenge_is_refused(self, world: World, how: str) -> None:
        site = serve(world)
        token = issue(site, None)
        answer = getattr(site, how)(f"/?ott={token}")
        assert (answer.status, answer.cookies) == (400, {})
        # The URL stays in the browser's history: the token is used up.
        assert site.verify(token).status == 400

    def test_reason(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        site = serve(world)
        site.open(f"/?ott={issue(site, None)}")
        assert main_lines(caplog)[-1].ott_reason == "no_challenge"

    def test_visitor_with_a_session_sees_no_error(self, world: World) -> None:
        site = serve(world)
        answer = site.open(f"/?ott={issue(site, None)}", {"cookie": "sid=alice-cookie"})
        assert answer.location == "./"

    def test_issuer_only_is_off(self, world: World) -> None:
        site = serve(world, issuer_only=False)
        answer = site.open(f"/?ott={issue(site, None)}")
        assert answer.cookies["sid"] == "alice-cookie"


class TestLoop:
    def rounds(self, browser: Browser, name: str = "alice") -> tuple[int, Answer]:
        """How often the browser is sent to the issuer before it gets a page, and the page."""
        url, rounds = "/account", 0
        for _ in range(20):
            answer = browser.open(url)
            if answer.location is None:
                return rounds, answer
            url = answer.location
            if url.startswith(ISSUER):
                rounds += 1
                url = f"{RETURN}?ott={issue(browser.site, challenge_in(url), name)}"
        raise AssertionError("it leads round and round")

    def test_browser_drops_the_session_cookie(self, world: World) -> None:
        browser = Browser(serve(world), lambda name: name == "sid")
        rounds, page = self.rounds(browser)
        assert (rounds, is_page(page)) == (2, True)
        assert urljoin("/account", button(page)) == "/account"
        # "Try again" begins anew.
        browser.drops = lambda name: False
        rounds, page = self.rounds(browser)
        assert (rounds, page.body) == (1, b"hello")

    def test_browser_drops_all_cookies(self, world: World) -> None:
        rounds, page = self.rounds(Browser(serve(world), lambda name: True))
        assert (rounds, is_page(page), button(page)) == (1, True, "/")

    def test_browser_keeps_only_attempts(self, world: World) -> None:
        rounds, page = self.rounds(Browser(serve(world), lambda name: "ott" not in name))
        assert (rounds, is_page(page)) == (2, True)

    def test_sessions_that_ended(self, world: World) -> None:
        rounds, page = self.rounds(Browser(serve(world)), "carol")
        assert (rounds, is_page(page)) == (2, True)
        assert button(page) == "/account"

    def test_returns_count_for_a_minute(self, world: World) -> None:
        browser = Browser(serve(world), lambda name: name == "sid")
        for _ in range(5):
            browser.sign_in()
            world.clock.forward(31)

    def test_count_that_was_changed(self, world: World) -> None:
        browser = Browser(serve(world), lambda name: name == "sid")
        for _ in range(3):
            browser.sign_in()
            browser.jar["ott_pull_returns"] = browser.jar["ott_pull_returns"][:-2]

    def test_page_of_this_site(self, world: World) -> None:
        pages: list[Any] = []

        def show(page: Any) -> str:
            pages.append(page)
            return "<h1>Once more</h1>"

        site = serve(world, pages={"handoff_failed": show}, site_name="B")
        answer = Browser(site).come_back("unknown")
        assert answer.body == b"<h1>Once more</h1>"
        [page] = pages
        assert (page.name, page.code, page.site_name) == ("handoff_failed", "INVALID_TOKEN", "B")

    def test_page_in_german(self, world: World) -> None:
        answer = serve(world).open(f"{RETURN}?ott=x", {"accept-language": "de"})
        assert b"Sie wurden nicht angemeldet" in answer.body


def redirecting(**arguments: Any) -> Callable[[Seen], Reply]:
    """An app that sends visitors to the issuer itself."""

    def app(seen: Seen) -> Reply:
        if seen.ott.session is not None:
            return Reply()
        headers = [("Location", seen.ott.handoff(**arguments)), ("Set-Cookie", "own=1")]
        return Reply(302, headers, b"")

    return app


class TestHandle:
    def test_handoff(self, world: World) -> None:
        browser = Browser(serve(world, redirecting(), protected=None))
        answer = browser.open("/page?a=1")
        assert answer.header("cache-control") == "private, no-store"
        assert browser.jar.pop("own") == "1"
        token = issue(browser.site, challenge_in(answer.location))
        assert browser.come_back(token).location == "/page?a=1"
        assert browser.open("/page").body == b"hello"

    def test_next(self, world: World) -> None:
        for wanted, location in {
            "/b?x=1": "/b?x=1",
            "/é /\\x\t": "/%C3%A9%20/%5Cx%09",
            "/b?ott=T&a=%20#c": "/b?a=%20#c",
        }.items():
            browser = Browser(serve(world, redirecting(next=wanted), protected=None))
            assert browser.sign_in("/page").location == location

    @pytest.mark.parametrize(
        "wanted", ["b", "//b.example/", "https://b.example/", "", 3, f"/{'x' * MAX_WANTED}"]
    )
    def test_next_that_is_no_path(self, world: World, wanted: Any) -> None:
        site = serve(world, redirecting(next=wanted), protected=None)
        with pytest.raises(ValueError, match="next: "):
            site.open("/")

    def test_post_leads_to_the_first_page(self, world: World) -> None:
        browser = Browser(serve(world, redirecting(), protected=None))
        answer = browser.open("/page", method="POST")
        token = issue(browser.site, challenge_in(answer.location))
        assert browser.come_back(token).location == "/"

    @pytest.mark.parametrize("kind", ["prefetch", "frame"])
    def test_no_visit(self, world: World, kind: str) -> None:
        browser = Browser(serve(world, redirecting(), protected=None))
        assert browser.open("/page", NO_VISIT[kind]).location == RETURN
        assert list(browser.jar) == ["own"]

    def test_call(self, world: World) -> None:
        browser = Browser(serve(world, redirecting(next="/page"), protected=None))
        token = issue(browser.site, challenge_in(browser.open("/api", FETCH).location))
        assert browser.come_back(token).location == "/page"

    def test_asked_twice(self, world: World) -> None:
        urls: list[str] = []

        def app(seen: Seen) -> Reply:
            urls.extend([seen.ott.handoff(), seen.ott.handoff(), seen.ott.handoff("/b")])
            return Reply()

        browser = Browser(serve(world, app, protected=None))
        browser.open("/")
        assert urls[0] == urls[1] != urls[2]
        assert len(browser.attempts) == 2

    def test_loop(self, world: World) -> None:
        browser = Browser(serve(world, redirecting(), protected=None), lambda name: name == "sid")
        browser.sign_in("/page?a=1")
        browser.sign_in("/page?a=1")
        answer = browser.open("/page?a=2")
        assert answer.location == RETURN
        assert is_page(page := browser.open(RETURN))
        assert button(page) == "/page?a=2"
        browser.sign_in("/page?a=2")

    def test_sign_in_in_the_same_response(self, world: World) -> None:
        def app(seen: Seen) -> Reply:
            seen.ott.sign_in("carol")
            seen.ott.handoff()
            return Reply()

        browser = Browser(serve(world, app, protected=None, session=SealedSession(SECRET)))
        browser.open("/")
        assert len(browser.attempts) == 1
        assert len(browser.jar) == 2

    def test_too_late(self, world: World) -> None:
        handles: list[Any] = []
        site = serve(world, lambda seen: handles.append(seen.ott) or Reply(), protected=None)
        site.open("/")
        with pytest.raises(RuntimeError, match="before the response begins"):
            handles[0].handoff()

    def test_without_issuer(self, world: World) -> None:
        site = world.serve(redirecting())
        with pytest.raises(ConfigurationError, match="issuer: is not set"):
            site.open("/")

    def test_origin_that_is_not_configured(self, world: World) -> None:
        site = serve(world, redirecting(), protected=None, public_origin=None)
        with pytest.raises(ConfigurationError, match="public_origin"):
            site.open("/", host="other.example")

    def test_call_that_redeemed(self, world: World) -> None:
        def app(seen: Seen) -> Reply:
            seen.ott.handoff()
            return Reply()

        site = serve(world, app, protected=None, issuer_only=False)
        answer = site.fetch(f"/?ott={issue(site, None)}")
        assert answer.cookies["sid"] == "alice-cookie"
        assert len(answer.cookies) == 2


class TestConstruction:
    def test_secret(self, world: World) -> None:
        with pytest.raises(ConfigurationError, match="issuer: given without secret"):
            serve(world, secret=None)

    def test_adapter_without_cookies(self, world: World) -> None:
        adapter = BearerSession(validate=lambda token: None)
        with pytest.raises(ConfigurationError, match="BearerSession sets no cookies"):
            serve(world, session=adapter)

    def test_token_service_with_a_secret(self, world: World) -> None:
        members = Members(person("alice"))
        tokens = OneTimeTokens(MemoryBackend(clock=world.clock), sessions=members, secret=SECRET)
        browser = Browser(serve(world, session=members, tokens=tokens, secret=None))
        assert browser.sign_in().location == "/account"
        assert browser.jar["sid"] == "alice-cookie"

    def test_token_service_that_binds_no_browsers(self, world: World) -> None:
        members = Members(person("alice"))

        class Own(OneTimeTokens):
            def verify(self, token: str, **how: Any) -> Any:
                raise AssertionError

        tokens = Own(MemoryBackend(), sessions=members, secret=SECRET)
        # Its signature takes anything, and so does not name the argument.
        with pytest.raises(ConfigurationError, match="issuer: Own cannot bind tokens to browsers"):
            serve(world, session=members, tokens=tokens, secret=None)


def test_made_up_verifier_is_none(world: World) -> None:
    """What opens without the name of the cookie: a value that was sealed for another one."""
    browser = Browser(serve(world))
    values = {"verifier": "v", "wanted": "/", "issuer": ISSUER, "began": world.clock()}
    sealed = CookieSeal("sid", (SECRET.encode(),)).seal(to_json(values), bytes(12))
    browser.jar[f"ott_pull_{'0' * 16}"] = sealed
    browser.come_back(issue(browser.site, challenge_of("v")))
    assert "sid" not in browser.jar
