"""Pull handoff over two sites: both halves, as a browser goes through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from harness import NAVIGATION, SECRET, Answer, Reply, Site, World, person

from ott_middleware import MemoryBackend

A, B = "https://a.example", "https://b.example"


class Browser:
    """Follows redirects over both sites, and keeps the cookies of each."""

    def __init__(self, a: Site, b: Site, mount: str = "") -> None:
        self.sites = {A: a, B: b}
        self.mounts = {A: "", B: mount}
        self.jars: dict[str, dict[str, str]] = {A: {}, B: {}}
        self.urls: list[str] = []
        #: Is called once with the link that leads back, before it is opened.
        self.before_return: Callable[[str], Any] | None = None

    def open(self, url: str) -> Answer:
        """Open a URL; returns the last response."""
        site = "none"
        for _ in range(12):
            self.urls.append(url)
            if "/return?" in url and self.before_return is not None:
                self.before_return(url)
                self.before_return = None
            parts = urlsplit(url)
            origin = f"{parts.scheme}://{parts.netloc}"
            jar, mount = self.jars[origin], self.mounts[origin]
            sent = {**NAVIGATION, "sec-fetch-site": site}
            if jar:
                sent["cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
            answer = self.sites[origin].get(
                f"{parts.path.removeprefix(mount)}?{parts.query}",
                sent,
                host=parts.netloc,
                mount=mount,
            )
            for name, value in answer.cookies.items():
                jar[name] = value
                if not value:
                    del jar[name]
            if answer.location is None:
                return answer
            url = urljoin(url, answer.location)
            if not url.startswith(f"{origin}/"):
                site = "cross-site"
        raise AssertionError("it leads round and round")


@pytest.fixture(name="options")
def _options(world: World) -> dict[str, dict[str, Any]]:
    common = {"backend": MemoryBackend(clock=world.clock), "secret": SECRET}
    return {
        A: {**common, "public_origin": A, "handoff_targets": [B], "login_url": "/login"},
        B: {
            **common,
            "public_origin": B,
            "issuer": A,
            "protected": lambda request: request.path.startswith("/account"),
        },
    }


def browser(world: World, options: dict[str, dict[str, Any]], mount: str = "") -> Browser:
    def a(seen: Any) -> Reply:
        return Reply(body=b"a, at " + seen.path.encode())

    def b(seen: Any) -> Reply:
        user = seen.ott.session.user_id if seen.cookies.get("sid") else "a guest"
        return Reply(body=f"b, at {seen.path}, {user}".encode())

    return Browser(world.serve(a, **options[A]), world.serve(b, **options[B]), mount)


class TestTwoSites:
    def test_visitor_of_the_issuer(self, world: World, options: dict[str, Any]) -> None:
        visitor = browser(world, options)
        visitor.jars[A]["sid"] = "alice-cookie"
        assert visitor.open(f"{B}/account?tab=1").body == b"b, at /account, alice"
        assert [urlsplit(url).path for url in visitor.urls] == [
            "/account",
            "/one-time-token/generate",
            "/one-time-token/return",
            "/account",
        ]
        assert visitor.urls[-1] == f"{B}/account?tab=1"

    def test_visitor_who_signs_in_at_the_issuer_first(
        self, world: World, options: dict[str, Any]
    ) -> None:
        visitor = browser(world, options)
        assert visitor.open(f"{B}/account?tab=1").body == b"a, at /login"
        [wanted] = parse_qs(urlsplit(visitor.urls[-1]).query)["next"]
        world.clock.forward(500)
        visitor.jars[A]["sid"] = "alice-cookie"
        assert visitor.open(urljoin(A, wanted)).body == b"b, at /account, alice"
        assert visitor.urls[-1] == f"{B}/account?tab=1"

    def test_visitor_who_takes_long_to_sign_in(self, world: World, options: dict[str, Any]) -> None:
        visitor = browser(world, options)
        visitor.open(f"{B}/account")
        [wanted] = parse_qs(urlsplit(visitor.urls[-1]).query)["next"]
        world.clock.forward(601)
        visitor.jars[A]["sid"] = "alice-cookie"
        assert visitor.open(urljoin(A, wanted)).status == 400
        assert visitor.open(f"{B}/account").body == b"b, at /account, alice"

    def test_base_paths_and_mount_points(self, world: World, options: dict[str, Any]) -> None:
        options[A]["base_path"] = "/api/auth"
        options[B] |= {"base_path": "/sso", "issuer": f"{A}/api/auth"}
        visitor = browser(world, options, "/shop")
        visitor.jars[A]["sid"] = "alice-cookie"
        assert visitor.open(f"{B}/shop/account").body == b"b, at /account, alice"
        assert urlsplit(visitor.urls[2]).path == "/shop/sso/one-time-token/return"

    @pytest.mark.parametrize("apart", ["backend", "secret"])
    def test_sites_that_share_too_little(
        self, world: World, options: dict[str, Any], apart: str
    ) -> None:
        other: dict[str, Any] = {
            "backend": MemoryBackend(clock=world.clock),
            "secret": "another secret of thirty-two characters",
        }
        options[B][apart] = other[apart]
        visitor = browser(world, options)
        visitor.jars[A]["sid"] = "alice-cookie"
        answer = visitor.open(f"{B}/account")
        assert b"You were not signed in" in answer.body
        assert sum("/generate?" in url for url in visitor.urls) == 2

    def test_target_that_the_issuer_does_not_know(
        self, world: World, options: dict[str, Any]
    ) -> None:
        options[A]["handoff_targets"] = ["https://c.example"]
        visitor = browser(world, options)
        visitor.jars[A]["sid"] = "alice-cookie"
        assert visitor.open(f"{B}/account").status == 400
        assert visitor.urls[-1].startswith(f"{A}/one-time-token/generate?")

    def test_target_with_a_path_prefix(self, world: World, options: dict[str, Any]) -> None:
        options[A]["handoff_targets"] = [f"{B}/app/", f"{B}/one-time-token/"]
        visitor = browser(world, options)
        visitor.jars[A]["sid"] = "alice-cookie"
        assert visitor.open(f"{B}/account").body == b"b, at /account, alice"

    def test_thief_who_is_first(self, world: World, options: dict[str, Any]) -> None:
        visitor = browser(world, options)
        thief = Browser(visitor.sites[A], visitor.sites[B])
        visitor.jars[A]["sid"] = "alice-cookie"
        visitor.before_return = thief.open
        assert visitor.open(f"{B}/account").body == b"b, at /account, alice"
        assert "sid" not in thief.jars[B]
        # Once for the link that the thief had, and once more.
        assert sum("/generate?" in url for url in visitor.urls) == 2

    def test_stolen_link(self, world: World, options: dict[str, Any]) -> None:
        visitor = browser(world, options)
        visitor.jars[A]["sid"] = "alice-cookie"
        visitor.open(f"{B}/account")
        thief = Browser(visitor.sites[A], visitor.sites[B])
        [link] = [url for url in visitor.urls if "/return?" in url]
        assert thief.open(link).status == 400
        assert "sid" not in thief.jars[B]

    def test_challenge_of_the_attackers_own_on_a_path_that_leaks(
        self, world: World, options: dict[str, Any]
    ) -> None:
        """Another app of the target's origin shows its URLs to an attacker, who injects the token.

        (RFC 6749 section 10.6: a code is bound to the redirection URI.)
        """
        eve, alice = browser(world, options), browser(world, options)
        alice.sites = eve.sites
        alice.jars[A]["sid"] = "alice-cookie"
        # The attacker begins a handoff, and changes the path that it leads back to.
        assert eve.open(f"{B}/account").body == b"a, at /login"
        [start] = [url for url in eve.urls if "/generate?" in url]
        crafted = start.replace("%2Fone-time-token%2Freturn", "%2Fblog%2Fone-time-token%2Freturn")
        parts = urlsplit(crafted)
        sent = {**NAVIGATION, "sec-fetch-site": "cross-site", "cookie": "sid=alice-cookie"}
        answer = eve.sites[A].get(f"{parts.path}?{parts.query}", sent, host=parts.netloc)
        leaked = answer.location or ""
        assert leaked.startswith(f"{B}/blog/one-time-token/return?ott=")
        eve.open(leaked.replace("/blog/", "/"))
        assert "sid" not in eve.jars[B]

    def test_attackers_link_at_the_issuer(self, world: World, options: dict[str, Any]) -> None:
        """Not held off: this site signs in who is signed in at the issuer."""
        visitor = browser(world, options)
        token = visitor.sites[A].token(person("bob"), audience=A)
        visitor.open(f"{A}/?ott={token}")
        assert visitor.open(f"{B}/account").body == b"b, at /account, bob"
        # With a session there, the visitor is asked.
        visitor = browser(world, options)
        visitor.jars[A]["sid"] = "alice-cookie"
        token = visitor.sites[A].token(person("bob"), audience=A)
        assert b"Switch user?" in visitor.open(f"{A}/?ott={token}").body
        assert visitor.open(f"{B}/account").body == b"b, at /account, alice"
