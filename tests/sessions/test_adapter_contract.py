"""The adapters keep the contract of adapters.

To add one: derive from the contract, say how it is made and how one signs in.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import flask
import flask_login
import pytest
from cachelib import SimpleCache
from flask_session import Session as ServerSide
from harness import call_asgi, make_scope, moment
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from ott_middleware import (
    BearerSession,
    CookieSession,
    FlaskSession,
    OTTMiddleware,
    SealedSession,
    Session,
    SessionAdapter,
    StarletteSession,
)
from ott_middleware.http import Request
from ott_middleware.testing import SessionAdapterContract

from .club import ClubSession

SECRET = "a secret of thirty-two characters"


class TestCookieSession(SessionAdapterContract):
    """One that believes anything."""

    user_id = None
    knows_end = False

    def make_adapter(self, clock: Callable[[], float]) -> SessionAdapter:
        return CookieSession("sid")

    def sign_in(self, adapter: Any) -> Mapping[str, str]:
        return {"sid": secrets.token_urlsafe()}


class Validated(SessionAdapterContract):
    names = ("sid",)
    knows_end = False

    def make_adapter(self, clock: Callable[[], float]) -> SessionAdapter:
        self.live: dict[str, str | None] = {}
        return CookieSession(*self.names, validate=self.validate)

    def validate(self, values: Mapping[str, str]) -> Any:
        user = self.live.get("".join(values.get(name, "") for name in self.names))
        return user and {"user_id": user, "user": {"id": user, "cookie": values["sid"]}}

    def sign_in(self, adapter: Any) -> Mapping[str, str]:
        return self.begin("alice")

    def anonymous(self, adapter: Any) -> Mapping[str, str]:
        return self.begin(None)

    def begin(self, user: str | None) -> Mapping[str, str]:
        cookies = {name: secrets.token_urlsafe() for name in self.names}
        self.live["".join(cookies.values())] = user
        return cookies

    def sign_out(self, adapter: Any, cookies: Mapping[str, str]) -> None:
        self.live.clear()


class TestValidatedCookieSession(Validated):
    pass


class TestSeveralCookies(Validated):
    names = ("sid", "tenant")


class TestValidatedLater(Validated):
    async def validate(self, values: Mapping[str, str]) -> Any:
        await asyncio.sleep(0)
        return super().validate(values)


class TestBearerSession(SessionAdapterContract):
    """Of clients that send an access token, by the name of `token`."""

    sets_cookies = False

    def make_adapter(self, clock: Callable[[], float]) -> SessionAdapter:
        self.clock = clock
        self.live: dict[str, float] = {}
        return BearerSession(validate=self.validate)

    def validate(self, token: str) -> Any:
        end = self.live.get(token)
        user = {"id": "alice", "token": token}
        return end and {"user_id": "alice", "user": user, "expires_at": moment(end)}

    def make_request(self, cookies: Mapping[str, str]) -> Request:
        token = cookies.get("token")
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return Request("GET", "https", "/", headers=headers)

    def sign_in(self, adapter: Any) -> Mapping[str, str]:
        token = secrets.token_urlsafe()
        self.live[token] = self.clock() + 60
        return {"token": token}

    def test_no_cookie_is_set(self, mode: str) -> None:
        driver, _, session = self._sign_in(mode)
        assert driver.establish(driver.arrive(session), {}) == []


class TestBearerSessionLater(TestBearerSession):
    async def validate(self, token: str) -> Any:
        await asyncio.sleep(0)
        return super().validate(token)


class TestSealedSession(SessionAdapterContract):
    lifetime = 3600.0
    # Of the site where the session begins; its secret is this site's as well.
    elsewhere = 600.0

    def make_adapter(self, clock: Callable[[], float]) -> SessionAdapter:
        self.clock = clock
        return SealedSession(SECRET, lifetime=self.lifetime, clock=clock)

    def visit_app(
        self, adapter: Any, cookies: Mapping[str, str], *, clear: bool = False
    ) -> tuple[str | None, Mapping[str, str]]:
        # The app's view is its handle's session; a session that is emptied is one of its own.
        found = adapter.current(Request("GET", "https", "/").with_cookies(cookies))
        return found and found.user_id, cookies

    def sign_in(self, adapter: Any) -> Mapping[str, str]:
        begun = SealedSession(SECRET, lifetime=self.elsewhere, clock=self.clock)
        return {"ott_session": begun.start({"id": "alice", "name": "Alice"}, remember=True).token}


class TestLongSealedSession(TestSealedSession):
    """Begun where sessions last longer than here."""

    elsewhere = 10 * 86400.0


class TestClubSession(SessionAdapterContract):
    """A framework's, kept on the server."""

    user_id = "1"
    mode = "share"

    def make_adapter(self, clock: Callable[[], float]) -> SessionAdapter:
        self.clock = clock
        return self.ticking(ClubSession(mode=self.mode))

    lifetime = 3600.0

    def ticking(self, adapter: ClubSession) -> ClubSession:
        adapter.clock, adapter.lifetime = self.clock, self.lifetime
        return adapter

    def visit_app(
        self, adapter: Any, cookies: Mapping[str, str], *, clear: bool = False
    ) -> tuple[str | None, Mapping[str, str]]:
        seen: tuple[str | None, Mapping[str, str]] = adapter.visit(cookies, clear=clear)
        return seen

    def sign_in(self, adapter: Any) -> Mapping[str, str]:
        return self.begin(adapter, "1")

    def anonymous(self, adapter: Any) -> Mapping[str, str]:
        return self.begin(adapter, None)

    def begin(self, adapter: Any, user: str | None) -> Mapping[str, str]:
        return {"club": adapter.value(adapter.store.add(user, ends=self.clock() + 60))}

    def sign_out(self, adapter: Any, cookies: Mapping[str, str]) -> None:
        adapter.store.sessions.clear()


class TestForkedClubSession(TestClubSession):
    mode = "fork"


class Timed(SessionAdapterContract):
    """Of a framework that takes no clock: its time is set."""

    lifetime = 3600.0

    @pytest.fixture(autouse=True)
    def _time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch

    def set_time(self, clock: Callable[[], float]) -> None:
        self.patch.setattr(time, "time", clock)
        self.patch.setattr("cachelib.simple.time", clock)


class TestFlaskSession(Timed):
    mode: Any = "share"

    def make_adapter(self, clock: Callable[[], float]) -> SessionAdapter:
        self.set_time(clock)
        app = flask.Flask(__name__)
        app.secret_key = SECRET
        app.config["PERMANENT_SESSION_LIFETIME"] = timedelta(seconds=self.lifetime or 0)
        self.set_up(app)

        @app.get("/session")
        def session() -> str:
            flask.session.permanent = True
            flask.session.update(flask.request.args)
            self.begin_login(flask.request.args.get("user_id"))
            return "set"

        @app.get("/visit")
        def visit() -> Any:
            user = self.user()
            if "clear" in flask.request.args and user is not None:
                flask.session.clear()
                flask.session.permanent = True
                flask.session["user_id"] = user
                self.begin_login(user)
            flask.session["visits"] = flask.session.get("visits", 0) + 1
            return {"user": user}

        adapter = FlaskSession(app, mode=self.mode)
        OTTMiddleware(app.wsgi_app, session=adapter)
        return adapter

    def set_up(self, app: flask.Flask) -> None:
        """The extensions of the app."""

    def begin_login(self, user: str | None) -> None:
        """What an extension keeps of who signs in."""

    def user(self) -> Any:
        return flask.session.get("user_id")

    def sign_in(self, adapter: Any) -> Mapping[str, str]:
        return self.begin(adapter, "user_id=alice")

    def anonymous(self, adapter: Any) -> Mapping[str, str]:
        return self.begin(adapter, "theme=dark")

    def begin(self, adapter: Any, values: str) -> Mapping[str, str]:
        return self.ask(adapter, {}, f"/session?{values}")[1]

    def visit_app(
        self, adapter: Any, cookies: Mapping[str, str], *, clear: bool = False
    ) -> tuple[str | None, Mapping[str, str]]:
        answer, after = self.ask(adapter, cookies, f"/visit?{'clear' if clear else ''}")
        return answer.get_json()["user"], after

    def ask(self, adapter: Any, cookies: Mapping[str, str], path: str) -> tuple[Any, Any]:
        client = adapter.app.test_client()
        for name, value in cookies.items():
            client.set_cookie(name, value)
        answer = client.get(path)
        # The browser's clock is none of the test's: what counts is what the site takes.
        cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
        name, _, value = cookie.partition("=")
        return answer, {**cookies, **({name: value} if name else {})}


class TestForkedFlaskSession(TestFlaskSession):
    mode = "fork"


class TestFlaskLoginSession(TestFlaskSession):
    def set_up(self, app: flask.Flask) -> None:
        class User(flask_login.UserMixin):  # type: ignore[misc]  # its base has no types
            def __init__(self, user_id: str) -> None:
                self.id = user_id

        self.make_user = User
        flask_login.LoginManager(app).user_loader(User)

    def begin_login(self, user: str | None) -> None:
        if user is not None:
            flask_login.login_user(self.make_user(user))

    def user(self) -> Any:
        return flask_login.current_user.get_id()


class TestForkedFlaskLoginSession(TestFlaskLoginSession):
    mode = "fork"


class TestFlaskSessionOnAServer(TestFlaskSession):
    """With Flask-Session."""

    mode = None

    def set_up(self, app: flask.Flask) -> None:
        app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=SimpleCache())
        ServerSide(app)

    def sign_out(self, adapter: Any, cookies: Mapping[str, str]) -> None:
        adapter.app.session_interface.cache.clear()


class TestFlaskLoginSessionOnAServer(TestFlaskLoginSession):
    mode = None
    set_up_store = TestFlaskSessionOnAServer.set_up
    sign_out = TestFlaskSessionOnAServer.sign_out

    def set_up(self, app: flask.Flask) -> None:
        super().set_up(app)
        self.set_up_store(app)  # type: ignore[arg-type]  # it needs nothing of its class


class TestStarletteSession(Timed):
    mode: Any = "share"

    def make_adapter(self, clock: Callable[[], float]) -> SessionAdapter:
        self.set_time(clock)
        lifetime = None if self.lifetime is None else int(self.lifetime)
        self.app = Starlette(
            routes=[Route("/visit", self.view)],
            middleware=[Middleware(SessionMiddleware, secret_key=SECRET, max_age=lifetime)],
        )
        adapter = StarletteSession(self.app, mode=self.mode, clock=clock)
        OTTMiddleware(self.app, session=adapter)
        return adapter

    async def view(self, request: Any) -> Any:
        user = request.session.get("user_id")
        if "clear" in request.query_params and user is not None:
            request.session.clear()
            request.session["user_id"] = user
        request.session["visits"] = request.session.get("visits", 0) + 1
        return JSONResponse({"user": user})

    def sign_in(self, adapter: Any) -> Mapping[str, str]:
        return asyncio.run(session_cookie(user_id="alice"))

    def anonymous(self, adapter: Any) -> Mapping[str, str]:
        return asyncio.run(session_cookie(theme="dark"))

    def visit_app(
        self, adapter: Any, cookies: Mapping[str, str], *, clear: bool = False
    ) -> tuple[str | None, Mapping[str, str]]:
        cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        path = f"/visit?{'clear' if clear else ''}"
        scope = make_scope("GET", path, {"host": "app.example", "cookie": cookie})
        answer = asyncio.run(call_asgi(self.app, scope))
        return answer.json()["user"], {**cookies, **answer.cookies}


class TestForkedStarletteSession(TestStarletteSession):
    mode = "fork"


class Endless(TestStarletteSession):
    """Of an app whose sessions have no end but the browser's."""

    lifetime = None

    def sign_in(self, adapter: Any) -> Mapping[str, str]:
        # A session that a handoff made: no other has an end here.
        ends = datetime.fromtimestamp(time.time() + 600, timezone.utc)
        begun = Session("there", "", user_id="alice", expires_at=ends, persistent=False)
        [cookie] = adapter.establish(begun, Request("GET", "https", "/"))
        return {cookie.name: cookie.value}


class TestEndlessStarletteSession(Endless):
    pass


class TestForkedEndlessStarletteSession(Endless):
    mode = "fork"


async def session_cookie(**values: Any) -> Mapping[str, str]:
    """The cookie of an app that put values into its session."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"].update(values)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def keep(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "headers": [], "path": "/", "root_path": ""}
    await SessionMiddleware(app, secret_key=SECRET)(scope, keep, keep)  # type: ignore[arg-type]  # nothing is received
    (line,) = [value for name, value in sent[0]["headers"] if name.lower() == b"set-cookie"]
    name, _, value = line.decode().partition(";")[0].partition("=")
    return {name: value}


def test_methods_that_must_be_defined_are_named() -> None:
    class Mine(SessionAdapterContract):
        pass

    with pytest.raises(NotImplementedError, match=r"Mine must define make_adapter\("):
        Mine().test_who_is_signed_in_is_found("sync")
    with pytest.raises(NotImplementedError, match=r"Mine must define sign_in\("):
        Mine().sign_in(SessionAdapter())
