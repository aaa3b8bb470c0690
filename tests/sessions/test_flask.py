"""Flask's sessions, of every kind of interface, with and without Flask-Login."""

from __future__ import annotations

import itertools
import json
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import flask
import flask_login
import pytest
from cachelib import SimpleCache
from cachelib.file import FileSystemCache
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionInterface
from flask_session import Session as ServerSide
from harness import make_scope, moment
from werkzeug.test import Client

from ott_middleware import (
    ConfigurationError,
    FlaskSession,
    MemoryBackend,
    OneTimeTokens,
    OTTMiddleware,
    Session,
    StarletteSession,
)
from ott_middleware.errors import SessionExpired, SessionNotFound, SessionUnavailable
from ott_middleware.http import Request
from ott_middleware.interfaces.asgi_request import parse_request
from ott_middleware.sessions.wsgi_environ import environ_of

SECRET, OTHER = "s" * 32, "another " * 4
BROWSER = {
    "User-Agent": "Browser/1",
    "Accept": "text/html",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
MONTH = 31 * 86400

# Flask-Login's own, on Python 3.12 and later, where it writes its remember cookie.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

Interface = Callable[[flask.Flask], None]


def signed(app: flask.Flask) -> None:
    """Flask's own interface."""


class Stores:
    """Stores that are shared by the sites of one test."""

    def __init__(self, folder: Path) -> None:
        self.files = FileSystemCache(str(folder), threshold=500)
        self.memory = SimpleCache()

    def in_files(self, app: flask.Flask) -> None:
        app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=self.files)
        ServerSide(app)

    def signed_keys(self, app: flask.Flask) -> None:
        app.config.update(
            SESSION_TYPE="cachelib", SESSION_CACHELIB=self.memory, SESSION_USE_SIGNER=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            ServerSide(app)

    def keys(self) -> set[str]:
        return set(self.memory._cache)


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(tmp_path)


KINDS = ["signed", "in_files", "signed_keys"]


@pytest.fixture(params=KINDS)
def interface(request: pytest.FixtureRequest, stores: Stores) -> Interface:
    chosen: Interface = getattr(stores, request.param, signed)
    return chosen


class User(flask_login.UserMixin):  # type: ignore[misc]  # its base has no types
    def __init__(self, number: int) -> None:
        self.id = number
        self.key = f"key-{number}"
        self.email = f"user{number}@example.com"
        self.enabled = True

    is_authenticated = True

    @property
    def is_active(self) -> bool:
        return self.enabled

    def get_id(self) -> str:
        return self.key


class FlaskSite:
    """A Flask app behind the middleware, with one browser."""

    def __init__(
        self,
        interface: Interface = signed,
        *,
        secret: Any = SECRET,
        backend: Any = None,
        users: dict[str, User] | None = None,
        config: dict[str, Any] | None = None,
        **how: Any,
    ) -> None:
        self.app = app = flask.Flask(__name__)
        app.secret_key = secret
        app.config.update(config or {})
        interface(app)
        self.users = users
        self.torn_down: list[Any] = []
        app.teardown_appcontext(self.torn_down.append)
        app.add_url_rule("/put", view_func=self._put, methods=["POST"])
        app.add_url_rule("/see", view_func=self._see)
        app.add_url_rule("/token", view_func=self._token)
        if users is not None:
            manager = flask_login.LoginManager(app)
            manager.user_loader(lambda key: next((u for u in users.values() if u.key == key), None))
            app.add_url_rule("/sign-in", view_func=self._sign_in, methods=["POST"])
            app.add_url_rule("/sign-out", view_func=self._sign_out, methods=["POST"])
        watching = ("revoke_on_sign_out", "set_ott_header_on_new_session")
        options = {key: how.pop(key) for key in watching if key in how}
        self.backend = MemoryBackend() if backend is None else backend
        self.ott = OTTMiddleware(
            app.wsgi_app,
            session=FlaskSession(app, **how) if how else "auto",
            backend=self.backend,
            **options,
        )
        self.client = Client(self.ott)

    @property
    def adapter(self) -> FlaskSession:
        adapter = self.ott.flow.options.adapter
        assert isinstance(adapter, FlaskSession)
        return adapter

    def _put(self) -> Any:
        values = flask.request.get_json()
        flask.session.clear()
        flask.session.permanent = values.pop("permanent", False)
        flask.session.update(values)
        return {}

    def _see(self) -> Any:
        user = flask_login.current_user if self.users is not None else None
        return {
            "values": dict(flask.session),
            "user": user.key if user and user.is_authenticated else None,
            "fresh": flask.session.get("_fresh"),
        }

    def _token(self) -> Any:
        for name, value in flask.request.args.items():
            flask.session[name] = value or None
        session = flask.request.environ["ott.handle"].session
        return {"user_id": session and session.user_id}

    def _sign_in(self) -> Any:
        values = flask.request.get_json()
        assert self.users is not None
        flask_login.login_user(self.users[values["name"]], remember=values.get("remember", False))
        return {}

    def _sign_out(self) -> Any:
        flask_login.logout_user()
        return {}

    # The browser.

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers={**BROWSER, **headers})

    def put(self, **values: Any) -> Any:
        return self.client.post("/put", json=values, headers=BROWSER)

    def sign_in(self, name: str, **more: Any) -> Any:
        return self.client.post("/sign-in", json={"name": name, **more}, headers=BROWSER)

    def sign_out(self) -> Any:
        return self.client.post("/sign-out", json={}, headers=BROWSER)

    def see(self) -> Any:
        return self.get("/see").get_json()

    def values(self) -> dict[str, Any]:
        return {k: v for k, v in self.see()["values"].items() if k != "_permanent"}

    def cookie(self, name: str = "session") -> str | None:
        found = self.client.get_cookie(name)
        return found and found.value

    def token(self) -> str:
        answer = self.get("/one-time-token/generate")
        assert answer.status_code == 200, answer.text
        return str(answer.get_json()["token"])

    def refused(self, **headers: str) -> str:
        before = len(self.backend)
        # A client that keeps cookies sends no others.
        client = Client(self.ott, use_cookies=False) if "Cookie" in headers else self.client
        answer = client.get("/one-time-token/generate", headers={**BROWSER, **headers})
        assert answer.status_code == 401, answer.text
        assert len(self.backend) == before
        return str(answer.get_json()["code"])

    def open(self, token: str, **headers: str) -> Any:
        return self.get(f"/see?ott={token}", **headers)

    def current(self, cookie: str | None = None, name: str = "session") -> Session | None:
        value = cookie if cookie is not None else self.cookie()
        return self.adapter.current(asking(value, name))


def asking(cookie: str | None, name: str = "session", **headers: str) -> Request:
    headers = {"user-agent": BROWSER["User-Agent"], **headers}
    if cookie is not None:
        headers["cookie"] = f"{name}={cookie}"
    return Request("GET", "http", "/", headers=headers, carrier={"REMOTE_ADDR": "127.0.0.1"})


def signed_by_flask(values: Any, secret: str = SECRET, at: float | None = None) -> str:
    app = flask.Flask(__name__)
    app.secret_key = secret
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    signer: Any = serializer.make_signer(serializer.salt)
    if at is not None:
        signer.get_timestamp = lambda: int(at)
    return str(signer.sign(serializer.dump_payload(values)).decode())


@pytest.fixture
def users() -> dict[str, User]:
    return {"ada": User(1), "bob": User(2)}


# Without Flask-Login.


def test_shared_session_is_the_same_at_both_sites(interface: Interface) -> None:
    source = FlaskSite(interface)
    target = FlaskSite(interface, backend=source.backend, mode="share")
    assert source.refused() == "UNAUTHORIZED"
    source.put(user_id=7, cart=[1])
    token = source.token()
    answer = target.open(token)
    assert (answer.status_code, answer.location) == (303, "./see")
    if interface is signed:
        # The same date, with the session's end beside the values.
        dates = [str(site.cookie()).split(".")[1] for site in (source, target)]
        assert dates[0] == dates[1]
    else:
        assert target.cookie() == source.cookie()
    assert target.values() == {"user_id": 7, "cart": [1]}
    assert FlaskSite(interface, backend=source.backend).open(token).status_code == 400
    assert source.torn_down == [None] * len(source.torn_down)


def test_fork_is_a_session_of_its_own(interface: Interface) -> None:
    source = FlaskSite(interface)
    target = FlaskSite(interface, backend=source.backend, mode="fork", data=["cart"])
    source.put(user_id=7, cart=[1], csrf="x")
    target.put(planted="by the visitor")
    before = target.cookie()
    assert target.open(source.token()).status_code == 303
    assert target.cookie() not in (before, source.cookie())
    assert target.values() == {"user_id": 7, "cart": [1]}
    target.put()
    assert target.values() == {}
    assert source.values()["csrf"] == "x"


def test_sign_out_of_a_server_s_session_ends_the_link(stores: Stores) -> None:
    for interface in (stores.in_files, stores.signed_keys):
        source = FlaskSite(interface)
        target = FlaskSite(interface, backend=source.backend)
        source.put(user_id=7)
        token = source.token()
        source.client.post("/put", json={}, headers=BROWSER)
        assert target.open(token).status_code == 400
        assert target.cookie() is None


def test_sign_out_with_revoke_on_sign_out_ends_every_link(interface: Interface) -> None:
    source = FlaskSite(interface, revoke_on_sign_out=True)
    target = FlaskSite(interface, backend=source.backend)
    source.put(user_id=7)
    token = source.token()
    source.put()
    assert target.open(token).status_code == 400


def test_key_with_another_user_by_now_is_refused(stores: Stores) -> None:
    source = FlaskSite(stores.in_files)
    target = FlaskSite(stores.in_files, backend=source.backend)
    source.put(user_id=7)
    token, key = source.token(), source.cookie()
    source.put(user_id=8)
    assert source.cookie() == key
    assert target.open(token).status_code == 400


def test_anonymous_forged_and_foreign_cookies_are_refused(
    interface: Interface, stores: Stores
) -> None:
    site = FlaskSite(interface)
    site.put(cart=[1])
    assert site.cookie()
    assert site.refused() == "UNAUTHORIZED"
    site.put(user_id=7)
    kept = stores.keys()
    good = str(site.cookie())
    sent = {**BROWSER, "Cookie": f"session={good}"}
    bare = Client(site.ott, use_cookies=False)
    assert bare.get("/one-time-token/generate", headers=sent).status_code == 200
    for bad in [
        "",
        "x",
        good[:-1],
        good + "x",
        good[1:],
        "é",
        '"',
        signed_by_flask({"user_id": 7}, OTHER),
        signed_by_flask({"user_id": 7}).rpartition(".")[0],
    ]:
        stranger = FlaskSite(interface, backend=site.backend)
        assert stranger.refused(Cookie=f"session={bad}") == "UNAUTHORIZED"
    assert stores.keys() == kept


def test_fallback_secret_s_cookie_is_good_and_sealed_in_transit() -> None:
    config = {"SECRET_KEY_FALLBACKS": [OTHER]}
    source = FlaskSite(secret=OTHER)
    target = FlaskSite(backend=source.backend, config=config)
    assert list(target.adapter.secrets()) == [SECRET, OTHER]
    source.put(user_id=7)
    target.open(source.token())
    assert target.values() == {"user_id": 7}


def test_end_is_that_of_the_signature(stores: Stores) -> None:
    site = FlaskSite()
    signed_at = time.time() - 1000
    found = site.current(signed_by_flask({"user_id": 7}, at=signed_at))
    assert found is not None
    assert found.expires_at == moment(int(signed_at) + MONTH)
    assert not found.persistent
    assert site.current(signed_by_flask({"user_id": 7}, at=time.time() - MONTH - 10)) is None
    kept = FlaskSite(stores.in_files)
    kept.put(user_id=7, permanent=True)
    found = kept.current()
    assert found is not None
    assert found.persistent
    assert found.expires_at is not None
    assert abs(found.expires_at.timestamp() - time.time() - MONTH) < 60


def test_fork_never_outlives_its_parent() -> None:
    site = FlaskSite(mode="fork")
    parent = site.current(signed_by_flask({"user_id": 7}, at=time.time() - 1000))
    assert parent is not None
    alive = site.adapter.resolve(site.adapter.expose(parent))
    assert isinstance(alive, Session)
    [cookie] = site.adapter.establish(alive, asking(None))
    child = site.current(cookie.value)
    assert child is not None
    assert child.expires_at == parent.expires_at
    longer = replace(alive, expires_at=moment(time.time() + 2 * MONTH))
    [cookie] = site.adapter.establish(longer, asking(None))
    child = site.current(cookie.value)
    assert child is not None
    assert child.expires_at is not None
    assert child.expires_at.timestamp() < time.time() + MONTH + 60
    endless = replace(alive, expires_at=None)
    assert site.adapter.establish(endless, asking(None))


def test_session_that_has_ended_meanwhile() -> None:
    site = FlaskSite()
    site.put(user_id=7)
    session = site.current()
    assert session is not None
    over = replace(session, expires_at=moment(time.time() - 1))
    with pytest.raises(SessionExpired):
        site.adapter.resolve(site.adapter.expose(over))
    gone = replace(session, token="no such cookie")
    assert site.adapter.resolve(site.adapter.expose(gone)) is None


def test_session_not_to_be_remembered_is_not(interface: Interface) -> None:
    source = FlaskSite(interface)
    for permanent, secret in itertools.product((False, True), (SECRET, OTHER)):
        source.put(user_id=7, permanent=permanent)
        target = FlaskSite(interface, secret=secret, backend=source.backend, match="id")
        answer = target.open(source.token())
        [line] = answer.headers.getlist("Set-Cookie")
        assert ("Max-Age=" in line) is permanent
        assert answer.status_code == 303
        # And so it stays when the app writes it anew.
        assert target.see()["values"].get("_permanent", False) is permanent


class PathOfTheRequest(SecureCookieSessionInterface):
    """As Calibre-Web has it, which learns its mount prefix in a request."""

    def get_cookie_path(self, app: flask.Flask) -> str:
        return flask.request.script_root or "/"


def test_same_site_is_asked_for_outside_of_requests_without_the_path() -> None:
    app = flask.Flask("books")
    app.secret_key = SECRET
    app.session_interface = PathOfTheRequest()
    wrapped = OTTMiddleware(app)
    assert not FlaskSession(app).strict
    # Set after the app was wrapped.
    app.config["SESSION_COOKIE_SAMESITE"] = "Strict"
    headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    page = Client(wrapped).get("/?ott=t", headers={**headers, "Sec-Fetch-Site": "cross-site"})
    assert (page.status_code, "ott_seen" in page.text) == (200, True)


class Prefix:
    """A layer of the app that notes where it is mounted, when it is called."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.path = environ.get("HTTP_X_SCRIPT_NAME") or "/"
        return self.app(environ, start_response)


class PathOfTheLayer(SecureCookieSessionInterface):
    """As Calibre-Web has it: the path is known once a layer of the app was called."""

    def get_cookie_path(self, app: flask.Flask) -> str:
        path: str = app.wsgi_app.path  # type: ignore[attr-defined]  # of the layer
        return path


@pytest.mark.parametrize("mode", ["share", "fork"])
@pytest.mark.parametrize("fails", [False, True])
def test_path_that_a_layer_knows_once_it_was_called(mode: Any, fails: bool) -> None:
    def site() -> Client:
        app = flask.Flask("books")
        app.secret_key = SECRET
        app.session_interface = PathOfTheLayer()
        app.wsgi_app = Prefix(app.wsgi_app)  # type: ignore[method-assign]
        app.add_url_rule("/in", "in", lambda: flask.session.update(user_id="7") or "in")
        app.add_url_rule("/", "home", lambda: "home" if not fails else str(1 / 0))
        app.testing = True  # what fails is raised
        wrapped = OTTMiddleware(app, session=FlaskSession(app, mode=mode), backend=backend)
        return Client(wrapped, use_cookies=False)

    backend = MemoryBackend()
    source, target = site(), site()
    page = source.get("/in", headers={"X-Script-Name": "/books"})
    carried = {"Cookie": page.headers["Set-Cookie"].partition(";")[0]}
    token = source.get("/one-time-token/generate", headers=carried).json["token"]
    headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    # The first request of the process.
    page = target.get(f"/?ott={token}", headers={**headers, "X-Script-Name": "/books"})
    assert page.status_code == 303
    assert "Path=/books" in page.headers["Set-Cookie"]


def test_path_that_is_known_in_requests_alone() -> None:
    def site() -> Client:
        app = flask.Flask("books")
        app.secret_key = SECRET
        app.session_interface = PathOfTheRequest()
        app.add_url_rule("/in", "in", lambda: flask.session.update(user_id="7") or "in")
        app.add_url_rule("/", "home", lambda: flask.session.get("user_id", "nobody"))
        return Client(OTTMiddleware(app, backend=backend))

    backend = MemoryBackend()
    source, target = site(), site()
    source.get("/in")
    token = source.get("/one-time-token/generate").json["token"]
    headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert target.get(f"/?ott={token}", headers=headers).status_code == 303
    assert target.get("/").text == "7"


def test_cookie_has_the_app_s_attributes() -> None:
    config = {
        "SESSION_COOKIE_NAME": "sid",
        "SESSION_COOKIE_DOMAIN": "app.example",
        "SESSION_COOKIE_PATH": "/shop",
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_SAMESITE": "Strict",
        "SESSION_COOKIE_PARTITIONED": True,
        "SESSION_COOKIE_HTTPONLY": False,
    }
    adapter = FlaskSite(config=config).adapter
    assert adapter.strict
    assert adapter.cookie_names == ("sid",)
    [cookie] = adapter.establish(Session("s", "value", user_id="7"), asking(None))
    assert cookie.header()[1] == (
        f"sid=value; Max-Age={MONTH}; Domain=app.example; Path=/shop; Secure; SameSite=Strict; "
        "Partitioned"
    )
    plain = FlaskSite(config={"PERMANENT_SESSION_LIFETIME": timedelta(0)}).adapter
    assert not plain.strict
    [cookie] = plain.establish(Session("s", "value", user_id="7"), asking(None))
    assert cookie.header()[1] == "session=value; Path=/; HttpOnly"


def test_exposed_fields_are_those_that_are_named() -> None:
    site = FlaskSite(expose=["email"], data=["cart"])
    site.put(user_id=7, email="e", cart=[1], csrf="x")
    found = site.current()
    assert found is not None
    assert found.user == {"id": "7", "email": "e"}
    assert found.data == {"cart": [1]}
    assert str(site.cookie()) not in repr(found)


def test_user_of_another_site_gets_a_session_of_this_site(interface: Interface) -> None:
    source = FlaskSite(secret=OTHER, data=["cart"])
    target = FlaskSite(
        interface,
        backend=source.backend,
        data=["cart"],
        match=lambda s: {"user_id": int(s.user_id), "role": "guest"},
    )
    source.put(user_id=7, cart=[1], csrf="x")
    target.put(planted=1)
    before = target.cookie()
    target.open(source.token())
    assert target.cookie() != before
    assert target.values() == {"user_id": 7, "role": "guest", "cart": [1]}


def test_ids_name_a_server_s_session_by_its_key(stores: Stores) -> None:
    one, other = FlaskSite(stores.in_files), FlaskSite(stores.in_files)
    one.put(user_id=7)
    other.put(user_id=7)
    first, second = one.current(), other.current()
    assert first is not None
    assert second is not None
    assert first.id != second.id
    one.put(user_id=7, cart=1)
    again = one.current()
    assert again is not None
    assert again.id == first.id


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"app": object()}, "app: a object; pass the Flask app itself"),
        ({"data": ["_fresh"]}, "data: '_fresh' may name the signed-in user"),
        ({"data": ["_permanent"], "user": "who"}, "data: '_permanent' may name"),
        ({"mode": "steal"}, "mode: 'steal'"),
    ],
)
def test_arguments_that_cannot_work_are_refused(how: dict[str, Any], why: str) -> None:
    app = flask.Flask(__name__)
    app.secret_key = SECRET
    with pytest.raises(ConfigurationError) as caught:
        FlaskSession(**{"app": app, **how})
    assert why in str(caught.value)


def test_secret_key_is_needed(stores: Stores) -> None:
    app = flask.Flask(__name__)
    stores.in_files(app)
    with pytest.raises(ConfigurationError, match="SECRET_KEY: the Flask app has none"):
        FlaskSession.of_app(app)


# Interfaces that somebody else wrote.


class Lost(SessionInterface):
    """Opens no session, and sets no cookie."""

    def open_session(self, app: Any, request: Any) -> Any:
        return SecureCookieSession() if app.config.get("OPENS") else None

    def save_session(self, app: Any, session: Any, response: Any) -> None:
        response.set_cookie("another", "x")


class Verbatim(SecureCookieSessionInterface):
    """Keeps the user in the cookie as it stands, derived from Flask's own."""

    def open_session(self, app: Any, request: Any) -> Any:
        return SecureCookieSession({"user_id": request.cookies.get("session")})

    def get_expiration_time(self, app: Any, session: Any) -> datetime | None:
        return datetime(2999, 1, 1)  # without a time zone, as was the custom once


def test_interface_that_opens_nothing_or_sets_nothing() -> None:
    site = FlaskSite(lambda app: setattr(app, "session_interface", Lost()))
    assert site.current("anything") is None
    site.app.config["OPENS"] = True
    with pytest.raises(SessionUnavailable, match="sets no cookie of its name"):
        site.adapter.begin(Session("s", "", user_id="7"), asking(None))


def test_interface_that_is_derived_with_cookies_of_its_own() -> None:
    site = FlaskSite(lambda app: setattr(app, "session_interface", Verbatim()))
    site.client.set_cookie("session", "a;b")
    found = site.adapter.current(asking(r'"a\073b"'))
    assert found is not None
    assert found.user_id == "a;b"
    assert found.expires_at == datetime.fromisoformat("2999-01-01T00:00:00+00:00")
    again = site.adapter.resolve(site.adapter.expose(found))
    assert isinstance(again, Session)
    [cookie] = site.adapter.establish(again, asking(None))
    assert cookie.value == r'"a\073b"'


# Asked from the app's own view.


def test_view_sees_what_it_has_done_itself(interface: Interface) -> None:
    site = FlaskSite(interface)
    site.put(user_id=7)
    assert site.get("/token").get_json() == {"user_id": "7"}
    assert site.get("/token?user_id=").get_json() == {"user_id": None}
    assert site.get("/token?user_id=8").get_json() == {"user_id": None}
    assert site.get("/token").get_json() == {"user_id": "8"}


def test_view_that_asks_keeps_its_context(users: dict[str, User]) -> None:
    site = FlaskSite(users=users)
    site.sign_in("ada")
    site.torn_down.clear()
    assert site.get("/token").get_json() == {"user_id": "key-1"}
    assert site.torn_down == [None]


def test_view_s_context_is_not_taken_for_another_request(users: dict[str, User]) -> None:
    site = FlaskSite(users=users)
    site.sign_in("ada")
    session = site.current()
    assert session is not None
    with site.app.test_request_context("/", headers=BROWSER):
        flask_login.login_user(users["bob"])
        assert site.current().user_id == "key-1"  # type: ignore[union-attr]  # it is there
        assert site.adapter.current(asking(None)) is None
        resolved = site.adapter.resolve(site.adapter.expose(session))
        assert isinstance(resolved, Session)
        assert resolved.user_id == "key-1"


# Flask-Login.


def test_flask_login_is_asked_for_its_user(interface: Interface, users: dict[str, User]) -> None:
    source = FlaskSite(interface, users=users)
    target = FlaskSite(interface, users=users, backend=source.backend)
    source.refused()
    source.sign_in("ada")
    target.open(source.token())
    assert target.see()["user"] == "key-1"
    found = source.current()
    assert found is not None
    assert found.user == {"id": "key-1"}


def test_flask_login_response_that_signs_in_or_out_is_seen(
    interface: Interface, users: dict[str, User]
) -> None:
    source = FlaskSite(
        interface, users=users, revoke_on_sign_out=True, set_ott_header_on_new_session=True
    )
    target = FlaskSite(interface, users=users, backend=source.backend)
    offered = source.sign_in("ada").headers["set-ott"]
    assert "set-ott" not in source.get("/see").headers
    assert target.open(offered).status_code == 303
    token = source.token()
    source.sign_out()
    stranger = FlaskSite(interface, users=users, backend=source.backend)
    assert stranger.open(token).status_code == 400


def test_flask_login_attributes_of_the_user_are_exposed(users: dict[str, User]) -> None:
    site = FlaskSite(users=users, expose=["email", "id", "phone"])
    site.sign_in("ada")
    found = site.current()
    assert found is not None
    assert found.user == {"id": 1, "email": "user1@example.com"}


@pytest.mark.parametrize("how", ["gone", "inactive", "password"])
def test_flask_login_user_who_is_not_let_in_any_more(
    how: str, interface: Interface, users: dict[str, User]
) -> None:
    source = FlaskSite(interface, users=users)
    target = FlaskSite(interface, users=users, backend=source.backend)
    source.sign_in("ada")
    token = source.token()
    if how == "gone":
        del users["ada"]
    elif how == "inactive":
        users["ada"].enabled = False
    else:
        users["ada"].key = "another id, as with a new password"
    assert target.open(token).status_code == 400
    assert target.cookie() is None
    source.refused()


def test_flask_login_begins_the_fork(interface: Interface, users: dict[str, User]) -> None:
    # Flask-Login takes strong protection for basic where sessions are permanent.
    strong = {"SESSION_PROTECTION": "strong", "SESSION_PERMANENT": False}
    source = FlaskSite(interface, users=users, config=strong)
    how: dict[str, Any] = {"users": users, "backend": source.backend, "config": strong}
    target = FlaskSite(interface, mode="fork", **how)
    told: list[Any] = []

    def receiver(sender: Any, user: Any) -> None:
        told.append(user.key)

    flask_login.user_logged_in.connect(receiver, target.app)
    source.sign_in("ada")
    assert target.open(source.token()).status_code == 303
    assert told == ["key-1"]
    assert target.see()["user"] == "key-1"
    assert target.see()["fresh"] is True
    assert target.cookie() != source.cookie()
    # Strong protection: the new session is that browser's.
    stolen = str(target.cookie())
    other = target.adapter.current(asking(stolen, **{"user-agent": "Thief/1"}))
    assert other is None
    target.sign_out()
    assert target.see()["user"] is None
    assert source.see()["user"] == "key-1"


def test_flask_login_session_in_another_browser_is_not_fresh(users: dict[str, User]) -> None:
    source = FlaskSite(users=users)
    target = FlaskSite(users=users, backend=source.backend, mode="fork")
    source.sign_in("ada")
    token = source.token()
    target.client.get(f"/see?ott={token}", headers={**BROWSER, "User-Agent": "Other/1"})
    seen = target.client.get("/see", headers={**BROWSER, "User-Agent": "Other/1"}).get_json()
    assert (seen["user"], seen["fresh"]) == ("key-1", False)


@pytest.mark.parametrize("given", ["id", "user"])
def test_flask_login_user_of_another_site_is_not_fresh(given: str, users: dict[str, User]) -> None:
    source = FlaskSite(secret=OTHER)
    match = {"id": lambda s: f"key-{s.user_id}", "user": lambda s: users["ada"]}[given]
    target = FlaskSite(users=users, backend=source.backend, match=match)
    source.put(user_id=1)
    target.open(source.token())
    assert target.see()["user"] == "key-1"
    assert target.see()["fresh"] is False


@pytest.mark.parametrize(
    "match", [lambda s: "nobody", lambda s: {"_user_id": "key-1"}, lambda s: None]
)
def test_flask_login_user_who_is_unknown_is_refused(match: Any, users: dict[str, User]) -> None:
    source = FlaskSite(secret=OTHER)
    target = FlaskSite(users=users, backend=source.backend, match=match)
    source.put(user_id=1)
    assert target.open(source.token()).status_code == 400
    assert target.see()["user"] is None


def test_flask_login_user_deactivated_at_the_last_moment(users: dict[str, User]) -> None:
    site = FlaskSite(users=users)
    users["ada"].enabled = False
    for key in ("key-1", "nobody"):
        with pytest.raises(SessionNotFound):
            site.adapter.begin(Session("s", "", user_id=key), asking(None))


def test_flask_login_strong_protection_holds_for_a_stolen_cookie(users: dict[str, User]) -> None:
    site = FlaskSite(users=users, config={"SESSION_PROTECTION": "strong"})
    site.sign_in("ada")
    site.token()
    site.refused(**{"User-Agent": "Thief/1"})


def remembered(users: dict[str, User], **how: Any) -> FlaskSite:
    site = FlaskSite(users=users, **how)
    site.sign_in("ada", remember=True)
    site.client.delete_cookie("session")
    assert site.cookie("remember_token")
    return site


def test_remember_cookie_signs_in_but_not_fresh(
    interface: Interface, users: dict[str, User]
) -> None:
    source = remembered(users, interface=interface)
    target = FlaskSite(interface, users=users, backend=source.backend)
    answer = target.open(source.token())
    assert "remember_token" not in str(answer.headers.getlist("Set-Cookie"))
    seen = target.see()
    assert (seen["user"], seen["fresh"]) == ("key-1", False)
    users["ada"].enabled = False
    target_later = FlaskSite(interface, users=users, backend=source.backend)
    users["ada"].enabled = True
    token = source.token()
    users["ada"].enabled = False
    assert target_later.open(token).status_code == 400


def test_remember_cookie_that_is_forged_is_refused(users: dict[str, User]) -> None:
    site = remembered(users)
    good = str(site.cookie("remember_token"))
    for bad in ["", "x", "|", "key-1|", "key-1|é", good[:-1], good.replace("1", "2", 1)]:
        assert FlaskSite(users=users).refused(Cookie=f"remember_token={bad}") == "UNAUTHORIZED"
    site.client.delete_cookie("remember_token")
    site.put(cart=1)
    for session in (f"session={site.cookie()}", "session=x"):
        assert site.refused(Cookie=f"{session}; remember_token=key-1|é") == "UNAUTHORIZED"


def test_remember_cookie_without_flask_login(users: dict[str, User]) -> None:
    source = remembered(users)
    target = FlaskSite(backend=source.backend)
    assert target.open(source.token()).status_code == 400
    session = Session("s", json.dumps({"x": "y"}), user_id="key-1")
    assert source.adapter.alive(session) is None


def test_flask_login_request_loader_has_no_session(users: dict[str, User]) -> None:
    site = FlaskSite(users=users)
    manager = site.app.login_manager  # type: ignore[attr-defined]  # Flask-Login puts it there
    manager.request_loader(lambda request: users["bob"])
    site.put(cart=1)
    assert site.see()["user"] == "key-2"
    site.refused()
    # With no other loader, nobody is found at redemption either.
    site.sign_in("bob")
    manager._user_callback = None
    session = Session("s", str(site.cookie()), user_id="key-2")
    assert site.adapter.alive(session) is None


def test_flask_login_user_without_an_id_is_none(users: dict[str, User]) -> None:
    site = FlaskSite(users=users)
    site.sign_in("ada")
    users["ada"].get_id = lambda: None  # type: ignore[method-assign, assignment, return-value]  # broken on purpose
    session = Session("s", str(site.cookie()), user_id="key-1")
    assert site.adapter.alive(session) is None


def test_flask_login_loader_that_gives_another_user(users: dict[str, User]) -> None:
    site = FlaskSite(users=users)
    site.sign_in("ada")
    session = site.current()
    assert session is not None
    site.app.login_manager.user_loader(lambda key: users["bob"])  # type: ignore[attr-defined]  # Flask-Login puts it there
    assert site.current() is None
    assert site.adapter.resolve(site.adapter.expose(session)) is None


def test_flask_login_is_not_asked_with_the_user_option(users: dict[str, User]) -> None:
    site = FlaskSite(users=users, user="member")
    site.put(member=5)
    found = site.current()
    assert found is not None
    assert found.user_id == "5"
    site.sign_in("ada")
    assert site.current().user_id == "5"  # type: ignore[union-attr]  # it is there


# Between frameworks.


@pytest.mark.parametrize("signed_out", [False, True])
def test_source_of_a_starlette_site_is_asked(signed_out: bool, stores: Stores) -> None:
    source = FlaskSite(stores.in_files, expose=["email"], data=["cart"])
    there = StarletteSession(
        secret_key=OTHER, match="email", user="email", data=["cart"], sources=[source.adapter]
    )
    tokens = OneTimeTokens(source.backend, sessions=there)
    source.put(user_id=7, email="ada@example.com", cart=[1], csrf="x")
    token = source.token()
    if signed_out:
        source.put()
        with pytest.raises(SessionNotFound):
            tokens.verify(token)
        return
    session = tokens.verify(token)
    assert session.user_id == "ada@example.com"
    [cookie] = there.establish(session, asking(None))
    arrived = there.current(asking(cookie.value))
    assert arrived is not None
    assert arrived.user == {"id": "ada@example.com"}
    assert arrived.data == {"cart": [1]}


# The surroundings.


def test_threads_do_not_mix_users_up(interface: Interface) -> None:
    source = FlaskSite(interface)
    cookies = {}
    for number in range(8):
        source.client.delete_cookie("session")
        source.put(user_id=number + 1)
        cookies[str(number + 1)] = str(source.cookie())

    def ask(user_id: str) -> bool:
        found = source.current(cookies[user_id])
        return found is not None and found.user_id == user_id

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, list(cookies) * 25))


def test_adapter_works_outside_of_the_app() -> None:
    site = FlaskSite()
    site.put(user_id=7)
    tokens = OneTimeTokens(MemoryBackend(), sessions=site.adapter)
    session = site.current()
    assert session is not None
    arrived = tokens.verify(tokens.generate(session))
    # The same session, with its end among its values.
    assert arrived.token != site.cookie()
    again = site.current(arrived.token)
    assert again is not None
    assert (again.id, again.expires_at) == (session.id, session.expires_at)


def test_environ_is_made_of_either_kind_of_request() -> None:
    scope = make_scope(
        "POST",
        "/caf%C3%A9?x=1",
        {"user-agent": "b", "content-type": "text/plain"},
        b"body",
        mount="/m\xfc",
    )
    environ = environ_of(parse_request(scope))
    assert environ["REQUEST_METHOD"] == "POST"
    assert environ["PATH_INFO"] == "/caf\xc3\xa9"
    assert environ["SCRIPT_NAME"] == "/m\xc3\xbc"
    assert environ["QUERY_STRING"] == "x=1"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["HTTP_USER_AGENT"] == "b"
    assert environ["wsgi.input"].read() == b""
    assert not any("CONTENT" in name for name in environ)
    carrier = {"REMOTE_ADDR": "::1", "HTTP_COOKIE": "old=1", "CONTENT_LENGTH": "4", "x": 1}
    request = Request("GET", "https", "/", headers={"cookie": "new=1"}, carrier=carrier)
    environ = environ_of(request)
    assert environ["HTTP_COOKIE"] == "new=1"
    assert environ["REMOTE_ADDR"] == "::1"
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["SERVER_NAME"] == "localhost"
    assert "CONTENT_LENGTH" not in environ
