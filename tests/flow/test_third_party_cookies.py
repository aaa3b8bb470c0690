"""A page of another site redeems a token, and the browser drops the cookie: one warning."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from harness import FETCH, HOST, NAVIGATION, Members, Site, World, person

from ott_middleware.flow.third_party import ThirdPartyWarning
from ott_middleware.http.cookies import Cookie, deletion
from ott_middleware.http.messages import Request

FRONT = "https://front.example"
CROSS_SITE = {**FETCH, "sec-fetch-site": "cross-site", "origin": FRONT}
FULL = {"samesite": "None", "secure": True, "partitioned": True}


def serve(world: World, **attributes: Any) -> Site:
    session = Members(person("alice"), **attributes)
    return world.serve(session=session, trusted_origins=[FRONT, f"https://api.{HOST}"])


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.levelno == logging.WARNING]


class TestCrossSiteVerify:
    @pytest.mark.parametrize(
        ("attributes", "words"),
        [
            ({}, "'sid' is SameSite=Lax;"),
            ({"samesite": ""}, "'sid' is SameSite=Lax (by default);"),
            ({"samesite": "Strict"}, "'sid' is SameSite=Strict;"),
            ({"secure": True, "partitioned": True}, "'sid' is SameSite=Lax;"),
            ({"samesite": "None", "secure": True}, "'sid' is not Partitioned;"),
        ],
    )
    def test_cookie_that_is_dropped_is_warned_of_once(
        self,
        world: World,
        caplog: pytest.LogCaptureFixture,
        attributes: dict[str, Any],
        words: str,
    ) -> None:
        site = serve(world, **attributes)
        for _ in range(3):
            answer = site.verify(site.token(), CROSS_SITE)
            assert (answer.status, answer.cookies) == (200, {"sid": "alice-cookie"})
        (message,) = warnings_of(caplog)
        assert words in message
        assert "samesite='None', secure=True, partitioned=True" in message
        assert "alice" not in message

    def test_call_with_a_link_is_warned_of(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = serve(world)
        assert site.get(f"/?ott={site.token()}", CROSS_SITE).status == 200
        assert "'sid' is SameSite=Lax" in warnings_of(caplog)[0]

    def test_cookie_with_all_three_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = serve(world, **FULL)
        assert site.verify(site.token(), CROSS_SITE).status == 200
        assert warnings_of(caplog) == []

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            FETCH,
            {**FETCH, "sec-fetch-site": "same-site", "origin": f"https://api.{HOST}"},
            # A browser without Fetch Metadata does not say which it is.
            {"origin": FRONT},
            {"sec-fetch-site": "none"},
        ],
    )
    def test_page_of_this_site_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
    ) -> None:
        site = serve(world)
        assert site.verify(site.token(), headers).status == 200
        assert warnings_of(caplog) == []

    def test_navigation_from_another_site_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = serve(world)
        headers = {"sec-fetch-site": "cross-site", "origin": FRONT}
        assert site.open(f"/?ott={site.token()}", headers).status == 303
        assert warnings_of(caplog) == []

    def test_form_that_leads_to_the_site_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = serve(world)
        headers = {**CROSS_SITE, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        answer = site.send("POST", f"/?ott={site.token()}", headers)
        assert answer.cookies == {"sid": "alice-cookie"}
        assert warnings_of(caplog) == []

    def test_response_without_a_cookie_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        session = Members(person("alice"))
        site = world.serve(
            session=session, trusted_origins=[FRONT], disable_set_session_cookie=True
        )
        assert site.verify(site.token(), CROSS_SITE).status == 200
        assert warnings_of(caplog) == []

    def test_cookie_that_is_deleted_is_no_reason(self, caplog: pytest.LogCaptureFixture) -> None:
        request = Request("POST", "https", "/", headers=CROSS_SITE)
        ThirdPartyWarning().check(request, [deletion(Cookie("old", "", samesite="Lax"))])
        assert warnings_of(caplog) == []

    def test_origin_that_is_not_trusted_is_refused_without_a_warning(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = serve(world)
        headers = {**CROSS_SITE, "origin": "https://evil.example"}
        assert site.verify(site.token(), headers).code == "INVALID_ORIGIN"
        assert warnings_of(caplog) == []


PLAIN = {"accept": "text/html", "accept-language": "en"}


def warnings_of_navigation(
    caplog: pytest.LogCaptureFixture, world: World, headers: dict[str, str], **attributes: Any
) -> list[str]:
    site = serve(world, **attributes)
    for _ in range(2):
        site.load(f"/?ott={site.token()}", headers)
    return warnings_of(caplog)


class TestDroppedCookie:
    @pytest.mark.parametrize("domain", ["other.example", "www." + HOST, "p.example", ".b.example"])
    def test_domain_of_another_site_is_warned_of_once(
        self, world: World, caplog: pytest.LogCaptureFixture, domain: str
    ) -> None:
        (message,) = warnings_of_navigation(caplog, world, NAVIGATION, domain=domain)
        assert "leave domain= out" in message

    @pytest.mark.parametrize("domain", [HOST, "example", "." + HOST, HOST.upper()])
    def test_domain_of_this_site_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture, domain: str
    ) -> None:
        assert warnings_of_navigation(caplog, world, NAVIGATION, domain=domain) == []

    def test_secure_cookie_over_http_is_warned_of_once(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        (message,) = warnings_of_navigation(caplog, world, PLAIN, secure=True)
        assert "'sid': it is Secure, and the request came over http" in message

    @pytest.mark.parametrize("headers", [NAVIGATION, {**PLAIN, "host": "localhost:8000"}])
    def test_secure_cookie_behind_tls_or_on_this_machine_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
    ) -> None:
        assert warnings_of_navigation(caplog, world, headers, secure=True) == []

    def test_secure_cookie_for_a_client_that_is_no_browser_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        headers = {"accept": "application/json"}
        assert warnings_of_navigation(caplog, world, headers, secure=True) == []
