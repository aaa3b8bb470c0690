"""`session="auto"`: whose sessions an app has is found through whatever is wrapped round it."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from a2wsgi import WSGIMiddleware as FromWSGI
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from flask import Flask
from harness import call_asgi, make_scope
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.routing import Host, Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from ott_middleware import (
    ConfigurationError,
    FlaskSession,
    OTTMiddleware,
    SessionAdapter,
    StarletteSession,
)
from ott_middleware.sessions import detect as auto
from ott_middleware.sessions.detect import adapter_of, layers_of

SECRET = "s" * 32


def flask_app(secret: str | None = SECRET) -> Flask:
    app = Flask(__name__)
    app.secret_key = secret
    return app


def starlette_app(kind: type[Starlette] = Starlette) -> Starlette:
    app = kind()
    app.add_middleware(SessionMiddleware, secret_key=SECRET, session_cookie="sid")
    return app


class Slotted:
    __slots__ = ("app",)

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.app(environ, start_response)


class Lazy:
    """Would make its app if it was asked."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @property
    def app(self) -> Any:
        raise AssertionError("looking runs no code")

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.inner(environ, start_response)


def in_a_closure(app: Any, name: str = "shop") -> Callable[..., Any]:
    def middleware(environ: Any, start_response: Any) -> Any:
        environ["name"] = name
        return app(environ, start_response)

    return middleware


def decorated(app: Any) -> Callable[..., Any]:
    @functools.wraps(app)
    def middleware(*arguments: Any) -> Any:
        return app(*arguments)

    return middleware


def first(app: Any, environ: Any, start_response: Any) -> Any:
    return app(environ, start_response)


def in_a_closure_not_filled_yet(app: Any) -> Callable[..., Any]:
    def middleware(environ: Any, start_response: Any) -> Any:
        return app(environ, start_response), later

    if app is None:
        later = 1
    return middleware


def with_an_attribute(app: Any) -> Callable[..., Any]:
    def middleware(environ: Any, start_response: Any) -> Any:
        return middleware.app(environ, start_response)  # type: ignore[attr-defined]  # its own

    middleware.app = app  # type: ignore[attr-defined]  # read by name, in no closure of its own
    return middleware


WRAPPINGS: dict[str, Callable[[Any], Any]] = {
    "bare": lambda app: app,
    "partial": lambda app: functools.partial(app),
    "partial argument": lambda app: functools.partial(first, app),
    "closure": in_a_closure,
    "open closure": in_a_closure_not_filled_yet,
    "wraps": decorated,
    "attribute": with_an_attribute,
    "slots": Slotted,
    "class": Lazy,
    "deep": lambda app: Slotted(in_a_closure(functools.partial(Lazy(app)))),
}
FLASK = {
    **WRAPPINGS,
    "wsgi_app": lambda app: app.wsgi_app,
    "ProxyFix": lambda app: ProxyFix(app.wsgi_app),
    "ProxyFix in ProxyFix": lambda app: ProxyFix(ProxyFix(app.wsgi_app)),
    "Dispatcher": lambda app: DispatcherMiddleware(app, {}),
    "mounted": lambda app: DispatcherMiddleware(first, {"/shop": app}),
    "under ASGI": FromWSGI,
    "in Starlette": lambda app: Starlette(routes=[Mount("/shop", FromWSGI(app))]),
    "in FastAPI": lambda app: mounted_in(FastAPI(), FromWSGI(app)),
}
STARLETTE = {
    **WRAPPINGS,
    "CORS": lambda app: CORSMiddleware(app, allow_origins=["*"]),
    "GZip in CORS": lambda app: CORSMiddleware(GZipMiddleware(app), allow_origins=["*"]),
    "mounted": lambda app: Starlette(routes=[Mount("/shop", app)]),
    "by host": lambda app: Starlette(routes=[Host("shop.example", app)]),
    "mounted deep": lambda app: mounted_in(FastAPI(), mounted_in(FastAPI(), app)),
}


def mounted_in(outer: Any, app: Any) -> Any:
    outer.mount("/there", app)
    return outer


@pytest.mark.parametrize("wrap", FLASK.values(), ids=FLASK)
def test_flask_app_is_found(wrap: Callable[[Any], Any]) -> None:
    app = flask_app()
    adapter = adapter_of(wrap(app))
    assert isinstance(adapter, FlaskSession)
    assert adapter.app is app


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
@pytest.mark.parametrize("wrap", STARLETTE.values(), ids=STARLETTE)
def test_starlette_app_with_session_middleware_is_found(
    kind: type[Starlette], wrap: Callable[[Any], Any]
) -> None:
    adapter = adapter_of(wrap(starlette_app(kind)))
    assert isinstance(adapter, StarletteSession)
    assert adapter.cookie_names == ("sid",)


def test_starlette_session_middleware_alone_is_enough() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    wrapped = CORSMiddleware(SessionMiddleware(app, SECRET, session_cookie="own"))
    assert adapter_of(wrapped).cookie_names == ("own",)


def test_flask_app_that_wraps_its_own_wsgi_app() -> None:
    app = flask_app()
    app.wsgi_app = OTTMiddleware(app.wsgi_app)  # type: ignore[method-assign]  # as its documentation has it
    assert isinstance(app.wsgi_app.flow.options.adapter, FlaskSession)
    assert app.test_client().get("/one-time-token/generate").status_code == 401


# An app of one framework in one of another.


def test_layer_outermost_with_an_adapter_wins() -> None:
    inner = flask_app()
    outer = starlette_app()
    outer.mount("/shop", FromWSGI(inner))
    assert isinstance(adapter_of(outer), StarletteSession)
    assert isinstance(adapter_of(DispatcherMiddleware(inner, {"/x": outer})), FlaskSession)
    sessionless = Starlette(routes=[Mount("/shop", FromWSGI(inner))])
    assert isinstance(adapter_of(sessionless), FlaskSession)
    secretless = DispatcherMiddleware(flask_app(None), {"/x": outer})
    assert isinstance(adapter_of(secretless), StarletteSession)


def test_layer_outermost_says_why_there_is_no_adapter() -> None:
    outer = Starlette(routes=[Mount("/shop", FromWSGI(flask_app(None)))])
    with pytest.raises(ConfigurationError, match="has no SessionMiddleware"):
        adapter_of(outer)
    with pytest.raises(ConfigurationError, match=r"set app\.secret_key before the app is wrapped"):
        adapter_of(flask_app(None))
    with pytest.raises(ConfigurationError, match=r"CookieSession.*SealedSession.*one of your own"):
        adapter_of(FastAPI())


# `add_middleware(OTTMiddleware)` on the app itself: what is wrapped is a layer of its own stack.


def built(*middleware: Middleware, kind: type[Starlette] = Starlette) -> Any:
    app = kind()
    for each in middleware:
        app.add_middleware(each.cls, *each.args, **each.kwargs)
    return app


SESSIONS = Middleware(SessionMiddleware, secret_key=SECRET)


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
def test_layer_outside_of_session_middleware(kind: type[Starlette]) -> None:
    cors = Middleware(CORSMiddleware, allow_origins=["*"])
    app = built(SESSIONS, cors, Middleware(OTTMiddleware), kind=kind)
    answer = asyncio.run(call_asgi(app, make_scope("GET", "/one-time-token/generate")))
    assert answer.code == "UNAUTHORIZED"


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
def test_layer_inside_of_session_middleware_is_refused(kind: type[Starlette]) -> None:
    app = built(Middleware(OTTMiddleware), SESSIONS, kind=kind)
    with pytest.raises(ConfigurationError, match="let OTTMiddleware be outside of it"):
        asyncio.run(call_asgi(app, make_scope()))


# Everything else is told what to pass.


def quart() -> Any:
    return pytest.importorskip("quart").Quart(__name__)


def litestar() -> Any:
    return pytest.importorskip("litestar").Litestar()


def falcon() -> Any:
    return pytest.importorskip("falcon").App()


def falcon_asgi() -> Any:
    return pytest.importorskip("falcon.asgi").App()


def bottle() -> Any:
    return pytest.importorskip("bottle").Bottle()


def pyramid() -> Any:
    return pytest.importorskip("pyramid.config").Configurator().make_wsgi_app()


def plain() -> Any:
    return first


UNKNOWN = [quart, litestar, falcon, falcon_asgi, bottle, pyramid, plain]


@pytest.mark.filterwarnings("ignore")  # of the frameworks' own imports
@pytest.mark.parametrize("make", UNKNOWN)
def test_unknown_framework_is_told_what_to_pass(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        OTTMiddleware(make(), interface="asgi", session="auto")
    told = str(caught.value)
    for word in ("session='sessionid'", "CookieSession(", "SealedSession(secret)", "your own"):
        assert word in told
    if make is not plain:
        assert type(make()).__qualname__ in told or "Router" in told


@pytest.mark.filterwarnings("ignore")
def test_quart_is_not_taken_for_flask_though_it_is_built_on_it() -> None:
    app = quart()
    assert any(base.__module__.startswith("flask.") for base in type(app).__mro__)
    with pytest.raises(ConfigurationError, match="finds neither"):
        adapter_of(app)


@pytest.mark.parametrize("name", ["wsgi.WSGIHandler", "asgi.ASGIHandler"])
def test_django_is_found_by_its_handler(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, kind = name.partition(".")
    handler = type(kind, (), {"__module__": f"django.core.handlers.{module}", "__call__": first})
    made = SessionAdapter()
    stub = types.ModuleType("stub")
    stub.DjangoSession = types.SimpleNamespace(of_app=lambda app: made)  # type: ignore[attr-defined]  # a module that stands in for it
    monkeypatch.setattr(auto, "import_module", lambda name, package: stub)
    assert adapter_of(in_a_closure(handler())) is made


def test_adapter_that_cannot_be_imported_keeps_no_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # In an environment without the library: tests/sessions/test_alone.py.
    def without_itsdangerous(name: str, package: str) -> Any:
        raise ModuleNotFoundError("No module named 'itsdangerous'", name="itsdangerous")

    monkeypatch.setattr(auto, "import_module", without_itsdangerous)
    with pytest.raises(ConfigurationError, match=r"StarletteSession needs itsdangerous.*Sealed"):
        adapter_of(FastAPI())


def test_layers_that_contain_themselves_have_an_end() -> None:
    one, other = Slotted(None), Slotted(None)
    one.app, other.app = other, one
    assert list(layers_of(one)) == [one, other]
    endless: Any = first
    for _ in range(1000):
        endless = functools.partial(endless)
    many: Any = first
    for _ in range(1000):
        many = Slotted(many)
    assert len(list(layers_of(many))) == 200


@pytest.mark.parametrize(
    ("program", "used", "unused"),
    [
        (
            (
                "from flask import Flask\napp = Flask('x')\napp.secret_key = 's' * 32\n"
                "OTTMiddleware(app)"
            ),
            "flask",
            {"starlette", "fastapi", "django", "flask_login"},
        ),
        (
            (
                "from starlette.applications import Starlette\n"
                "from starlette.middleware.sessions import SessionMiddleware\n"
                "app = Starlette()\napp.add_middleware(SessionMiddleware, secret_key='s' * 32)\n"
                "OTTMiddleware(app)"
            ),
            "starlette",
            {"flask", "fastapi", "django", "flask_login"},
        ),
        (
            (
                "from ott_middleware import ConfigurationError\n"
                "try:\n    OTTMiddleware(lambda environ, start_response: [])\n"
                "except ConfigurationError: pass\n"
                "else: raise SystemExit('accepted')"
            ),
            "werkzeug",
            {"flask", "starlette", "fastapi", "django", "itsdangerous"},
        ),
    ],
)
def test_detection_imports_no_framework_that_the_app_does_not_use(
    program: str, used: str, unused: set[str]
) -> None:
    program = (
        f"import sys\nfrom ott_middleware import OTTMiddleware\n{program}\nprint(*sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert used in loaded
    assert not loaded & unused
