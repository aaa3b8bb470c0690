"""Two sites: international names, two ports of one host, URLs that are none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from harness import ORIGIN, Reply, Seen, World, call_view

from ott_middleware import MemoryBackend, options
from ott_middleware.errors import InvalidTarget

BOOKS, ASCII_BOOKS = "https://bücher.example", "https://xn--bcher-kva.example"
ALICE = {"cookie": "sid=alice-cookie"}


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "_warned_of_cookies", [])
    # Not what is tested here.
    monkeypatch.setattr("ott_middleware.flow.services.warn_of_other_sites", lambda *args: None)


def call(world: World, function: Callable[[Any], Any], **options: Any) -> Any:
    """What a function returns, or raises, for the handle of a request of Alice."""
    outcome: list[Any] = []

    def view(seen: Seen) -> Reply:
        try:
            outcome.append(function(seen.ott))
        except Exception as error:
            outcome.append(error)
        return Reply()

    world.serve(lambda seen: call_view(seen, view, seen), **options).get("/", ALICE)
    return outcome[0]


def cookie_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    return [line for line in lines if "cookies to all ports" in line]


class TestInternationalNames:
    @pytest.mark.parametrize("target", [BOOKS, ASCII_BOOKS, "https://*.example", f"{BOOKS}/é"[:-2]])
    @pytest.mark.parametrize("site", [BOOKS, ASCII_BOOKS, "https://BÜCHER.example"])
    def test_link(self, world: World, target: str, site: str) -> None:
        if "*" in target:
            target = "https://*.bücher.example"
            site = site.replace("//", "//shop.")
        link = call(world, lambda ott: ott.link(f"{site}/é?a=ü"), handoff_targets=[target])
        origin = ASCII_BOOKS.replace("//", "//shop.") if "*" in target else ASCII_BOOKS
        assert link.startswith(f"{origin}/é?a=ü&ott=")

    def test_awaited_link(self, world: World) -> None:
        def alink(ott: Any) -> Any:
            return asyncio.run(ott.alink(f"{BOOKS}/", audience=BOOKS))

        assert call(world, alink, handoff_targets=[BOOKS]).startswith(f"{ASCII_BOOKS}/?ott=")

    def test_other_name_is_refused(self, world: World) -> None:
        for url in (
            "https://b\u00fcch\u0435r.example/",
            "https://bucher.example/",
            "https://straße.example",
        ):
            error = call(world, lambda ott, url=url: ott.link(url), handoff_targets=[BOOKS])
            assert isinstance(error, InvalidTarget)

    def test_token_is_redeemed_at_its_site(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        source = world.serve(handoff_targets=[BOOKS], backend=backend)
        target = world.serve(public_origin=BOOKS, backend=backend)
        token = source.token(audience=BOOKS)
        assert target.open(f"/?ott={token}", host="xn--bcher-kva.example").status == 303

    def test_audience_of_generate_and_verify(self, world: World) -> None:
        site = world.serve(handoff_targets=[BOOKS])
        for said in (quote(BOOKS, safe=""), ASCII_BOOKS):
            answer = site.get(f"/one-time-token/generate?audience={said}", ALICE)
            assert answer.status == 200
            assert site.verify(answer.json()["token"], audience=BOOKS).status == 200
        for bad in ("https://b%FCcher.example", quote("https://büch.example"), "https://%E2%84%80"):
            answer = site.get(f"/one-time-token/generate?audience={bad}", ALICE)
            assert answer.code == "INVALID_TARGET"

    def test_page_of_a_trusted_origin(self, world: World) -> None:
        site = world.serve(trusted_origins=[BOOKS])
        answer = site.generate({**ALICE, "origin": ASCII_BOOKS})
        assert answer.header("access-control-allow-origin") == ASCII_BOOKS


class TestURLOfALink:
    @pytest.mark.parametrize(
        "url", ["/welcome", "welcome", "./welcome", "?a=1", "//b.example/", "b.example/", ""]
    )
    def test_relative(self, world: World, url: str) -> None:
        error = call(world, lambda ott: ott.link(url), handoff_targets=["https://b.example"])
        assert isinstance(error, InvalidTarget)
        assert "a link needs the scheme and the host" in str(error)
        assert "'https://b.example/welcome'" in str(error)

    @pytest.mark.parametrize("url", [None, 3, b"https://b.example/"])
    def test_no_text(self, world: World, url: Any) -> None:
        error = call(world, lambda ott: ott.link(url), handoff_targets=["https://b.example"])
        assert isinstance(error, InvalidTarget)
        assert f"the URL is a {type(url).__name__}; pass a str" in str(error)

    def test_not_awaited(self, world: World) -> None:
        def link(ott: Any) -> Any:
            inner = ott.alink("https://b.example/")
            try:
                return ott.link(inner)
            finally:
                inner.close()

        error = call(world, link, handoff_targets=["https://b.example"])
        assert "the URL is a NotAwaited; pass a str: str(url), or await it" in str(error)


class TestTwoPortsOfOneHost:
    def test_warned_at_construction(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(2):
            world.serve(
                public_origin="http://localhost:8001",
                handoff_targets=["http://localhost:8002", "http://127.0.0.1:8003"],
            )
        (line,) = cookie_warnings(caplog)
        assert line.startswith("handoff_targets: http://localhost:8002 has the host name of this")
        assert "localhost and 127.0.0.1 are two" in line

    @pytest.mark.parametrize(
        "target",
        [f"{ORIGIN}:8002/app/", "http://app.example:*"],
    )
    def test_warned_at_the_first_link(
        self, world: World, caplog: pytest.LogCaptureFixture, target: str
    ) -> None:
        url = f"{ORIGIN}:8002/app/"
        link = call(world, lambda ott: [ott.link(url), ott.link(url)], handoff_targets=[target])
        assert len(link) == 2
        assert len(cookie_warnings(caplog)) == 1

    def test_host_of_the_target_itself_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = world.serve(handoff_targets=[f"{ORIGIN}:8002"])
        host = {"host": "app.example:8002"}
        site.get(f"/one-time-token/generate?audience={ORIGIN}:8002", {**ALICE, **host})
        assert cookie_warnings(caplog) == []

    def test_warned_for_an_audience(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = world.serve(handoff_targets=[f"{ORIGIN}:8002"])
        site.get(f"/one-time-token/generate?audience={ORIGIN}:8002", ALICE)
        assert len(cookie_warnings(caplog)) == 1

    @pytest.mark.parametrize(
        "options",
        [
            {"public_origin": "http://localhost:8001", "handoff_targets": ["http://127.0.0.1:1"]},
            {"public_origin": ["http://a.example:1", "http://a.example:2"]},
            {"public_origin": "http://localhost:1", "trusted_origins": ["http://localhost:2"]},
            {"handoff_targets": ["https://b.example"]},
        ],
    )
    def test_others_are_fine(
        self, world: World, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
    ) -> None:
        site = world.serve(**options)
        for url in ("https://b.example", ORIGIN, f"https://{ORIGIN[7:]}"):
            site.get(f"/one-time-token/generate?audience={url}", ALICE)
        assert cookie_warnings(caplog) == []
