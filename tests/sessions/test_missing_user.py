"""A framework is found, its users are kept in another place: one warning, of names alone."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from pathlib import Path
from typing import Any

import flask
import flask_login
import pytest
from harness import (
    Site,
    World,
    call_asgi,
    call_wsgi,
    make_environ,
    make_scope,
    messages_of,
    run,
)
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware

from ott_middleware import (
    CookieSession,
    FlaskSession,
    MemoryBackend,
    OTTMiddleware,
    StarletteSession,
    get_handle,
)
from ott_middleware.errors import Unauthorized
from ott_middleware.sessions.dict_session import USER_KEYS

from .test_starlette import sealed_by_starlette

SECRET = "s" * 32
DOCS = Path(__file__).parents[2] / "docs" / "sessions.md"


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    warned = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    # Another process of the same test run may wrap an app at this moment.
    return [text for text in warned if "a second worker process" not in text]


class FlaskSite:
    """A Flask app whose session has what a test says; `/link` asks the handle for a token."""

    def __init__(self, values: dict[str, Any], *, login: bool = False, **how: Any) -> None:
        app = flask.Flask(__name__)
        app.secret_key = SECRET
        if login:
            flask_login.LoginManager(app).user_loader(lambda user_id: None)

        @app.get("/in")
        def sign_in() -> str:
            flask.session.update(values)
            return "in"

        @app.get("/link")
        def link() -> str:
            try:
                return get_handle(flask.request).generate()
            except Unauthorized:
                return "none"

        self.wrapped = OTTMiddleware(app, session=FlaskSession(app, **how))
        answer = call_wsgi(self.wrapped, make_environ("GET", "/in"))
        self.cookie = "; ".join(f"{k}={v}" for k, v in answer.cookies.items())

    def ask(self, path: str = "/one-time-token/generate", **headers: str) -> int:
        headers = {"cookie": self.cookie, **headers}
        return call_wsgi(self.wrapped, make_environ("GET", path, headers)).status


class StarletteSite:
    def __init__(self, values: dict[str, Any], **how: Any) -> None:
        middleware = [Middleware(SessionMiddleware, secret_key=SECRET)]
        app = Starlette(middleware=middleware)
        self.wrapped = OTTMiddleware(app, session=StarletteSession(app, **how))
        self.cookie = f"session={sealed_by_starlette(values)}"

    def ask(self, path: str = "/one-time-token/generate", **headers: str) -> int:
        headers = {"cookie": self.cookie, **headers}
        scope = make_scope("GET", path, headers)
        return run(call_asgi(self.wrapped, scope, messages_of(b""))).status


SITES = [FlaskSite, StarletteSite]


class TestKeysOfTheSession:
    @pytest.mark.parametrize("site", SITES)
    @pytest.mark.parametrize(
        "key", ["token", "id", "user.itemid", "member", "identity", "account", "email"]
    )
    def test_key_of_another_name_is_told_with_the_cure(
        self, caplog: pytest.LogCaptureFixture, site: Any, key: str
    ) -> None:
        made = site({key: "s3cret-of-ada"})
        assert [made.ask() for _ in range(3)] == [401] * 3
        (message,) = warnings_of(caplog)
        assert f"the session has the keys {key!r}, and no user under '_user_id'" in message
        assert "user='that key' or user=a function" in message
        assert type(made.wrapped.flow.options.adapter).__name__ in message
        assert "s3cret" not in caplog.text

    @pytest.mark.parametrize("site", SITES)
    def test_argument_user_cures_it(self, caplog: pytest.LogCaptureFixture, site: Any) -> None:
        assert site({"token": "ada"}, user="token").ask() == 200
        assert warnings_of(caplog) == []

    @pytest.mark.parametrize("site", SITES)
    def test_keys_that_were_looked_for_are_named(
        self, caplog: pytest.LogCaptureFixture, site: Any
    ) -> None:
        site({"who": "ada"}).ask()
        site({"who": "ada"}, user="member").ask()
        site({"who": "ada"}, user=lambda values: None).ask()
        first, second, third = warnings_of(caplog)
        assert ", ".join(map(repr, USER_KEYS)) in first
        assert "no user under 'member'." in second
        assert "no user under what user= returns." in third

    @pytest.mark.parametrize("site", SITES)
    def test_user_of_an_odd_shape(self, caplog: pytest.LogCaptureFixture, site: Any) -> None:
        site({"user": {"login": "ada"}}).ask()
        assert "has the keys 'user', and" in warnings_of(caplog)[0]

    @pytest.mark.parametrize("site", SITES)
    @pytest.mark.parametrize(
        "values", [{"csrf_token": "x"}, {"_csrf_token": "x", "_flashes": [["a", "b"]]}, {}]
    )
    def test_session_of_a_visitor_is_no_reason(
        self, caplog: pytest.LogCaptureFixture, site: Any, values: dict[str, Any]
    ) -> None:
        assert site(values).ask() == 401
        assert warnings_of(caplog) == []

    def test_view_that_asks_for_a_link_hears_it_too(self, caplog: pytest.LogCaptureFixture) -> None:
        site = FlaskSite({"token": "x"})
        for _ in range(3):
            assert site.ask("/link") == 200
        assert "'token'" in "".join(warnings_of(caplog))
        assert len(warnings_of(caplog)) == 1

    def test_page_without_a_token_says_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        assert FlaskSite({"token": "x"}).ask("/in") == 200
        assert warnings_of(caplog) == []

    @pytest.mark.parametrize("site", SITES)
    def test_site_that_has_found_a_user_is_silent(
        self, caplog: pytest.LogCaptureFixture, site: Any
    ) -> None:
        made = site({"user_id": "ada"})
        assert made.ask() == 200
        assert made.ask(cookie="other=1; member=2") == 401
        assert warnings_of(caplog) == []

    def test_keys_of_another_request_are_not_told(self, caplog: pytest.LogCaptureFixture) -> None:
        site = StarletteSite({"token": "x"})
        adapter = site.wrapped.flow.options.adapter
        adapter.keys_without_user._noted = (1, ("other_key",))
        assert site.ask(cookie="x=1") == 401
        assert "other_key" not in caplog.text
        adapter.keys_without_user.note(["outside of a request"])
        assert adapter.keys_without_user._noted == (1, ("other_key",))

    def test_keys_that_are_no_text_are_left_out(self, caplog: pytest.LogCaptureFixture) -> None:
        site = StarletteSite({"token": "x"})
        site.wrapped.flow.options.adapter.person_in = lambda values: None
        site.ask()
        assert len(warnings_of(caplog)) == 1


class TestUserThatIsGone:
    def test_flask_login_user_that_is_not_found_is_no_reason(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert FlaskSite({"_user_id": "ada", "theme": "dark"}, login=True).ask() == 401
        assert warnings_of(caplog) == []

    def test_flask_login_with_users_under_another_key(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert FlaskSite({"member": "ada"}, login=True).ask() == 401
        assert "has the keys 'member', and" in warnings_of(caplog)[0]


class TestCookies:
    @pytest.mark.parametrize("site", SITES)
    @pytest.mark.parametrize(
        "name", ["access_token_cookie", "jwt-auth", "my-app-auth", "MOIN_SESSION", "auth"]
    )
    def test_cookie_of_another_name_is_told(
        self, caplog: pytest.LogCaptureFixture, site: Any, name: str
    ) -> None:
        made = site({})
        for _ in range(2):
            assert made.ask(cookie=f"{name}=s3cret; theme=dark; _ga=GA1.2.3") == 401
        (message,) = warnings_of(caplog)
        assert f"it has no cookie 'session', and has the cookies {name!r}, 'theme'." in message
        assert "session=CookieSession('its name', probe='/a/path') or validate=" in message
        assert "s3cret" not in message

    def test_own_cookie_is_there_as_well(self, caplog: pytest.LogCaptureFixture) -> None:
        site = FlaskSite({"csrf_token": "x"})
        site.ask(cookie=f"{site.cookie}; access_token_cookie=s3cret")
        assert "beside 'session' it has the cookies 'access_token_cookie'" in caplog.text

    @pytest.mark.parametrize(
        "cookie",
        [
            "",
            "_ga=1; _gid=2; __utma=3",
            "csrftoken=x",
            "XSRF-TOKEN=x",
            "a-value-without-a-name",
            ";",
        ],
    )
    def test_cookies_of_any_visitor_are_no_reason(
        self, caplog: pytest.LogCaptureFixture, cookie: str
    ) -> None:
        assert StarletteSite({}).ask(cookie=cookie) == 401
        assert warnings_of(caplog) == []

    @pytest.mark.parametrize("session", [CookieSession("sid"), CookieSession("sid", "tenant")])
    def test_cookie_session_tells_it_too(
        self, world: World, caplog: pytest.LogCaptureFixture, session: CookieSession
    ) -> None:
        caplog.clear()
        site: Site = world.serve(session=session)
        for _ in range(2):
            assert site.generate({"cookie": "sessionid=s3cret"}).status == 401
        (message,) = warnings_of(caplog)
        assert "CookieSession: no user was found" in message
        assert "it has no cookie 'sid'" in message
        assert "has the cookies 'sessionid'." in message

    def test_site_where_a_link_has_signed_in_is_silent(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The visitor has signed out since, and keeps other cookies of the app."""
        backend = MemoryBackend(clock=world.clock)
        source = world.serve(session=CookieSession("sid"), backend=backend)
        target: Site = world.serve(session=CookieSession("sid"), backend=backend)
        token = source.generate({"cookie": "sid=s3cret"}).json()["token"]
        assert target.open(f"/?ott={token}").status == 303
        caplog.clear()
        assert target.generate({"cookie": "trac_session=1"}).status == 401
        assert warnings_of(caplog) == []

    def test_adapter_of_a_user_says_nothing(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert world.serve().generate({"cookie": "other=1"}).status == 401
        assert warnings_of(caplog) == []

    def test_handle_in_async_code(self, caplog: pytest.LogCaptureFixture) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            with pytest.raises(Unauthorized):
                await get_handle(scope).agenerate()

        async def send(message: Any) -> None: ...

        wrapped = OTTMiddleware(app, session=CookieSession("sid"), interface="asgi")
        caplog.clear()
        scope = make_scope("GET", "/", {"cookie": "token=x"})
        asyncio.run(wrapped(scope, None, send))
        assert "has the cookies 'token'" in caplog.text


class TestPathOfTheCookie:
    @pytest.mark.parametrize("path", ["/api", "/api/"])
    def test_request_that_browsers_send_it_not_to(
        self, world: World, caplog: pytest.LogCaptureFixture, path: str
    ) -> None:
        session = CookieSession("sid", path=path, validate=lambda values: {}, renews_key=True)
        site = world.serve(session=session)
        for _ in range(2):
            assert site.generate().status == 401
        (message,) = warnings_of(caplog)
        assert f"its cookie 'sid' to paths below {path!r} alone" in message
        assert "pass base_path='/api'," in message

    def test_path_that_only_begins_alike(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        session = CookieSession("sid", path="/api", validate=lambda values: {}, renews_key=True)
        site = world.serve(session=session, base_path="/apis")
        assert site.get("/apis/one-time-token/generate").status == 401
        (message,) = warnings_of(caplog)
        assert "its cookie 'sid' to paths below '/api' alone" in message

    @pytest.mark.parametrize("path", ["/api", "/api/", "/", "/api/one-time-token/generate"])
    def test_request_that_browsers_send_it_to(
        self, world: World, caplog: pytest.LogCaptureFixture, path: str
    ) -> None:
        session = CookieSession("sid", path=path, validate=lambda values: {}, renews_key=True)
        site = world.serve(session=session, base_path="/api")
        assert site.get("/api/one-time-token/generate").status == 401
        assert warnings_of(caplog) == []

    def test_cookie_that_came_all_the_same(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        session = CookieSession("sid", path="/api", validate=lambda values: None, renews_key=True)
        assert world.serve(session=session).generate({"cookie": "sid=x"}).status == 401
        assert warnings_of(caplog) == []


class TestAuthorization:
    @pytest.mark.parametrize(
        ("header", "scheme"),
        [
            ("Basic YWRhOnMzY3JldA==", "Basic"),
            ("bearer s3cret.s3cret", "Bearer"),
            ("Token s3cret", "Token"),
            ("s3cret", "another scheme"),
            ("AWS4-HMAC-SHA256 Credential=s3cret", "another scheme"),
        ],
    )
    def test_scheme_is_told(
        self, caplog: pytest.LogCaptureFixture, header: str, scheme: str
    ) -> None:
        assert StarletteSite({}).ask(cookie="", authorization=header) == 401
        (message,) = warnings_of(caplog)
        assert f"it has an Authorization header ({scheme})" in message
        assert "SealedSession(secret, remote_user=...)" in message
        assert "s3cret" not in message
        assert "YWRh" not in message


class TestNamesAreSafeToLog:
    @pytest.mark.parametrize(
        "name",
        [
            "ada@example.com",
            "sid\x7fforged",
            "caf\xe9",
            "x" * 49,
            "x" * 21,
            "a_b_" * 13,
            "_state_google_8sXJ2ZkVb0tq5YwKp",
            "sess_3f9a2b7c1d",
            "user-1234567890",
            "\nWARNING forged line",
            "%0aWARNING",
            "<script>",
            "a b",
        ],
    )
    def test_name_that_may_hold_a_secret_is_counted(
        self, caplog: pytest.LogCaptureFixture, name: str
    ) -> None:
        made = StarletteSite({name: "x", "token": "y"})
        made.ask()
        (message,) = warnings_of(caplog)
        assert "has the keys 'token', 1 more, and" in message
        assert name not in message
        caplog.clear()
        StarletteSite({name: "x"}).ask()
        assert "has the keys 1 of other names, and" in warnings_of(caplog)[0]

    def test_ten_names_are_shown(self, caplog: pytest.LogCaptureFixture) -> None:
        cookie = "; ".join(f"n{chr(97 + number)}=x" for number in range(15))
        StarletteSite({}).ask(cookie=f"{cookie}; na=again")
        assert re.findall(r"'n[a-z]'", caplog.text) == [f"'n{c}'" for c in "abcdefghij"]
        assert "5 more" in caplog.text

    def test_long_header_takes_no_time(self, caplog: pytest.LogCaptureFixture) -> None:
        began = time.process_time()
        StarletteSite({}).ask(cookie="a1" * 30_000 + "=x; " + "__cf" * 5000)
        StarletteSite({"a1" * 30_000: "x"})
        assert time.process_time() - began < 1


class TestDocs:
    def test_keys_that_are_looked_for_stand_in_the_docs(self) -> None:
        (line,) = re.findall(r"^Keys that are looked for: (.*)$", DOCS.read_text(), re.MULTILINE)
        assert tuple(re.findall(r"`(\w+)`", line)) == USER_KEYS
