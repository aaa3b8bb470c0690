"""A response with a session's cookie or a token is stored by no cache, of whatever kind."""

from __future__ import annotations

from typing import Any

import pytest
from harness import NAVIGATION, SECRET, Answer, Reply, Seen, World
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware import SealedSession
from ott_middleware.http import Response
from ott_middleware.http.cookies import Cookie
from ott_middleware.http.response_headers import (
    forbid_caching,
    protect_used_link,
    with_session,
    with_token,
)

# Each has a cache, in front of some app, that goes by it rather than by Cache-Control.
CACHED = (
    ("Cache-Control", "public, max-age=600"),
    ("cache-control", "s-maxage=600"),
    ("Expires", "Sat, 01 Jan 2050 00:00:00 GMT"),
    ("ETag", '"1"'),
    ("Pragma", "public"),
    ("CDN-Cache-Control", "max-age=600"),
    ("Cloudflare-CDN-Cache-Control", "max-age=600"),
    ("Vercel-CDN-Cache-Control", "max-age=600"),
    ("Netlify-CDN-Cache-Control", "public, durable, max-age=600"),
    ("X-LiteSpeed-Cache-Control", "public"),
    ("Akamai-Cache-Control", "max-age=600"),
    ("Edge-Cache-Control", "max-age=600"),
    ("X-Cache-Control", "max-age=600"),
    ("Surrogate-Control", "max-age=600"),
    ("surrogate-control", "content=ESI"),
    ("Edge-Control", "cache-maxage=10m"),
    ("X-Edge-Control", "cache-maxage=10m"),
    ("X-Accel-Expires", "600"),
)
# Beside them, what tells no cache to store.
HARMLESS = (
    ("Content-Type", "text/plain"),
    ("Age", "1"),
    ("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Vary", "Cookie"),
    ("Surrogate-Key", "page"),
    ("Cache-Tag", "page"),
    ("X-DNS-Prefetch-Control", "off"),
    ("X-Token-Expires", "600"),
)
MUST_GO = {name.lower() for name, _ in CACHED} - {"cache-control"}


def check_private(answer: Answer, *, harmless: bool = True) -> None:
    assert "no-store" in str(answer.header("cache-control")).split(", ")
    names = {name for name, _ in answer.headers}
    assert not names & MUST_GO
    if harmless:
        assert {name.lower() for name, _ in HARMLESS} <= names


async def door(seen: Seen) -> Reply:
    headers = [*HARMLESS, *CACHED]
    if seen.path == "/in":
        seen.ott.sign_in("alice")
    elif seen.path == "/out":
        await seen.ott.asession()
        seen.ott.sign_out()
    elif seen.path == "/login":
        headers.append(("Set-Cookie", "sid=alice-cookie"))
    return Reply(200, headers)


def sealed(world: World, **options: Any) -> Any:
    return world.serve(door, session=SealedSession(SECRET, clock=world.clock), **options)


class TestPrivateResponses:
    @pytest.mark.parametrize("path", ["/in", "/out"])
    def test_sign_in_and_sign_out(self, world: World, path: str) -> None:
        answer = sealed(world).get(path)
        assert answer.all("set-cookie")
        check_private(answer)

    def test_sign_in_of_a_session_that_is_over_at_once(self, world: World) -> None:
        async def app(seen: Seen) -> Reply:
            seen.ott.sign_in("alice")
            world.clock.forward(10)
            return Reply(200, [*HARMLESS, *CACHED])

        adapter = SealedSession(SECRET, lifetime=5, clock=world.clock)
        answer = world.serve(app, session=adapter).get("/")
        assert answer.cookies == {"ott_session": ""}
        check_private(answer)

    def test_sign_in_that_offers_a_token(self, world: World) -> None:
        answer = sealed(world, set_ott_header_on_new_session=True).get("/in")
        assert answer.header("set-ott")
        check_private(answer)

    def test_set_ott(self, world: World) -> None:
        answer = world.serve(door, set_ott_header_on_new_session=True).get("/login")
        assert answer.header("set-ott")
        check_private(answer)

    def test_call_that_redeems(self, world: World) -> None:
        site = world.serve(door)
        answer = site.fetch(f"/?ott={site.token()}")
        assert answer.cookies == {"sid": "alice-cookie"}
        check_private(answer)

    @pytest.mark.parametrize("policy", ["strict-origin", "unsafe-url"])
    def test_hooks_response(self, world: World, policy: str) -> None:
        headers = (*HARMLESS, *CACHED, ("Referrer-Policy", policy))
        site = world.serve(on_invalid=lambda request, error: Response(400, headers))
        answer = site.open("/?ott=used")
        check_private(answer)
        kept = policy if policy == "strict-origin" else "no-referrer"
        assert answer.header("referrer-policy") == kept

    def test_middlewares_own(self, world: World) -> None:
        site = world.serve(door)
        for answer in (
            site.generate({"cookie": "sid=alice-cookie"}),
            site.generate(),
            site.verify(site.token()),
            site.verify("used"),
            site.open(f"/?ott={site.token()}"),
            site.open("/?ott=used"),
            site.fetch("/?ott=used"),
            site.get(f"/?ott={site.token()}", {**NAVIGATION, "sec-purpose": "prefetch"}),
            site.send("OPTIONS", "/one-time-token/verify"),
            site.send("PUT", "/one-time-token/verify"),
        ):
            check_private(answer, harmless=False)

    def test_other_response_is_left_alone(self, world: World) -> None:
        for site in (sealed(world), world.serve(door, set_ott_header_on_new_session=True)):
            answer = site.get("/page")
            assert [(k.lower(), v) for k, v in (*HARMLESS, *CACHED)] == answer.headers


NAMES = st.from_regex(r"\A([A-Za-z]{0,5}-)?(cache|surrogate|edge)-control\Z") | st.sampled_from(
    sorted(MUST_GO)
)


@given(st.lists(st.tuples(NAMES, st.just("max-age=600"))))
def test_private_leaves_one_cache_control(pairs: list[tuple[str, str]]) -> None:
    cookie = Cookie("sid", "x")
    for edited in (
        forbid_caching(tuple(pairs)),
        with_session(tuple(pairs), [cookie]),
        with_token(tuple(pairs), "T"),
        protect_used_link(tuple(pairs)),
    ):
        about = [(k, v) for k, v in edited if k.lower().endswith(("-control", "expires", "pragma"))]
        assert len(about) == 1
        assert about[0] in (("Cache-Control", "private, no-store"), ("Cache-Control", "no-store"))


def test_private_of_a_private_response_changes_nothing() -> None:
    once = forbid_caching((*HARMLESS, *CACHED))
    assert forbid_caching(once) == once
