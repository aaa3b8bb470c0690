"""Session fixation: no link makes a visitor sign in under a key that another browser holds."""

from __future__ import annotations

import logging
import secrets
from typing import Any

import flask
import flask_login
import pytest
from cachelib import SimpleCache
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionInterface
from flask_session import Session as ServerSide
from werkzeug.test import Client

from ott_middleware import FlaskSession, MemoryBackend, OTTMiddleware, StarletteSession

from .club import ClubSession

SECRET = "s" * 32
NAVIGATION = {
    "Accept": "text/html",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}

# Flask-Login's own, on Python 3.12 and later, where it writes its remember cookie.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


class HandMade(SessionInterface):
    """Keeps sessions on the server, under a key that stays the same at sign-in."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}

    def open_session(self, app: Any, request: Any) -> Any:
        key = request.cookies.get("session")
        if key not in self.kept:
            key = secrets.token_urlsafe()
        session = SecureCookieSession(self.kept.get(key, {}))
        session.sid = key
        return session

    def save_session(self, app: Any, session: Any, response: Any) -> None:
        if session:
            self.kept[session.sid] = dict(session)
            response.set_cookie("session", session.sid)


class Derived(HandMade, SecureCookieSessionInterface):
    """One that derives from Flask's own interface."""


def with_flask_session(app: flask.Flask) -> None:
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=SimpleCache())
    ServerSide(app)


def hand_made(app: flask.Flask) -> None:
    app.session_interface = HandMade()


def derived(app: flask.Flask) -> None:
    app.session_interface = Derived()


SERVER_SIDE = [with_flask_session, hand_made, derived]


def make_app(interface: Any, *, login: bool = False) -> flask.Flask:
    app = flask.Flask(__name__)
    app.secret_key = SECRET
    interface(app)
    if login:
        manager = flask_login.LoginManager(app)

        class User(flask_login.UserMixin):  # type: ignore[misc]  # its base has no types
            def __init__(self, user_id: str) -> None:
                self.id = user_id

        manager.user_loader(User)

    @app.get("/in/<name>")
    def sign_in(name: str) -> Any:
        if login:
            flask_login.login_user(User(name))
        else:
            flask.session["user_id"] = name
        flask.session.setdefault("cart", []).append(name)
        return {}

    @app.get("/visit")
    def visit() -> Any:
        flask.session["cart"] = ["oars"]
        return {}

    @app.get("/")
    def who() -> Any:
        if login:
            user = flask_login.current_user
            return {"user": user.get_id(), "values": dict(flask.session)}
        return {"user": flask.session.get("user_id"), "values": dict(flask.session)}

    return app


def wrapped(app: flask.Flask, **how: Any) -> Any:
    session = FlaskSession(app, **how) if how else "auto"
    return OTTMiddleware(app.wsgi_app, session=session, backend=MemoryBackend())


def who(browser: Client) -> Any:
    return browser.get("/").get_json()["user"]


@pytest.mark.parametrize("login", [False, True], ids=["plain", "flask-login"])
@pytest.mark.parametrize("interface", SERVER_SIDE)
def test_key_planted_by_a_link_is_not_the_victim_s(interface: Any, login: bool) -> None:
    site = wrapped(make_app(interface, login=login))
    attacker, victim = Client(site), Client(site)
    attacker.get("/in/mallory")
    token = attacker.get("/one-time-token/generate").get_json()["token"]
    assert victim.get(f"/?ott={token}", headers=NAVIGATION).status_code == 303
    assert who(victim) == "mallory"
    victim.get("/in/alice")
    assert who(victim) == "alice"
    assert who(attacker) == "mallory"


@pytest.mark.parametrize("interface", SERVER_SIDE)
def test_key_that_the_visitor_had_is_not_used_again(interface: Any) -> None:
    site = wrapped(make_app(interface))
    owner, visitor = Client(site), Client(site)
    visitor.get("/visit")
    planted = visitor.get_cookie("session")
    assert planted is not None
    thief = Client(site)
    thief.set_cookie("session", planted.value)
    owner.get("/in/alice")
    token = owner.get("/one-time-token/generate").get_json()["token"]
    visitor.get(f"/?ott={token}", headers=NAVIGATION)
    assert who(visitor) == "alice"
    assert who(thief) is None
    kept = visitor.get_cookie("session")
    mine = owner.get_cookie("session")
    assert kept is not None
    assert mine is not None
    assert kept.value not in (planted.value, mine.value)


@pytest.mark.parametrize("interface", SERVER_SIDE)
def test_fork_carries_the_user_and_the_named_data(interface: Any) -> None:
    site = wrapped(make_app(interface), data=["cart"])
    source, target = Client(site), Client(site)
    source.get("/in/alice")
    token = source.get("/one-time-token/generate").get_json()["token"]
    target.get(f"/?ott={token}", headers=NAVIGATION)
    values = target.get("/").get_json()["values"]
    assert (values["user_id"], values["cart"]) == ("alice", ["alice"])


def test_default_mode_goes_by_the_app_s_interface() -> None:
    app = make_app(lambda app: None)
    session = FlaskSession(app)
    assert session.mode == "share"
    # An extension that is set up after the adapter was made.
    with_flask_session(app)
    assert session.mode == "fork"
    assert FlaskSession(app, mode="share").mode == "share"
    assert StarletteSession(secret_key=SECRET).mode == "share"
    assert ClubSession().mode == "share"


@pytest.mark.parametrize("interface", [with_flask_session, hand_made])
def test_sharing_a_key_warns_at_start(interface: Any, caplog: pytest.LogCaptureFixture) -> None:
    wrapped(make_app(interface), mode="share")
    [line] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "session fixation" in line
    assert "leave mode out" in line
    assert "regenerate(session)" in line
    assert "\n" not in line
    caplog.clear()
    for mode in (None, "fork"):
        wrapped(make_app(interface), mode=mode)
    wrapped(make_app(lambda app: None), mode="share")
    assert caplog.records == []


def test_sharing_a_key_warns_where_the_interface_is_replaced_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make_app(lambda app: None)
    site = wrapped(app, mode="share")
    assert caplog.records == []
    with_flask_session(app)
    for _ in range(2):
        Client(site).get("/")
    assert caplog.text.count("session fixation") == 1
