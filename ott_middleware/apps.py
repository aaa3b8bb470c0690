"""Tells an ASGI app from a WSGI app, and refuses what is no app: a class, a factory, a module."""

from __future__ import annotations

import inspect
from types import FunctionType, ModuleType
from typing import Any

from .concurrency import is_async, without_partials
from .errors import ConfigurationError, full_name
from .sessions.layers import class_names

# Where modules keep their app.
_USUAL_NAMES = ("app", "application", "asgi_app", "wsgi_app", "asgi", "wsgi")
# Parts of an app, which frameworks include in one. FastAPI's can be called, and lacks its app then.
_FASTAPI_ROUTER = "fastapi.routing.APIRouter"
_ROUTERS = {
    _FASTAPI_ROUTER: "app.include_router(router)",
    "flask.sansio.blueprints.Blueprint": "app.register_blueprint(blueprint)",
    "litestar.router.Router": "Litestar(route_handlers=[router])",
    "sanic.blueprints.Blueprint": "app.blueprint(blueprint)",
}

# Frameworks with apps that their own server alone serves.
_OTHER_KINDS = {"aiohttp.web_app.Application", "tornado.web.Application"}


def kind_of(app: Any) -> str | None:
    """Return `"asgi"`, `"asgi2"` or `"wsgi"`, or None where that cannot be told.

    :raises ConfigurationError: it is no app; the text names the cure.
    """
    check_app(app)
    if _is_async(app):
        return "asgi"
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    positional = [
        p.name
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    # (scope), which returns a function of (receive, send). A factory may take one argument too.
    if len(positional) == 1 and positional[0].endswith("scope"):
        return "asgi2"
    # (scope, receive, send); (environ, start_response).
    return {3: "asgi", 2: "wsgi"}.get(len(positional))


def check_app(app: Any) -> None:
    """Check that an app can be called with a request.

    :raises ConfigurationError: it is a class, a factory, a module or the like.
    """
    if problem := _find_problem(app):
        raise ConfigurationError(f"app: {problem}")


def say_unclear(app: Any) -> str:
    """Return the text of the error for what may be an ASGI or a WSGI app, or a factory."""
    return (
        f"can't tell whether {full_name(app)} is an ASGI or a WSGI app; if it makes the app, call "
        "it: OTTMiddleware(create_app()); else pass interface='asgi' or interface='wsgi'"
    )


def _find_problem(app: Any) -> str | None:
    """Return what is wrong with an app, and the cure; None where nothing is to be seen."""
    is_called = callable(app)
    for name in class_names(app) & (_ROUTERS.keys() if not is_called else {_FASTAPI_ROUTER}):
        return f"{full_name(app)} is part of an app; include it ({_ROUTERS[name]}), wrap the app"
    if _OTHER_KINDS & class_names(app):
        return (
            f"{full_name(app)} is neither an ASGI nor a WSGI app: it can't be wrapped; wrap an "
            "ASGI or WSGI app beside it, on another path of the site"
        )
    if isinstance(app, ModuleType):
        name = next((name for name in _USUAL_NAMES if hasattr(app, name)), "app")
        return f"the module {app.__name__}; pass the app in it: {app.__name__}.{name}"
    if not is_called:
        shown = "None" if app is None else full_name(app)
        return f"{shown} can't be called; pass the app itself"
    if _is_in_django_chain(app):
        return (
            "OTTMiddleware stands in Django's MIDDLEWARE; take it out, and wrap the application in "
            "wsgi.py or asgi.py: application = OTTMiddleware(application)"
        )
    function = without_partials(app)
    if inspect.isclass(function):
        if _makes_apps(function):
            return f"the class {full_name(function)}; pass an app that is made of it, not the class"
    elif _is_factory(app):
        return say_unclear(app)
    return None


def _is_async(app: Any) -> bool:
    return not inspect.isclass(without_partials(app)) and is_async(app)


def _is_in_django_chain(app: Any) -> bool:
    """Whether Django makes a middleware: it passes the next one, perhaps made sync or async."""
    for each in (app, getattr(app, "awaitable", None), getattr(app, "func", None)):
        if isinstance(each, FunctionType):
            # Its `__module__` is that of the middleware that it calls.
            return each.__globals__.get("__name__") == "django.core.handlers.exception"
    return False


def _makes_apps(kind: type) -> bool:
    """Whether the objects of a class are apps. (A class can be an app: PEP 3333's own example.)"""
    call = next((vars(base)["__call__"] for base in kind.__mro__ if "__call__" in vars(base)), None)
    # (self, scope, receive, send), or (self, environ, start_response); the objects of an ASGI 2
    # class are coroutine functions of (self, receive, send).
    return _accepts(call, 4) or (_accepts(call, 3) and not inspect.iscoroutinefunction(call))


def _is_factory(app: Any) -> bool:
    """Whether a function takes no request, or is async and takes no ASGI request."""
    if _accepts(app, 3):
        return False
    return _is_async(app) or (_accepts(app, 0) and not _accepts(app, 2))


def _accepts(function: Any, count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True
