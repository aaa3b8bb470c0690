"""A token that is bound to an origin: where it establishes a session, and where it is invalid.

B is the site that a link was meant for. B keeps the token and sends it to A, the site that the
link came from, as if A were B. A must never give B its own session cookie of the visitor.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from typing import Any

import pytest
from harness import FETCH, NAVIGATION, Answer, Members, Reply, Site, World, call_view, person

from ott_middleware import MemoryBackend
from ott_middleware.errors import InvalidToken
from ott_middleware.flow import own_site as own

A, B, C = "https://a.example", "https://b.example", "https://c.example"
A_HTTP = "http://a.example"
COOKIE = "alice-cookie"


class Plain(Members):
    """Sessions of an app whose framework names no host."""

    def own_hosts(self) -> Collection[str]:
        return ()


class Named(Members):
    """Sessions of an app whose framework names its hosts."""

    def __init__(self, *hosts: str) -> None:
        super().__init__(person("alice"), person("bob"))
        self.hosts = hosts

    def own_hosts(self) -> Collection[str]:
        return self.hosts


def serve(world: World, *, session: Any = None, **options: Any) -> Site:
    """A, which links to B."""
    options.setdefault("handoff_targets", [B])
    return world.serve(session=session or Plain(person("alice"), person("bob")), **options)


def is_kept_from(answer: Answer) -> bool:
    """Whether a response gives the session to nobody."""
    assert not answer.all("set-cookie")
    assert COOKIE.encode() not in answer.body
    return True


def is_burnt(site: Site, token: str) -> bool:
    """Whether a token is gone; tried where it is good, without a request that could be refused."""
    try:
        site.flow.tokens.verify(token, audience=B)
    except InvalidToken:
        return True
    return False


# What B says of itself, request by request: none of it is a proof of who A is.
CLAIMS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "Host": {"host": "b.example"},
    "Host with port": {"host": "b.example:443"},
    "Host in upper case": {"host": "B.EXAMPLE"},
    "two Hosts": {"host": "b.example,b.example"},
    "X-Forwarded-Host": {"x-forwarded-host": "b.example", "x-forwarded-proto": "https"},
    "Forwarded": {"forwarded": "host=b.example;proto=https"},
    "X-Original-Host": {"x-original-host": "b.example", "x-host": "b.example"},
    "Origin": {"origin": B},
    "Origin and Host": {"origin": B, "host": "b.example"},
    "Referer": {"referer": f"{B}/welcome"},
    "Referer and Host": {"referer": f"{B}/welcome", "host": "b.example"},
    "Sec-Fetch-Site": {"host": "b.example", "sec-fetch-site": "same-origin"},
    "cookie": {"host": "b.example", "cookie": "sid=bob-cookie"},
}
SITES: dict[str, dict[str, Any]] = {
    "nothing configured": {},
    "B is trusted": {"trusted_origins": [B]},
    "all of B's pages are trusted": {"trusted_origins": ["https://b.example:*", B]},
    "one public origin": {"public_origin": A},
    "one public origin, B is trusted": {"public_origin": A, "trusted_origins": [B]},
    "no targets": {"handoff_targets": []},
    "no cookie is set": {"disable_set_session_cookie": True, "trusted_origins": [B]},
    "on_switch": {"on_switch": "replace", "trusted_origins": [B]},
    "names of the framework": {"session": Named("a.example", ".example", "*", "*.example")},
}
DOORS = ("verify", "verify with audience", "call", "post", "navigation", "old navigation")


def through(site: Site, door: str, token: str, claims: dict[str, Any], **how: Any) -> Answer:
    """B's request."""
    if door.startswith("verify"):
        body: dict[str, Any] = {"token": token}
        if door == "verify with audience":
            body["audience"] = B
        return site.post_verify(json.dumps(body).encode(), claims, **how)
    target = f"/page?ott={token}"
    if door == "call":
        return site.get(target, {**FETCH, **claims}, **how)
    if door == "post":
        return site.send("POST", target, claims, b"", **how)
    kind = NAVIGATION if door == "navigation" else {"accept": "text/html"}
    return site.load(target, {**kind, **claims}, **how)


class TestTokenForAnotherSite:
    @pytest.mark.parametrize("door", DOORS)
    @pytest.mark.parametrize("options", SITES.values(), ids=SITES)
    def test_gives_no_session_here(self, world: World, options: dict[str, Any], door: str) -> None:
        site = serve(world, **options)
        for name, claims in CLAIMS.items():
            for scheme in ("http", "https"):
                token = site.token(audience=B)
                answer = through(site, door, token, claims, scheme=scheme)
                assert is_kept_from(answer), name
                if answer.status == 200:
                    # What a server learns that redeems for its origin: nothing that signs it in.
                    assert door == "verify with audience"
                    assert answer.json()["user"] == {"id": "alice", "name": "Alice"}
                    assert "token" not in answer.json()["session"]
                    continue
                # A request that is refused before the take consumes nothing; others burn.
                refused = answer.status == 403 or b"VALIDATION_ERROR" in answer.body
                navigates_signed_in = answer.status == 303 and "cookie" in claims
                assert answer.status in (400, 403) or navigates_signed_in, name
                assert is_burnt(site, token) is not refused, name

    @pytest.mark.parametrize("door", DOORS)
    def test_absolute_target_names_no_host(self, world: World, door: str) -> None:
        site = serve(world, trusted_origins=[B])
        token = site.token(audience=B)
        target = f"{B}/page?ott={token}"
        if door.startswith("verify"):
            body = json.dumps({"token": token}).encode()
            headers = {"content-type": "application/json", "host": "b.example"}
            answer = site.send("POST", f"{B}/one-time-token/verify", headers, body)
        else:
            answer = site.get(target, {**NAVIGATION, "host": "b.example"}, scheme="https")
        assert is_kept_from(answer)
        assert answer.status == 400

    def test_several_public_origins_are_not_b(self, world: World) -> None:
        site = serve(world, public_origin=[A, "https://www.a.example"], trusted_origins=[B])
        for host in ("b.example", "a.example", "www.a.example", "a.example."):
            for door in DOORS:
                claims = {"host": host, "origin": B} if door != "old navigation" else {"host": host}
                answer = through(site, door, site.token(audience=B), claims, scheme="https")
                assert is_kept_from(answer)
                assert answer.status in (400, 403)


class TestOwnToken:
    """Tokens that are bound to this site itself."""

    @pytest.mark.parametrize(
        ("options", "host", "scheme", "bound_to", "good"),
        [
            # public_origin, one: whatever the Host.
            ({"public_origin": A}, "a.example", "https", A, True),
            ({"public_origin": A}, "internal:8000", "http", A, True),
            ({"public_origin": A}, "a.example", "https", "http://a.example", False),
            ({"public_origin": "http://a.example"}, "a.example", "http", A, False),
            ({"public_origin": f"{A}:8443"}, "a.example", "https", A, False),
            # Several: the one that the Host names.
            ({"public_origin": [A, C]}, "a.example", "https", A, True),
            ({"public_origin": [A, C]}, "c.example", "http", C, True),
            ({"public_origin": [A, C]}, "a.example", "https", C, False),
            ({"public_origin": [A, C]}, "evil.example", "https", A, False),
            ({"public_origin": [A, C]}, "a.example:443", "https", A, True),
            ({"public_origin": [A, C]}, "a.example:80", "https", A, False),
            ({"public_origin": [A, C]}, "a.example.", "https", A, False),
            ({"public_origin": [A, "http://a.example"]}, "a.example", "https", A, True),
            ({"public_origin": [A, A_HTTP]}, "a.example", "http", A_HTTP, True),
            ({"public_origin": [A, "http://a.example"]}, "a.example", "http", A, False),
            # None, and nothing that stands for it.
            ({}, "a.example", "https", A, False),
            ({"session": Named("*", ".a.example", "*.e", "")}, "a.example", "https", A, False),
            # Exact names of the framework; behind a TLS proxy the app sees http.
            ({"session": Named("a.example")}, "a.example", "https", A, True),
            ({"session": Named("A.Example")}, "a.example", "http", A, True),
            ({"session": Named("a.example")}, "A.EXAMPLE", "http", A, True),
            ({"session": Named("a.example")}, "a.example", "https", "http://a.example", False),
            ({"session": Named("a.example")}, "a.example:8443", "https", f"{A}:8443", False),
            ({"session": Named("a.example:8443")}, "a.example:8443", "https", f"{A}:8443", True),
            ({"session": Named("a.example:8443")}, "a.example", "https", A, False),
            ({"session": Named("a.example:443")}, "a.example", "https", A, True),
            ({"session": Named("a.example")}, "a.example:443", "http", A, True),
            ({"session": Named("a.example")}, "a.example:80", "https", f"{A}:80", False),
            ({"session": Named("a.example")}, "a.example.", "https", "https://a.example.", False),
            ({"session": Named("a.example")}, "x.a.example", "https", "https://x.a.example", False),
            ({"session": Named("xn--bcher-kva.example")}, "xn--bcher-kva.example", "https",
             "https://xn--bcher-kva.example", True),
            ({"session": Named("b\u00fccher.example")}, "xn--bcher-kva.example", "https",
             "https://xn--bcher-kva.example", False),
            ({"session": Named("a.example"), "public_origin": "https://c.example"}, "a.example",
             "https", A, False),
            # This machine.
            ({}, "localhost:8001", "http", "http://localhost:8001", True),
            ({}, "localhost:8001", "http", "https://localhost:8001", True),
            ({}, "app.localhost", "http", "http://app.localhost", True),
            ({}, "LOCALHOST", "http", "http://localhost", True),
            ({}, "localhost.", "http", "http://localhost.", True),
            ({}, "127.0.0.1:9", "http", "http://127.0.0.1:9", True),
            ({}, "127.255.0.1", "http", "http://127.255.0.1", True),
            ({}, "[::1]:8001", "http", "http://[::1]:8001", True),
            ({}, "localhost:8001", "http", "http://localhost:8002", False),
            ({}, "localhost:8001", "https", "http://localhost:8001", False),
            ({}, "127.0.0.1.example", "http", "http://127.0.0.1.example", False),
            ({}, "127.1", "http", "http://127.1", False),
            ({}, "127.0.0.256", "http", "http://127.0.0.256", False),
            ({}, "128.0.0.1", "http", "http://128.0.0.1", False),
            ({}, "localhost.example", "http", "http://localhost.example", False),
            ({}, "notlocalhost", "http", "http://notlocalhost", False),
            ({}, "[::ffff:7f00:1]", "http", "http://[::ffff:7f00:1]", False),
            ({"public_origin": A}, "localhost:8001", "http", "http://localhost:8001", False),
        ],
    )  # fmt: skip
    def test_is_good_where_this_site_is_configured(
        self,
        world: World,
        options: dict[str, Any],
        host: str,
        scheme: str,
        bound_to: str,
        good: bool,
    ) -> None:
        site = serve(world, **options)
        for door in DOORS:
            if door == "verify with audience":
                continue
            token = site.token(audience=bound_to)
            answer = through(site, door, token, {"host": host}, scheme=scheme)
            assert bool(answer.all("set-cookie")) is good, door
            assert answer.status in ((200, 303) if good else (400,))

    def test_host_that_is_a_target_is_not_own(self, world: World) -> None:
        # Two sites on one machine: only Host tells them apart, and B says what Host is.
        other = "http://localhost:8002"
        for scheme in ("http", "https"):
            for target in (other, "https://localhost:8002", f"{other}/app/"):
                site = serve(world, handoff_targets=[target])
                token = site.token(audience=f"{scheme}://localhost:8002")
                answer = site.verify(token, {"host": "localhost:8002"})
                assert is_kept_from(answer)
                assert answer.code == "INVALID_TOKEN"
        for target in ("https://localhost", "https://localhost:*"):
            site = serve(world, handoff_targets=[target])
            for host in ("localhost:443", "localhost:8443"):
                token = site.token(audience=f"https://{host}")
                answer = site.verify(token, {"host": host})
                own_port = (target, host) == ("https://localhost", "localhost:8443")
                assert own_port or is_kept_from(answer)
        site = serve(world, handoff_targets=[other])
        token = site.token(audience="http://localhost:8001")
        assert site.verify(token, {"host": "localhost:8001"}).status == 200

    def test_loopback_host_of_a_wildcard_is_own_at_its_port_alone(self, world: World) -> None:
        site = serve(world, handoff_targets=["http://localhost:*"])
        token = site.token(audience="http://localhost:8002")
        assert is_kept_from(site.verify(token, {"host": "localhost:8002"}))
        # The harness listens on port 80.
        token = site.token(audience="http://localhost")
        assert site.verify(token, {"host": "localhost"}).status == 200

    def test_framework_name_that_became_a_target_later(self, world: World) -> None:
        session = Named("a.example")
        site = serve(world, session=session)
        session.hosts = ("a.example", "b.example")
        token = site.token(audience=B)
        assert is_kept_from(site.verify(token, {"host": "b.example"}))
        token = site.token(audience=A)
        assert site.verify(token, {"host": "a.example"}).status == 200

    def test_names_are_read_when_asked(self, world: World) -> None:
        session = Named()
        site = serve(world, session=session)
        assert site.verify(site.token(audience=A), {"host": "a.example"}).status == 400
        session.hosts = ("a.example",)
        assert site.verify(site.token(audience=A), {"host": "a.example"}).status == 200

    def test_adapter_that_fails_to_name_hosts_loses_no_token(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(Plain):
            def own_hosts(self) -> Collection[str]:
                raise LookupError("milk")

        site = serve(world, session=Broken(person("alice")))
        token = site.token(audience=B)
        assert site.verify(token, {"host": "a.example"}).code == "SESSION_UNAVAILABLE"
        assert "milk" not in caplog.text
        assert site.verify(token, audience=B).status == 200

    @pytest.mark.parametrize("names", [7, None, [7], "a.example"])
    def test_names_of_another_shape_are_none(self, world: World, names: Any) -> None:
        class Odd(Plain):
            def own_hosts(self) -> Collection[str]:
                return names  # type: ignore[no-any-return]  # on purpose

        site = serve(world, session=Odd(person("alice")))
        answer = site.verify(site.token(audience=A), {"host": "a.example"})
        assert is_kept_from(answer)
        assert answer.status in (400, 503)


class TestUnboundToken:
    def test_page_of_a_trusted_origin_gets_everything(self, world: World) -> None:
        site = serve(world, public_origin=A, trusted_origins=["https://spa.example"])
        spa = {"origin": "https://spa.example"}
        for how in ({}, {"audience": A}):
            answer = site.verify(site.token(**how), spa)
            assert answer.cookies == {"sid": COOKIE}
            assert answer.json()["user"]["id"] == "alice"
        # The page's own origin is no site that a token can be redeemed for here.
        token = site.token(audience="https://spa.example")
        assert is_kept_from(site.verify(token, spa))

    def test_is_good_at_any_host(self, world: World) -> None:
        site = serve(world)
        assert site.verify(site.token(), {"host": "any.example"}).cookies == {"sid": COOKIE}

    def test_page_of_a_target_gets_none(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        site = serve(world, public_origin=A, handoff_targets=[B], backend=backend)
        page = {"origin": B, "cookie": f"sid={COOKIE}", "sec-fetch-site": "cross-site"}
        for path in ("generate", f"generate?audience={B}"):
            answer = site.get(f"/one-time-token/{path}", page, host="a.example", scheme="https")
            assert (answer.status, answer.code) == (403, "INVALID_ORIGIN")
            assert answer.header("access-control-allow-origin") is None
        assert len(backend) == 0


class TestServerThatNamesAnAudience:
    @pytest.mark.parametrize("disabled", [False, True])
    @pytest.mark.parametrize("audience", [A, B])
    @pytest.mark.parametrize("host", ["a.example", "b.example", "localhost"])
    def test_learns_session_and_user_alone(
        self, world: World, host: str, audience: str, disabled: bool
    ) -> None:
        site = serve(world, public_origin=A, disable_set_session_cookie=disabled)
        answer = site.verify(site.token(audience=audience), {"host": host}, audience=audience)
        assert is_kept_from(answer)
        assert answer.status == 200
        assert list(answer.json()) == ["session", "user"]
        assert list(answer.json()["session"]) == ["id", "userId", "createdAt", "expiresAt"]
        assert answer.json()["user"] == {"id": "alice", "name": "Alice"}
        assert "establish" not in site.members.asked

    def test_learns_what_the_adapter_exposes(self, world: World) -> None:
        class Discreet(Plain):
            def expose(self, session: Any) -> Any:
                return person("alice", token="", user={"id": "alice"})

            def resolve(self, session: Any) -> Any:
                return person("alice", user={"id": "alice", "salary": 7})

        site = serve(world, session=Discreet(person("alice")))
        answer = site.verify(site.token(audience=B), audience=B)
        assert answer.json()["user"] == {"id": "alice"}

    @pytest.mark.parametrize("exposed", [LookupError("milk"), None])
    def test_adapter_that_fails_to_expose(
        self, world: World, caplog: pytest.LogCaptureFixture, exposed: Any
    ) -> None:
        class Broken(Plain):
            def expose(self, session: Any) -> Any:
                if COOKIE in session.token and not self.asked:
                    return session
                if exposed is None:
                    return None
                raise exposed

        site = serve(world, session=Broken(person("alice")))
        answer = site.verify(site.token(audience=B), audience=B)
        assert is_kept_from(answer)
        assert answer.code == "SESSION_UNAVAILABLE"
        assert "milk" not in caplog.text

    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "https://spa.example"},
            {"origin": A},
            {"cookie": "a=b"},
            {"cookie": ""},
            {"referer": f"{A}/page"},
            {"sec-fetch-site": "same-origin"},
            {"sec-fetch-site": "none"},
        ],
    )
    @pytest.mark.parametrize("audience", [A, B])
    def test_is_no_browser(self, world: World, audience: str, headers: dict[str, str]) -> None:
        site = serve(world, public_origin=A, trusted_origins=["https://spa.example"])
        token = site.token(audience=audience)
        answer = site.verify(token, headers, audience=audience)
        assert is_kept_from(answer)
        assert answer.code == "VALIDATION_ERROR"
        assert "[body.audience]" in answer.json()["message"]
        # Nothing was taken.
        assert site.verify(token, audience=audience).status == 200

    def test_may_be_a_client_that_says_how_it_fetches(self, world: World) -> None:
        # The fetch() of Node.js sends this header, and no other of Fetch Metadata.
        site = serve(world)
        token = site.token(audience=B)
        assert site.verify(token, {"sec-fetch-mode": "cors"}, audience=B).status == 200

    @pytest.mark.parametrize(
        "audience",
        ["", "null", "b.example", f"{B}/", f"{B}/app", "https://", "https://b.example:99999", "https://x@b.example",
         f" {B}", f"{B}\0", "https://\u212a.example", "\ud800", "a" * 15_000],
    )  # fmt: skip
    def test_audience_that_is_no_origin(self, world: World, audience: str) -> None:
        site = serve(world, public_origin=A)
        for how in ({"audience": B}, {}):
            token = site.token(**how)
            answer = site.verify(token, audience=audience)
            assert is_kept_from(answer)
            assert answer.code == "INVALID_TOKEN"

    def test_another_audience_burns(self, world: World) -> None:
        site = serve(world)
        token = site.token(audience=B)
        assert site.verify(token, audience=A).code == "INVALID_TOKEN"
        assert is_burnt(site, token)

    def test_takes_no_token_that_was_bound_to_nothing(self, world: World) -> None:
        # C was given the visitor's unbound token, and presents it at B as the visitor's own: B
        # names its audience to be sure that the token was meant for B.
        site = serve(world)
        token = site.token()
        assert site.verify(token, audience=B).code == "INVALID_TOKEN"
        assert site.verify(token).code == "INVALID_TOKEN"


class TestWarning:
    @pytest.fixture(autouse=True)
    def first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(own, "_warned", [])

    def lines(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [r.message for r in caplog.records if "public_origin" in r.message]

    def test_names_the_option_once(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(2):
            site = serve(world)
            token = site.token(audience=B)
            assert site.open(f"/?ott={token}", {"host": "b.example"}).status == 400
            (line,) = self.lines(caplog)
            assert token not in line
            assert B in line
            assert next(r for r in caplog.records if r.message == line).levelno == logging.WARNING

    @pytest.mark.parametrize(
        ("options", "host"),
        [
            ({"public_origin": A}, "a.example"),
            ({"session": Named("a.example")}, "a.example"),
        ],
    )
    def test_is_not_given_where_something_is_configured(
        self, world: World, caplog: pytest.LogCaptureFixture, options: dict[str, Any], host: str
    ) -> None:
        site = serve(world, **options)
        assert site.verify(site.token(audience=B), {"host": host}).status == 400
        assert not self.lines(caplog)

    @pytest.mark.parametrize(
        ("options", "host", "cure"),
        [
            # A proxy in front that does not pass Host on.
            ({}, "127.0.0.1:8000", "pass public_origin="),
            ({"public_origin": [A, C]}, "backend:8000", "let the proxy pass the browser's Host on"),
        ],
    )
    def test_behind_a_proxy_that_changes_host(
        self,
        world: World,
        caplog: pytest.LogCaptureFixture,
        options: dict[str, Any],
        host: str,
        cure: str,
    ) -> None:
        for _ in range(2):
            site = serve(world, **options)
            assert site.verify(site.token(audience=B), {"host": host}).status == 400
        (line,) = self.lines(caplog)
        assert cure in line

    def test_is_not_given_for_a_name_of_this_machine(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = serve(world)
        token = site.token(audience="http://localhost:8001")
        assert site.verify(token, {"host": "localhost:8002"}).status == 400
        assert not self.lines(caplog)

    def test_is_not_given_for_unknown_tokens(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = serve(world)
        assert site.verify("unknown").status == 400
        assert site.verify(site.token(audience=B), audience=A).status == 400
        assert not self.lines(caplog)


class TestGenerateAudience:
    ALICE = {"cookie": f"sid={COOKIE}"}  # noqa: RUF012 - never changed

    def generate(self, site: Site, query: str, **headers: str) -> Answer:
        return site.get(f"/one-time-token/generate?{query}", {**self.ALICE, **headers})

    @pytest.mark.parametrize(
        "query",
        [
            "audience=https://b.example",
            "audience=https%3A%2F%2Fb.example",
            "audience=HTTPS://B.Example:443",
            "x=1&%61udience=https://b.example&y=2",
            "audience=https://b.example&audience=https://b.example",
        ],
    )
    def test_binds_to_a_target(self, world: World, query: str) -> None:
        site = serve(world)
        token = self.generate(site, query).json()["token"]
        assert site.verify(token).code == "INVALID_TOKEN"
        token = self.generate(site, query).json()["token"]
        assert site.verify(token, audience=B).status == 200

    def test_binds_to_this_site(self, world: World) -> None:
        site = serve(world, public_origin=[A, "https://c.example"])
        for origin, host in ((A, "a.example"), ("https://c.example", "c.example")):
            token = self.generate(site, f"audience={origin}").json()["token"]
            assert site.verify(token, {"host": host}).cookies == {"sid": COOKIE}
        site = serve(world, session=Named("a.example", "www.a.example"))
        for origin in (A, "https://www.a.example"):
            token = self.generate(site, f"audience={origin}", host="a.example").json()["token"]
            assert site.verify(token, {"host": origin[8:]}).cookies == {"sid": COOKIE}

    @pytest.mark.parametrize(
        "query",
        [
            "audience=",
            "audience",
            "audience=b.example",
            "audience=null",
            "audience=*",
            "audience=https://b.example/",
            "audience=https://b.example/app",
            "audience=https://b.example%00",
            "audience=https://b.example:8443",
            "audience=http://b.example",
            "audience=https://evil.example",
            "audience=https://x@b.example",
            "audience=https://b.example&audience=https://a.example",
            "audience=https://b.example&audience=https://B.example&audience=HTTPS://b.example",
            "x=1;audience=https://b.example",
            "audience=https://b.example;x=1",
            "audience=https://b.example&audience=",
            "audience=https://b.example&%61udience=https://d.example",
            # The wildcard, and what matches it.
            "audience=https://*.w.example",
            "audience=https://x.w.example",
            # Only Host claims to be this one.
            "audience=http://host.example",
            "audience=https://host.example",
            "audience=https://b.example&" + "x" * 9000,
            "audience=https://" + "b" * 9000,
        ],
    )
    def test_mints_nothing_for_any_other(self, world: World, query: str) -> None:
        backend = MemoryBackend(clock=world.clock)
        targets = [B, "https://*.w.example", "http://localhost:*"]
        site = serve(world, backend=backend, handoff_targets=targets)
        answer = self.generate(site, query, host="host.example")
        assert (answer.status, answer.code) == (400, "INVALID_TARGET")
        assert len(backend) == 0

    @pytest.mark.parametrize(
        "query",
        [
            "ott=x;audience=https://b.example",
            "%6ftt=x;%61udience=https://b.example",
            "ott=x%3Baudience=https://b.example",
            "a=1&ott_seen=x;audience=https://b.example",
            "ott=x;channel=websocket",
            "ott=x;to=https://b.example/",
        ],
    )
    def test_parameter_in_a_link_is_not_passed_over(self, world: World, query: str) -> None:
        backend = MemoryBackend(clock=world.clock)
        site = serve(world, backend=backend)
        answer = self.generate(site, query)
        assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
        assert len(backend) == 0

    def test_comes_after_the_session_and_the_option(self, world: World) -> None:
        site = serve(world)
        assert site.get("/one-time-token/generate?audience=x").code == "UNAUTHORIZED"
        site = serve(world, disable_client_request=True)
        assert self.generate(site, "audience=x").code == "CLIENT_REQUESTS_DISABLED"

    def test_is_of_the_generate_path_alone(self, world: World) -> None:
        site = serve(world, public_origin=A)
        body = json.dumps({"token": site.token(audience=B)}).encode()
        content = {"content-type": "application/json"}
        answer = site.send("POST", f"/one-time-token/verify?audience={B}", content, body)
        assert answer.code == "INVALID_TOKEN"
        assert is_kept_from(answer)
        site.open(f"/page?audience=x&ott={site.token()}")
        assert site.get("/page?audience=x").status == 200
        assert site.seen[-1].query == "audience=x"

    def test_target_with_a_prefix_is_its_origin(self, world: World) -> None:
        site = serve(world, handoff_targets=[f"{B}/app/"])
        token = self.generate(site, f"audience={B}").json()["token"]
        assert site.verify(token, audience=B).status == 200


class TestLink:
    def link(self, world: World, url: str, **options: Any) -> Any:
        """The link, or the error."""
        how = options.pop("how", {})
        outcome: list[Any] = []

        def view(seen: Any) -> Any:
            try:
                outcome.append(seen.ott.link(url, **how))
            except Exception as error:
                outcome.append(error)
            return Reply()

        def app(seen: Any) -> Any:
            return call_view(seen, view, seen)

        host = options.pop("host", "app.example")
        site = serve(world, **options)
        site._app = app
        site.get("/", {"cookie": f"sid={COOKIE}", "host": host})
        return outcome[0]

    @pytest.mark.parametrize(
        ("entry", "url", "allowed"),
        [
            (B, f"{B}/anything", True),
            (f"{B}/", f"{B}/anything", True),
            (f"{B}/app/", f"{B}/app/", True),
            (f"{B}/app/", f"{B}/app/x?y#z", True),
            (f"{B}/app/", f"{B}/app/./x", True),
            (f"{B}/app/", f"{B}/app/x/../y", True),
            (f"{B}/app/", f"{B}/app/x/%2E%2e/y", True),
            (f"{B}/app/", f"{B}/x/../app/y", True),
            (f"{B}/app/", f"{B}:443/app/y", True),
            (f"{B}/app/", "HTTPS://B.EXAMPLE/app/y", True),
            (f"{B}/app/", f"{B}/app/a%20b/\u00fc", True),
            (f"{B}/app", f"{B}/app", True),
            (f"{B}/app", f"{B}/app/x", True),
            (f"{B}/app", f"{B}/app?x=1", True),
            ("https://*.w.example/app/", "https://x.w.example/app/y", True),
            (f"{B}/app", f"{B}/application", False),
            (f"{B}/app/", f"{B}/app", False),
            (f"{B}/app/", B, False),
            (f"{B}/app/", f"{B}/", False),
            (f"{B}/app/", f"{B}?/app/", False),
            (f"{B}/app/", f"{B}#/app/", False),
            (f"{B}/app/", f"{B}/other/app/", False),
            (f"{B}/app/", f"{B}//app/", False),
            (f"{B}/app/", f"{B}/APP/", False),
            (f"{B}/app/", f"{B}/%61pp/", False),
            (f"{B}/app/", f"{B}/app/../admin", False),
            (f"{B}/app/", f"{B}/app/..", False),
            (f"{B}/app/", f"{B}/app/.%2e", False),
            (f"{B}/app/", f"{B}/app/%2e%2E/admin", False),
            (f"{B}/app/", f"{B}/app/%2E./admin", False),
            (f"{B}/app/", f"{B}/app/x/../../admin", False),
            (f"{B}/app/", f"{B}/app/..%2fadmin", False),
            (f"{B}/app/", f"{B}/app/..%5cadmin", False),
            (f"{B}/app/", f"{B}/app/%252e%252e/admin", False),
            (f"{B}/app/", f"{B}/app/" + "%" + "25" * 9 + "2e", False),
            (f"{B}/app/", f"{B}/app/..;/admin", False),
            (f"{B}/app/", f"{B}/app/..;x=1/admin", False),
            (f"{B}/app/", f"{B}/app/.. ", False),
            (f"{B}/app/", f"{B}/app/%00/admin", False),
            (f"{B}/app/", f"{B}/app\\..\\admin", False),
            (f"{B}/app/", f"{B}\\app\\", False),
            (f"{B}/app/", f"{B}/app/.\t./admin", False),
            (f"{B}/app/", f"{B}/app/\n../admin", False),
            (f"{B}/app/", f"{B}@evil.example/app/", False),
            (f"{B}/app/", "https://x:y@b.example/app/", False),
            (f"{B}/app/", f"{B}.evil.example/app/", False),
            (f"{B}/app/", f"{B}:8443/app/", False),
            (f"{B}/app/", "http://b.example/app/", False),
            (f"{B}/app/", "//b.example/app/", False),
            (f"{B}/app/", "https:/b.example/app/", False),
            (f"{B}/app/", "https:///b.example/app/", False),
            (f"{B}/app/", f" {B}/app/", False),
            ("https://k.example", "https://\u212a.example/", False),
            ("https://*.w.example/app/", "https://w.example/app/y", False),
            ("https://*.w.example/app/", "https://x.w.example/y", False),
        ],
    )
    def test_points_to_targets_alone(
        self, world: World, entry: str, url: str, allowed: bool
    ) -> None:
        backend = MemoryBackend(clock=world.clock)
        link = self.link(world, url, handoff_targets=[entry], backend=backend)
        assert isinstance(link, str) is allowed, link
        assert len(backend) == allowed
        if not allowed:
            assert type(link).__name__ == "InvalidTarget"

    def test_trusted_origins_are_no_targets(self, world: World) -> None:
        link = self.link(world, f"{B}/", handoff_targets=(), trusted_origins=[B])
        assert "handoff_targets" in str(link)

    @pytest.mark.parametrize(
        ("options", "url", "allowed"),
        [
            ({"public_origin": A}, f"{A}/x", True),
            ({"public_origin": A}, "http://a.example/x", False),
            ({"public_origin": [A, C]}, "https://c.example/x", True),
            ({"session": Named("a.example")}, f"{A}/x", True),
            ({"session": Named("a.example"), "host": "a.example"}, "http://a.example/x", True),
            ({"session": Named("a.example"), "host": "a.example"}, f"{A}:81/x", False),
            ({"host": "localhost:1"}, "http://localhost:1/x", True),
            ({"host": "localhost:1"}, "http://localhost:2/x", False),
            # A request's Host can be anything: a mail must not carry a token to it.
            ({"host": "evil.example"}, "http://evil.example/x", False),
            ({"host": "evil.example", "public_origin": A}, "http://evil.example/x", False),
        ],
    )
    def test_own_origin_is_a_target_where_it_is_configured(
        self, world: World, options: dict[str, Any], url: str, allowed: bool
    ) -> None:
        link = self.link(world, url, **options)
        assert isinstance(link, str) is allowed, link

    def test_is_bound_to_the_origin_of_its_url(self, world: World) -> None:
        for audience in ("HTTPS://B.example:443", None):
            assert isinstance(self.link(world, f"{B}/", how={"audience": audience}), str)
        for audience in (A, "", "https://b.example:8443", "nonsense"):
            backend = MemoryBackend(clock=world.clock)
            link = self.link(world, f"{B}/", how={"audience": audience}, backend=backend)
            assert "audience" in str(link)
            assert type(link).__name__ == "InvalidTarget"
            assert len(backend) == 0
