"""Finds what an app wraps: layers of middleware, routers, and what a router mounts.

Only attributes that objects have already are looked at: no code of the app is run.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator, Mapping
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType
from typing import Any

# Where layers of middleware keep what they wrap, and routers what they route to.
_INNER = (
    "app",
    "wsgi_app",
    "asgi_app",
    "other_asgi_app",
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
    "_wrapped",
    "router",
    "func",
    "__wrapped__",
)
# Names that layers of middleware may give to what they wrap, beside these.
_APP_LIKE = re.compile(
    r"_*(\w+_)?(app|application|asgi|wsgi|wrapped|inner|next|handler|child|downstream|upstream|"
    r"delegate|target|callable|func|fn)_*",
    re.IGNORECASE,
)
# Where routers keep what is mounted in them: a mapping, or a list of apps or of tuples that end so.
_ROUTES = ("application_mapping", "mounts", "apps", "applications")
_MOUNTS = {"starlette.routing.Mount", "starlette.routing.Host"}
_MOST_LAYERS = 200


def layers_of(app: Any, *, mounted: bool = True) -> Iterator[Any]:
    """Yield an app and everything that it visibly wraps, from the outside in, each once.

    :param mounted: whether what a router mounts counts, and what only looks like a wrapped app by
        the name of its attribute or variable.
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
            waiting.extend(_named_like_apps(layer))


def _inside(layer: Any) -> Iterator[Any]:
    for name in _INNER:
        yield _held(layer, name)
    if isinstance(layer, functools.partial):
        yield layer.func
        yield from layer.args
        yield from layer.keywords.values()
    if isinstance(layer, MethodType):
        yield layer.__self__
        layer = layer.__func__
    if not isinstance(layer, FunctionType):
        return
    # A function that wraps an app holds it in a closure, or as the default of a parameter.
    for cell in layer.__closure__ or ():
        try:
            held = cell.cell_contents
        except ValueError:  # not filled yet
            continue
        # `self` in a closure need not be callable, what it holds may be.
        if not isinstance(held, (str, bytes, int)):
            yield held
    yield from filter(callable, layer.__defaults__ or ())
    yield from filter(callable, (layer.__kwdefaults__ or {}).values())


def _named_like_apps(layer: Any) -> Iterator[Any]:
    """Yield what is named like an app: attributes of an object, global variables of a function."""
    if isinstance(layer, MethodType):
        layer = layer.__func__
    if isinstance(layer, FunctionType):
        known = layer.__globals__
        held: Any = {name: known[name] for name in layer.__code__.co_names if name in known}
    else:
        held = getattr(layer, "__dict__", None)
    for name, value in list(held.items()) if isinstance(held, Mapping) else ():
        if callable(value) and not isinstance(value, type) and _APP_LIKE.fullmatch(name):
            yield value


def _mounted_in(layer: Any) -> Iterator[Any]:
    for name in _ROUTES:
        routes = _held(layer, name)
        if isinstance(routes, Mapping):
            yield from routes.values()
        elif isinstance(routes, (list, tuple)):
            yield from (each[-1] if isinstance(each, tuple) and each else each for each in routes)
    routes = _held(layer, "routes")
    if isinstance(routes, list):
        # Other routes lead to views, which wrap nothing.
        yield from (route for route in routes if _MOUNTS & class_names(route))


def class_names(thing: Any, *, of_class: bool = False) -> set[str]:
    """Return the full names of a thing's classes, or of a class and its bases."""
    kinds = thing.__mro__ if of_class else type(thing).__mro__
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds}


def _held(layer: Any, name: str) -> Any:
    """Return an attribute that an object has already; any other could run code of the object."""
    # The attributes of a function are its own, and a method has none of these names. For both, the
    # look-up below takes 20 times as long. (The class of a proxy is asked, not that of what it
    # stands for.)
    if issubclass(type(layer), MethodType):
        return None
    if issubclass(type(layer), FunctionType):
        return vars(layer).get(name)
    value = inspect.getattr_static(layer, name, None)
    if name == "__wrapped__" and any(
        kind.__name__ == "ObjectProxy" for kind in type(layer).__mro__
    ):
        return getattr(layer, name, None)  # wrapt without its C extension hides its attributes
    # In a class with slots, or one that is written in C (a proxy of wrapt), the static attribute is
    # only the descriptor of the value.
    is_descriptor = isinstance(value, (MemberDescriptorType, GetSetDescriptorType))
    return getattr(layer, name, None) if is_descriptor else value
