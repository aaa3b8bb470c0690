"""Cookies with a Path, Domain or SameSite of their own: warned of, set alike, left once."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx
import pytest
from harness import (
    HOST,
    NOW,
    Members,
    Reply,
    Site,
    World,
    call_asgi,
    make_environ,
    make_scope,
    messages_of,
    run,
)

from ott_middleware import (
    ConfigurationError,
    CookieSession,
    SealedSession,
    Session,
    WSGIMiddleware,
)
from ott_middleware.flow import cookie_watch
from ott_middleware.http import CookieAttributes, CookieName, Request
from ott_middleware.http.set_cookie import differing_arguments
from ott_middleware.interfaces.asgi import ASGIMiddleware


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.levelno == logging.WARNING]


def find(values: Any) -> Any:
    return None if values["sid"] in ("old", "neighbour") else {}


def adapter(*names: Any, **how: Any) -> CookieSession:
    return CookieSession(*(names or ("sid",)), validate=lambda values: {}, renews_key=True, **how)


def setting(*lines: str) -> Any:
    return lambda seen: Reply(200, [("Set-Cookie", line) for line in lines])


# The comparison.

APP = [
    ("sid=x; Path=/", {}, {}),
    ("sid=x", {}, {}),
    ("sid=x; SameSite=Lax", {}, {}),
    ("sid=x; samesite=lax; path=/", {"samesite": ""}, {}),
    ("sid=x", {"samesite": ""}, {}),
    ("sid=x; SameSite=nonsense", {}, {}),
    ("sid=x; Path=/app", {}, {"path": "/app"}),
    ("sid=x; Path=/app", {"path": "/app"}, {}),
    ("sid=x; Path=/app/", {"path": "/app"}, {"path": "/app/"}),
    ("sid=x; Path=/a; Path=/b", {"path": "/b"}, {}),
    ("sid=x; Path=app", {}, {}),
    ("sid=x; Path=/", {"path": "/app"}, {"path": "/"}),
    ("sid=x; Domain=example.com", {}, {"domain": "example.com"}),
    ("sid=x; Domain=.Example.COM", {"domain": "example.com"}, {}),
    ("sid=x; Domain=example.com", {"domain": ".example.com"}, {}),
    ("sid=x", {"domain": "example.com"}, {"domain": None}),
    ("sid=x; Domain=", {}, {}),
    ("sid=x; SameSite=None; Secure", {}, {"samesite": "None"}),
    ("sid=x; SameSite=STRICT", {}, {"samesite": "Strict"}),
    ("sid=x; SameSite=Lax", {"samesite": "Strict"}, {"samesite": "Lax"}),
    ("sid=x", {"samesite": "Strict"}, {"samesite": "Lax"}),
    ("sid=x; Secure; Partitioned", {}, {"partitioned": True}),
    ("sid=x; Secure", {"secure": True, "partitioned": True}, {"partitioned": False}),
    (
        "sid=x; Path=/app; Domain=example.com; SameSite=None",
        {},
        {"path": "/app", "domain": "example.com", "samesite": "None"},
    ),
    # What does not decide which cookie it is, or where it is sent.
    ("sid=x; Max-Age=60; HttpOnly; Secure; Priority=High", {}, {}),
    # No cookie that the browser keeps.
    ("sid=; Path=/app", {}, None),
    ("sid=x; Path=/app; Max-Age=0", {}, None),
    ("sid=deleted; Path=/app; expires=Thu, 01-Jan-1970 00:00:01 GMT", {}, None),
    ("other=x; Path=/app", {}, None),
    ("sid2=x; Path=/app", {}, None),
]


class TestDifferingArguments:
    @pytest.mark.parametrize(("line", "attributes", "differing"), APP)
    def test_arguments_that_would_make_it_alike(
        self, line: str, attributes: dict[str, Any], differing: Any
    ) -> None:
        cookie = CookieAttributes(**attributes).cookie("sid", "")
        assert differing_arguments(line, cookie, "/login", NOW) == differing

    @pytest.mark.parametrize(
        ("target", "path"),
        [("/", "/"), ("/a", "/"), ("/a/", "/a"), ("/a/b", "/a"), ("/a/b/c", "/a/b")],
    )
    def test_absent_path_is_the_directory_of_the_request(self, target: str, path: str) -> None:
        cookie = CookieAttributes().cookie("sid", "")
        differing = differing_arguments("sid=x", cookie, target, NOW)
        assert differing == ({} if path == "/" else {"path": path})

    def test_line_that_browsers_ignore(self) -> None:
        cookie = CookieAttributes().cookie("__Host-sid", "")
        assert differing_arguments("__Host-sid=x; Path=/app; Secure", cookie, "/", NOW) is None
        assert differing_arguments("__Host-sid=x; Path=/; Secure", cookie, "/", NOW) == {}


# The warning.


class TestWarningOfAttributes:
    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("sid=x; Path=/app", "path='/app'"),
            ("sid=x; Domain=app.example", "domain='app.example'"),
            ("sid=x; SameSite=None; Secure; Path=/", "samesite='None'"),
            ("sid=x; Path=/app; SameSite=Strict", "path='/app', samesite='Strict'"),
        ],
    )
    def test_argument_is_named_once(
        self, world: World, caplog: pytest.LogCaptureFixture, line: str, words: str
    ) -> None:
        site = world.serve(setting(line), session=adapter())
        for _ in range(3):
            site.get("/")
        (message,) = warnings_of(caplog)
        assert f"pass {words};" in message
        assert "CookieSession" in message

    def test_names_are_there_where_there_are_several(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        lines = ["sid=x; Path=/app", "csrf=y; Path=/app; SameSite=Strict", "theme=z; Path=/x"]
        site = world.serve(setting(*lines), session=adapter("sid", "csrf"))
        site.get("/")
        (message,) = warnings_of(caplog)
        assert "path='/app' for 'sid' and path='/app', samesite='Strict' for 'csrf'" in message
        assert "CookieName" in message

    @pytest.mark.parametrize(
        "lines",
        [
            ["sid=x; Path=/"],
            ["sid=x; Path=/; SameSite=Lax; HttpOnly; Max-Age=3600"],
            # A deletion at an old path, and the cookie itself.
            ["sid=; Path=/app; Max-Age=0", "sid=x; Path=/"],
            ["sid=x; Path=/app", "sid=x; Path=/"],
            ["sid=; Path=/app; Max-Age=0"],
            ["theme=dark; Path=/app", "sidebar=x; Path=/app"],
            [],
        ],
    )
    def test_cookie_that_is_alike_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture, lines: list[str]
    ) -> None:
        world.serve(setting(*lines), session=adapter()).get("/")
        assert warnings_of(caplog) == []

    def test_request_that_has_the_cookie_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = world.serve(setting("sid=x; Path=/app"), session=adapter())
        site.get("/", {"cookie": "sid=y"})
        assert warnings_of(caplog) == []
        site.get("/", {"cookie": "other=sid"})
        assert len(warnings_of(caplog)) == 1

    def test_response_to_a_link_is_alike(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        session = adapter(path="/app", domain=HOST, samesite="Strict")
        site = world.serve(session=session)
        token = site.generate({"cookie": "sid=x"}).json()["token"]
        assert site.open(f"/app/x?ott={token}").cookies == {"sid": "x"}
        assert warnings_of(caplog) == []

    def test_path_below_a_mount_point_is_the_browser_s(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = world.serve(setting("sid=x"), session=adapter())
        site.get("/login", mount="/shop")
        assert "pass path='/shop';" in warnings_of(caplog)[0]

    @pytest.mark.parametrize("path", ["/caf\xe9", "/a b", "/" + "a" * 200, "/ada@example.com"])
    def test_text_that_a_visitor_may_have_sent_is_not_logged(
        self, world: World, caplog: pytest.LogCaptureFixture, path: str
    ) -> None:
        world.serve(setting(f"sid=s3cret; Path={path}"), session=adapter()).get("/")
        (message,) = warnings_of(caplog)
        assert "path=(as the app has it)" in message
        assert path not in message
        assert "s3cret" not in message

    @pytest.mark.parametrize(
        "secret",
        ["Zm9vYmFyc2Vj", "qwertyuiopasdfghjklzxcvb", "0b2f6a52-8f1e-4c7b-9d3a-5e6f7a8b9c0d"],
    )
    def test_secret_in_the_path_of_the_request_is_not_logged(
        self, world: World, caplog: pytest.LogCaptureFixture, secret: str
    ) -> None:
        world.serve(setting("sid=x"), session=adapter()).get(f"/reset/{secret}/new")
        (message,) = warnings_of(caplog)
        assert "path=(as the app has it)" in message
        assert secret not in message

    def test_nothing_is_learnt(self, world: World) -> None:
        site = world.serve(setting("sid=x; Path=/app"), session=adapter())
        token = site.generate({"cookie": "sid=x"}).json()["token"]
        site.get("/")
        assert "Path=/" in site.verify(token).cookie("sid")

    @pytest.mark.parametrize("session", [Members(), SealedSession("x" * 32)])
    def test_adapters_of_other_kinds_are_not_watched(self, world: World, session: Any) -> None:
        site = world.serve(setting("sid=x; Path=/app"), session=session)
        assert not cookie_watch.CookieWatch.is_needed(site.flow.services)

    def test_start_response_is_called_as_the_app_calls_it(self) -> None:
        pairs = [("Set-Cookie", "sid=1")]
        calls = [
            (("200 OK", pairs), {"exc_info": None}),
            (("200 OK", pairs, None), {}),
            # Whatever the server makes of these, it is the server that sees them.
            (("200 OK", iter(pairs)), {}),
            (("200 OK", [("Set-Cookie", "sid=1", "more")]), {}),
            (("200 OK", [(b"Set-Cookie", b"sid=1")]), {}),
            (("200 OK", [(1, None)]), {}),
            (("200 OK", None), {}),
        ]
        for given, named in calls:
            seen: list[Any] = []

            def app(_: Any, start: Any, given: Any = given, named: Any = named) -> Any:
                start(*given, **named)
                return []

            def server(*arguments: Any, seen: list[Any] = seen, **keywords: Any) -> Any:
                seen.append((arguments, keywords))

            list(WSGIMiddleware(app, session=adapter())(make_environ("GET", "/"), server))
            assert seen == [(given, named)]
            if not isinstance(given[1], (list, type(None))):
                assert list(given[1]) == pairs

    def test_response_that_cannot_be_looked_at_is_told(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def app(_: Any, start: Any) -> Any:
            start("200 OK", [("Set-Cookie", "sid=hidden-value", "more")])
            return []

        with caplog.at_level(logging.DEBUG, "ott_middleware"):
            list(WSGIMiddleware(app, session=adapter())(make_environ("GET", "/"), lambda *_: None))
        assert "could not be looked at for cookies (ValueError)" in caplog.text
        assert "hidden" not in caplog.text

    def test_headers_that_can_be_read_once_are_left(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            pairs = iter([(b"set-cookie", b"sid=x; Path=/app")])
            await send({"type": "http.response.start", "status": 200, "headers": pairs})
            await send({"type": "http.response.body", "body": b""})

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "path": "/", "query_string": b"", "headers": [], "method": "GET"}
        asyncio.run(ASGIMiddleware(app, session=adapter())(scope, None, send))  # type: ignore[arg-type]
        assert list(sent[0]["headers"]) == [(b"set-cookie", b"sid=x; Path=/app")]


class TestEndOfTheWatch:
    def test_after_1000_responses_nothing_is_looked_at(
        self, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert cookie_watch.MOST_RESPONSES == 1000
        monkeypatch.setattr(cookie_watch, "MOST_RESPONSES", 5)
        line = ["theme=x; Path=/app"]
        site = world.serve(lambda seen: setting(*line)(seen), session=adapter())
        site.get("/")
        first = type(site.middleware).__call__
        for _ in range(3):
            site.get("/")
        assert type(site.middleware).__call__ is first
        site.get("/")
        assert type(site.middleware).__call__ is not first
        line[:] = ["sid=x; Path=/app"]
        site.get("/")
        assert warnings_of(caplog) == []
        # A layer that kept the first function goes the short way as well.
        self._ask(world, first)
        assert warnings_of(caplog) == []

    def _ask(self, world: World, function: Any) -> None:
        if world.interface == "wsgi":
            function(make_environ(), lambda status, headers, exc=None: None)
            return

        run(call_asgi(function, make_scope(), messages_of(b"")))

    def test_short_way_is_the_one_of_an_adapter_that_is_not_watched(self, world: World) -> None:
        site = world.serve(setting("sid=x; Path=/app"), session=adapter())
        site.get("/")  # the warning ends the watch
        plain = world.serve(session=Members())
        plain.get("/")
        ours, theirs = type(site.middleware).__call__, type(plain.middleware).__call__
        assert ours.__code__ is theirs.__code__  # type: ignore[attr-defined]
        assert site.get("/").status == 200

    def test_two_responses_at_once_warn_once(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = world.serve(session=adapter())
        stopped: list[int] = []
        watch = cookie_watch.CookieWatch(site.flow.services, lambda: stopped.append(1))
        carrier = make_environ()
        if world.interface == "asgi":
            carrier = make_scope()
        watch.look(carrier, [("Set-Cookie", "sid=x; Path=/app")])
        watch.over = False  # as a second thread has seen it
        watch.look(carrier, [("Set-Cookie", "sid=x; Path=/app")])
        assert len(warnings_of(caplog)) == len(stopped) == 1

    def test_subclass_with_a_call_of_its_own_keeps_it(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Counting(WSGIMiddleware):
            calls = 0

            def __call__(self, environ: Any, start_response: Any) -> Any:
                type(self).calls += 1
                return super().__call__(environ, start_response)

        def app(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [("Set-Cookie", "sid=x; Path=/app")])
            return []

        middleware = Counting(app, session=adapter())
        for _ in range(3):
            middleware(make_environ(), lambda status, headers, exc=None: None)
        assert Counting.calls == 3
        assert len(warnings_of(caplog)) == 1

    def test_other_connections_are_not_looked_at(self) -> None:
        seen: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append((scope["type"], send))

        async def send(message: Any) -> None: ...

        middleware = ASGIMiddleware(app, session=adapter())
        asyncio.run(middleware({"type": "websocket"}, None, send))  # type: ignore[arg-type]
        assert seen == [("websocket", send)]


# Attributes by cookie, and numbered parts.


class TestCookieName:
    def test_cookies_have_attributes_of_their_own(self, world: World) -> None:
        session = adapter(
            "access_token_cookie",
            CookieName("csrf_access_token", httponly=False, path="/app"),
            samesite="Strict",
        )
        site = world.serve(session=session)
        cookie = "access_token_cookie=a; csrf_access_token=c"
        answer = site.verify(site.generate({"cookie": cookie}).json()["token"])
        assert answer.cookie("access_token_cookie") == {"Path=/", "HttpOnly", "SameSite=Strict"}
        assert answer.cookie("csrf_access_token") == {"Path=/app", "SameSite=Strict"}

    def test_one_name_alone(self) -> None:
        session = adapter(CookieName("sid", path="/app"))
        (cookie,) = session.establish(Session(id="s", token="t"), Request("GET", "http", "/"))
        assert (cookie.name, cookie.value, cookie.path) == ("sid", "t", "/app")

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            (CookieName("a b"), "not a cookie name"),
            (CookieName("__Host-sid", path="/app"), "__Host-"),
            (CookieName("sid", samesite="None"), "SameSite=None"),
            (CookieName("sid", httponly="no"), "httponly"),  # type: ignore[arg-type]
            (CookieName(7), "not a cookie name"),  # type: ignore[arg-type]
            ("*", "not a cookie name"),
        ],
    )
    def test_attribute_that_browsers_drop_is_refused(self, name: Any, says: str) -> None:
        with pytest.raises(ConfigurationError, match=says):
            adapter("other", name)

    def test_one_strict_cookie_is_held_back(self) -> None:
        assert adapter("a", CookieName("b", samesite="Strict")).strict
        assert not adapter("a", CookieName("b", samesite="Lax")).strict
        assert not adapter(CookieName("b", samesite="Lax"), samesite="Strict").strict

    def test_warning_has_the_name(self, caplog: pytest.LogCaptureFixture) -> None:
        CookieSession(CookieName("csrf", httponly=False), "token_*", validate=lambda values: {})
        assert "CookieSession('csrf', 'token_*')" in warnings_of(caplog)[0]


class TestNumberedParts:
    def test_parts_travel_together(self, world: World) -> None:
        site = world.serve(session=adapter("access_token_*"))
        cookie = "access_token_0=a; access_token_1=b; access_token_x=n; access_token_=n"
        answer = site.verify(site.generate({"cookie": cookie}).json()["token"])
        assert answer.cookies == {"access_token_0": "a", "access_token_1": "b"}

    def test_parts_that_the_session_lacks_are_deleted_if_they_are_there(self) -> None:
        session = Session(id="s", token=json.dumps({"token_0": "a"}))
        request = Request("GET", "http", "/", headers={"cookie": "token_0=x; token_2=y"})
        cookies = adapter("token_*").establish(session, request)
        assert [(each.name, each.value) for each in cookies] == [("token_0", "a"), ("token_2", "")]
        assert cookies[1].max_age == 0

    def test_one_name_among_parts_may_be_absent(self, world: World) -> None:
        session = adapter("token", CookieName("token_*", path="/app"))
        site = world.serve(session=session)
        answer = site.verify(site.generate({"cookie": "token_0=a"}).json()["token"])
        # The name itself is always deleted: it would be read before the parts.
        assert answer.cookies == {"token": "", "token_0": "a"}
        assert "Path=/app" in answer.cookie("token_0")

    def test_id_and_user_hold_no_part(self, world: World) -> None:
        part = "a-part-of-a-long-cookie"
        session = CookieSession("t_*", validate=lambda values: {"id": values["t_1"]})
        site = world.serve(session=session)
        answer = site.generate({"cookie": f"t_0=x; t_1={part}"})
        assert answer.code == "SESSION_UNAVAILABLE"

    def test_parts_beyond_the_sixteenth_are_none(self, world: World) -> None:
        session = adapter("t_*")
        assert session.cookie_names == tuple(f"t_{number}" for number in range(16))
        assert world.serve(session=session).generate({"cookie": "t_16=x"}).status == 401
        assert world.serve(session=session).generate({"cookie": "t_00=x"}).status == 401

    def test_planted_part_is_not_set(self) -> None:
        planted = Session(id="s", token=json.dumps({"t_0": "a", "t_99": "b", "admin": "c"}))
        cookies = adapter("t_*").establish(planted, Request("GET", "http", "/"))
        assert [(each.name, each.value) for each in cookies] == [("t_0", "a")]


# The copy that would be a duplicate.


class Jar:
    """A browser's cookies by path and domain (Python's `http.cookiejar`)."""

    def __init__(self, site: Site, host: str = "www.shop.example") -> None:
        self.site, self.host = site, host
        self.cookies = httpx.Cookies()

    def put(self, line: str, target: str) -> None:
        url = httpx.Request("GET", f"http://{self.host}{target}")
        self.cookies.extract_cookies(httpx.Response(200, headers={"set-cookie": line}, request=url))

    def open(self, target: str) -> Any:
        url = httpx.Request("GET", f"http://{self.host}{target}")
        self.cookies.set_cookie_header(url)
        headers = {"cookie": url.headers["cookie"]} if "cookie" in url.headers else {}
        answer = self.site.open(target, {**headers, "host": self.host})
        lines = [("set-cookie", line) for line in answer.all("set-cookie")]
        self.cookies.extract_cookies(httpx.Response(303, headers=lines, request=url))
        return answer

    def held(self) -> list[tuple[str, str | None, str]]:
        return sorted((c.path, c.value, c.domain) for c in self.cookies.jar if c.name == "sid")


HOSTS = ("www.shop.example",)


class Shop(CookieSession):
    def own_hosts(self) -> tuple[str, ...]:
        return HOSTS


class TestDuplicates:
    @pytest.mark.parametrize("own", [{}, {"path": "/app"}, {"domain": "shop.example"}])
    @pytest.mark.parametrize(
        "line",
        [
            "sid=old; Path=/",
            "sid=old; Path=/app",
            "sid=old; Path=/app/",
            "sid=old; Path=/app/page",
            "sid=old; Path=/; Domain=www.shop.example",
            "sid=old; Path=/app; Domain=www.shop.example",
        ],
    )
    def test_browser_holds_one_cookie_afterwards(
        self, world: World, line: str, own: dict[str, Any]
    ) -> None:
        site = world.serve(session=Shop("sid", validate=find, renews_key=True, **own))
        jar = Jar(site)
        jar.put(line, "/app/page")
        assert len(jar.held()) == 1
        token = site.generate({"cookie": "sid=new"}).json()["token"]
        assert jar.open(f"/app/page?ott={token}").status == 303
        ((path, value, _),) = jar.held()
        assert (path, value) == (own.get("path", "/"), "new")

    def test_cookie_of_a_parent_domain_stays(self, world: World) -> None:
        site = world.serve(session=Shop("sid", validate=find, renews_key=True))
        jar = Jar(site)
        jar.put("sid=neighbour; Path=/; Domain=shop.example", "/")
        jar.open(f"/?ott={site.generate({'cookie': 'sid=new'}).json()['token']}")
        assert ("/", "neighbour", ".shop.example") in jar.held()

    def test_visitor_without_the_cookie_gets_one_line(self, world: World) -> None:
        site = world.serve(session=Shop("sid", validate=find, renews_key=True))
        answer = Jar(site).open(
            f"/app/x?ott={site.generate({'cookie': 'sid=new'}).json()['token']}"
        )
        assert answer.all("set-cookie") == ["sid=new; Path=/; HttpOnly; SameSite=Lax"]

    def test_host_prefix_has_no_copies(self) -> None:
        request = Request("GET", "https", "/", target="/a/b", headers={"cookie": "__Host-sid=x"})
        cookies = adapter("__Host-sid").establish(Session(id="s", token="t"), request)
        assert len(cookies) == 1

    @pytest.mark.parametrize(
        ("target", "host", "most"),
        [
            ("/" + "a/" * 5000, "www.shop.example", 9),
            ("/" + "a" * 5000, "www.shop.example", 1),
            ("/a/" + "b" * 600, "www.shop.example", 7),
            ("/caf\xe9/x", "www.shop.example", 1),
            ("/a;b/x", "www.shop.example", 1),
            ("/a b\r\nSet-Cookie: x=y", "www.shop.example", 1),
            ("/a", "127.0.0.1:8000", 2),
            ("/a", "[::1]:8000", 2),
            ("/a", "localhost", 2),
            ("/a", "evil\r\n.example", 2),
            ("/a", "WWW.Shop.example:8000", 5),
        ],
    )
    def test_deletions_are_few_and_well_formed(self, target: str, host: str, most: int) -> None:
        headers = {"cookie": "sid=x", "host": host}
        request = Request("GET", "http", "/", target=target, headers=headers)
        *copies, last = adapter().establish(Session(id="s", token="t"), request)
        assert (last.name, last.value, last.path) == ("sid", "t", "/")
        assert len(copies) == most
        for each in copies:
            assert (each.name, each.value, each.max_age) == ("sid", "", 0)
            assert "\n" not in each.header()[1]
            assert each.domain in (None, "www.shop.example")

    def test_many_cookies_have_2_kib_of_deletions_at_most(self) -> None:
        headers = {"cookie": "a=1; b=1; c=1", "host": "www.shop.example"}
        request = Request("GET", "http", "/", target="/x/y/z", headers=headers)
        token = json.dumps({"a": "1", "b": "2", "c": "3"})
        cookies = adapter("a", "b", "c").establish(Session(id="s", token=token), request)
        assert 1800 < sum(len(each.header()[1]) for each in cookies[:-3]) <= 2048
        assert [each.value for each in cookies[-3:]] == ["1", "2", "3"]

    def test_call_goes_on_with_the_new_value(self, world: World) -> None:
        site = world.serve(session=Shop("sid", validate=find, renews_key=True))
        token = site.generate({"cookie": "sid=new"}).json()["token"]
        site.fetch(f"/app/x?ott={token}", {"cookie": "sid=old; other=1"})
        assert site.seen[-1].cookies == {"other": "1", "sid": "new"}
