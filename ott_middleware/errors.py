"""Defines the exceptions of the package, as one tree.

::

    OTTError
    ├── ConfigurationError              a bad option, found when the app is wrapped
    ├── NotSupported                    the backend at hand cannot do what was asked
    ├── KeyTaken                        a live value has that key already
    └── RequestError                    has a response: status, code, message
        ├── BadRequest                  400, the body is no JSON
        ├── ValidationError             400, the JSON has the wrong shape
        ├── Unauthorized                401
        ├── ClientRequestsDisabled      400, tokens are generated on the server only
        ├── InvalidTarget               400, a link to an origin that is not among the targets
        ├── LinksDisabled               400, a handoff by a link where links are turned off
        ├── NavigationRequired          400, a handoff that no visitor has opened as a page
        ├── InvalidOrigin               403
        ├── MissingOrNullOrigin         403
        ├── MethodNotAllowed            405
        ├── SessionSwitch               409, another user is signed in
        ├── LengthRequired              411
        ├── PayloadTooLarge             413
        ├── UnsupportedMediaType        415
        ├── TooManyRequests             429, above `rate_limit`
        ├── DeadToken                   400, nothing can be redeemed
        │   ├── InvalidToken
        │   ├── NoAccount
        │   ├── SessionNotFound
        │   └── SessionExpired
        └── Unavailable                 503, try again later
            ├── BackendFull
            ├── BackendUnavailable
            └── SessionUnavailable      an adapter or a hook failed

``error.message`` goes to the client; ``str(error)`` is for the developer and may say more. Neither
ever holds a token, a cookie value or a secret.

One module, though it is long: the tree is read as a whole.
"""

from __future__ import annotations

import math
from typing import ClassVar

from . import reasons


class OTTError(Exception):
    """The base of all exceptions of this package."""


class ConfigurationError(OTTError, ValueError):
    """An option is wrong. The text names the option, its value and the cure."""


class NotSupported(OTTError):
    """The backend at hand cannot do what was asked of it."""


class KeyTaken(OTTError):
    """`put` found a live value under that key, and left it unchanged."""


class RequestError(OTTError):
    """A request failed: the error has a response.

    :param detail: for the developer; defaults to the class's `message`.
    :param why: the reason, for the log; defaults to the detail. It holds no secret.
    :param word: of the reason, where it is another than the class's own.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "BAD_REQUEST"
    message: str = "Bad request"
    #: Seconds until the next attempt may succeed; None where waiting does not help.
    retry_after: int | None = None
    _word: reasons.Word = "body"
    # The reason's detail where the error has none of its own.
    _why: str = ""

    def __init__(
        self, detail: str | None = None, *, why: str | None = None, word: reasons.Word | None = None
    ) -> None:
        super().__init__(detail or self.message)
        self._word = word or self._word
        self._why = why or detail or self._why or self.message

    @property
    def reason(self) -> reasons.Reason:
        """Why the request was refused; never for the client."""
        return reasons.Reason(self._word, self._why)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Response headers of the error, beside those of its body."""
        return () if self.retry_after is None else (("Retry-After", str(self.retry_after)),)


class BadRequest(RequestError):
    """The body is not JSON."""

    message = "Invalid JSON in request body"


class ValidationError(RequestError):
    """The body is JSON of the wrong shape.

    :param where: `body` or `body.token`.
    :param expected: a JSON type by its name.
    :param received: a JSON type by its name, or `undefined`.
    """

    code = "VALIDATION_ERROR"

    def __init__(self, where: str, expected: str, received: str) -> None:
        self.message = f"[{where}] Invalid input: expected {expected}, received {received}"
        super().__init__()


class Unauthorized(RequestError):
    """The request carries no valid session."""

    status = 401
    code = "UNAUTHORIZED"
    message = "Unauthorized"
    _word = "no_session"


class ClientRequestsDisabled(RequestError):
    """Tokens are generated on the server only."""

    code = "CLIENT_REQUESTS_DISABLED"
    message = "Client requests are disabled"
    _word = "client_requests_disabled"
    _why = "disable_client_request is True: only the app makes tokens, by its handle"


class InvalidTarget(RequestError):
    """A link may not point to that URL: list the URL's origin in `handoff_targets`."""

    code = "INVALID_TARGET"
    message = "Invalid target"
    _word = "target"


class LinksDisabled(RequestError):
    """`query_param` is None, which turns links off, handoffs by `to=` included."""

    code = "LINKS_DISABLED"
    message = "Links are turned off"
    _word = "links_disabled"
    _why = "query_param is None, which turns links off"


class NavigationRequired(RequestError):
    """A handoff is for a visitor who opens its URL as a page: not for scripts, images or frames."""

    code = "NAVIGATION_REQUIRED"
    message = "Open this URL as a page"
    _word = "not_opened"


class InvalidOrigin(RequestError):
    """The request was made by a page of an origin that is not trusted."""

    status = 403
    code = "INVALID_ORIGIN"
    message = "Invalid origin"
    _word = "untrusted_origin"


class MissingOrNullOrigin(RequestError):
    """A browser sent the request without telling the origin of the page that caused it."""

    status = 403
    code = "MISSING_OR_NULL_ORIGIN"
    message = "Missing or null Origin"
    _word = "missing_origin"


class MethodNotAllowed(RequestError):
    """The path responds to other methods only.

    :param allow: the value of the `Allow` header.
    :param method: of the request, as a reason may show it.
    """

    status = 405
    code = "METHOD_NOT_ALLOWED"
    message = "Method not allowed"
    _word = "method"

    def __init__(self, allow: str, method: str = "another method") -> None:
        self.allow = allow
        super().__init__(why=f"{method} is not among {allow}")

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("Allow", self.allow),)


class SessionSwitch(RequestError):
    """Another user is signed in, where no page can ask which of the two is meant.

    The token is used up, and the signed-in user stays.
    """

    status = 409
    code = "SESSION_SWITCH"
    message = "Another user is signed in"
    _word = "other_user"
    _why = "another user is signed in, and stays so; the token is used up"


class LengthRequired(RequestError):
    """The request has no Content-Length, and the server does not tell where the body ends."""

    status = 411
    code = "LENGTH_REQUIRED"
    message = "Content-Length required"
    _word = "body_size"
    _why = "neither the client nor the server tells where the body ends"


class PayloadTooLarge(RequestError):
    """The body is larger than any that could hold a token."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"
    message = "Payload too large"
    _word = "body_size"
    _why = "the body is larger than any that could hold a token"


class UnsupportedMediaType(RequestError):
    """The body's Content-Type is not JSON."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"
    message = "Content-Type must be application/json"
    _word = "content_type"


class TooManyRequests(RequestError):
    """The client tried to redeem tokens more often than `rate_limit` allows.

    :param retry_after: seconds until the next attempt may succeed.
    """

    status = 429
    code = "TOO_MANY_REQUESTS"
    message = "Too many requests"
    retry_after: int
    _word = "rate_limited"

    def __init__(self, retry_after: int, *, why: str) -> None:
        self.retry_after = retry_after
        super().__init__(why=why)


class DeadToken(RequestError):
    """The token is invalid, used or expired: it can never be redeemed."""


class InvalidToken(DeadToken):
    """Unknown, used, expired, malformed, or bound to another site; the client is not told which."""

    code = "INVALID_TOKEN"
    message = "Invalid token"
    _word = "unknown_token"


class NoAccount(DeadToken):
    """This site has no user for the session that arrived: `match` found none. The token is used up.

    An adapter raises it in `resolve`; a `match` function may raise it instead of returning None.
    """

    code = "NO_ACCOUNT"
    message = "No account"
    _word = "no_account"
    _why = "this site has no user for the session that arrived"


class SessionNotFound(DeadToken):
    """The session ended after the token was generated. The token is used up."""

    code = "SESSION_NOT_FOUND"
    message = "Session not found"
    _word = "session_ended"
    _why = "the session ended after the token was generated"


class SessionExpired(DeadToken):
    """The session expired after the token was generated. The token is used up."""

    code = "SESSION_EXPIRED"
    message = "Session expired"
    _word = "session_expired"
    _why = "the session expired after the token was generated"


class Unavailable(RequestError):
    """A backend, an adapter or a hook does not respond at the moment."""

    status = 503
    retry_after: int = 5


class BackendFull(Unavailable):
    """The backend is full of live tokens of other sessions."""

    code = "BACKEND_FULL"
    message = "Too many outstanding tokens"
    _word = "backend_full"


class BackendUnavailable(Unavailable):
    """The backend did not respond, or responded with an error."""

    code = "BACKEND_UNAVAILABLE"
    message = "Token backend unavailable"
    _word = "backend_failed"


class SessionUnavailable(Unavailable):
    """A session adapter or a hook failed."""

    code = "SESSION_UNAVAILABLE"
    message = "Session unavailable"
    _word = "hook_failed"


def check_positive(name: str, value: object, unit: str, *, whole: bool = False) -> None:
    """Check an option that must be a number above zero.

    :param name: of the option.
    :param unit: what is counted, for the error's text: "seconds", say.
    :param whole: refuse numbers with a fraction.
    :raises ConfigurationError: it is no number (`True` is none), not above zero, or infinite.
    """
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < math.inf:
        raise ConfigurationError(f"{name}: {value!r}; use a positive number of {unit}")


_KNOWN_MODULES = ("builtins", __name__.partition(".")[0])


def full_name(thing: object) -> str:
    """Return the name of a class or function with its module, or "a" and the class of an object.

    Many libraries have a `SessionMiddleware`: the module says which one is meant. A class of this
    package has no other of its name. Nothing of the object itself is shown.
    """
    name = getattr(thing, "__qualname__", None)
    if isinstance(name, str):
        module = getattr(thing, "__module__", None)
        known = not isinstance(module, str) or module.partition(".")[0] in _KNOWN_MODULES
        return name if known else f"{module}.{name}"
    return f"a {full_name(type(thing))}"


def missing_library(what: str, error: ImportError, install: str = "") -> ConfigurationError:
    """Build the error for a class or URL that needs a library which is not installed.

    :param what: needs the library.
    :param error: tells the library's name.
    :param install: what to give to pip: an extra of this package, or the library.
    """
    library = (error.name or "a package").partition(".")[0]
    return ConfigurationError(
        f"{what} needs {library}; " + (f"pip install {install}" if install else "install it")
    )
