"""Finds the `SessionMiddleware` of a Starlette app, and reads its options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import Response

from ...concurrency import without_partials
from ...errors import ConfigurationError
from ...http.cookies import CookieAttributes

# Stands where an app would, round a SessionMiddleware that is only looked at.
_NOTHING = Response()


def build_middleware(options: Mapping[str, Any]) -> SessionMiddleware:
    """Return a `SessionMiddleware` with these options, round nothing.

    :raises ConfigurationError: no secret, or an option that this Starlette does not have.
    """
    if "secret_key" not in options:
        raise ConfigurationError("app: pass the app, or secret_key= and what else it is told")
    try:
        return SessionMiddleware(_NOTHING, **options)
    except TypeError as error:
        raise ConfigurationError(
            f"{', '.join(options)}: pass what this Starlette's SessionMiddleware takes"
        ) from error


def find_middleware(layers: Iterable[Any]) -> SessionMiddleware:
    """Return the first `SessionMiddleware` among layers, or in the list of a Starlette app.

    :raises ConfigurationError: there is none.
    """
    for layer in layers:
        middleware = _middleware_of(layer)
        if middleware is not None:
            return middleware
    raise ConfigurationError(
        "session: this Starlette app has no SessionMiddleware; add it before the app is wrapped "
        "(app.add_middleware(SessionMiddleware, secret_key=...))"
    )


def _middleware_of(layer: Any) -> SessionMiddleware | None:
    if isinstance(layer, SessionMiddleware):
        return layer
    for entry in layer.user_middleware if isinstance(layer, Starlette) else ():
        if is_session_middleware(entry):
            # The stack is not built yet, or was thrown away: made once more, round nothing.
            made = entry.cls(_NOTHING, *entry.args, **entry.kwargs)
            return cast("SessionMiddleware", made)
    return None


def is_session_middleware(entry: Middleware) -> bool:
    """Whether an entry of an app's list of middleware makes a `SessionMiddleware`."""
    factory = without_partials(entry.cls)
    return isinstance(factory, type) and issubclass(factory, SessionMiddleware)


def cookie_attributes(middleware: SessionMiddleware) -> CookieAttributes:
    """Return the attributes of the session cookie, which the middleware keeps as text."""
    flags = {
        name.strip().lower(): value.strip()
        for name, _, value in (flag.partition("=") for flag in middleware.security_flags.split(";"))
    }
    return CookieAttributes(
        domain=flags.get("domain"),
        path=middleware.path,
        secure=True if "secure" in flags else None,
        samesite=flags.get("samesite", "lax"),
        max_age=middleware.max_age,
        partitioned="partitioned" in flags,
        httponly="httponly" in flags,
    )
