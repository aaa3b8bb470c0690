"""Confirm links: a page with a button comes first, and its form alone signs in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import pytest
from harness import HOST, NAVIGATION, ORIGIN, SECRET, Answer, Members, Site, World, echo, person

from ott_middleware.errors import BackendUnavailable
from ott_middleware.http.messages import Response

FORM = "application/x-www-form-urlencoded"
#: What a browser sends with the form of a page of this site.
SUBMITTED = {
    **NAVIGATION,
    "sec-fetch-site": "same-origin",
    "sec-fetch-user": "?1",
    "origin": ORIGIN,
    "content-type": FORM,
}
OLD = {"accept": "text/html", "accept-language": "de"}
HTML_TYPE = "text/html; charset=utf-8"


class Person:
    """A visitor with a browser: its cookies, and what it makes of a page."""

    def __init__(self, site: Site, **jar: str) -> None:
        self.site = site
        self.jar = dict(jar)

    def keep(self, answer: Answer) -> Answer:
        for name, value in answer.cookies.items():
            self.jar[name] = value
            if not value:
                del self.jar[name]
        return answer

    def sent(self, headers: Mapping[str, str | None], *, without: str = "") -> dict[str, str]:
        pairs = [f"{n}={v}" for n, v in self.jar.items() if not without or without not in n]
        given = {name: value for name, value in headers.items() if value is not None}
        return {**given, **({"cookie": "; ".join(pairs)} if pairs else {})}

    def open(self, target: str, headers: Mapping[str, str] = NAVIGATION, **how: Any) -> Answer:
        # A browser holds the Strict cookies back where another site opens the link.
        held_back = "confirm" if headers.get("sec-fetch-site") == "cross-site" else ""
        return self.keep(self.site.get(target, self.sent(headers, without=held_back), **how))

    def press(self, target: str, page: Answer, **how: Any) -> Answer:
        return self.post(target, body_of(page), **how)

    def post(
        self,
        target: str,
        body: bytes,
        headers: Mapping[str, str | None] = {},
        *,
        method: str = "POST",
        **how: Any,
    ) -> Answer:
        sent = self.sent({**SUBMITTED, **headers})
        return self.keep(self.site.send(method, target, sent, body, **how))


def nonce_of(page: Answer) -> str:
    (found,) = re.findall(rb'<input type="hidden" name="nonce" value="([^"]*)">', page.body)
    return unescape(found.decode())


def body_of(page: Answer) -> bytes:
    return f"nonce={nonce_of(page)}".encode()


def confirm_token(site: Site, name: str = "alice") -> str:
    return site.token(person(name), channel="confirm")


def url(token: str, rest: str = "") -> str:
    return f"/in?ott=confirm.{token}{rest}"


def is_live(site: Site, token: str) -> bool:
    """Whether a confirm token is live, which it is no more afterwards."""
    visitor = Person(site)
    return visitor.press(url(token), visitor.open(url(token))).status == 303


class TestLink:
    def test_value_of_the_parameter(self, world: World) -> None:
        site = world.serve(echo)
        site.get("/", {"cookie": "sid=alice-cookie"})
        handle = site.seen[-1].ott
        link = handle.link(f"{ORIGIN}/in?a=1", channel="confirm")
        assert re.fullmatch(rf"{ORIGIN}/in\?a=1&ott=confirm\.[A-Za-z0-9_-]{{32}}", link)
        assert is_live(site, link.partition("confirm.")[2])
        assert re.fullmatch(r"[A-Za-z0-9_-]{32}", handle.generate(channel="confirm"))

    def test_other_channels_have_the_bare_token(self, world: World) -> None:
        site = world.serve(echo)
        site.get("/", {"cookie": "sid=alice-cookie"})
        link = site.seen[-1].ott.link(f"{ORIGIN}/")
        assert re.fullmatch(rf"{ORIGIN}/\?ott=[A-Za-z0-9_-]{{32}}", link)

    def test_is_bound_to_its_origin(self, world: World) -> None:
        site = world.serve()
        token = site.token(channel="confirm", audience="https://b.example")
        visitor = Person(site)
        assert visitor.press(url(token), visitor.open(url(token))).status == 400

    def test_works_at_a_site_with_an_issuer(self, world: World) -> None:
        site = world.serve(issuer="https://a.example", secret=SECRET, public_origin=ORIGIN)
        assert is_live(site, confirm_token(site))

    def test_expires(self, world: World) -> None:
        site = world.serve()
        token = confirm_token(site)
        visitor = Person(site)
        page = visitor.open(url(token))
        world.clock.now += 200
        used = visitor.press(url(token), page)
        assert (used.status, "sid" in used.cookies) == (400, False)


PAGE_KINDS = {
    "a navigation": NAVIGATION,
    "from another site": {**NAVIGATION, "sec-fetch-site": "cross-site"},
    "a service worker": {**NAVIGATION, "sec-fetch-dest": "empty"},
    "an old browser": OLD,
    "an in-app browser that names a chat program": {
        **NAVIGATION,
        "sec-fetch-user": "?1",
        "user-agent": "WhatsApp/2.23.20.0",
    },
}


class TestPage:
    @pytest.mark.parametrize("kind", PAGE_KINDS)
    def test_navigation_gets_a_page_and_asks_nothing(self, world: World, kind: str) -> None:
        site = world.serve(session=Members(person("alice"), samesite="Strict"))
        token = confirm_token(site)
        site.members.asked.clear()
        headers = {**PAGE_KINDS[kind], "cookie": "sid=alice-cookie"}
        page = site.get(url(token, "&a=1"), headers)
        assert page.status == 200
        assert page.header("content-type") == HTML_TYPE
        assert page.header("cache-control") == "no-store"
        assert page.header("referrer-policy") == "strict-origin"
        assert page.header("x-frame-options") == "DENY"
        policy = page.header("content-security-policy") or ""
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert site.seen == []
        assert site.members.asked == []
        assert is_live(site, token)

    def test_backend_is_not_asked(self, world: World) -> None:
        class Down:
            def put(self, key: str, value: bytes, *, expires_at: float) -> None: ...

            def take(self, key: str) -> bytes | None:
                raise BackendUnavailable

        site = world.serve(backend=Down())
        assert Person(site).open(url("T" * 32)).status == 200

    def test_holds_no_token_and_no_address(self, world: World) -> None:
        site = world.serve()
        token = confirm_token(site)
        page = Person(site).open(url(token, "&mail=ada%40example.com"))
        assert token.encode() not in page.body
        assert b"confirm." not in page.body
        assert b"ott" not in page.body.replace(b"bottom", b"")
        assert b"example.com" not in page.body
        assert token not in str(page.headers)
        assert b"alice" not in page.body.lower()

    def test_form_posts_to_its_own_url(self, world: World) -> None:
        page = Person(world.serve()).open(url("T" * 32))
        tags = tags_of(page)
        assert [attributes for name, attributes in tags if name == "form"] == [{"method": "post"}]
        names = [name for name, _ in tags]
        assert names.count("h1") == names.count("button") == names.count("main") == 1
        assert not {"script", "img", "link", "a", "iframe", "base"} & set(names)

    @pytest.mark.parametrize(
        ("options", "host", "named"),
        [
            ({"site_name": "Ada & <Sons>"}, HOST, "Ada &amp; &lt;Sons&gt;"),
            ({}, f"{HOST}:8000", f'<p class="site">{HOST}</p>'),
            ({"public_origin": "https://own.example"}, "proxy", '<p class="site">own.example</p>'),
        ],
    )
    def test_names_the_site(
        self, world: World, options: dict[str, Any], host: str, named: str
    ) -> None:
        page = world.serve(**options).open(url("T" * 32), {"host": host})
        assert named in page.body.decode()

    @pytest.mark.parametrize("host", ["<b>", "", "a b"])
    def test_shows_no_host_that_is_none(self, world: World, host: str) -> None:
        page = world.serve().open(url("T" * 32), {"host": host})
        assert page.status == 200
        assert b'class="site"' not in page.body

    @pytest.mark.parametrize(
        ("language", "title"),
        [
            ("de-CH", "Möchten Sie sich anmelden?"),
            ("fr", "Confirmez votre connexion"),
            ("es", "¿Quiere iniciar sesión?"),
            ("ja", "ログインの確認"),
            ("nl", "Do you want to sign in?"),
        ],
    )
    def test_language(self, world: World, language: str, title: str) -> None:
        page = world.serve().open(url("T" * 32), {"accept-language": language})
        assert f"<h1>{title}</h1>" in page.body.decode()

    @pytest.mark.parametrize(
        ("method", "headers", "status"),
        [
            ("HEAD", NAVIGATION, 200),
            ("OPTIONS", NAVIGATION, 200),
            ("GET", {**NAVIGATION, "sec-fetch-dest": "iframe"}, 200),
            ("POST", {**SUBMITTED, "sec-fetch-dest": "iframe"}, 200),
            ("GET", {**NAVIGATION, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, 200),
            ("GET", {**OLD, "user-agent": "Slackbot-LinkExpanding 1.0"}, 200),
            ("GET", {**NAVIGATION, "sec-purpose": "prefetch;prerender"}, 503),
        ],
    )
    def test_what_never_redeems(
        self, world: World, method: str, headers: dict[str, str], status: int
    ) -> None:
        site = world.serve()
        token = confirm_token(site)
        answer = site.send(method, url(token, "&a=1"), headers)
        assert (answer.status, answer.cookies) == (status, {})
        assert [seen.query for seen in site.seen] == (["a=1"] if status == 200 else [])
        assert is_live(site, token)

    def test_own_page(self, world: World) -> None:
        shown: list[Any] = []

        def show(page: Any) -> str:
            shown.append(page)
            (form,) = page.forms
            fields = "".join(
                f'<input type="hidden" name="{name}" value="{value}">'
                for name, value in form.fields.items()
            )
            return f"<form method=post>{fields}<button>{form.label}</button></form>"

        site = world.serve(pages={"confirm": show}, site_name="Shop")
        token, visitor = confirm_token(site), Person(site)
        page = visitor.open(url(token))
        assert page.header("referrer-policy") == "strict-origin"
        assert page.header("x-frame-options") == "DENY"
        assert visitor.press(url(token), page).status == 303
        assert (shown[0].name, shown[0].status, shown[0].code) == ("confirm", 200, "")
        assert (shown[0].site_name, shown[0].forms[0].label) == ("Shop", "Sign in")


def tags_of(page: Answer) -> list[tuple[str, dict[str, str | None]]]:
    found: list[tuple[str, dict[str, str | None]]] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, dict(attrs)))

    Parser().feed(page.body.decode())
    return found


class TestNonceCookie:
    @pytest.mark.parametrize(("scheme", "prefix"), [("http", ""), ("https", "__Host-")])
    def test_attributes(self, world: World, scheme: str, prefix: str) -> None:
        page = world.serve().open(url("T" * 32), scheme=scheme)
        ((name, value),) = page.cookies.items()
        assert re.fullmatch(rf"{prefix}ott_confirm_[0-4]", name)
        secure = {"Secure"} if scheme == "https" else set()
        expected = {"Max-Age=3600", "Path=/", "HttpOnly", "SameSite=Strict"} | secure
        assert page.cookie(name) == expected
        assert value == nonce_of(page)
        assert "T" * 8 not in value

    def test_two_links_at_a_time(self, world: World) -> None:
        site = world.serve()
        visitor = Person(site)
        tokens = [confirm_token(site) for _ in range(5)]
        pages = [visitor.open(url(token)) for token in tokens]
        assert len(visitor.jar) == 5
        statuses = [
            visitor.press(url(token), page).status
            for token, page in zip(tokens, pages, strict=True)
        ]
        assert statuses == [303] * 5
        assert set(visitor.jar) == {"sid"}

    def test_link_that_is_opened_twice_keeps_its_nonce(self, world: World) -> None:
        site = world.serve()
        visitor, token = Person(site), confirm_token(site)
        first, second = visitor.open(url(token)), visitor.open(url(token))
        assert nonce_of(first) == nonce_of(second)
        assert visitor.press(url(token), first).status == 303

    @pytest.mark.parametrize("site_of_page", ["none", "cross-site"])
    def test_flood_of_links_leaves_five(self, world: World, site_of_page: str) -> None:
        """Another site opens 200 links: neither the session cookie nor any request suffers."""
        site = world.serve()
        visitor = Person(site)
        for number in range(200):
            headers = {**NAVIGATION, "sec-fetch-site": site_of_page}
            visitor.open(url(f"{number:032}"), headers)
        assert len(visitor.jar) == 5
        assert sum(map(len, visitor.jar.values())) < 400
        # A link of the visitor's own works afterwards.
        token = confirm_token(site)
        assert visitor.press(url(token), visitor.open(url(token))).status == 303

    def test_replaced_nonce_shows_the_page_anew(self, world: World) -> None:
        site = world.serve()
        visitor, token = Person(site), confirm_token(site)
        page = visitor.open(url(token))
        for number in range(6):
            visitor.open(url(f"{number:032}"))
        again = visitor.press(url(token), page)
        if again.status != 303:
            assert again.status == 403
            assert visitor.press(url(token), again).status == 303


class TestForm:
    def test_signs_in(self, world: World) -> None:
        site = world.serve()
        token, visitor = confirm_token(site), Person(site)
        page = visitor.open(url(token, "&a=1&b=%22"))
        answer = visitor.press(url(token, "&a=1&b=%22"), page)
        assert (answer.status, answer.location) == (303, "?a=1&b=%22")
        assert answer.header("cache-control") == "no-store"
        assert visitor.jar == {"sid": "alice-cookie"}
        assert site.seen == []

    def test_channel_of_the_event(self, world: World) -> None:
        events: list[Any] = []
        site = world.serve(on_event=events.append)
        assert is_live(site, confirm_token(site))
        site.middleware.flow.services.reports.events.flush(5)
        assert [(each.kind, each.channel) for each in events] == [("redeemed", "confirm")]

    @pytest.mark.parametrize("spelled", ["confirm.{}", "confirm%2E{}", "%63onfirm%2e{}"])
    def test_spelling_of_the_prefix(self, world: World, spelled: str) -> None:
        site = world.serve()
        token, visitor = confirm_token(site), Person(site)
        target = f"/in?ott={spelled.format(token)}"
        page = visitor.open(target)
        assert (page.status, visitor.press(target, page).status) == (200, 303)

    @pytest.mark.parametrize(
        "value",
        ["confirm.confirm.{}", "confirm.", "CONFIRM.{}", "confirm.{}.", "confirm..{}", "x.{}"],
    )
    def test_malformed_value(self, world: World, value: str) -> None:
        site = world.serve()
        token, visitor = confirm_token(site), Person(site)
        target = f"/in?ott={value.format(token)}"
        page = visitor.open(url(token))
        assert visitor.open(target).status == 400
        answer = visitor.post(target, body_of(page))
        assert (answer.status, answer.cookies, site.seen) == (400, {}, [])
        assert is_live(site, token)

    @pytest.mark.parametrize("values", [("confirm.{}", "{}"), ("confirm.{}", "confirm.{}x")])
    def test_two_values(self, world: World, values: tuple[str, str]) -> None:
        site = world.serve()
        token, visitor = confirm_token(site), Person(site)
        target = "/in?" + "&".join(f"ott={value.format(token)}" for value in values)
        page = visitor.open(url(token))
        assert visitor.open(target).status == 400
        assert visitor.post(target, body_of(page)).status == 400
        assert is_live(site, token)

    def test_same_value_twice(self, world: World) -> None:
        site = world.serve()
        token, visitor = confirm_token(site), Person(site)
        target = f"{url(token)}&ott=confirm%2E{token}"
        assert visitor.press(target, visitor.open(target)).status == 303

    def test_token_of_another_channel(self, world: World) -> None:
        site = world.serve()
        visitor = Person(site)
        handoff = site.token()
        assert visitor.press(url(handoff), visitor.open(url(handoff))).status == 400
        assert site.verify(handoff).status == 200  # the wrong door took nothing
        token = confirm_token(site)
        assert site.open(f"/in?ott={token}").status == 400
        assert is_live(site, token)

    def test_form_of_a_handoff_link_is_a_call(self, world: World) -> None:
        site = world.serve(echo)
        answer = Person(site).post(f"/in?ott={site.token()}", b"name=Ada")
        assert (answer.status, answer.json()["redeemed"]) == (200, "handoff")

    def test_body_in_pieces(self, world: World) -> None:
        site = world.serve()
        token, visitor = confirm_token(site), Person(site)
        body = body_of(visitor.open(url(token)))
        assert visitor.post(url(token), [body[:5], body[5:]]).status == 303  # type: ignore[arg-type]  # in chunks

    def test_double_click_of_a_verified_user(self, world: World) -> None:
        site = world.serve()
        token, visitor = confirm_token(site), Person(site)
        page = visitor.open(url(token))
        nonce = dict(visitor.jar)
        assert visitor.press(url(token), page).status == 303
        visitor.jar.update(nonce)
        second = visitor.press(url(token), page)
        assert (second.status, second.location) == (303, "./in")
        # By the back button the page is there again: the nonce is gone, but a click leads on.
        visitor.jar = {"sid": "alice-cookie"}
        again = visitor.press(url(token), page)
        assert again.status == 403
        assert visitor.press(url(token), again).status == 303

    @pytest.mark.parametrize(("on_switch", "user"), [("keep", "bob"), ("replace", "alice")])
    def test_other_user_is_signed_in(self, world: World, on_switch: str, user: str) -> None:
        site = world.serve(on_switch=on_switch)
        token, visitor = confirm_token(site), Person(site, sid="bob-cookie")
        answer = visitor.press(url(token), visitor.open(url(token)))
        assert answer.status == 303
        assert visitor.jar["sid"] == f"{user}-cookie"

    @pytest.mark.parametrize(("choice", "user"), [("switch", "alice"), ("stay", "bob")])
    def test_other_user_is_asked(self, world: World, choice: str, user: str) -> None:
        site = world.serve(on_switch="ask")
        token, visitor = confirm_token(site), Person(site, sid="bob-cookie")
        asked = visitor.press(url(token, "&a=1"), visitor.open(url(token, "&a=1")))
        assert (asked.status, asked.header("content-type")) == (200, HTML_TYPE)
        forms = re.findall(
            r'<form method="post" action="([^"]*)">(.*?)</form>', asked.body.decode()
        )
        (action, fields) = next(each for each in forms if f'value="{choice}"' in each[1])
        pairs = re.findall(r'name="([^"]*)" value="([^"]*)"', fields)
        body = "&".join(f"{name}={value}" for name, value in pairs).encode()
        chosen = visitor.post(urljoin("/in", unescape(action)), body)
        assert (chosen.status, chosen.location) == (303, "?a=1")
        assert visitor.jar["sid"] == f"{user}-cookie"

    def test_adapter_that_fails_takes_nothing(self, world: World) -> None:
        class Failing(Members):
            fails = True

            def current(self, request: Any) -> Any:
                return 1 / 0 if self.fails else super().current(request)

        site = world.serve(session=Failing(person("alice")))
        token, visitor = confirm_token(site), Person(site)
        page = visitor.open(url(token))
        answer = visitor.press(url(token), page)
        assert (answer.status, answer.header("content-type")) == (503, HTML_TYPE)
        site.members.fails = False
        assert visitor.press(url(token), page).status == 303


class TestErrors:
    @pytest.mark.parametrize("accept", ["application/json", "*/*", None])
    def test_used_link_is_a_page(self, world: World, accept: str | None) -> None:
        site = world.serve(login_url="/login")
        token, visitor = confirm_token(site), Person(site)
        page = visitor.open(url(token, "&a=1"))
        assert is_live(site, token)
        answer = visitor.post(url(token, "&a=1"), body_of(page), {"accept": accept})
        assert (answer.status, answer.header("content-type")) == (400, HTML_TYPE)
        assert b"This link no longer works" in answer.body
        # The page that the link leads to can be opened after the sign-in.
        assert b'href="/login?next=/in%3Fa%3D1"' in answer.body
        assert "sid" not in answer.cookies

    @pytest.mark.parametrize("on_invalid", ["continue", "function"])
    def test_on_invalid(self, world: World, on_invalid: str) -> None:
        asked: list[Any] = []

        def hook(request: Any, error: Any) -> Response:
            asked.append((request.method, error.code))
            return Response(302, (("Location", "/sorry"),))

        site = world.serve(on_invalid="continue" if on_invalid == "continue" else hook)
        visitor = Person(site)
        target = url("T" * 32)
        answer = visitor.press(target, visitor.open(target))
        if on_invalid == "continue":
            assert (answer.status, answer.location, asked) == (303, "./in", [])
        else:
            assert (answer.status, answer.location) == (302, "/sorry")
            assert asked == [("GET", "INVALID_TOKEN")]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", 403),
            (b"nonce=", 403),
            (b"nonce=x", 403),
            (b"x=1", 403),
            (b"nonce=%FF%00", 403),
            (b"\xff", 400),
            (b"a=1&" * 20, 400),
            (b"a" * 100_000, 413),
            ([b"a" * 1000] * 100, 413),
        ],
    )
    def test_body(self, world: World, body: Any, status: int) -> None:
        site = world.serve()
        token, visitor = confirm_token(site), Person(site)
        visitor.open(url(token))
        answer = visitor.post(url(token), body, {"accept": "application/json"})
        assert (answer.status, answer.header("content-type")) == (status, HTML_TYPE)
        assert (site.seen, "sid" in visitor.jar) == ([], False)
        assert is_live(site, token)

    def test_nonce_twice(self, world: World) -> None:
        site = world.serve()
        token, visitor = confirm_token(site), Person(site)
        body = body_of(visitor.open(url(token)))
        assert visitor.post(url(token), body + b"&" + body).status == 403
        assert is_live(site, token)

    def test_missing_cookie_shows_the_page_with_a_notice(self, world: World) -> None:
        site = world.serve()
        token, visitor = confirm_token(site), Person(site)
        page = visitor.open(url(token))
        visitor.jar.clear()
        again = visitor.press(url(token), page)
        assert again.status == 403
        assert b"<h1>Do you want to sign in?</h1>" in again.body
        assert b"this page was open for too long" in again.body
        assert visitor.press(url(token), again).status == 303

    def test_site_that_sets_no_cookies(self, world: World) -> None:
        class Bearers(Members):
            uses_cookies = False

        site = world.serve(session=Bearers(person("alice")))
        token, visitor = confirm_token(site), Person(site)
        assert visitor.open(url(token)).status == 400
        answer = visitor.post(url(token), b"nonce=x", {"accept": "*/*"})
        assert (answer.status, answer.header("content-type")) == (400, HTML_TYPE)
        assert site.members.asked == []

    def test_nothing_but_the_form_redeems(self, world: World) -> None:
        site = world.serve()
        token, visitor = confirm_token(site), Person(site)
        nonce = body_of(visitor.open(url(token)))
        fetch = {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty", "accept": "*/*"}
        tries = [
            visitor.post(url(token), b"{}", {"content-type": "application/json", **fetch}),
            visitor.post(url(token), nonce, {"content-type": "multipart/form-data"}),
            visitor.post(url(token), nonce, {"content-type": None}),
            visitor.post(url(token), nonce, method="PUT"),
            visitor.post(url(token), nonce, method="PATCH"),
            site.fetch(url(token)),
            site.get(url(token)),
            site.verify(f"confirm.{token}"),
            site.verify(token),
        ]
        assert [answer.status for answer in tries] == [400] * len(tries)
        assert [answer.cookies for answer in tries] == [{}] * len(tries)
        assert site.seen == []
        assert is_live(site, token)

    def test_reason_of_another_door(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG", "ott_middleware")
        site = world.serve()
        token = confirm_token(site)
        site.fetch(url(token))
        site.verify(f"confirm.{token}")
        words = [getattr(record, "ott_reason", None) for record in caplog.records]
        assert [word for word in words if word] == ["other_channel"] * 2

    @pytest.mark.parametrize("held", [True, False])
    def test_reason_of_the_page_anew(
        self, world: World, caplog: pytest.LogCaptureFixture, held: bool
    ) -> None:
        caplog.set_level("DEBUG", "ott_middleware")
        site = world.serve()
        visitor, token = Person(site), confirm_token(site)
        if held:
            visitor.open(url(token))
        visitor.post(url(token), b"nonce=no")
        words = [getattr(record, "ott_reason", None) for record in caplog.records]
        assert words[-1] == ("other_page" if held else "cookies_blocked")


class TestAttacks:
    """What posts the form and is not its page."""

    def attack(self, site: Site, headers: Mapping[str, str | None]) -> int:
        """The page's own form, nonce and all, by a request that says it comes from elsewhere."""
        token, visitor = confirm_token(site), Person(site)
        page = visitor.open(url(token))
        answer = visitor.post(url(token), body_of(page), headers)
        assert ("sid" in visitor.jar) == (answer.status == 303)
        if answer.status != 303:
            assert answer.header("content-type") == HTML_TYPE
            assert is_live(site, token)
        return answer.status

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, 403),
            ({"origin": "https://evil.example", "sec-fetch-site": None}, 403),
            ({"origin": f"http://sub.{HOST}", "sec-fetch-site": "same-site"}, 403),
            ({"origin": f"http://sub.{HOST}", "sec-fetch-site": None}, 403),
            ({"origin": "https://front.example", "sec-fetch-site": None}, 403),
            ({"origin": "null"}, 403),
            ({"origin": "null", "sec-fetch-site": None}, 403),
            ({"origin": ORIGIN, "sec-fetch-site": "cross-site"}, 403),
            ({"origin": ORIGIN, "sec-fetch-site": "same-site"}, 403),
            ({"origin": None, "sec-fetch-site": None}, 403),
            ({"origin": None, "sec-fetch-site": "none"}, 403),
            ({"origin": None, "sec-fetch-site": "cross-site"}, 403),
            ({"origin": None, "referer": "https://evil.example/"}, 403),
            ({"origin": None, "referer": "nonsense", "sec-fetch-site": None}, 403),
            # What browsers, old ones included, send with the page's own form.
            ({}, 303),
            ({"sec-fetch-site": None}, 303),
            ({"sec-fetch-site": "none"}, 303),
            ({"origin": None}, 303),
            ({"origin": None, "sec-fetch-site": None, "referer": f"{ORIGIN}/in"}, 303),
            ({"origin": f"https://{HOST}"}, 303),  # a proxy that ends TLS
        ],
    )
    def test_origin(self, world: World, headers: dict[str, str | None], status: int) -> None:
        site = world.serve(trusted_origins=["https://front.example", f"http://sub.{HOST}"])
        assert self.attack(site, headers) == status

    @pytest.mark.parametrize(
        ("origin", "word"),
        [("null", "missing_origin"), (None, "missing_origin"), ("http://b", "untrusted_origin")],
    )
    def test_reason(
        self, world: World, caplog: pytest.LogCaptureFixture, origin: str | None, word: str
    ) -> None:
        caplog.set_level("DEBUG", "ott_middleware")
        visitor = Person(world.serve())
        visitor.post(url("T" * 32), b"", {"origin": origin, "sec-fetch-site": None})
        words = [getattr(record, "ott_reason", None) for record in caplog.records]
        assert words[-1] == word

    def test_unknown_own_origin(self, world: World) -> None:
        site = world.serve(public_origin=["https://a.example", "https://b.example"])
        token, visitor = confirm_token(site), Person(site)
        page = visitor.open(url(token))
        assert visitor.press(url(token), page).status == 403

    def test_attackers_nonce_for_the_attackers_link(self, world: World) -> None:
        """The attacker has a page of the link, with a nonce; the victim has none."""
        site = world.serve()
        token, attacker, victim = confirm_token(site), Person(site), Person(site)
        page = attacker.open(url(token))
        assert victim.press(url(token), page).status == 403
        victim.open(url(token))
        assert victim.press(url(token), page).status == 403
        assert "sid" not in victim.jar

    def test_nonce_of_another_token(self, world: World) -> None:
        site = world.serve()
        visitor, own, others = Person(site), confirm_token(site), confirm_token(site, "bob")
        page = visitor.open(url(own))
        visitor.open(url(others))
        assert visitor.press(url(others), page).status == 403
        assert is_live(site, others)

    def test_subdomain_plants_a_cookie(self, world: World) -> None:
        site = world.serve(public_origin=f"https://{HOST}")
        token = confirm_token(site)
        page = Person(site).open(url(token))
        planted = {name.removeprefix("__Host-"): value for name, value in page.cookies.items()}
        victim = Person(site, **planted)
        headers = {"origin": f"https://{HOST}"}
        assert victim.post(url(token), body_of(page), headers).status == 403

    def test_one_of_many_requests_wins(self, world: World) -> None:
        site = world.serve()
        token = confirm_token(site)
        visitors = [Person(site) for _ in range(3)]
        pages = [visitor.open(url(token)) for visitor in visitors]
        statuses = [
            visitor.press(url(token), page).status
            for visitor, page in zip(visitors, pages, strict=True)
        ]
        assert statuses == [303, 400, 400]
