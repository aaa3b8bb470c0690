"""An app that calls the middleware around it, and what is looked for on the middleware."""

from __future__ import annotations

import asyncio
import copy
import traceback
from collections.abc import Callable
from typing import Any

import bottle
import pytest
import quart
from fastapi import FastAPI
from flask import Flask
from harness import Members, call_asgi, call_wsgi, make_environ, make_scope
from starlette.applications import Starlette
from werkzeug.middleware.proxy_fix import ProxyFix

from ott_middleware import ASGIMiddleware, ConfigurationError, OTTMiddleware, WSGIMiddleware


def wrap(app: Any, **options: Any) -> Any:
    return OTTMiddleware(app, session=Members(), **options)


def flask_app() -> Any:
    app = Flask(__name__)
    app.wsgi_app = wrap(app)  # type: ignore[method-assign]  # the mistake
    return app


def flask_app_with_more() -> Any:
    app = Flask(__name__)
    app.wsgi_app = ProxyFix(wrap(ProxyFix(app)))  # type: ignore[method-assign]  # the mistake
    return app


def watched_flask_app() -> Any:
    app = Flask(__name__)
    app.wsgi_app = wrap(app, set_ott_header_on_new_session=True)  # type: ignore[method-assign]  # the mistake
    return app


def bottle_app() -> Any:
    app = bottle.Bottle()
    app.wsgi = wrap(app)
    return app


def quart_app() -> Any:
    app = quart.Quart(__name__)
    app.asgi_app = wrap(app)  # type: ignore[method-assign]  # the mistake
    return app


def starlette_app() -> Any:
    app = Starlette()
    app.middleware_stack = wrap(app)
    return app


class Own(WSGIMiddleware):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        return super().__call__(environ, start_response)


def subclass() -> Any:
    app = Flask(__name__)
    app.wsgi_app = Own(app, session=Members())  # type: ignore[method-assign]  # the mistake
    return app


def call(app: Any, target: str = "/", method: str = "GET") -> Any:
    if asyncio.iscoroutinefunction(app.__call__):
        return asyncio.run(call_asgi(app, make_scope(method, target)))
    return call_wsgi(app, make_environ(method, target))


SELF_WRAPPED = [
    flask_app,
    flask_app_with_more,
    watched_flask_app,
    bottle_app,
    quart_app,
    starlette_app,
    subclass,
]


class TestAppAroundItself:
    @pytest.mark.parametrize("make", SELF_WRAPPED)
    def test_each_request_is_an_error_that_names_the_cure(self, make: Callable[[], Any]) -> None:
        app = make()
        for _ in range(3):
            with pytest.raises(ConfigurationError) as caught:
                call(app)
            assert "app.wsgi_app = OTTMiddleware(app.wsgi_app)" in str(caught.value)
            assert "application = OTTMiddleware(app)" in str(caught.value)
            # It can be read in a log.
            assert len(traceback.extract_tb(caught.value.__traceback__)) < 100

    @pytest.mark.parametrize("make", [flask_app, quart_app])
    def test_responses_of_the_middleware_itself_end_no_check(self, make: Callable[[], Any]) -> None:
        app = make()
        for target in ("/one-time-token/generate", "/?ott=short"):
            assert call(app, target, "POST" if "?" in target else "GET").status in (400, 401)
        with pytest.raises(ConfigurationError, match="again and again"):
            call(app)

    def test_flask_test_client_shows_it(self) -> None:
        with pytest.raises(ConfigurationError, match="again and again"):
            flask_app().test_client().get("/")

    def test_right_ways_respond(self) -> None:
        app = Flask(__name__)
        inside = app.wsgi_app = wrap(app.wsgi_app)  # type: ignore[method-assign]  # as documented
        assert app.test_client().get("/").status_code == 404
        assert call_wsgi(inside, make_environ()).status == 404
        assert call_wsgi(wrap(Flask(__name__)), make_environ()).status == 404
        other = quart.Quart(__name__)
        other.asgi_app = wrap(other.asgi_app)  # type: ignore[method-assign]  # as documented
        assert call(other).status == 404

    def test_app_that_asks_itself_once_more(self) -> None:
        """A redirect within the app is no endless chain, at the first request as at any later."""

        def app(environ: Any, start_response: Any) -> Any:
            if environ["PATH_INFO"] == "/":
                return wrapped({**environ, "PATH_INFO": "/there"}, start_response)
            start_response("200 OK", [])
            return [b"there"]

        wrapped = wrap(app)
        for _ in range(3):
            assert call_wsgi(wrapped, make_environ()).body == b"there"

    def test_first_response_ends_the_check(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        wrapped = wrap(app)
        before = type(wrapped).__call__
        call(wrapped)
        after = type(wrapped).__call__
        assert after is not before
        assert wrapped._respond is after
        call(wrapped)
        assert type(wrapped).__call__ is after

    def test_check_stays_while_the_app_fails(self) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            raise KeyError("x")

        wrapped = wrap(app)
        before = type(wrapped).__call__
        for _ in range(20):
            with pytest.raises(KeyError):
                call_wsgi(wrapped, make_environ())
        assert type(wrapped).__call__ is before


FLASK = ["run", "test_client", "route", "add_url_rule", "config", "cli", "before_request"]
FASTAPI = ["get", "include_router", "add_middleware", "state", "mount", "add_api_route"]
QUART = ["run", "test_client", "websocket"]


class TestAttributeOfTheApp:
    @pytest.mark.parametrize(
        ("app", "names", "line"),
        [
            (Flask(__name__), FLASK, "app.wsgi_app = OTTMiddleware(app.wsgi_app)"),
            (ProxyFix(Flask(__name__)), FLASK, "app.wsgi_app = OTTMiddleware(app.wsgi_app)"),
            (FastAPI(), FASTAPI, "app.add_middleware(OTTMiddleware)"),
            (quart.Quart(__name__), QUART, "app.asgi_app = OTTMiddleware(app.asgi_app)"),
            (bottle.Bottle(), ["run", "route"], "application = OTTMiddleware(app)"),
        ],
    )
    def test_error_names_the_cure(self, app: Any, names: list[str], line: str) -> None:
        wrapped = wrap(app)
        for name in names:
            with pytest.raises(AttributeError) as caught:
                getattr(wrapped, name)
            told = str(caught.value)
            assert f"has no attribute {name!r}: it is one of the app's" in told
            assert "Keep the app's own name" in told
            assert line in told
            assert "application = OTTMiddleware(app), and pass that to the server" in told

    def test_attribute_of_nothing_is_an_ordinary_error(self) -> None:
        for wrapped in (wrap(Flask(__name__)), wrap(FastAPI())):
            with pytest.raises(AttributeError) as caught:
                wrapped.nonsense  # noqa: B018 - looked for on purpose
            assert "one of the app's" not in str(caught.value)
            for name in ("__iter__", "__wrapped__", "nonsense"):
                assert not hasattr(wrapped, name)

    def test_copy_of_a_middleware_can_be_made(self) -> None:
        for wrapped in (wrap(Flask(__name__)), wrap(FastAPI())):
            assert copy.copy(wrapped).app is wrapped.app
        assert not hasattr(ASGIMiddleware.__new__(ASGIMiddleware), "app")
