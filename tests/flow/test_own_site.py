"""Which site this is: `public_origin`, `handoff_targets`, and the host names of frameworks."""

from __future__ import annotations

import functools
import logging
from types import SimpleNamespace
from typing import Any

import django_project
import flask
import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings
from harness import HOST, Members, World, person
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount

from ott_middleware import ConfigurationError, OTTMiddleware, SealedSession
from ott_middleware.flow.own_site import OwnSite, listening_port
from ott_middleware.http import Cookie
from ott_middleware.http.messages import Request
from ott_middleware.http.origins import HandoffTarget, Origin, OriginPattern, is_loopback
from ott_middleware.http.urls import resolved_path
from ott_middleware.options import Options
from ott_middleware.sessions.base import SessionAdapter
from ott_middleware.sessions.flask.adapter import FlaskSession
from ott_middleware.sessions.hosts import exact_hosts, hosts_of, layers_with_hosts
from ott_middleware.sessions.starlette.adapter import StarletteSession

A, B, C = "https://a.example", "https://b.example", "https://c.example"
SECRET = "a secret of thirty-two characters"


class Sessions(SessionAdapter):
    def establish(self, session: Any, request: Any) -> list[Cookie]:
        return []


def site(app: object = None, **options: Any) -> OwnSite:
    return OwnSite(Options.build({"session": Sessions(), **options}, app))


def request(host: str | None, scheme: str = "https", **more: str) -> Request:
    headers = {**({} if host is None else {"host": host}), **more}
    return Request("GET", scheme, "/", headers=headers)


class TestPublicOrigin:
    @pytest.mark.parametrize(
        "given", [A, [A], (A,), {A}, frozenset([A]), iter([A]), [A, "HTTPS://A.example:443"]]
    )
    def test_one(self, given: Any) -> None:
        own = Options.build({"session": Sessions(), "public_origin": given}).own
        assert own == (Origin("https", "a.example", ""),)

    @pytest.mark.parametrize(
        "given",
        [[], (), [""], [A, None], [A, "app://x"], [A, f"{B}/"], [[A]], 7, {}, ["https://*.e.example"],
         "https://\u212a.example", [b"https://a.example"]],
    )  # fmt: skip
    def test_of_another_form(self, given: Any) -> None:
        with pytest.raises(ConfigurationError, match="public_origin: "):
            Options.build({"session": Sessions(), "public_origin": given})

    @pytest.mark.parametrize(
        ("listed", "host", "scheme", "own", "seen_as"),
        [
            ([A], "x.example", "http", A, "https"),
            ([A], None, "http", A, "https"),
            (["http://a.example"], "a.example", "https", "http://a.example", "http"),
            ([A, C], "c.example", "http", C, "https"),
            # None is named: where all are https, cookies stay Secure.
            ([A, C], "x.example", "http", None, "https"),
            ([A, C], None, "http", None, "https"),
            ([A, C], "a.example, c.example", "http", None, "https"),
            # Never less than what the server says.
            (["http://a.example", "http://c.example"], "x.example", "https", None, "https"),
            (["http://a.example", "http://c.example"], "x.example", "http", None, "http"),
            (["http://a.example", C], "x.example", "http", None, "http"),
            (["http://a.example", C], "x.example", "https", None, "https"),
            # One host by both schemes.
            (["http://a.example", A], "a.example", "https", A, "https"),
            (["http://a.example", A], "a.example", "http", "http://a.example", "http"),
            (["http://a.example", A], "a.example", "ws", "http://a.example", "http"),
        ],
    )
    def test_host_names_one_of_several(
        self, listed: list[str], host: str | None, scheme: str, own: str | None, seen_as: str
    ) -> None:
        here = site(public_origin=listed)
        asked = request(host, scheme)
        assert here.configured_origin(asked) == own
        found = here.same_origin(asked)
        assert (found and str(found)) == own
        assert here.scheme(asked) == seen_as

    def test_decides_the_origin_rule_and_secure(self, world: World) -> None:
        here = world.serve(public_origin=[A, C])
        for origin, host, status in (
            (A, "a.example", 200),
            (C, "c.example", 200),
            (C, "a.example", 403),
            ("https://x.example", "x.example", 403),
            ("http://a.example", "a.example", 403),
        ):
            answer = here.verify(here.token(), {"origin": origin, "host": host})
            assert answer.status == status, (origin, host)
            if status == 200:
                assert "Secure" in answer.cookie("sid")
        assert "Secure" in here.verify(here.token(), {"host": "x.example"}).cookie("sid")

    def test_is_no_name_of_the_query(self) -> None:
        with pytest.raises(ConfigurationError, match="query_param: 'audience'"):
            Options.build({"session": Sessions(), "query_param": "audience"})
        Options.build({"session": Sessions(), "query_param": "audience2"})


class TestHandoffTargets:
    @pytest.mark.parametrize(
        ("text", "prefix"),
        [
            (B, None),
            (f"{B}/", None),
            (f"{B}/app", "/app"),
            (f"{B}/app/", "/app/"),
            (f"{B}:8443/a.b/~c/d-e_f", "/a.b/~c/d-e_f"),
            ("https://*.b.example/app/", "/app/"),
            ("http://localhost:*/app/", "/app/"),
        ],
    )
    def test_entry(self, text: str, prefix: str | None) -> None:
        target = HandoffTarget.parse("x", text)
        assert target.prefix == prefix
        assert text.startswith(str(target.origin))

    @pytest.mark.parametrize(
        "text",
        [f"{B}//", f"{B}/a//b", f"{B}/a/../b", f"{B}/.", f"{B}/..", f"{B}/./a", f"{B}/a?b",
         f"{B}/a#b", f"{B}?", f"{B}/a%2fb", f"{B}/a\\b", f"{B}/a b", f"{B}/\u00fc", f"{B}/*",
         "app://x/y", "b.example/app", "/app", "https:///app", "https://*.com/app", "", 7, None],
    )  # fmt: skip
    def test_entry_of_another_form(self, text: Any) -> None:
        with pytest.raises(ConfigurationError, match="handoff_targets: "):
            Options.build({"session": Sessions(), "handoff_targets": [text]})

    def test_none_is_no_list(self) -> None:
        with pytest.raises(ConfigurationError, match="handoff_targets: None; pass a list"):
            Options.build({"session": Sessions(), "handoff_targets": None})

    @pytest.mark.parametrize("target", [A, f"{A}/app/", "HTTPS://A.example:443"])
    @pytest.mark.parametrize("public_origin", [A, [C, A]])
    def test_own_origin_is_refused(self, target: str, public_origin: Any) -> None:
        with pytest.raises(ConfigurationError, match=f"handoff_targets: {A} .*public_origin"):
            site(public_origin=public_origin, handoff_targets=[B, target])

    def test_other_origins_of_the_same_host_are_targets(self) -> None:
        site(public_origin=A, handoff_targets=[f"{A}:8443", B])
        site(public_origin="https://a.e.example", handoff_targets=["https://*.e.example"])

    @pytest.mark.parametrize("target", [B, f"{B}/app/", "http://b.example"])
    def test_host_name_of_the_framework_is_refused(self, target: str) -> None:
        class Named(Sessions):
            def own_hosts(self) -> tuple[str, ...]:
                return ("a.example", "b.example")

        with pytest.raises(ConfigurationError, match="pass public_origin="):
            site(session=Named(), handoff_targets=[target])
        site(session=Named(), handoff_targets=[target], public_origin=A)
        site(session=Named(), handoff_targets=[f"{B}:8443", "https://*.b.example"])

    def test_host_name_of_this_machine_is_not(self) -> None:
        class Named(Sessions):
            def own_hosts(self) -> tuple[str, ...]:
                return ("localhost", "127.0.0.1")

        site(session=Named(), handoff_targets=["http://localhost", "http://localhost:8002"])

    def test_names_that_can_t_be_had_yet_are_asked_for_later(self) -> None:
        class Broken(Sessions):
            def own_hosts(self) -> tuple[str, ...]:
                raise LookupError

        site(session=Broken(), handoff_targets=[B])

    @pytest.mark.parametrize(
        ("targets", "trusted", "shared"),
        [
            ([B], [B], [B]),
            ([f"{B}/app/"], [B], [B]),
            ([B, C], [C, B], [B, C]),
            (["https://x.w.example"], ["https://*.w.example"], ["https://x.w.example"]),
            (["https://*.w.example"], ["https://x.w.example"], ["https://*.w.example"]),
            (["https://*.w.example"], ["https://*.v.w.example"], ["https://*.w.example"]),
            (["https://*.v.w.example"], ["https://*.w.example"], ["https://*.v.w.example"]),
            (["http://localhost:*"], ["http://localhost:3000"], ["http://localhost:*"]),
            (["http://localhost:1"], ["http://localhost:*"], ["http://localhost:1"]),
            ([B], [C], []),
            ([B], ["http://b.example"], []),
            ([B], [f"{B}:8443"], []),
            (["https://w.example"], ["https://*.w.example"], []),
            (["https://*.w.example"], ["https://w.example"], []),
            (["https://*.w.example"], ["https://*.xw.example"], []),
        ],
    )
    def test_warning_of_trusted_origins(
        self,
        caplog: pytest.LogCaptureFixture,
        targets: list[str],
        trusted: list[str],
        shared: list[str],
    ) -> None:
        site(handoff_targets=targets, trusted_origins=trusted)
        lines = [r for r in caplog.records if r.levelno == logging.WARNING]
        assert len(lines) == bool(shared)
        for line in lines:
            assert line.message.startswith(f"handoff_targets: {', '.join(shared)} also in trusted")


def with_trusted_host(*hosts: str) -> Starlette:
    return Starlette(
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=[*hosts]),
            Middleware(SessionMiddleware, secret_key=SECRET),
        ]
    )


class TestFrameworkHosts:
    """Host names that the framework's configuration names, whatever the session adapter."""

    def names(self, app: Any) -> set[str]:
        return set(exact_hosts(hosts_of(layers_with_hosts(app))))

    def test_exact(self) -> None:
        given = ["A.example", "b.example:443", "c.example:80", "d.example:8000", "", None, 7]
        patterns = [".e.example", "*", "*.f.example", "g.*", "*:80"]
        assert exact_hosts([*given, *patterns]) == {
            "a.example",
            "b.example",
            "c.example",
            "d.example:8000",
        }

    @pytest.mark.parametrize("handler", [WSGIHandler, ASGIHandler])
    def test_django(self, handler: type) -> None:
        django_project.configure()
        app = handler.__new__(handler)
        layers = layers_with_hosts(lambda environ, start_response: app(environ, start_response))
        hosts = ["a.example", ".b.example", "*"]
        for more in ([], ["c.example"]):
            with override_settings(ALLOWED_HOSTS=[*hosts, *more]):
                assert exact_hosts(hosts_of(layers)) == {"a.example", *more}

    def test_django_session(self) -> None:
        django_project.configure()
        from ott_middleware.sessions.django.adapter import DjangoSession

        with override_settings(ALLOWED_HOSTS=["a.example", ".b.example"]):
            assert DjangoSession().own_hosts() == {"a.example"}

    def test_flask(self) -> None:
        app = flask.Flask("app")
        app.secret_key = SECRET
        adapter = FlaskSession(app)
        assert adapter.own_hosts() == self.names(app.wsgi_app) == set()
        app.config["SERVER_NAME"] = "A.example:5000"
        assert adapter.own_hosts() == self.names(app.wsgi_app) == {"a.example:5000"}
        app.config["TRUSTED_HOSTS"] = ["b.example", ".c.example"]
        assert adapter.own_hosts() == self.names(app) == {"a.example:5000", "b.example"}
        app.config["TRUSTED_HOSTS"] = "d.example"
        assert adapter.own_hosts() == self.names(app) == {"a.example:5000", "d.example"}

    def test_starlette(self) -> None:
        app = with_trusted_host("a.example", "*.b.example")
        for adapter in (StarletteSession(app), StarletteSession.of_app(app)):
            assert adapter.own_hosts() == {"a.example"}
        assert self.names(app) == {"a.example"}
        assert self.names(app.build_middleware_stack()) == {"a.example"}
        assert self.names(TrustedHostMiddleware(app, ["c.example"])) == {"a.example", "c.example"}
        assert self.names(Starlette()) == set()
        without = StarletteSession(secret_key=SECRET)
        assert without.own_hosts() == frozenset()

    def test_starlette_middleware_in_other_forms(self) -> None:
        app = Starlette()
        app.add_middleware(TrustedHostMiddleware)
        assert self.names(app) == set()
        made = functools.partial(TrustedHostMiddleware, allowed_hosts=["a.example"])
        entries = [
            SimpleNamespace(cls=made, args=(), kwargs={}),
            SimpleNamespace(cls=TrustedHostMiddleware, args=(["b.example"],), kwargs={}),
            SimpleNamespace(cls=lambda app, allowed_hosts: app, args=(["x.example"],), kwargs={}),
        ]
        app.user_middleware = entries  # type: ignore[assignment]  # as older and newer versions have it
        assert self.names(app) == {"a.example", "b.example"}

    def test_mounted_app_names_no_host_of_the_site(self) -> None:
        inner = with_trusted_host("inner.example")
        app = Starlette(routes=[Mount("/inner", app=inner)])
        assert self.names(app) == self.names(app.router) == set()

    def test_other_apps_name_none(self) -> None:
        assert self.names(lambda environ, start_response: []) == set()

    def test_counts_for_any_adapter(self) -> None:
        app = flask.Flask("app")
        app.config["SERVER_NAME"] = "a.example"
        wrapped: Any = OTTMiddleware(app.wsgi_app, session=SealedSession(SECRET))
        own = wrapped.flow.services.site
        assert own.configured_origin(request("a.example")) == A
        assert own.configured_origin(request("b.example")) is None
        with pytest.raises(ConfigurationError, match="pass public_origin="):
            OTTMiddleware(app.wsgi_app, session=SealedSession(SECRET), handoff_targets=[A])

    def test_default_is_none(self) -> None:
        assert Sessions().own_hosts() == ()

    def test_redeems_what_is_bound_to_it(self, world: World) -> None:
        here = world.serve(session=Members(person("alice")))
        assert here.verify(here.token(audience=f"https://{HOST}")).status == 200


class TestOriginRule:
    def test_is_not_the_binding(self, world: World) -> None:
        # A page at a Host that is configured nowhere is of the same origin; what it may redeem is
        # bound to nothing.
        here = world.serve()
        page = {"host": "any.example", "origin": "http://any.example"}
        assert here.verify(here.token(), page).status == 200
        assert here.verify(here.token(audience="http://any.example"), page).status == 400


@pytest.mark.parametrize(
    ("carrier", "port"),
    [
        ({"server": ("127.0.0.1", 8000)}, 8000),
        ({"server": ["127.0.0.1", 8000]}, 8000),
        ({"server": ("/run/app.sock", None)}, None),
        ({"server": ("/run/app.sock",)}, None),
        ({"server": None}, None),
        ({"server": "x:1"}, None),
        ({"SERVER_PORT": "8000"}, "8000"),
        ({}, None),
    ],
)
def test_listening_port(carrier: dict[str, Any], port: Any) -> None:
    assert listening_port(Request("GET", "http", "/", carrier=carrier)) == port


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (B, "/"),
        (f"{B}?a", "/"),
        (f"{B}/a/b", "/a/b"),
        (f"{B}/a/b/", "/a/b/"),
        (f"{B}/a/../b", "/b"),
        (f"{B}/../../a", "/a"),
        (f"{B}/a/..", "/"),
        (f"{B}/a/b/%2E%2e", "/a/"),
        (f"{B}/a/.", "/a/"),
        (f"{B}/a/%2e/b", "/a/b"),
        (f"{B}/a//b/../c", "/a//c"),
        (f"{B}/a/...", "/a/..."),
        (f"{B}/a/%2e%2e%2e", "/a/%2e%2e%2e"),
        (f"{B}/a/\ud800", "/a/\ud800"),
        (f"{B}/a/%2f..", None),
    ],
)
def test_path_as_a_browser_resolves_it(url: str, path: str | None) -> None:
    assert resolved_path(url) == path


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost.", True),
        ("a.b.localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("[::1]", True),
        ("localhost..", False),
        (".localhost", False),
        ("localhost.example", False),
        ("xlocalhost", False),
        ("127.0.0", False),
        ("127.0.0.01", False),
        ("127.0.0.1.1", False),
        ("1270.0.0.1", False),
        ("[::]", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_pattern_as_text() -> None:
    for text in ("https://b.example", "https://*.b.example:*", "app://x", "http://b.example:81"):
        assert str(OriginPattern.parse("x", text)) == text
