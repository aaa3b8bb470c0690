"""Finds the framework of the wrapped app, and of what it wraps, for `session="auto"`.

A framework is recognised by the names of an object's classes, so that only the adapter of the
framework that is found is imported.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from types import FunctionType, MemberDescriptorType, MethodType
from typing import Any

from ..errors import ConfigurationError
from .base import SessionAdapter

# Where layers of middleware keep what they wrap, and routers what they route to.
_INNER = (
    "app",
    "wsgi_app",
    "asgi_app",
    "application",
    "wsgi_application",
    "asgi_application",
    "inner",
    "wrapped",
    "wsgi",
    "_app",
    "_wsgi_app",
    "_asgi_app",
    "_application",
    "router",
    "func",
    "__wrapped__",
)
_ROUTES = ("application_mapping", "mounts")
_MOUNTS = {"starlette.routing.Mount", "starlette.routing.Host"}
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
    """Return the adapter for the framework of an app.

    :raises ConfigurationError: there is no framework, or it keeps no sessions.
    """
    refusal: ConfigurationError | None = None
    for layer in layers_of(app):
        for name in map(_class_name, _mro(layer)):
            if name not in _FRAMEWORKS:
                continue
            module, adapter = _FRAMEWORKS[name]
            make: Callable[[Any], SessionAdapter] = getattr(
                import_module(f".{module}", __package__), adapter
            ).of_app
            try:
                return make(layer)
            except ConfigurationError as error:
                # An inner layer may be of another framework, or have what this layer lacks.
                refusal = refusal or error
    if refusal is not None:
        raise refusal
    raise ConfigurationError(
        f"session: 'auto' finds neither Django, Flask nor Starlette's SessionMiddleware in "
        f"{_name(app)}; pass the session cookie's name (session='sessionid'), "
        "CookieSession(name, probe='/path') or validate=, SealedSession(secret) for an app without "
        "sessions, or an adapter of your own; where SessionMiddleware is there, let OTTMiddleware "
        "be outside of it"
    )


def layers_of(app: Any, *, mounted: bool = True) -> Iterator[Any]:
    """Yield an app and everything that it visibly wraps, from the outside in, each once.

    :param mounted: whether what a router mounts counts.
    """
    waiting: list[Any] = [app]
    # The objects are kept, since the id of an object that is gone may be given to another.
    seen: dict[int, Any] = {}
    while waiting and len(seen) < _MOST_LAYERS:
        layer = waiting.pop(0)
        if layer is None or id(layer) in seen:
            continue
        seen[id(layer)] = layer
        yield layer
        waiting.extend(_inside(layer))
        if mounted:
            waiting.extend(_mounted_in(layer))


def _inside(layer: Any) -> Iterator[Any]:
    for name in _INNER:
        yield _held(layer, name)
    if isinstance(layer, functools.partial):
        yield layer.func
        yield from layer.args
        yield from layer.keywords.values()
    if inspect.ismethod(layer):
        yield layer.__self__
        layer = layer.__func__
    # A function that wraps an app holds it in a closure.
    for cell in layer.__closure__ or () if inspect.isfunction(layer) else ():
        try:
            if callable(cell.cell_contents):
                yield cell.cell_contents
        except ValueError:  # not filled yet
            continue


def _mounted_in(layer: Any) -> Iterator[Any]:
    for name in _ROUTES:
        routes = _held(layer, name)
        if isinstance(routes, Mapping):
            yield from routes.values()
    routes = _held(layer, "routes")
    if isinstance(routes, list):
        # Other routes lead to views, which wrap nothing.
        yield from (route for route in routes if _MOUNTS & class_names(route))


def class_names(thing: Any, *, of_class: bool = False) -> set[str]:
    """Return the full names of a thing's classes, or of a class and its bases."""
    return set(map(_class_name, thing.__mro__ if of_class else _mro(thing)))


def _held(layer: Any, name: str) -> Any:
    """Return an attribute that an object has already; any other could run code of the object."""
    # The attributes of a function are its own, and a method has none of these names. For both, the
    # look-up below takes 20 times as long.
    if isinstance(layer, MethodType):
        return None
    if isinstance(layer, FunctionType):
        return vars(layer).get(name)
    value = inspect.getattr_static(layer, name, None)
    # In a class with slots, the static attribute is only the descriptor of the value.
    return getattr(layer, name, None) if isinstance(value, MemberDescriptorType) else value


def _mro(thing: Any) -> tuple[type, ...]:
    return type(thing).__mro__


def _class_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _name(app: Any) -> str:
    return getattr(app, "__qualname__", None) or f"a {type(app).__qualname__}"
