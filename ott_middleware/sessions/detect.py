"""Finds the framework of the wrapped app, and of what it wraps, for `session="auto"`.

A framework is recognised by the names of an object's classes, so that only the adapter of the
framework that is found is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..errors import ConfigurationError, full_name, missing_library
from .base import SessionAdapter
from .known_cookies import suggest_cookies
from .layers import class_names, layers_of

# Class → the adapter's module and class.
_FRAMEWORKS = {
    "django.core.handlers.wsgi.WSGIHandler": ("django", "DjangoSession"),
    "django.core.handlers.asgi.ASGIHandler": ("django", "DjangoSession"),
    "flask.app.Flask": ("flask", "FlaskSession"),
    "starlette.applications.Starlette": ("starlette", "StarletteSession"),
    "starlette.middleware.sessions.SessionMiddleware": ("starlette", "StarletteSession"),
}


def adapter_of(app: Any) -> SessionAdapter:
    """Return the adapter for the framework of an app.

    :raises ConfigurationError: there is no framework, or it keeps no sessions.
    """
    problem, layers = "", list(layers_of(app))
    for layer in layers:
        for name in _FRAMEWORKS.keys() & class_names(layer):
            try:
                return _make_adapter(*_FRAMEWORKS[name], layer)
            except ConfigurationError as error:
                # An inner layer may be of another framework, or have what this layer lacks.
                problem = problem or str(error)
    raise ConfigurationError(
        (
            problem
            or "session: 'auto' finds neither Django, Flask nor Starlette's SessionMiddleware in "
            f"{full_name(app)}; where SessionMiddleware is there, let OTTMiddleware be outside of "
            "it"
        )
        + ". Or pass the session cookie's name (session='sessionid') or an adapter: "
        "CookieSession(name, probe='/path') or validate=, SealedSession(secret) for an app without "
        "sessions, BearerSession(validate=...) for an API whose clients send access tokens, or one "
        f"of your own.{suggest_cookies(layers)}"
    )


def _make_adapter(module: str, adapter: str, layer: Any) -> SessionAdapter:
    try:
        make: Callable[[Any], SessionAdapter] = getattr(
            import_module(f".{module}", __package__), adapter
        ).of_app
    except ImportError as error:
        # The app works without that library, so it keeps no such sessions.
        raise missing_library(f"session: {adapter}", error) from error
    return make(layer)
