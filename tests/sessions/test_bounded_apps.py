"""Flask and Starlette apps do not see a session that has ended, however they are set up."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from base64 import b64decode, b64encode
from collections import UserDict
from dataclasses import replace
from datetime import timedelta
from typing import Any

import flask
import itsdangerous
import pytest
from cachelib import SimpleCache
from flask.sessions import (
    SecureCookieSession,
    SecureCookieSessionInterface,
    SessionInterface,
    SessionMixin,
)
from flask_session import Session as ServerSide
from harness import call_asgi, make_scope, moment
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from ott_middleware import (
    ConfigurationError,
    FlaskSession,
    OTTMiddleware,
    Session,
    StarletteSession,
)
from ott_middleware.errors import SessionExpired
from ott_middleware.http import Request
from ott_middleware.sessions.lifetime import (
    END_KEY,
    KEPT_KEY,
    put_quietly,
    seconds_in,
    take_quietly,
)
from ott_middleware.sessions.starlette.middleware import SessionEnds
from ott_middleware.testing.store import Clock

SECRET = "s" * 32
HOUR, MONTH = 3600, 31 * 86400


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


def asking(cookie: str | None = None) -> Request:
    headers = {} if cookie is None else {"cookie": f"session={cookie}"}
    return Request("GET", "http", "/", headers=headers)


def arriving(ends: float | None) -> Session:
    expires_at = None if ends is None else moment(ends)
    return Session("there", "", user_id="7", expires_at=expires_at)


# Flask.


def make_app(name: str = "app") -> flask.Flask:
    app = flask.Flask(name)
    app.secret_key = SECRET

    @app.get("/")
    def see() -> Any:
        flask.session["visits"] = flask.session.get("visits", 0) + 1
        return {"user": flask.session.get("user_id"), "keys": sorted(flask.session)}

    @app.get("/out")
    def sign_out() -> Any:
        flask.session.clear()
        return {}

    @app.get("/in")
    def sign_in() -> Any:
        flask.session["user_id"] = "7"
        return {}

    return app


def with_store(app: flask.Flask, store: SimpleCache | None = None) -> SimpleCache:
    store = SimpleCache() if store is None else store
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=store)
    ServerSide(app)
    return store


def cookie_of(session: FlaskSession, ends: float | None) -> str:
    [cookie] = session.establish(arriving(ends), asking())
    return cookie.value


def browser_with(cookie: str, app: Any) -> Client:
    browser = Client(app)
    browser.set_cookie("session", cookie)
    return browser


def user(browser: Client) -> Any:
    return browser.get("/").get_json()["user"]


def ends(browser: Client, clock: Clock, end: float) -> None:
    clock.now = end - 1
    assert user(browser) == "7"
    clock.now = end
    assert user(browser) is None


def test_flask_app_never_sees_the_end(clock: Clock) -> None:
    for store in (False, True):
        app = make_app()
        if store:
            with_store(app)
        session = FlaskSession(app)
        OTTMiddleware(app.wsgi_app, session=session)
        browser = browser_with(cookie_of(session, clock.now + HOUR), app)
        assert {"user_id", "visits"} >= {
            key for key in browser.get("/").get_json()["keys"] if key != "_permanent"
        }


def test_flask_interface_that_is_set_after_the_app_is_wrapped(clock: Clock) -> None:
    app = make_app()
    session = FlaskSession(app)
    wrapped = OTTMiddleware(app.wsgi_app, session=session)
    OTTMiddleware(app.wsgi_app, session=FlaskSession(app))
    with_store(app)
    browser = browser_with(cookie_of(session, clock.now + HOUR), wrapped)
    assert user(browser) == "7"
    ends(browser, clock, clock.now + HOUR)


def test_flask_interface_stays_what_it_is() -> None:
    app, other = make_app(), make_app("other")
    OTTMiddleware(app.wsgi_app, session=FlaskSession(app))
    assert type(app.session_interface) is SecureCookieSessionInterface
    assert other.session_interface is flask.Flask.session_interface
    assert "open_session" not in vars(flask.Flask.session_interface)
    with_store(other)
    before = other.session_interface
    OTTMiddleware(other.wsgi_app, session=FlaskSession(other))
    assert other.session_interface is before


def test_flask_new_sign_in_has_the_site_s_own_lifetime(clock: Clock) -> None:
    app = make_app()
    session = FlaskSession(app)
    OTTMiddleware(app.wsgi_app, session=session)
    browser = browser_with(cookie_of(session, clock.now + HOUR), app)
    browser.get("/out")
    assert browser.get_cookie("session") is None
    browser.get("/in")
    clock.now += 2 * HOUR
    assert user(browser) == "7"
    # And so has one after the end.
    browser = browser_with(cookie_of(session, clock.now + HOUR), app)
    clock.now += HOUR
    assert user(browser) is None
    browser.get("/in")
    clock.now += HOUR
    assert user(browser) == "7"


def test_flask_session_store_forgets_it_at_the_end(clock: Clock) -> None:
    app = make_app()
    store = with_store(app)
    session = FlaskSession(app)
    OTTMiddleware(app.wsgi_app, session=session)
    key = f"session:{cookie_of(session, time.time() + HOUR)}"
    now = clock.now  # the store's own clock starts with it
    assert abs(store._cache[key][0] - now - HOUR) < 60
    browser = browser_with(key.removeprefix("session:"), app)
    clock.now += HOUR / 2
    assert user(browser) == "7"
    assert abs(store._cache[key][0] - now - HOUR / 2) < 60
    clock.now += HOUR / 2 - 0.5
    assert user(browser) == "7"
    assert store._cache[key][0] - now < 60
    # Sessions of the app's own are kept for as long as ever.
    own = Client(app)
    own.get("/in")
    [key] = set(store._cache) - {key}
    assert abs(store._cache[key][0] - now - MONTH) < 60


def test_flask_key_that_ended_is_not_used_again(clock: Clock) -> None:
    app = make_app()
    with_store(app)
    session = FlaskSession(app)
    OTTMiddleware(app.wsgi_app, session=session)
    cookie = cookie_of(session, clock.now + HOUR)
    clock.now += HOUR
    browser = browser_with(cookie, app)
    browser.get("/in")
    after = browser.get_cookie("session")
    assert after is not None
    assert after.value != cookie


@pytest.mark.parametrize("value", ["never", None, True, 1e99, [10**12], "9999999999"])
def test_flask_end_that_cannot_be_read_has_passed(value: Any) -> None:
    app = make_app()
    session = FlaskSession(app)
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    cookie = serializer.dumps({"user_id": "7", END_KEY: value})
    assert session.current(asking(str(cookie))) is None
    OTTMiddleware(app.wsgi_app, session=session)
    assert session.current(asking(str(cookie))) is None
    assert user(browser_with(str(cookie), app)) is None


def test_flask_end_of_any_size_can_be_read(clock: Clock) -> None:
    app = make_app()
    session = FlaskSession(app)
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    cookie = str(serializer.dumps({"user_id": "7", END_KEY: 10**30}))
    found = session.current(asking(cookie))
    assert found is not None
    assert found.expires_at == moment(clock.now + MONTH)
    assert session.current(asking(str(serializer.dumps({"user_id": "7", END_KEY: -5})))) is None


def test_flask_adapter_checks_the_end_without_a_guarded_interface(clock: Clock) -> None:
    for store in (False, True):
        app = make_app()
        if store:
            with_store(app)
        session = FlaskSession(app)
        cookie = cookie_of(session, clock.now + HOUR)
        found = session.current(asking(cookie))
        assert found is not None
        assert found.expires_at == moment(clock.now + HOUR)
        exposed = session.expose(found)
        clock.now += HOUR
        assert session.current(asking(cookie)) is None
        with pytest.raises(SessionExpired):
            session.resolve(exposed)


def test_flask_end_that_came_after_the_token_is_checked(clock: Clock) -> None:
    app = make_app()
    session = FlaskSession(app)
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    cookie = str(serializer.dumps({"user_id": "7", END_KEY: int(clock.now)}))
    with pytest.raises(SessionExpired):
        session.alive(Session("s", cookie, user_id="7"))


def test_flask_ended_session_begins_nothing(clock: Clock) -> None:
    app = make_app()
    with pytest.raises(SessionExpired):
        FlaskSession(app).establish(arriving(clock.now), asking())
    with pytest.raises(SessionExpired):
        StarletteSession(secret_key=SECRET, clock=clock).establish(arriving(clock.now), asking())


def test_flask_apps_in_one_request_have_an_end_each(clock: Clock) -> None:
    outer, inner = make_app("outer"), make_app("inner")
    inner.config["SESSION_COOKIE_NAME"] = "inner"
    sessions = FlaskSession(outer), FlaskSession(inner)
    both = DispatcherMiddleware(outer.wsgi_app, {"/inner": inner.wsgi_app})

    def asking_both(environ: Any, start_response: Any) -> Any:
        # A gate that looks at the outer app's session before it hands the request on.
        with outer.request_context(environ):
            flask.session.get("user_id")
        return both(environ, start_response)

    for each in sessions:
        OTTMiddleware(each.app.wsgi_app, session=each)
    browser = browser_with(cookie_of(sessions[0], clock.now + HOUR), asking_both)
    browser.get("/inner/in")
    cookie = browser.get_cookie("inner", path="/")
    assert cookie is not None
    clock.now += 2 * HOUR
    assert browser.get("/inner/").get_json()["user"] == "7"
    assert user(browser) is None


def test_flask_test_client_s_transaction_keeps_the_end(clock: Clock) -> None:
    app = make_app()
    session = FlaskSession(app)
    OTTMiddleware(app.wsgi_app, session=session)
    browser = app.test_client()
    browser.set_cookie("session", cookie_of(session, clock.now + HOUR))
    with browser.session_transaction() as opened:
        assert END_KEY not in opened
        opened.clear()
        opened["user_id"] = "7"
    ends(browser, clock, clock.now + HOUR)


def test_flask_session_saved_without_a_request_has_no_end() -> None:
    app = make_app()
    OTTMiddleware(app.wsgi_app, session=FlaskSession(app))
    response = app.response_class()
    opened = SecureCookieSession({"user_id": "7"})
    opened.modified = True
    app.session_interface.save_session(app, opened, response)
    assert response.headers["Set-Cookie"]


class Plain(UserDict[str, Any], SessionMixin):
    """A session that is a mapping, and no dict."""

    modified = False

    def __setitem__(self, key: str, value: Any) -> None:
        self.modified = True
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self.modified = True
        super().__delitem__(key)


class HandMade(SessionInterface):
    """Keeps mappings on the server, by a key in a cookie or a header."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.saved = 0

    def open_session(self, app: Any, request: Any) -> Any:
        key = request.headers.get("X-Key") or request.cookies.get("session") or "new"
        session = Plain(self.kept.get(key, {}))
        session.sid, session.modified = key, False  # type: ignore[attr-defined]  # as others do
        return session

    def save_session(self, app: Any, session: Any, response: Any) -> None:
        if session.modified:
            self.saved += 1
            key = f"key-{len(self.kept)}" if session.sid == "new" else session.sid
            self.kept[key] = dict(session)
            response.set_cookie("session", key)


def test_values_of_any_mapping_are_put_and_taken() -> None:
    values: UserDict[str, Any] = UserDict()
    put_quietly(values, {END_KEY: 1})
    assert seconds_in(values, END_KEY) == 1
    take_quietly(values, [END_KEY, KEPT_KEY])
    assert not values


def test_flask_session_of_any_mapping_does_not_notice(clock: Clock) -> None:
    app = make_app()
    app.session_interface = interface = HandMade()
    app.add_url_rule("/look", view_func=lambda: {"user": flask.session.get("user_id")})
    session = FlaskSession(app)
    OTTMiddleware(app.wsgi_app, session=session)
    end = clock.now + HOUR
    cookie = cookie_of(session, end)
    saved = interface.saved
    browser = browser_with(cookie, app)
    assert browser.get("/look").get_json()["user"] == "7"
    assert interface.saved == saved
    browser.get("/")
    assert interface.kept[cookie][END_KEY] == int(end)
    found = session.current(asking(cookie))
    assert found is not None
    assert found.expires_at == moment(end)
    # Where the interface goes by something else, the app gets no session at all.
    clock.now = end
    assert user(browser) is None
    assert Client(app).get("/look", headers={"X-Key": cookie}).get_json()["user"] is None


def test_flask_handoff_of_a_kept_session_ends_when_the_store_would_forget_it(
    clock: Clock,
) -> None:
    app = make_app()
    app.session_interface = HandMade()
    session = FlaskSession(app)
    OTTMiddleware(app.wsgi_app, session=session)
    browser = Client(app)
    browser.get("/in")
    saved_at = clock.now
    clock.now += HOUR
    cookie = browser.get_cookie("session")
    assert cookie is not None
    found = session.current(asking(cookie.value))
    assert found is not None
    assert found.expires_at == moment(saved_at + MONTH)


class Slotted:
    """An interface that takes no other methods, and derives from nothing."""

    __slots__ = ("inner",)

    def __init__(self) -> None:
        self.inner = SecureCookieSessionInterface()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_ott"):
            raise AttributeError(name)
        return getattr(self.inner, name)


class Own(SecureCookieSessionInterface):
    """Opens cookies in a way of its own."""

    def open_session(self, app: Any, request: Any) -> Any:
        return super().open_session(app, request)


@pytest.mark.parametrize("interface", [Slotted, Own])
def test_flask_app_that_cannot_be_guarded_is_warned_of(
    interface: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    app.session_interface = interface()
    session = FlaskSession(app)
    assert session.bounds_app
    OTTMiddleware(app.wsgi_app, session=session)
    assert not session.bounds_app
    [line] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert f"since {interface.__module__}.{interface.__name__} opens cookies in a way" in line
    assert "mode='fork'" in line


def test_reserved_keys_never_travel() -> None:
    for key in (END_KEY, KEPT_KEY):
        with pytest.raises(ConfigurationError, match=f"data: '{key}' is the end of a session"):
            FlaskSession(make_app(), data=[key])
        with pytest.raises(ConfigurationError, match=f"data: '{key}' is the end of a session"):
            StarletteSession(secret_key=SECRET, data=[key])


def test_reserved_keys_from_a_hook_do_not_move_the_end(clock: Clock) -> None:
    values = {"user_id": "7", END_KEY: int(clock.now) + 10**9, KEPT_KEY: int(clock.now) + 10**9}
    app = make_app()
    for session in (
        FlaskSession(app, match=lambda _: values),
        StarletteSession(secret_key=SECRET, match=lambda _: values, clock=clock),
    ):
        arrived = session.resolve(arriving(clock.now + HOUR))
        assert isinstance(arrived, Session)
        [cookie] = session.establish(arrived, asking())
        found = session.current(asking(cookie.value))
        assert found is not None
        assert found.expires_at == moment(clock.now + HOUR)


# Starlette.


async def heard(app: Any, cookie: str) -> str:
    """The first text that a socket with this cookie is sent."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = make_scope("GET", "/socket", {"host": "app.example", "cookie": f"session={cookie}"})
    await app({**scope, "type": "websocket", "scheme": "ws", "subprotocols": []}, receive, send)
    [text] = [message["text"] for message in sent if message["type"] == "websocket.send"]
    return str(text)


async def see(request: Any) -> Any:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JSONResponse({"user": request.session.get("user_id"), "keys": sorted(request.session)})


async def sign_out(request: Any) -> Any:
    request.session.clear()
    return JSONResponse({})


async def listen(socket: Any) -> None:
    await socket.accept()
    await socket.send_json(socket.session.get("user_id"))
    await socket.close()


def starlette_cookie(values: Any) -> str:
    signer = itsdangerous.TimestampSigner(SECRET)
    return signer.sign(b64encode(json.dumps(values).encode())).decode()


def routes() -> list[Any]:
    return [Route("/", see), Route("/out", sign_out), WebSocketRoute("/socket", listen)]


def starlette_app() -> Starlette:
    return Starlette(
        routes=routes(),
        middleware=[Middleware(SessionMiddleware, secret_key=SECRET, max_age=None)],
    )


def ask(app: Any, path: str, cookie: str) -> Any:
    scope = make_scope("GET", path, {"host": "app.example", "cookie": f"session={cookie}"})
    return asyncio.run(call_asgi(app, scope))


def live_and_ended(clock: Clock) -> tuple[str, str]:
    now = int(clock.now)
    return (
        starlette_cookie({"user_id": "7", END_KEY: now + HOUR}),
        starlette_cookie({"user_id": "7", END_KEY: now}),
    )


def bounded(app: Any, clock: Clock) -> None:
    live, ended = live_and_ended(clock)
    assert ask(app, "/", live).json() == {"user": "7", "keys": ["user_id", "visits"]}
    assert ask(app, "/", ended).json()["user"] is None


def test_starlette_app_whose_stack_is_built_already(clock: Clock) -> None:
    app = starlette_app()
    _, ended = live_and_ended(clock)
    assert ask(app, "/", ended).json()["user"] == "7"
    for _ in range(2):
        OTTMiddleware(app, session=StarletteSession(app, clock=clock))
    bounded(app, clock)
    # Built anew, as by some tests, or with more middleware.
    app.middleware_stack = None
    bounded(app, clock)
    assert [entry.cls for entry in app.user_middleware] == [SessionMiddleware, SessionEnds]


def test_starlette_middleware_around_any_app(clock: Clock) -> None:
    inner = Starlette(routes=routes())
    middleware = SessionMiddleware(inner, secret_key=SECRET, max_age=None)
    for how in (middleware, None):
        options: Any = {"secret_key": SECRET, "max_age": None} if how is None else {}
        OTTMiddleware(middleware, session=StarletteSession(how, clock=clock, **options))
        bounded(middleware, clock)
    assert isinstance(middleware.app, SessionEnds)
    assert middleware.app.app is inner


def test_starlette_session_without_an_end_gets_none() -> None:
    session = StarletteSession(secret_key=SECRET, max_age=None)
    [cookie] = session.establish(arriving(None), asking())
    found = session.current(asking(cookie.value))
    assert found is not None
    assert found.expires_at is None


def test_starlette_app_in_another(clock: Clock) -> None:
    inside = starlette_app()
    outside = Starlette(routes=[Mount("/", app=inside)])
    session = StarletteSession(outside, clock=clock)
    OTTMiddleware(outside, session=session)
    assert session.bounds_app
    bounded(outside, clock)


def test_starlette_app_without_a_middleware_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Opens the cookie somewhere out of sight."""

    session = StarletteSession(secret_key=SECRET)
    assert session.bounds_app
    OTTMiddleware(app, session=session)
    assert not session.bounds_app
    [line] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "the app may see a session after its end; pass the app" in line


def test_starlette_ended_session_leaves_no_trace(clock: Clock) -> None:
    app = starlette_app()
    OTTMiddleware(app, session=StarletteSession(app, clock=clock))
    live, ended = live_and_ended(clock)
    # A sign-in of its own after the end, or after a sign-out, has no end.
    answer = ask(app, "/", ended)
    value = answer.cookies["session"]
    signed = itsdangerous.TimestampSigner(SECRET).unsign(value)
    assert END_KEY.encode() not in b64decode(signed)
    assert ask(app, "/out", live).cookies["session"] == "null"


@pytest.mark.parametrize("value", ["never", None, True, 1e99, [10**12]])
def test_starlette_end_that_cannot_be_read_has_passed(value: Any, clock: Clock) -> None:
    app = starlette_app()
    session = StarletteSession(app, clock=clock)
    OTTMiddleware(app, session=session)
    cookie = starlette_cookie({"user_id": "7", END_KEY: value})
    assert session.current(asking(cookie)) is None
    assert ask(app, "/", cookie).json()["user"] is None


def test_starlette_socket_is_opened_by_no_ended_session(clock: Clock) -> None:
    app = starlette_app()
    OTTMiddleware(app, session=StarletteSession(app, clock=clock))
    live, ended = live_and_ended(clock)
    for cookie, who in ((live, "7"), (ended, None)):
        assert json.loads(asyncio.run(heard(app, cookie))) == who


# Both.


def test_shared_session_is_reported_with_its_end(clock: Clock) -> None:
    app = make_app()
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    for session, cookie in (
        (FlaskSession(app), str(serializer.dumps({"user_id": "7"}))),
        (StarletteSession(secret_key=SECRET, clock=clock), starlette_cookie({"user_id": "7"})),
    ):
        found = session.current(asking(cookie))
        assert found is not None
        known = replace(found, expires_at=moment(clock.now + HOUR))
        arrived = session.resolve(session.expose(known))
        assert isinstance(arrived, Session)
        # A client may be told the cookie's value, and set the cookie by itself.
        told = session.current(asking(arrived.token))
        assert told is not None
        assert told.expires_at == moment(clock.now + HOUR)
        clock.now += HOUR
        assert session.current(asking(arrived.token)) is None


def test_lifetime_beyond_all_dates_is_one(clock: Clock) -> None:
    app = make_app()
    app.config["PERMANENT_SESSION_LIFETIME"] = timedelta(days=365 * 7000)
    with_store(app)
    session = FlaskSession(app)
    OTTMiddleware(app.wsgi_app, session=session)
    found = session.current(asking(cookie_of(session, None)))
    assert found is not None
    assert found.expires_at is not None
