"""The fast path: passes a request without a token to the app without an attribute look-up."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ..context import handle_in
from ..errors import ConfigurationError

# How often middlewares call each other within one request, before the first response.
_MOST_NESTED = 10
# Marks the types that `call_directly` makes.
_DIRECT = "_ott_direct"
_nested: ContextVar[int] = ContextVar("ott_nested", default=0)


def call_directly(middleware: Any, kind: type, function: Callable[..., Any]) -> None:
    """Have `function` called where `middleware` is called, without a look-up.

    Python finds `__call__` on the type, so `middleware` gets a type of its own. `function` holds
    the rest of what a request needs in its closure. A subclass keeps a `__call__` of its own.

    Until the app, which finds a handle in its request, has responded once, another function stands
    there. It refuses an app that calls the middleware around it: no later request pays for that.

    :param middleware: the instance, with an attribute `_respond`.
    :param kind: the class to replace `__call__` of.
    """
    cls = type(middleware)
    if cls.__call__ is kind.__call__:
        own = {"__slots__": (), "__module__": cls.__module__, "__doc__": cls.__doc__, _DIRECT: True}
        middleware.__class__ = type(cls.__name__, (cls,), own)
        # By its own rules, `inspect` would take the first parameter for `self`.
        middleware.__signature__ = inspect.signature(function)

    def first(environ: Any, start_response: Any) -> Any:
        with _counting_nested_calls():
            response = function(environ, start_response)
        call_next(environ)
        return response

    async def first_async(scope: Any, receive: Any, send: Any) -> None:
        with _counting_nested_calls():
            await function(scope, receive, send)
        call_next(scope)

    def call_next(carrier: Any) -> None:
        # The middleware may have responded itself, without asking the app; or the app's response
        # may have had another function called already.
        if handle_in(carrier) is not None and middleware._respond is checking:
            call_instead(middleware, function)

    checking = first_async if inspect.iscoroutinefunction(function) else first
    call_instead(middleware, checking)


def call_instead(middleware: Any, function: Callable[..., Any]) -> None:
    """Have another function called from now on.

    :param middleware: the instance; one of a subclass with a `__call__` of its own keeps it.
    """
    middleware._respond = function
    cls: Any = type(middleware)
    if _DIRECT in vars(cls):
        cls.__call__ = staticmethod(function)


@contextmanager
def _counting_nested_calls() -> Iterator[None]:
    before = _nested.get()
    if before >= _MOST_NESTED:
        raise ConfigurationError(
            "app: it calls the middleware that is around it, again and again; wrap what the app "
            "calls: app.wsgi_app = OTTMiddleware(app.wsgi_app) (in Quart app.asgi_app), or serve "
            "the wrapped app under a name of its own: application = OTTMiddleware(app)"
        )
    _nested.set(before + 1)
    try:
        yield
    finally:
        _nested.set(before)
