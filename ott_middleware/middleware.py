"""`OTTMiddleware`: looks at an app and picks the interface, ASGI or WSGI."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Literal, overload

from asgiref.compatibility import guarantee_single_callable

from .errors import ConfigurationError, full_name
from .interfaces.asgi import ASGIMiddleware
from .interfaces.asgi_types import ASGIApp
from .interfaces.wsgi import WSGIMiddleware
from .options import OptionValues

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from typing_extensions import Unpack


@overload
def OTTMiddleware(
    app: ASGIApp, *, interface: Literal["asgi"] | None = None, **options: Unpack[OptionValues]
) -> ASGIMiddleware: ...


@overload
def OTTMiddleware(
    app: WSGIApplication,
    *,
    interface: Literal["wsgi"] | None = None,
    **options: Unpack[OptionValues],
) -> WSGIMiddleware: ...


@overload
def OTTMiddleware(
    app: Any, *, interface: Literal["asgi", "wsgi"] | None = None, **options: Unpack[OptionValues]
) -> ASGIMiddleware | WSGIMiddleware: ...


def OTTMiddleware(  # noqa: N802 - used like a class: add_middleware(OTTMiddleware, ...)
    app: Any, *, interface: Literal["asgi", "wsgi"] | None = None, **options: Unpack[OptionValues]
) -> ASGIMiddleware | WSGIMiddleware:
    """One-time tokens around any existing app. It should be the outermost layer.

    :param app: an ASGI app (2 or 3) or a WSGI app.
    :param interface: `"asgi"` or `"wsgi"`, where it cannot be told from the app.
    :param options: see `OptionValues`.
    :raises ConfigurationError: a bad option, or an app that could be either.
    """
    if interface not in (None, "asgi", "wsgi"):
        raise ConfigurationError(f"interface: {interface!r}; use 'asgi', 'wsgi', or leave it out")
    kind = _kind_of(app)
    if kind == "asgi2" and interface != "wsgi":
        single: ASGIApp = guarantee_single_callable(app)  # type: ignore[no-untyped-call]  # asgiref has no types there
        return ASGIMiddleware(single, **options)
    chosen = interface or kind
    if chosen is None:
        raise ConfigurationError(
            f"app: can't tell whether {full_name(app)} is an ASGI or a WSGI app; "
            "pass interface='asgi' or interface='wsgi'"
        )
    return ASGIMiddleware(app, **options) if chosen == "asgi" else WSGIMiddleware(app, **options)


def _kind_of(app: Any) -> str | None:
    if not callable(app):
        raise ConfigurationError(f"app: {full_name(app)} can't be called; pass the app itself")
    function = app
    while isinstance(function, functools.partial):
        function = function.func
    call = getattr(function, "__call__", None)  # noqa: B004 - its signature is asked
    if not inspect.isclass(function) and (
        inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
    ):
        return "asgi"
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    positional = [
        p
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    # (scope, receive, send); (environ, start_response); (scope), which returns (receive, send).
    return {3: "asgi", 2: "wsgi", 1: "asgi2"}.get(len(positional))
