"""Flask apps that prepare each request: by `before_request`, `g`, the host, a tenant's session."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urljoin

import flask
import flask_login
import pytest
import quart
from flask.sessions import SecureCookieSessionInterface
from harness import Answer
from visitor import forms_of
from werkzeug.test import Client, TestResponse

from ott_middleware import CookieSession, FlaskSession, OTTMiddleware, SealedSession
from ott_middleware.http import Request
from ott_middleware.interfaces.wsgi_probe import WSGIProbe
from ott_middleware.sessions.app_context import in_app_context
from ott_middleware.sessions.base import UserSession
from ott_middleware.sessions.lifetime import END_KEY

SECRET = "s" * 32
TENANTS = {"a.example": {"7": "ada"}, "b.example": {"7": "bob", "8": "eve"}}
PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


class User(flask_login.UserMixin):  # type: ignore[misc]  # its base has no types
    def __init__(self, user_id: str, name: str) -> None:
        self.id, self.name = user_id, name


def make_app(secret: str = SECRET) -> flask.Flask:
    """An app that signs users in at /in/ID, and tells the signed-in user at /."""
    app = flask.Flask("shop")
    app.secret_key = secret

    @app.get("/in/<user_id>")
    def sign_in(user_id: str) -> str:
        flask.session["user_id"] = user_id
        return "in"

    @app.route("/", methods=["GET", "POST"])
    @app.get("/admin/page", endpoint="admin.page")
    def page() -> str:
        return str(flask.session.get("user_id"))

    @app.get("/token")
    def token() -> str:
        made: str = flask.request.environ["ott.handle"].generate()
        return made

    return app


def with_login(app: flask.Flask, load: Callable[[str], Any]) -> None:
    manager = flask_login.LoginManager(app)
    manager.user_loader(load)
    app.add_url_rule(
        "/login/<user_id>",
        "login",
        lambda user_id: str(flask_login.login_user(load(user_id))),
    )
    app.add_url_rule("/me", "me", lambda: getattr(flask_login.current_user, "name", "none"))


class Site:
    """A wrapped app, and one browser for each host."""

    def __init__(self, app: flask.Flask, host: str = "a.example", **options: Any) -> None:
        self.app, self.host = app, host
        self.adapter = FlaskSession(app, **options)
        self.wrapped = OTTMiddleware(
            app,
            session=self.adapter,
            public_origin=[f"http://{name}" for name in TENANTS],
        )
        self.client = Client(self.wrapped)

    def ask(self, path: str, method: str = "GET", **options: Any) -> TestResponse:
        base = f"http://{options.pop('host', self.host)}/"
        return self.client.open(path, method=method, base_url=base, **options)

    def text(self, path: str, **options: Any) -> str:
        return self.ask(path, **options).get_data(as_text=True)

    def generate(self, **options: Any) -> TestResponse:
        return self.ask("/one-time-token/generate", **options)

    def token(self, **options: Any) -> str:
        response = self.generate(**options)
        assert response.status_code == 200, response.get_data(as_text=True)
        made: str = response.get_json()["token"]
        return made

    def follow(self, token: str, path: str = "/", **options: Any) -> TestResponse:
        return self.ask(f"{path}?ott={token}", headers=PAGE, **options)

    def stranger(self) -> Site:
        other = object.__new__(Site)
        other.__dict__.update(self.__dict__, client=Client(self.wrapped))
        return other


def round_trip(site: Site, sign_in: str = "/in/7", page: str = "/", **options: Any) -> str:
    """Sign in, hand the session to another browser, and return what its page says."""
    site.ask(sign_in, **options)
    stranger = site.stranger()
    response = stranger.follow(site.token(**options), **options)
    assert response.status_code == 303, response.get_data(as_text=True)
    return stranger.text(page, **options)


class TestBeforeRequest:
    def test_database_is_opened_before_it_is_closed(self) -> None:
        app, opened, closed = make_app(), [], []

        @app.before_request
        def open_database() -> None:
            flask.g.database = object()
            opened.append(1)

        @app.teardown_request
        def close_database(error: BaseException | None) -> None:
            del flask.g.database
            closed.append(1)

        with_login(app, lambda user_id: User(user_id, "ada") if flask.g.database else None)
        for mode in ("share", "fork"):
            assert round_trip(Site(app, mode=mode), "/login/7", "/me") == "ada"
        assert len(opened) == len(closed)

    def test_strangers_may_be_refused(self) -> None:
        app = make_app()

        @app.before_request
        def refuse_strangers() -> None:
            if "user_id" not in flask.session and not flask.request.path.startswith("/in/"):
                flask.abort(401)

        for mode in ("share", "fork"):
            site = Site(app, mode=mode)
            assert site.generate().status_code == 401
            assert round_trip(site) == "7"

    @pytest.mark.parametrize("responds", ["aborts", "redirects"])
    def test_user_that_the_app_does_not_serve_gets_no_token(
        self, responds: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        app, banned = make_app(), set()

        @app.before_request
        def refuse_banned() -> Any:
            if flask.session.get("user_id") not in banned:
                return None
            return flask.abort(403) if responds == "aborts" else flask.redirect("/sorry")

        site = Site(app)
        site.ask("/in/7")
        assert site.generate().status_code == 200
        banned.add("7")
        caplog.set_level("DEBUG", "ott_middleware")
        assert site.generate().status_code == 401
        assert "a before_request function of the app responded" in caplog.text

    def test_protection_of_forms_is_no_response(self) -> None:
        app = make_app()

        @app.before_request
        def protect_forms() -> None:
            if flask.request.method == "POST" and "csrf" not in flask.request.form:
                flask.abort(400)

        site = Site(app)
        site.ask("/in/7")
        cookie = site.client.get_cookie("session", domain="a.example")
        assert cookie is not None
        headers = {"host": "a.example", "cookie": f"session={cookie.value}"}
        found = site.adapter.current(Request("POST", "http", "/", headers=headers))
        assert found is not None
        assert found.user_id == "7"

    def test_failure_is_none_of_the_session(self) -> None:
        app, broken = make_app(), []

        @app.before_request
        def fail() -> None:
            if broken:
                raise KeyError("secret")

        site = Site(app)
        site.ask("/in/7")
        token = site.token()
        broken.append(1)
        assert site.generate().status_code == 503
        assert site.stranger().follow(token).status_code == 503

    def test_page_that_is_kept_from_a_visitor_does_not_replace_the_session(self) -> None:
        """An attacker chooses the path of a link."""
        app = make_app()

        @app.before_request
        def admins_only() -> None:
            if flask.request.endpoint == "admin.page":
                flask.abort(403)

        site = Site(app)
        attacker = site.stranger()
        site.ask("/in/7")
        attacker.ask("/in/66")
        assert "Switch user?" in site.follow(attacker.token(), "/admin/page").get_data(as_text=True)
        assert site.text("/") == "7"

    def test_new_session_has_no_value_of_a_visitors(self) -> None:
        app = make_app()

        @app.before_request
        def mark() -> None:
            flask.session["visitor"] = True

        site = Site(app, mode="fork")
        site.ask("/in/7")
        response = site.stranger().follow(site.token())
        cookie = response.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
        serializer: Any = SecureCookieSessionInterface().get_signing_serializer(app)
        assert set(serializer.loads(cookie)) == {"user_id", "_permanent", END_KEY}

    def test_user_whom_the_app_finds_by_other_means_has_no_session(self) -> None:
        app = make_app()

        @app.before_request
        def trust_the_network() -> None:
            flask_login.login_user(User("66", "admin"))

        with_login(app, lambda user_id: User(user_id, "ada"))
        site = Site(app)
        serializer: Any = SecureCookieSessionInterface().get_signing_serializer(app)
        site.client.set_cookie("session", serializer.dumps({"visits": 1}), domain="a.example")
        assert site.generate().status_code == 401

    def test_forms_protection_does_not_hide_the_session(self) -> None:
        app = make_app()

        @app.before_request
        def protect_forms() -> None:
            if flask.request.method == "POST" and "csrf" not in flask.request.form:
                flask.abort(400)

        site = Site(app)
        other = site.stranger()
        site.ask("/in/7")
        other.ask("/in/8")
        path = f"/?ott={other.token()}"
        response = site.ask(path, "POST", data={"csrf": "x"}, headers={"Accept": "text/html"})
        assert response.status_code == 409
        assert site.text("/") == "7"

    def test_forms_protection_lets_the_account_switch_pass(self) -> None:
        app = make_app()

        @app.before_request
        def protect_forms() -> None:
            if flask.request.method == "POST" and "csrf" not in flask.request.form:
                flask.abort(400)

        site = Site(app)
        other = site.stranger()
        site.ask("/in/7")
        other.ask("/in/8")
        page = Answer(200, [], site.follow(other.token()).get_data())
        form = next(form for form in forms_of(page) if form.fields["choice"] == "switch")
        headers = {"Origin": "http://a.example", "Sec-Fetch-Site": "same-origin"}
        url = urljoin("/", form.action)
        assert site.ask(url, "POST", data=form.fields, headers=headers).status_code == 303
        assert site.text("/") == "8"


class TestTenants:
    @staticmethod
    def make_app(choose: Callable[[], str]) -> flask.Flask:
        app = make_app()

        @app.before_request
        def choose_tenant() -> None:
            flask.g.users = TENANTS[choose()]

        def load(user_id: str) -> Any:
            name = flask.g.users.get(user_id)
            return name and User(user_id, name)

        with_login(app, load)
        return app

    @pytest.mark.parametrize("mode", ["share", "fork"])
    def test_host(self, mode: Any) -> None:
        site = Site(self.make_app(lambda: flask.request.host), mode=mode, expose=["name"])
        for host, name in (("a.example", "ada"), ("b.example", "bob")):
            assert round_trip(site, "/login/7", "/me", host=host) == name
        # A user of one tenant only.
        site.ask("/login/8", host="b.example")
        token = site.token(host="b.example")
        assert site.stranger().follow(token, host="a.example").status_code == 400

    def test_header(self) -> None:
        site = Site(self.make_app(lambda: flask.request.headers["X-Tenant"]), mode="fork")
        for tenant, name in (("a.example", "ada"), ("b.example", "bob")):
            headers = {"X-Tenant": tenant}
            site.ask("/login/7", headers=headers)
            token = site.generate(headers=headers).get_json()["token"]
            stranger = site.stranger()
            response = stranger.ask(f"/?ott={token}", headers={**PAGE, **headers})
            assert response.status_code == 303
            assert stranger.text("/me", headers=headers) == name

    def test_path(self) -> None:
        app = make_app()

        @app.url_value_preprocessor
        def pull_tenant(endpoint: str | None, values: dict[str, Any] | None) -> None:
            flask.g.tenant = (values or {}).pop("tenant", None)

        app.add_url_rule("/of/<tenant>", "of", lambda: flask.g.tenant)
        with_login(app, lambda user_id: User(user_id, f"{user_id} of {flask.g.tenant}"))
        site = Site(app, mode="fork")
        site.ask("/login/7")
        stranger = site.stranger()
        assert stranger.follow(site.token(), "/of/north").status_code == 303
        assert stranger.text("/of/north") == "north"

    def test_session_interface(self) -> None:
        class ByTenant(SecureCookieSessionInterface):
            def get_signing_serializer(self, app: flask.Flask) -> Any:
                self.salt = f"cookie-session {flask.request.host}"
                return super().get_signing_serializer(app)

        app = make_app()
        app.session_interface = ByTenant()
        site = Site(app, mode="fork")
        for host in TENANTS:
            assert round_trip(site, host=host) == "7"

    def test_source_is_not_asked_under_this_sites_host(self) -> None:
        """A source is another app: its tenant is none of this request's."""
        source_app = self.make_app(
            lambda: "a.example" if flask.request.host in ("localhost", "a.example") else "none"
        )
        source = Site(source_app)
        target_app = make_app("another " * 4)
        target = Site(
            target_app, "b.example", match="id", sources=[FlaskSession(source_app, mode="fork")]
        )
        source.ask("/login/7")
        token = source.token()
        session = source.wrapped._services.tokens.verify(token)
        exposed = source.adapter.expose(session)
        found = target.adapter.resolve(exposed)
        assert found is not None
        assert found.user_id == "7"


class TestFlaskLoginForks:
    def test_vendored_login_manager_is_not_flask_logins(self) -> None:
        """Calibre-Web has its own copy, with the class's name and the session's keys."""
        app = make_app()
        app.login_manager = type(  # type: ignore[attr-defined]  # what such copies do
            "LoginManager", (), {"__module__": "cps.cw_login.login_manager"}
        )()

        @app.get("/enter/<user_id>")
        def enter(user_id: str) -> str:
            flask.session.update(_user_id=user_id, _fresh=True)
            return "in"

        app.add_url_rule("/who", "who", lambda: str(flask.session.get("_user_id")))
        for mode in ("share", "fork"):
            assert round_trip(Site(app, mode=mode), "/enter/7", "/who") == "7"

    def test_class_derived_from_flask_logins_is(self) -> None:
        app = make_app()
        with_login(app, lambda user_id: User(user_id, "ada"))
        app.login_manager.__class__ = type("Own", (flask_login.LoginManager,), {})  # type: ignore[attr-defined]  # Flask-Login puts it there
        assert FlaskSession(app)._login() is not None

    def test_library_need_not_be_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        app = make_app()
        app.login_manager = object()  # type: ignore[attr-defined]  # of an extension of another name
        monkeypatch.setitem(sys.modules, "flask_login", None)  # type: ignore[arg-type]  # not installed
        assert round_trip(Site(app)) == "7"


class TestMatch:
    @staticmethod
    def arrive(match: Any, load: Callable[[str], Any] | None = None) -> str:
        source, app = Site(make_app()), make_app("another " * 4)
        if load is not None:
            with_login(app, load)

        @app.before_request
        def choose_tenant() -> None:
            flask.g.users = {"7": "70"}

        target = Site(app, match=match)
        source.ask("/in/7")
        source_tokens = source.wrapped._services.tokens
        session = source.adapter.expose(source_tokens.verify(source.token()))
        found: Any = target.adapter.resolve(session)
        if asyncio.iscoroutine(found):
            found = asyncio.run(found)
        assert found is not None
        user: str = found.user_id
        return user

    def test_function_sees_the_app_as_a_view_does(self) -> None:
        def match(session: UserSession) -> Any:
            assert flask.current_app.name == "shop"
            return flask.g.users[session.user_id]

        assert self.arrive(match) == "70"

    def test_coroutine_function_has_the_apps_context(self) -> None:
        async def match(session: UserSession) -> Any:
            await asyncio.sleep(0)
            assert flask.current_app.name == "shop"
            return "70"

        assert self.arrive(match) == "70"

    def test_user_of_a_coroutine_function_is_loaded_as_in_a_view(self) -> None:
        async def match(session: UserSession) -> Any:
            return "7"

        assert self.arrive(match, lambda user_id: User(flask.g.users[user_id], "ada")) == "70"

    def test_view_keeps_its_own_context(self) -> None:
        app = make_app("another " * 4)
        adapter = FlaskSession(app, match=lambda session: flask.g.user)
        source = Site(make_app())
        source.ask("/in/7")
        exposed = source.adapter.expose(source.wrapped._services.tokens.verify(source.token()))
        with app.test_request_context():
            flask.g.user = "70"
            found: Any = adapter.resolve(exposed)
        assert found.user_id == "70"


def calling(app: Any) -> Any:
    """What `bind` gets for a wrapped app."""
    return WSGIProbe(app).call_app


class TestSealedSession:
    @pytest.mark.parametrize("waits", [False, True])
    def test_match_has_the_apps_context(self, waits: bool) -> None:
        def match(session: UserSession) -> Any:
            return {"id": f"{session.user_id} of {flask.current_app.name}"}

        async def match_async(session: UserSession) -> Any:
            await asyncio.sleep(0)
            return match(session)

        source = Site(make_app())
        source.ask("/in/7")
        exposed = source.adapter.expose(source.wrapped._services.tokens.verify(source.token()))
        adapter = SealedSession("another " * 4, match=match_async if waits else match)
        OTTMiddleware(make_app(), session=adapter)
        found: Any = adapter.resolve(exposed)
        if asyncio.iscoroutine(found):
            found = asyncio.run(found)
        assert found.user_id == "7 of shop"


class TestValidate:
    @pytest.mark.parametrize("wrap", ["app", "wsgi_app"])
    @pytest.mark.parametrize("waits", [False, True])
    def test_flask(self, wrap: str, waits: bool) -> None:
        def look_up(values: Mapping[str, str]) -> Any:
            return {"user_id": flask.current_app.name}

        async def look_up_async(values: Mapping[str, str]) -> Any:
            await asyncio.sleep(0)
            return look_up(values)

        app = make_app()
        adapter = CookieSession("sid", validate=look_up_async if waits else look_up)
        wrapped = OTTMiddleware(app if wrap == "app" else app.wsgi_app, session=adapter)
        app.add_url_rule(
            "/user", "user", lambda: str(flask.request.environ["ott.handle"].session.user_id)
        )
        client = Client(wrapped)
        client.set_cookie("sid", "cookie-of-ada", domain="localhost")
        assert client.get("/one-time-token/generate").status_code == 200
        assert client.get("/user").get_data(as_text=True) == "shop"

    def test_view_keeps_its_own_context(self) -> None:
        app = make_app()
        with app.app_context():
            flask.g.found = "kept"
            assert in_app_context(lambda: flask.g.found, calling(app))() == "kept"

    def test_whether_it_blocks_is_kept(self) -> None:
        def quick(values: Any) -> None: ...

        quick.blocks = False  # type: ignore[attr-defined]  # a function's own word
        wrapped: Any = in_app_context(quick, calling(make_app()))
        assert wrapped.blocks is False
        assert in_app_context(quick, calling(object())) is quick
        assert in_app_context(quick, print) is quick

    def test_quart(self) -> None:
        app = quart.Quart("shop")

        async def look_up(values: Any) -> Any:
            return {"user_id": quart.current_app.name}

        assert asyncio.run(in_app_context(look_up, calling(app))({})) == {"user_id": "shop"}
        assert in_app_context(len, calling(app)) is len
