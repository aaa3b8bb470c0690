"""`set-ott`: a request that carried a link is offered no token, whatever became of the link."""

from __future__ import annotations

from typing import Any

import pytest
from harness import FETCH, NOW, Members, Reply, Seen, Site, World, moment, person

from ott_middleware import MemoryBackend


def signs_in(seen: Seen) -> Reply:
    return Reply(200, [("Set-Cookie", "sid=bob-cookie")])


def offering(world: World, **options: Any) -> Site:
    options.setdefault("on_invalid", "continue")
    return world.serve(signs_in, set_ott_header_on_new_session=True, **options)


def used(site: Site) -> str:
    token = site.token()
    assert site.verify(token).status == 200
    return token


def elsewhere(site: Site) -> str:
    return site.token(audience="https://elsewhere.example")


def ended(site: Site) -> str:
    return site.token(person("carol"))


def expired(site: Site) -> str:
    session = person("dora", expires_at=moment(NOW + 30))
    site.members.live[session.token] = session
    token = site.token(session)
    site.clock.forward(31)
    return token


def twice(site: Site) -> str:
    return f"{site.token()}&ott={site.token()}"


DEAD = [used, elsewhere, ended, expired, twice, lambda site: "", lambda site: "x" * 600]


class TestOffersAfterLinks:
    def test_sign_in_without_a_link_is_offered_one(self, world: World) -> None:
        assert offering(world).fetch("/?page=1").header("set-ott") is not None

    @pytest.mark.parametrize("link", DEAD)
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_call_that_goes_on_without_its_token(
        self, world: World, link: Any, method: str
    ) -> None:
        backend = MemoryBackend(clock=world.clock)
        site = offering(world, backend=backend)
        target = f"/?ott={link(site)}"
        before = len(backend)
        answer = site.send(method, target, FETCH)
        assert (answer.status, answer.cookies) == (200, {"sid": "bob-cookie"})
        assert answer.header("set-ott") is None
        assert len(backend) <= before

    @pytest.mark.parametrize(
        ("on_switch", "status"), [("ask", 409), ("keep", 200), ("replace", 200)]
    )
    def test_call_of_another_user(self, world: World, on_switch: str, status: int) -> None:
        site = offering(world, on_switch=on_switch)
        headers = {**FETCH, "cookie": "sid=alice-cookie"}
        answer = site.get(f"/?ott={site.token(person('bob'))}", headers)
        assert (answer.status, answer.header("set-ott")) == (status, None)

    @pytest.mark.parametrize(
        ("method", "headers"),
        [
            ("HEAD", {}),
            ("OPTIONS", {}),
            ("GET", {"sec-fetch-mode": "no-cors"}),
            ("GET", {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}),
        ],
    )
    def test_request_that_never_redeems(
        self, world: World, method: str, headers: dict[str, str]
    ) -> None:
        backend = MemoryBackend(clock=world.clock)
        site = offering(world, backend=backend)
        answer = site.send(method, f"/?ott={site.token()}", headers)
        assert (answer.cookies, answer.header("set-ott")) == ({"sid": "bob-cookie"}, None)
        assert len(backend) == 1

    def test_revocation_goes_on_after_a_link(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        members = Members(person("alice"), person("bob"))
        site = offering(world, backend=backend, session=members, revoke_on_sign_out=True)
        site.token()
        site.get("/?ott=used", {**FETCH, "cookie": "sid=alice-cookie"})
        assert len(backend) == 0
