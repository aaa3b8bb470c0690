"""One-time tokens that carry a signed-in user from one web app to another.

The wire format is that of Better Auth's one-time-token plugin; this project is independent of it.
"""

import typing

from . import lazy
from .backends import Backend, MemoryBackend, register_backend
from .errors import ConfigurationError, OTTError
from .flow.get_handle import get_handle
from .interfaces.asgi import ASGIMiddleware
from .interfaces.wsgi import WSGIMiddleware
from .middleware import OTTMiddleware
from .sessions import (
    BearerSession,
    CookieSession,
    SealedSession,
    Session,
    SessionAdapter,
    SignInAdapter,
)
from .tokens import OneTimeTokens

__version__ = "0.1.0"

# What `from ott_middleware import *` imports: all public names but the classes of optional
# libraries, since a star import would fail if one of these libraries were missing.
__all__ = [
    "ASGIMiddleware",
    "Backend",
    "BearerSession",
    "ConfigurationError",
    "CookieSession",
    "MemoryBackend",
    "OTTError",
    "OTTMiddleware",
    "OneTimeTokens",
    "SQLiteBackend",
    "SealedSession",
    "Session",
    "SessionAdapter",
    "SignInAdapter",
    "WSGIMiddleware",
    "get_handle",
    "register_backend",
]

if typing.TYPE_CHECKING:
    from .backends import RedisBackend as RedisBackend
    from .backends import SQLAlchemyBackend as SQLAlchemyBackend
    from .backends import SQLiteBackend as SQLiteBackend
    from .sessions import DjangoSession as DjangoSession
    from .sessions import FlaskSession as FlaskSession
    from .sessions import StarletteSession as StarletteSession
else:  # A type checker that saw `__getattr__` would accept every misspelt name.
    __getattr__, __dir__ = lazy.import_on_use(
        __name__,
        {
            "DjangoSession": ".sessions",
            "FlaskSession": ".sessions",
            "RedisBackend": ".backends",
            "SQLAlchemyBackend": ".backends",
            "SQLiteBackend": ".backends",
            "StarletteSession": ".sessions",
        },
    )
