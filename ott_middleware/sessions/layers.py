"""Finds what an app wraps: layers of middleware, routers, and what a router mounts.

Only attributes that objects have already are looked at: no code of the app is run.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from types import FunctionType, MemberDescriptorType, MethodType
from typing import Any

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
