from __future__ import annotations

import re

import pytest

from ott_middleware import errors
from ott_middleware.errors import (
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
    NoAccount,
    NotSupported,
    OTTError,
    PayloadTooLarge,
    RequestError,
    SessionExpired,
    SessionNotFound,
    SessionUnavailable,
    Unauthorized,
    UnsupportedMediaType,
    ValidationError,
)


@pytest.mark.parametrize(
    ("error", "status", "message", "code"),
    [
        (RequestError(), 400, "Bad request", "BAD_REQUEST"),
        (BadRequest(), 400, "Invalid JSON in request body", "BAD_REQUEST"),
        (
            ValidationError("body.token", "string", "undefined"),
            400,
            "[body.token] Invalid input: expected string, received undefined",
            "VALIDATION_ERROR",
        ),
        (Unauthorized(), 401, "Unauthorized", "UNAUTHORIZED"),
        (
            ClientRequestsDisabled(),
            400,
            "Client requests are disabled",
            "CLIENT_REQUESTS_DISABLED",
        ),
        (InvalidTarget(), 400, "Invalid target", "INVALID_TARGET"),
        (InvalidOrigin(), 403, "Invalid origin", "INVALID_ORIGIN"),
        (MissingOrNullOrigin(), 403, "Missing or null Origin", "MISSING_OR_NULL_ORIGIN"),
        (MethodNotAllowed("GET, OPTIONS"), 405, "Method not allowed", "METHOD_NOT_ALLOWED"),
        (LengthRequired(), 411, "Content-Length required", "LENGTH_REQUIRED"),
        (PayloadTooLarge(), 413, "Payload too large", "PAYLOAD_TOO_LARGE"),
        (
            UnsupportedMediaType(),
            415,
            "Content-Type must be application/json",
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (InvalidToken(), 400, "Invalid token", "INVALID_TOKEN"),
        (NoAccount(), 400, "No account", "NO_ACCOUNT"),
        (SessionNotFound(), 400, "Session not found", "SESSION_NOT_FOUND"),
        (SessionExpired(), 400, "Session expired", "SESSION_EXPIRED"),
        (BackendFull(), 503, "Too many outstanding tokens", "BACKEND_FULL"),
        (BackendUnavailable(), 503, "Token backend unavailable", "BACKEND_UNAVAILABLE"),
        (SessionUnavailable(), 503, "Session unavailable", "SESSION_UNAVAILABLE"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, RequestError) else None,
)
def test_error_status_code_and_message(
    error: RequestError, status: int, message: str, code: str
) -> None:
    assert (error.status, error.message, error.code) == (status, message, code)
    assert str(error) == message


def test_error_detail_is_for_the_developer_alone() -> None:
    error = BackendUnavailable("the backend failed with TimeoutError")
    assert str(error) == "the backend failed with TimeoutError"
    assert error.message == "Token backend unavailable"


def test_error_headers() -> None:
    assert MethodNotAllowed("POST, OPTIONS").headers == (("Allow", "POST, OPTIONS"),)
    for unavailable in (BackendFull(), BackendUnavailable(), SessionUnavailable()):
        assert unavailable.headers == (("Retry-After", "5"),)
    for other in (BadRequest(), Unauthorized(), InvalidOrigin(), InvalidToken()):
        assert other.headers == ()


def test_dead_token_subclasses() -> None:
    dead = {InvalidToken, NoAccount, SessionNotFound, SessionExpired}
    assert set(DeadToken.__subclasses__()) == dead


def test_configuration_errors_have_no_response() -> None:
    for kind in (ConfigurationError, NotSupported, KeyTaken):
        assert issubclass(kind, OTTError)
        assert not issubclass(kind, RequestError)
    # What a caller who knows no more of this package would catch.
    assert issubclass(ConfigurationError, ValueError)


def test_tree_in_the_documentation_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"    ([│├└─ ]*)([A-Z]\w+)", line)
        if match:
            drawn.append((len(match[1]) // 4, match[2]))

    def grown(kind: type[OTTError], depth: int = 0) -> list[tuple[int, str]]:
        below = [each for child in kind.__subclasses__() for each in grown(child, depth + 1)]
        return [(depth, kind.__name__), *below]

    ours = [each for each in grown(OTTError) if hasattr(errors, each[1])]
    assert drawn == ours
