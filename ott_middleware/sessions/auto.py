"""`session="auto"`: looks at the wrapped app, through whatever is wrapped round it, for its framework.

A framework is told by the names of an object's classes, so that none is imported for being looked
for; only the adapter of the one that is found is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

from ..errors import ConfigurationError
from .base import SessionAdapter

# Where layers of middleware keep what they wrap, and routers what they route to.
_INNER = ("app", "wsgi_app", "asgi_app", "application", "_app", "func", "__wrapped__", "__self__")
_ROUTES = ("application_mapping",)
_MOST_LAYERS = 200

# Class → the adapter's module and class.
_FRAMEWORKS = {
    "django.core.handlers.wsgi.WSGIHandler": ("django", "DjangoSession"),
    "django.core.handlers.asgi.ASGIHandler": ("django", "DjangoSession"),
    "flask.app.Flask": ("flask", "FlaskSession"),
    "starlette.applications.Starlette": ("starlette", "StarletteSession"),
    "starlette.middleware.sessions.SessionMiddleware": ("starlette", "StarletteSession"),
}


def adapter_of(app: Any) -> SessionAdapter:
    """The adapter for the framework of an app.

    :raises ConfigurationError: none is found, or the one that is found keeps no sessions.
    """
    refusal: ConfigurationError | None = None
    for layer in layers_of(app):
        for name in map(_class_name, type(layer).__mro__):
            if name not in _FRAMEWORKS:
                continue
            module, adapter = _FRAMEWORKS[name]
            make: Callable[[Any], SessionAdapter] = getattr(
                import_module(f".{module}", __package__), adapter
            ).of_app
            try:
                return make(layer)
            except ConfigurationError as error:
                # A layer further in may be of another framework, or hold what this one lacks.
                refusal = refusal or error
    if refusal is not None:
        raise refusal
    raise ConfigurationError(
        f"session: 'auto' finds neither Django, Flask nor Starlette's SessionMiddleware in "
        f"{_name(app)}; pass the session cookie's name (session='sessionid'), "
        "CookieSession(name, probe='/path') or validate=, SealedSession(secret) for an app without "
        "sessions, or an adapter of your own"
    )


def layers_of(app: Any) -> Iterator[Any]:
    """An app and everything in it that it visibly wraps, from the outside in, each once."""
    waiting, seen = [app], set()
    while waiting and len(seen) < _MOST_LAYERS:
        layer = waiting.pop(0)
        if layer is None or id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        waiting.extend(_inside(layer))


def _inside(layer: Any) -> Iterator[Any]:
    # Only what is there already: asking an object for an attribute may run its code.
    own = getattr(layer, "__dict__", {})
    for name in _INNER:
        if name in own:
            yield own[name]
    for name in _ROUTES:
        if isinstance(own.get(name), Mapping):
            yield from own[name].values()
    if isinstance(layer, functools.partial):
        yield layer.func
        yield from layer.args
        yield from layer.keywords.values()
    yield getattr(layer, "__self__", None)
    # A function that wraps an app holds it in a closure.
    for cell in getattr(layer, "__closure__", None) or ():
        try:
            if callable(cell.cell_contents):
                yield cell.cell_contents
        except ValueError:  # not filled yet
            continue


def _class_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _name(app: Any) -> str:
    return getattr(app, "__qualname__", None) or f"a {type(app).__qualname__}"
