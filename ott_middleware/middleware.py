"""`OTTMiddleware`: looks at an app and picks the interface, ASGI or WSGI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from asgiref.compatibility import guarantee_single_callable

from .apps import kind_of, say_unclear
from .errors import ConfigurationError
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
    kind = kind_of(app)
    if kind == "asgi2" and interface != "wsgi":
        single: ASGIApp = guarantee_single_callable(app)  # type: ignore[no-untyped-call]  # asgiref has no types there
        return ASGIMiddleware(single, **options)
    chosen = interface or kind
    if chosen is None:
        raise ConfigurationError(f"app: {say_unclear(app)}")
    return ASGIMiddleware(app, **options) if chosen == "asgi" else WSGIMiddleware(app, **options)
