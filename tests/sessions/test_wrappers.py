"""`session="auto"` sees through the layers of monitoring and of bridges."""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from a2wsgi import ASGIMiddleware as ASGIToWSGI
from a2wsgi import WSGIMiddleware as WSGIToASGI
from asgiref.wsgi import WsgiToAsgi
from flask import Flask
from services import absent
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware
from starlette.routing import Mount
from werkzeug.debug import DebuggedApplication
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.profiler import ProfilerMiddleware
from werkzeug.middleware.shared_data import SharedDataMiddleware

from ott_middleware import FlaskSession, StarletteSession
from ott_middleware.sessions.detect import adapter_of
from ott_middleware.sessions.layers import layers_of

SECRET = "s" * 32


def wsgi_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = SECRET
    return app


def asgi_app() -> Starlette:
    app = Starlette()
    app.add_middleware(SessionMiddleware, secret_key=SECRET)
    return app


def real(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        absent(f"{module} is not installed: {error}")


def is_found(app: Any) -> bool:
    return isinstance(adapter_of(app), (FlaskSession, StarletteSession))


def call_through(wrapped: Any, instance: Any, args: Any, keywords: Any) -> Any:
    return wrapped(*args, **keywords)


def wrapt_proxy(app: Any) -> Any:
    return real("wrapt").CallableObjectProxy(app)


def wrapt_decorator(app: Any) -> Any:
    # What New Relic's agent makes of an app.
    return real("wrapt").decorator(call_through)(app)


def wrapt_function_wrapper(app: Any) -> Any:
    return real("wrapt").FunctionWrapper(app, call_through)


def socketio_asgi(app: Any) -> Any:
    socketio = real("socketio")
    return socketio.ASGIApp(socketio.AsyncServer(async_mode="asgi"), other_asgi_app=app)


def engineio_asgi(app: Any) -> Any:
    engineio = real("engineio")
    return engineio.ASGIApp(engineio.AsyncServer(async_mode="asgi"), other_asgi_app=app)


def socketio_wsgi(app: Any) -> Any:
    socketio = real("socketio")
    return socketio.WSGIApp(socketio.Server(async_mode="threading"), app)


def sentry_asgi(app: Any) -> Any:
    return real("sentry_sdk.integrations.asgi").SentryAsgiMiddleware(app)


def sentry_wsgi(app: Any) -> Any:
    return real("sentry_sdk.integrations.wsgi").SentryWsgiMiddleware(app)


def opentelemetry_asgi(app: Any) -> Any:
    return real("opentelemetry.instrumentation.asgi").OpenTelemetryMiddleware(app)


def opentelemetry_wsgi(app: Any) -> Any:
    return real("opentelemetry.instrumentation.wsgi").OpenTelemetryMiddleware(app)


def attribute(name: str) -> Callable[[Any], Any]:
    """A layer that keeps the app in an attribute; ddtrace's two use `app`."""

    def wrap(app: Any) -> Any:
        layer = type("Layer", (), {"__call__": lambda self, *request: None})()
        setattr(layer, name, app)
        return layer

    return wrap


class ObjectProxy:
    """As wrapt without its C extension: the attributes of the proxy itself are hidden."""

    def __init__(self, wrapped: Any) -> None:
        object.__setattr__(self, "__wrapped__", wrapped)

    def __call__(self, *request: Any) -> Any: ...

    @property
    def __dict__(self) -> Any:  # type: ignore[override]  # as in wrapt
        return vars(self.__wrapped__)

    @property
    def __module__(self) -> Any:  # type: ignore[override]  # the same
        return self.__wrapped__.__module__


def default_argument(app: Any) -> Any:
    def application(environ: Any, start_response: Any, app: Any = app) -> Any: ...

    return application


def keyword_default(app: Any) -> Any:
    def application(environ: Any, start_response: Any, *, app: Any = app) -> Any: ...

    return application


def global_variable(app: Any) -> Any:
    # As a file for mod_wsgi has it.
    program = "def application(environ, start):\n    return _application(environ, start)"
    names = {"_application": app}
    exec(program, names)
    return names["application"]


def method_with_a_global(app: Any) -> Any:
    names: dict[str, Any] = {"inner_app": app}
    exec("class A:\n    def call(self, environ, start_response): inner_app(environ, 1)", names)
    return names["A"]().call


def self_in_a_closure(app: Any) -> Any:
    class Plugin:
        def __init__(self) -> None:
            self.app = app

        def wrap(self) -> Any:
            def application(environ: Any, start_response: Any) -> Any:
                return self.app(environ, start_response)

            return application

    return Plugin().wrap()


def bound_method(app: Any) -> Any:
    return attribute("app")(app).__call__


def partial_of_a_method(app: Any) -> Any:
    return functools.partial(bound_method(app))


EITHER = {
    "wrapt proxy": wrapt_proxy,
    "wrapt decorator": wrapt_decorator,
    "wrapt function wrapper": wrapt_function_wrapper,
    "wrapt twice": lambda app: wrapt_decorator(wrapt_proxy(app)),
    "hidden attributes": ObjectProxy,
    "default argument": default_argument,
    "keyword default": keyword_default,
    "global variable": global_variable,
    "method with a global": method_with_a_global,
    "self in a closure": self_in_a_closure,
    "bound method": bound_method,
    "partial of a method": partial_of_a_method,
    **{
        name: attribute(name)
        for name in (
            "app",
            "wrapped",
            "_app",
            "child_app",
            "_next_application",
            "next",
            "downstream",
            "handler",
            "_Layer__app",
            "main_asgi",
            "_delegate",
        )
    },
}
ASGI = {
    **EITHER,
    "socketio": socketio_asgi,
    "engineio": engineio_asgi,
    "Sentry": sentry_asgi,
    "OpenTelemetry": opentelemetry_asgi,
    "mounted": lambda app: Starlette(routes=[Mount("/x", app)]),
    "protocol router": lambda app: SimpleNamespace(application_mapping={"http": app}),
    "a2wsgi": ASGIToWSGI,
}
WSGI = {
    **EITHER,
    "socketio": socketio_wsgi,
    "Sentry": sentry_wsgi,
    "OpenTelemetry": opentelemetry_wsgi,
    "Debugger": DebuggedApplication,
    "Profiler": ProfilerMiddleware,
    "shared data": lambda app: SharedDataMiddleware(app, {}),
    "Dispatcher": lambda app: DispatcherMiddleware(Flask("outer"), {"/x": app}),
    "list of paths and apps": lambda app: SimpleNamespace(apps=[("/x", app)]),
    "list of apps": lambda app: SimpleNamespace(applications=[(), app]),
    "a2wsgi": WSGIToASGI,
    "asgiref": WsgiToAsgi,
    "method in wrapt": lambda app: wrapt_function_wrapper(app.wsgi_app),
}


class TestLayers:
    @pytest.mark.parametrize("wrap", ASGI.values(), ids=ASGI)
    def test_asgi_app_is_found(self, wrap: Callable[[Any], Any]) -> None:
        assert is_found(wrap(asgi_app()))

    @pytest.mark.parametrize("wrap", WSGI.values(), ids=WSGI)
    def test_wsgi_app_is_found(self, wrap: Callable[[Any], Any]) -> None:
        assert is_found(wrap(wsgi_app()))

    def test_all_at_once(self) -> None:
        app: Any = asgi_app()
        for wrap in (sentry_asgi, socketio_asgi, wrapt_decorator, opentelemetry_asgi):
            app = wrap(app)
        assert is_found(app)

    def test_wrapt_without_its_extension(self) -> None:
        real("wrapt")
        program = (
            "import test_wrappers as t\nfor wrap in (t.wrapt_proxy, t.wrapt_decorator):\n"
            "    assert t.is_found(wrap(t.wsgi_app())) and t.is_found(wrap(t.asgi_app()))"
        )
        here = Path(__file__).parent
        paths = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "WRAPT_DISABLE_EXTENSIONS": "1", "PYTHONPATH": ":".join(paths)},
            check=True,
            timeout=60,
        )

    @pytest.mark.parametrize("name", ["application_name", "happen", "nextcloud", "settings"])
    def test_other_attributes_are_no_apps(self, name: str) -> None:
        app = wsgi_app()
        assert app not in list(layers_of(attribute(name)(app)))

    def test_part_of_a_site_does_not_name_its_hosts(self) -> None:
        app = wsgi_app()
        for wrap in (attribute("fallback_app"), global_variable, WSGI["Dispatcher"]):
            assert app in list(layers_of(wrap(app)))
            assert app not in list(layers_of(wrap(app), mounted=False))
