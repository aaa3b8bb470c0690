"""The adapters keep the contract of adapters.

To add one: derive from the contract, say how it is made and how one signs in.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import flask
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware

from ott_middleware import (
    CookieSession,
    FlaskSession,
    Request,
    SealedSession,
    SessionAdapter,
    StarletteSession,
)
from ott_middleware.testing import SessionAdapterContract

from .club import ClubSession

SECRET = "a secret of thirty-two characters"


class TestCookieSession(SessionAdapterContract):
    """One that believes anything."""

    user_id = None

    def make_adapter(self, clock: Callable[[], float]) -> SessionAdapter:
        return CookieSession("sid")

    def sign_in(self, adapter: Any) -> Mapping[str, str]:
        return {"sid": secrets.token_urlsafe()}


class Validated(SessionAdapterContract):
    names = ("sid",)

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


class TestFlaskSession(SessionAdapterContract):
    mode = "share"
    follows_clock = False

    def make_adapter(self, clock: Callable[[], float]) -> SessionAdapter:
        app = flask.Flask(__name__)
        app.secret_key = SECRET

        @app.get("/session")
        def session() -> str:
            flask.session.update(flask.request.args)
            return "set"

        return FlaskSession(app, mode=self.mode)

    def sign_in(self, adapter: Any) -> Mapping[str, str]:
        return self.begin(adapter, "user_id=alice")

    def anonymous(self, adapter: Any) -> Mapping[str, str]:
        return self.begin(adapter, "theme=dark")

    def begin(self, adapter: Any, values: str) -> Mapping[str, str]:
        client = adapter.app.test_client()
        client.get(f"/session?{values}")
        cookie = client.get_cookie("session")
        return {cookie.key: cookie.value}


class TestForkedFlaskSession(TestFlaskSession):
    mode = "fork"


class TestStarletteSession(SessionAdapterContract):
    mode = "share"

    def make_adapter(self, clock: Callable[[], float]) -> SessionAdapter:
        app = Starlette(middleware=[Middleware(SessionMiddleware, secret_key=SECRET)])
        return StarletteSession(app, mode=self.mode)

    # Signed by Starlette, and dated by the real clock.
    follows_clock = False

    def sign_in(self, adapter: Any) -> Mapping[str, str]:
        return asyncio.run(session_cookie(user_id="alice"))

    def anonymous(self, adapter: Any) -> Mapping[str, str]:
        return asyncio.run(session_cookie(theme="dark"))


class TestForkedStarletteSession(TestStarletteSession):
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


def test_what_must_be_defined_is_said() -> None:
    class Mine(SessionAdapterContract):
        pass

    with pytest.raises(NotImplementedError, match=r"Mine must define make_adapter\("):
        Mine().test_who_is_signed_in_is_found("sync")
    with pytest.raises(NotImplementedError, match=r"Mine must define sign_in\("):
        Mine().sign_in(SessionAdapter())
