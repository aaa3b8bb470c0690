"""Reads the exact host names of an app from the configuration of its framework.

A framework is recognised by the names of an object's classes, so that none is imported for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

from .layers import class_names, layers_of

_DJANGO = {"django.core.handlers.wsgi.WSGIHandler", "django.core.handlers.asgi.ASGIHandler"}
_FLASK = {"flask.app.Flask"}
_STARLETTE = {"starlette.applications.Starlette"}
_TRUSTED_HOST = {"starlette.middleware.trustedhost.TrustedHostMiddleware"}


def layers_with_hosts(app: Any) -> tuple[Any, ...]:
    """Return the layers of an app that may name its hosts, down to the framework's own app.

    What is mounted in that app is left out: the hosts of a part are not those of the site.
    """
    found: list[Any] = []
    for layer in layers_of(app, mounted=False):
        names = class_names(layer)
        if names & (_DJANGO | _FLASK | _STARLETTE | _TRUSTED_HOST):
            found.append(layer)
        if names & (_DJANGO | _FLASK | _STARLETTE):
            break
    return tuple(found)


def hosts_of(layers: Iterable[Any]) -> Iterator[Any]:
    """Yield what the configuration of the layers names as a host, patterns included, as of now."""
    for layer in layers:
        names = class_names(layer)
        if names & _DJANGO:
            yield from django_hosts()
        elif names & _FLASK:
            yield from flask_hosts(layer)
        elif names & _TRUSTED_HOST:
            yield from layer.allowed_hosts
        else:
            for entry in layer.user_middleware:
                yield from _of_entry(entry)


def django_hosts() -> Iterator[Any]:
    """Yield `ALLOWED_HOSTS` of the project."""
    yield from import_module("django.conf").settings.ALLOWED_HOSTS


def flask_hosts(app: Any) -> Iterator[Any]:
    """Yield `TRUSTED_HOSTS` and `SERVER_NAME` of a Flask app."""
    trusted = app.config.get("TRUSTED_HOSTS") or ()
    yield from [trusted] if isinstance(trusted, str) else trusted
    yield app.config.get("SERVER_NAME")


def _of_entry(entry: Any) -> Iterator[Any]:
    """Yield the hosts of one entry of `user_middleware`, which is not built yet."""
    factory, args, keywords = entry.cls, entry.args, entry.kwargs
    while isinstance(factory, partial):
        args, keywords = (*factory.args, *args), {**factory.keywords, **keywords}
        factory = factory.func
    if isinstance(factory, type) and class_names(factory, of_class=True) & _TRUSTED_HOST:
        yield from keywords.get("allowed_hosts", args[0] if args else None) or ()


def exact_hosts(names: Iterable[Any]) -> frozenset[str]:
    """Return the exact names, in lower case and without the port of a scheme.

    A pattern says which requests the framework refuses, not which site this is: whoever controls
    one name below `.example.com` could claim to be this site. Patterns are therefore left out.
    """
    exact = (n.lower() for n in names if isinstance(n, str) and n and "*" not in n and n[0] != ".")
    return frozenset(name.removesuffix(":80").removesuffix(":443") for name in exact)
