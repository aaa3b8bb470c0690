"""Login CSRF: how an attacker with a link, or a page of another site, can sign in a visitor.

The table on the page "Security" has a row for each entry, which names a test.
"""

from __future__ import annotations

import json

import pytest
from harness import FETCH, NAVIGATION, ORIGIN, Members, Site, World, person

EVIL = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
CROSS_SITE = {**NAVIGATION, "sec-fetch-site": "cross-site"}
FORM = "application/x-www-form-urlencoded"
DAN = {"cookie": "sid=dan-cookie"}


def attacked(world: World, **options: object) -> tuple[Site, str]:
    """A site, and the attacker's own live link to it."""
    site = world.serve(session=Members(person("eve"), person("dan")), **options)
    return site, f"/?ott={site.token(person('eve'))}"


class TestGuest:
    def test_link_that_is_opened(self, world: World) -> None:
        """Not held off: this is what a link is for. A confirm link asks first."""
        site, link = attacked(world)
        assert site.get(link, CROSS_SITE).cookies == {"sid": "eve-cookie"}

    @pytest.mark.parametrize(
        "headers",
        [
            {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
            {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
            {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
            {"sec-fetch-mode": "cors", "sec-fetch-dest": "image"},
            {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-purpose": "prefetch"},
        ],
    )
    def test_part_of_a_page(self, world: World, headers: dict[str, str]) -> None:
        site, link = attacked(world)
        assert site.get(link, {"sec-fetch-site": "cross-site", **headers}).cookies == {}

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_call_by_a_page_of_another_site(self, world: World, method: str) -> None:
        site, link = attacked(world)
        answer = site.send(method, link, {**FETCH, **EVIL})
        assert (answer.status, answer.cookies) == (403, {})

    def test_form_of_another_site_that_posts_to_the_link(self, world: World) -> None:
        site, link = attacked(world)
        sent = {**NAVIGATION, **EVIL, "content-type": FORM}
        answer = site.send("POST", link, sent, b"a=1")
        assert (answer.status, answer.cookies) == (403, {})

    @pytest.mark.parametrize("kind", ["application/json", "text/plain", FORM])
    def test_verify_by_a_page_of_another_site(self, world: World, kind: str) -> None:
        site, link = attacked(world)
        body = json.dumps({"token": link.partition("=")[2]}).encode()
        answer = site.post_verify(body, {"content-type": kind, **EVIL})
        assert (answer.status, answer.cookies) == (403, {})

    def test_generate(self, world: World) -> None:
        site, _ = attacked(world)
        for headers in (FETCH, {**FETCH, "cookie": "sid=eve-cookie"}):
            assert site.generate(headers).cookies == {}


class TestSignedInUser:
    """Dan, whose session the adapter can verify."""

    def test_link_that_is_opened(self, world: World) -> None:
        site, link = attacked(world)
        answer = site.get(link, {**CROSS_SITE, **DAN})
        assert "sid" not in answer.cookies
        assert b"Switch user?" in answer.body

    def test_call_by_this_site(self, world: World) -> None:
        site, link = attacked(world)
        answer = site.fetch(link, {"origin": ORIGIN, **DAN})
        assert (answer.status, answer.cookies) == (409, {})

    def test_verify_by_this_site(self, world: World) -> None:
        site, link = attacked(world)
        answer = site.verify(link.partition("=")[2], {"origin": ORIGIN, **DAN})
        assert (answer.status, answer.cookies) == (409, {})
