"""The error of `session="auto"` knows the cookies of other frameworks."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask

from ott_middleware import ConfigurationError, OTTMiddleware
from ott_middleware.sessions.known_cookies import _KNOWN


def call(self: Any, environ: Any, start_response: Any) -> Any: ...


def app_of(module: str, name: str) -> Any:
    return type(name, (), {"__module__": module, "__call__": call})()


def function_of(module: str) -> Any:
    def dispatch_request(environ: Any, start_response: Any) -> Any: ...

    dispatch_request.__module__ = module
    return dispatch_request


def refusal_of(app: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        OTTMiddleware(app)
    return str(caught.value)


@pytest.fixture(autouse=True)
def nothing_else_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in _KNOWN:
        monkeypatch.delitem(sys.modules, each.module, raising=False)


# The shapes are those of the real apps (CherryPy 18.10, Trac 1.6, web.py 0.76, Beaker 1.14 …).
APPS = {
    "beaker": (app_of("beaker.middleware", "SessionMiddleware"), "beaker.session.id"),
    "pyramid": (app_of("pyramid.router", "Router"), "session"),
    "cherrypy": (app_of("cherrypy._cptree", "Application"), "session_id"),
    "cherrypy's tree": (app_of("cherrypy._cptree", "Tree"), "session_id"),
    "trac": (function_of("trac.web.main"), "trac_auth"),
    "web.py": (function_of("web.application"), "webpy_session_id"),
    "litestar": (app_of("litestar.app", "Litestar"), "session"),
    "quart": (app_of("quart.app", "Quart"), "session"),
    "datasette": (app_of("datasette.app", "DatasetteRouter"), "ds_actor"),
}
ADDED = {
    "quart_auth": "CookieSession('QUART_AUTH', probe='/path')",
    "fastapi_users": "CookieSession('fastapiusersauth', probe='/users/me')",
    "chainlit": "CookieSession('access_token', probe='/user')",
    "flask_jwt_extended": "CookieSession('access_token_cookie', probe='/path')",
}


class TestKnownCookies:
    @pytest.mark.parametrize(("app", "cookie"), APPS.values(), ids=APPS)
    def test_line_for_the_framework_of_the_app(self, app: Any, cookie: str) -> None:
        assert f"session=CookieSession({cookie!r}, probe='/path')" in refusal_of(app)

    @pytest.mark.parametrize(("app", "cookie"), APPS.values(), ids=APPS)
    def test_line_through_what_is_around_the_app(self, app: Any, cookie: str) -> None:
        def outer(environ: Any, start_response: Any) -> Any:
            return app(environ, start_response)

        assert f"session=CookieSession({cookie!r}, probe='/path')" in refusal_of(outer)

    @pytest.mark.parametrize("module", ADDED)
    @pytest.mark.parametrize("app", [FastAPI(), Flask("x"), function_of("shop")])
    def test_line_for_what_is_loaded(
        self, app: Any, module: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "This may be" not in refusal_of(app)
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
        assert f"This may be {ADDED[module]}" in refusal_of(app).replace(
            next(each.name for each in _KNOWN if each.module == module) + ": session=", ""
        )

    def test_names_are_listed_for_any_app(self) -> None:
        for app in (function_of("shop"), FastAPI(), Flask("x")):
            told = refusal_of(app)
            assert all(f"{each.name} {each.cookie!r}" in told for each in _KNOWN)
            assert len(told) < 1500

    def test_framework_with_a_similar_name_is_not_taken_for_it(self) -> None:
        for module in ("tracker.app", "web.app", "web", "litestars", "pyramid_scheme.router"):
            assert "This may be" not in refusal_of(function_of(module))

    def test_line_names_three_at_most(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for each in _KNOWN:
            monkeypatch.setitem(sys.modules, each.module, types.ModuleType(each.module))
        assert refusal_of(app_of("beaker.middleware", "SessionMiddleware")).count("probe=") == 4


class TestClassNames:
    def test_session_middleware_of_another_library_is_named_with_its_module(self) -> None:
        told = refusal_of(app_of("beaker.middleware", "SessionMiddleware"))
        assert "a beaker.middleware.SessionMiddleware" in told

    def test_nothing_of_the_object_is_shown(self) -> None:
        class Secretive:
            __call__ = call

            def __repr__(self) -> str:
                return "secret-of-the-app"

        assert "secret-of-the-app" not in refusal_of(Secretive())
