"""One-time tokens that carry a signed-in person from one web app to another.

Independent of the Better Auth project, whose one-time-token plugin's wire format it speaks.
"""

import importlib
import typing

from .backends.base import Backend
from .backends.memory import MemoryBackend
from .backends.registry import register_backend
from .errors import (
    BackendFull,
    BackendUnavailable,
    BadRequest,
    ClientRequestsDisabled,
    ConfigurationError,
    DeadToken,
    InvalidOrigin,
    InvalidTarget,
    InvalidToken,
    KeyTaken,
    LengthRequired,
    MethodNotAllowed,
    MissingOrNullOrigin,
    NotSupported,
    OTTError,
    PayloadTooLarge,
    RequestError,
    SessionExpired,
    SessionNotFound,
    SessionUnavailable,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    ValidationError,
)
from .flow.get_handle import get_handle
from .flow.handle import Handle
from .http.cookies import Cookie, CookieAttributes
from .http.messages import Request, Response
from .interfaces.asgi import ASGIMiddleware
from .interfaces.wsgi import WSGIMiddleware
from .middleware import OTTMiddleware
from .options import Options
from .sessions.base import Session, SessionAdapter, SignInAdapter
from .sessions.cookie import CookieSession
from .sessions.framework import FrameworkSession
from .sessions.sealed import SealedSession
from .tokens.options import GenerationContext, TokenOptions
from .tokens.protocol import TokenService
from .tokens.service import OneTimeTokens

if typing.TYPE_CHECKING:
    from .backends.django_cache import DjangoCacheBackend
    from .backends.mapping import MappingBackend
    from .backends.redis.backend import RedisBackend
    from .backends.sqlalchemy.backend import SQLAlchemyBackend
    from .backends.sqlite.backend import SQLiteBackend
    from .sessions.django.adapter import DjangoSession
    from .sessions.flask.adapter import FlaskSession
    from .sessions.starlette.adapter import StarletteSession

__version__ = "0.1.0"

__all__ = [
    "ASGIMiddleware",
    "Backend",
    "BackendFull",
    "BackendUnavailable",
    "BadRequest",
    "ClientRequestsDisabled",
    "ConfigurationError",
    "Cookie",
    "CookieAttributes",
    "CookieSession",
    "DeadToken",
    "DjangoCacheBackend",
    "DjangoSession",
    "FlaskSession",
    "FrameworkSession",
    "GenerationContext",
    "Handle",
    "InvalidOrigin",
    "InvalidTarget",
    "InvalidToken",
    "KeyTaken",
    "LengthRequired",
    "MappingBackend",
    "MemoryBackend",
    "MethodNotAllowed",
    "MissingOrNullOrigin",
    "NotSupported",
    "OTTError",
    "OTTMiddleware",
    "OneTimeTokens",
    "Options",
    "PayloadTooLarge",
    "RedisBackend",
    "Request",
    "RequestError",
    "Response",
    "SQLAlchemyBackend",
    "SQLiteBackend",
    "SealedSession",
    "Session",
    "SessionAdapter",
    "SessionExpired",
    "SessionNotFound",
    "SessionUnavailable",
    "SignInAdapter",
    "StarletteSession",
    "TokenOptions",
    "TokenService",
    "Unauthorized",
    "Unavailable",
    "UnsupportedMediaType",
    "ValidationError",
    "WSGIMiddleware",
    "get_handle",
    "register_backend",
]

# Imported on first use, so that no app pays for a library that it does not use.
_LATER = {
    "DjangoCacheBackend": ("backends.django_cache", "django"),
    "DjangoSession": ("sessions.django", "django"),
    "FlaskSession": ("sessions.flask", "flask"),
    "MappingBackend": ("backends.mapping", ""),
    "RedisBackend": ("backends.redis", "redis"),
    "SQLAlchemyBackend": ("backends.sqlalchemy", "sqlalchemy"),
    "SQLiteBackend": ("backends.sqlite", ""),
    "StarletteSession": ("sessions.starlette", "starlette"),
}


# What is to be installed where that is not the library's name alone.
_INSTALLED_AS = {
    "redis": "'ott_middleware[redis]'",
    "sqlalchemy": "'ott_middleware[sqlalchemy]'",
    "starlette": "starlette itsdangerous",
}


def __getattr__(name: str) -> typing.Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, library = _LATER[name]
    try:
        value = getattr(importlib.import_module(f".{module}", __name__), name)
    except ImportError as error:
        # It is not there, or says (without a name) that a part of it is not.
        missing = (error.name or library).partition(".")[0]
        if not library or missing not in (library, "itsdangerous"):
            raise
        value = _not_installed(name, library)
    globals()[name] = value
    return value


def _not_installed(name: str, library: str) -> type:
    """What stands for a class without its library: it tells so when one is made."""
    what = _INSTALLED_AS.get(library, library)

    def refuse(*_: typing.Any, **__: typing.Any) -> None:
        raise ConfigurationError(f"{name} needs {library}; pip install {what}")

    base = Backend if name.endswith("Backend") else SessionAdapter
    return type(name, (base,), {"__init__": refuse})


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
