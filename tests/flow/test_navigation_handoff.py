"""Navigation handoff: a link in an app that stays as it is leads a visitor to another site."""

from __future__ import annotations

import logging
import re
import time
from html import unescape
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urljoin, urlsplit

import pytest
from harness import FETCH, NAVIGATION, PRIVATE, Answer, Members, Reply, Seen, Site, World, person

from ott_middleware import (
    CookieSession,
    MemoryBackend,
    OneTimeTokens,
)
from ott_middleware.errors import BackendFull
from ott_middleware.http import Page, Response, register_language
from ott_middleware.http import languages as languages_module
from ott_middleware.http.languages import LANGUAGES
from ott_middleware.tokens import service as token_service
from ott_middleware.tokens.challenges import challenge_of

A = "https://a.example"
B = "https://b.example"
SEEN = "__Host-ott_seen"
GENERATE = "/one-time-token/generate"
ALICE = {"cookie": "sid=alice-cookie"}
BOB = {"cookie": "sid=bob-cookie"}
SILENT = [{"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}]
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
WORKER = {**NAVIGATION, "sec-fetch-dest": "empty", "sec-fetch-site": "same-origin"}
# Navigations that ask first: by how the request came.
ASKED: dict[str, dict[str, str]] = {
    "another site": {**NAVIGATION, "sec-fetch-site": "cross-site"},
    "a subdomain": {**NAVIGATION, "sec-fetch-site": "same-site"},
    "a referer of this site": {
        **NAVIGATION,
        "sec-fetch-site": "cross-site",
        "referer": "https://a.example/",
    },
    "an unknown word": {**NAVIGATION, "sec-fetch-site": "same-Origin"},
    "a click at another site": {
        **NAVIGATION,
        "sec-fetch-site": "cross-site",
        "sec-fetch-user": "?1",
    },
    "no site": {k: v for k, v in NAVIGATION.items() if k != "sec-fetch-site"},
    "an old browser": {**HTML, "accept-language": "en"},
    "an old browser with a referer": {**HTML, "referer": "https://a.example/menu"},
    "a service worker": WORKER,
    "a worker that builds a request": {**WORKER, "sec-fetch-mode": "same-origin"},
}
# What is no navigation, and mints nothing.
NO_NAVIGATION: dict[str, dict[str, str]] = {
    "fetch": FETCH,
    "fetch of no-cors": {**FETCH, "sec-fetch-mode": "no-cors"},
    "fetch of HTML": {**FETCH, "accept": "text/html"},
    "image": {**FETCH, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    "image of CORS": {**FETCH, "sec-fetch-dest": "image"},
    "script": {**FETCH, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
    "frame": {**NAVIGATION, "sec-fetch-dest": "iframe", "sec-fetch-site": "same-origin"},
    "object": {**NAVIGATION, "sec-fetch-dest": "object", "sec-fetch-site": "same-origin"},
    "nested frame": {**NAVIGATION, "sec-fetch-mode": "nested-navigate"},
    "old image": {"accept": "image/webp,*/*", "accept-language": "en"},
    "client": {"accept": "*/*"},
    "curl": {},
    "preview": {**HTML, "user-agent": "Slackbot-LinkExpanding 1.0"},
}


def serve(world: World, app: Any = None, **options: Any) -> Site:
    options.setdefault("public_origin", A)
    options.setdefault("handoff_targets", [B])
    return world.serve(*([app] if app else []), **options)


def path_of(to: str, **more: str) -> str:
    pairs = {"to": to, **more}
    return f"{GENERATE}?" + "&".join(f"{name}={quote(each, '')}" for name, each in pairs.items())


def hand_over(
    site: Site, to: str = f"{B}/welcome", headers: dict[str, str] = ALICE, **more: str
) -> Answer:
    return site.open(path_of(to, **more), headers)


def tokens_in(site: Site) -> int:
    return len(site.flow.tokens.backend)


def token_of(location: str | None) -> str:
    return parse_qs(urlsplit(location or "").query)["ott"][0]


def button(answer: Answer, target: str) -> str:
    """The URL of the page's button."""
    found = re.findall(rb'<a href="([^"]*)">([^<]*)</a>', answer.body)
    assert len(found) == 1
    return urljoin(target, unescape(found[0][0].decode()))


def next_of(answer: Answer) -> str:
    return parse_qs(urlsplit(answer.location or "").query)["next"][0]


class TestSilent:
    @pytest.mark.parametrize("how", SILENT)
    def test_leads_on_with_a_bound_token(self, world: World, how: dict[str, str]) -> None:
        site = serve(world)
        answer = hand_over(site, f"{B}/welcome?a=1#top", {**ALICE, **how})
        token = token_of(answer.location)
        assert (answer.status, answer.location) == (303, f"{B}/welcome?a=1&ott={token}#top")
        assert len(token) == 32
        assert answer.body == b""
        assert {name: answer.header(name) for name in PRIVATE} == PRIVATE
        assert answer.header("content-length") == "0"
        assert answer.cookies == {}
        assert site.seen == []
        # Bound to the target: this site cannot redeem it, and it is used up by the attempt.
        assert site.verify(token).code == "INVALID_TOKEN"
        assert tokens_in(site) == 0

    def test_token_signs_in_at_the_target(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        site = serve(world, backend=backend)
        there = world.serve(backend=backend, public_origin=B)
        location = hand_over(site).location or ""
        answer = there.open(location.removeprefix(B))
        assert (answer.status, answer.cookies) == (303, {"sid": "alice-cookie"})

    def test_parameters_of_the_target_give_way(self, world: World) -> None:
        for query in ("ott=old&a=1&ott_seen=N", "%6ftt=old&a=1", "a=1&ott=x&ott=y"):
            location = hand_over(serve(world), f"{B}/w?{query}").location
            assert location == f"{B}/w?a=1&ott={token_of(location)}"

    def test_parameter_has_its_configured_name(self, world: World) -> None:
        location = hand_over(serve(world, query_param="key"), f"{B}/w?key=1&ott=2").location or ""
        assert re.fullmatch(rf"{B}/w\?ott=2&key=[A-Za-z0-9_-]{{32}}", location)

    @pytest.mark.parametrize(
        ("to", "url"),
        [
            ("HTTPS://B.EXAMPLE:443\\a\\..\\b", f"{B}/b"),
            (" https:/b.example/a\tb ", f"{B}/ab"),
            (f"{B}/caf\u00e9?q=\u20ac", f"{B}/caf%C3%A9?q=%E2%82%AC"),
            (f"{B}/a%2Fb%20c?d=e%26f", f"{B}/a%2Fb%20c?d=e%26f"),
            (f"{B}//evil.example/", f"{B}//evil.example/"),
            (f"{B}/a;b=c", f"{B}/a;b=c"),
            ("https://b.example\\@evil.example/", f"{B}/@evil.example/"),
            (f"{B}/a+b", f"{B}/a+b"),
            (f"{B}/a\r\nSet-Cookie: sid=evil", f"{B}/aSet-Cookie:%20sid=evil"),
            (f"{B}/a\x00\x0bb", f"{B}/a%00%0Bb"),
        ],
    )
    def test_location_is_the_parsed_url(self, world: World, to: str, url: str) -> None:
        location = hand_over(serve(world), to).location or ""
        joint = "&" if "?" in url else "?"
        assert location == f"{url}{joint}ott={token_of(location)}"

    def test_plain_spelling(self, world: World) -> None:
        for spelled in (
            f"to={B}/welcome",
            f"%74%6F={B}/welcome",
            f"to={B}/welcome&to={B}/welcome",
            f"utm_source=mail&to={B}/welcome&fbclid=1",
            f"to={B}/welcome&audience={B}",
            f"to={B}/welcome&channel=handoff",
        ):
            location = serve(world).open(f"{GENERATE}?{spelled}", ALICE).location or ""
            assert location.startswith(f"{B}/welcome?ott="), spelled

    def test_this_site_itself(self, world: World) -> None:
        site = serve(world)
        location = hand_over(site, f"{A}/inside").location or ""
        answer = site.open(location.removeprefix(A))
        assert answer.cookies == {"sid": "alice-cookie"}

    def test_base_path_and_mount(self, world: World) -> None:
        site = serve(world, base_path="/api/auth")
        answer = site.open(f"/api/auth{path_of(B)}", ALICE, mount="/shop")
        assert (answer.location or "").startswith(f"{B}/?ott=")

    def test_event(self, world: World) -> None:
        seen: list[Any] = []
        site = serve(world, on_event=seen.append)
        hand_over(site)
        assert site.flow.services.reports.events.flush(10)
        (event,) = seen
        assert (event.kind, event.audience, event.channel) == ("generated", B, "handoff")
        assert event.session_id == "session-of-alice"


class TestAsked:
    @pytest.fixture(params=ASKED, name="headers")
    def _headers(self, request: pytest.FixtureRequest) -> dict[str, str]:
        cookie = "; ".join(filter(None, [ASKED[request.param].get("cookie"), ALICE["cookie"]]))
        return {**ASKED[request.param], "cookie": cookie}

    def test_page_then_click(self, world: World, headers: dict[str, str]) -> None:
        site = serve(world, site_name="Front <desk>")
        path = path_of(f"{B}/welcome?a=%26")
        answer = site.get(path, headers)
        assert answer.status == 200
        assert tokens_in(site) == 0
        text = answer.body.decode()
        assert "<h1>Continue to b.example</h1>" in text
        assert "Front &lt;desk&gt;" in text
        assert "http-equiv" not in text
        assert "<script" not in text
        assert answer.header("x-frame-options") == "DENY"
        policy = answer.header("content-security-policy") or ""
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert {name: answer.header(name) for name in PRIVATE} == PRIVATE
        nonce = answer.cookies[SEEN]
        assert re.fullmatch(r"[A-Za-z0-9_-]{32}", nonce)
        assert answer.cookie(SEEN) >= {"Max-Age=60", "Path=/", "HttpOnly", "SameSite=Lax"}
        url = button(answer, path)
        assert url == f"{path}&ott_seen={nonce}"
        # The click: an old browser tells its page by the nonce alone.
        jar = f"{headers['cookie']}; {SEEN}={nonce}"
        again = site.get(url, {**headers, "cookie": jar})
        assert (again.status, tokens_in(site)) == (303, 1)
        location = again.location or ""
        assert location == f"{B}/welcome?a=%26&ott={token_of(location)}"

    def test_click_by_fetch_metadata_needs_no_cookie(
        self, world: World, headers: dict[str, str]
    ) -> None:
        site = serve(world)
        url = button(site.get(path_of(B), headers), path_of(B))
        again = site.open(url, {**ALICE, "sec-fetch-site": "same-origin", "sec-fetch-user": "?1"})
        assert again.status == 303

    @pytest.mark.parametrize("seen", ["", "N" * 31, f"{'N' * 32}&ott_seen={'O' * 32}"])
    def test_guessed_nonce(self, world: World, headers: dict[str, str], seen: str) -> None:
        site = serve(world)
        for cookie in ("", f"; {SEEN}={'N' * 32}"):
            sent = {**headers, "cookie": headers["cookie"] + cookie}
            answer = site.get(f"{path_of(B)}&ott_seen={seen}", sent)
            assert answer.status == 200
            assert b"Continue to b.example" in answer.body
        assert tokens_in(site) == 0

    def test_host_prefix_over_https(self, world: World, headers: dict[str, str]) -> None:
        site = serve(world)
        planted = {**headers, "cookie": headers["cookie"] + f"; ott_seen={'N' * 32}"}
        answer = site.get(f"{path_of(B)}&ott_seen={'N' * 32}", planted, scheme="https")
        assert set(answer.cookies) == {SEEN}
        assert "Secure" in answer.cookie(SEEN)
        assert tokens_in(site) == 0

    def test_no_session_is_no_page(self, world: World, headers: dict[str, str]) -> None:
        site = serve(world)
        answer = site.get(path_of(B), {k: v for k, v in headers.items() if k != "cookie"})
        assert answer.status == 401
        assert SEEN not in answer.cookies


class TestPageTexts:
    @pytest.mark.parametrize(
        ("language", "title"),
        [
            ("en", "Continue to b.example"),
            ("de", "Weiter zu b.example"),
            ("fr", "Continuer vers b.example"),
            ("es", "Continuar a b.example"),
            ("ja", "b.example に進む"),
        ],
    )
    def test_languages(self, world: World, language: str, title: str) -> None:
        headers = {**ASKED["another site"], **ALICE, "accept-language": language}
        answer = serve(world).get(path_of(B), headers)
        assert f"<h1>{title}</h1>" in answer.body.decode()
        assert f'<html lang="{language}"' in answer.body.decode()
        assert answer.header("content-language") == language
        signed_out = serve(world).get(path_of(B), {**NAVIGATION, "accept-language": language})
        assert signed_out.header("content-language") == language

    @pytest.mark.parametrize(
        ("target", "shown"),
        [
            (B, "b.example"),
            ("https://b.example:8443", "b.example:8443"),
            ("http://b.example", "b.example"),
            ("https://b\u00fccher.example", "xn--bcher-kva.example"),
            ("https://[::1]:8443", "[::1]:8443"),
        ],
    )
    def test_host(self, world: World, target: str, shown: str) -> None:
        site = serve(world, handoff_targets=[target])
        answer = site.get(path_of(f"{target}/<b>"), {**ASKED["another site"], **ALICE})
        assert f"<h1>Continue to {shown}</h1>" in answer.body.decode()
        assert b"<b>" not in answer.body

    def test_own_page(self, world: World) -> None:
        pages: list[Page] = []

        def show(page: Page) -> str:
            pages.append(page)
            return f'<a href="{page.continue_url}">{page.target_host}</a>'

        site = serve(world, pages={"continue_to": show})
        answer = site.get(path_of(B), {**ASKED["another site"], **ALICE})
        assert answer.body.endswith(b'">b.example</a>')
        assert set(answer.cookies) == {SEEN}
        assert answer.header("x-frame-options") == "DENY"
        (page,) = pages
        assert (page.status, page.code, page.name) == (200, "", "continue_to")
        assert page.sign_in_url is None
        assert page.forms == ()

    def test_own_response(self, world: World) -> None:
        def show(page: Page) -> Response:
            return Response(200, (("Set-Cookie", "theme=dark"),), page.target_host.encode())  # type: ignore[union-attr]  # never None on this page

        site = serve(world, pages={"continue_to": show})
        answer = site.get(path_of(B), {**ASKED["another site"], **ALICE})
        assert set(answer.cookies) == {"theme", SEEN}
        assert answer.header("x-frame-options") == "DENY"
        assert answer.header("cache-control") == "no-store"

    def test_registered_language(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(languages_module, "LANGUAGES", dict(LANGUAGES))
        texts = {"continue_to": ("Verder naar {host} {x}", "t {host}"), "proceed": "p"}
        register_language("nl", {**texts, "sign_in": "s"})  # type: ignore[typeddict-item]
        headers = {**ASKED["another site"], **ALICE, "accept-language": "nl"}
        answer = serve(world).get(path_of(B), headers)
        assert b"<h1>Verder naar b.example {x}</h1><p>t b.example</p>" in answer.body


class TestNoNavigation:
    @pytest.mark.parametrize("headers", NO_NAVIGATION.values(), ids=NO_NAVIGATION)
    def test_mints_nothing(
        self, world: World, headers: dict[str, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        site = serve(world)
        with caplog.at_level(logging.DEBUG, "ott_middleware"):
            answer = site.get(path_of(B), {**headers, **ALICE})
        assert (answer.status, answer.code) == (400, "NAVIGATION_REQUIRED")
        assert answer.location is None
        assert tokens_in(site) == 0
        assert site.members.asked == []
        assert "(not_opened)" in caplog.text

    @pytest.mark.parametrize("nonce", [True, False])
    @pytest.mark.parametrize("name", ["purpose", "sec-purpose", "x-moz"])
    def test_prefetch(self, world: World, name: str, nonce: bool) -> None:
        site = serve(world)
        more = f"&ott_seen={'N' * 32}" if nonce else ""
        cookie = f"{ALICE['cookie']}; ott_seen={'N' * 32}"
        for how in (*SILENT, ASKED["another site"]):
            headers = {name: "prefetch", **how, "cookie": cookie}
            answer = site.open(path_of(B) + more, headers)
            assert (answer.status, answer.body) == (503, b"")
        assert tokens_in(site) == 0
        assert site.members.asked == []

    @pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE"])
    def test_other_methods(self, world: World, method: str) -> None:
        site = serve(world)
        answer = site.send(method, path_of(B), {**NAVIGATION, **ALICE})
        assert (answer.status, answer.header("allow")) == (405, "GET, OPTIONS")
        assert tokens_in(site) == 0

    def test_options(self, world: World) -> None:
        site = serve(world, trusted_origins=["https://front.example"])
        answer = site.send("OPTIONS", path_of(B), {**ALICE, "origin": "https://front.example"})
        assert (answer.status, tokens_in(site)) == (204, 0)

    @pytest.mark.parametrize(
        ("origin", "code"),
        [
            ("https://evil.example", "INVALID_ORIGIN"),
            ("null", "MISSING_OR_NULL_ORIGIN"),
            ("https://front.example", "NAVIGATION_REQUIRED"),
            (A, "NAVIGATION_REQUIRED"),
        ],
    )
    def test_script_of_an_origin(self, world: World, origin: str, code: str) -> None:
        site = serve(world, trusted_origins=["https://front.example"])
        headers = {**FETCH, **ALICE, "origin": origin, "sec-fetch-site": "cross-site"}
        assert site.get(path_of(B), headers).code == code
        assert tokens_in(site) == 0


class TestTarget:
    @pytest.mark.parametrize(
        "to",
        [
            *("", "/", "/welcome", "//b.example/", "welcome", "https:", "https://", "b.example"),
            *("https://evil.example/", "https://b.example.evil.example/", "https://eb.example/"),
            *("https://b.example:8443/", "http://b.example/", "https://b.example./"),
            *("https://b.example@evil.example/", "https://evil.example#@b.example/"),
            *("https://ada@b.example/", "https://b.example:@evil.example/"),
            *("https://evil.example\\@b.example/", "javascript:alert(1)", "data:text/html,x"),
            *("java\nscript://b.example/%0aalert(1)", "https://b.example%2f@evil.example/"),
            *("https://b.example%2eevil.example/", "https://evil.example\\.b.example/"),
            *("https://b.example\ufeff/", "https://xn--b-ecm.example/", "ws://b.example/"),
            *(f"{B}{GENERATE}", f"{B}/one-time-token/return", f"{B}/x/one-time-token/verify"),
            *(f"{B}/one-time-token/%67enerate", f"{A}{GENERATE}?to={B}/", f"{B}/%00\ud800"),
            *(quote(f"{B}/", safe=""), f"https://b.example/{'a' * 4096}"),
        ],
    )
    def test_refused(self, world: World, to: str) -> None:
        site = serve(world)
        query = quote(to.encode("utf-8", "surrogatepass"), safe="")
        for headers in (*SILENT, ASKED["another site"]):
            # Before all else: no session is looked for.
            answer = site.open(f"{GENERATE}?to={query}", {**headers, "accept": "*/*"})
            assert (answer.status, answer.code) == (400, "INVALID_TARGET")
        assert site.members.asked == []
        assert hand_over(site, headers=ALICE).status == 303
        answer = site.open(f"{GENERATE}?to={query}", ALICE)
        assert (answer.status, answer.location, tokens_in(site)) == (400, None, 1)

    @pytest.mark.parametrize(
        "query",
        [
            "to",
            "to=",
            "a=1;to=https://b.example/",
            "to=https://b.example/;to=https://evil.example/",
            "to=https://b.example/;%74o=https://b.example/",
            "to=https://b.example/&a=1;to=https://evil.example/",
            "to=https://b.example/&to=https://evil.example/",
            "to=https://evil.example/&to=https://b.example/",
            "to=https://b.example/&to=https://b.example/x",
            "to=https://b.example/&%74%6f=https://b.example/x",
            "to=https://b.example/&to",
            "to=https://b.example/%ff",
            "to=https://b.example/\xff",
            "to=https://b.example/\xc3",
            "to=https://b.example/%ed%a0%80",
            "to=https%253A%252F%252Fb.example%252F",
            "to=https://b.example/&audience=https://a.example",
            "to=https://b.example/&audience=https://evil.example",
            "to=https://b.example/&audience=",
            "to=https://b.example/&" + "a" * 4096,
        ],
    )
    def test_ambiguous_query(self, world: World, query: str) -> None:
        site = serve(world)
        answer = site.open(f"{GENERATE}?{query}", {**ALICE, "accept": "*/*"})
        assert (answer.status, answer.code, tokens_in(site)) == (400, "INVALID_TARGET", 0)

    @pytest.mark.parametrize("name", ["TO", "to[]", "t\u043e", "t", "to_", "to%00", "next"])
    def test_other_names(self, world: World, name: str) -> None:
        query = f"{quote(name, safe='%[]')}={B}/"
        answer = serve(world).fetch(f"{GENERATE}?{query}", ALICE)
        assert list(answer.json()) == ["token"]

    def test_utf8_as_sent(self, world: World) -> None:
        site = serve(world)
        answer = site.open(f"{GENERATE}?to={B}/caf\xc3\xa9", ALICE)
        assert (answer.location or "").startswith(f"{B}/caf%C3%A9?ott=")

    @pytest.mark.parametrize("wildcard", ["https://*.example", "https://*.b.example", f"{B}:*"])
    def test_wildcards_count_for_links_alone(self, world: World, wildcard: str) -> None:
        if wildcard == "https://*.example":
            wildcard = "https://*.c.example"
        site = serve(world, handoff_targets=[wildcard])
        for host in ("x.c.example", "x.b.example", "b.example", "b.example:8443"):
            assert hand_over(site, f"https://{host}/").status == 400
        assert tokens_in(site) == 0

    @pytest.mark.parametrize(
        ("path", "good"),
        [
            ("/app", True),
            ("/app/", True),
            ("/app/x?y#z", True),
            ("/x/../app/y", True),
            ("/%2e/app/", True),
            ("\\app\\x", True),
            ("/", False),
            ("", False),
            ("/application", False),
            ("/app/..", False),
            ("/app/../evil", False),
            ("/app/%2e%2E/evil", False),
            ("/app\\..\\evil", False),
            ("/app/\t.\n./evil", False),
            ("/app/..%2fevil", False),
            ("/app/..%5cevil", False),
            ("/app/%252e%252e/evil", False),
            ("/app/..;/evil", False),
            ("/app/%2e%2e;a=b/evil", False),
            ("/App/", False),
            ("/%61pp/", False),
            ("//app/", False),
            ("?/app/", False),
            ("#/app/", False),
        ],
    )
    def test_path_prefix(self, world: World, path: str, good: bool) -> None:
        site = serve(world, handoff_targets=[f"{B}/app"])
        answer = hand_over(site, f"{B}{path}")
        assert answer.status == (303 if good else 400)
        if good:
            assert urlsplit(answer.location or "").path.startswith("/app")

    def test_own_origin_must_be_configured(self, world: World) -> None:
        site = world.serve(session=Members(person("alice")), handoff_targets=[B])
        claims = {"host": "evil.example", **ALICE}
        for scheme in ("http", "https"):
            answer = site.open(path_of(f"{scheme}://evil.example/"), claims, scheme=scheme)
            assert answer.status == 400
        assert hand_over(site, "http://app.example/").status == 303

    def test_error_page(self, world: World) -> None:
        site = serve(world, base_path="/api/auth", login_url="/login")
        target = f"/api/auth{path_of('https://evil.example/')}"
        answer = site.open(target, ALICE)
        assert (answer.status, answer.header("x-frame-options")) == (400, "DENY")
        assert b"This request was refused" in answer.body
        assert b"evil.example" not in answer.body
        # The start page of the app, below any prefix.
        assert button(answer, f"/mount{target}") == "/mount/"

    def test_page_of_a_failure(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        class Full(MemoryBackend):
            def put(self, *args: Any, **kwargs: Any) -> None:
                raise BackendFull

        site = serve(world, backend=Full(clock=world.clock))
        answer = hand_over(site)
        assert (answer.status, answer.header("retry-after")) == (503, "5")
        assert b"Please try again shortly" in answer.body

    def test_long_inputs_take_no_time(self, world: World) -> None:
        site = serve(world)
        begun = time.process_time()
        for text in ("https://b.example/", "..%2f", "%", "to=a&", ";to=a", "@", "\\", "%74o=", "."):
            hand_over(site, text * (65536 // len(text)))
            site.open(f"{GENERATE}?to={text * (65536 // len(text))}", ALICE)
            site.open(f"{GENERATE}?to={B}/&code_challenge={text * 9000}", ALICE)
        assert time.process_time() - begun < 2

    def test_log_names_origin_and_no_path(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG, "ott_middleware"):
            hand_over(serve(world), "https://evil.example/bread?milk#cheese")
        assert "https://evil.example" in caplog.text
        assert "handoff_targets" in caplog.text
        assert not re.search("bread|milk|cheese", caplog.text)


class TestNoSession:
    def test_page(self, world: World) -> None:
        site = serve(world)
        answer = hand_over(site, headers={})
        assert answer.status == 401
        assert b"You are not signed in" in answer.body
        assert tokens_in(site) == 0

    def test_json_for_a_service_worker_that_wants_it(self, world: World) -> None:
        answer = serve(world).get(path_of(B), {**WORKER, "accept": "*/*"})
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")

    @pytest.mark.parametrize(
        ("login_url", "joint"),
        [
            ("/login", "/login?"),
            ("/login?next=/x&a=1", "/login?a=1&"),
            ("https://id.example/in", "https://id.example/in?"),
        ],
    )
    @pytest.mark.parametrize("how", [*SILENT, ASKED["another site"], ASKED["an old browser"]])
    def test_login_url(self, world: World, login_url: str, joint: str, how: dict[str, str]) -> None:
        site = serve(world, login_url=login_url)
        headers = how if "accept" in how else {**NAVIGATION, **how}
        query = "to=HTTPS://b.example/w%3Fa=%2526&utm=1&ott_seen=N&ott=T&next=//evil.example"
        answer = site.get(f"{GENERATE}?{query}", headers)
        assert answer.status == 303
        assert (answer.location or "").startswith(f"{joint}next=")
        path, _, wanted = next_of(answer).partition("?")
        assert path == GENERATE
        # The target as it was parsed, and nothing else of the query.
        assert parse_qs(wanted) == {"to": [f"{B}/w?a=%26"]}
        assert {name: answer.header(name) for name in PRIVATE} == PRIVATE
        assert tokens_in(site) == 0
        # Back from the login, silent.
        back = site.open(next_of(answer), {**ALICE, "sec-fetch-site": "same-origin"})
        assert (back.location or "").startswith(f"{B}/w?a=%26&ott=")

    def test_next_is_a_path_of_this_host(self, world: World) -> None:
        site = serve(world, login_url="/login", base_path="")
        answer = site.open(path_of(B), mount="/shop")
        assert next_of(answer).startswith("/shop/one-time-token/generate?to=")
        challenge = challenge_of("verifier")
        answer = site.open(path_of(f"{B}/one-time-token/return", code_challenge=challenge))
        query = parse_qs(urlsplit(next_of(answer)).query)
        assert query == {"to": [f"{B}/one-time-token/return"], "code_challenge": [challenge]}

    def test_invalid_target_does_not_sign_in_first(self, world: World) -> None:
        site = serve(world, login_url="/login")
        assert hand_over(site, "https://evil.example/", {}).status == 400

    def test_session_that_ends_meanwhile(self, world: World) -> None:
        class Ending(Members):
            def current(self, request: Any) -> Any:
                found = super().current(request)
                if found is not None and "asked_twice" not in vars(self):
                    self.asked_twice = True
                    site.flow.tokens.revoke(found.id)
                return found

        site = serve(world, session=Ending(person("alice")))
        assert hand_over(site).status == 401
        assert tokens_in(site) == 0
        assert hand_over(site).status == 303


class TestOptions:
    def test_disabled_client_requests(self, world: World) -> None:
        site = serve(world, disable_client_request=True)
        for headers in (*SILENT, ASKED["another site"]):
            assert hand_over(site, headers=headers).status == 401
            answer = hand_over(site, headers={**headers, **ALICE})
            assert answer.status == 400
            assert b"ott_seen" not in answer.body
        answer = site.get(path_of(B), {**WORKER, **ALICE, "accept": "*/*"})
        assert answer.code == "CLIENT_REQUESTS_DISABLED"
        assert tokens_in(site) == 0

    def test_links_turned_off(self, world: World) -> None:
        site = serve(world, query_param=None)
        assert hand_over(site).status == 400
        answer = site.fetch(path_of(B), ALICE)
        assert answer.code == "LINKS_DISABLED"
        assert answer.json()["message"] == "Links are turned off"
        assert (tokens_in(site), site.members.asked) == (0, [])

    def test_set_ott_header_offers_nothing(self, world: World) -> None:
        site = serve(world, set_ott_header_on_new_session=True)
        assert hand_over(site).header("set-ott") is None

    def test_app_is_not_asked(self, world: World) -> None:
        def app(seen: Seen) -> Reply:
            raise AssertionError

        assert hand_over(serve(world, app)).status == 303

    def test_channel(self, world: World) -> None:
        site = serve(world)
        for channel in ("websocket", "confirm", "", "x"):
            answer = hand_over(site, channel=channel, headers={**ALICE, "accept": "*/*"})
            assert answer.code == "VALIDATION_ERROR"
        assert tokens_in(site) == 0


class TestStrictCookie:
    """Browsers hold a SameSite=Strict cookie back where another site has the link."""

    @pytest.fixture(name="site")
    def _site(self, world: World) -> Site:
        members = Members(person("alice"), samesite="Strict")
        return serve(world, session=members, login_url="/login")

    @pytest.mark.parametrize("headers", ASKED.values(), ids=ASKED)
    def test_asked_before_the_session_is_known(self, site: Site, headers: dict[str, str]) -> None:
        if headers.get("sec-fetch-site") in ("same-site", "same-origin"):
            return
        answer = site.get(path_of(B), headers)
        assert (answer.status, site.members.asked) == (200, [])
        assert b"Continue to b.example" in answer.body
        url = button(answer, path_of(B))
        jar = f"{SEEN}={answer.cookies[SEEN]}"
        signed_in = {**headers, "cookie": f"{jar}; {ALICE['cookie']}"}
        assert (site.get(url, signed_in).location or "").startswith(f"{B}/?ott=")
        assert (site.get(url, {**headers, "cookie": jar}).location or "").startswith("/login?")

    def test_pull_loads_again(self, site: Site) -> None:
        path = path_of(f"{B}/one-time-token/return", code_challenge=challenge_of("verifier"))
        headers = ASKED["another site"]
        answer = site.get(path, headers)
        assert (answer.status, answer.header("x-frame-options")) == (200, "DENY")
        assert b"http-equiv" in answer.body
        cookie = {"cookie": ALICE["cookie"]}
        loaded = site.load(path, headers)
        assert (loaded.location or "").startswith("/login?")
        jar = f"{SEEN}={answer.cookies[SEEN]}; {cookie['cookie']}"
        url = f"{path}&ott_seen={answer.cookies[SEEN]}"
        assert site.get(url, {**headers, "cookie": jar}).status == 303

    def test_pull_without_cookies_does_not_loop(self, site: Site) -> None:
        path = path_of(f"{B}/one-time-token/return", code_challenge=challenge_of("verifier"))
        answer = site.get(f"{path}&ott_seen={'N' * 32}", ASKED["another site"])
        assert answer.status == 400
        assert b"Cookies are blocked" in answer.body
        assert b"http-equiv" not in answer.body
        assert button(answer, path) == path

    def test_log_names_the_handoff_where_cookies_are_blocked(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = path_of(f"{B}/one-time-token/return", code_challenge=challenge_of("verifier"))
        with caplog.at_level(logging.DEBUG, "ott_middleware"):
            site.get(f"{path}&ott_seen={'N' * 32}", ASKED["another site"])
        lines = [record.getMessage() for record in caplog.records]
        (line,) = [each for each in lines if "(cookies_blocked)" in each]
        assert line.startswith("generate refused: the browser sent no cookie __Host-ott_seen back")

    def test_disabled_client_requests_show_once_the_session_is_known(self, world: World) -> None:
        members = Members(person("alice"), samesite="Strict")
        site = serve(world, session=members, disable_client_request=True)
        answer = site.get(path_of(B), ASKED["another site"])
        assert (answer.status, site.members.asked) == (200, [])
        assert hand_over(site).status == 400
        assert tokens_in(site) == 0

    def test_own_page_for_blocked_cookies(self, world: World) -> None:
        members = Members(person("alice"), samesite="Strict")
        own = {"cookies_blocked": lambda page: f"{page.name} {page.site_name}"}
        site = serve(world, session=members, pages=own, site_name="A")
        path = path_of(f"{B}/one-time-token/return", code_challenge=challenge_of("verifier"))
        answer = site.get(f"{path}&ott_seen={'N' * 32}", ASKED["another site"])
        assert (answer.status, answer.body) == (400, b"cookies_blocked A")


class TestCodeChallenge:
    CHALLENGE = challenge_of("verifier")
    RETURN = f"{B}/one-time-token/return"

    @pytest.mark.parametrize("headers", [*ASKED.values(), *[{**NAVIGATION, **s} for s in SILENT]])
    def test_silent_from_anywhere(self, world: World, headers: dict[str, str]) -> None:
        site = serve(world)
        path = path_of(self.RETURN, code_challenge=self.CHALLENGE)
        answer = site.load(path, {**headers, **ALICE})
        assert (answer.location or "").startswith(f"{self.RETURN}?ott=")
        token = token_of(answer.location)
        tokens = site.flow.tokens
        assert tokens.verify(token, audience=B, code_verifiers=["verifier"]).user_id == "alice"
        answer = site.load(path, {**headers, **ALICE})
        token = token_of(answer.location)
        with pytest.raises(Exception, match="Invalid token"):
            tokens.verify(token, audience=B)

    @pytest.mark.parametrize("which", ["an old browser", "a service worker"])
    def test_what_may_be_a_frame_gets_a_page_first(self, world: World, which: str) -> None:
        """Another site frames the URL, with a challenge of its own; no token is made."""
        site = serve(world)
        path = path_of(self.RETURN, code_challenge=self.CHALLENGE)
        for seen in ("", f"&ott_seen={'N' * 32}"):
            answer = site.get(f"{path}{seen}", {**ASKED[which], **ALICE})
            assert answer.location is None
            assert tokens_in(site) == 0
        page = site.get(path, {**ASKED[which], **ALICE})
        assert (page.status, page.header("x-frame-options")) == (200, "DENY")

    @pytest.mark.parametrize("headers", NO_NAVIGATION.values(), ids=NO_NAVIGATION)
    def test_no_navigation(self, world: World, headers: dict[str, str]) -> None:
        site = serve(world)
        path = path_of(self.RETURN, code_challenge=self.CHALLENGE)
        assert site.get(path, {**headers, **ALICE}).code == "NAVIGATION_REQUIRED"
        assert tokens_in(site) == 0

    @pytest.mark.parametrize(
        "to",
        [
            f"{B}/",
            f"{B}/welcome",
            f"{B}/one-time-token/return/",
            f"{B}/one-time-token/return?",
            f"{B}/one-time-token/return?a=1",
            f"{B}/one-time-token/return#",
            f"{B}/one-time-token/retur%6e",
            f"{B}/one-time-token/RETURN",
            f"{B}/one-time-token/generate",
            f"{B}/a?/one-time-token/return",
            f"{B}/a#/one-time-token/return",
            f"{B}/one-time-token/return/..",
            f"{A}/one-time-token/return",
            "https://evil.example/one-time-token/return",
        ],
    )
    def test_other_target(self, world: World, to: str) -> None:
        site = serve(world)
        headers = {**ALICE, "accept": "*/*"}
        assert hand_over(site, to, headers, code_challenge=self.CHALLENGE).code == "INVALID_TARGET"
        assert tokens_in(site) == 0

    @pytest.mark.parametrize(
        "challenge", ["", "x", "N" * 42, "N" * 44, "N" * 42 + "=", "N" * 42 + "\n", "N" * 42 + "+"]
    )
    def test_malformed(self, world: World, challenge: str) -> None:
        site = serve(world)
        headers = {**ALICE, "accept": "*/*"}
        answer = hand_over(site, self.RETURN, headers, code_challenge=challenge)
        assert answer.code == "VALIDATION_ERROR"
        path = f"{path_of(self.RETURN, code_challenge='N' * 43)}&code_challenge={'M' * 43}"
        assert site.open(path, headers).code == "VALIDATION_ERROR"
        assert tokens_in(site) == 0

    def test_base_path_of_the_target(self, world: World) -> None:
        site = serve(world, handoff_targets=[f"{B}/api/"])
        to = f"{B}/api/auth/one-time-token/return"
        assert hand_over(site, to, code_challenge=self.CHALLENGE).status == 303
        # A path prefix holds for the return path, too.
        assert hand_over(site, self.RETURN, code_challenge=self.CHALLENGE).status == 400

    def test_needs_a_target(self, world: World) -> None:
        site = serve(world)
        answer = site.fetch(f"{GENERATE}?code_challenge={self.CHALLENGE}", ALICE)
        assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
        assert tokens_in(site) == 0

    def test_token_service_that_knows_none(self, world: World) -> None:
        class Plain:
            def __init__(self, tokens: OneTimeTokens) -> None:
                self.verify, self.averify = tokens.verify, tokens.averify
                self.revoke, self.arevoke = tokens.revoke, tokens.arevoke
                self._tokens, self.clock = tokens, tokens.clock

            def generate(self, session: Any, *, expires_in: Any = None, audience: Any = None,
                         channel: str = "handoff") -> str:  # fmt: skip
                return self._tokens.generate(session, audience=audience, channel=channel)

            async def agenerate(self, session: Any, **how: Any) -> str:
                return self.generate(session, **how)

        backend = MemoryBackend(clock=world.clock)
        members = Members(person("alice"))
        tokens: Any = Plain(OneTimeTokens(backend, sessions=members))
        site = serve(world, tokens=tokens, session=members)
        headers = {**ALICE, "accept": "*/*"}
        answer = hand_over(site, self.RETURN, headers, code_challenge=self.CHALLENGE)
        assert (answer.code, len(backend)) == ("INVALID_TARGET", 0)
        # A handoff without a challenge works, and is counted apart there, too.
        kept = tokens.generate(person("alice"), audience=B)
        for _ in range(11):
            assert hand_over(site, headers=ALICE).status == 303
        assert len(backend) == 11
        assert tokens.verify(kept, audience=B).user_id == "alice"


class TestWithTheTarget:
    """Pull handoff: the target starts it, and redeems what comes back."""

    def test_whole_way(self, world: World) -> None:
        shared: dict[str, Any] = {
            "backend": MemoryBackend(clock=world.clock),
            "secret": "a secret of thirty-two characters",
        }
        site = serve(world, login_url="/login", **shared)
        there = world.serve(public_origin=B, issuer=A, protected=lambda request: True, **shared)
        started = there.open("/account?a=1")
        jar = "; ".join(f"{name}={value}" for name, value in started.cookies.items())
        path = (started.location or "").removeprefix(A)
        asked = {"sec-fetch-site": "cross-site"}
        # Without a session first: the visitor signs in at the issuer, and comes back.
        wanted = next_of(site.open(path, asked))
        issued = site.open(wanted, {**ALICE, "sec-fetch-site": "same-origin"})
        location = issued.location or ""
        assert location.startswith(f"{B}/one-time-token/return?ott=")
        back = there.open(location.removeprefix(B), {**asked, "cookie": jar})
        assert (back.status, back.location) == (303, "/account?a=1")
        assert back.cookies["sid"] == "alice-cookie"
        # Signed in at the issuer already: nothing is asked. In another browser it is worth nothing.
        stolen = site.open(path, {**ALICE, **asked}).location or ""
        thief = there.open(stolen.removeprefix(B), asked)
        assert "sid" not in thief.cookies


class TestCap:
    def test_counted_apart_from_the_app_s_links(self, world: World) -> None:
        site = serve(world, max_per_session=2)
        kept = [site.token(audience=A) for _ in range(2)]
        locations = [hand_over(site).location for _ in range(5)]
        assert tokens_in(site) == 4
        assert all(site.verify(token).status == 200 for token in kept)
        made = [token_of(each) for each in locations]
        live = [site.verify(token, audience=B).status for token in made]
        assert live == [400, 400, 400, 200, 200]

    def test_app_s_links_leave_handoffs_alone(self, world: World) -> None:
        site = serve(world, max_per_session=1)
        token = token_of(hand_over(site).location)
        for _ in range(3):
            site.token()
        assert site.verify(token, audience=B).status == 200

    def test_users_are_counted_apart(self, world: World) -> None:
        site = serve(world, max_per_session=1)
        token = token_of(hand_over(site).location)
        assert hand_over(site, headers=BOB).status == 303
        assert site.verify(token, audience=B).json()["user"]["id"] == "alice"

    @pytest.mark.parametrize("secret", [None, ["n" * 32, "o" * 32]])
    def test_revoke_reaches_them(self, world: World, secret: Any) -> None:
        site = serve(world, **({"secret": secret} if secret else {}))
        for _ in range(3):
            hand_over(site)
        site.token()
        hand_over(site, headers=BOB)
        assert site.flow.tokens.revoke("session-of-alice") == 4
        assert tokens_in(site) == 1

    def test_sign_out_revokes_them(self, world: World) -> None:
        def app(seen: Seen) -> Reply:
            return Reply(200, [("Set-Cookie", "sid=; Max-Age=0")])

        site = serve(world, app, revoke_on_sign_out=True)
        hand_over(site)
        assert tokens_in(site) == 1
        site.get("/log-out", ALICE)
        assert tokens_in(site) == 0

    def test_sessions_that_no_adapter_can_verify(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(token_service, "MAX_PER_NETWORK", 3)
        backend = MemoryBackend(clock=world.clock)
        site = serve(world, session=CookieSession("sid", renews_key=True), backend=backend)
        # Each made-up cookie is a session: they are counted for the network, apart from others.
        for number in range(5):
            hand_over(site, headers={"cookie": f"sid=made-up-{number}"})
        assert len(backend) == 3
        assert site.fetch(GENERATE, {"cookie": "sid=made-up"}).status == 200
        assert len(backend) == 4
        hand_over(site)
        assert len(backend) == 4


def test_unquoted_next_of_a_login_page_is_this_site_s(world: World) -> None:
    """What a login page redirects to, by whatever parser it has."""
    site = serve(world, login_url="/login")
    for to in (f"{B}//evil.example", f"{B}/\\evil.example", f"{B}/?next=//evil.example"):
        wanted = next_of(hand_over(site, to, {}))
        for _ in range(4):
            assert urlsplit(urljoin(f"{A}/login", wanted))[:2] == ("https", "a.example")
            wanted = unquote(wanted)
