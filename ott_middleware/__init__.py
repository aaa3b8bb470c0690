"""One-time tokens that carry a signed-in person from one web app to another.

Independent of the Better Auth project, whose one-time-token plugin's wire format it speaks.
"""

from .asgi import ASGIMiddleware
from .backends.base import Backend
from .backends.memory import MemoryBackend
from .config import GenerationContext, Options, TokenOptions
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
from .handle import Handle, SigningHandle
from .http import Cookie, Request, Response
from .middleware import OTTMiddleware
from .service import OneTimeTokens
from .sessions.base import CookieAttributes, Session, SessionAdapter
from .sessions.cookie import CookieSession
from .sessions.sealed import SealedSession
from .token_service import TokenService
from .wsgi import WSGIMiddleware

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
    "GenerationContext",
    "Handle",
    "InvalidOrigin",
    "InvalidTarget",
    "InvalidToken",
    "KeyTaken",
    "LengthRequired",
    "MemoryBackend",
    "MethodNotAllowed",
    "MissingOrNullOrigin",
    "NotSupported",
    "OTTError",
    "OTTMiddleware",
    "OneTimeTokens",
    "Options",
    "PayloadTooLarge",
    "Request",
    "RequestError",
    "Response",
    "SealedSession",
    "Session",
    "SessionAdapter",
    "SessionExpired",
    "SessionNotFound",
    "SessionUnavailable",
    "SigningHandle",
    "TokenOptions",
    "TokenService",
    "Unauthorized",
    "Unavailable",
    "UnsupportedMediaType",
    "ValidationError",
    "WSGIMiddleware",
]
