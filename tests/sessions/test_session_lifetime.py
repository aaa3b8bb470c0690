"""No session that a handoff made lasts longer than its parent, or than this site's own lifetime.

The end is looked for where it counts: in what the app itself sees, after the app has written to
the session, and after it has emptied the session and signed the same user in again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import flask
import pytest
from cachelib import SimpleCache
from flask_session import Session as ServerSide
from harness import call_asgi, make_scope, moment
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.routing import Route
from werkzeug.test import Client

from ott_middleware import (
    ASGIMiddleware,
    FlaskSession,
    MemoryBackend,
    OTTMiddleware,
    SealedSession,
    Session,
    StarletteSession,
)
from ott_middleware.crypto import NONCE_BYTES, CookieSeal
from ott_middleware.errors import SessionExpired
from ott_middleware.http import Request
from ott_middleware.testing.store import Clock

SECRET, OTHER = "s" * 32, "another " * 4
HOUR, YEAR = 3600, 366 * 86400
NAVIGATION = {"accept": "text/html", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of the frameworks, too."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


def asking(cookie: str | None = None, name: str = "session") -> Request:
    headers = {} if cookie is None else {"cookie": f"{name}={cookie}"}
    return Request("GET", "http", "/", headers=headers, carrier={"REMOTE_ADDR": "127.0.0.1"})


def arriving(ends: float | None) -> Session:
    """A session from another site, as a token carries it."""
    return Session(
        "there", "", user_id="7", expires_at=None if ends is None else moment(ends), persistent=True
    )


# Flask.


def signed(app: flask.Flask) -> None:
    """Flask's own interface."""


def in_memory(store: Any) -> Callable[[flask.Flask], None]:
    def use(app: flask.Flask) -> None:
        app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=store)
        ServerSide(app)

    return use


class FlaskSite:
    """A Flask app behind the middleware, with one browser. Its view writes at each visit."""

    def __init__(
        self,
        interface: Callable[[flask.Flask], None] = signed,
        *,
        lifetime: int = YEAR,
        secret: str = SECRET,
        backend: Any = None,
        wrap: bool = True,
        **how: Any,
    ) -> None:
        self.app = flask.Flask(__name__)
        self.app.secret_key = secret
        self.app.config["PERMANENT_SESSION_LIFETIME"] = timedelta(seconds=lifetime)
        interface(self.app)
        self.app.add_url_rule("/", view_func=self.see)
        self.app.add_url_rule("/again", view_func=self.again)
        self.app.add_url_rule("/in", view_func=self.sign_in)
        self.adapter = FlaskSession(self.app, **{"match": "id", **how})
        self.backend = MemoryBackend() if backend is None else backend
        self.wsgi: Any = self.app
        if wrap:
            self.wsgi = OTTMiddleware(
                self.app.wsgi_app, session=self.adapter, backend=self.backend, expires_in=60 * 24
            )
        self.browser = Client(self.wsgi)

    def see(self) -> Any:
        flask.session["visits"] = flask.session.get("visits", 0) + 1
        return {"user": flask.session.get("user_id"), "values": sorted(flask.session)}

    def again(self) -> Any:
        user = flask.session.get("user_id")
        flask.session.clear()
        flask.session.permanent = True
        if user is not None:
            flask.session.update(user_id=user, anew=True)
        return {}

    def sign_in(self) -> Any:
        flask.session.permanent = True
        flask.session["user_id"] = "7"
        return {}

    def user(self) -> Any:
        return self.browser.get("/").get_json()["user"]

    def hand_over_to(self, target: FlaskSite) -> Any:
        token = self.browser.get("/one-time-token/generate").get_json()["token"]
        return target.browser.get(f"/?ott={token}", headers=NAVIGATION)

    def arrive(self, session: Session) -> None:
        """As the middleware has it, for a session that `resolve` gave."""
        for cookie in self.adapter.establish(session, asking()):
            self.browser.set_cookie(cookie.name, cookie.value)

    def ends_at(self, ends: float, clock: Clock) -> None:
        """The app takes the visitor as signed in until then, whatever it writes, and no longer."""
        while clock.now < ends - 1:
            assert self.user() == "7"
            self.browser.get("/again")
            assert self.user() == "7"
            clock.now = min(ends - 1, clock.now + 1000)
        assert self.user() == "7"
        cookie = self.browser.get_cookie("session")
        assert cookie is not None
        there = self.adapter.current(asking(cookie.value))
        assert there is not None
        exposed = self.adapter.expose(there)
        clock.now = ends
        assert self.user() is None, "the app sees a session that has ended"
        assert self.adapter.current(asking(cookie.value)) is None
        with contextlib.suppress(SessionExpired):
            assert self.adapter.resolve(exposed) is None


@pytest.fixture(params=["signed", "cachelib"])
def interface(request: pytest.FixtureRequest) -> Callable[[flask.Flask], None]:
    return signed if request.param == "signed" else in_memory(SimpleCache())


def test_flask_arrival_ends_with_its_parent(
    interface: Callable[[flask.Flask], None], clock: Clock
) -> None:
    site = FlaskSite(interface)
    ends = clock.now + HOUR
    site.arrive(arriving(ends))
    site.ends_at(ends, clock)


def test_flask_arrival_ends_with_this_site_s_lifetime(
    interface: Callable[[flask.Flask], None], clock: Clock
) -> None:
    for far in (clock.now + 10 * YEAR, None):
        site = FlaskSite(interface, lifetime=HOUR)
        site.arrive(arriving(far))
        site.ends_at(clock.now + HOUR, clock)


@pytest.mark.parametrize("mode", [None, "share", "fork"])
def test_flask_handoff_ends_with_the_session_at_the_source(mode: Any, clock: Clock) -> None:
    source = FlaskSite(lifetime=HOUR)
    target = FlaskSite(backend=source.backend, mode=mode)
    source.browser.get("/in")
    ends = clock.now + HOUR
    clock.now += 600
    assert source.hand_over_to(target).status_code == 303
    target.ends_at(ends, clock)


def test_flask_session_kept_on_a_server_ends_with_the_one_that_it_is_forked_from(
    clock: Clock,
) -> None:
    store = SimpleCache()
    source = FlaskSite(in_memory(store), lifetime=HOUR)
    target = FlaskSite(in_memory(store), backend=source.backend)
    source.browser.get("/in")
    # The store forgets the parent an hour after the app has saved it, not after the handoff.
    ends = clock.now + HOUR
    clock.now += 600
    assert source.hand_over_to(target).status_code == 303
    target.ends_at(ends, clock)


def test_flask_handoffs_in_a_chain_end_with_the_first(clock: Clock) -> None:
    first = FlaskSite(lifetime=HOUR)
    first.browser.get("/in")
    ends = clock.now + HOUR
    for secret, mode in ((SECRET, "share"), (SECRET, "fork"), (OTHER, None), (OTHER, "share")):
        clock.now += 60
        following = FlaskSite(secret=secret, backend=first.backend, mode=mode)
        assert first.hand_over_to(following).status_code == 303
        following.browser.get("/again")
        first = following
    first.ends_at(ends, clock)


# Starlette.


async def see(request: StarletteRequest) -> JSONResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JSONResponse({"user": request.session.get("user_id"), "values": sorted(request.session)})


async def again(request: StarletteRequest) -> JSONResponse:
    user = request.session.get("user_id")
    request.session.clear()
    if user is not None:
        request.session.update(user_id=user, anew=True)
    return JSONResponse({})


async def replaced(request: StarletteRequest) -> JSONResponse:
    request.scope["session"] = type(request.session)(user_id=request.session["user_id"], anew=True)
    request.session["modified"] = True
    return JSONResponse({})


async def sign_in(request: StarletteRequest) -> JSONResponse:
    request.session["user_id"] = "7"
    return JSONResponse({})


class StarletteSite:
    def __init__(self, max_age: int | None, *, backend: Any = None, **how: Any) -> None:
        secret = how.pop("secret", SECRET)
        self.app = Starlette(
            routes=[
                Route("/", see),
                Route("/again", again),
                Route("/replaced", replaced),
                Route("/in", sign_in),
            ],
            middleware=[Middleware(SessionMiddleware, secret_key=secret, max_age=max_age)],
        )
        self.adapter = StarletteSession(self.app, clock=time.time, **{"match": "id", **how})
        self.backend = MemoryBackend() if backend is None else backend
        self.ott = ASGIMiddleware(
            self.app, session=self.adapter, backend=self.backend, expires_in=60 * 24
        )
        self.cookies: dict[str, str] = {}

    def ask(self, path: str, **headers: str) -> Any:
        if self.cookies:
            headers["cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        scope = make_scope("GET", path, {"host": "app.example", **headers})
        answer = asyncio.run(call_asgi(self.ott, scope))
        for name, value in answer.cookies.items():
            self.cookies[name] = value
            if value in ("", "null"):
                del self.cookies[name]
        return answer

    def user(self) -> Any:
        return self.ask("/").json()["user"]

    def hand_over_to(self, target: StarletteSite) -> Any:
        token = self.ask("/one-time-token/generate").json()["token"]
        return target.ask(f"/?ott={token}", **NAVIGATION)

    def arrive(self, session: Session) -> None:
        for cookie in self.adapter.establish(session, asking()):
            self.cookies[cookie.name] = cookie.value

    def ends_at(self, ends: float, clock: Clock) -> None:
        while clock.now < ends - 1:
            for path in ("/again", "/replaced"):
                assert self.user() == "7"
                self.ask(path)
                assert self.user() == "7"
            clock.now = min(ends - 1, clock.now + 1000)
        assert self.user() == "7"
        cookie = self.cookies["session"]
        there = self.adapter.current(asking(cookie))
        assert there is not None
        exposed = self.adapter.expose(there)
        clock.now = ends
        assert self.user() is None, "the app sees a session that has ended"
        assert self.adapter.current(asking(cookie)) is None
        with pytest.raises(SessionExpired):
            self.adapter.resolve(exposed)


@pytest.mark.parametrize("max_age", [None, YEAR])
def test_starlette_arrival_ends_with_its_parent(max_age: int | None, clock: Clock) -> None:
    site = StarletteSite(max_age)
    ends = clock.now + HOUR
    site.arrive(arriving(ends))
    site.ends_at(ends, clock)


def test_starlette_arrival_ends_with_this_site_s_lifetime(clock: Clock) -> None:
    for far in (clock.now + 10 * YEAR, None):
        site = StarletteSite(HOUR)
        site.arrive(arriving(far))
        site.ends_at(clock.now + HOUR, clock)


@pytest.mark.parametrize("max_age", [None, YEAR])
@pytest.mark.parametrize("mode", [None, "share", "fork"])
def test_starlette_handoff_ends_with_the_session_at_the_source(
    mode: Any, max_age: int | None, clock: Clock
) -> None:
    source = StarletteSite(HOUR)
    target = StarletteSite(max_age, backend=source.backend, mode=mode)
    source.ask("/in")
    ends = clock.now + HOUR
    clock.now += 600
    assert source.hand_over_to(target).status == 303
    target.ends_at(ends, clock)


# Sealed.


def sealed_in(adapter: SealedSession, session: Session) -> Any:
    [cookie] = adapter.establish(session, asking())
    return cookie


def test_sealed_arrival_ends_with_this_site_s_lifetime(clock: Clock) -> None:
    adapter = SealedSession(SECRET, lifetime=HOUR, clock=clock)
    for far in (clock.now + 10 * YEAR, None):
        for session in (arriving(far), replace(arriving(far), persistent=False)):
            ends = clock.now + HOUR
            arrived = adapter.resolve(session)
            assert arrived is not None
            assert arrived.expires_at == moment(ends)
            # The cookie's own age is none of the seal: a browser may keep it for longer.
            for made in (arrived.token, sealed_in(adapter, session).value):
                found = adapter.current(asking(made, "ott_session"))
                assert found is not None
                assert found.expires_at == moment(ends)
                clock.now = ends - 1
                assert adapter.current(asking(made, "ott_session")) is not None
                clock.now = ends
                assert adapter.current(asking(made, "ott_session")) is None
                gone = adapter.resolve(found)
                assert gone is None or gone.expired(clock.now)
                with pytest.raises(SessionExpired):
                    adapter.establish(found, asking())
                clock.now = ends - HOUR


def test_sealed_session_ends_with_a_lifetime_that_was_shortened(clock: Clock) -> None:
    long = SealedSession(SECRET, lifetime=YEAR, clock=clock)
    short = SealedSession(SECRET, lifetime=HOUR, clock=clock)
    own = long.start("7", remember=True).token
    came = sealed_in(long, arriving(None)).value
    for cookie in (own, came):
        found = short.current(asking(cookie, "ott_session"))
        assert found is not None
        assert found.expires_at == moment(clock.now + HOUR)
    clock.now += HOUR
    for cookie in (own, came):
        assert long.current(asking(cookie, "ott_session")) is not None
        assert short.current(asking(cookie, "ott_session")) is None


def test_sealed_handoffs_in_a_circle_never_lengthen(clock: Clock) -> None:
    adapter = SealedSession(SECRET, lifetime=HOUR, clock=clock)
    session = adapter.start("7", remember=True)
    for _ in range(5):
        clock.now += 60
        arrived = adapter.resolve(adapter.expose(session))
        assert arrived is not None
        cookie = sealed_in(adapter, arrived).value
        found = adapter.current(asking(cookie, "ott_session"))
        assert found is not None
        assert found.expires_at == moment(clock.now + HOUR - 60 * (_ + 1))
        session = found


def test_sealed_cookie_of_unknown_age_is_no_session(clock: Clock) -> None:
    adapter = SealedSession(SECRET, clock=clock)
    values = {"id": "s", "user_id": "7", "expires_at": moment(clock.now + 10 * YEAR).isoformat()}
    for more, taken in (
        ({}, False),
        ({"created_at": moment(clock.now).isoformat()}, True),
        ({"sealed_at": moment(clock.now).isoformat()}, True),
        ({"created_at": moment(clock.now - YEAR).isoformat()}, False),
    ):
        plain = json.dumps({**values, **more}).encode()
        cookie = CookieSeal("ott_session", (SECRET.encode(),)).seal(plain, b"n" * NONCE_BYTES)
        assert (adapter.current(asking(cookie, "ott_session")) is not None) is taken
